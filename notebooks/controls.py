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
results = "../results/controls"

# %% [markdown]
# # Is it the ternary spike, or something that changes with it?
#
# **Asked:** the paper replaces binary spikes by ternary ones and leaves threshold and recipe as they are. With the
# alphabet, the window of the surrogate gradient and the firing rate change too. What is left of the advantage when
# these are made equal, and what do threshold, window, reset and amplitude do by themselves?

# %%
import re
import sys

from ternary_spike import report
from ternary_spike.report import COLOURS, MARKERS

results = report.Results(results)
runs = results.table("controls")
if runs.empty:
    display(report.note("The plan of this preset has no control runs; `make controls` trains them, on the digits."))
    sys.exit(0)  # what follows is left out of the page

pairs = results.table("differences")
matches = results.table("matches")
claims = results.table("claims").set_index("id")
runs = runs[runs["n"] > 0]


def judged(name):
    """A claim with its verdict and the figures behind it."""
    return report.judged(claims.loc[name])


def spelled(variant):
    """A variant's name in words: threshold0.75_window1.5 as "threshold 0.75 window 1.5"."""
    return re.sub(r"(?<=[a-z])(?=\d)", " ", variant.replace("_", " "))


names = {row["id"]: f"{row['neuron']} {spelled(row['variant'])}".strip() for _, row in runs.iterrows()}

# %% [markdown]
# ## Ternary less binary
#
# Differences of last-epoch test accuracy between pairs of a ternary and a binary run, with 95 % intervals over seeds
# (Welch). At the top, the paper's comparison; then the same with something made equal that the paper leaves different.

# %%
WORDS = {
    "as in the paper": "as in the paper",
    "same window": "binary with the ternary's window",
    "as wide a window": "binary with a window as wide",
    "binary's rate": "ternary at the binary's firing rate",
    "ternary's rate": "binary at the ternary's firing rate",
    "same option": "both {}",
}
gaps = pairs[pairs["question"].isin(WORDS)]
variants = runs.set_index("id")["variant"].map(spelled).to_dict()
gaps = gaps.assign(
    pair=[
        WORDS[row["question"]].format(variants[row["id"]]) + ("" if row["as_asked"] else " (not reached)")
        for _, row in gaps.iterrows()
    ]
)


def differences(rows, labels, colours, name, alt, caption):
    """Differences with their intervals; hollow where firing rates could not be made equal."""
    drawn = report.forest(rows, labels, colours, list(rows["as_asked"]))
    return report.figure(results, drawn, name, alt, caption, results.done)


if len(gaps):
    display(
        differences(
            gaps,
            gaps["pair"],
            [COLOURS["ternary"]] * len(gaps),
            "controls-ternary-less-binary",
            "Accuracy of ternary less binary networks in each pair, with 95 % interval",
            "Right of zero, ternary is better. An interval that includes zero decides nothing. Hollow: firing rates "
            "that could not be made equal.",
        )
    )

# %%
difference = report.Column(
    "Difference, points",
    lambda row: report.in_words(row["difference_points"], row["interval_points"]),
    lambda row: row["difference_points"],
    numeric=True,
)
columns = [
    difference,
    report.number("Firing rates apart, points", "rate_difference_points", 1, sign=True),
    report.number("Additions, ratio", "synops_ratio", 2),
    report.verdict("Above the other"),
]
report.table(
    gaps,
    [report.text("Pair", "pair"), *columns, report.run_link("Ternary"), report.run_link("Binary", "base")],
    "Ternary less binary: test accuracy of the last epoch ± half-width of the 95 % interval",
    "differences",
)

# %% [markdown]
# ## The window of the gradient
#
# In the authors' code the surrogate gradient of a ternary neuron is 1 on $[-1, 1]$, that of a binary one on $[0, 1]$:
# half as wide. One control gives binary neurons the ternary's window and changes nothing else, which makes their
# gradient twice as strong as their step is high. Another one gives them a window as wide about their own threshold,
# $[-0.5, 1.5]$, at half the height. A third kind gives both neurons the same shape about each threshold.

# %%
report.note(judged("ternary-above-binary-same-window"))

# %% [markdown]
# ## Equal firing rates
#
# At one threshold a ternary neuron fires about twice as often as a binary one, on both sides of zero. Here one of them
# gets the threshold at which it fires as often as the other. What a network's rate is, training decides: so each
# threshold that the bisection tries is a whole training. The window of the gradient stays 1, or is twice the threshold
# where that is more. The threshold is found with one seed and used for all; rates are those of the test pictures.

