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
# # How much can a spike carry?
#
# **Asked:** what is the information capacity of a map of spikes (Proposition 1), and how much of it do trained layers
# use? The paper proves the first and does not measure the second.

# %%
import math

from ternary_spike import report
from ternary_spike.report import COLOURS, MARKERS

results = report.Results(results)
layers = results.table("layers")
claims = results.table("claims").set_index("id")

# %% [markdown]
# ## Capacity
#
# The entropy of a site with $N$ possible values is largest where all are equally likely (Eq. 6, Proposition 1):
#
# $$\mathcal{R} = \max \left( -\sum_{i=1}^{N} p_i \log_2 p_i \right) = \log_2 N$$
#
# It is an upper bound: reached by uniform, independent sites only.

# %%
import pandas as pd

kinds = pd.DataFrame([("binary spikes", 2), ("ternary spikes", 3), ("32-bit membrane potentials", 2**32)])
kinds.columns = ["map", "levels"]
kinds["bits"] = kinds["levels"].map(math.log2)
kinds["ratio"] = kinds["bits"] / kinds["bits"][0]
report.table(
    kinds,
    [
        report.text("A map of", "map"),
        report.number("Levels", "levels", 0),
        report.number("Bits a site", "bits", 3),
        report.number("Times the binary map", "ratio", 3),
    ],
    "Capacity of a site",
)

# %% [markdown]
# The entropy of a site depends on how often it fires. Few binary sites fire half of the time and few ternary sites
# two thirds of it; at equal firing rate $r$ the sign of a ternary spike adds at most $r$ bits.

# %%
rates = [i / 200 for i in range(1, 200)]


def bits(*shares: float) -> float:
    return -sum(p * math.log2(p) for p in shares if p > 0)


figure, axes = report.subplots(height=2.6, width=4.6)
for name, curve in (
    ("binary", [bits(r, 1 - r) for r in rates]),
    ("ternary", [bits(r / 2, r / 2, 1 - r) for r in rates]),
):
    axes.plot([100 * r for r in rates], curve, color=COLOURS[name])
    report.direct_label(axes, 100 * rates[-40], curve[-40], name, f"{name}, at most", xytext=(6, 4))
measured = layers[layers["rate_percent"].notna()].merge(results.named, on="id")
for name in report.ordered(measured["neuron"]):
    mine = measured[measured["neuron"] == name]
    axes.scatter(
        mine["rate_percent"], mine["entropy_bits"], s=14, color=COLOURS[name], marker=MARKERS[name], alpha=0.7, lw=0
    )
axes.set_xlabel("Neurons of the layer that fire, %")
axes.set_ylabel("Entropy, bits a neuron and timestep")
axes.set_ylim(0, 1.7)
report.figure(
    results,
    figure,
    "information",
    "Entropy of a spike against firing rate: the bound for binary and for ternary spikes, and every measured layer",
    "Lines: the most that a spike can carry at a firing rate. Points: layers of the trained networks, from the pooled "
    "shares of −1, 0 and +1.",
    results.done,
)

# %% [markdown]
# ## What trained layers emit
#
# Two figures for each layer: the entropy of its pooled shares of −1, 0 and +1, as if all its neurons were alike; and
# the mean of each neuron's own entropy, which is smaller, since neurons that always or never fire carry nothing.

# %%
means = layers.groupby(["id", "layer"], sort=False)
means = means[["position", "neurons", "rate_percent", "entropy_bits", "entropy_per_neuron_bits"]].mean().reset_index()
means = means.merge(results.named, on="id")
report.table(
    means.sort_values(["id", "position"]),
    [
        report.neuron(),
        report.text("Layer", "layer"),
        report.number("Neurons", "neurons", 0),
        report.number("Firing rate, %", "rate_percent", 1),
        report.number("Entropy, bits (pooled)", "entropy_bits", 3),
        report.number("Entropy, bits (mean of neurons)", "entropy_per_neuron_bits", 3),
    ],
    "Entropy by layer, mean over seeds",
    "layers",
    group=report.place,
)

# %% [markdown]
# ## What was found

# %%
capacity, measured = claims.loc["capacity"], claims.loc["measured-entropy"]
report.note(
    *(
        f"{what}: **{report.as_text(claim['verdict'])}** ({report.as_text(claim['evidence'])}): "
        f"{report.as_text(claim['result'])}."
        for what, claim in (("Capacity", capacity), ("In trained networks", measured))
    )
)

# %%
report.claims(results, "information")
