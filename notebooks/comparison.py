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
# # Are ternary spikes better than binary ones?
#
# **Asked:** with everything else equal, does a network of ternary neurons reach a higher accuracy than one of binary
# neurons, does a trainable amplitude add to it, and what do the spikes cost? Every run of this preset is shown,
# whether or not the paper has a row for it.

# %%
import pandas

from ternary_spike import report
from ternary_spike.report import COLOURS, MARKERS

results = report.Results(results)
done = results.done
runs = results.table("runs")
runs = runs[runs["last_epoch_percent"].notna()]
claims = results.table("claims").set_index("id")

# %% [markdown]
# ## Accuracy
#
# Mean ± sample standard deviation over seeds. The *last epoch* is the honest figure: nothing was chosen by looking at
# the test set. The *best epoch* is the paper's protocol, and the one that is compared with the paper's figures.

# %%
report.table(
    done,
    [
        report.neuron(),
        report.spread("Last epoch, %", "last_epoch"),
        report.spread("Best epoch, %", "best_epoch"),
        report.number("Seeds", "n", 0),
        report.spread("Firing rate, %", "rate", digits=1),
        report.spread("Synaptic operations", "synops", "per_image", digits=0),
        report.run_link(),
    ],
    "Every finished run of this preset",
    "summary",
    group=report.place,
)


# %%
MANY = 12  # names that find no place beside their points any more, and stand in a column


def name_points(axes, ends, labels):
    """Names beside the points (x, y, neuron), or where they are many in a column right of the picture."""
    if len(ends) < MANY:
        report.end_labels(axes, ends, labels=labels)
    else:
        points = pandas.DataFrame(ends, columns=["x", "y", "neuron"])
        report.names_beside(axes, points.assign(name=labels), "x", "y")


# %%
PLACE = ["data_label", "architecture", "timesteps"]
firing = done[done["id"].isin(runs.loc[runs["rate_percent"].notna(), "id"])]  # others have no place on this axis
sizes = firing.groupby(PLACE, sort=False).size()
sizes = sizes[sizes > 1] if (sizes > 1).any() else sizes  # one run alone is no comparison
shown = None
if len(sizes):
    across = min(len(sizes), 3) if sizes.max() < MANY else 1
    down = -(-len(sizes) // across)
    heights = [max(2.7, 0.8 + 0.13 * most) for most in sizes] if across == 1 else [2.7] * down
    options = {"height_ratios": heights, "squeeze": False}
    figure, grid = report.subplots(down, across, height=sum(heights), **options)
    for axes in grid.flat[len(sizes) :]:
        axes.set_visible(False)
    for axes, place in zip(grid.flat, sizes.index, strict=False):
        here = runs.set_index(PLACE).sort_index().loc[[place]]
        ends, labels = [], []
        for _, row in firing[firing["id"].isin(here["id"])].iterrows():
            mine = here[here["id"] == row["id"]]
            name, variant = row["neuron"], row["variant"]
            face = "none" if variant else COLOURS[name]
            rate, accuracy = mine["rate_percent"], mine["last_epoch_percent"]
            axes.scatter(
                rate, accuracy, s=18, facecolor=face, edgecolor=COLOURS[name], marker=MARKERS[name], alpha=0.6, lw=0.8
            )
            axes.errorbar(
                rate.mean(), accuracy.mean(), accuracy.std(), rate.std(), color=COLOURS[name], capsize=3, lw=1.4
            )
            ends.append((rate.mean() + (rate.std() if len(mine) > 1 else 0), accuracy.mean(), name))
            labels.append(report.called(row))
        axes.margins(**({"x": 0.35, "y": 0.2} if len(ends) < MANY else {"x": 0.06, "y": 0.06}))
        axes.set_title(f"{place[0]}\n{place[1]}, T = {place[2]}")
        axes.set_xlabel("Neurons that fire, %")
        axes.set_ylabel("Test accuracy, last epoch, %")
        name_points(axes, ends, labels)
    shown = report.figure(
        results,
        figure,
        "accuracy-and-rate",
        "Test accuracy against firing rate: a point a seed, a cross for mean and standard deviation, a colour a neuron",
        "Last-epoch test accuracy against the share of neurons that fire: a point a seed, a cross for mean ± standard "
        "deviation. Hollow: with an option, or by a method, that the paper does not have.",
        runs,
    )
shown

# %% [markdown]
# ## An equal budget
#
# A ternary spike costs two comparisons instead of one and, where its network fires more, more synaptic operations.
# The same accuracies against operations:

# %%
counted = done[done["synops_mean_per_image"].notna()]
shown = None
if len(counted):
    many = len(counted) >= MANY
    figure, axes = report.subplots(height=max(2.6, 0.8 + 0.13 * len(counted) * many), width=6.75 if many else 4.6)
    ends, labels = [], []
    several = counted["timesteps"].nunique() > 1
    for _, row in counted.iterrows():
        name = row["neuron"]
        x, y = row["synops_mean_per_image"] / 1e6, row["last_epoch_mean_percent"]
        spread, face = row["last_epoch_std_percent"], "none" if row["variant"] else COLOURS[name]
        axes.errorbar(x, y, spread, color=COLOURS[name], marker=MARKERS[name], mfc=face, capsize=3, lw=1.4)
        ends.append((x, y, name))
        label = report.called(row)
        labels.append(f"{label}, T = {row['timesteps']}" if several else label)
    axes.margins(**({"x": 0.06, "y": 0.06} if many else {"x": 0.3, "y": 0.2}))
    report.logarithmic_if_far_apart(axes, counted["synops_mean_per_image"])
    name_points(axes, ends, labels)
    axes.set_xlabel("Synaptic operations per image, millions")
    axes.set_ylabel("Test accuracy, last epoch, %")
    shown = report.figure(
        results,
        figure,
        "accuracy-and-operations",
        "Test accuracy against synaptic operations per image, one point a neuron with its standard deviation",
        "Last-epoch test accuracy (mean ± standard deviation over seeds) against additions per image.",
        counted,
    )
shown

# %% [markdown]
# ## What was found

# %%
found = [claims.loc[name] for name in ("ternary-above-binary", "trainable-above-ternary")]
report.note(*map(report.judged, found))

# %%
report.claims(results, "comparison")
