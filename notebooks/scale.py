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
# # How does the lead of ternary spikes move with scale?
#
# **Asked:** what is kept with this repository was trained small: narrow networks, short schedules. Is the lead of
# ternary over binary spikes larger or smaller in a wider network, and with a longer schedule? And is it there over
# binary spikes too whose surrogate gradient is as wide as the ternary's, about their own threshold and with the area of
# a step? This page is the same in the report of every preset. Two ends of an axis are no law: where the curve points is
# no proof of what it does at the paper's own width and 400 epochs.

# %%
import sys
from html import escape

from ternary_spike import report
from ternary_spike.report.scale import AXES, BASES, EPOCHS, WIDTH

results = report.Results(results)
sets = report.kept(kept)
runs = report.scale_runs(sets)
leads = report.scale_leads(runs)
if leads.empty:
    display(report.note("No results are kept with this copy of the repository that could say it."))
    sys.exit(0)  # what follows is left out of the page

LABELS = {"width": f"Width, {EPOCHS} epochs", "epochs": f"Epochs, width {WIDTH}"}
NAMES = {axis: label.partition(",")[0] for axis, label in LABELS.items()}
STYLES = dict(zip(BASES, (("binary", "o"), ("ternary", "s")), strict=True))  # colour of a neuron, marker
reduced = f"Reduced: {report.shared_reductions(runs)}"
energies = "; ".join(dict.fromkeys(each.energies_at for each in sets if each.preset in set(runs["set"])))


def on_an_axis(axes, axis, values):
    """A logarithmic axis with the values that there are."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(LABELS[axis])
    axes.margins(x=0.15)


# %% [markdown]
# ## Lead in accuracy
#
# Last-epoch accuracy of ternary less that of binary spikes. Intervals are 95 % over seeds (Welch); two seeds give wide
# ones, and one seed none.

# %%
drawn = [axis for axis in AXES if (leads["axis"] == axis).any()]
figure, grid = report.subplots(1, len(drawn), height=2.8, sharey=True, squeeze=False)
for axes, axis in zip(grid.flat, drawn, strict=True):
    here = leads[leads["axis"] == axis]
    for shift, base in zip((0.97, 1.03), BASES, strict=True):
        mine = here[here["base"] == base].sort_values("value")
        colour, marker = STYLES[base]
        axes.errorbar(
            mine["value"] * shift,
            mine["difference_points"],
            mine["interval_points"].astype(float),
            color=report.COLOURS[colour],
            marker=marker,
            capsize=3,
            label=f"less {base}",
        )
    axes.axhline(0, color=report.INK, lw=0.8)
    on_an_axis(axes, axis, sorted(set(here["value"])))
grid.flat[0].set_ylabel("Ternary less binary, points")
grid.flat[0].legend(frameon=False, fontsize=7.5, loc="best")
seen = leads["difference_points"]
low, high = min(0, seen.min()), max(0, seen.max())
grid.flat[0].set_ylim(low - 0.6 * (high - low), high + 0.6 * (high - low))  # an interval of two seeds may go beyond
data = ", ".join(runs["data_label"].unique())
caption = f"{data}, ResNet20, T = 2; an interval may leave the picture. {reduced}."
display(report.figure(results, figure, "scale-lead", "Lead of ternary spikes by width and by epochs", caption))

# %%
places = [f"{NAMES[axis]} {value}" for axis, value in zip(leads["axis"], leads["value"], strict=True)]
shown = leads.assign(at=places)
display(
    report.table(
        shown,
        [
            report.text("Place", "at"),
            report.text("Ternary less", "base"),
            report.Column(
                "Lead, points",
                lambda row: report.in_words(row["difference_points"], row["interval_points"]),
                lambda row: row["difference_points"],
                numeric=True,
            ),
            report.text("Seeds", "seeds"),
            report.number("More energy, %", "extra_percent", 1, sign=True),
        ],
        f"Lead of ternary spikes with half of its 95 % interval; energy by its formula at measured rates; {energies}",
    )
)

# %% [markdown]
# ## Firing rates, energy and amplitudes along the same axes
#
# Rates count spikes of either sign. An amplitude is a layer's, of the trainable ternary spike, at the end of training.

# %%
display(
    report.table(
        runs,
        [
            report.number("Width", "width", 0),
            report.number("Epochs", "epochs", 0),
            report.Column(
                "Spikes", lambda row: report.marked(row["neuron"], escape(row["kind"])), lambda row: row["kind"]
            ),
            report.spread("Last epoch, %", "last_epoch"),
            report.spread("Firing rate, %", "rate", digits=2),
            report.number("Energy, µJ", "energy_mean_microjoule", 2),
            report.number("Least amplitude", "amplitude_least", 2),
            report.number("Largest", "amplitude_most", 2),
            report.number("Seeds", "n", 0),
            report.text("Kept in", "set"),
        ],
        f"Every run of the axes: mean ± standard deviation over seeds; {energies}. {reduced}",
    )
)

# %%
figure, grid = report.subplots(1, len(drawn), height=2.6, sharey=True, squeeze=False)
for axes, axis in zip(grid.flat, drawn, strict=True):
    held, at = AXES[axis]
    here = runs[(runs[held] == at) & runs["rate_mean_percent"].notna()]
    for kind, mine in here.groupby("kind", sort=False):
        mine = mine.sort_values(axis)
        neuron = mine["neuron"].iloc[0]
        axes.errorbar(
            mine[axis],
            mine["rate_mean_percent"],
            mine["rate_std_percent"],
            color=report.COLOURS[neuron],
            marker=report.MARKERS[neuron],
            ls="--" if "window" in kind else "-",
            capsize=2,
            label=kind,
        )
    on_an_axis(axes, axis, sorted(set(here[axis])))
grid.flat[0].set_ylabel("Neurons that fire, %")
grid.flat[-1].legend(frameon=False, fontsize=7.5, loc="best")
caption = f"{data}, ResNet20, T = 2: mean ± standard deviation over seeds. {reduced}."
display(report.figure(results, figure, "scale-rate", "Firing rate by width and by epochs", caption))

# %% [markdown]
# ## What was found

# %%
lines = []
for (axis, base), here in leads.groupby(["axis", "base"], sort=False):
    found = report.trend(here)
    name = NAMES[axis].lower()
    if found is None:
        lines.append(f"- Over {base}, {name}: one place alone has finished.")
        continue
    lines.append(
        f"- Over {base}, the lead {found.word}, from {name} {found.first} to {found.last}: "
        f"{report.in_words(found.points, found.half if found.half < float('inf') else None)} points."
    )
report.note(report.as_text(report.scale_sentence(leads)) + "\n\n" + "\n".join(lines))
