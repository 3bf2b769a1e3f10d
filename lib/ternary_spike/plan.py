"""The plan: which runs of the run table are wanted, which of them this machine can do, and how they are shortened.

Light on purpose (no torch): the workflow asks for the plan each time it starts. What a run costs is measured in
:mod:`ternary_spike.costs`.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ternary_spike import recipe as recipes
from ternary_spike.errors import UserError
from ternary_spike.files import csv_text, require_listed, write_listed
from ternary_spike.user_text import read_user_text

RUNNABLE, NOT_RUN = "runnable", "not run"
#: a threshold that is not given but found: the one at which a run fires as often as this neuron does
RATE_OF = re.compile(r"rate_of_(\w+)")
SPIKING = ("binary", "ternary", "trainable")
#: what stands among a row's options and is the network's, not its neurons'
NETWORK_OPTIONS = ("stem_batch_norm",)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*")
LONGEST_NAME = 255  # of a file or folder, in bytes, in the usual file systems
# the longest name that a run's id becomes part of is its page's in the report, while that is written
LONGEST_ID = LONGEST_NAME - len("..html.12345678.partial")


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _integer(text: str) -> int:
    if not re.fullmatch("-?[0-9]+", text):  # int() would take 1_0 for 10
        raise ValueError
    return int(text)


def _integers(text: str) -> tuple[int, ...]:
    return tuple(_integer(part) for part in _list(text))


def options(text: str) -> dict[str, str]:
    """``"threshold=1.0;detach_reset=true"`` as a dictionary. Raises ValueError where a part is no KEY=VALUE."""
    pairs = [part.partition("=") for part in _list(text)]
    if any(not (key.strip() and equals and value.strip()) for key, equals, value in pairs):
        raise ValueError
    if len({key.strip() for key, _, _ in pairs}) < len(pairs):
        raise ValueError
    return {key.strip(): value.strip() for key, _, value in pairs}


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


COLUMNS: dict[str, tuple[Callable[[str], Any], str]] = {
    "dataset": (str, "a name"),
    "architecture": (str, "a name"),
    "timesteps": (_integer, "a whole number"),
    "neuron": (str, "a name"),
    "variant": (str, "a name or nothing"),
    "neuron_options": (options, "KEY=VALUE, each key once, with ; between several"),
    "recipe": (str, "a file's name in the recipe folder, without .yaml"),
    "seeds": (_integers, "whole numbers with ; between them"),
    "tables": (_list, "names of tables with ; between them"),
    "control": (_flag, "true or false"),
}


# what a selection can narrow, and of what kind its values are
FACETS = {"tables": str, "datasets": str, "architectures": str, "neurons": str, "timesteps": int, "seeds": int}


@dataclass(frozen=True)
class DataSource:
    """Where a dataset comes from.

    Attributes:
        dataset: its name in the run table.
        kind: the source's kind, such as ``torchvision``.
        root: folder or file of the dataset's own files; None where the source has none.
        options: settings of the preparation that differ from their defaults.
        original: whether results made from it may bear the dataset's plain name.
    """

    dataset: str
    kind: str
    root: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    original: bool = True

    @property
    def name(self) -> str:
        """Name of the prepared data: the dataset and whatever sets it apart from the original with default settings."""
        parts = [self.dataset, *([] if self.original else [self.kind])]
        return ".".join(parts + [_part(f"{key}_{value}") for key, value in sorted(self.options.items())])


@dataclass(frozen=True)
class Selection:
    """Which rows are wanted: an empty list wants all. ``seeds`` takes the place of the rows' own seeds."""

    tables: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    neurons: tuple[str, ...] = ()
    timesteps: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    controls: bool = False


