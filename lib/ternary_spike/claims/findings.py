"""What a check finds: evidence, figures and a verdict, which cannot be put together in a way that says too much.

A finding's verdict belongs to the vocabulary of its kind of evidence, and a finding cannot be made otherwise: what
rests on a reduced run can never say "agrees with the paper".
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from ternary_spike.tables.verdicts import AGREES, DISAGREES, EXACT, FULL, NOT_TESTED, OPEN, SCALE, UNDECIDED

DERIVED = "derived"
COMPUTED = "computed exactly"
MEASURED = "measured in full"
REDUCED = "measured at reduced scale"
READ = "read in the source"
SECOND_HAND = "read at second hand"
UNTESTED = "not tested"

VOCABULARY = {
    DERIVED: EXACT,
    COMPUTED: EXACT,
    MEASURED: FULL,
    REDUCED: SCALE,
    READ: EXACT,
    SECOND_HAND: (OPEN,),
    UNTESTED: (NOT_TESTED,),
}
Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        evidence: kind of evidence, a key of :data:`VOCABULARY`.
        result: the figures, in one line.
        verdict: a word of that kind's vocabulary.
        runs: ids of the runs that it rests on.
        reduced: how those runs are reduced; empty unless the evidence is "measured at reduced scale".

    Raises:
        ValueError: if the verdict is not of the evidence's vocabulary, or a reduction is named with other evidence.
    """

    evidence: str
    result: str
    verdict: str
    runs: tuple[str, ...] = ()
    reduced: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VOCABULARY[self.evidence]:
            raise ValueError(f"{self.verdict!r} is no verdict on what is {self.evidence}")
        if self.reduced and self.evidence != REDUCED:
            raise ValueError(f"a reduced run ({self.reduced}) cannot be evidence that is {self.evidence}")


CHECKS: dict[str, Callable[..., Finding]] = {}


def check(function: Callable[..., Finding]) -> Callable[..., Finding]:
    """Make a function known to the ledger by its name."""
    CHECKS[function.__name__] = function
    return function


def untested(why: str) -> Finding:
    """Nothing to judge by."""
    return Finding(UNTESTED, why, NOT_TESTED)


def exact(holds: bool, result: str, runs: tuple[str, ...] = (), evidence: str = COMPUTED) -> Finding:
    """A finding that no scale matters to."""
    return Finding(evidence, result, EXACT[0] if holds else EXACT[1], runs)


_IN_FULL = dict(zip(SCALE, (AGREES, DISAGREES, UNDECIDED), strict=True))


def at_scale(verdict: str, result: str, runs: tuple[str, ...], reduced: str) -> Finding:
    """A finding by a rule that is the same at any scale, in the words of the scale of its runs.

    Args:
        verdict: of :data:`~ternary_spike.tables.verdicts.SCALE`.
        result, runs: as a finding has them.
        reduced: how the runs are reduced; empty for full ones.
    """
    if reduced:
        return Finding(REDUCED, result, verdict, runs, reduced)
    return Finding(MEASURED, result, _IN_FULL[verdict], runs)
