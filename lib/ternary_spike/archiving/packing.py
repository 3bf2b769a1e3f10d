"""Everything of a preset in one zip file, the same bytes from the same input."""

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

import yaml

from ternary_spike.archiving import check, code, crate, origins, preset, texts
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import replaced

#: the earliest time that a zip file can say
EPOCH = (1980, 1, 1, 0, 0, 0)
#: keys of a configuration that name files or folders; of the second kind, whether to read them is another key
NAMED, NAMED_IF = ("experiments", "recipes", "method_sheets"), {"rival_experiments": "rivals"}


@dataclass(frozen=True)
class Packed:
    """An archive that was written.

    Attributes:
        path: of the file.
        whole: what the check found in it.
        weights: which weights are in it, in words.
        warnings: what a reader of it will miss, in lines.
    """

    path: Path
    whole: check.Whole
    weights: str
    warnings: tuple[str, ...]


def pack(results: Path, out: Path, weights: str, repository: Path | None = None) -> Packed:
    """Write an archive of a preset's results, and verify it.

    Args:
        results: results/<preset>.
        out: the file to write; an existing one is never replaced.
        weights: one of :data:`ternary_spike.archiving.preset.WEIGHTS`.
        repository: the checkout that has the code, by default that of the running code or of the working directory.

    Raises:
        UserError: if there is no such preset, a file of it is damaged, tracked files of the checkout differ from its
            commit, a commit that made runs is not in it, or the archive cannot be written or is there already.
    """
    if out.exists():
        raise UserError(f"{out} is there already and is not overwritten; name another file by --out")
    found = preset.read(results, weights)
    checkout = code.repository(repository)
    commit = code.clean_commit(checkout)
    size = sum((results / path).stat().st_size for path in found.weights)
    said = texts.weights(found, weights, size)
    contents = _contents(found, checkout, commit, said)
    with replaced(out) as temporary:
        _write(temporary, contents)
    return Packed(out, check.check(out), said, tuple(_warnings(found)))


def _contents(found: preset.Preset, checkout: Path, commit: str, said: str) -> dict[str, bytes | Path]:
    """Every file of the archive by its name, bytes or where they lie."""
    contents: dict[str, bytes | Path] = {}
    commits = {commit, *(run.origin.get("commit") for run in found.runs)} - {None}
    for each in sorted(commits):
        files = code.tree(checkout, each, whole=each == commit)
        contents |= {f"code/{each}/{name}": content for name, content in files.items()}
    citation = yaml.safe_load(contents[f"code/{commit}/CITATION.cff"])
    contents |= {name: contents[f"code/{commit}/{name}"] for name in ("LICENSE", "CITATION.cff")}
    contents |= {f"results/{found.name}/{path.as_posix()}": found.folder / path for path in found.files}
    contents |= _configuration(found.folder / "config.json", checkout)
    description = (
        f"{len(found.runs)} runs with seeds, each with its record, the tables and figures made of them, and the code; "
        f"{said}."
    )
    contents["README.md"] = texts.readme(found, commit, said).encode()
    contents["zenodo.json"] = texts.zenodo(found, citation, description).encode()
    contents["environment.json"] = _environment(found)
    contents["__main__.py"] = Path(check.__file__)
    known = crate.Described(
        sizes={name: _size(content) for name, content in contents.items()},
        origins=dict(_origins(found)),
        drawn_before=frozenset(_drawn_before(found)),
        commit=commit,
        commits={f"code/{each}": each for each in sorted(commits)},
        date=_date(found, checkout, commit),
        title=texts.title(found),
        description=description,
        citation=citation,
        snakemake=_snakemake(contents[f"code/{commit}/requirements.txt"]),
    )
    contents[check.METADATA] = crate.metadata(found, known)
    sums = [f"{_sha256(content)}  {name}\n" for name, content in sorted(contents.items())]
    contents[check.SUMS] = "".join(sums).encode()
    return contents


def _origins(found: preset.Preset) -> Iterator[tuple[str, list[str]]]:
    for path in found.files:
        name = f"results/{found.name}/{path.as_posix()}"
        if path.parts[0] == "tables" and path.suffix == ".csv":
            yield name, origins.of_table(found.folder / path, found)
        elif path.parts[0] == "figures":
            yield name, origins.of_figure(found.folder / path, found)[0]


def _drawn_before(found: preset.Preset) -> Iterator[str]:
    for path in found.files:
        if path.parts[0] == "figures" and not origins.of_figure(found.folder / path, found)[1]:
            yield f"results/{found.name}/{path.as_posix()}"


def _configuration(settings: Path, checkout: Path) -> dict[str, Path]:
    """The files that a preset's configuration names and that are not part of the code, by name in the archive."""
    if not settings.exists():
        return {}
    config = json.loads(settings.read_text(encoding="utf-8"))
    names = [config[key] for key in NAMED if config.get(key)]
    names += [config[key] for key, wanted in NAMED_IF.items() if config.get(wanted) and config.get(key)]
    found = {}
    for name in [*names, *config.get("plugins", [])]:
        path = Path(name).expanduser()
        path = path if path.exists() else checkout / path
        if code.tracked(checkout, path):
            continue
        if not path.exists():
            raise UserError(f"{settings} names {name}, which is not there; archive from where the workflow was called")
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                found[f"configuration/{path.name}/{file.relative_to(path)}".removesuffix("/.")] = file
    return found


def _environment(found: preset.Preset) -> bytes:
    """Versions, machines and threads of the runs: each combination once, with its runs."""
    groups: dict[str, list[str]] = {}
    for run in found.runs:
        where = {key: run.origin.get(key) for key in ("versions", "hardware", "threads")}
        groups.setdefault(json.dumps(where, sort_keys=True), []).append(f"{run.id}/seed{run.seed}")
    content = [{**json.loads(where), "runs": runs} for where, runs in groups.items()]
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _date(found: preset.Preset, checkout: Path, commit: str) -> str:
    """When the last run ended; where none says so, when the commit was made."""
    return max((run.origin.get("finished") or "" for run in found.runs), default="") or code.date(checkout, commit)


def _snakemake(requirements: bytes) -> str:
    return re.search(r"^snakemake==([^\s\\]+)", requirements.decode(), re.M)[1]


def _warnings(found: preset.Preset) -> Iterator[str]:
    if not any(path.name == "config.json" for path in found.files):
        yield "there is no config.json; the settings are those in plan.csv and in each run.json"
    if not any(path.parts[0] == "report" for path in found.files):
        yield "there is no report; `snakemake --cores 1 report` makes it"
    for line in texts.origins(found):
        if "not recorded" in line or "not known" in line:
            yield line


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _sha256(content: bytes | Path) -> str:
    return sha256(content if isinstance(content, bytes) else content.read_bytes()).hexdigest()


def _write(path: Path, contents: dict[str, bytes | Path]) -> None:
    """Write a zip file of which nothing depends on when or by whom."""
    # folders have names of their own, by which the metadata speak of them
    folders = {f"{parent}/" for name in contents for parent in PurePosixPath(name).parents} - {"./"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sorted({**contents, **dict.fromkeys(folders, b"")}.items()):
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3
            info.external_attr = 0o40755 << 16 | 0x10 if name in folders else 0o100644 << 16
            info.compress_type = zipfile.ZIP_STORED if name in folders else zipfile.ZIP_DEFLATED
            archive.writestr(info, content if isinstance(content, bytes) else content.read_bytes(), compresslevel=9)