@dataclass(frozen=True)
class Run:
    """One training: a row of the run table with one seed.

    Attributes:
        id: unique name of row, data and changes; with ``seed`` the name of the results' folder.
        changes: the recipe's keys that are changed, such as ``{"epochs": 3}``.
        reduced: what that makes of the run, in words, such as "3 of 400 epochs"; empty for a full run.
        recipe_hash: short hash of the recipe's values, changes applied; its comments and sources do not count.
        data: where its data comes from.
        status, reason: "runnable" or "not run" and why.
        target: id of the run whose firing rate this one's threshold is found for; empty where a threshold is given.
    """

    id: str
    seed: int
    dataset: str
    architecture: str
    timesteps: int
    neuron: str
    variant: str
    neuron_options: Mapping[str, str]
    recipe: str
    changes: Mapping[str, Any]
    reduced: str
    recipe_hash: str
    tables: tuple[str, ...]
    control: bool
    data: DataSource
    status: str
    reason: str
    target: str = ""

    @property
    def folder(self) -> str:
        """The run's folder within ``runs/``."""
        return f"{self.id}/seed{self.seed}"

    @property
    def given_options(self) -> dict[str, str]:
        """The neuron's options without a threshold that is yet to be found."""
        absent = (*NETWORK_OPTIONS, *(["threshold"] if self.target else []))
        return {key: text for key, text in self.neuron_options.items() if key not in absent}

    @property
    def network_options(self) -> dict[str, str]:
        """The network's options among the row's."""
        return {key: text for key, text in self.neuron_options.items() if key in NETWORK_OPTIONS}

    def row(self) -> dict[str, Any]:
        """The run as a row of plan.csv."""
        return {
            "id": self.id,
            "seed": self.seed,
            "dataset": self.dataset,
            "architecture": self.architecture,
            "timesteps": self.timesteps,
            "neuron": self.neuron,
            "variant": self.variant,
            "neuron_options": _joined(self.neuron_options),
            "recipe": self.recipe,
            "changes": _joined(self.changes),
            "reduced": self.reduced,
            "tables": ";".join(self.tables),
            "control": str(self.control).lower(),
            "data": self.data.name,
            "source": self.data.kind,
            "status": self.status,
            "reason": self.reason,
        }


def _joined(pairs: Mapping[str, Any]) -> str:
    return ";".join(f"{key}={value}" for key, value in sorted(pairs.items()))


def _part(text: str) -> str:
    """Text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text)


def read_experiments(path: Path) -> list[dict[str, Any]]:
    """The run table, typed.

    Lines that begin with ``#`` are comments; empty rows and columns that a spreadsheet leaves at the end do not count.

    Raises:
        UserError: if the file is missing, a column is missing or unknown, a cell has another form than its column's, or
            two rows are the same run.
    """
    path = Path(path)
    columns, table = _cells(path)
    rows, seen = [], {}
    for number, given in table:
        if any(given[len(columns) :]) or len(given) < len(columns):
            raise UserError(f"{path}, line {number}: it has not as many cells as the head has columns")
        cells = dict(zip(columns, given, strict=False))
        row = {}
        for column, (convert, form) in COLUMNS.items():
            try:
                row[column] = convert(cells[column])
            except (ValueError, KeyError):
                raise UserError(f"{path}, line {number}: {column} is {cells[column]!r}, but must be {form}") from None
        if row["neuron_options"] and not row["variant"]:
            raise UserError(f"{path}, line {number}: neuron_options need a variant that names them in the run's id")
        if not row["seeds"]:
            raise UserError(f"{path}, line {number}: seeds is empty; name at least one, such as 0")
        if len(set(row["seeds"])) < len(row["seeds"]):
            raise UserError(f"{path}, line {number}: seeds is {cells['seeds']!r}, which names one seed twice")
        name = run_id(row)
        _require_short(name, f"{path}, line {number}")
        if name in seen:
            raise UserError(f"{path}, line {number}: run {name} stands in line {seen[name]} already; join the two rows")
        seen[name] = number
        rows.append(row)
    return rows


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The columns of the run table, and of each row the line that it ends in and its cells, without spaces around."""
    try:
        text = read_user_text(path)
    except OSError as error:
        raise UserError(f"cannot read the run table {path}: {error.strerror or error}") from None
    lines = [(n, line) for n, line in enumerate(io.StringIO(text, newline=""), 1) if not line.startswith("#")]
    reader = csv.reader(line for _, line in lines)
    table = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            # a spreadsheet puts a comment that has a comma in it in quotes
            if any(cells) and not cells[0].startswith("#"):
                table.append((lines[reader.line_num - 1][0], cells))
    except csv.Error as error:
        raise UserError(f"the run table {path} is not CSV ({error}); write it with plain text in its cells") from None
    columns = table[0][1] if table else []
    while columns and not columns[-1]:
        columns.pop()
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and separator in columns[0]:
            raise UserError(f"{path}: its columns are separated by {name}; save it with commas between them")
    _require_columns(path, columns)
    return columns, table[1:]


