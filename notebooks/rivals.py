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
results = "../results/rivals"
kept = "../results/reference"

# %% [markdown]
# # Who is ahead under equal conditions?
#
# **Asked:** the paper sets its accuracies beside those of 24 prior methods as these printed them: other networks,
# other schedules, other numbers of timesteps. Here network, recipe, T and seeds are the same and only the method
# differs. Which methods are ahead of the ternary spike then, by how much, and at which cost? What becomes of ternary
# spikes that are trained by a method of others?

# %%
import sys
from html import escape

import pandas as pd

from ternary_spike import report
from ternary_spike.tables.rivals import ABOVE, BELOW, COMBINED, OWN, PRIOR, UNDECIDED

results = report.Results(results)
sets = report.compared_sets(results, report.kept(kept))
own = results in sets
if not sets:
    display(report.note("The plan of this preset has no prior methods; `make rivals` trains them, on the digits."))
    sys.exit(0)  # what follows is left out of the page
names = " and ".join(f"**{report.as_text(each.preset)}**" for each in sets[own:])
if names:
    before = "" if own else "The plan of this preset has no prior methods. "
    display(report.note(f"{before}What came with the repository: {names}."))
PLACE = ["data_label", "architecture", "timesteps"]


def finished(found):
    """Rows of the methods that have a finished seed."""
    rivals = found.table("rivals")
    return rivals[rivals["n"] > 0]


def with_labels(rivals):
    """The rows by place, those that have not run with the name of the data that the others ran on."""
    known = rivals[rivals["data_label"] != ""].drop_duplicates("dataset").set_index("dataset")["data_label"]
    labels = rivals["data_label"].where(rivals["data_label"] != "", rivals["dataset"].map(known).fillna(""))
    return rivals.assign(data_label=labels).sort_values(PLACE, kind="stable")


def source(found):
    """Where the report has a set's table of methods."""
    return "rivals" if found is results else found.source("rivals")


# %% [markdown]
# ## Accuracy, cost and distance
#
# Every run that has finished. A prior method never stands there without its level:
# *faithful*, where equations and constants were checked against public code or text; *partly*, where what the sources
# leave open is filled in; *candidate*, where not even the equations could be had. A neuron's name in small letters is
# the neuron alone in the paper's way of training, with the level of its equations; a method's level is that of all that
# its row has.
#
# Equal conditions are the paper's recipe, made for its own neurons: a method that needs another optimiser, a longer
# schedule or more timesteps stands low here, some at chance, and that says nothing of what it reaches by its authors'
# recipe. Training time is for each picture, beside the ternary neuron's, that of the fastest of all epochs by the
# clock: other processors are in it and what else these did, and in the comparison that came with the repository both
# were many. So it is no measurement of the method; what a step alone costs was measured, and stands in
# `docs/methods.md` with how each method is made and what is filled in. Methods whose layers no fused kernel computes
# pay for that here.

# %%
method = report.Column("Method", lambda row: report.marked(row["neuron"], escape(row["name"])), lambda row: row["name"])
for found in sets:
    done = finished(found)
    pages = [report.run_link()] if found is results else []  # runs of other sets have no pages in this report
    reduced = "; ".join(dict.fromkeys(text for text in done["reduced"] if text))
    display(
        report.table(
            done,
            [
                method,
                report.Column(
                    "Accuracy, %",
                    lambda row: report.in_words(row["last_epoch_mean_percent"], row["last_epoch_interval_points"]),
                    lambda row: row["last_epoch_mean_percent"],
                    numeric=True,
                ),
                report.Column(
                    "Less ternary, points",
                    lambda row: report.in_words(row["difference_points"], row["interval_points"]),
                    lambda row: row["difference_points"],
                    numeric=True,
                ),
                report.verdict("Beside ternary"),
                report.spread("Firing rate, %", "rate", digits=1),
                report.spread("Additions, M", "synops", "per_image", digits=2, scale=1e-6),
                report.spread("Energy, µJ", "energy", "microjoule", digits=2),
                report.number("Training, ms an image", "seconds_per_image", 3, scale=1e3),
                report.number("Times ternary's", "time_ratio", 2),
                report.number("Seeds", "n", 0),
                *pages,
            ],
            f"{found.preset}: last-epoch accuracy ± half of its 95 % interval over seeds, and what a picture takes; "
            f"{found.energies_at}{'; reduced: ' if reduced else ''}{reduced}",
            source(found),
            group=report.place,
        )
    )

# %% [markdown]
# ## Levels, sources, and what has not run
#
# Every run that is planned, whether or not it has finished.

# %%
for found in sets:
    display(
        report.table(
            with_labels(found.table("rivals")),
            [method, report.text("Level", "level"), report.text("State", "state"), report.text("Source", "citation")],
            f"{found.preset}: where each method comes from",
            source(found),
            group=report.place,
        )
    )

