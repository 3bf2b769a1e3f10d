"""The page of the scale: leads by width and by epochs, with intervals, from kept sets."""

import math
from pathlib import Path

import pandas as pd
import pytest

from ternary_spike import claims
from ternary_spike.report.reference import kept
from ternary_spike.report.scale import scale_leads, scale_runs, scale_sentence, trend
from ternary_spike.tables import collect
from tests.helpers.notebook import shown
from tests.report import fixture

NOTEBOOK = Path(__file__).parents[2] / "notebooks/scale.py"
KINDS = {"binary": ("binary", ""), "wide": ("binary", "wide_window"), "ternary": ("ternary", "")}


def write_set(folder: Path, width: int, epochs: int, accuracies: dict[str, list[float]], **more) -> None:
    """A kept set of one place: last-epoch accuracies of each seed, by kind of spikes."""
    rows = []
    for kind, values in accuracies.items():
        neuron, variant = KINDS[kind]
        for seed, last in enumerate(values):
            rows.append(fixture.plan_row("cifar10", f"resnet20w{width}", 2, neuron, seed, variant=variant, **more))
            fixture.write_run(folder, rows[-1], label="CIFAR-10 (JPEG copy)", last=last, epochs=epochs)
    tables = collect.tables(collect.read_plan(fixture.write_plan(folder, rows)), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Widths 8 and 32, and at width 8 20 epochs with one seed; the lead grows with the width."""
    folder = tmp_path_factory.mktemp("kept")
    write_set(folder / "narrow", 8, 10, {"binary": [40.0, 41.0], "wide": [43.0, 44.0], "ternary": [50.0, 51.0]})
    write_set(folder / "wide", 32, 10, {"binary": [50.0, 51.0], "wide": [60.0, 61.0], "ternary": [70.0, 71.0]})
    write_set(folder / "longer", 8, 20, {"binary": [45.0], "ternary": [52.0]})
    # a place that another set has with more runs: no part in it
    write_set(folder / "again", 8, 10, {"binary": [10.0], "ternary": [90.0]})
    return folder


def test_leads_are_differences_at_one_place_from_one_set(sets):
    leads = scale_leads(scale_runs(kept(sets)))
    window = "binary, window as wide"
    shown = leads[["axis", "base", "value", "difference_points"]].itertuples(index=False, name=None)
    assert sorted(shown) == [
        ("epochs", "binary", 10, 10.0),
        ("epochs", "binary", 20, 7.0),
        ("epochs", window, 10, 7.0),
        ("width", "binary", 8, 10.0),
        ("width", "binary", 32, 20.0),
        ("width", window, 8, 7.0),
        ("width", window, 32, 10.0),
    ]
    # a rate may be of fewer seeds than an accuracy, and the page says of how many
    assert {"n", "rate_n"} <= set(scale_runs(kept(sets)))
    alone = leads[leads["interval_points"].isna()]  # one seed has no interval
    assert list(zip(alone["axis"], alone["value"], strict=True)) == [("epochs", 20)]


def test_a_trend_is_told_apart_by_its_interval(sets):
    leads = scale_leads(scale_runs(kept(sets)))
    by_width = leads.query("axis == 'width' and base == 'binary'")
    found = trend(by_width)
    # four means of two seeds one apart, variance 0.5 / 2 each: standard error 1, four degrees of freedom
    assert (found.first, found.last, found.points, found.word) == (8, 32, 10.0, "grows")
    assert found.half == pytest.approx(2.776445, rel=1e-6)
    other = trend(leads.query("axis == 'width' and base != 'binary'"))
    assert other.points == 3.0 and other.word == "grows"
    one_seed = trend(leads.query("axis == 'epochs' and base == 'binary'"))
    assert (
        math.isinf(one_seed.half)
        and one_seed.word == "can be said neither to grow nor to shrink, with one seed at an end"
    )
    assert trend(by_width.head(1)) is None
    # a longer axis whose end has one seed is judged as far as there are several
    more = by_width.tail(1).assign(value=64, interval_points=None, difference_points=30.0)
    assert trend(pd.concat([by_width, more])) == found
    turned = by_width.assign(value=-by_width["value"])
    assert trend(turned).word == "shrinks" and trend(by_width.assign(difference_points=1.0)).points == 0.0


def test_the_page_says_where_the_curve_points_and_that_it_is_no_proof(sets, tmp_path):
    pieces = shown(NOTEBOOK, tmp_path / "preset", sets)
    page = "".join(str(getattr(each, "html", getattr(each, "data", each))) for each in pieces)
    assert "the lead grows, from width 8 to 32: 10.00 ± 2.78 points" in page
    assert "the lead can be said neither to grow nor to shrink, with one seed at an end, from epochs 10 to 20" in page
    assert "no proof" in page.rpartition("What was found")[2] and "CIFAR-10 (JPEG copy)" in page
    svg = (tmp_path / "preset/figures/scale-lead.svg").read_text()
    assert "Width, 10 epochs" in svg and "less binary" in svg


def test_one_sentence_says_it_for_each_axis(sets):
    leads = scale_leads(scale_runs(kept(sets)))
    assert scale_sentence(leads) == (
        "The lead of ternary over binary spikes: from width 8 to 32 (epochs 10) it grows (10.00 ± 2.78 points), and "
        "there it is 20.00 ± 3.04; from epochs 10 to 20 (width 8) it can be said neither to grow nor to shrink, with "
        "one seed at an end (−3.00 points), and there it is 7.00. Where this points is no proof of what happens at the "
        "paper's own scale."
    )
    assert scale_sentence(leads.head(0)) == ""


def test_without_such_sets_the_page_says_so(tmp_path):
    pieces = shown(NOTEBOOK, tmp_path / "preset", tmp_path / "empty")
    assert len(pieces) == 1 and "No results are kept" in str(getattr(pieces[0], "data", pieces[0]))
