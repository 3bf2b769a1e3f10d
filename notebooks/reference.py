# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["parameters"]
results = "../results/demo"
kept = "../results/reference"

# %% [markdown]
# # What do real pictures say, at the scale that could be afforded?
#
# **Asked:** digits are easy, and the paper's own runs take GPUs for days. Between the two: a small version of the
# paper's network on real pictures, trained once, over seeds, and kept with this repository. Which of the paper's
# statements hold there, and what is surprising? This page is the same in the report of every preset. What it shows is
# reduced, and none of it is compared with the paper's accuracies. The comparison with prior methods and the axes of
# scale have pages of their own.

# %%
import sys

from ternary_spike import paper, report
from ternary_spike.report import COLOURS, MARKERS

results = report.Results(results)
sets = [
    found
    for found in report.kept(kept)
    if not found.preset.startswith("scale-")
    and not found.table("rivals")["n"].any()
    and not (found.done["dataset"] == "digits").all()  # digits are no real pictures
]
if not sets:
    display(report.note("No results are kept with this copy of the repository."))
    sys.exit(0)  # what follows is left out of the page

NETWORK = ["dataset", "architecture", "timesteps"]  # what runs have in common that differ in the neuron only


def plain(found):
    """Neurons as they are: pictures tell runs by their neuron alone, and a control would be drawn as the same one."""
    return found.done[found.done["variant"] == ""]


def reduced(found) -> str:
    """How a set is reduced, for the captions of its figures and tables."""
    return "; ".join(dict.fromkeys(found.done["reduced"]))


def listed(values) -> str:
    """The different values of a column, for a sentence."""
    return report.as_text(", ".join(values.unique()))


# %% [markdown]
# ## What was run

# %%
for found in sets:
    runs = found.table("runs")
    runs = runs[runs["last_epoch_percent"].notna()]
    hours = runs["wall_seconds"].sum() / 3600
    display(
        report.note(
            f"**{report.as_text(found.preset)}**: {len(runs)} trainings of {runs['id'].nunique()} networks on "
            f"{listed(runs['data_label'])}, {report.decimal(hours, 1)} hours in all on "
            f"{listed(runs['cpu'])} ({listed(runs['device'])}), commit "
            f"{listed(runs['commit'].str.partition(':')[0].str[:12])}. "
            f"Reduced: {report.as_text(reduced(found))}."
        )
    )

# %% [markdown]
# ## Accuracy

# %%
for found in sets:
    display(
        report.table(
            found.done,
            [
                report.neuron(),
                report.spread("Last epoch, %", "last_epoch"),
                report.spread("Best epoch, %", "best_epoch"),
                report.number("Seeds", "n", 0),
                report.spread("Firing rate, %", "rate", digits=2),
                report.spread("Additions per image, k", "synops", "per_image", digits=1, scale=1e-3),
                report.spread("Energy, µJ", "energy", "microjoule", digits=3),
            ],
            f"{found.preset}: mean ± standard deviation over seeds; {reduced(found)}; {found.energies_at}",
            found.source("summary"),
            group=report.place,
        )
    )

# %% [markdown]
# Differences of last-epoch accuracy with 95 % intervals over seeds (Welch). The last of them has about as many
# operations on either side: a ternary network with one timestep against a binary one with two. Energy is that of the
# paper's formula, with the encoder counted at every timestep as in the paper, and once, which a static image allows.
# Additions and energies are counted on a part of the test images (`samples` in `energy.csv`), firing rates on all.

# %%
PAIRS = [("ternary", "binary", 0), ("trainable", "ternary", 0), ("trainable", "binary", 0), ("ternary", "binary", 1)]
for found in sets:
    pairs = report.pairs(found, PAIRS)
    figure = report.forest(pairs, pairs["pair"], [COLOURS[neuron] for neuron in pairs["neuron"]])
    caption = (
        f"{found.preset}: right of zero the first of the two is better; an interval that includes zero decides nothing"
        f"; {reduced(found)}."
    )
    display(report.figure(results, figure, f"reference-differences-{found.preset}", caption, caption))
    display(
        report.table(
            pairs,
            [
                report.text("Pair", "pair"),
                report.number("Difference, points", "difference_points", 2, sign=True),
                report.number("95 % interval, ±", "interval_points", 2),
                report.number("Additions, ratio", "synops_ratio", 2),
                report.number("Energy, ratio", "energy_ratio", 2),
                report.number("Energy, encoder once, ratio", "energy_ratio_once", 2),
                report.verdict("First above second"),
            ],
            f"{found.preset}: pairs of networks; {found.energies_at}",
            found.source("summary"),
        )
    )

# %% [markdown]
# ## Accuracy against operations