# %% [markdown]
# ## Accuracy against operations
#
# Additions an image, counted on the folded network, or on the network itself where it is not foldable. Hollow: prior
# methods on ternary spikes, with or without a trained amplitude.


# %%
def places(by, column):
    """Each set, with the finished methods of each of its places that have a number in a column."""
    for found in sets:
        done = finished(found)
        for place, here in done[done[column].notna()].groupby(by, sort=False):
            yield found, place, here


def picture(column, scale, label, name, caption):
    """Accuracy against a cost, each method named at its point, a picture for each network."""
    for found, place, here in places(PLACE[:2], column):
        usual = here["timesteps"].mode()[0]
        named = [
            row["name"] + ("" if row["timesteps"] == usual else f", T = {row['timesteps']}")
            for _, row in here.iterrows()
        ]
        here = here.assign(cost=here[column] * scale, name=named)
        drawn, axes = report.subplots(height=max(2.8, 0.8 + 0.13 * len(here)), width=6.75)
        hollow = list(here["kind"] == COMBINED)
        report.points(axes, here, "cost", "last_epoch_mean_percent", "last_epoch_interval_points", hollow)
        report.logarithmic_if_far_apart(axes, here["cost"])
        axes.set_xlabel(label)
        axes.set_ylabel("Test accuracy, last epoch, %")
        low, high = axes.get_ylim()
        axes.set_ylim(max(0, low), min(100, high))  # an interval may go beyond; an accuracy cannot
        report.names_beside(axes, here, "cost", "last_epoch_mean_percent")
        display(
            report.figure(
                results,
                drawn,
                report.rivals_figure(results, found, name, here.iloc[0], each_t=False),
                f"{label} and test accuracy of each method, {place[1]}",
                f"{place[0]}, {place[1]}, T = {usual} where nothing else is said: mean over seeds with 95 % interval. "
                f"{caption}",
                found.done[found.done["id"].isin(here["id"])],
            )
        )


picture(
    "synops_mean_per_image",
    1e-6,
    "Additions per image, millions",
    "operations",
    "Left and up is better. A method whose additions could not be counted is in the table alone.",
)

# %% [markdown]
# ## Accuracy against training time
#
# The same accuracies against what a picture takes in training: in the fastest epoch of all seeds, on the machines that
# each run names and beside whatever else ran there.

# %%
picture(
    "seconds_per_image",
    1e3,
    "Training time per image, milliseconds",
    "time",
    "Left and up is better. A method that trains nothing is in the table alone.",
)

# %% [markdown]
# ## Distance to the ternary spike
#
# Last-epoch accuracy less that of ternary spikes on the same network with the same T, with 95 % intervals over seeds
# (Welch). *Above* or *below* where the whole interval is; an interval that includes zero decides nothing.

# %%
for found, place, here in places(PLACE, "difference_points"):
    here = here.sort_values("difference_points", ascending=False)
    colours = [report.COLOURS[neuron] for neuron in here["neuron"]]
    drawn = report.forest(here, here["name"], colours, list(here["kind"] != COMBINED))
    display(
        report.figure(
            results,
            drawn,
            report.rivals_figure(results, found, "distance", here.iloc[0]),
            f"Accuracy of each method less that of ternary spikes, with 95 % interval, {place[1]}, T = {place[2]}",
            f"{place[0]}, {place[1]}, T = {place[2]}. Right of zero, the method is better than the paper's ternary "
            "spike. Hollow: on ternary spikes themselves.",
            found.done[found.done["id"].isin(here["id"])],
        )
    )

# %% [markdown]
# ## Conversion: how many timesteps it takes
#
# A converted network is trained without spikes and emits them afterwards, so that with few timesteps its spikes stand
# for little of what it computes. Where the plan has one with several numbers of timesteps this is its curve; the dashed
# line is the accuracy of the network that was converted, and the paper's neurons stand at their own T.

# %%
curves = 0
for found in sets:
    for place, here in report.conversions(found).groupby(PLACE[:2], sort=False):
        curves += 1
        done = finished(found)
        beside = done[(done["kind"] == "paper") & (done[PLACE[:2]] == list(place)).all(axis=1)]
        drawn, axes = report.subplots(height=2.8)
        for name, mine in here.groupby("name", sort=False):
            colour = report.COLOURS[mine["neuron"].iloc[0]]
            means, half = mine["last_epoch_mean_percent"], mine["last_epoch_interval_points"].astype(float)
            axes.errorbar(mine["timesteps"], means, half, color=colour, marker="o", capsize=2, label=name)
            axes.axhline(mine["source_percent"].iloc[0], color=colour, lw=0.8, ls="--")
        for _, row in beside.iterrows():
            axes.plot(
                row["timesteps"],
                row["last_epoch_mean_percent"],
                color=report.COLOURS[row["neuron"]],
                marker=report.MARKERS[row["neuron"]],
                ls="",
                label=f"{row['name']}, T = {row['timesteps']}",
            )
        values = sorted({*here["timesteps"], *beside["timesteps"]})
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, [str(value) for value in values])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("Timesteps T")
        axes.set_ylabel("Test accuracy, last epoch, %")
        axes.legend(frameon=False, fontsize=7.5, loc="best")
        display(
            report.figure(
                results,
                drawn,
                report.rivals_figure(results, found, "conversion", here.iloc[0], each_t=False),
                f"Accuracy of converted networks by timesteps, {place[1]}",
                f"{place[0]}, {place[1]}: mean over seeds, with its 95 % interval where there are several. "
                f"{'; '.join(dict.fromkeys(here['reduced']))}",
                found.done[found.done["id"].isin(here["id"])],
            )
        )
