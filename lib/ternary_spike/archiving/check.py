"""Verify an archive of results with Python's standard library alone.

This file is also ``__main__.py`` of every archive, so that ``python FILE.zip`` verifies it where nothing is installed.
It must not import anything of the package.
"""

import argparse
import csv
import hashlib
import io
import json
import sys
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

SUMS, METADATA = "SHA256SUMS", "ro-crate-metadata.json"
#: folders of a preset whose files must name the runs that they came from
NAMING = ("tables", "figures")
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)
SHOWN = 5


class Damaged(ValueError):
    """An archive is not what was packed; the message is one line that names it and the files in it."""


@dataclass(frozen=True)
class Whole:
    """What a verified archive holds.

    Attributes:
        files: number of files.
        runs: number of runs (a seed of a network each).
        named: number of tables and figures that name the runs they came from.
        size: of the archive in bytes.
        sha256: of the archive itself, in hexadecimal.
    """

    files: int
    runs: int
    named: int
    size: int
    sha256: str


def check(path: Path) -> Whole:
    """Verify every byte of an archive's files, that none is missing or too many, and that its metadata agree.

    Raises:
        Damaged: if anything does not hold.
        OSError: if the file cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        with zipfile.ZipFile(path) as archive:
            _stop_at(_names(archive), path)
            names = {name for name in archive.namelist() if not name.endswith("/")}
            problems = _contents(archive, names - {SUMS}, _listed(archive, path))
            _stop_at(problems, path)
            runs, named = _metadata(archive, names, problems)
    except zipfile.BadZipFile as error:
        raise Damaged(f"{path} is no whole zip file ({error}); copy or download it again") from None
    _stop_at(problems, path)
    return Whole(len(names), runs, named, path.stat().st_size, sha256)


def _stop_at(problems: list[str], path: Path) -> None:
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise Damaged(f"{path}: {'; '.join(problems[:SHOWN])}{more}; copy or download it again")


def _names(archive: zipfile.ZipFile) -> list[str]:
    """What is wrong with the names: two files of one, or one that would lie outside of the folder it is unpacked in."""
    counted = Counter(archive.namelist())
    problems = [f"{name} is in it twice" for name, count in counted.items() if count > 1]
    for name in counted:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or "\\" in name or ".." in parts:
            problems.append(f"{name!r} is no name of a file in an archive")
    problems += [f"the folder {i.filename} has content" for i in archive.infolist() if i.is_dir() and i.file_size]
    return problems


def _listed(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    """The archive's own list of checksums: SHA-256 by name."""
    try:
        lines = archive.read(SUMS).decode("utf-8").splitlines()
        found = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except KeyError:
        raise Damaged(f"{path}: there is no {SUMS} in it; it is no archive that `archive` made") from None
    except UNREADABLE as error:
        raise Damaged(f"{path}: {SUMS} is damaged ({error}); copy or download it again") from None
    return found


def _contents(archive: zipfile.ZipFile, there: set[str], listed: dict[str, str]) -> list[str]:
    """What is wrong with the files, each by its name."""
    problems = [f"{name} is missing" for name in sorted(listed.keys() - there)]
    problems += [f"{name} is not in its {SUMS}" for name in sorted(there - listed.keys())]
    for name in sorted(there & listed.keys()):
        digest = hashlib.sha256()
        try:
            with archive.open(name) as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        except UNREADABLE as error:
            problems.append(f"{name} is damaged ({error})")
            continue
        if digest.hexdigest() != listed[name]:
            problems.append(f"{name} is not the file that was packed")
    return problems


def _metadata(archive: zipfile.ZipFile, names: set[str], problems: list[str]) -> tuple[int, int]:
    """Add what the metadata say that the files do not; returns how many runs there are, and what names its runs."""
    try:
        graph = json.loads(archive.read(METADATA))["@graph"]
        entities = {unquote(entity["@id"]): entity for entity in graph}
    except (KeyError, TypeError, *UNREADABLE) as error:
        problems.append(f"{METADATA} is not to be read ({error})")
        return 0, 0
    folders = {str(parent) + "/" for name in names for parent in PurePosixPath(name).parents} | {"./"}
    for name, entity in entities.items():
        kinds = entity.get("@type", [])
        local = not name.startswith(("#", "http:", "https:"))
        if local and "File" in kinds and name not in names:
            problems.append(f"{METADATA} names {name}, which is missing")
        if local and "Dataset" in kinds and name not in folders:
            problems.append(f"{METADATA} names the folder {name}, which is missing")
    runs = {name for name in names if name.startswith("results/") and name.endswith("/run.json")}
    runs = {name for name in runs if "/report/" not in name}
    return len(runs), _origins(archive, entities, names, problems)


def _origins(archive: zipfile.ZipFile, entities: dict, names: set[str], problems: list[str]) -> int:
    """Count the tables and figures that name their runs; add those that should and do not."""
    named = 0
    for name in sorted(names):
        parts = PurePosixPath(name).parts
        if parts[0] != "results" or parts[-2] not in NAMING or "report" in parts or parts[-1].startswith((".", SUMS)):
            continue
        sources = entities.get(name, {}).get("isBasedOn", [])
        sources = sources if isinstance(sources, list) else [sources]
        unknown = [source["@id"] for source in sources if unquote(source["@id"]) not in entities]
        problems += [f"{name} came from {source}, which is not in it" for source in unknown]
        if name not in entities or (not sources and _has_runs(archive, name)):
            problems.append(f"{METADATA} does not say which runs {name} came from")
        named += bool(sources)
    return named


def _has_runs(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether a table has a row of a run that is in the archive."""
    if not name.endswith(".csv"):
        return False
    folder = name.split("/tables/")[0] + "/runs/"
    rows = csv.DictReader(io.StringIO(archive.read(name).decode("utf-8")))
    ids = {row["id"] for row in rows if row.get("id")}
    return any(other.startswith(folder) and other[len(folder) :].split("/")[0] in ids for other in archive.namelist())


def said(path: Path, found: Whole) -> str:
    """A verified archive in words."""
    return (
        f"{path}: whole; {found.files:,} files, {found.runs:,} runs, {found.named:,} tables and figures that name "
        f"theirs; {found.size:,} bytes, sha256 {found.sha256}"
    )


def main(argv: list[str] | None = None) -> int:
    """Verify the archive that this is run from, or another; returns the exit status."""
    parser = argparse.ArgumentParser(description="Verify an archive of results.")
    parser.add_argument("file", nargs="?", default=sys.argv[0], help="the archive; by default the one that this is in")
    path = Path(parser.parse_args(argv).file)
    try:
        print(said(path, check(path)))
    except (Damaged, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
