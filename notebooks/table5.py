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
# # Table 5: what do ternary spikes cost?
#
# **Asked:** the paper estimates 2.11 % more energy for ternary than for binary spikes in ResNet20 on CIFAR-10. Do its
# figures follow from its counts, what do our networks use, and which assumption decides?

# %%
from ternary_spike import paper, report
from ternary_spike.report import COLOURS

results = report.Results(results)
table5 = results.table("table5")
layers = results.table("energy_layers").merge(results.named, on="id")
claims = results.table("claims").set_index("id")


def reason(rows):
    """The column that says what was not counted and why, where there is one."""
    return [report.text("Not counted", "not_counted", long=True)] if (rows["not_counted"] != "").any() else []


# %% [markdown]
# ## The paper's rule
#
# $$E = 12.5\,\mathrm{pJ} \cdot \#\mathrm{FLOPs} + 77\,\mathrm{fJ} \cdot \#\mathrm{SOPs} + 3.7\,\mathrm{pJ} \cdot
# \#\mathrm{Sign}, \qquad \#\mathrm{SOPs} = s \, T A$$
#
# FLOPs are the encoder's (the first convolution), counted at each of the $T$ timesteps; $s$ is the "mean sparsity",
# which the paper does not define; $A$ are the additions of the dense network.

# %% [markdown]
# ## From the printed counts

# %%
report.table(
    table5[table5["kind"] != "ours"],
    [
        report.neuron(),
        report.text("Energy", "kind"),
        report.number("s, %", "rate_percent", 2),
        report.number("FLOPs, M", "flops", 2, scale=1e-6),
        report.number("SOPs, M", "synops", 2, scale=1e-6),
        report.number("Sign, M", "sign", 2, scale=1e-6),
        report.number("Energy, µJ", "energy_mean_microjoule", 3),
    ],
    f"Table 5 as printed, and the energy that follows from its own counts at {paper.CONSTANTS}",
    "table5",
)

# %%
encoder = {row.neuron: row.flops_million * paper.ENERGY_PJ["mac"] / row.from_counts() for row in paper.energies()}
printed = [claims.loc[name] for name in ("energy-extra-printed", "energy-signs", "energy-additions")]
report.note(
    f"The encoder alone is {100 * encoder['ternary']:.0f} % of the printed ternary energy: it hides what spikes cost.",
    *map(report.judged, printed),
)

# %% [markdown]
# ## Table 5's network
#
# Our own runs of ResNet20 on CIFAR-10 at $T = 2$, by each method:

# %%
report.table(
    table5[table5["kind"] == "ours"],
    [
        report.neuron(),
        report.state(),
        report.text("Method", "method"),
        report.text("Encoder counted", "encoder"),
        report.number("Firing rate, %", "rate_percent", 2),
        report.number("FLOPs, M", "flops", 2, scale=1e-6),
        report.number("SOPs, M", "synops", 2, scale=1e-6),
        report.number("Sign, M", "sign", 3, scale=1e-6),
        report.spread("Energy, µJ", "energy", "microjoule", 3),
        report.number("Seeds", "n", 0),
        report.run_link(),
    ],
    f"Runs of this preset that belong to Table 5; {results.energies_at}",
    "table5",
)

# %% [markdown]
# ## What our networks use
#
# Three readings of "mean sparsity" and the exact count of additions, each with the encoder counted at every timestep,
# as the paper does, or once, which a static image allows.

# %%
energy = results.table("energy")
samples = sorted(set(energy.loc[energy["not_counted"] == "", "samples"]))
report.note(
    f"Counted on {' or '.join(f'{number:,}' for number in samples)} test images, the same share of each class, so that "
    "rates differ a little from those over the whole test set elsewhere."
    if samples
    else ""
)

# %%
means = report.energy_by_method(results)
report.table(
    means,
    [
        report.neuron(),
        report.text("Method", "method"),
        report.text("Encoder counted", "encoder"),
        report.number("Rate used, %", "rate_mean", 1, scale=100),
        report.number("SOPs, k", "synops_mean", 1, scale=1e-3),
        report.number("Sign, k", "sign_mean", 1, scale=1e-3),
        report.spread("Energy, µJ", "energy", "microjoule", 3),
        report.number("Over binary, %", "extra_percent", 1, sign=True),
        *reason(means),
    ],
    f"Energy per image by method, mean ± standard deviation over seeds; {results.energies_at}",
    "energy",
    group=lambda row: row["place"],
)

# %%
for place, here in means[means["not_counted"] == ""].groupby("place", sort=False):
    ways = list(dict.fromkeys(zip(here["method"], here["encoder"], strict=True)))
    names = report.ordered(here["neuron"])
    apart = min(0.26, 0.9 / len(names))
    figure, axes = report.subplots(height=0.5 + 0.42 * len(ways), width=5.8)
    for i, name in enumerate(names):
        mine = here[here["neuron"] == name].set_index(["method", "encoder"]).reindex(ways)
        heights = [-k - apart * (i - (len(names) - 1) / 2) for k in range(len(ways))]
        axes.barh(
            heights,
            mine["energy_mean_microjoule"],
            0.92 * apart,
            xerr=mine["energy_std_microjoule"],
            color=COLOURS[name],
            ecolor=report.INK,
        )
        axes.plot([], [], color=COLOURS[name], lw=5, label=name)
    axes.set_yticks([-k for k in range(len(ways))], [f"{method},\nencoder {encoder}" for method, encoder in ways])
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("Energy per image, µJ")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper right", ncols=3, fontsize=8)
    display(
        report.figure(
            results,
            figure,
            f"energy-{place}",
            "Energy per image by method of counting, bars grouped by neuron",
            f"{place}: mean over seeds, with standard deviation, by method and by how often the encoder is counted; "
            f"{results.energies_at}.",
            results.done[results.done["id"].isin(here["id"])],
        )
    )

# %% [markdown]
# ## Operations layer by layer
#
# Mean over seeds. Pooled inputs are averages of spikes: sums of weights times a constant, additions still, but of
# inputs that are not ternary. A network that is not foldable is counted on itself; a layer whose input is no spikes is
# not counted, since it multiplies.

# %%
counted = layers[layers["kind"] != "neurons"].groupby(["id", "neuron", "layer"], sort=False)
counted = counted.agg({"kind": "first", "input": "first", "pooled": "first", "input_rate": "mean", "macs": "mean",
                       "flops": "mean", "synops": "mean", "not_counted": "first"}).reset_index()  # fmt: skip
counted = counted.drop(columns="neuron").merge(results.named, on="id").sort_values("id", kind="stable")
report.table(
    counted,
    [
        report.neuron(),
        report.text("Layer", "layer"),
        report.text("Kind", "kind"),
        report.text("Input", "input"),
        report.Column("Pooled", lambda row: "yes" if row["pooled"] else ""),
        report.number("Input rate, %", "input_rate", 1, scale=100),
        report.number("Dense MACs", "macs", 0),
        report.number("FLOPs", "flops", 0),
        report.number("Additions", "synops", 0),
        *reason(counted),
    ],
    "Operations per image: dense multiply-accumulates of one timestep, and what spikes cause in all timesteps",
    "energy_layers",
    group=report.place,
)

# %% [markdown]
# ## What was found

# %%
report.note(report.judged(claims.loc["energy-extra-measured"]))

# %%
report.claims(results, "table5")
