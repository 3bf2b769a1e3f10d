"""Controls: which runs are compared with which, with what interval, and what the ledger and the notebook say of it."""

import math
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from ternary_spike import claims
from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.report.notebooks import execute
from ternary_spike.report.site import build
from ternary_spike.tables import collect, controls
from tests.helpers.notebook import written
from tests.report import fixture
from tests.report.test_site import check_pages, collected

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "controls.py"
RUN = "digits-resnet8-T2-"


def tables_of(folder, **wanted):
    return collect.tables(collect.read_plan(fixture.controls(folder, **wanted)), folder)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return tables_of(tmp_path_factory.mktemp("controls"))


def test_defaults_are_the_neurons_own():
    assert (Dynamics.threshold, Dynamics.window) == (controls.THRESHOLD, controls.WINDOW)


@pytest.mark.parametrize(
    "options, kind",
    [
        ({}, ""),
        ({"threshold": "rate_of_binary"}, "firing rate"),
        ({"threshold": "rate_of_binary", "window": "2"}, "firing rate"),
        ({"window": "2"}, "threshold and window"),
        ({"surrogate": "clamp_symmetric"}, "gradient window"),
        ({"amplitude_per": "channel"}, "amplitude"),
        ({"detach_reset": "true"}, "reset"),
        ({"stem_batch_norm": "over_time"}, "stem"),
        ({"detach_reset": "true", "window": "2"}, "several options"),
    ],
)
def test_an_option_says_what_it_controls(options, kind):
    assert controls.kind(options) == kind


def test_thresholds_are_the_tables_or_those_found(tables):
    rows = tables["controls"].set_index("id")
    assert len(rows) == 11
    used = {name.removeprefix(RUN): (row["threshold"], row["window"]) for name, row in rows.iterrows()}
    assert used["binary"] == used["binary-symmetric_window"] == used["binary-detached_reset"] == (0.5, 1.0)
    assert used["ternary-threshold1_window2"] == (1.0, 2.0) and used["ternary-threshold0.25"] == (0.25, 1.0)
    assert used["ternary-rate_of_binary"] == (0.5, 1.0)


def test_intervals_are_students(tables):
    row = tables["controls"].set_index("id").loc[f"{RUN}binary"]
    low, high = stats.t.interval(0.95, 2, loc=81, scale=1 / math.sqrt(3))
    assert row["last_epoch_mean_percent"] == pytest.approx(81)
    assert row["last_epoch_interval_points"] == pytest.approx((high - low) / 2)


def test_pairs_and_their_intervals(tables):
    pairs = tables["differences"].set_index(["question", "id"])
    short = [
        (question, name.removeprefix(RUN), row["base"].removeprefix(RUN)) for (question, name), row in pairs.iterrows()
    ]
    assert short[:5] == [
        ("as in the paper", "ternary", "binary"),
        ("same window", "ternary", "binary-symmetric_window"),
        ("binary's rate", "ternary-rate_of_binary", "binary"),
        ("ternary's rate", "ternary", "binary-rate_of_ternary"),
        ("same option", "ternary-threshold0.25", "binary-threshold0.25"),
    ]
    assert {question for question, _, _ in short[5:]} == {"option"} and len(short) == 5 + 8
    assert all(name.startswith(base + "-") for _, name, base in short[5:])
    window = pairs.loc[("same window", f"{RUN}ternary")]
    test = stats.ttest_ind([95, 95.5, 96], [90, 91, 92], equal_var=False).confidence_interval()
    assert window["difference_points"] == pytest.approx(4.5)
    assert window["interval_points"] == pytest.approx((test.high - test.low) / 2)
    assert window["rate_difference_points"] == pytest.approx(34)
    assert window["synops_ratio"] == pytest.approx(0.70 / 0.36)


def test_a_rate_that_is_not_measured_yet_makes_no_pair(tmp_path):
    plan = fixture.controls(tmp_path)
    for path in (tmp_path / "runs" / f"{RUN}ternary-rate_of_binary").glob("*/evaluation.json"):
        path.unlink()
    found = collect.tables(collect.read_plan(plan), tmp_path)
    assert "binary's rate" not in set(found["differences"]["question"])
    assert f"{RUN}ternary-rate_of_binary" in set(found["controls"]["id"])


def test_runs_of_which_no_rate_and_no_operation_is_known_are_pairs_all_the_same(tmp_path):
    """As after trainings whose other stages have not run, or were done by different code for each seed."""
    plan = fixture.controls(tmp_path)
    for name in ("evaluation.json", "energy.json"):
        for path in tmp_path.glob(f"runs/*/*/{name}"):
            path.unlink()
    found = collect.tables(collect.read_plan(plan), tmp_path)
    pairs = found["differences"].set_index(["question", "id"])
    assert pairs.loc[("as in the paper", f"{RUN}ternary"), "difference_points"] == pytest.approx(14.5)
    assert pairs[["rate_difference_points", "synops_ratio"]].isna().all(axis=None)
    assert (found["summary"][["rate_n", "synops_n"]] == 0).all(axis=None)


def test_a_preset_without_control_runs_has_no_rows(tmp_path):
    found = collect.tables(collect.read_plan(fixture.demo(tmp_path)), tmp_path)
    assert found["controls"].empty and found["differences"].empty and found["matches"].empty


