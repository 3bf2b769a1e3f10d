"""What notebooks and pages show: tables with aligned numbers, verdicts, links to runs, and prose with its numbers."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from ternary_spike.configuration.method_sheet import LEVELS
from ternary_spike.report.figures import Shown
from ternary_spike.report.palette import rank, titled, variable
from ternary_spike.report.reference import PLACE, Kept
from ternary_spike.report.results import Results
from ternary_spike.tables import rivals
from ternary_spike.tables.verdicts import ABOVE, AGREES, BELOW, DISAGREES, EXACT, NOT_TESTED, OPEN, SCALE, UNDECIDED

DASH = "–"

#: CSS class and sign of each verdict: the sign says without colour what the colour says
VERDICTS = {
    AGREES: ("good", "✓"),
    BELOW: ("bad", "▼"),
    ABOVE: ("other", "▲"),
    DISAGREES: ("bad", "✗"),
    UNDECIDED: ("open", "?"),
    SCALE[0]: ("good", "✓"),
    SCALE[1]: ("bad", "✗"),
    SCALE[2]: ("open", "?"),
    EXACT[0]: ("good", "✓"),
    EXACT[1]: ("bad", "✗"),
    NOT_TESTED: ("none", "○"),
    OPEN: ("open", "?"),
    rivals.ABOVE: ("other", "▲"),
    rivals.BELOW: ("other", "▼"),
}


#: where a method's name says its level
LEVEL = re.compile(rf"\((?:{'|'.join(LEVELS)})\b")


def missing(value) -> bool:
    """Whether a cell has no value."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value)) or value is pd.NA


def decimal(value: float, digits: int, sign: bool = False) -> str:
    """A number with thousands separators and a proper minus sign."""
    shown = f"{value:{'+' if sign else ''},.{digits}f}"
    # what rounds to zero has no sign
    return shown.replace("-", "−") if any(digit in shown for digit in "123456789") else shown.lstrip("+-")


def in_words(mean: float, std: float | None = None, digits: int = 2, unit: str = "") -> str:
    """A mean with its standard deviation for prose, such as "97.10 ± 0.20 %"; "–" if there is none."""
    if missing(mean):
        return DASH
    spread = "" if missing(std) else f" ± {decimal(std, digits)}"
    return f"{decimal(mean, digits)}{spread}{f' {unit}' if unit else ''}"


def as_text(value: object) -> str:
    """A value as Markdown that shows its characters as they are, on one line, whatever they would mean as markup.

    For every value in a :func:`note` that comes from a file: names, labels, reasons.
    """
    shown = re.sub(r"[\\`*_\[\]<>&$|~]", r"\\\g<0>", " ".join(str(value).split()))
    # at the beginning of a line these would make a heading or a list
    return re.sub(r"^(\d*)([#+=.)-])", r"\1\\\2", shown)


def judged(claim: pd.Series) -> str:
    """A row of the claims for a note: what is claimed, the verdict, the kind of evidence and its figures."""
    statement, verdict, evidence, result = map(as_text, claim[["statement", "verdict", "evidence", "result"]])
    return f"{statement} **{verdict.capitalize()}** ({evidence}): {result}."


@dataclass(frozen=True)
class Column:
    """A table's column.

    Attributes:
        label: its heading, with the unit.
        cell: from a row to the cell's HTML.
        order: from a row to what the column sorts by; None for what the cell shows.
        numeric: whether it is aligned as numbers are.
        long: whether its text may break into lines.
    """

    label: str
    cell: Callable[[pd.Series], str]
    order: Callable[[pd.Series], float | str] | None = None
    numeric: bool = False
    long: bool = False

    @property
    def attributes(self) -> str:
        """The HTML class of its cells."""
        return ' class="number"' if self.numeric else ' class="long"' if self.long else ""


def text(label: str, key: str, long: bool = False) -> Column:
    """A column of plain text."""
    return Column(label, lambda row: DASH if missing(row.get(key)) else escape(str(row[key])), long=long)


