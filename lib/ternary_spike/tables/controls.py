"""Controls: runs whose neurons differ in an option from the paper's, and differences between runs with intervals.

The paper compares ternary with binary spikes at one threshold, with one gradient window each. Whether something else
than the spikes' alphabet makes the difference shows in pairs of runs in which that is equal.
"""

import math
from collections.abc import Iterable, Mapping
from itertools import product

import pandas as pd

from ternary_spike.neurons.registry import LIF, NEURONS
from ternary_spike.planning.source_runs import finds_threshold
from ternary_spike.tables.paper_tables import sample
from ternary_spike.tables.verdicts import mean_interval, ordering_at_scale, welch_interval

#: what the paper's neurons have where no option says otherwise
THRESHOLD, WINDOW = LIF["threshold"].default, LIF["window"].default
#: the surrogate gradients that give a binary neuron the ternary's window, and one as wide about its threshold
SYMMETRIC, ABOUT_THRESHOLD = "clamp_symmetric", "rectangle"
WITHOUT_SPIKES = [name for name, part in NEURONS.items() if not part.spikes]

#: what a control of the surrogate gradient, its shape or its width, is called
GRADIENT = "gradient window"
#: what a pair of runs asks: what an option does to a neuron
OPTION = "option"
#: or what ternary has over binary: as the paper compares them, with something made equal that the paper leaves
#: different, with the same option on both sides; in the order in which they are shown. A window that is the ternary's,
#: [-1, 1], makes a binary neuron's gradient twice as strong as its step is high; one as wide about its own threshold
#: may have the area of the step.
PLAIN, SAME_WINDOW, SAME_WIDTH, SAME_OPTION = "as in the paper", "same window", "as wide a window", "same option"
BINARY_RATE, TERNARY_RATE = "binary's rate", "ternary's rate"
RATES = (BINARY_RATE, TERNARY_RATE)
#: firing rates, as means over seeds, that count as equal, in percentage points: the search's tolerance is for one seed
SAME_RATE = 2.0
GAPS = (PLAIN, SAME_WINDOW, SAME_WIDTH, BINARY_RATE, TERNARY_RATE, SAME_OPTION)


def kind(options: Mapping[str, str]) -> str:
    """What an option of the neurons, or of the network, is a control of."""
    if not options:
        return ""
    if finds_threshold(options):
        return "firing rate"
    if options.keys() <= {"threshold", "window"}:
        return "threshold and window"
    if "surrogate" in options and options.keys() <= {"surrogate", "window", "temperature"}:
        return GRADIENT
    kinds = {"amplitude_per": "amplitude", "detach_reset": "reset", "stem_batch_norm": "stem"}
    return kinds.get("".join(options), "several options")


def control_runs(summary: pd.DataFrame, options: Mapping[str, Mapping[str, str]], matches: pd.DataFrame) -> list[dict]:
    """A row for each run of the networks that have a control, the paper's neurons among them.

    Args:
        summary: the table of that name.
        options: neuron options by run id, as in the run table.
        matches: the table of that name, for thresholds that were found.

    Prior methods are none of it: they change more than an option.
    """
    summary = summary[summary["method"] == ""]
    found = matches[matches["chosen"].astype(bool)].set_index("id") if len(matches) else pd.DataFrame()
    rows = []
    for _, here in summary.groupby(["dataset", "architecture", "timesteps"], sort=False):
        here = here[~here["neuron"].isin(WITHOUT_SPIKES)]
        if not any(options.get(run) for run in here["id"]):
            continue
        for _, row in here.iterrows():
            mine = options.get(row["id"], {})
            if row["id"] in found.index:
                mine = {**mine, **found.loc[row["id"], ["threshold", "window"]].to_dict()}
            elif finds_threshold(mine):
                mine = {"threshold": math.nan, "window": math.nan}
            half = mean_interval(sample(row, "last_epoch")) if row["n"] > 0 else math.inf
            rows.append(
                {
                    "kind": kind(options.get(row["id"], {})),
                    **{key: row[key] for key in ("id", "dataset", "architecture", "timesteps", "neuron", "variant")},
                    **_constants(row["neuron"], mine),
                    **{key: row[key] for key in ("state", "reduced", "data_label", "n")},
                    "last_epoch_mean_percent": row["last_epoch_mean_percent"],
                    "last_epoch_interval_points": half if math.isfinite(half) else None,
                    **{key: row[key] for key in _CARRIED},
                }
            )
    return rows


