"""What more than one notebook draws: differences, quantities by layer, training curves, membrane potentials."""

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ternary_spike.report.figures import end_labels, subplots
from ternary_spike.report.palette import COLOURS, INK, MARKERS, ordered, titled
from ternary_spike.report.results import Results
from ternary_spike.report.show import missing

#: where the paper's neurons fire in the runs whose membranes are drawn: variants with another threshold are not
LEVELS = {"binary": (0.5,), "ternary": (0.5, -0.5), "trainable": (0.5, -0.5)}

#: parts of the axes' width: where names right of a picture begin, and half of a point's marker
NAMES, HALF_A_MARKER = 1.04, 0.008
#: characters of a label in one line; how many times the least value the largest one of a plain axis may be
LONGEST_LABEL, FAR_APART = 40, 20


def by_layer(panels: Iterable[tuple[Axes, pd.DataFrame]], column: str) -> None:
    """A quantity of each layer, a line a neuron: mean over seeds and standard deviation.

    Args:
        panels: axes, and rows of the table "layers" with their ``neuron`` for them.
        column: the quantity; for ``rate_percent`` a dotted line shows the negative spikes alone.
    """
    panels = list(panels)
    ends = [_layers(axes, layers, column) for axes, layers in panels]
    top = 1.05 * max(axes.dataLim.y1 for axes, _ in panels)
    for (axes, _), points in zip(panels, ends, strict=True):
        axes.set_ylim(0, top)
        end_labels(axes, points)


def _layers(axes: Axes, layers: pd.DataFrame, column: str) -> list[tuple[float, float, str]]:
    order = layers.drop_duplicates("layer").sort_values("position")
    ends = []
    for name in ordered(layers["neuron"]):
        mine = layers[layers["neuron"] == name].groupby("position")
        mean, std = mine[column].mean(), mine[column].std()
        axes.errorbar(mean.index, mean, std, color=COLOURS[name], marker=MARKERS[name], capsize=2, ms=3.5)
        if column == "rate_percent" and (mine["rate_negative_percent"].max() > 0).any():
            axes.plot(mean.index, mine["rate_negative_percent"].mean(), color=COLOURS[name], lw=0.8, ls=":")
        ends.append((mean.index[-1], mean.iloc[-1], name))
    many = {"rotation": 90, "fontsize": 6.5} if len(order) > 12 else {"rotation": 45, "ha": "right"}
    axes.set_xticks(order["position"], order["layer"], **many)
    return ends


def forest(
    rows: pd.DataFrame, labels: Iterable[str], colours: Sequence[str], filled: Sequence[bool] | None = None
) -> Figure:
    """Differences of accuracy with their intervals, one below the other, and zero as a line.

    Args:
        rows: ``difference_points`` and ``interval_points`` (half of the interval, or None).
        labels, colours, filled: of each row; hollow where not filled.
    """
    drawn, axes = subplots(height=0.75 + 0.27 * len(rows), width=6.2)
    for height, (_, row) in enumerate(rows.iterrows()):
        axes.errorbar(
            row["difference_points"],
            -height,
            xerr=None if missing(row["interval_points"]) else row["interval_points"],
            color=colours[height],
            marker="o",
            mfc=colours[height] if filled is None or filled[height] else "none",
            capsize=3,
        )
    axes.axvline(0, color=INK, lw=0.8)
    lines = [textwrap.fill(label, LONGEST_LABEL, break_long_words=False, break_on_hyphens=False) for label in labels]
    axes.set_yticks([-height for height in range(len(rows))], lines)
    axes.set_ylim(0.4 - len(rows), 0.6)
    axes.set_xlabel("Difference of test accuracy, points,\nwith 95 % interval")
    return drawn


def logarithmic_if_far_apart(axes: Axes, values: pd.Series) -> None:
    """A logarithmic x axis, where one value is many times another: the others would lie in a heap."""
    if values.max() > FAR_APART * values.min() > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")


def points(axes: Axes, rows: pd.DataFrame, x: str, y: str, spread: str, hollow: Sequence[bool]) -> None:
    """A point for each row, with the spread of its height.

    Args:
        axes: to draw in.
        rows: with ``neuron`` (colour and marker).
        x, y, spread: columns; the spread of y may be missing.
        hollow: whether a row's marker is drawn hollow.
    """
    for (_, row), empty in zip(rows.iterrows(), hollow, strict=True):
        colour = COLOURS[row["neuron"]]
        error = None if missing(row[spread]) else row[spread]
        face = "none" if empty else colour
        axes.errorbar(row[x], row[y], error, color=colour, marker=MARKERS[row["neuron"]], mfc=face, capsize=2, lw=1)
    axes.margins(x=0.06, y=0.06)


