"""The sentence on the comparison under equal conditions: its figures are the tables', and the front page has it."""

import re
from html import unescape
from pathlib import Path

import pytest

from ternary_spike import claims
from ternary_spike.report.equal_conditions import compared_sets, in_one_sentence
from ternary_spike.report.reference import Kept, kept
from ternary_spike.report.results import Results
from ternary_spike.report.rivals import conversions, equal_conditions
from ternary_spike.report.site import build
from ternary_spike.tables import collect
from tests.helpers.notebook import shown
from tests.report import fixture

NOTEBOOK = Path(__file__).parents[2] / "notebooks/rivals.py"


def collected(folder, plan):
    tables = collect.tables(collect.read_plan(plan), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A set on the digits, and one on real pictures: there binary spikes have a window as wide as the ternary's too,
    and both have a triangle as well.
    """
    folder = tmp_path_factory.mktemp("kept")
    collected(folder / "a-digits", fixture.rivals(folder / "a-digits"))
    rows = []
    for neuron, more, accuracies in (
        ("binary", {}, [50.0, 51.0]),
        ("binary", {"variant": "wide_window", "neuron_options": "surrogate=rectangle;window=1.0"}, [52.0]),
        ("ternary", {}, [60.0, 61.0]),
        ("binary", {"variant": "triangle", "neuron_options": "surrogate=triangle;window=1.0"}, [55.0, 56.0]),
        ("ternary", {"variant": "triangle", "neuron_options": "surrogate=triangle;window=1.0"}, [53.0, 54.0]),
        ("plif", {}, [40.0, 41.0]),
        ("glif", {}, [30.0]),
    ):
        for seed, last in enumerate(accuracies):
            rows.append(fixture.plan_row("cifar10", "resnet20w16", 2, neuron, seed, **more))
            fixture.write_run(folder / "pictures", rows[-1], label="CIFAR-10 (JPEG copy)", last=last)
    collected(folder / "pictures", fixture.write_plan(folder / "pictures", rows))
    return folder


def test_the_sentence_has_leads_with_intervals_and_where_prior_methods_stand(sets):
    # two seeds one apart on either side: standard error sqrt(0.5), two degrees of freedom, 4.302653 of it
    assert in_one_sentence(Kept(sets / "pictures")) == (
        "On CIFAR-10 (JPEG copy), resnet20w16 with T = 2, ternary spikes reach 60.50 % (2 seeds): +10.00 ± 3.04 points "
        "over binary spikes and +8.50 points (a seed alone on one side, so no interval) over binary spikes whose "
        "surrogate gradient is as wide as the ternary's. With the surrogate gradient 'triangle' on both sides, it is "
        "−2.00 ± 3.04 points. Prior methods under the same conditions: 0 above the ternary spike, 0 not told apart "
        "from it, 1 below, 1 with a single seed on one side, which decides nothing."
    )
    digits = in_one_sentence(Kept(sets / "a-digits"))
    assert "1 above the ternary spike, 0 not told apart from it, 1 below; on ternary spikes 0 above" in digits


def test_a_pair_of_runs_is_asked_what_its_gradients_have_in_common(sets):
    """Whose gradient has another shape alone is no pair of equal windows."""
    pairs = Kept(sets / "pictures").table("differences")
    run = "cifar10-resnet20w16-T2-"
    asked = pairs[pairs["question"] != "option"].set_index(["id", "base"])["question"].to_dict()
    assert asked == {
        (f"{run}ternary", f"{run}binary"): "as in the paper",
        (f"{run}ternary", f"{run}binary-wide_window"): "as wide a window",
        (f"{run}ternary-triangle", f"{run}binary-triangle"): "same option",
    }


def test_a_prior_neuron_stands_among_the_controls_with_its_own_threshold_and_gradient(sets):
    controls = Kept(sets / "pictures").table("controls").set_index("neuron")
    columns = ["threshold", "surrogate", "window"]
    assert controls.loc["plif", columns].tolist() == [1.0, "atan", pytest.approx(0.31831, abs=1e-5)]
    plain = controls[controls["kind"] == ""]
    assert plain.loc["binary", columns].tolist() == [0.5, "clamp", 1.0]


def test_a_preset_s_own_runs_come_first_and_real_pictures_before_digits(sets, tmp_path):
    demo = collected(tmp_path / "demo", fixture.demo(tmp_path / "demo"))
    assert [each.preset for each in compared_sets(Results(demo), kept(sets))] == ["pictures", "a-digits"]
    own = compared_sets(Results(sets / "a-digits"), kept(sets))
    assert [each.preset for each in own] == ["a-digits", "pictures"]


def test_the_front_page_has_the_sentence_and_its_picture(sets, tmp_path):
    demo = collected(tmp_path / "demo", fixture.demo(tmp_path / "demo"))
    shown(NOTEBOOK, demo, sets)
    build(demo, demo / "report", sets)
    page = unescape((demo / "report/index.html").read_text())
    assert in_one_sentence(Kept(sets / "pictures")) in page
    assert 'id="figure-rivals-distance-cifar10-resnet20w16-T2-pictures"' in page
    assert "came with the repository, as <code>results/reference/pictures</code>" in page
    # without kept results there is no such section
    build(demo, tmp_path / "alone", tmp_path / "nothing")
    assert "Under equal conditions" not in (tmp_path / "alone/index.html").read_text()


def rows_of_table2(page):
    """Text of each row of Table 2 that has PLIF's quotation, without markup."""
    rows = [unescape(re.sub(r"<[^>]+>", " ", row)) for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)]
    return [re.sub(r"\s+", " ", row) for row in rows if "PLIF" in row and "93.50" in row]


