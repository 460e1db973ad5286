"""The rule of an experiment: from the numbers of its runs to a verdict.

A rule consists of comparisons of two variants. Each has a 95 % interval over the seeds,
by Welch's t-test, which does not assume equal variances; ratios are compared as
logarithms. A comparison holds if its whole interval is in the claimed range, and does
not hold if no part of it is. Otherwise, and with a single seed, it is not decided.
"""

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence

LEVEL = 0.95
SCALES = "difference", "ratio"
HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided at this size"


@dataclasses.dataclass(frozen=True)
class Bound:
    """A number that is known to be at least this: a goal that a run did not reach."""

    least: float


Value = float | Bound
Numbers = Mapping[str, Mapping[str, Sequence[Value]]]  # by variant and measure; seeds


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Claims that a difference or a ratio of two variants is in a range."""

    scale: str  # one of SCALES
    measure: str
    first: str  # variant
    second: str  # it is subtracted, or divides
    above: float | None  # the range, without its ends; None: no limit
    below: float | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the numbers say about a comparison."""

    estimate: float | None  # None: a variant has not been run
    low: float  # the 95 % interval
    high: float
    verdict: str  # HOLDS, FAILS or OPEN


def decide(rule: Sequence[Comparison], numbers: Numbers) -> tuple[str, list[Outcome]]:
    """Returns the verdict and the outcome of each comparison.

    The claim holds if all comparisons hold, and does not if one does not.
    """
    outcomes = [compare(each, numbers) for each in rule]
    verdicts = {each.verdict for each in outcomes}
    if FAILS in verdicts:
        return FAILS, outcomes
    return (HOLDS if verdicts == {HOLDS} else OPEN), outcomes


def compare(comparison: Comparison, numbers: Numbers) -> Outcome:
    """Returns the outcome of one comparison."""
    first, second = (
        numbers.get(variant, {}).get(comparison.measure, [])
        for variant in (comparison.first, comparison.second)
    )
    if not first or not second:
        return Outcome(None, -math.inf, math.inf, OPEN)
    is_ratio = comparison.scale == "ratio"
    estimate, low, high = _interval(_plain(first, is_ratio), _plain(second, is_ratio))
    if any(isinstance(value, Bound) for value in first):
        high = math.inf
    if any(isinstance(value, Bound) for value in second):
        low = -math.inf
    if is_ratio:
        estimate, low, high = (_exp(value) for value in (estimate, low, high))
    return Outcome(estimate, low, high, _verdict(comparison, low, high))


def _verdict(comparison: Comparison, low: float, high: float) -> str:
    above, below = comparison.above, comparison.below
    if (above is None or low > above) and (below is None or high < below):
        return HOLDS
    if (above is not None and high <= above) or (below is not None and low >= below):
        return FAILS
    return OPEN


def interval(values: Sequence[Value]) -> tuple[float, float, float]:
    """Returns the mean of a variant's numbers and its 95 % interval over the seeds."""
    from scipy import stats

    plain = _plain(values, False)
    mean = math.fsum(plain) / len(plain)
    if len(plain) < 2:
        return mean, -math.inf, math.inf
    error = stats.sem(plain)
    if not error:
        return mean, mean, mean
    low, high = stats.t.interval(LEVEL, len(plain) - 1, loc=mean, scale=error)
    return mean, float(low), float(high)


def _interval(
    first: Sequence[float], second: Sequence[float]
) -> tuple[float, float, float]:
    """Returns the difference of two means and its interval."""
    from scipy import stats

    estimate = math.fsum(first) / len(first) - math.fsum(second) / len(second)
    if min(len(first), len(second)) < 2:
        return estimate, -math.inf, math.inf
    if len({*first}) == len({*second}) == 1:  # counts, which no seed changes
        return estimate, estimate, estimate
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of numbers that are equal
        test = stats.ttest_ind(first, second, equal_var=False)
    low, high = test.confidence_interval(LEVEL)
    return estimate, float(low), float(high)


def _plain(values: Sequence[Value], is_ratio: bool) -> list[float]:
    plain = [value.least if isinstance(value, Bound) else value for value in values]
    return [math.log(value) for value in plain] if is_ratio else plain


def _exp(value: float) -> float:
    return math.inf if value == math.inf else math.exp(value)
