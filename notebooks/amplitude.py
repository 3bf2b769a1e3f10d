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
layers = results.table("layers").merge(results.summary[["id", "neuron", "variant"]], on="id")
layers = layers[layers["amplitude"].notna()]
claims = results.table("claims").set_index("id")

# %% [markdown]
# ## Where an amplitude can act
#
# A convolution followed by batch normalisation is blind to the scale of its input: $\mathrm{BN}(\mathbf{K} * (a
# \mathbf{B})) = \mathrm{BN}(\mathbf{K} * \mathbf{B})$ up to the small constant in BN's denominator. So the gradient
# of an amplitude whose spikes meet nothing but convolutions with batch norm is zero, and it stays at its initial 1.
# An amplitude can act only where spikes reach an identity shortcut, whose sum goes to a membrane, or the classifier.
# In the paper's ResNet20 that is 6 of 19 neuron layers.

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
        report.figure(results, figure, f"amplitude-{run}", "Trained amplitude of each layer, a point a seed", caption)
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
found = claims.loc["amplitudes-differ-by-layer"]
report.note(f"{found['statement']} **{found['verdict'].capitalize()}** ({found['evidence']}): {found['result']}.")

# %%
report.claims(results, "amplitude")
