"""Palette, figures and tables as HTML, the rule graph."""

import html
import math
import re
from itertools import combinations

import pandas as pd
import pytest

from ternary_spike.report import Results, figures, palette, rulegraph, show
from ternary_spike.report.drawings import names_beside, points
from ternary_spike.report.figures import end_labels, figure, subplots, svg_text
from ternary_spike.tables import rivals

DOT = """digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
    0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
    1[label = "report", color = "0.10 0.6 0.85", style="rounded"];
    2[label = "train", color = "0.20 0.6 0.85", style="rounded"];
    3[label = "prepare", color = "0.30 0.6 0.85", style="rounded"];
    1 -> 0
    2 -> 1
    3 -> 2
    3 -> 1
}
"""


@pytest.mark.parametrize(
    "neuron, variant, cell, label",
    [
        ("plif", "", "plif (faithful)", "plif (faithful)"),
        ("plif", "PLIF (partly; the row's recipe)", "plif PLIF (partly; the row's recipe)", "plif (faithful)"),
        ("plif", "paper_neuron", "plif (faithful) paper neuron", "plif (faithful)"),
        ("mt_snn_candidate", "", "mt_snn_candidate (candidate)", "mt_snn_candidate (candidate)"),
        ("ternary", "wide_window", "ternary wide window", "ternary"),
        ("unheard_of", "", "unheard_of", "unheard_of"),
    ],
)
def test_a_published_neuron_never_stands_without_its_level(neuron, variant, cell, label):
    # the method of a table of energies is how the operations were found
    row = {"neuron": neuron, "variant": variant, "method": "paper's formula, mean over neurons"}
    shown = show.neuron().cell(pd.Series(row))
    assert html.unescape(re.sub("<[^>]+>", "", shown)) == cell
    _, axes = subplots()
    axes.plot([0, 1], [0, 1])
    end_labels(axes, [(1, 1, neuron)])
    assert [text.get_text() for text in axes.texts] == [label]


def test_a_run_by_a_method_is_called_as_on_the_page_of_methods():
    row = {"neuron": "binary", "method": "TET (partly; the row's recipe)", "architecture": "resnet20w16"}
    row["variant"] = f"{row['method']}, paper_neuron"
    assert show.called(row) == rivals.name_of(row) == "TET on binary (partly)"


def test_colours_stand_out_on_white_and_on_black():
    for light, dark in palette.variables().values():
        assert palette.contrast(light, palette.PAPER) >= 4.5
        assert palette.contrast(dark, palette.NIGHT) >= 4.5
    assert palette.contrast("#ffffff", "#000000") == pytest.approx(21)


