"""The rules by which results are judged, in two vocabularies that never mix.

A full run (the paper's data, network and schedule) is compared with the paper's figure. A reduced or substituted run
says nothing about that figure: at most an ordering or a ratio of the paper's holds, or does not, at its scale.
"""

import math
from dataclasses import dataclass

AGREES, BELOW, ABOVE = "agrees with the paper", "below the paper", "above the paper"
#: a statement of the paper's that full runs contradict, and one that they do not settle
DISAGREES, UNDECIDED = "disagrees with the paper", "not decided"
FULL = (AGREES, BELOW, ABOVE, DISAGREES, UNDECIDED)
SCALE = ("holds at this scale", "does not hold at this scale", "not decided at this scale")
#: for what is derived or computed exactly, where scale plays no part
EXACT = ("holds", "does not hold")
NOT_TESTED = "not tested"
#: for what was read at second hand alone
OPEN = "open"

#: differences up to this many percentage points agree whatever their standard error
TOLERANCE_POINTS = 0.5
STANDARD_ERRORS = 2.0
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sample:
    """A mean over n trials with their sample standard deviation (None for one trial), all in percent."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Comparison:
    """A verdict with its figures: the difference (ours - theirs), its standard error, and what it rests on."""

    verdict: str
    difference: float
    standard_error: float
    basis: str


def _trial_variance(ours: Sample, theirs: Sample) -> tuple[float, str]:
    """Variance of the difference of two means from the trials' spread; one-trial figures borrow the other's spread."""
    known = [s.std for s in (ours, theirs) if s.std is not None]
    if not known:
        return 0.0, "one trial on each side: the spread of trials is unknown"
    spread = max(known)
    variance = sum((spread if s.std is None else s.std) ** 2 / s.n for s in (ours, theirs))
    single = [who for who, s in (("ours", ours), ("the paper's", theirs)) if s.std is None]
    return variance, f"{' and '.join(single)} one trial" if single else ""


def compare_with_paper(ours: Sample, theirs: Sample, test_samples: int) -> Comparison:
    """Accuracy of full runs against the paper's printed one (best epoch against best epoch).

    Agrees if the difference is within :data:`TOLERANCE_POINTS` or within :data:`STANDARD_ERRORS` standard errors: the
    trials' on both sides and the test set's sampling, p (1 - p) / N, combined.

    Args:
        ours: accuracy over our seeds, percent.
        theirs: the printed accuracy, percent.
        test_samples: N.
    """
    trials, basis = _trial_variance(ours, theirs)
    sampling = ours.mean * (100.0 - ours.mean) / test_samples
    return _judged(ours.mean - theirs.mean, math.sqrt(trials + sampling), basis)


def compare_gains(ours: tuple[Sample, Sample], theirs: tuple[Sample, Sample], test_samples: int) -> Comparison:
    """A difference of two accuracies of full runs against the same in the paper; pairs are (better, base)."""
    notes, variance = [], 0.0
    for mine, printed in zip(ours, theirs, strict=True):
        trials, basis = _trial_variance(mine, printed)
        variance += trials + mine.mean * (100.0 - mine.mean) / test_samples
        notes += [basis] if basis and basis not in notes else []
    gain = (ours[0].mean - ours[1].mean) - (theirs[0].mean - theirs[1].mean)
    return _judged(gain, math.sqrt(variance), "; ".join(notes))


def _judged(difference: float, error: float, basis: str) -> Comparison:
    if abs(difference) <= max(TOLERANCE_POINTS, STANDARD_ERRORS * error):
        verdict = AGREES
    else:
        verdict = BELOW if difference < 0 else ABOVE
    return Comparison(verdict, difference, error, basis)


def mean_interval(sample: Sample) -> float:
    """Half-width of the 95 % interval of a mean over seeds (Student's t); infinite for a single trial."""
    if sample.std is None or sample.n < 2:
        return math.inf
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, sample.n - 1)) * sample.std / math.sqrt(sample.n)


def welch_interval(*samples: Sample) -> tuple[float, float]:
    """Half-width of the 95 % interval of a difference of means over seeds, and its standard error (Welch).

    Two means, or any number of them, some of which are added and some taken away: the signs play no part. The degrees
    of freedom are Welch's and Satterthwaite's. Infinite where one has fewer than two trials.
    """
    if any(each.std is None for each in samples):
        return math.inf, math.inf
    variances = [each.std**2 / each.n for each in samples]
    if sum(variances) == 0:
        return 0.0, 0.0
    from scipy.stats import t

    parts = sum(variance**2 / (each.n - 1) for variance, each in zip(variances, samples, strict=True))
    error = math.sqrt(sum(variances))
    return float(t.ppf(0.5 + CONFIDENCE / 2, sum(variances) ** 2 / parts)) * error, error


def extra_interval(more: Sample, base: Sample) -> tuple[float, float]:
    """The 95 % interval of 100 (more / base - 1), in percent, of two positive quantities measured over seeds.

    Welch's interval of the difference of logarithms, whose standard deviations are the relative ones.
    """
    logarithms = [Sample(math.log(s.mean), None if s.std is None else s.std / s.mean, s.n) for s in (more, base)]
    half, _ = welch_interval(*logarithms)
    if math.isinf(half):
        return -math.inf, math.inf
    difference = logarithms[0].mean - logarithms[1].mean
    return 100 * math.expm1(difference - half), 100 * math.expm1(difference + half)


def within_at_scale(low: float, high: float, least: float, most: float) -> str:
    """Whether a quantity with an interval [low, high] lies in [least, most]: all of it, none of it, or not decided."""
    holds, fails, undecided = SCALE
    if least <= low and high <= most:
        return holds
    return fails if high < least or low > most else undecided


def ordering_at_scale(better: Sample, base: Sample, above: float = 0.0) -> Comparison:
    """Whether ``better`` exceeds ``base`` by more than ``above`` in reduced or substituted runs.

    Holds if the whole 95 % interval of the difference over seeds lies above ``above``, does not hold if all of it lies
    at or below, and is not decided where the interval includes it or one side has a single trial.
    """
    half, error = welch_interval(better, base)
    difference = better.mean - base.mean
    holds, fails, undecided = SCALE
    if difference - half > above:
        verdict = holds
    elif difference + half <= above:
        verdict = fails
    else:
        verdict = undecided
    basis = "fewer than two seeds" if math.isinf(half) else f"95 % interval ± {half:.2f}"
    return Comparison(verdict, difference, error, basis)
