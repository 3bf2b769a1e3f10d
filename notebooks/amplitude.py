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
# # What becomes of the trainable amplitude?
#
# **Asked:** the paper trains one amplitude a layer so that spikes suit the layer's membrane potentials. Which
# amplitudes do layers learn?

# %%
from ternary_spike import report
from ternary_spike.report import COLOURS

results = report.Results(results)
layers = results.table("layers").merge(results.named, on="id")
layers = layers[layers["neuron"] == "trainable"]  # the amplitudes of prior methods have other meanings
claims = results.table("claims").set_index("id")

# %% [markdown]
# ## Where an amplitude can act
#
# A convolution followed by batch normalisation is blind to the scale of its input: $\mathrm{BN}(\mathbf{K} * (a
# \mathbf{B})) = \mathrm{BN}(\mathbf{K} * \mathbf{B})$ up to the small constant in BN's denominator. So the gradient
# of an amplitude whose spikes meet nothing but convolutions with batch norm is zero, and it stays at its initial 1.
# An amplitude can act only where spikes reach an identity shortcut, whose sum goes to a membrane, or the classifier.
#
# Both are computed here for every architecture, before any training: from the network's structure, and as the share of
# the gradient at a layer's spikes that its amplitude sees, $|\partial L/\partial a|$ over $\sum |\partial L/\partial y
# \cdot b|$. It is zero up to batch norm's constant where the structure says blind.

# %%
where = results.amplitudes()
order = list(dict.fromkeys(where["architecture"]))
figure, axes = report.subplots(height=0.5 + 0.32 * len(order))
for row, architecture in enumerate(order):
    mine = where[where["architecture"] == architecture]
    for live, face in ((True, COLOURS["trainable"]), (False, "none")):
        chosen = mine[mine["live"] == live]
        axes.scatter(chosen["position"], [row] * len(chosen), s=26, color=face, edgecolor=report.INK, lw=0.6)
axes.set_yticks(range(len(order)), order)
axes.invert_yaxis()
axes.set_xlabel("Neuron layer, in the order of computation")
caption = "Filled: spikes reach an identity shortcut or the classifier. Hollow: blind, only batch norm follows."
display(report.figure(results, figure, "amplitude-live", "Layers whose amplitude can act, by architecture", caption))

# %%
counts = where.groupby(["architecture", "live"], sort=False)["gradient_share"].agg(["size", "min", "max"]).reset_index()
report.table(
    counts,
    [
        report.text("Network", "architecture"),
        report.Column("Amplitude", lambda row: "can act" if row["live"] else "blind"),
        report.number("Layers", "size", 0),
        report.Column("Gradient share, least", lambda row: f"{row['min']:.1e}", lambda row: row["min"], numeric=True),
        report.Column("largest", lambda row: f"{row['max']:.1e}", lambda row: row["max"], numeric=True),
    ],
    "Neuron layers whose amplitude can act, and the gradient they see before training",
)

# %% [markdown]
# ## Trained amplitudes

# %%
for run, mine in layers.groupby("id", sort=False):
    table = mine.groupby("layer", sort=False)[["position", "amplitude"]].agg({"position": "first", "amplitude": list})
    figure, axes = report.subplots(height=2.4, width=min(6.75, 1.4 + 0.55 * len(table)))
    for _, row in table.iterrows():
        axes.scatter(
            [row["position"]] * len(row["amplitude"]), row["amplitude"], s=18, color=COLOURS["trainable"], lw=0
        )
    axes.axhline(1, color=report.INK, lw=0.7, ls="--")
    axes.set_xticks(table["position"], table.index, rotation=45, ha="right")
    axes.set_ylabel("Amplitude a")
    caption = f"{run}: a point a seed. Dashed: the initial value 1, where blind layers stay."
    display(
        report.figure(
            results,
            figure,
            f"amplitude-{run}",
            "Trained amplitude of each layer, a point a seed",
            caption,
            results.done[results.done["id"] == run],
        )
    )

# %%
means = layers.groupby(["id", "layer"], sort=False)["amplitude"].agg(["mean", "std", "size"]).reset_index()
means = means.rename(columns={"mean": "amplitude_mean_", "std": "amplitude_std_"})
report.table(
    means,
    [
        report.text("Layer", "layer"),
        report.spread("Amplitude", "amplitude", "", 3),
        report.number("Seeds", "size", 0),
        report.run_link(),
    ],
    "Trained amplitudes, mean ± standard deviation over seeds",
    "layers",
)

# %% [markdown]
# ## What was found

# %%
report.note(report.judged(claims.loc["amplitudes-differ-by-layer"]))

# %%
report.claims(results, "amplitude")