def number(label: str, key: str, digits: int = 2, scale: float = 1.0, sign: bool = False) -> Column:
    """A column of numbers with a fixed number of digits."""

    def cell(row: pd.Series) -> str:
        return DASH if missing(row.get(key)) else decimal(float(row[key]) * scale, digits, sign)

    return Column(label, cell, lambda row: row.get(key), numeric=True)


def scientific(label: str, key: str) -> Column:
    """A column of numbers of any size, such as 3.0e-14."""

    def cell(row: pd.Series) -> str:
        return DASH if missing(row.get(key)) else f"{row[key]:.1e}"

    return Column(label, cell, lambda row: row.get(key), numeric=True)


def signed(label: str, key: str, digits: int = 2) -> Column:
    """A column of differences."""
    return number(label, key, digits, sign=True)


def spread(label: str, name: str, unit: str = "percent", digits: int = 2, scale: float = 1.0) -> Column:
    """A column of means ± sample standard deviations, from ``<name>_mean_<unit>`` and ``<name>_std_<unit>``.

    Where they are of fewer seeds (``<name>_n``) than finished (``n``), it says so.
    """
    mean, std, count = f"{name}_mean_{unit}", f"{name}_std_{unit}", f"{name}_n"

    def cell(row: pd.Series) -> str:
        shown = in_words(*(None if missing(row.get(key)) else row[key] * scale for key in (mean, std)), digits)
        fewer = not any(missing(row.get(key)) for key in (mean, count, "n")) and row[count] < row["n"]
        return f"{shown} ({row[count]:.0f} of {row['n']:.0f} seeds)" if fewer else shown

    return Column(label, cell, lambda row: row.get(mean), numeric=True)


def called(row: Mapping) -> str:
    """What tables and pictures call a run: its method and neuron, or its neuron and variant.

    A published one is never without its level. Rows of tables about a run's parts have no method, or mean another thing
    by that; there the method, with its level, is in the variant.
    """
    if LEVEL.search("" if missing(row.get("method")) else row["method"]):
        return rivals.name_of(row)
    variant = "" if missing(row.get("variant")) else str(row["variant"])
    own = row["neuron"] if LEVEL.search(variant) else titled(row["neuron"])
    return f"{own} {variant.replace('_', ' ')}".rstrip()


def neuron(label: str = "Neuron", key: str = "neuron") -> Column:
    """A column of neurons, each with its colour."""

    def cell(row: pd.Series) -> str:
        name = row.get(key)
        if missing(name):
            return DASH
        return marked(name, escape(called({**row, "neuron": name})))

    return Column(label, cell, lambda row: None if missing(row.get(key)) else rank(row[key]))


def marked(neuron: str, html: str) -> str:
    """Words about a neuron, as HTML, behind a mark in its colour."""
    return f'<span class="neuron {variable(str(neuron))}">{html}</span>'


def run_link(label: str = "Run", key: str = "id") -> Column:
    """A column of links to the runs' pages."""

    def cell(row: pd.Series) -> str:
        run = row.get(key)
        return DASH if missing(run) else f'<a href="runs/{escape(run)}.html" title="{escape(run)}">{escape(run)}</a>'

    return Column(label, cell, long=True)


def record(label: str, kept: Kept) -> Column:
    """A column of links to the records of trainings that are kept with the repository."""

    def cell(row: pd.Series) -> str:
        run = escape(row["id"])
        to = f"files/{PLACE}/{kept.preset}/runs/{run}/seed{row['seed']}/run.json"
        return f'<a href="{to}" title="{run}">{run}</a>'

    return Column(label, cell, long=True)


def state(label: str = "State") -> Column:
    """A column that says what gave no number and why, and how what gave one is reduced."""

    def cell(row: pd.Series) -> str:
        parts = [] if missing(row.get("state")) or row["state"] == "done" else [escape(row["state"])]
        if not missing(row.get("reduced")):
            parts.append(f'<span class="reduced">reduced: {escape(row["reduced"])}</span>')
        return "; ".join(parts) or ("done" if row.get("state") == "done" else DASH)

    return Column(label, cell, long=True)


