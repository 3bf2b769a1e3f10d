import math

import pytest

from ternary_spike.tables.verdicts import (
    ABOVE,
    AGREES,
    BELOW,
    SCALE,
    Sample,
    compare_gains,
    compare_with_paper,
    ordering_at_scale,
    welch_interval,
)

HOLDS, FAILS, UNDECIDED = SCALE
MANY = 10**12  # a test set so large that its sampling plays no part


@pytest.mark.parametrize(
    ("ours", "verdict"), [(95.5, AGREES), (94.5, AGREES), (95.51, ABOVE), (94.49, BELOW), (90.0, BELOW), (99.0, ABOVE)]
)
def test_half_a_point_agrees_and_more_does_not(ours, verdict):
    assert compare_with_paper(Sample(ours, 0.0, 3), Sample(95.0, 0.0, 3), MANY).verdict == verdict


def test_two_standard_errors_agree_where_they_are_wider():
    # variances of the means: 0.6^2 / 3 + 0.3^2 / 3 = 0.15, standard error 0.387, twice that 0.775
    ours, theirs = Sample(95.77, 0.6, 3), Sample(95.0, 0.3, 3)
    found = compare_with_paper(ours, theirs, MANY)
    assert found.standard_error == pytest.approx(math.sqrt(0.15), abs=1e-4)
    assert found.verdict == AGREES
    assert compare_with_paper(Sample(95.78, 0.6, 3), theirs, MANY).verdict == ABOVE


def test_the_test_set_counts_as_a_sample():
    # p (1 - p) / N with p = 80 %, N = 1000: standard error 1.265 points
    found = compare_with_paper(Sample(80.0, 0.0, 3), Sample(82.4, 0.0, 3), 1000)
    assert found.standard_error == pytest.approx(1.2649, abs=1e-4)
    assert found.verdict == AGREES
    assert compare_with_paper(Sample(80.0, 0.0, 3), Sample(82.4, 0.0, 3), 50_000).verdict == BELOW


def test_one_trial_borrows_the_others_spread_and_says_so():
    found = compare_with_paper(Sample(95.0, None, 1), Sample(95.0, 0.3, 3), MANY)
    assert found.standard_error == pytest.approx(math.sqrt(0.3**2 + 0.3**2 / 3), abs=1e-4)
    assert "one trial" in found.basis
    assert "one trial" in compare_with_paper(Sample(95.0, None, 1), Sample(95.0, None, 1), MANY).basis
    assert compare_with_paper(Sample(95.0, 0.1, 3), Sample(95.0, 0.3, 3), MANY).basis == ""


def test_gains_are_compared_as_differences():
    theirs = (Sample(66.0, 0.0, 3), Sample(60.0, 0.0, 3))
    assert compare_gains((Sample(70.0, 0.0, 3), Sample(64.0, 0.0, 3)), theirs, MANY).verdict == AGREES
    found = compare_gains((Sample(70.0, 0.0, 3), Sample(65.0, 0.0, 3)), theirs, MANY)
    assert (found.verdict, found.difference) == (BELOW, pytest.approx(-1.0))


def test_welch_interval_is_students():
    # equal spreads and n = 3: 4 degrees of freedom, t = 2.776; standard error sqrt(2 x 0.09 / 3) = 0.2449
    half, error = welch_interval(Sample(2.0, 0.3, 3), Sample(1.0, 0.3, 3))
    assert error == pytest.approx(0.24495, abs=1e-5)
    assert half == pytest.approx(2.7764 * 0.24495, abs=1e-3)


@pytest.mark.parametrize(
    ("better", "verdict"),
    [(Sample(1.7, 0.3, 3), HOLDS), (Sample(1.6, 0.3, 3), UNDECIDED), (Sample(0.3, 0.3, 3), FAILS)],
)
def test_ordering_is_decided_by_the_whole_interval(better, verdict):
    assert ordering_at_scale(better, Sample(1.0, 0.3, 3)).verdict == verdict


def test_one_seed_decides_no_ordering():
    found = ordering_at_scale(Sample(90.0, None, 1), Sample(10.0, 0.1, 3))
    assert found.verdict == UNDECIDED
    assert "fewer than two seeds" in found.basis


def test_equal_results_in_every_seed_are_no_gain():
    assert ordering_at_scale(Sample(90.0, 0.0, 3), Sample(90.0, 0.0, 3)).verdict == FAILS