# %%
for found, ((_, network), here) in ((s, each) for s in sets for each in plain(s).groupby(NETWORK[:2], sort=False)):
    figure, axes = report.subplots(height=2.8, width=5.2)
    ends, marked = [], set()
    for name in report.ordered(here["neuron"]):
        mine = here[here["neuron"] == name].sort_values("timesteps")
        x, y = mine["synops_mean_per_image"] / 1e6, mine["last_epoch_mean_percent"]
        axes.errorbar(x, y, mine["last_epoch_std_percent"], color=COLOURS[name], marker=MARKERS[name], capsize=3)
        for steps, a, b in zip(mine["timesteps"], x, y, strict=True):
            if (steps, round(b / 3)) not in marked:  # points that lie together share the label
                report.direct_label(axes, a, b, name, f"T = {steps}", xytext=(-6, 0), ha="right")
            marked.add((steps, round(b / 3)))
        ends.append((x.iloc[-1], y.iloc[-1], name))
    axes.margins(x=0.3, y=0.2)
    report.end_labels(axes, ends)
    axes.set_xlabel("Additions per image, millions")
    axes.set_ylabel("Test accuracy, last epoch, %")
    caption = (
        f"{found.preset}, {network}: mean ± standard deviation over seeds against the counted additions of the folded "
        f"network. {reduced(found)}."
    )
    display(report.figure(results, figure, f"reference-operations-{found.preset}-{network}", caption, caption))

# %% [markdown]
# ## Training curves

# %%
for found in sets:
    history = found.table("history").merge(plain(found)[["id", "neuron", *NETWORK]], on="id")
    for (_, network, timesteps), here in history.groupby(NETWORK):
        caption = f"{found.preset}, T = {timesteps}: mean over seeds, band of one standard deviation; {reduced(found)}."
        name = f"reference-training-{found.preset}-{network}-T{timesteps}"
        alt = f"Training loss and test accuracy after each epoch, {network}, T = {timesteps}, one colour a neuron"
        display(report.figure(results, report.training(here), name, alt, caption))

# %% [markdown]
# ## Firing rates and entropy by layer
#
# A rate counts spikes of either sign; dotted lines are the negative spikes alone. Entropy is that of a layer's pooled
# shares of −1, 0 and +1 (Eq. 6).

# %%
for found in sets:
    layers = found.table("layers").merge(plain(found)[["id", "neuron", *NETWORK]], on="id")
    places = list(layers.groupby(NETWORK))
    for column, quantity in (("rate_percent", "Neurons that fire, %"), ("entropy_bits", "Entropy, bits a neuron")):
        figure, grid = report.subplots(1, len(places), height=3.0, sharey=True, squeeze=False)
        report.by_layer(zip(grid.flat, [here for _, here in places], strict=True), column)
        for axes, ((_, network, timesteps), _) in zip(grid.flat, places, strict=True):
            axes.set_title(f"{network}, T = {timesteps}")
        grid.flat[0].set_ylabel(quantity)
        name = f"reference-{column.partition('_')[0]}-{found.preset}"
        caption = f"{found.preset}: mean ± standard deviation over seeds; {reduced(found)}."
        display(report.figure(results, figure, name, f"{quantity}, by layer, one line a neuron", caption))

# %% [markdown]
# ## Membrane potentials by layer
#
# As in Fig. 2: before the reset, on the whole test set, one seed. Dashed: the firing threshold.

# %%
for found in sets:
    runs = found.table("runs")
    runs = runs[runs["rate_percent"].notna() & (runs["variant"] == "")]
    for (_, network, timesteps), here in runs.groupby(NETWORK):
        name = f"reference-membrane-{found.preset}-{network}-T{timesteps}"
        alt = f"Membrane potential's distribution by layer, a row a neuron, {network}, T = {timesteps}"
        caption = f"{found.preset}, T = {timesteps}: share of neurons and timesteps; {reduced(found)}."
        display(report.figure(results, report.membranes(found, here), name, alt, caption))

# %% [markdown]
# ## Where the amplitude moved

# %%
for found, ((_, network), here) in ((s, each) for s in sets for each in plain(s).groupby(NETWORK[:2], sort=False)):
    layers = found.table("layers").merge(here.loc[here["neuron"] == "trainable", ["id", "timesteps"]], on="id")
    if layers.empty:
        continue
    live = found.amplitudes()
    live = live[live["architecture"] == network.split("w")[0]].set_index("layer")["live"]
    order = layers.drop_duplicates("layer").sort_values("position")
    figure, axes = report.subplots(height=2.6, width=6.4)
    for shift, (timesteps, at_t) in zip((-0.12, 0.12), layers.groupby("timesteps"), strict=False):
        for _, row in at_t.iterrows():
            face = COLOURS["trainable"] if live.get(row["layer"], False) else "none"
            axes.scatter(
                row["position"] + shift, row["amplitude"], s=22, facecolor=face, edgecolor=COLOURS["trainable"],
                marker="o" if timesteps == 1 else "s", lw=0.8,
            )  # fmt: skip
    axes.axhline(1, color=report.INK, lw=0.7, ls="--")
    axes.set_xticks(order["position"], order["layer"], rotation=45, ha="right")
    axes.set_ylabel("Amplitude a")
    caption = (
        f"{found.preset}, {network}: a point a seed, circles T = 1, squares T = 2. Filled: the layer's spikes reach an "
        "identity shortcut or the classifier, and its amplitude can act; hollow: only batch norm follows. Dashed: the "
        "initial 1."
    )
    display(report.figure(results, figure, f"reference-amplitudes-{found.preset}-{network}", caption, caption))
    acts = layers["layer"].map(live).fillna(False).astype(bool)
    moved, still = layers.loc[acts, "amplitude"], (layers.loc[~acts, "amplitude"] - 1).abs()
    where = f"{layers.loc[acts, 'layer'].nunique()} layers of {layers['layer'].nunique()}"
    ends = f"between {report.decimal(moved.min(), 2)} and {report.decimal(moved.max(), 2)}"
    display(
        report.note(
            f"Where the amplitude can act ({where}), it ends {ends}. Elsewhere it stays within "
            f"{report.decimal(still.max(), 5)} of the 1 that it began with."
        )
    )

