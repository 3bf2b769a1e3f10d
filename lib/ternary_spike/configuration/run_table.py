"""The run table: a row a training, read, typed and checked."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ternary_spike.configuration.user_text import read_user_text
from ternary_spike.system.errors import UserError

# what a selection can narrow, and of what kind its values are
FACETS = {"tables": str, "datasets": str, "architectures": str, "neurons": str, "timesteps": int, "seeds": int}
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
