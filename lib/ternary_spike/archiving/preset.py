"""A preset's files: which belong into an archive, and whether they are still what the workflow wrote."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ternary_spike.planning.run_files import run_folder
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import SUMS, own_sums, read_json, require_listed, require_sha256

FOLDERS = ("tables", "figures", "notebooks", "report", "runs")
FILES = ("plan.csv", "trace.csv", "amplitudes.csv", "config.json")
#: which networks an archive may have: none, the trained ones, or also what was made of them
WEIGHTS = ("none", "trained", "all")
TRAINED, NETWORKS = "weights.safetensors", (".safetensors", ".onnx")


@dataclass(frozen=True)
class Run:
    """One seed of a network.

    Attributes:
        id: the run's name.
        seed: its seed, as text.
        folder: where it lies.
        record: the content of its run.json.
    """

    id: str
    seed: str
    folder: Path
    record: dict = field(repr=False)

    @property
    def origin(self) -> dict:
        """What made it: commit, versions, hardware, command, start and end."""
        return self.record.get("provenance") or {}


@dataclass(frozen=True)
class Preset:
    """What of a preset's folder belongs into an archive, verified.

    Attributes:
        folder: results/<preset>.
        name: ``<preset>``, or ``reference/<name>`` for results that are kept with the repository.
        files: all files, sorted, relative to the folder.
        runs: the trained runs, by id and seed.
        weights: files of networks among ``files``.
        left_out: files of networks that lie there and are not among them.
    """

    folder: Path
    name: str
    files: tuple[Path, ...]
    runs: tuple[Run, ...]
    weights: tuple[Path, ...]
    left_out: tuple[Path, ...]


def read(folder: Path, weights: str) -> Preset:
    """Find and verify a preset's files.

    Args:
        folder: results/<preset>.
        weights: one of :data:`WEIGHTS`.

    Raises:
        UserError: if there is no such preset, it has no tables yet, or a file is not the one that was recorded.
    """
    folder = Path(folder)
    _require_preset(folder)
    found = sorted(_files(folder))
    networks = [path for path in found if path.suffix in NETWORKS]
    packed = [path for path in networks if weights == "all" or (weights == "trained" and path.name == TRAINED)]
    runs = tuple(_verified(folder))
    _verify_tables(folder, {(run.id, run.seed) for run in runs})
    left_out = sorted({*networks} - {*packed})
    files = tuple(path for path in found if path not in left_out)
    return Preset(folder, name_of(folder), files, runs, tuple(packed), tuple(left_out))


def name_of(folder: Path) -> str:
    """A preset's name by its folder."""
    folder = folder.resolve()
    return f"reference/{folder.name}" if folder.parent.name == "reference" else folder.name


def _require_preset(folder: Path) -> None:
    if not (folder / "plan.csv").exists():
        parent = folder.parent
        others = sorted(path.parent.name for path in parent.glob("*/plan.csv")) if parent.is_dir() else []
        there = f"there are {', '.join(others)}" if others else "there is none beside it"
        raise UserError(f"{folder} is no folder of results: it has no plan.csv; {there}")
    if not (folder / "tables" / "runs.csv").exists():
        raise UserError(f"{folder} has no tables yet; let the workflow finish, or call `snakemake --cores 1 report`")


def _files(folder: Path) -> Iterator[Path]:
    for name in FILES:
        yield from (Path(path.name) for path in (folder / name, own_sums(folder / name)) if path.exists())
    for name in FOLDERS:
        for path in (folder / name).rglob("*"):
            relative = path.relative_to(folder)
            if path.is_file() and not any(part.startswith(".") for part in relative.parts):
                yield relative


def _verified(folder: Path) -> Iterator[Run]:
    """The runs, each file of which was verified by the checksum that its record has, and all by one training's."""
    for path in sorted((folder / "runs").glob("*/match.json")):
        read_json(path)
    for path in sorted((folder / "runs").glob("*/seed*/run.json")):
        record, place = read_json(path), path.parent
        files = dict(record.get("files", {}))
        for other in sorted(place.glob("*.json")):
            content = read_json(other)
            if other == path:
                continue
            of = content.get("trained_weights")
            if of not in (None, files.get(TRAINED)):
                raise UserError(f"{other} is of another training than {path}; delete it and run its stage again")
            files |= content.get("files", {})
            if isinstance(weights := content.get("weights"), dict):
                files[weights["file"]] = weights["sha256"]
        for name, expected in files.items():
            if (place / name).exists():
                require_sha256(place / name, expected)
            elif Path(name).suffix not in NETWORKS:
                raise UserError(f"{place / name} is missing, which {path} was written with; run its stage again")
        yield Run(place.parent.name, place.name.removeprefix("seed"), place, record)


def _verify_tables(folder: Path, runs: set[tuple[str, str]]) -> None:
    for name in FILES:
        if (folder / name).exists():
            require_listed(folder / name)
    tables = folder / "tables"
    for path in sorted(tables.glob("*.csv")):
        require_listed(path, tables / SUMS)
    with (tables / "runs.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row.get("last_epoch_percent") and (row["id"], row["seed"]) not in runs:
                missing = run_folder(folder, row["id"], row["seed"]) / "run.json"
                raise UserError(f"{missing} is missing, which {tables / 'runs.csv'} has numbers of; collect them again")
