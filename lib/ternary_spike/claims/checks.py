"""The checks of the claims about what was measured: each takes the tables and the claim's settings."""

import math

import pandas as pd

from ternary_spike import paper
from ternary_spike.claims.findings import MEASURED, Finding, Tables, at_scale, check, untested
from ternary_spike.claims.groups import (
    full_or_all,
    groups_of,
    ids_of,
    no_finished_pair,
    of_the_papers_neurons,
    place,
    reductions,
    together,
    without_controls,
)
from ternary_spike.claims.printed import best_prior
from ternary_spike.tables import verdicts
from ternary_spike.tables.paper_tables import printed, sample
from ternary_spike.tables.verdicts import ABOVE, AGREES, BELOW, DISAGREES, SCALE, Sample

# orderings -------------------------------------------------------------------------------------------

QUANTITIES = {
    # the last epoch's: among our own runs nothing calls for the best epoch, which peeks at the test set
    "accuracy": ("last_epoch_mean_percent", "last_epoch_std_percent", "n", "points", 2),
    "entropy": ("entropy_mean_bits", "entropy_std_bits", "entropy_n", "bit", 3),
    "energy": ("energy_mean_microjoule", "energy_std_microjoule", "energy_n", "µJ", 3),
    "rate": ("rate_mean_percent", "rate_std_percent", "rate_n", "points", 2),
}


def _quantity(row: pd.Series, quantity: str) -> Sample | None:
    """A quantity over the seeds that have it, which may be fewer than those that finished."""
    mean, std, count, _, _ = QUANTITIES[quantity]
    if pd.isna(row[mean]):
        return None
    return Sample(float(row[mean]), None if pd.isna(row[std]) else float(row[std]), int(row[count]))


@check
def ordering(tables: Tables, quantity: str, better: str, base: str) -> Finding:
    """Whether one neuron is above another wherever both ran, other things equal."""
    groups, reduced = groups_of(tables, better, base)
    found, words = [], []
    *_, unit, digits = QUANTITIES[quantity]
    for group in groups:
        first, second = (_quantity(group[neuron], quantity) for neuron in (better, base))
        if first is None or second is None:
            continue
        outcome = verdicts.ordering_at_scale(first, second)
        found.append(outcome.verdict)
        words.append(f"{place(group[better])}: {outcome.difference:+.{digits}f} {unit} ({outcome.basis})")
    if not found:
        return no_finished_pair(tables, better, base)
    return at_scale(together(found), "; ".join(words), ids_of(groups), reduced)


@check
def controlled(tables: Tables, questions: list[str]) -> Finding:
    """Whether ternary networks are above binary ones where a control makes something else of them equal.

    Judged as orderings are, in each pair of runs. A pair for equal firing rates whose rates differ proves nothing.
    """
    pairs = tables["differences"]
    pairs = pairs[pairs["question"].isin(questions)]
    if pairs.empty:
        return untested("no pair of runs with this control has finished")
    unequal = ~pairs["as_asked"].astype(bool)
    if unequal.all():
        off = ", ".join(f"{value:+.1f}" for value in pairs["rate_difference_points"])
        return untested(f"no threshold made the firing rates equal: they differ by {off} points")
    pairs = pairs[~unequal]
    used, reduced = full_or_all(pairs)
    words = []
    for _, pair in used.iterrows():
        interval = "fewer than two seeds" if pd.isna(pair["interval_points"]) else f"± {pair['interval_points']:.2f}"
        rates = f"firing rates {pair['rate_difference_points']:+.1f} points apart"
        words.append(f"{pair['id']} less {pair['base']}: {pair['difference_points']:+.2f} points ({interval}; {rates})")
    if unequal.any():
        words.append(f"{unequal.sum()} pair whose rates could not be made equal is left out")
    runs = tuple(dict.fromkeys(run for pair in zip(used["id"], used["base"], strict=True) for run in pair))
    return at_scale(together(list(used["verdict"])), "; ".join(words), runs, reduced)


def _row(tables: Tables, table: int, dataset: str, architecture: str, timesteps: int, neuron: str) -> pd.Series:
    """The row of tables/table<n>.csv for one of the paper's own rows."""
    found = tables[f"table{table}"]
    own = found[found["kind"] == "paper"]
    name = paper.DATASETS[dataset].name
    fits = (own["dataset"] == name) & (own["architecture"].str.lower() == architecture)
    return own[fits & (own["timesteps"] == timesteps) & (own["neuron"] == neuron)].iloc[0]


def _ran(row: pd.Series) -> bool:
    return not pd.isna(row.get("n")) and row["n"] > 0


@check
def accuracy_row(tables: Tables, table: int, dataset: str, architecture: str, timesteps: int, neuron: str) -> Finding:
    """One own row of Tables 1-4, by the verdict that the table has."""
    row = _row(tables, table, dataset, architecture, timesteps, neuron)
    if not _ran(row):
        return untested(row["state"])
    ours = sample(row)
    reached = f"{ours.mean:.2f}" + (f" ± {ours.std:.2f}" if ours.std is not None else "") + f" % (n = {ours.n})"
    if row["reduced"]:
        return untested(f"a reduced run reached {reached}; not compared, reduced: {row['reduced']}")
    basis = f"; {row['basis']}" if row["basis"] else ""
    result = f"{reached}, {row['difference_points']:+.2f} points ± {row['standard_error_points']:.2f}{basis}"
    return Finding(MEASURED, result, row["verdict"], (row["id"],))


