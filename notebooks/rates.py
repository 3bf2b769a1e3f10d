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
# # How often do neurons fire, and how did training go?
#
# **Asked:** the energy argument rests on the firing rate: 16.42 % of binary and 18.27 % of ternary neurons, says the
# paper's Table 5. What are the rates of trained networks, layer by layer, and did their training converge?

# %%
from ternary_spike import report

results = report.Results(results)
summary = results.summary.set_index("id")
layers = results.table("layers").merge(results.named, on="id")
history = results.table("history").merge(results.named, on="id")
claims = results.table("claims").set_index("id")
places = results.done[results.done["variant"] == ""].groupby(["data_label", "architecture", "timesteps"], sort=False)

# %% [markdown]
# ## Firing rates
#
# A rate is the share of neurons and timesteps with a spike of either sign. With $V_{th} = 0.5$ and batch norm's unit
# variance about 62 % of ternary and 31 % of binary neurons fire before training. Dotted: negative spikes alone.

# %%
for (label, architecture, timesteps), place in places:
    here = layers[layers["id"].isin(place["id"])]
    if here.empty:
        continue
    figure, axes = report.subplots(height=2.6, width=min(6.75, 2.2 + 0.6 * here["layer"].nunique()))
    report.by_layer([(axes, here)], "rate_percent")
    axes.set_ylabel("Neurons that fire, %")
    display(
        report.figure(
            results,
            figure,
            f"rates-{place['id'].iloc[0].rsplit('-', 1)[0]}",
            "Firing rate of each layer, one line a neuron, with standard deviation over seeds",
            f"{label}, {architecture}, T = {timesteps}: mean ± standard deviation over seeds.",
            place,
        )
    )

# %%
report.table(
    results.done,
    [
        report.neuron(),
        report.spread("Firing rate, %", "rate", digits=2),
        report.number("Seeds", "n", 0),
        report.run_link(),
    ],
    "Firing rate over all neurons and timesteps, mean ± standard deviation over seeds",
    "summary",
    group=report.place,
)

# %% [markdown]
# ## Training curves
#
# Loss and test accuracy after each epoch: the mean over seeds, in a band of one standard deviation.

# %%
for (label, architecture, timesteps), place in places:
    here = history[history["id"].isin(place["id"])]
    display(
        report.figure(
            results,
            report.training(here),
            f"training-{place['id'].iloc[0].rsplit('-', 1)[0]}",
            "Training loss and test accuracy after each epoch, mean over seeds and its band, one colour a neuron",
            f"{label}, {architecture}, T = {timesteps}: mean over seeds, band of one standard deviation.",
            place,
        )
    )

# %% [markdown]
# ## What was found

# %%
found = [claims.loc[f"energy-rate-{name}"] for name in ("binary", "ternary")]
report.note(*map(report.judged, found))

# %%
report.claims(results, "rates")