if not curves:
    display(report.note("No conversion has run with several numbers of timesteps."))

# %% [markdown]
# ## What the published rows say
#
# The rows that the paper quotes of the methods above, and the best of its own rows in the same table on the same data.
# Where the source says more than the quotation, it stands beside the row.

# %%
report.table(
    report.published(pd.concat([each.table("rivals") for each in sets])),
    [
        report.text("Method", "method"),
        report.text("Source", "citation"),
        report.text("Network", "network"),
        report.number("T", "T", 0),
        report.number("As quoted, %", "percent"),
        report.signed("Less the paper's best, points", "margin"),
        report.text("What the quotation does not say", "remark", long=True),
    ],
    "Quoted rows of the methods of this page",
    group=lambda row: row["table"],
)

# %% [markdown]
# ## What was found


# %%
def named(rows, several):
    """Methods with their distance, for a sentence; each with the place that it is at where there are several."""
    return "; ".join(
        f"{report.as_text(row['name'])} ({report.in_words(row['difference_points'], row['interval_points'])}"
        f"{f', {report.as_text(report.place(row))}' if several else ''})"
        for _, row in rows.sort_values("difference_points", ascending=False).iterrows()
    )


def findings(found):
    """What a set says, a line each."""
    done, lines = finished(found), []
    compared = done[done["verdict"] != ""]
    several = compared.groupby(PLACE).ngroups > 1
    words_of = {OWN: "other neurons of the paper", PRIOR: "prior methods", COMBINED: "prior methods on ternary spikes"}
    for kind, words in words_of.items():
        mine = compared[compared["kind"] == kind]
        alone = mine["interval_points"].isna()
        for verdict, said in ((ABOVE, "above"), (BELOW, "below"), (UNDECIDED, "not told apart from")):
            rows = mine[(mine["verdict"] == verdict) & ~alone]
            if len(rows):
                lines.append(
                    f"- {len(rows)} of {len(mine)} {words} are {said} the ternary spike: {named(rows, several)}."
                )
        if alone.any():
            lines.append(
                f"- Of {alone.sum()} of {len(mine)} {words}, or of the ternary spike, there is one seed, which decides "
                f"nothing: {named(mine[alone], several)}."
            )
    slow = compared[compared["time_ratio"].notna()].sort_values("time_ratio")
    if len(slow):
        least, most = slow.iloc[0], slow.iloc[-1]
        lines.append(
            f"- By the clock, a picture took from {report.decimal(least['time_ratio'], 2)} "
            f"({report.as_text(least['name'])}) to {report.decimal(most['time_ratio'], 2)} times "
            f"({report.as_text(most['name'])}) as long in training as with ternary spikes, with "
            "what else the machines did."
        )
    if set(compared["reduced"]) - {""}:
        lines.append("- All of that holds at this scale; the figure of a full run may be another.")
    waiting = (found.table("rivals")["n"] == 0).sum()
    if waiting:
        lines.append(f"- {waiting} runs have not finished; the table says why.")
    return lines or ["- Nothing has finished yet that could be compared."]


def longest_conversions(found):
    """What a converted network reaches with the most timesteps, beside ternary spikes at their own, a line each."""
    done = finished(found)
    ours = done[(done["kind"] == "paper") & (done["neuron"] == "ternary")]
    for place, here in report.conversions(found).groupby([*PLACE[:2], "name"], sort=False):
        row, beside = here.iloc[-1], ours[(ours[PLACE[:2]] == list(place[:2])).all(axis=1)]
        for _, own in beside.iterrows():
            yield (
                f"- {report.as_text(row['name'])} reaches {accuracy(row)} with T = {row['timesteps']}, the most that "
                f"was tried; ternary spikes with T = {own['timesteps']} {accuracy(own)}."
            )


def accuracy(row):
    """A run's accuracy with its interval and number of seeds."""
    reached = report.in_words(row["last_epoch_mean_percent"], row["last_epoch_interval_points"], unit="%")
    return f"{reached} ({row['n']:.0f} seed{'s' if row['n'] > 1 else ''})"


for found in sets:
    sentence = report.as_text(report.in_one_sentence(found))
    lines = [*findings(found), *longest_conversions(found)]
    display(report.note("\n".join([f"**{report.as_text(found.preset)}**. {sentence}", "", *lines])))