# %%
neurons = results.named.set_index("id")["neuron"]
for run, mine in matches.groupby("id", sort=False):
    neuron = neurons[run]
    drawn, axes = report.subplots(height=2.3, width=4.8)
    ordered = mine.sort_values("threshold")
    axes.plot(ordered["threshold"], ordered["rate_percent"], color=COLOURS[neuron], marker=MARKERS[neuron])
    chosen = mine[mine["chosen"]].iloc[0]
    axes.scatter(chosen["threshold"], chosen["rate_percent"], s=90, facecolor="none", edgecolor=report.INK, zorder=3)
    for _, probe in mine.iterrows():
        axes.annotate(probe["probe"], (probe["threshold"], probe["rate_percent"]), (4, 4), textcoords="offset points")
    axes.axhline(chosen["target_rate_percent"], color=report.INK, lw=0.8, ls="--")
    axes.margins(x=0.1, y=0.15)
    axes.set_xlabel("Threshold")
    axes.set_ylabel("Neurons that fire, %")
    display(
        report.figure(
            results,
            drawn,
            f"controls-search-{run}",
            "Firing rate of each threshold that the bisection tried, in their order, and the wanted rate",
            f"{run}: numbers say the order of the probes, the circle which threshold was taken. Dashed: the rate of "
            f"{chosen['target']}, {chosen['target_rate_percent']:.1f} %.",
            results.done[results.done["id"] == run],
        )
    )

# %%
if len(matches):
    display(
        report.table(
            matches,
            [
                report.number("Probe", "probe", 0),
                report.number("Threshold", "threshold", 4),
                report.number("Window", "window", 3),
                report.number("Firing rate, %", "rate_percent", 2),
                report.number("Wanted, %", "target_rate_percent", 2),
                report.Column(
                    "Taken", lambda row: ("yes" if row["equal"] else "yes, the closest") if row["chosen"] else ""
                ),
            ],
            "Every probe of the search for equal firing rates",
            "matches",
            group=lambda row: row["id"],
        )
    )

# %%
neurons = results.named.set_index("id")["neuron"]
for run, mine in matches.groupby("id", sort=False):
    if not mine["equal"].any():
        low, high = mine["threshold"].min(), mine["threshold"].max()
        least, most = (report.decimal(rate, 1) for rate in (mine["rate_percent"].min(), mine["rate_percent"].max()))
        wanted = report.decimal(mine["target_rate_percent"].iloc[0], 1)
        display(
            report.note(
                f"{report.as_text(run)}: not reached. Thresholds from {low:.2g} to {high:.2g} left the trained "
                f"network's rate between {least} and {most} %; {wanted} % was wanted. Here training decides the rate, "
                "not the threshold."
            )
        )
report.note(judged("ternary-above-binary-same-rate"))

# %% [markdown]
# ## Accuracy against operations
#
# Thresholds trade spikes for accuracy. Each neuron's curve over thresholds, where the window of the gradient is 1 or
# twice the threshold, whichever is more: which one gets more accuracy out of the same additions?

# %%
followed = (runs["window"] - (2 * runs["threshold"]).clip(lower=1)).abs() < 1e-9
curve = runs[runs["kind"].isin(["", "threshold and window"]) & followed & runs["synops_mean_per_image"].notna()]
for place, here in curve.groupby(["data_label", "architecture", "timesteps"], sort=False):
    drawn, (left, right) = report.subplots(1, 2, height=2.9, sharey=True)
    for name in (name for name in ("binary", "ternary") if name in set(here["neuron"])):
        mine = here[here["neuron"] == name].sort_values("threshold")
        for axes, x in ((left, mine["synops_mean_per_image"] / 1e6), (right, mine["rate_mean_percent"])):
            axes.errorbar(
                x,
                mine["last_epoch_mean_percent"],
                mine["last_epoch_interval_points"],
                color=COLOURS[name],
                marker=MARKERS[name],
                capsize=2,
                label=name,
            )
            for (_, row), at in zip(mine.iterrows(), x, strict=True):
                axes.annotate(
                    f"{row['threshold']:g}",
                    (at, row["last_epoch_mean_percent"]),
                    (5, -9),
                    textcoords="offset points",
                    color=COLOURS[name],
                    fontsize=7.5,
                )
    left.set_xlabel("Synaptic operations per image, millions")
    right.set_xlabel("Neurons that fire, %")
    left.set_ylabel("Test accuracy, last epoch, %")
    drawn.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    display(
        report.figure(
            results,
            drawn,
            f"controls-curves-{here['id'].iloc[0].rsplit('-', 1)[0]}",
            "Accuracy against synaptic operations and against firing rate, a line a neuron over its thresholds",
            f"{place[0]}, {place[1]}, T = {place[2]}: mean over seeds with 95 % interval. Numbers are thresholds.",
            results.done[results.done["id"].isin(here["id"])],
        )
    )

