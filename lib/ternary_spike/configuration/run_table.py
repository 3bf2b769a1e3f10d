"""The run table: a row a training, read, typed and checked."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ternary_spike.configuration import method_sheet
from ternary_spike.configuration.method_sheet import MethodSheet
from ternary_spike.configuration.user_text import read_user_text
from ternary_spike.system.errors import UserError

# what a selection can narrow, and of what kind its values are
FACETS = {
    **dict.fromkeys(("tables", "datasets", "architectures", "neurons", "methods"), str),
    **dict.fromkeys(("timesteps", "seeds"), int),
}
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


def _own_unless_false(text: str) -> bool:
    return _flag(text or "true")


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
    "method": (str, "a file's name in the folder of method sheets, without .yaml, or nothing for the paper's way"),
    "own_recipe": (_own_unless_false, "true, false or nothing, which is true"),
    "source": (str, "the id of another row, or nothing"),
    "method_options": (options, "KEY=VALUE, each key once, with ; between several"),
}
#: columns that a table may lack: every row is then as the paper has it
OPTIONAL = ("method", "own_recipe", "source", "method_options")


#: the table that every row of prior methods belongs to, beside those of the paper that quote it
RIVALS = "rivals"


def read_experiments(path: Path, methods: Path | None = None, rivals: Path | None = None) -> list[dict[str, Any]]:
    """The run table, typed: a value by column, and under ``method`` the :class:`MethodSheet`, None for the paper's way.

    What a row leaves to its method's sheet, neuron and options, is filled in. Lines that begin with ``#`` are comments;
    empty rows and columns that a spreadsheet leaves at the end do not count.

    Args:
        path: the table.
        methods: folder of the method sheets that it names.
        rivals: a second run table, of prior methods, whose rows come behind.

    Raises:
        UserError: if a file is missing, a column is missing or unknown, a cell has another form than its column's, two
            rows are the same run, or a row of ``rivals`` does not have "rivals" among its tables.
    """
    rows, seen, sheets = [], {}, {}
    for file in filter(None, (path, rivals)):
        for number, row in _read(Path(file), methods, sheets):
            where, name = f"{file}, line {number}", run_id(row)
            require_short(name, where)
            if file == rivals and RIVALS not in row["tables"]:
                raise UserError(f"{where}: tables is {';'.join(row['tables'])!r}, but must have {RIVALS} among them")
            # some disks take a name in small and in large letters for the same
            if name.casefold() in seen:
                other, line = seen[name.casefold()]
                place = f"line {line}" if other == file else f"{other}, line {line},"
                raise UserError(f"{where}: run {name} stands in {place} already; join the two rows")
            seen[name.casefold()] = file, number
            rows.append(row)
    return rows


def _read(path: Path, methods: Path | None, sheets: dict[str, MethodSheet]) -> Iterable[tuple[int, dict[str, Any]]]:
    """The rows of one file, each with its line; the sheets that were read are added to ``sheets``."""
    columns, table = _cells(path)
    for number, given in table:
        where = f"{path}, line {number}"
        if any(given[len(columns) :]) or len(given) < len(columns):
            raise UserError(f"{where}: it has not as many cells as the head has columns")
        row = _typed(dict(zip(columns, given, strict=False)), where)
        yield number, _of_method(row, _sheet(row["method"], methods, sheets, where), where)


def _typed(cells: Mapping[str, str], where: str) -> dict[str, Any]:
    """A row's values by column."""
    row = {}
    for column, (convert, form) in COLUMNS.items():
        text = cells.get(column, "")
        try:
            row[column] = convert(text)
        except (ValueError, KeyError):
            raise UserError(f"{where}: {column} is {text!r}, but must be {form}") from None
    for column in ("neuron_options", "method_options"):
        if row[column] and not row["variant"]:
            raise UserError(f"{where}: {column} need a variant that names them in the run's id")
    if not row["seeds"]:
        raise UserError(f"{where}: seeds is empty; name at least one, such as 0")
    if len(set(row["seeds"])) < len(row["seeds"]):
        raise UserError(f"{where}: seeds is {cells['seeds']!r}, which names one seed twice")
    return row


def _sheet(name: str, folder: Path | None, known: dict[str, MethodSheet], where: str) -> MethodSheet | None:
    """The sheet of a name, from its file or from those that were read before; None without a name."""
    if not name:
        return None
    if name not in known:
        if folder is None or not NAME.fullmatch(name):
            raise UserError(f"{where}: method is {name!r}, but must be {COLUMNS['method'][1]}")
        try:
            known[name] = method_sheet.load(Path(folder) / f"{name}.yaml")
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    return known[name]


def _of_method(row: dict[str, Any], sheet: MethodSheet | None, where: str) -> dict[str, Any]:
    """A row with what it leaves to its method's sheet."""
    neuron, options = row["neuron"], row["neuron_options"]
    if sheet is not None:
        neuron, options = sheet.neuron_of(neuron, options)
        options = {**sheet.network_options, **options}
    if not row["own_recipe"]:
        if sheet is None:
            raise UserError(f"{where}: own_recipe is false, but method is empty, whose recipe that is; leave it out")
        sheet = sheet.without_recipe()
    if row["method_options"]:
        sheet = _with_options(sheet, row["method_options"], where)
    if not neuron:
        raise UserError(f"{where}: neuron is empty, but must be a name where no method names one")
    return {**row, "neuron": neuron, "neuron_options": options, "method": sheet}


def _with_options(sheet: MethodSheet | None, options: Mapping[str, str], where: str) -> MethodSheet:
    """A row's method with the options that the row has in place of the sheet's."""
    if sheet is None or not sheet.training:
        missing = "method is empty" if sheet is None else f"{sheet.name} names no way to train"
        raise UserError(f"{where}: method_options are options of a method's training, but {missing}; leave them out")
    return sheet.with_options(options)


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
        if column not in columns and column not in OPTIONAL:
            raise UserError(f"{path}: column {column!r} is missing; columns are {', '.join(COLUMNS)}")


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as its schema knows it: lists for tuples, and the method by its name."""
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in row.items()}
    return {**listed, "method": row["method"].name if row["method"] else ""}


def file_part(text: str) -> str:
    """Text as a part of a file's name: ``mypackage.mymodule:MyNeuron`` as ``mypackage.mymodule_MyNeuron``."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text)


def run_id(row: Mapping[str, Any], data: str | None = None, suffix: str = "") -> str:
    """The id of a row's run, on data and with changes that have these names."""
    method = row["method"].id_part if row["method"] else ""
    return _joined({**row, "dataset": data or row["dataset"]}, method) + suffix


def row_id(planned: Mapping[str, Any]) -> str:
    """The id, as in the run table, of the row that a row of plan.csv is of: without its data and changes."""
    own = planned["own_recipe"] != "false"
    return _joined(planned, planned["method"] if own else f"{planned['method']}-{method_sheet.ROW_RECIPE}")


def _joined(row: Mapping[str, Any], method: str) -> str:
    architecture, neuron = file_part(row["architecture"]), file_part(row["neuron"])
    return "-".join(
        filter(None, [row["dataset"], architecture, f"T{row['timesteps']}", neuron, method, row["variant"]])
    )


def require_short(name: str, where: str) -> None:
    """Refuse a run's id that makes too long a name of a file; ``where`` is the row that it comes from.

    Raises:
        UserError: if it is too long.
    """
    if len(name) > LONGEST_ID:
        raise UserError(
            f"{where}: its id has {len(name)} characters, but must have at most {LONGEST_ID}, since files are named by "
            f"it; shorten the variant, or the options and changes that it names: {name}"
        )
