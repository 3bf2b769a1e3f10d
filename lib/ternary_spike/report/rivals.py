"""The rows that the paper quotes of prior methods, for those whose runs a preset has.

The report's page on prior methods is ``notebooks/rivals.py``; its table of runs is made by
:mod:`ternary_spike.tables.rivals`.
"""

import re

import pandas as pd

from ternary_spike import paper
from ternary_spike.paper.quoted import key_of, quotations


def plain_name(name: str) -> str:
    """A method's name without what spellings differ in: "InfLoR-SNN" and the neuron "inflor" are one."""
    return re.sub("[^a-z0-9]", "", name.casefold()).removesuffix("snn")


def published(rivals: pd.DataFrame) -> pd.DataFrame:
    """The rows that the paper quotes of the methods of some runs.

    Args:
        rivals: rows of the table of that name.

    Returns:
        ``table`` with its dataset, ``method``, ``citation``, ``network``, ``T``, ``percent``, ``margin`` (points less
        the best of the paper's own rows in that table on that data) and ``remark``, what the quotation does not say.
    """
    names = {plain_name(re.split(r" \(| on ", name)[0]) for name in rivals["name"]}
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
