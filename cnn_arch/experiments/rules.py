"""The rule of an experiment: from the numbers of its runs to a verdict.

A rule consists of comparisons of two variants, or of two measures of the same runs.
Each has a 95 % interval over the seeds. For two variants it is Welch's, which does not
assume equal variances. Two measures of a run depend on each other, so their interval is
Student's for the differences within the runs: the paired t-test. Ratios are compared as
logarithms. A comparison holds if its whole interval is in the claimed range, and does
not hold if no part of it is. Otherwise, and with a single seed, it is not decided.
"""

import dataclasses
import math
import statistics
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
    second_measure: str = ""  # of ``second``; "": the same measure

    @property
    def is_paired(self) -> bool:
        """Whether it compares two measures of the same runs."""
        return self.first == self.second

    @property
    def measures(self) -> tuple[str, str]:
        """The measure of ``first``, and that of ``second``."""
        return self.measure, self.second_measure or self.measure


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the numbers say about a comparison."""

    estimate: float | None  # None: a variant has not been run
    low: float  # the 95 % interval
    high: float
    verdict: str  # HOLDS, FAILS or OPEN
    # Whether all runs of the first and of the second have reached their goal: if not,
    # the estimate is the least that is possible, or the most.
    reached: tuple[bool, bool] = (True, True)


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
    variants = comparison.first, comparison.second
    first, second = (
        numbers.get(variant, {}).get(measure, [])
        for variant, measure in zip(variants, comparison.measures, strict=True)
    )
    is_partial = comparison.is_paired and len(first) != len(second)
    if not first or not second or is_partial:
        return Outcome(None, -math.inf, math.inf, OPEN)
    is_ratio = comparison.scale == "ratio"
    find_interval = _paired_interval if comparison.is_paired else _interval
    plain = _plain(first, is_ratio), _plain(second, is_ratio)
    estimate, low, high = find_interval(*plain)
    reached = _all_reached(first), _all_reached(second)
    if not reached[0]:
        high = math.inf
    if not reached[1]:
        low = -math.inf
    if is_ratio:
        estimate, low, high = (_exp(value) for value in (estimate, low, high))
    verdict = _verdict(comparison, low, high)
    return Outcome(estimate, low, high, verdict, reached)


def _all_reached(values: Sequence[Value]) -> bool:
    return not any(isinstance(value, Bound) for value in values)


def _verdict(comparison: Comparison, low: float, high: float) -> str:
    above, below = comparison.above, comparison.below
    if (above is None or low > above) and (below is None or high < below):
        return HOLDS
    if (above is not None and high <= above) or (below is not None and low >= below):
        return FAILS
    return OPEN


def interval(
    values: Sequence[Value], *, of_logarithms: bool = False
) -> tuple[float, float, float]:
    """Returns the mean of a variant's numbers and its 95 % interval over the seeds.

    ``of_logarithms`` takes those of the logarithms: the mean is the geometric one.
    """
    plain = _plain(values, of_logarithms)
    mean, low, high = statistics.fmean(plain), -math.inf, math.inf
    if len(plain) > 1:
        half = _half_width(statistics.variance(plain) / len(plain), len(plain) - 1)
        low, high = mean - half, mean + half
    if of_logarithms and len(plain) > 1:
        low, high = math.exp(low), math.exp(high)
    return math.exp(mean) if of_logarithms else mean, low, high


def _interval(
    first: Sequence[float], second: Sequence[float]
) -> tuple[float, float, float]:
    """Returns the difference of two means and its interval, after Welch 1947."""
    estimate = statistics.fmean(first) - statistics.fmean(second)
    if min(len(first), len(second)) < 2:
        return estimate, -math.inf, math.inf
    parts = [
        (statistics.variance(each) / len(each), len(each)) for each in (first, second)
    ]
    variance = sum(part for part, _ in parts)
    if not variance:  # counts, which no seed changes
        return estimate, estimate, estimate
    freedom = variance**2 / sum(part**2 / (count - 1) for part, count in parts)
    half = _half_width(variance, freedom)
    return estimate, estimate - half, estimate + half


def _half_width(variance: float, freedom: float) -> float:
    """Returns half of Student's interval of a mean with this variance."""
    from scipy.special import stdtrit  # scipy.stats takes four times as long to import

    return float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(variance)


def _paired_interval(
    first: Sequence[float], second: Sequence[float]
) -> tuple[float, float, float]:
    """Returns the mean difference within pairs and its interval."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    estimate, low, high = interval(differences)
    is_exact = len({*first}) == len({*second}) == 1  # counts, which no seed changes
    if high - low < 1e-9 * max(map(abs, first)) and not is_exact:
        # Errors on few images may differ by the same number: the spread is unknown.
        return estimate, -math.inf, math.inf
    return estimate, low, high


def _plain(values: Sequence[Value], is_ratio: bool) -> list[float]:
    plain = [value.least if isinstance(value, Bound) else value for value in values]
    return [math.log(value) for value in plain] if is_ratio else plain


def _exp(value: float) -> float:
    return math.inf if value == math.inf else math.exp(value)