@check
def gain(
    tables: Tables, table: int, dataset: str, architecture: str, timesteps: int, better: str, base: str
) -> Finding:
    """A difference of two own rows: against the paper's where both ran in full, else whether the ordering holds."""
    place = (table, dataset, architecture, timesteps)
    rows = [_row(tables, *place, neuron) for neuron in (better, base)]
    if absent := [row["state"] for row in rows if not _ran(row)]:
        return untested(absent[0])
    runs = tuple(row["id"] for row in rows)
    reduced = reductions(row["reduced"] for row in rows)
    if reduced:
        found = verdicts.ordering_at_scale(*(sample(row, "last_epoch") for row in rows))
        return at_scale(found.verdict, f"{found.difference:+.2f} points ({found.basis})", runs, reduced)
    ours = tuple(sample(row) for row in rows)
    theirs = tuple(printed(paper.own(*place, neuron)) for neuron in (better, base))
    test_samples = paper.DATASETS[dataset].test_samples
    found = verdicts.compare_gains(ours, theirs, test_samples)
    difference = f"{found.difference:+.2f} ± {found.standard_error:.2f} from the paper's"
    result = f"{ours[0].mean - ours[1].mean:+.2f} points, {difference}"
    return Finding(MEASURED, result + (f"; {found.basis}" if found.basis else ""), found.verdict, runs)


@check
def beats_prior(tables: Tables, table: int, dataset: str, architecture: str) -> Finding:
    """Our best full row of a network against the best row of prior work, as the paper quotes it."""
    name = paper.DATASETS[dataset].name
    prior = best_prior(table, name, architecture)
    rows = tables[f"table{table}"]
    own = rows[
        (rows["kind"] == "paper") & (rows["dataset"] == name) & (rows["architecture"].str.lower() == architecture)
    ]
    finished = own[[_ran(row) for _, row in own.iterrows()]]
    if finished.empty:
        return untested(own["state"].iloc[0])
    full = finished[finished["reduced"] == ""]
    if full.empty:
        return untested(f"only reduced runs ({finished['reduced'].iloc[0]}): not compared with prior work")
    best = full.loc[full["best_epoch_mean_percent"].astype(float).idxmax()]
    margin = best["best_epoch_mean_percent"] - prior.accuracy_percent
    result = (
        f"{best['best_epoch_mean_percent']:.2f} % (T = {best['timesteps']}), {margin:+.2f} points to {prior.method}"
    )
    return Finding(MEASURED, result, AGREES if margin > 0 else DISAGREES, (best["id"],))


# the neurons -----------------------------------------------------------------------------------------


@check
def membrane_differs(tables: Tables) -> Finding:
    """Distances between layers' membrane distributions against one layer's between seeds.

    Holds if in every run the mean distance between layers is above the largest that any layer shows between two seeds,
    does not hold if in some run it is not even above the mean one, and is not decided otherwise.
    """
    of_paper = of_the_papers_neurons(tables["summary"])
    distances = tables["membrane"].merge(without_controls(of_paper)[["id", "reduced"]], on="id")
    distances = distances[distances["between_layers"].notna()]
    if distances.empty:
        return untested("no membrane distribution has been measured yet")
    used, reduced = full_or_all(distances)
    layers, mean, largest = (
        used[key].astype(float) for key in ("between_layers", "between_seeds", "between_seeds_largest")
    )
    result = f"mean distance between layers {layers.min():.2f} to {layers.max():.2f} (of 1)"
    if mean.isna().any():
        verdict, result = SCALE[2], f"{result}; fewer than two seeds"
    else:
        verdict = SCALE[0] if (layers > largest).all() else SCALE[1] if (layers <= mean).any() else SCALE[2]
        result += f", of one layer between seeds {mean.min():.2f} to {mean.max():.2f}, at most {largest.max():.2f}"
    return at_scale(verdict, result, tuple(used["id"]), reduced)


#: an amplitude this close to its initial 1 counts as unmoved
UNMOVED = 0.01
#: amplitudes "differ" if the largest and the smallest of a network are at least this far apart
SPREAD = 0.05


