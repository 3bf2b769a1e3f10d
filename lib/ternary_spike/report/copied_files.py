"""The small files that a report's numbers come from, copied into the report so that it can be moved or published whole.

The preset's own files stand there one by one. Of the sets that are kept with the repository the tables and the records
do; what else their runs left is one archive a set, which is a tenth of the size: a set has hundreds of runs.
"""

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ternary_spike.planning.matching import RECORD as MATCH
from ternary_spike.planning.run_files import RUN_FILES, run_folder
from ternary_spike.report import reference
from ternary_spike.report.benchmarks import PLACE as BENCHMARKS
from ternary_spike.report.results import Results

#: what a set's archive is called
ARCHIVE = "runs.zip"
#: the file of a run that pages link to, so that it must be there by itself
RECORD = "run.json"
#: the earliest time that an archive can say: the same files then make the same archive, whenever it is made
_EPOCH = (1980, 1, 1, 0, 0, 0)


def copy_files(results: Results, kept: Iterable[reference.Kept], measured: dict[str, Path], target: Path) -> None:
    """Copy what the numbers come from into a folder; what else lies there goes.

    Args:
        results: the preset's.
        kept: sets that are kept with the repository.
        measured: benchmark files, by name.
        target: the report's ``files/``.

    Raises:
        OSError: if a file cannot be read, or the folder not be written.
    """
    source = results.folder
    wanted = _tables(results, Path())
    wanted |= {Path("figures") / path.name: path for path in (source / "figures").glob("*") if path.is_file()}
    wanted |= {Path("notebooks") / path.name: path for path in (source / "notebooks").glob("*.ipynb")}
    wanted |= {Path(n): source / n for n in ("plan.csv", "trace.csv", "amplitudes.csv") if (source / n).exists()}
    wanted |= _run_files(results)
    wanted |= {Path(BENCHMARKS) / name: path for name, path in measured.items()}
    archives = {}
    for each in kept:
        place = Path(reference.PLACE) / each.preset
        files = _run_files(each)
        wanted |= _tables(each, place)
        wanted |= {place / name: path for name, path in files.items() if name.name == RECORD}
        archives[place / ARCHIVE] = files
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(target) not in {*wanted, *archives}:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for relative, path in wanted.items():
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / relative)
    for relative, files in archives.items():
        _write_archive(target / relative, files)


def _tables(results: Results, place: Path) -> dict[Path, Path]:
    """A set's tables, by their place in the report."""
    return {place / "tables" / path.name: path for path in (results.folder / "tables").glob("*.csv")}


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
    """One compressed file of them all, written anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name.as_posix(), _EPOCH)
            archive.writestr(entry, files[name].read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=9)