def _constants(neuron: str, options: Mapping) -> dict:
    """Threshold and surrogate gradient by the options, or else by the neuron; None for what it has none of."""
    own = NEURONS[neuron].options
    found = {name: options.get(name, own[name].default if name in own else None) for name in _NUMBERS + _TEXTS}
    return found | {name: float(found[name]) for name in _NUMBERS if found[name] is not None}


_NUMBERS, _TEXTS = ("threshold", "window"), ("surrogate",)
_CARRIED = (
    *("rate_mean_percent", "rate_std_percent", "rate_n"),
    *("synops_mean_per_image", "synops_std_per_image", "synops_n"),
)


def differences(summary: pd.DataFrame, runs: Iterable[Mapping]) -> list[dict]:
    """Pairs of finished runs: a control less its neuron as the paper has it, and ternary less binary runs.

    Args:
        summary: the table of that name.
        runs: rows of :func:`control_runs`.
    """
    by_place: dict[tuple, list[Mapping]] = {}
    for run in runs:
        if run["n"] > 0:
            by_place.setdefault((run["dataset"], run["architecture"], run["timesteps"]), []).append(run)
    rows = []
    for here in by_place.values():
        plain = {run["neuron"]: run for run in here if not run["kind"]}
        pairs = [(OPTION, run, plain.get(run["neuron"])) for run in here if run["kind"]]
        ternary, binary = ([run for run in here if run["neuron"] == neuron] for neuron in ("ternary", "binary"))
        gaps = [(_gap(first, second), first, second) for first, second in product(ternary, binary)]
        gaps = sorted((gap for gap in gaps if gap[0]), key=lambda gap: GAPS.index(gap[0]))
        rows += [_difference(summary, *pair) for pair in [*gaps, *pairs] if pair[2]]
    return rows


def _gap(ternary: Mapping, binary: Mapping) -> str | None:
    """What a ternary and a binary run have in common that makes them a pair; None if they are none."""
    kinds = (ternary["kind"], binary["kind"])
    if "firing rate" in kinds and any(pd.isna(run["rate_mean_percent"]) for run in (ternary, binary)):
        return None  # trained and not yet evaluated
    if kinds == ("", GRADIENT) and binary["window"] == WINDOW:
        return {SYMMETRIC: SAME_WINDOW, ABOUT_THRESHOLD: SAME_WIDTH}.get(binary["surrogate"])
    if kinds == ("firing rate", ""):
        return BINARY_RATE
    if kinds == ("", "firing rate"):
        return TERNARY_RATE
    if ternary["variant"] != binary["variant"] or "firing rate" in kinds:
        return None
    return SAME_OPTION if ternary["kind"] else PLAIN


def _difference(summary: pd.DataFrame, question: str, first: Mapping, second: Mapping) -> dict:
    rows = summary.set_index("id")
    samples = [sample(rows.loc[run["id"]], "last_epoch") for run in (first, second)]
    half, _ = welch_interval(*samples)
    apart = first["rate_mean_percent"] - second["rate_mean_percent"]
    return {
        "question": question,
        "id": first["id"],
        "base": second["id"],
        "difference_points": samples[0].mean - samples[1].mean,
        "interval_points": half if math.isfinite(half) else None,
        "rate_difference_points": apart,
        "synops_ratio": first["synops_mean_per_image"] / second["synops_mean_per_image"],
        "verdict": ordering_at_scale(*samples).verdict,
        "as_asked": question not in RATES or abs(apart) <= SAME_RATE,
        "reduced": "; ".join(dict.fromkeys(run["reduced"] for run in (first, second) if run["reduced"])),
    }