def seen(colour, weakness):
    """A colour as it looks to somebody without red-green vision (Machado et al. 2009, linear RGB)."""
    matrices = {
        "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
        "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    }
    linear = [(int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
    mixed = [sum(w * x for w, x in zip(row, linear, strict=True)) for row in matrices[weakness]]
    return [max(0.0, min(1.0, x)) ** (1 / 2.2) for x in mixed]


@pytest.mark.parametrize("weakness", ["protan", "deutan"])
@pytest.mark.parametrize("colours", [palette.COLOURS, palette.DARK], ids=["light", "dark"])
def test_spiking_neurons_are_told_apart_without_red_green_vision(weakness, colours):
    # two neurons whose colours come near each other still differ in marker
    for first, second in combinations(("binary", "ternary", "trainable"), 2):
        difference = [
            a - b for a, b in zip(seen(colours[first], weakness), seen(colours[second], weakness), strict=True)
        ]
        assert sum(d * d for d in difference) ** 0.5 > 0.15, (first, second)
    named = [palette.MARKERS[name] for name in palette.NAMED]
    assert len({*named, *palette.OTHER_MARKERS}) == len(named) + len(palette.OTHER_MARKERS)


@pytest.mark.parametrize("weakness", ["protan", "deutan"])
@pytest.mark.parametrize("shade", [0, 1], ids=["light", "dark"])
def test_colours_of_other_neurons_are_told_apart_from_each_other_and_from_the_named(weakness, shade):
    colours = {name: pair[shade] for name, pair in palette.variables().items()}
    for first, second in combinations(colours, 2):
        if {first, second} <= {*palette.NAMED}:
            continue
        pair = (seen(colours[name], weakness) for name in (first, second))
        assert sum((a - b) ** 2 for a, b in zip(*pair, strict=True)) ** 0.5 > 0.15, (first, second)


def test_a_neuron_without_a_colour_of_its_own_gets_one_and_keeps_it():
    own = [f"package.module:Neuron{i:02}" for i in range(40)]
    assert palette.ordered([own[1], "relu", own[0], "binary", own[1]]) == ["binary", "relu", own[0], own[1]]
    pairs = [(palette.COLOURS[name], palette.MARKERS[name]) for name in own]
    assert len({*pairs, *((palette.COLOURS[name], palette.MARKERS[name]) for name in palette.NAMED)}) == 44
    assert [(palette.COLOURS[name], palette.MARKERS[name]) for name in reversed(own)] == pairs[::-1]
    for name in own:
        light, dark = palette.variables()[palette.variable(name)]
        assert (light, dark) == (palette.COLOURS[name], palette.DARK[name])
        assert f"--{palette.variable(name)}: {dark};" in palette.css().partition("dark")[2]
    ranks = [palette.rank(name) for name in [*palette.NAMED, *own]]
    assert ranks == sorted(set(ranks))


def drawn():
    picture, axes = subplots()
    axes.plot([0, 1], [0, 1], color=palette.COLOURS["ternary"])
    return picture, axes


def test_a_figure_is_written_for_paper_and_shown_in_the_pages_colours(tmp_path):
    picture, _ = drawn()
    html = figure(Results(tmp_path), picture, "line", 'a "line" & more', "how to read it").html
    assert (tmp_path / "figures" / "line.pdf").stat().st_size > 1000
    svg = (tmp_path / "figures" / "line.svg").read_text()
    assert palette.COLOURS["ternary"] in svg
    assert "var(" not in svg
    assert f"var(--ternary, {palette.COLOURS['ternary']})" in html
    assert "currentColor" in html
    assert 'role="img" aria-label="a &quot;line&quot; &amp; more"' in html
    assert "how to read it" in html
    again = figures.drawn_before(Results(tmp_path), "line")
    assert again == html
    assert figures.drawn_before(Results(tmp_path), "absent") is None


def test_a_figures_ids_are_its_own(tmp_path):
    svg = figures.svg_text(drawn()[0])
    ids = [re.findall(r'\sid="([^"]+)"', figures.inline(svg, name, "")) for name in ("one", "two")]
    assert not set(ids[0]) & set(ids[1])
    references = re.findall(r'(?:href="#|url\(#)([^")]+)', figures.inline(svg, "one", ""))
    assert len(ids[0]) == len(set(ids[0])) > 1 and set(references) == set(ids[0])


def test_figures_are_the_same_each_time():
    assert figures.svg_text(drawn()[0]) == figures.svg_text(drawn()[0])


def test_labels_that_would_overlap_move_apart():
    _, axes = drawn()
    end_labels(axes, [(1, 1.0, "trainable"), (1, 0.99, "ternary"), (1, 0.2, "binary")], gap=10)
    offsets = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert offsets["binary"] == offsets["ternary"] == 0
    height = axes.transData.transform([(0, 1.0), (0, 0.99)])[:, 1] * 72 / axes.figure.dpi
    assert offsets["trainable"] == pytest.approx(10 - (height[0] - height[1]))


def test_table_cells():
    rows = pd.DataFrame(
        [
            {"id": "a<b", "x_mean_percent": 97.123, "x_std_percent": 0.456, "d": -1.25, "verdict": "below the paper"},
            {"id": "", "x_mean_percent": None, "x_std_percent": None, "d": -0.001, "verdict": ""},
        ]
    )
    columns = [show.run_link(), show.spread("X", "x"), show.signed("D", "d"), show.verdict()]
    html = show.table(rows, columns, "what it shows", "summary").html
    assert '<a href="runs/a&lt;b.html" title="a&lt;b">a&lt;b</a>' in html
    assert "97.12 ± 0.46" in html
    assert "−1.25" in html
    assert ">0.00<" in html  # what rounds to zero has no sign
    assert 'data-order="97.123"' in html
    assert "▼" in html
    assert "files/tables/summary.csv" in html
    assert "nothing to show yet" in show.table(rows.iloc[:0], columns, "empty").html


def test_a_mean_of_fewer_seeds_than_finished_says_so():
    cell = show.spread("X", "x").cell
    row = {"x_mean_percent": 97.123, "x_std_percent": 0.456, "x_n": 2, "n": 3}
    assert cell(pd.Series(row)) == "97.12 ± 0.46 (2 of 3 seeds)"
    assert cell(pd.Series(row | {"n": 2})) == cell(pd.Series(row).drop("x_n")) == "97.12 ± 0.46"
    assert cell(pd.Series(row | {"x_mean_percent": None, "x_n": 0})) == show.DASH


def test_states_say_what_is_reduced():
    cell = show.state().cell
    assert cell(pd.Series({"state": "done", "reduced": ""})) == "done"
    assert "reduced: 3 of 400 epochs" in cell(pd.Series({"state": "done", "reduced": "3 of 400 epochs"}))
    assert cell(pd.Series({"state": "not run: no <data>", "reduced": ""})) == "not run: no &lt;data&gt;"


def test_rule_graph_is_drawn_in_layers():
    graph = rulegraph.parse(DOT)
    # 3 -> 1 follows from 3 -> 2 -> 1 and is left out
    assert set(graph.edges) == {("prepare", "train"), ("train", "report"), ("report", "all")}
    svg = rulegraph.draw(graph)
    assert all(name in svg for name in ("prepare", "train", "report", "all"))
    heights = {name: float(re.search(rf'y="([\d.]+)"[^>]*>{name}<', svg)[1]) for name in ("prepare", "train", "all")}
    assert heights["prepare"] < heights["train"] < heights["all"]


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 1, 0, 4, 3)])
def test_rules_may_read_from_each_other(order):
    """As train does from match, which reads what evaluate made of another training."""
    nodes = ("prepare", "train", "evaluate", "match", "all")
    edges = ("0 -> 1", "0 -> 3", "1 -> 2", "2 -> 3", "3 -> 1", "2 -> 4")
    graph = rulegraph.parse("\n".join([*(f'{i}[label = "{nodes[i]}"]' for i in order), *edges]))
    assert [edge for edge in graph.edges if graph.edges[edge].get("back")] == [("match", "train")]
    assert {("prepare", "train"), ("train", "evaluate"), ("evaluate", "match")} <= set(graph.edges)
    drawn = rulegraph.draw(graph)
    assert all(f">{name}<" in drawn for name in nodes) and "stroke-dasharray" in drawn