def badge(word: str) -> str:
    """A verdict as HTML."""
    if missing(word):
        return DASH
    kind, sign = VERDICTS[word]
    return f'<span class="verdict {kind}"><span aria-hidden="true">{sign}</span> {escape(word)}</span>'


def verdict(label: str = "Verdict") -> Column:
    """A column of verdicts."""
    return Column(label, lambda row: badge(row.get("verdict")), lambda row: str(row.get("verdict", "")))


def place(row: pd.Series) -> str:
    """What runs have in common that differ in the neuron only."""
    return f"{row['data_label'] or row['dataset']}, {row['architecture']}, T = {row['timesteps']}"


def table(
    rows: pd.DataFrame,
    columns: Iterable[Column],
    caption: str,
    source: str | None = None,
    group: Callable[[pd.Series], str] | None = None,
) -> Shown:
    """A table: numbers aligned, sortable by column where JavaScript runs, scrolling by itself where the page is narrow.

    Args:
        rows: a row a row.
        columns: see :class:`Column`.
        caption: what the table shows.
        source: the table file that the rows come from, linked in the caption: its name, or its place in ``files/``.
        group: from a row to the heading that it stands under with its neighbours; such a table sorts within each.
    """
    columns = list(columns)
    head = "".join(f'<th scope="col"{column.attributes}>{escape(column.label)}</th>' for column in columns)
    body, heading = [], None
    for _, row in rows.iterrows():
        cells = []
        if group and group(row) != heading:
            heading = group(row)
            span = f'colspan="{len(columns)}" scope="colgroup"'
            body.append(f'<tr class="group"><th {span}><span>{escape(heading)}</span></th></tr>')
        for column in columns:
            order = column.order(row) if column.order else None
            key = "" if missing(order) else f' data-order="{escape(str(order), quote=True)}"'
            cells.append(f"<td{column.attributes}{key}>{column.cell(row)}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    file = "" if source is None else source if "/" in source else f"tables/{source}"
    link = f' <a class="files" href="files/{file}.csv">{Path(file).name}.csv</a>' if source else ""
    empty = f'<tr><td colspan="{len(columns)}">nothing to show yet</td></tr>'
    return Shown(
        f'<div class="scroll" tabindex="0" role="group" aria-label="Table: {escape(caption, quote=True)}"><table>'
        f"<caption>{escape(caption)}{link}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body) or empty}</tbody></table></div>"
    )


class Prose:
    """Markdown whose numbers were computed in the cell that shows it."""

    def __init__(self, markdown: str) -> None:
        self.markdown = markdown

    def _repr_markdown_(self) -> str:
        return self.markdown

    def __repr__(self) -> str:
        return self.markdown


def note(*sentences: str) -> Prose:
    """Sentences as a paragraph of Markdown, values from files by :func:`as_text`; empty ones are left out."""
    return Prose(" ".join(sentence for sentence in sentences if sentence))


def claims(results: Results, notebook: str) -> Shown:
    """The ledger's rows whose evidence a notebook is; of those that were not tested, their number."""
    found = results.table("claims")
    found = found[found["notebook"].str.split("#").str[0] == notebook]
    judged = found[found["verdict"] != NOT_TESTED]
    columns = [
        Column(
            "Claim", lambda row: f'<a href="claims.html#{escape(row["id"])}">{escape(row["statement"])}</a>', long=True
        ),
        text("Where", "where", long=True),
        text("Evidence", "evidence", long=True),
        text("Result", "result", long=True),
        verdict(),
    ]
    shown = table(judged, columns, "Claims of the paper that are judged here", "claims")
    if rest := len(found) - len(judged):
        first = found[found["verdict"] == NOT_TESTED]["id"].iloc[0]
        more = f"{rest} claim{'s' if rest > 1 else ''} that would be judged here could not be tested"
        shown = Shown(f'{shown.html}<p><a href="claims.html#{first}">{more}</a>.</p>')
    return shown