def _require_columns(path: Path, columns: Iterable[str]) -> None:
    columns = list(columns)
    for column in columns:
        if column not in COLUMNS or columns.count(column) > 1:
            raise UserError(f"{path}: column {column!r} is unknown or there twice; columns are {', '.join(COLUMNS)}")
    for column in COLUMNS:
        if column not in columns:
            raise UserError(f"{path}: column {column!r} is missing; columns are {', '.join(COLUMNS)}")


def run_id(row: Mapping[str, Any], data: str | None = None, suffix: str = "") -> str:
    """The id of a row's run, on data and with changes that have these names."""
    name = f"{data or row['dataset']}-{row['architecture']}-T{row['timesteps']}-{row['neuron']}"
    return name + (f"-{row['variant']}" if row["variant"] else "") + suffix


def _require_short(name: str, where: str) -> None:
    if len(name) > LONGEST_ID:
        raise UserError(
            f"{where}: its id has {len(name)} characters, but must have at most {LONGEST_ID}, since files are named by "
            f"it; shorten the variant, or the options and changes that it names: {name}"
        )


def selected(rows: Iterable[Mapping[str, Any]], selection: Selection) -> list[Mapping[str, Any]]:
    """The rows that a selection wants.

    Raises:
        UserError: if the selection names something that no row has.
    """
    rows = list(rows)
    facets = {
        "tables": lambda row: set(row["tables"]),
        "datasets": lambda row: {row["dataset"]},
        "architectures": lambda row: {row["architecture"]},
        "neurons": lambda row: {row["neuron"]},
        "timesteps": lambda row: {row["timesteps"]},
    }
    for facet, of in facets.items():
        wanted = set(getattr(selection, facet))
        known = set().union(*map(of, rows)) if rows else set()
        if unknown := sorted(map(str, wanted - known)):
            raise UserError(f"{facet}: no run has {', '.join(unknown)}; there are {', '.join(sorted(map(str, known)))}")
        if wanted:
            rows = [row for row in rows if of(row) & wanted]
    return [row for row in rows if selection.controls or not row["control"]]


def make_plan(
    rows: Iterable[Mapping[str, Any]],
    selection: Selection,
    sources: Mapping[str, DataSource],
    recipe_folder: Path,
    changes: Mapping[str, Any],
    unavailable: Callable[[DataSource], str | None],
) -> list[Run]:
    """The plan, in the order of the table.

    Args:
        rows: of :func:`read_experiments`.
        selection: which of them.
        sources: of every dataset in the table.
        recipe_folder: holds the recipes.
        changes: of every run's recipe. A key that a recipe has with that very value changes nothing.
        unavailable: why a dataset cannot be had here, None if it can.

    Raises:
        UserError: if a dataset has no source, or a recipe or a change is unusable.
    """
    seeds = selection.seeds
    if len(set(seeds)) < len(seeds) or any(seed < 0 for seed in seeds):
        raise UserError(f"seeds is {list(seeds)}, but must be whole numbers of at least 0, each of them once")
    plan = []
    rows = selected(rows, selection)
    reasons: dict[str, str | None] = {}
    trained: dict[str, tuple[dict[str, Any], str, str]] = {}
    for row in rows:
        if row["dataset"] not in sources:
            raise UserError(f"data: no source is given for the dataset {row['dataset']}, which the run table names")
        source = sources[row["dataset"]]
        if source.name not in reasons:
            reasons[source.name] = unavailable(source)
        reason = reasons[source.name]
        if row["recipe"] not in trained:
            trained[row["recipe"]] = _changed(Path(recipe_folder) / f"{row['recipe']}.yaml", changes)
        changed, reduced, digest = trained[row["recipe"]]
        name = run_id(row, source.name, _suffix(changed))
        _require_short(name, f"run {run_id(row)}")
        twin = _twin(row)
        target = run_id(twin, source.name, _suffix(changed)) if twin else ""
        if twin and not any(run_id(other) == run_id(twin) for other in rows):
            reason = reason or f"its threshold is found for the firing rate of {target}, which is not planned"
        for seed in selection.seeds or row["seeds"]:
            plan.append(
                Run(
                    id=name,
                    seed=seed,
                    changes=changed,
                    reduced=reduced,
                    recipe_hash=digest,
                    data=source,
                    status=NOT_RUN if reason else RUNNABLE,
                    reason=reason or "",
                    target=target,
                    **{key: row[key] for key in COLUMNS if key != "seeds"},
                )
            )
    return plan


