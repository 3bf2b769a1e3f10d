"""Prior methods beside the paper's neurons: accuracy, cost, and which of them is ahead of the ternary spike where only
the method differs.
"""

import math
import re
from collections.abc import Iterable, Mapping

import pandas as pd

from ternary_spike.configuration.method_sheet import LEVELS, THE_ROWS
from ternary_spike.models.published import LayerList
from ternary_spike.models.registry import ARCHITECTURES
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.paper import NEURON_OF_METHOD
from ternary_spike.tables.paper_tables import sample
from ternary_spike.tables.verdicts import SCALE, mean_interval, ordering_at_scale, welch_interval

#: a row is one of the paper's neurons as it has them, one of these with an option, a prior method, or a prior method on
#: the paper's ternary spikes
OWN, CONTROL, PRIOR, COMBINED = KINDS = ("paper", "control", "prior", "combination")
PAPERS = BINARY, TERNARY, TRAINABLE = tuple(NEURON_OF_METHOD.values())
#: what a run is compared with the ternary spike by
ABOVE, BELOW, UNDECIDED = RANKS = ("above ternary at this scale", "below ternary at this scale", SCALE[2])

_PLACE = ("dataset", "architecture", "timesteps")
_LABEL = re.compile(rf"(?P<title>.*) \((?P<level>{'|'.join(LEVELS)})(; {THE_ROWS})?(?P<changes>; .*)?\)")
_CARRIED = (
    *("state", "reduced", "data_label", "n", "last_epoch_mean_percent"),
    *(f"{name}_{what}" for name in ("rate", "synops", "energy") for what in ("mean", "std", "n")),
)


def rival_runs(summary: pd.DataFrame, runs: Iterable[Mapping], history: pd.DataFrame) -> list[dict]:
    """A row for each spiking run where there is a prior method's: same data, same network, same T.

    A run is compared with ternary spikes as the paper has them, on the same network with the same T; where these have
    not finished, or a method has a network or a T of its own, there is no verdict.

    Args:
        summary: the table of that name.
        runs: rows of the table "runs", with the ``citation`` of their method where they have one.
        history: the table of that name.
    """
    runs = list(runs)
    cited = {run["id"]: run["citation"] for run in runs if run.get("citation")}
    seconds = _seconds_per_image(runs, history)
    spiking = summary[[NEURONS[name].spikes for name in summary["neuron"]]]
    rows = []
    for _, here in spiking.groupby(list(_PLACE), sort=False):
        kinds = [kind(row) for _, row in here.iterrows()]
        if not {PRIOR, COMBINED} & set(kinds):
            continue
        plain = here[(here["neuron"] == TERNARY) & (here["variant"] == "") & (here["n"] > 0)]
        base = None if plain.empty else plain.iloc[0]
        for (_, row), what in zip(here.iterrows(), kinds, strict=True):
            published = {"kind": what, "name": name_of(row), **_published(row, cited)}
            rows.append(published | _row(row, seconds.get(row["id"])) | _against(row, base, seconds))
    return rows


def kind(row: Mapping) -> str:
    """Which of :data:`KINDS` a row of the summary is."""
    variant = _variant(row)
    if row["neuron"] not in PAPERS:
        # a neuron of a method that emits ternary spikes as well
        return COMBINED if variant in (TERNARY, TRAINABLE) else PRIOR
    if row["method"]:
        return PRIOR if row["neuron"] == BINARY else COMBINED
    return CONTROL if row["variant"] else OWN


def _row(row: pd.Series, seconds: float | None) -> dict:
    """What a run is, what it reached and what it took."""
    half = mean_interval(sample(row, "last_epoch")) if row["n"] > 0 else math.inf
    return {
        **{key: row[key] for key in ("id", *_PLACE, "neuron", "method", "variant")},
        **{key: row[key] for key in summary_columns(_CARRIED)},
        "last_epoch_interval_points": half if math.isfinite(half) else None,
        "seconds_per_image": seconds,
    }


