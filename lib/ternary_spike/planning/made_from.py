"""What the plan, the tables and the report of a preset were made of, by content.

Files' times say nothing once results were copied, touched or put into another clone, and what the workflow remembers
does not travel with them. So the tables and the report keep the checksums of the files that they were made of, and the
hash of the code that made them; the workflow compares both with what there is, and makes anew what no longer fits.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ternary_spike.planning.matching import RECORD as MATCH
from ternary_spike.planning.plan_file import PLAN_COLUMNS
from ternary_spike.planning.run_files import RUN_FILES, run_folder
from ternary_spike.system.codehash import SERVICES, code_hash
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import SUMS, csv_text, read_json, require_listed, sha256_of, write_json

RECORD = "made_from.json"
#: the modules whose code makes them
TABLES, REPORT, NOTEBOOKS = ("tables.collect", "claims"), ("report.site",), ("report", "report.notebooks")
#: and of what is made of code alone
OF_CODE = {"trace.csv": ("measuring.trace", "neurons.lif"), "amplitudes.csv": ("measuring.amplitudes",)}


def plan_says(path: Path, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a plan.csv says what these rows do, costs apart, and is whole."""
    wanted = list(csv.DictReader(io.StringIO(csv_text([{key: row[key] for key in PLAN_COLUMNS} for row in rows]))))
    try:
        require_listed(path)
        with Path(path).open(encoding="utf-8", newline="") as file:
            found = [{key: row.get(key) for key in PLAN_COLUMNS} for row in csv.DictReader(file)]
    except (OSError, UserError, UnicodeDecodeError, csv.Error):
        return False
    return found == wanted


def of_tables(results: Path, runs: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """What tables would now be made of.

    Args:
        results: results/<preset>.
        runs: id and seed of every planned run.
    """
    runs, results = list(runs), Path(results)
    ids = list(dict.fromkeys(run for run, _ in runs))
    files = [results / "plan.csv", *sorted((results / "data").glob("*/manifest.json"))]
    files += [run_folder(results, run, seed) / name for run, seed in runs for name in RUN_FILES]
    files += [results / "runs" / run / MATCH for run in ids]
    files += [path for run in ids for path in sorted((results / "status" / run).glob("seed*/*.json"))]
    return {"code": code_hash(TABLES), "files": _sums(files, results)}


def of_report(results: Path, kept: Path | None) -> dict[str, Any]:
    """What a report would now be made of: its pages as well as the notebooks in it.

    Args:
        results: results/<preset>, with its executed notebooks.
        kept: results/reference.
    """
    results = Path(results)
    pages = sorted((results / "notebooks").glob("*.html"))
    files = [results / name for name in ("plan.csv", "trace.csv", "amplitudes.csv", "report/rulegraph.dot")]
    found = {"code": code_hash((*REPORT, *NOTEBOOKS)), "files": _sums([*files, *pages], results)}
    found["files"] |= _sums([results / "tables" / SUMS], results)
    found["kept"] = {} if kept is None else _sums(sorted(Path(kept).glob(f"*/tables/{SUMS}")), Path(kept))
    return found


def code_of(name: str) -> str:
    """The hash of the code that makes one of :data:`OF_CODE`."""
    return code_hash(OF_CODE[name], indifferent=SERVICES)


def write_code(path: Path, name: str) -> None:
    """Write down by which code a file was made, one of :data:`OF_CODE`. Raises UserError as files do."""
    write_json(_beside(path), {"code": code_of(name)})


def still_of_code(path: Path) -> bool:
    """Whether one of :data:`OF_CODE` is there, whole, and made by the present code."""
    try:
        require_listed(path)
        return read_json(_beside(path)) == {"code": code_of(path.name)}
    except UserError:
        return False


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{RECORD}")


def still(folder: Path, present: Mapping[str, Any]) -> bool:
    """Whether what lies in a folder was made of what there is at present; no if nothing says so."""
    return _recorded(folder) == present


def page_still(report: Path, page: Path, present: Mapping[str, Any]) -> bool:
    """Whether a notebook's page was made of what there is: it is in a report that was, apart from other pages.

    Args:
        report: the report's folder.
        page: the notebook's, in results/<preset>/notebooks.
        present: as :func:`of_report` gives it.

    Returns:
        True also where there is no report yet, whose pages are just being made.
    """
    recorded = _recorded(report)
    if not recorded:
        return not (Path(report) / "index.html").exists()
    name = f"{page.parent.name}/{page.name}"
    then, now = _but_pages(recorded, name), _but_pages(present, name)
    return then == now


def _but_pages(made: Mapping[str, Any], page: str) -> dict[str, Any]:
    """What a report is made of, without its other pages and what only the front page shows."""
    files = {
        name: checksum
        for name, checksum in made["files"].items()
        if name == page or not name.startswith(("notebooks/", "report/"))
    }
    return {**made, "files": files}


def _recorded(folder: Path) -> dict[str, Any]:
    try:
        return read_json(Path(folder) / RECORD)
    except UserError:
        return {}


def _sums(files: Iterable[Path], base: Path) -> dict[str, str]:
    """The checksums of those files that there are, by their path within ``base``."""
    return {str(path.relative_to(base)): sha256_of(path) for path in files if path.is_file()}
