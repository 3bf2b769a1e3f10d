"""The checks of what the paper quotes: a row of prior work against what its source says beyond the printed figure.

What was read in the source, its authors' code and logs among it, contradicts a quotation or does not. What was read at
second hand, in later papers' tables or others' notes, decides nothing: the claim is open until the source is read.
"""

from ternary_spike.claims.findings import READ, SECOND_HAND, Finding, Tables, check, exact, untested
from ternary_spike.claims.printed import best_own
from ternary_spike.paper.quoted import FIRST, quotations
from ternary_spike.tables.verdicts import OPEN


@check
def as_quoted(tables: Tables, table: int, dataset: str, method: str, aspect: str) -> Finding:
    """Whether a method's rows are what they are quoted as: they are not where their source says otherwise."""
    rows = [
        (key, quoted)
        for key, quoted in quotations().items()
        if key[:3] == (table, dataset, method) and aspect in quoted.aspects
    ]
    if not rows:
        return untested(f"nothing is known of the {aspect} of {method}'s rows beyond what is printed")
    words = {f"{architecture}, T = {timesteps}: {quoted.remark}" for (*_, architecture, timesteps), quoted in rows}
    result = "; ".join(sorted(words))
    if any(quoted.hand == FIRST for _, quoted in rows):
        return exact(False, result, evidence=READ)
    return Finding(SECOND_HAND, result, OPEN)


@check
def above_unquoted(
    tables: Tables,
    table: int,
    dataset: str,
    method: str,
    architecture: str,
    timesteps: int,
    percent: float,
    seen_in: str,
) -> Finding:
    """The best of the paper's own rows of a dataset against a figure of prior work that its table does not quote."""
    best = best_own(table, dataset)
    result = (
        f"{method} has {percent:.2f} % ({architecture}, T = {timesteps}; seen in: {seen_in}); Table {table}'s best own "
        f"row has {best.accuracy_percent:.2f} % (T = {best.timesteps}), {best.accuracy_percent - percent:+.2f} points"
    )
    return Finding(SECOND_HAND, result, OPEN)
