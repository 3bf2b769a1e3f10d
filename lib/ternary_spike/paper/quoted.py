"""What stands behind the rows of prior work that the paper quotes in Tables 2-4: a row of ``quoted.csv`` for each.

A quotation is a name, a network and a figure. Where the source says more (that a network began as another one, that a
figure is the best epoch of one run) the row says so, with where that was seen: in the source itself, its authors' code
and logs among it, or at second hand. It also names the run of the run table that stands for the row as published.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ternary_spike.paper import Accuracy

HERE = Path(__file__).parent
#: what a remark is about: the kind of training, the network, the figure, the input
ASPECTS = ("training", "network", "figure", "input")
#: whether a remark rests on the source, its authors' code and logs among it, or on what others say of it
FIRST, SECOND = HANDS = ("first", "second")

Key = tuple[int, str, str, str, int]


@dataclass(frozen=True)
class Quotation:
    """What is known of a quoted row beyond what the paper prints.

    Attributes:
        run: id, as in the run table, of the run that stands for it as published; empty where there is none.
        differs: how that run differs from the published one as far as known, or why there is none.
        hides: what the quotation does not say; empty where nothing is known.
        aspects: what that is about, of :data:`ASPECTS`.
        hand: "first" or "second", see :data:`HANDS`; empty without a remark.
        seen_in: where it was seen.
    """

    run: str
    differs: str
    hides: str
    aspects: tuple[str, ...]
    hand: str
    seen_in: str

    @property
    def remark(self) -> str:
        """What it hides and where that was seen, for readers; empty where nothing is known."""
        return f"{self.hides} (seen in: {self.seen_in})" if self.hides else ""


def key_of(row: Accuracy) -> Key:
    """What tells a row of Tables 1-4 from the others."""
    return row.table, row.dataset, row.method, row.architecture, row.timesteps


@cache
def quotations() -> dict[Key, Quotation]:
    """Every quoted row's, by :func:`key_of`, in the paper's order."""
    with (HERE / "quoted.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {
        (int(row["table"]), row["dataset"], row["method"], row["architecture"], int(row["timesteps"])): Quotation(
            run=row["run"],
            differs=row["differs"],
            hides=row["hides"],
            aspects=tuple(filter(None, row["aspects"].split(";"))),
            hand=row["hand"],
            seen_in=row["seen_in"],
        )
        for row in rows
    }
