"""The sentence on the comparison under equal conditions: its figures are the tables', and the front page has it."""

from html import unescape
from pathlib import Path

import pytest

from ternary_spike import claims
from ternary_spike.report.equal_conditions import compared_sets, in_one_sentence
from ternary_spike.report.reference import Kept, kept
from ternary_spike.report.results import Results
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
    """A set on the digits, and one on real pictures with binary spikes that have the ternary's window."""
    folder = tmp_path_factory.mktemp("kept")
    collected(folder / "a-digits", fixture.rivals(folder / "a-digits"))
    rows = []
    for neuron, more, accuracies in (
        ("binary", {}, [50.0, 51.0]),
        ("binary", {"variant": "wide_window"}, [52.0]),
        ("ternary", {}, [60.0, 61.0]),
        ("plif", {}, [40.0, 41.0]),
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
        "surrogate gradient has the ternary's window. Prior methods under the same conditions: 0 above the ternary "
        "spike, 0 not told apart from it, 1 below."
    )
    digits = in_one_sentence(Kept(sets / "a-digits"))
    assert "1 above the ternary spike, 0 not told apart from it, 1 below; on ternary spikes 0 above" in digits


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
