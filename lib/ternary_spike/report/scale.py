"""How the lead of ternary over binary spikes moves with the network's width and the length of the schedule.

What is compared lies in several sets of kept results. A *place* is a width and a number of epochs; all runs of a place
are taken from one set, so that they were trained alike.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from ternary_spike.report.energies import energy_by_method
from ternary_spike.report.reference import READING, Kept
from ternary_spike.report.show import in_words
from ternary_spike.tables.paper_tables import sample
from ternary_spike.tables.verdicts import welch_interval

#: the runs of a place: what they are called here, and their neuron and variant in the run table
KINDS = {
    ("ternary", ""): "ternary",
    ("trainable", ""): "trainable ternary",
    ("binary", ""): "binary",
    ("binary", "wide_window"): "binary, window as wide",
}
TERNARY = "ternary"
BASES = ("binary", "binary, window as wide")
#: the axes of the experiment: places of so many epochs, by width; places of that width, by epochs
EPOCHS, WIDTH = 10, 8
AXES = {"width": ("epochs", EPOCHS), "epochs": ("width", WIDTH)}


def scale_runs(sets: Iterable[Kept]) -> pd.DataFrame:
    """The runs of every place, a row a run id.

    Args:
        sets: kept results; those of another network, data or T have no part in it.

    Returns:
        ``width``, ``epochs``, ``kind``, ``set``; ``neuron``; ``data_label``, ``n``, accuracies and rates as in the
        table "summary"; ``energy_mean_microjoule`` by the paper's formula; ``amplitude_least`` and
        ``amplitude_most``, of the layers' trained amplitudes over all seeds.
    """
    found = pd.concat([_runs_of(each) for each in sets] or [pd.DataFrame(columns=_COLUMNS)], ignore_index=True)
    if found.empty:
        return found
    # of sets that have a place in common, the one with all that is compared has it; of equals, that with more seeds
    sizes = found.groupby(["width", "epochs", "set"], as_index=False).agg(
        compared=("kind", lambda kinds: len({TERNARY, *BASES} & set(kinds))), runs=("kind", "size"), seeds=("n", "sum")
    )
    sizes = sizes.sort_values(["compared", "runs", "seeds"])
    best = sizes.groupby(["width", "epochs"], as_index=False).tail(1)
    found = found.merge(best[["width", "epochs", "set"]])
    order = {kind: position for position, kind in enumerate(KINDS.values())}
    return found.sort_values(["width", "epochs", "kind"], key=lambda c: c.map(order) if c.name == "kind" else c)


def _runs_of(results: Kept) -> pd.DataFrame:
    done = results.done
    kinds = [KINDS.get(pair) for pair in zip(done["neuron"], done["variant"], strict=True)]
    widths = done["architecture"].str.extract(r"^resnet20w(\d+)$", expand=False)
    done = done.assign(kind=kinds, width=pd.to_numeric(widths), set=results.preset)
    done = done[
        done["kind"].notna()
        & done["width"].notna()
        & (done["method"] == "")
        & (done["dataset"] == "cifar10")
        & (done["timesteps"] == 2)
    ]
    if done.empty:
        return pd.DataFrame(columns=_COLUMNS)
    epochs = results.table("runs").groupby("id")["epochs"].max()
    energy = energy_by_method(results)
    chosen = energy["method"].str.endswith(READING) & (energy["encoder"] == "every timestep")
    energy = energy[chosen].set_index("id")["energy_mean_microjoule"]
    amplitudes = results.table("layers").groupby("id")["amplitude"].agg(["min", "max"])
    done = done.assign(
        epochs=done["id"].map(epochs),
        energy_mean_microjoule=done["id"].map(energy),
        amplitude_least=done["id"].map(amplitudes["min"]),
        amplitude_most=done["id"].map(amplitudes["max"]),
    )
    return done[list(_COLUMNS)]


_COLUMNS = (
    "width", "epochs", "kind", "set", "id", "neuron", "variant", "data_label", "reduced", "n", "seeds",
    "last_epoch_mean_percent", "last_epoch_std_percent", "rate_mean_percent", "rate_std_percent", "rate_n",
    "energy_mean_microjoule", "amplitude_least", "amplitude_most",
)  # fmt: skip


def scale_leads(runs: pd.DataFrame) -> pd.DataFrame:
    """Ternary less binary accuracy at each place of each axis.

    Args:
        runs: as :func:`scale_runs` gives them.

    Returns:
        A row an ``axis``, ``base`` (what it is less) and ``value`` on that axis: ``difference_points``,
        ``interval_points`` (half of Welch's 95 % interval; None where a side has one seed), ``seeds`` (of ternary and
        of the base), ``extra_percent`` (energy over the base's), and both ``samples``.
    """
    rows = []
    for axis, (held, at) in AXES.items():
        for value, here in runs[runs[held] == at].groupby(axis):
            here = here.set_index("kind")
            for base in BASES:
                if {TERNARY, base} <= set(here.index):
                    more, less = here.loc[TERNARY], here.loc[base]
                    samples = sample(more, "last_epoch"), sample(less, "last_epoch")
                    half, _ = welch_interval(*samples)
                    energies = [row["energy_mean_microjoule"] for row in (more, less)]
                    rows.append(
                        {
                            "axis": axis,
                            "base": base,
                            "value": int(value),
                            "difference_points": samples[0].mean - samples[1].mean,
                            "interval_points": half if math.isfinite(half) else None,
                            "seeds": f"{samples[0].n} and {samples[1].n}",
                            "extra_percent": 100 * (energies[0] / energies[1] - 1),
                            "samples": samples,
                        }
                    )
    columns = [
        "axis", "base", "value", "difference_points", "interval_points", "seeds", "extra_percent", "samples",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def shared_reductions(runs: pd.DataFrame) -> str:
    """In what all runs are reduced alike, in words: what differs are the axes."""
    parts = [re.split("[;,] ", text) for text in runs["reduced"]]
    return ", ".join(part for part in parts[0] if all(part in other for other in parts))


@dataclass(frozen=True)
class Trend:
    """How much a lead grows from the lowest to the highest value of an axis.

    Attributes:
        first, last: the values.
        points: lead at the last less lead at the first.
        half: half of its 95 % interval; infinite where a run has one seed.
    """

    first: int
    last: int
    points: float
    half: float

    @property
    def word(self) -> str:
        """What can be said of it."""
        if math.isinf(self.half):
            return "can be said neither to grow nor to shrink, with one seed at an end"
        if abs(self.points) <= self.half:
            return "neither grows nor shrinks beyond its interval"
        return "grows" if self.points > 0 else "shrinks"


def trend(leads: pd.DataFrame) -> Trend | None:
    """Whether a lead grows along an axis; None where there are fewer than two places.

    The ends are those of the places with several seeds on both sides, where there are two of them.

    Args:
        leads: the rows of one axis and base.
    """
    if len(leads) < 2:
        return None
    several = leads[leads["interval_points"].notna()]
    ends = (several if len(several) > 1 else leads).sort_values("value").iloc[[0, -1]]
    (first, low), (last, high) = zip(ends["value"], ends["samples"], strict=True)
    points = float(ends["difference_points"].iloc[1] - ends["difference_points"].iloc[0])
    half, _ = welch_interval(*low, *high)
    return Trend(int(first), int(last), points, half)


def scale_sentence(leads: pd.DataFrame) -> str:
    """Where the lead over binary spikes points along each axis, and that it is no proof; empty where nothing says it.

    Args:
        leads: as :func:`scale_leads` gives them.
    """
    parts = []
    for axis, (held, at) in AXES.items():
        here = leads[(leads["axis"] == axis) & (leads["base"] == BASES[0])]
        found = trend(here)
        if found is None:
            continue
        lead = here.set_index("value").loc[found.last]
        reached = in_words(lead["difference_points"], lead["interval_points"])
        half = None if math.isinf(found.half) else found.half
        parts.append(
            f"from {axis} {found.first} to {found.last} ({held} {at}) it {found.word} "
            f"({in_words(found.points, half)} points), and there it is {reached}"
        )
    if not parts:
        return ""
    sentence = f"The lead of ternary over binary spikes: {'; '.join(parts)}"
    return f"{sentence}. Where this points is no proof of what happens at the paper's own scale."
