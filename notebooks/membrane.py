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
from ternary_spike import report

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
for (label, architecture, timesteps), place in measured.groupby(
    ["data_label", "architecture", "timesteps"], sort=False
):
    display(
        report.figure(
            results,
            report.membranes(results, place),
            f"membrane-{place['id'].iloc[0].rsplit('-', 1)[0]}",
            f"Membrane potential's distribution by layer, a row a neuron, {architecture}, T = {timesteps}",
            f"{label}, {architecture}, T = {timesteps}: share of neurons and timesteps by membrane potential.",
            place,
        )
    )

# %% [markdown]
# ## Distances between layers
#
# How far two distributions lie apart: the largest difference of their cumulative shares (Kolmogorov–Smirnov), from 0
# to 1. Chance is the same layer in two seeds.

# %%
distances = results.table("membrane").merge(results.named, on="id")
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
    group=report.place,
)

# %%
layers = results.table("layers").merge(results.named, on="id")
means = layers.groupby(["id", "layer"], sort=False)[["position", "membrane_mean", "membrane_std"]].mean().reset_index()
report.table(
    means.merge(results.named, on="id").sort_values(["id", "position"]),
    [
        report.neuron(),
        report.text("Layer", "layer"),
        report.number("Mean", "membrane_mean", 3, sign=True),
        report.number("Standard deviation", "membrane_std", 3),
    ],
    "Mean and standard deviation of the membrane potential, averaged over seeds",
    "layers",
    group=report.place,
)

# %% [markdown]
# ## What was found

# %%
report.note(report.judged(claims.loc["membrane-differs-by-layer"]))

# %%
report.claims(results, "membrane")
