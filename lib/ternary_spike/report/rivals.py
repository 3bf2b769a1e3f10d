"""The rows that the paper quotes of prior methods, for those whose runs a preset has.

The report's page on prior methods is ``notebooks/rivals.py``; its table of runs is made by
:mod:`ternary_spike.tables.rivals`.
"""

import re
from collections.abc import Iterable, Mapping

import pandas as pd

from ternary_spike import paper
from ternary_spike.paper.quoted import key_of, quotations
from ternary_spike.report.results import Results
from ternary_spike.tables.rivals import PRIOR


def plain_name(name: str) -> str:
    """A method's name without what spellings differ in: "InfLoR-SNN" and the neuron "inflor" are one."""
    return re.sub("[^a-z0-9]", "", name.casefold()).removesuffix("snn")


def method_of(name: str) -> str:
    """The plain name of the method of a row of the table "rivals", which is called by it, its neuron and its level."""
    return plain_name(re.split(r" \(| on ", name)[0])


def published(rivals: pd.DataFrame) -> pd.DataFrame:
    """The rows that the paper quotes of the methods of some runs.

    Args:
        rivals: rows of the table of that name.

    Returns:
        ``table`` with its dataset, ``method``, ``citation``, ``network``, ``T``, ``percent``, ``margin`` (points less
        the best of the paper's own rows in that table on that data) and ``remark``, what the quotation does not say.
    """
    names = set(map(method_of, rivals["name"]))
    rows = []
    for row in paper.accuracies():
        if row.own or plain_name(row.method) not in names:
            continue
        own = [
            each for each in paper.accuracies() if each.own and (each.table, each.dataset) == (row.table, row.dataset)
        ]
        rows.append(
            {
                "table": f"Table {row.table}, {row.dataset}",
                "method": row.method,
                "citation": row.citation,
                "network": row.architecture,
                "T": row.timesteps,
                "percent": row.accuracy_percent,
                "margin": row.accuracy_percent - max(each.accuracy_percent for each in own),
                "remark": quotations()[key_of(row)].remark,
            }
        )
    columns = ["table", "method", "citation", "network", "T", "percent", "margin", "remark"]
    return pd.DataFrame(rows, columns=columns)


def equal_conditions(sets: Iterable[Results]) -> Mapping[str, pd.Series]:
    """Each prior method that has run beside ternary spikes where only the method differs, by its plain name.

    Args:
        sets: results with prior methods; a method's row is the first set's that has it.

    Returns:
        Rows of the table "rivals", each with a ``set``. Of several rows of a method one that is compared with ternary
        spikes counts, and of a conversion's lengths, which are not, the longest.
    """
    found: dict[str, pd.Series] = {}
    for each in sets:
        rivals = each.table("rivals")
        rivals = rivals[(rivals["n"] > 0) & (rivals["kind"] == PRIOR)].assign(set=each.preset)
        rivals = rivals.assign(compared=rivals["difference_points"].notna())
        for _, row in rivals.sort_values(["compared", "timesteps"], ascending=False, kind="stable").iterrows():
            found.setdefault(method_of(row["name"]), row)
    return found


def conversions(found: Results) -> pd.DataFrame:
    """Networks that were converted and then not trained, where they have run with several numbers of timesteps.

    Args:
        found: results with prior methods.

    Returns:
        Rows of the table "rivals", by method and T, each with ``source_percent``, the accuracy of what was converted,
        and its ``source_run``.
    """
    rivals, summary = found.table("rivals"), found.table("summary").set_index("id")
    rivals = rivals[(rivals["n"] > 0) & (rivals["kind"] == PRIOR) & rivals["seconds_per_image"].isna()]
    started = found.table("runs").groupby("id")["source_run"].first()
    rivals = rivals.assign(source_run=rivals["id"].map(started))
    rivals = rivals.assign(source_percent=rivals["source_run"].map(summary["last_epoch_mean_percent"]))
    several = rivals.groupby(["data_label", "architecture", "name"])["timesteps"].transform("nunique") > 1
    return rivals[several].sort_values(["data_label", "architecture", "name", "timesteps"])