# %% [markdown]
# ## Threshold and window
#
# The threshold alone, the window alone, and both: each against the same neuron with threshold 0.5 and window 1. A
# window that ends at the threshold leaves neurons that fire no gradient.

# %%
NETWORK = ["dataset", "architecture", "timesteps"]
GRADIENT = [report.text("Surrogate", "surrogate"), report.number("Window", "window", 3)]
options = pairs[pairs["question"] == "option"].merge(
    runs[["id", "kind", "neuron", "variant", "threshold", "surrogate", "window", "data_label", *NETWORK]], on="id"
)
places = options.groupby(["data_label", "architecture", "timesteps"], sort=False).ngroups


def shown(kinds, name, alt):
    """Differences of the controls of some kinds from their own neuron, as picture and table."""
    mine = options[options["kind"].isin(kinds)]
    if mine.empty:
        return
    labels = [names[run] if places == 1 else run for run in mine["id"]]
    colours = [COLOURS[neuron] for neuron in mine["neuron"]]
    caption = "Each control less the same neuron as the paper has it, with 95 % interval (Welch)."
    display(differences(mine, labels, colours, name, alt, caption))
    what = [report.neuron(), report.number("Threshold", "threshold", 3), *GRADIENT]
    caption = "Control less the same neuron as the paper has it, ± half-width of the 95 % interval"
    display(report.table(mine, [*what, *columns[:3], report.run_link()], caption, "differences", group=report.place))


shown(["threshold and window", "firing rate"], "controls-threshold", "What threshold and window change in accuracy")

# %% [markdown]
# ## Reset, amplitude, gradient and stem
#
# The gradient does not flow through the reset; each channel has an amplitude of its own; the surrogate gradient has
# another window or shape; in ResNet20, the stem's batch norm takes its statistics over all timesteps together.

# %%
shown(
    ["reset", "amplitude", "gradient window", "stem", "several options"],
    "controls-options",
    "What a detached reset, an amplitude a channel, another surrogate gradient and the stem change in accuracy",
)

# %% [markdown]
# ## Every run

# %%
report.table(
    results.table("controls"),
    [
        report.neuron(),
        report.number("Threshold", "threshold", 3),
        *GRADIENT,
        report.Column(
            "Accuracy, %",
            lambda row: report.in_words(row["last_epoch_mean_percent"], row["last_epoch_interval_points"]),
            lambda row: row["last_epoch_mean_percent"],
            numeric=True,
        ),
        report.spread("Firing rate, %", "rate", digits=1),
        report.spread("Synaptic operations", "synops", "per_image", digits=0),
        report.number("Seeds", "n", 0),
        report.text("State", "state", long=True),
        report.run_link(),
    ],
    "Last-epoch accuracy ± half-width of its 95 % interval; rate and operations ± standard deviation",
    "controls",
    group=lambda row: f"{row['dataset']}, {row['architecture']}, T = {row['timesteps']}",
)

# %% [markdown]
# ## What was found

# %%
lines = [judged(f"ternary-above-binary{tail}") for tail in ("", "-same-window", "-same-rate")]
for _, row in gaps[gaps["question"].isin(["as wide a window", "same option"])].iterrows():
    apart = report.in_words(row["difference_points"], row["interval_points"])
    lines.append(
        f"Ternary less binary, {report.as_text(row['pair'])}: {apart} points. **{row['verdict'].capitalize()}**."
    )
moved = options[options["verdict"] != "not decided at this scale"]
changes = [
    f"{report.as_text(names[row['id']])} ({report.in_words(row['difference_points'], row['interval_points'])} points)"
    for _, row in moved.iterrows()
]
said = f"Of {len(options)} single controls, {len(moved)} differ from their own neuron by more than the interval"
lines.append(f"{said}{': ' if changes else ''}{'; '.join(changes)}.")
report.note("\n".join(f"- {line}" for line in lines))

# %%
report.claims(results, "controls")