def test_a_search_is_a_row_a_probe(tables):
    rows = tables["matches"].set_index(["id", "probe"])
    first, second = rows.loc[(f"{RUN}ternary-rate_of_binary", 1)], rows.loc[(f"{RUN}ternary-rate_of_binary", 2)]
    assert (first["chosen"], second["chosen"]) == (False, True)
    assert (first["equal"], second["equal"]) == (False, True)
    assert second["target"] == f"{RUN}binary" and second["rate_percent"] == pytest.approx(34.7)
    assert not rows.loc[(f"{RUN}binary-rate_of_ternary", 2), "equal"]


def test_a_damaged_search_spoils_only_itself(tmp_path):
    plan = fixture.controls(tmp_path)
    (tmp_path / "runs" / f"{RUN}ternary-rate_of_binary" / "match.json").write_text("{")
    found = collect.tables(collect.read_plan(plan), tmp_path)
    assert set(found["matches"]["id"]) == {f"{RUN}binary-rate_of_ternary"}
    assert math.isnan(found["controls"].set_index("id").loc[f"{RUN}ternary-rate_of_binary", "threshold"])


# the ledger -------------------------------------------------------------------------------------------


def verdict(tables, name):
    return claims.judge(tables).set_index("id").loc[f"ternary-above-binary-{name}"]


def test_ternary_is_judged_with_equal_windows_and_at_equal_rates(tables):
    window = verdict(tables, "same-window")
    assert (window["verdict"], window["evidence"]) == ("holds at this scale", "measured at reduced scale")
    assert "+4.50 points" in window["result"]
    rate = verdict(tables, "same-rate")
    assert rate["verdict"] == "holds at this scale" and "+13.00 points" in rate["result"]
    assert "1 pair whose rates could not be made equal is left out" in rate["result"]
    assert f"{RUN}binary-rate_of_ternary" not in rate["runs"]


def test_rates_that_could_not_be_made_equal_prove_nothing(tmp_path):
    found = verdict(tables_of(tmp_path, without=("rate_of_binary",)), "same-rate")
    assert found["verdict"] == "not tested"
    assert "they differ by +25.0 points" in found["result"]


def test_without_the_control_the_claim_is_not_tested(tmp_path):
    found = verdict(
        tables_of(tmp_path, without=("symmetric_window", "rate_of_binary", "rate_of_ternary")), "same-window"
    )
    assert (found["verdict"], found["result"]) == ("not tested", "no pair of runs with this control has finished")


def test_a_binary_network_that_is_better_with_the_same_window_changes_the_verdict(tables):
    pairs = tables["differences"].copy()
    pairs.loc[pairs["question"] == "same window", ["difference_points", "verdict"]] = [
        -5,
        "does not hold at this scale",
    ]
    assert verdict(tables | {"differences": pairs}, "same-window")["verdict"] == "does not hold at this scale"
    assert verdict(tables | {"differences": pairs}, "same-rate")["verdict"] == "holds at this scale"


def test_full_runs_are_evidence_in_full(tables):
    pairs = tables["differences"].assign(reduced="")
    assert verdict(tables | {"differences": pairs}, "same-window")["verdict"] == "agrees with the paper"


# the page ---------------------------------------------------------------------------------------------


def test_the_notebook_shows_pairs_search_and_curves(tmp_path):
    folder = collected(tmp_path / "preset", fixture.controls)
    body = written(NOTEBOOK, folder, folder / "notebooks").read_text()
    for shown in ("as in the paper", "binary with the ternary&#x27;s window", "yes, the closest", "14.50 ±", "4.50 ±"):
        assert shown in body, shown
    figures = {path.stem for path in (folder / "figures").glob("*.svg")}
    assert {"controls-ternary-less-binary", "controls-threshold", "controls-options"} <= figures
    assert f"controls-search-{RUN}ternary-rate_of_binary" in figures and f"controls-curves-{RUN[:-1]}" in figures
    build(folder, folder / "report")
    check_pages(folder / "report")
    assert 'href="controls.html"' in (folder / "report" / "index.html").read_text()
    assert "match.json" in (folder / "report" / "runs" / f"{RUN}ternary-rate_of_binary.html").read_text()


def test_without_control_runs_the_page_is_one_line(tmp_path):
    folder = collected(tmp_path / "preset", fixture.demo)
    body = execute(NOTEBOOK, folder, folder / "notebooks").read_text()
    assert "has no control runs" in body
    assert body.count("<h") == 1 and "What was found" not in body
    assert not any(word in body for word in ("SystemExit", "UserWarning", "<figure", "<table"))
    assert not list(folder.glob("figures/controls*"))
    build(folder, folder / "report")
    check_pages(folder / "report")


@pytest.mark.full
def test_a_preset_with_controls_of_which_nothing_has_run_renders(tmp_path):
    folder = collected(
        tmp_path / "preset", lambda path: fixture.controls(path, without=tuple(v for v, _ in fixture.CONTROLS))
    )
    assert "nothing to show yet" in written(NOTEBOOK, folder, folder / "notebooks").read_text()
    assert pd.read_csv(folder / "tables" / "controls.csv")["state"].str.startswith("not run").all()