def summary_columns(names: Iterable[str]) -> list[str]:
    """Names of the summary's columns, with their units."""
    units = {"rate": "percent", "synops": "per_image", "energy": "microjoule"}
    stems = {f"{name}_{what}": unit for name, unit in units.items() for what in ("mean", "std")}
    return [f"{name}_{stems[name]}" if name in stems else name for name in names]


def name_of(row: Mapping) -> str:
    """What a figure calls a run: its method and the neuron that this is on, or its neuron; never without the level.

    Of a network that adds spikes up it says so, since what its layers are given is not the neuron's spikes.
    """
    label = _LABEL.fullmatch(row["method"])
    variant, sums = _variant(row), "sums of spikes" * adds_spikes(row["architecture"])
    if label is None:
        level = NEURONS[row["neuron"]].level
        words = [row["neuron"], variant, "with" * bool(sums), sums, f"({level})" if level else ""]
        return " ".join(filter(None, words))
    # a loss on the neuron as the paper has it needs no further word, nor a method on a neuron of its own, nor a variant
    # that is the method's with options that the label has
    changes = label["changes"] or ""
    words = [row["neuron"] * (row["neuron"] in PAPERS), variant * (variant != "paper neuron" and not changes), sums]
    on = ", ".join(filter(None, words))
    return f"{label['title']}{' on ' if on else ''}{on} ({label['level']}{changes})"


def adds_spikes(architecture: str) -> bool:
    """Whether a network has spike-element-wise blocks that add: its layers are given numbers larger than 1."""
    data = ARCHITECTURES[architecture].data
    return isinstance(data, LayerList) and data.connect == "add" and "E" in {word[0] for word in data.layers.split()}


def _variant(row: Mapping) -> str:
    """A row's variant without its method, in words."""
    return row["variant"].removeprefix(row["method"]).removeprefix(", ").replace("_", " ")


def _published(row: pd.Series, cited: Mapping[str, str]) -> dict:
    """The level at which the method is published here, and its source."""
    label, neuron = _LABEL.fullmatch(row["method"]), NEURONS[row["neuron"]]
    if label is None:
        return {"level": neuron.level, "citation": neuron.source}
    return {"level": label["level"], "citation": cited.get(row["id"], "")}


def _seconds_per_image(runs: Iterable[Mapping], history: pd.DataFrame) -> dict[str, float]:
    """Seconds of training an image, by run: in the fastest of its seeds' epochs, which what else a machine did, or
    compiled at the start, delayed least.
    """
    samples = {(run["id"], run["seed"]): run["train_samples"] for run in runs if "train_samples" in run}
    found: dict[str, list[float]] = {}
    for run, seed, seconds in zip(history["id"], history["seed"], history["seconds"], strict=True):
        found.setdefault(run, []).append(seconds / samples[run, seed])
    return {run: min(each) for run, each in found.items()}


def _against(row: pd.Series, base: pd.Series | None, seconds: Mapping[str, float]) -> dict:
    """A run beside ternary spikes: difference of accuracy with its interval, verdict, and how much more it took."""
    if base is None or row["n"] == 0 or row["id"] == base["id"]:
        return {"verdict": ""}
    samples = [sample(each, "last_epoch") for each in (row, base)]
    half, _ = welch_interval(*samples)
    ahead, behind = ordering_at_scale(*samples).verdict, ordering_at_scale(*reversed(samples)).verdict
    mine, theirs = seconds.get(row["id"]), seconds.get(base["id"])
    return {
        "base": base["id"],
        "difference_points": samples[0].mean - samples[1].mean,
        "interval_points": half if math.isfinite(half) else None,
        "verdict": ABOVE if ahead == SCALE[0] else BELOW if behind == SCALE[0] else UNDECIDED,
        "synops_ratio": row["synops_mean_per_image"] / base["synops_mean_per_image"],
        "time_ratio": mine / theirs if mine and theirs else None,
    }