def test_a_quoted_row_says_what_its_method_reached_under_equal_conditions_on_pictures(sets, tmp_path):
    """Of the digits, where PLIF is 2 points above ternary spikes, Table 2 says nothing."""
    demo = collected(tmp_path / "demo", fixture.demo(tmp_path / "demo"))
    table2 = NOTEBOOK.with_name("table2.py")
    page = str(shown(table2, demo, sets)[0].html)
    (row,) = rows_of_table2(page)
    # two seeds one apart: standard error 0.5, one degree of freedom, 12.706 of it
    reached = "40.50 ± 6.35 plif (faithful), CIFAR-10 (JPEG copy), resnet20w16, T = 2"
    assert f"{reached}, less ternary −20.00 ± 3.04 points" in row
    assert "at reduced scale and on one dataset" in page and "pictures: " in page and "a-digits" not in page
    (alone,) = rows_of_table2(str(shown(table2, demo, tmp_path / "nothing")[0].html))
    assert "less ternary" not in alone


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A network without spikes and its conversions with two numbers of timesteps, one of them with two seeds."""
    folder = tmp_path_factory.mktemp("kept") / "conversions"
    relu = fixture.plan_row("digits", "resnet8", 1, "relu", 0)
    rows = [relu, fixture.plan_row("digits", "resnet8", 2, "ternary", 0)]
    fixture.write_run(folder, relu, last=97.0)
    fixture.write_run(folder, rows[1], last=99.0)
    label = "RMP-SNN (partly; factor=0.7)"
    for timesteps, seed, last in ((2, 0, 20.0), (32, 0, 80.0), (32, 1, 82.0)):
        more = {"method": "rmp_snn", "method_label": label, "source_run": relu["id"], "variant": "lower"}
        row = fixture.plan_row("digits", "resnet8", timesteps, "if", seed, **more)
        rows.append(row | {"id": f"digits-resnet8-T{timesteps}-if-rmp_snn-lower"})
        sheet = {"citation": "Han and others", "recipe": {}, "label": label}
        fixture.write_run(folder, rows[-1], last=last, sheet=sheet, epochs=0)
    return collected(folder, fixture.write_plan(folder, rows))


def test_a_conversion_is_a_curve_over_its_timesteps_beside_what_was_converted(converted):
    found = conversions(Results(converted))
    assert list(found["timesteps"]) == [2, 32] and list(found["last_epoch_mean_percent"]) == [20.0, 81.0]
    assert set(found["name"]) == {"RMP-SNN (partly; factor=0.7)"} and list(found["source_percent"]) == [97.0, 97.0]
    # of its lengths the one that stands beside ternary spikes counts
    assert equal_conditions([Results(converted)])["rmp"]["timesteps"] == 2
    shown(NOTEBOOK, converted, converted.parent / "nothing")
    svg = unescape((converted / "figures/rivals-conversion-digits-resnet8.svg").read_text())
    assert "RMP-SNN (partly; factor=0.7)" in svg and "ternary, T = 2" in svg


def test_without_several_lengths_of_a_conversion_there_is_no_curve(sets):
    assert conversions(Results(sets / "a-digits")).empty
    assert "No conversion has run with several" in str(shown(NOTEBOOK, sets / "a-digits", sets.parent / "nothing"))
