"""What the comparison under equal conditions says in one sentence, and which results say it.

The page of it all is ``notebooks/rivals.py``; the front page and the README have the sentence.
"""

from collections.abc import Iterable

import pandas as pd

from ternary_spike.report.reference import Kept
from ternary_spike.report.results import Results
from ternary_spike.report.show import decimal, missing
from ternary_spike.tables.controls import GRADIENT, SAME_OPTION
from ternary_spike.tables.rivals import ABOVE, BELOW, BINARY, COMBINED, CONTROL, OWN, PRIOR, TERNARY, UNDECIDED

#: the run table's name for binary spikes whose surrogate gradient is as wide as the ternary's, with the step's area
WINDOW = "wide_window"
_PLACE = ["data_label", "architecture", "timesteps"]


def compared_sets(results: Results, kept: Iterable[Kept]) -> list[Results]:
    """The results that have prior methods: the preset's own first, then kept ones, real pictures before digits.

    Args:
        results: the preset's.
        kept: what came with the repository.
    """
    found = [each for each in kept if each.preset != results.preset and (each.table("rivals")["n"] > 0).any()]
    found.sort(key=on_digits)
    return [results, *found] if len(results.table("rivals")) else found


def on_digits(results: Results) -> bool:
    """Whether all that has finished is on the handwritten digits."""
    return bool((results.done["dataset"] == "digits").all())


def rivals_figure(results: Results, found: Results, shows: str, row: pd.Series, each_t: bool = True) -> str:
    """The name of a figure of the page of prior methods.

    Args:
        results: the preset whose report it is in.
        found: the results that it is made of; those of another preset have its name.
        shows: what it shows, a word.
        row: of the table "rivals", for data, network and T.
        each_t: whether each T has a figure of its own.
    """
    words = ["rivals", shows, row["dataset"], row["architecture"], f"T{row['timesteps']}" * each_t]
    return "-".join([word for word in words if word] + [found.preset] * (found is not results))


def main_place(found: Results) -> pd.DataFrame:
    """The finished rows of the table "rivals" at the place (data, network, T) with most runs beside ternary ones.

    Empty where ternary spikes themselves have not finished.
    """
    done = found.table("rivals")
    done = done[done["n"] > 0]
    places = [here for _, here in done.groupby(_PLACE, sort=False) if _ternary(here) is not None]
    return max(places, key=len, default=done.head(0))


def in_one_sentence(found: Results) -> str:
    """Whether it is the ternary spike, at the main place of some results; empty where nothing says it.

    The lead over binary spikes, over binary spikes whose surrogate gradient is as wide as the ternary's, the lead where
    both have one and the same shape of it, and where the prior methods stand, with 95 % intervals over seeds where
    there are several.
    """
    here = main_place(found)
    ternary = None if here.empty else _ternary(here)
    if ternary is None:
        return ""
    leads = [
        f"{_points(row.iloc[0], sign=-1)} over {words}"  # the row's difference is its own less ternary's
        for words, variant, kind in (
            ("binary spikes", "", OWN),
            ("binary spikes whose surrogate gradient is as wide as the ternary's", WINDOW, CONTROL),
        )
        if len(row := here[(here["kind"] == kind) & (here["neuron"] == BINARY) & (here["variant"] == variant)])
    ]
    label, network, timesteps = (ternary[column] for column in _PLACE)
    seeds = f"{ternary['n']:g} seed{'s' if ternary['n'] > 1 else ''}"
    sentence = f"On {label}, {network} with T = {timesteps}, ternary spikes reach "
    sentence += f"{decimal(ternary['last_epoch_mean_percent'], 2)} % ({seeds}): {' and '.join(leads)}."
    sentence += "".join(f" With {words}, it is {lead}." for words, lead in _same_shape(found, set(here["id"])))
    standings = [
        f"{words}{_standing(mine)}"
        for kind, words in ((PRIOR, ""), (COMBINED, "on ternary spikes "))
        if len(mine := here[here["kind"] == kind])
    ]
    if standings:
        sentence += f" Prior methods under the same conditions: {'; '.join(standings)}."
    return sentence


def _standing(rows: pd.DataFrame) -> str:
    """How many rows are above, below and not told apart from the ternary spike, and of how many one seed says nothing.

    Without an interval nothing could be decided, whatever the difference.
    """
    alone = rows["interval_points"].map(missing)
    verdicts = rows.loc[~alone, "verdict"]
    standing = (
        f"{(verdicts == ABOVE).sum()} above the ternary spike, {(verdicts == UNDECIDED).sum()} not told apart from it, "
        f"{(verdicts == BELOW).sum()} below"
    )
    return (
        f"{standing}, {alone.sum()} with a single seed on one side, which decides nothing" if alone.any() else standing
    )


def _same_shape(found: Results, ids: set[str]) -> list[tuple[str, str]]:
    """In words, surrogate gradients that ternary and binary runs among these both have, and the lead with each."""
    pairs, controls = found.table("differences"), found.table("controls")
    if "surrogate" not in controls:  # tables of an earlier version
        return []
    controls = controls.set_index("id")
    shaped = set(controls.index[controls["kind"] == GRADIENT])
    pairs = pairs[(pairs["question"] == SAME_OPTION) & pairs["id"].isin(ids & shaped)]
    return [
        (f"the surrogate gradient {controls.loc[row['id'], 'surrogate']!r} on both sides", _points(row))
        for _, row in pairs.iterrows()
    ]


def _ternary(here: pd.DataFrame) -> pd.Series | None:
    plain = here[(here["kind"] == OWN) & (here["neuron"] == TERNARY)]
    return None if plain.empty else plain.iloc[0]


def _points(row: pd.Series, sign: int = 1) -> str:
    """A difference with its interval."""
    points = decimal(sign * row["difference_points"], 2, sign=True)
    half = row["interval_points"]
    return (
        f"{points} points (a seed alone on one side, so no interval)"
        if missing(half)
        else f"{points} ± {decimal(half, 2)} points"
    )