@check
def amplitudes_differ(tables: Tables) -> Finding:
    """Spread of a network's trained amplitudes over its layers, and how many layers kept the initial 1.

    Holds where the largest and the smallest of each network and seed are at least :data:`SPREAD` apart.
    """
    layers = tables["layers"]
    layers = layers[layers["amplitude"].notna()] if len(layers) else layers
    layers = layers.merge(tables["summary"][["id", "reduced", "variant", "neuron"]], on="id")
    layers = layers[(layers["neuron"] == "trainable") & (layers["variant"].fillna("") == "")]
    if layers.empty:
        return untested("no network with trainable amplitudes has been evaluated yet")
    used, reduced = full_or_all(layers)
    amplitudes = used.groupby(["id", "seed"])["amplitude"]
    spread = (amplitudes.max() - amplitudes.min()).astype(float)
    unmoved = int(((used["amplitude"].astype(float) - 1).abs() <= UNMOVED).sum())
    lowest, highest = used["amplitude"].min(), used["amplitude"].max()
    result = (
        f"amplitudes from {lowest:.2f} to {highest:.2f}, at least {spread.min():.2f} apart in each network (wanted: "
        f"{SPREAD}); {unmoved} of {len(used)} stayed at 1 (± {UNMOVED})"
    )
    verdict = SCALE[0] if (spread >= SPREAD).all() else SCALE[1]
    return at_scale(verdict, result, tuple(dict.fromkeys(used["id"])), reduced)


# energy ----------------------------------------------------------------------------------------------

#: a measured extra of energy agrees with a claimed one up to this many percentage points
EXTRA_TOLERANCE = 0.5


@check
def extra_energy(tables: Tables, claimed: float) -> Finding:
    """Energy of ternary over binary networks, by the paper's method at measured rates, against the claimed extra."""
    groups, reduced = groups_of(tables, "ternary", "binary")
    groups = [g for g in groups if not any(_quantity(row, "energy") is None for row in g.values())]
    if not groups:
        return no_finished_pair(tables, "ternary", "binary")
    counted = tables["energy"][tables["energy"]["id"].isin(ids_of(groups))]
    if others := sorted({*counted["constants"]} - {paper.CONSTANTS, ""}):
        return untested(f"counted at other constants than the paper's {paper.CONSTANTS}: {'; '.join(others)}")
    extras, words, judged = [], [], []
    for group in groups:
        samples = [_quantity(group[name], "energy") for name in ("ternary", "binary")]
        extras.append(100 * (samples[0].mean / samples[1].mean - 1))
        low, high = verdicts.extra_interval(*samples)
        interval = "fewer than two seeds" if math.isinf(high) else f"95 % interval {low:+.2f} to {high:+.2f}"
        words.append(f"{place(group['ternary'])}: {extras[-1]:+.2f} % ({interval})")
        judged.append(verdicts.within_at_scale(low, high, -math.inf, claimed + EXTRA_TOLERANCE))
    if reduced:
        return at_scale(together(judged), "; ".join(words), ids_of(groups), reduced)
    own = [g for g in groups if g["ternary"]["dataset"] == "cifar10" and g["ternary"]["architecture"] == "resnet20"]
    if not own:
        return untested(f"Table 5's network has not run; others: {'; '.join(words)}")
    worst = max(extras[i] for i, g in enumerate(groups) if any(g is o for o in own))
    verdict = AGREES if abs(worst - claimed) <= EXTRA_TOLERANCE else ABOVE if worst > claimed else BELOW
    return Finding(MEASURED, "; ".join(words), verdict, ids_of(own))


@check
def firing_rate(tables: Tables, neuron: str) -> Finding:
    """Share of neurons and timesteps that fire, in Table 5's network, or at least in that network at another width.

    Of other networks the rates are named, but are another matter.
    """
    theirs = next(row for row in paper.energies() if row.neuron == neuron)
    summary = without_controls(tables["summary"])
    summary = summary[(summary["neuron"] == neuron) & summary["rate_mean_percent"].notna()]
    fits = (summary["dataset"] == paper.DATASET_OF_NAME[theirs.dataset]) & (summary["timesteps"] == theirs.timesteps)
    fits &= summary["architecture"].str.split("w").str[0] == theirs.architecture.lower()
    rows, reduced = full_or_all(summary[fits])
    if rows.empty:
        seen = [f"{place(row)}: {row['rate_mean_percent']:.1f} %" for _, row in summary.iterrows()]
        return untested(f"Table 5's network has not run{'; others: ' if seen else ''}{'; '.join(seen)}")
    if reduced:
        words, judged = [], []
        for _, row in rows.iterrows():
            ours = _quantity(row, "rate")
            half = verdicts.mean_interval(ours)
            difference = ours.mean - theirs.sparsity_percent
            interval = "one seed" if math.isinf(half) else f"95 % interval ± {half:.2f}"
            words.append(f"{place(row)}: {ours.mean:.2f} % ({interval}), {difference:+.2f} points")
            allowed = verdicts.TOLERANCE_POINTS
            judged.append(verdicts.within_at_scale(difference - half, difference + half, -allowed, allowed))
        return at_scale(together(judged), "; ".join(words), tuple(rows["id"]), reduced)
    row = rows.iloc[0]
    ours = _quantity(row, "rate")
    rate = ours.mean
    # the test set's sampling plays no part: a rate is a mean over millions of neurons
    error = 0.0 if ours.std is None else ours.std / math.sqrt(ours.n)
    difference = rate - theirs.sparsity_percent
    agrees = abs(difference) <= max(verdicts.TOLERANCE_POINTS, verdicts.STANDARD_ERRORS * error)
    verdict = AGREES if agrees else ABOVE if difference > 0 else BELOW
    return Finding(MEASURED, f"{rate:.2f} %, {difference:+.2f} points", verdict, (row["id"],))
