"""The small files that a report's numbers come from, copied into the report so that it can be moved or published whole.

What a page links to stands there by itself: tables, figures and the runs' records. Everything else is in archives: a
set has hundreds of runs, whose files are so alike that together they are a tenth of the size, and an executed notebook
holds its page's figures once more.
"""

import html
import io
import lzma
import re
import shutil
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ternary_spike.planning.matching import RECORD as MATCH
from ternary_spike.planning.run_files import RUN_FILES, run_folder
from ternary_spike.report import reference
from ternary_spike.report.benchmarks import PLACE as BENCHMARKS
from ternary_spike.report.results import Results
from ternary_spike.system import cores

#: what the archives are called: of a set's runs with, where it is a kept one, its tables; of the executed notebooks
RUNS, KEPT_SET, NOTEBOOKS = "runs.tar.xz", "set.tar.xz", "notebooks.tar.xz"
#: the files of a run that pages link to, so that they must be there by themselves
LINKED = ("run.json", MATCH)


def copy_files(
    results: Results,
    kept: Iterable[reference.Kept],
    measured: dict[str, Path],
    target: Path,
    bodies: Iterable[str],
) -> None:
    """Copy what the numbers come from into a folder; what else lies there goes.

    Args:
        results: the preset's.
        kept: sets that are kept with the repository.
        measured: benchmark files, by name.
        target: the report's ``files/``.
        bodies: the notebooks' pages as HTML. Figures that none of them links to are of earlier versions of them; of a
            kept set's tables those that one links to stand there beside the archive.

    Raises:
        OSError: if a file cannot be read, or the folder not be written.
    """
    source = results.folder
    runs = _run_files(results)
    notebooks = {Path(path.name): path for path in (source / "notebooks").glob("*.ipynb")}
    wanted = _tables(results) | _linked(runs)
    linked = {Path(html.unescape(name)) for body in bodies for name in re.findall(r'href="files/([^"]+)"', body)}
    figures = {Path("figures") / path.name: path for path in (source / "figures").glob("*")}
    wanted |= {name: path for name, path in figures.items() if name in linked}
    wanted |= {Path(n): source / n for n in ("plan.csv", "trace.csv", "amplitudes.csv") if (source / n).exists()}
    wanted |= {Path(BENCHMARKS) / name: path for name, path in measured.items()}
    archives = {Path(RUNS): runs, Path(NOTEBOOKS): notebooks}
    for each in kept:
        place = Path(reference.PLACE) / each.preset
        files = _run_files(each)
        wanted |= {place / name: path for name, path in _linked(files).items()}
        wanted |= {place / name: path for name, path in _tables(each).items() if place / name in linked}
        # the report of a kept set: that set's files are there as the preset's
        if not each.folder.samefile(source):
            archives[place / KEPT_SET] = files | _tables(each)
    archives = {place: files for place, files in archives.items() if files}
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(target) not in {*wanted, *archives}:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for relative, path in wanted.items():
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / relative)
    with ThreadPoolExecutor(cores.available()) as threads:  # the compressor lets others run meanwhile
        list(threads.map(lambda place: _write_archive(target / place, archives[place]), archives))


def _linked(files: dict[Path, Path]) -> dict[Path, Path]:
    """Of runs' files those that pages link to."""
    return {name: path for name, path in files.items() if name.name in LINKED}


def _tables(results: Results) -> dict[Path, Path]:
    """A set's tables, by their place within the set."""
    return {Path("tables") / path.name: path for path in (results.folder / "tables").glob("*.csv")}


def _run_files(results: Results) -> dict[Path, Path]:
    """The small files of all runs, by their place within the set."""
    found = {}
    for run, seed in results.table("runs")[["id", "seed"]].itertuples(index=False):
        folder = run_folder(results.folder, run, seed)
        present = [name for name in RUN_FILES if (folder / name).is_file()]
        found |= {Path("runs") / run / f"seed{seed}" / name: folder / name for name in present}
        if (search := folder.parent / MATCH).is_file():
            found[Path("runs") / run / MATCH] = search
    return found


def _write_archive(path: Path, files: dict[Path, Path]) -> None:
    """One compressed file of them all; the same files make the same archive, whenever it is made.

    Compressing takes half of a report's time, and looking into an archive a hundredth. So one that holds these files
    already is left as it is.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in sorted(files):
            file = files[name].read_bytes()
            entry = tarfile.TarInfo(name.as_posix())  # without owner and time
            entry.size = len(file)
            archive.addfile(entry, io.BytesIO(file))
    if _held_by(path) != content.getvalue():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress(content.getvalue()))


def _held_by(path: Path) -> bytes | None:
    """What an archive holds; None where there is none that can be read."""
    try:
        return lzma.decompress(path.read_bytes())
    except (FileNotFoundError, EOFError, lzma.LZMAError):
        return None