def names_beside(axes: Axes, rows: pd.DataFrame, x: str, y: str) -> None:
    """The points' names in a column right of the picture, by height, and a thin line from each to its point.

    Many points that lie close together keep their names so. The lines are plain ones from place to place: arrows, which
    would follow the axes' limits, take as long to draw as the rest of the picture.

    Args:
        axes: with the points, in scales and limits that stay.
        rows: with ``neuron`` (colour) and ``name``.
        x, y: columns.
    """
    axes.get_xlim(), axes.get_ylim()  # or the limits would not be there yet
    within = axes.transScale + axes.transLimits
    order = rows.sort_values(y, ascending=False, kind="stable")
    for rank, (_, row) in enumerate(order.iterrows()):
        height, colour = 1 - (rank + 0.5) / len(order), COLOURS[row["neuron"]]
        point, end = within.transform((row[x], row[y])), np.array([NAMES - 0.01, height])
        start = point + (end - point) * min(1.0, HALF_A_MARKER / (end - point)[0])  # a hollow marker stays so
        axes.plot(
            *zip(start, end, strict=True), color=colour, lw=0.4, alpha=0.6, clip_on=False, transform=axes.transAxes
        )
        axes.text(NAMES, height, row["name"], va="center", fontsize=6.5, color=colour, transform=axes.transAxes)


def training(history: pd.DataFrame) -> Figure:
    """Training loss and test accuracy after each epoch: mean over seeds, in a band of one standard deviation."""
    figure, (left, right) = subplots(1, 2, height=2.5)
    shown = ordered(history["neuron"])
    for axes, column in ((left, "train_loss"), (right, "test_accuracy_percent")):
        seaborn.lineplot(
            history,
            x="epoch",
            y=column,
            hue="neuron",
            hue_order=shown,
            palette={name: COLOURS[name] for name in shown},
            errorbar="sd",
            legend=False,
            ax=axes,
        )
        axes.set_xlabel("Epoch")
    left.set_ylabel("Training loss")
    right.set_ylabel("Test accuracy, %")
    means = history.groupby(["neuron", "epoch"])["test_accuracy_percent"].mean()
    end_labels(right, [(means[name].index[-1], means[name].iloc[-1], name) for name in shown])
    return figure


def membranes(results: Results, runs: pd.DataFrame) -> Figure:
    """Membrane potentials before the reset, a row a neuron: the first four neuron layers (as in Fig. 2) and the last.

    Args:
        results: where the evaluations are.
        runs: rows of the table "runs" on one dataset and network at one T; the first of each neuron is drawn.
    """
    first = runs.drop_duplicates("neuron").set_index("neuron")
    names = ordered(first.index)
    found = {
        name: _first_and_last(results.evaluation(first.loc[name, "id"], first.loc[name, "seed"])["layers"])
        for name in names
    }
    columns = max(len(layers) for layers in found.values())
    figure, grid = subplots(
        len(names), columns, height=1.15 * len(names) + 0.6, sharex=True, sharey="col", squeeze=False
    )
    for axes, name in zip(grid, names, strict=True):
        for axis, layer in zip(axes, found[name], strict=False):
            axis.fill_between(*_density(layer["membrane"]), color=COLOURS[name], alpha=0.75, lw=0, step="mid")
            for level in LEVELS.get(name, ()):
                axis.axvline(level, color=INK, lw=0.7, ls="--")
            axis.set_yticks([])
            axis.set_xlim(-2.5, 2.5)
            axis.set_xticks([-2, 0, 2])
            if name == names[0]:
                axis.set_title(layer["layer"], fontsize=7.5)
        axes[0].set_ylabel(titled(name), color=COLOURS[name])
    figure.supxlabel("Membrane potential before the reset", fontsize=8.5)
    return figure


def _first_and_last(layers: Iterable[dict]) -> list[dict]:
    layers = list(layers)
    return layers if len(layers) <= 5 else [*layers[:4], layers[-1]]


def _density(membrane: dict) -> tuple[np.ndarray, np.ndarray]:
    edges, counts = np.array(membrane["edges"]), np.array(membrane["counts"], dtype=float)
    total = counts.sum() + membrane["below"] + membrane["above"]
    return (edges[1:] + edges[:-1]) / 2, counts / total / np.diff(edges)
