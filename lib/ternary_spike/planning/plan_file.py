"""plan.csv: written, read back and put in words."""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ternary_spike.configuration.run_table import COLUMNS, LONGEST_NAME, _list, options
from ternary_spike.planning import wanted
from ternary_spike.planning.run import NOT_RUN, RUNNABLE
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import csv_text, require_listed, write_listed

PLAN_COLUMNS = (
    *("id", "seed", "dataset", "architecture", "timesteps", "neuron", "method", "method_label", "own_recipe"),
    *("variant", "neuron_options", "recipe", "changes", "reduced", "tables", "control", "data", "source", "source_run"),
    *("status", "reason", "settings", "code"),
)
# plans of earlier versions lack these: every run was trained in the paper's way, and nothing said with which settings
LATER_COLUMNS = ("method", "method_label", "own_recipe", "source_run", "settings", "code")
#: what a run's folder may be called; nothing that leads elsewhere, or that a terminal would obey
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
COSTS = ("images_per_second", "projected_hours", "disk_megabytes")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write plan.csv: a row a run and seed; costs that were not measured stay empty. Raises UserError as files do."""
    write_listed(path, csv_text(rows, [*PLAN_COLUMNS, *COSTS]))


def read_rows(path: Path) -> list[dict[str, str]]:
    """plan.csv as it was written.

    Raises:
        UserError: if the file is missing, is not CSV, lacks a column, is not as its checksum says, has a cell that no
            plan has, or a run and seed twice.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or ()
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the `plan` stage first") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read as CSV ({reason}); run the `plan` stage again") from None
    require_listed(path)
    if missing := [column for column in PLAN_COLUMNS if column not in (*columns, *LATER_COLUMNS)]:
        raise UserError(f"{path} has no column {', '.join(missing)}; run the `plan` stage again")
    seen = set()
    for row in rows:
        row |= {column: "" for column in LATER_COLUMNS if column not in columns}
        if None in row or None in row.values():
            raise UserError(f"{path} has a row with another number of cells than columns; run the `plan` stage again")
        for key in ("seed", "timesteps"):
            if not re.fullmatch(r"\d{1,19}", row[key], re.ASCII) or int(row[key]) >= 2**63:
                raise UserError(f"{path}: {key} is {row[key]!r}, no whole number; run the `plan` stage again")
        try:
            options(row["neuron_options"])
        except ValueError:
            raise UserError(
                f"{path}: neuron_options is {row['neuron_options']!r}, not {COLUMNS['neuron_options'][1]}; "
                "run the `plan` stage again"
            ) from None
        if not FOLDER.fullmatch(row["id"]) or len(row["id"]) > LONGEST_NAME:
            raise UserError(f"{path}: id is {row['id'][:40]!r}…, not the name of a folder; run the `plan` stage again")
        for column in wanted.CELLS:
            try:
                wanted.read(row[column], column)
            except ValueError as error:
                raise UserError(f"{path}: {error}; run the `plan` stage again") from None
        if (run := (row["id"], int(row["seed"]))) in seen:
            raise UserError(f"{path} has the run {run[0]} with seed {run[1]} twice; run the `plan` stage again")
        seen.add(run)
    return rows


def described(rows: Iterable[Mapping[str, Any]]) -> str:
    """A plan in words: a line a run id, then the totals by table and over all."""
    rows = list(rows)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["id"], []).append(row)
    width = max(map(len, groups), default=0)
    lines = []
    for name, group in groups.items():
        first = group[0]
        seeds = ",".join(str(row["seed"]) for row in group)
        note = f"not run: {first['reason']}" if first["status"] == NOT_RUN else "runnable"
        more = [first["method_label"], f"after {first['source_run']}" * bool(first["source_run"]), first["reduced"]]
        more = f" ({'; '.join(filter(None, more))})" if any(more) else ""
        lines.append(f"{name:{width}}  seeds {seeds:5}  {_cost(group):>32}  {note}{more}")
    lines.append("")
    for table in sorted({table for row in rows for table in _list(row["tables"])}):
        group = [row for row in rows if table in _list(row["tables"])]
        lines.append(_total(f"{'table ' if table.isdigit() else ''}{table}", group))
    return "\n".join([*lines, _total("in all, each run once", rows)])


def _total(name: str, rows: list[Mapping[str, Any]]) -> str:
    runnable = [row for row in rows if row["status"] == RUNNABLE]
    return f"{name}: {len(runnable)} of {len(rows)} trainings can run here, {_cost(runnable)}; all: {_cost(rows)}"


def _cost(rows: Iterable[Mapping[str, Any]]) -> str:
    """Hours and disk of some runs; says so if some of them were not measured."""
    rows = list(rows)
    known = [row for row in rows if row.get("projected_hours")]
    if len(known) < len(rows):
        return "cost not measured"
    hours = sum(float(row["projected_hours"]) for row in known)
    return f"{hours:,.2f} h, {sum(float(row['disk_megabytes']) for row in known):,.0f} MB of disk"