def test_a_rule_may_read_from_itself():
    """As train does where a run starts from another one's weights."""
    graph = rulegraph.parse('0[label = "train"]\n1[label = "all"]\n0 -> 0\n0 -> 1')
    assert dict(graph.edges) == {("train", "all"): {}, ("train", "train"): {"back": True}}
    drawn = rulegraph.draw(graph)
    assert ">train<" in drawn and "stroke-dasharray" in drawn
    graph.remove_edge("train", "train")
    assert "stroke-dasharray" not in rulegraph.draw(graph)


@pytest.mark.parametrize(
    ("dot", "message"),
    [("digraph {}", "no rule"), ('0[label = "a"]\n0 -> 1', "without its rules")],
)
def test_bad_rule_graphs(dot, message):
    with pytest.raises(ValueError, match=message):
        rulegraph.parse(dot)


def test_a_picture_says_how_its_runs_are_reduced(tmp_path):
    runs = pd.DataFrame({"reduced": ["10 of 400 epochs, " + "one of many words, " * 12 + "the last", "", "other data"]})
    heights = []
    for name, rows in (("full", runs[1:2]), ("reduced", runs), ("nothing", None)):
        picture, axes = drawn()
        picture.supxlabel("what is drawn")
        figure(Results(tmp_path), picture, name, "alt", "caption", rows)
        svg = (tmp_path / "figures" / f"{name}.svg").read_text()
        lines = [" ".join(line.split()) for line in re.findall(r"<text[^>]*>(.*?)</text>", svg, re.S)]
        written = " ".join(re.sub("<[^>]*>", " ", line) for line in lines)
        said = "Reduced: 10 of 400 epochs" in written
        assert said == (name == "reduced") and (" / other data" in written) == said
        heights.append(picture.get_size_inches()[1])
        picture.draw_without_rendering()
        below = [text.get_window_extent().y1 for text in picture.texts if text is not picture._supxlabel]
        label = picture._supxlabel.get_window_extent()
        ticks = min(tick.get_window_extent().y0 for tick in axes.get_xticklabels())
        assert all(top <= label.y0 + 1 for top in below) and label.y1 <= ticks + 1
    assert heights[1] > heights[0] == heights[2]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_thin_line_leads_from_each_point_to_its_name(scale):
    rows = pd.DataFrame({"neuron": ["binary", "ternary", "binary"], "name": list("abc"), "x": [1, 9, 90]})
    rows["y"] = [5, 7, 6]
    drawn, axes = subplots()
    points(axes, rows.assign(spread=None), "x", "y", "spread", [True, False, False])
    axes.set_xscale(scale)
    axes.set_ylim(0, 10)
    before = len(axes.lines)
    names_beside(axes, rows, "x", "y")
    svg_text(drawn)
    order, lines = ["b", "c", "a"], axes.lines[before:]
    assert [text.get_text() for text in axes.texts] == order
    width = axes.get_window_extent().width
    for name, text, line in zip(order, axes.texts, lines, strict=True):
        row = rows.set_index("name").loc[name]
        start, end = line.get_transform().transform(line.get_xydata())
        point = axes.transData.transform((row["x"], row["y"]))
        assert 0 < math.dist(start, point) < 0.03 * width, "at the edge of its marker"
        place = text.get_transform().transform(text.get_position())
        assert place[0] > end[0] > axes.get_window_extent().x1 and place[1] == pytest.approx(end[1])
    assert axes.get_ylim() == (0, 10)