def _twin(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The row whose firing rate a row's threshold is found for: another neuron and no variant, all else equal."""
    found = RATE_OF.fullmatch(row["neuron_options"].get("threshold", ""))
    if found and found[1] not in SPIKING:
        raise UserError(
            f"run {run_id(row)}: threshold is {found[0]!r}, but must be a number or rate_of_ and one of "
            f"{', '.join(SPIKING)}"
        )
    return {**row, "neuron": found[1], "variant": ""} if found else None


def _changed(path: Path, changes: Mapping[str, Any]) -> tuple[dict[str, Any], str, str]:
    """The changes that change something in a recipe, what they are in words, and a hash of the changed recipe."""
    original, changed = recipes.load(path).as_dict(), recipes.load(path, changes).as_dict()
    real = {key: changed[key] for key in changes if changed[key] != original[key]}
    words = []
    for key, value in real.items():
        if key == "epochs":
            words.append(f"{value} of {original[key]} epochs")
        else:
            absent = "all" if key == "train_samples" else "none"
            words.append(f"{key} {value} instead of {absent if original[key] is None else original[key]}")
    return real, ", ".join(words), hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:16]


def _suffix(changes: Mapping[str, Any]) -> str:
    """What changes add to a run's id: ``-e3`` for the epochs, key and value for any other."""
    return "".join(
        f"-e{value}" if key == "epochs" else f"-{_part(f'{key}_{value}')}" for key, value in sorted(changes.items())
    )


def totals(plan: Iterable[Run]) -> Iterator[tuple[str, int, int, tuple[str, ...]]]:
    """By table: its name, the runs that can run, all its runs, and why the others cannot."""
    plan = list(plan)
    for table in sorted({table for run in plan for table in run.tables}):
        runs = [run for run in plan if table in run.tables]
        reasons = sorted({run.reason for run in runs if run.status == NOT_RUN})
        yield table, sum(run.status == RUNNABLE for run in runs), len(runs), tuple(reasons)


PLAN_COLUMNS = (
    *("id", "seed", "dataset", "architecture", "timesteps", "neuron", "variant", "neuron_options", "recipe", "changes"),
    *("reduced", "tables", "control", "data", "source", "status", "reason"),
)
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
    if missing := [column for column in PLAN_COLUMNS if column not in columns]:
        raise UserError(f"{path} has no column {', '.join(missing)}; run the `plan` stage again")
    seen = set()
    for row in rows:
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
        if not 0 < len(row["id"].encode()) <= LONGEST_NAME:
            raise UserError(f"{path}: id is {row['id'][:40]!r}…, not the name of a folder; run the `plan` stage again")
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
        reduced = f" ({first['reduced']})" if first["reduced"] else ""
        lines.append(f"{name:{width}}  seeds {seeds:5}  {_cost(group):>32}  {note}{reduced}")
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
