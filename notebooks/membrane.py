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

# %% [markdown]
# # Do membrane potentials differ from layer to layer?
#
# **Asked:** Fig. 2 of the paper shows different distributions in different layers, and takes that as the reason for a
# trainable amplitude. Do they differ, in which neurons, and by more than chance?

# %%
import numpy as np

from ternary_spike import report
from ternary_spike.report import COLOURS, NEURONS

results = report.Results(results)
runs = results.table("runs")
measured = runs[[results.has(run, seed, "evaluation.json") for run, seed in zip(runs["id"], runs["seed"], strict=True)]]
measured = measured[measured["rate_percent"].notna() & (measured["variant"] == "")]
claims = results.table("claims").set_index("id")

# %% [markdown]
# ## Distributions by layer
#
# The membrane potential before the reset, on the whole test set, of the first four neuron layers (as in Fig. 2) and
# the last one; the first seed of each run. Dashed: the firing threshold.

# %%
THRESHOLD = 0.5  # V_th of these runs: variants with another one are not shown here


def first_and_last(layers: list[dict]) -> list[dict]:
    return layers if len(layers) <= 5 else [*layers[:4], layers[-1]]


def density(membrane: dict):
    edges, counts = np.array(membrane["edges"]), np.array(membrane["counts"], dtype=float)
    total = counts.sum() + membrane["below"] + membrane["above"]
    return (edges[1:] + edges[:-1]) / 2, counts / total / np.diff(edges)


for (label, architecture, timesteps), place in measured.groupby(
    ["data_label", "architecture", "timesteps"], sort=False
):
    first = place.drop_duplicates("neuron").set_index("neuron")
    names = [name for name in NEURONS if name in first.index]
    found = {
        name: first_and_last(results.evaluation(first.loc[name, "id"], first.loc[name, "seed"])["layers"])
        for name in names
    }
    columns = max(len(layers) for layers in found.values())
    figure, grid = report.subplots(
        len(names), columns, height=1.15 * len(names) + 0.6, sharex=True, sharey="col", squeeze=False
    )
    for axes, name in zip(grid, names, strict=True):
        for axis, layer in zip(axes, found[name], strict=False):
            middle, height = density(layer["membrane"])
            axis.fill_between(middle, height, color=COLOURS[name], alpha=0.75, lw=0, step="mid")
            for level in (THRESHOLD,) if name == "binary" else (THRESHOLD, -THRESHOLD):
                axis.axvline(level, color=report.INK, lw=0.7, ls="--")
            axis.set_yticks([])
            axis.set_xlim(-2.5, 2.5)
            axis.set_xticks([-2, 0, 2])
            if name == names[0]:
                axis.set_title(layer["layer"], fontsize=7.5)
        axes[0].set_ylabel(name, color=COLOURS[name])
    figure.supxlabel("Membrane potential before the reset", fontsize=8.5)
    key = f"membrane-{first['id'].iloc[0].rsplit('-', 1)[0]}"
    display(
        report.figure(
            results,
            figure,
            key,
            f"Membrane potential's distribution in {columns} layers, a row a neuron, {architecture}, T = {timesteps}",
            f"{label}, {architecture}, T = {timesteps}: share of neurons and timesteps by membrane potential.",
        )
    )

# %% [markdown]
# ## Distances between layers
#
# How far two distributions lie apart: the largest difference of their cumulative shares (Kolmogorov–Smirnov), from 0
# to 1. Chance is the same layer in two seeds.

# %%
distances = results.table("membrane").merge(results.summary[["id", "neuron", "variant"]], on="id")
report.table(
    distances,
    [
        report.neuron(),
        report.number("Between layers", "between_layers", 3),
        report.number("One layer, between seeds", "between_seeds", 3),
        report.number("the largest", "between_seeds_largest", 3),
        report.number("Layers", "layers", 0),
        report.number("Seeds", "n", 0),
        report.run_link(),
    ],
    "Mean distance over pairs of layers, and of one layer over pairs of seeds",
    "membrane",
)

# %%
layers = results.table("layers").merge(results.summary[["id", "neuron", "variant"]], on="id")
means = layers.groupby(["id", "layer"], sort=False)[["position", "membrane_mean", "membrane_std"]].mean().reset_index()
report.table(
    means.merge(results.summary[["id", "neuron", "variant"]], on="id").sort_values(["id", "position"]),
    [
        report.neuron(),
        report.text("Layer", "layer"),
        report.number("Mean", "membrane_mean", 3, sign=True),
        report.number("Standard deviation", "membrane_std", 3),
    ],
    "Mean and standard deviation of the membrane potential, averaged over seeds",
    "layers",
)

# %% [markdown]
# ## What was found

# %%
found = claims.loc["membrane-differs-by-layer"]
report.note(f"{found['statement']} **{found['verdict'].capitalize()}** ({found['evidence']}): {found['result']}.")

# %%
report.claims(results, "membrane")