# %% [markdown]
# ## Energy in four ways
#
# By the paper's rule with three readings of its "mean sparsity" and by an exact count of additions. The encoder counts
# at every timestep, as in the paper; counted once, which a static image allows, it is in the file.

# %%
for found in sets:
    energy = report.energy_by_method(found)
    display(
        report.table(
            energy[energy["encoder"].isin(("every timestep", ""))],
            [
                report.neuron(),
                report.text("Method", "method"),
                report.number("Rate used, %", "rate_mean", 1, scale=100),
                report.spread("Energy, µJ", "energy", "microjoule", 3),
                report.number("Over binary, %", "extra_percent", 1, sign=True),
            ],
            f"{found.preset}: energy per image, mean ± standard deviation over seeds; {reduced(found)}; "
            f"{found.energies_at}",
            found.source("energy"),
            group=lambda row: row["place"],
        )
    )

# %% [markdown]
# ## Minutes

# %%
for found in sets:
    runs = found.table("runs")
    runs = runs[runs["last_epoch_percent"].notna()]
    display(
        report.table(
            runs.assign(minutes=runs["wall_seconds"] / 60),
            [
                report.record("Run", found),
                report.number("Seed", "seed", 0),
                report.number("Minutes", "minutes", 1),
                report.number("Images a second", "images_per_second", 0),
                report.number("Threads", "threads", 0),
                report.number("Resumed", "resumed", 0),
            ],
            f"{found.preset}: wall time of each training; other work may have shared the machine",
            found.source("runs"),
        )
    )

# %% [markdown]
# ## What was found
#
# The ledger's rules on these runs alone. Their verdicts count in the ledger of the runs' own preset; here they stand
# beside the report's.

# %%
SHOWN = (
    "ternary-above-binary", "trainable-above-ternary", "energy-rate-binary", "energy-rate-ternary",
    "energy-extra-measured", "measured-entropy", "membrane-differs-by-layer", "amplitudes-differ-by-layer",
    "folding-output-invariant", "additions-only",
)  # fmt: skip
for found in sets:
    claims = found.table("claims")
    claims = claims[claims["id"].isin(SHOWN)]
    display(
        report.table(
            claims,
            [
                report.text("Claim", "statement", long=True),
                report.text("Result", "result", long=True),
                report.verdict(),
            ],
            f"{found.preset}: claims of the paper, judged on these runs; {reduced(found)}",
            found.source("claims"),
        )
    )
    said = {row.neuron: row.sparsity_percent for row in paper.energies()}
    at_two = plain(found)[plain(found)["timesteps"] == 2]  # Table 5 is about T = 2
    for _, here in at_two.groupby(["dataset", "architecture"]):
        ours = here.set_index("neuron")["rate_mean_percent"]
        if set(said) <= set(ours.index):
            times = report.decimal(ours["ternary"] / ours["binary"], 2)
            display(
                report.note(
                    f"Firing rates: {report.decimal(ours['binary'], 2)} % of binary and "
                    f"{report.decimal(ours['ternary'], 2)} % of ternary neurons fire, where Table 5 has "
                    f"{said['binary']} % and {said['ternary']} %. A ternary neuron fires {times} times as often as a "
                    f"binary one, not {report.decimal(said['ternary'] / said['binary'], 2)} times, and the extra "
                    "energy grows with it."
                )
            )
    for _, pair in report.pairs(found, [("ternary", "binary", 1)]).iterrows():
        every, once, additions = (
            report.decimal(pair[f"{name}_ratio{tail}"], 2)
            for name, tail in (("energy", ""), ("energy", "_once"), ("synops", ""))
        )
        display(
            report.note(
                f"{report.as_text(pair['pair'])}: {report.decimal(pair['difference_points'], 2, sign=True)} points, "
                f"**{pair['verdict']}**, at {additions} times the additions. Energy is {every} times as much if the "
                f"encoder counts at every timestep and {once} times if it counts once; {found.energies_at}."
            )
        )
