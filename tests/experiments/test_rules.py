"""Verdicts, against a calculation by hand and with the numbers turned round."""

import math

import numpy as np
import pytest
from scipy import stats

from cnn_arch.experiments import measures
from cnn_arch.experiments.rules import (
    FAILS,
    HOLDS,
    OPEN,
    Bound,
    Comparison,
    compare,
    decide,
    interval,
)


def comparison(scale="difference", above=None, below=None):
    return Comparison(scale, "error", "a", "b", above, below)


def numbers(a, b):
    return {"a": {"error": a}, "b": {"error": b}}


def test_the_interval_is_welchs():
    """Means 12 and 6, variances 4 and 1; t(0.975) with 2.94 degrees is 3.219."""
    outcome = compare(comparison(above=0), numbers([10, 12, 14], [5, 6, 7]))
    error = math.sqrt(4 / 3 + 1 / 3)
    assert outcome.estimate == 6
    assert outcome.low == pytest.approx(6 - 3.219 * error, abs=0.003)
    assert outcome.high == pytest.approx(6 + 3.219 * error, abs=0.003)


def test_the_interval_of_one_variant_is_students():
    """Mean 12, standard error 2 / sqrt(3); t(0.975) with 2 degrees is 4.303."""
    mean, low, high = interval([10, 12, 14])
    assert mean == 12
    half = pytest.approx(4.303 * 2 / 3**0.5, abs=0.001)
    assert (high - mean, mean - low) == (half, half)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ([10, 10.1, 10.2], [5, 5.1, 5.2], HOLDS),
        ([5, 5.1, 5.2], [10, 10.1, 10.2], FAILS),  # turned round
        ([5, 10, 12], [4, 9, 10], OPEN),  # the spread hides the difference
        ([10], [5], OPEN),  # one seed has no interval
        ([], [5, 6], OPEN),  # not run
    ],
)
def test_a_difference_above_zero(first, second, verdict):
    assert compare(comparison(above=0), numbers(first, second)).verdict == verdict


@pytest.mark.parametrize(
    ("first", "verdict"),
    [([9.9, 10, 10.1], HOLDS), ([12.9, 13, 13.1], FAILS), ([10.9, 11, 11.1], OPEN)],
)
def test_a_difference_that_is_small(first, verdict):
    found = numbers(first, [10, 10.05, 9.95])
    assert compare(comparison(above=-1, below=1), found).verdict == verdict


def test_a_ratio_is_compared_as_logarithms():
    """Deviations 0.0125 and 0.01, so 8 times exp(-0.026) to exp(0.026)."""
    found = numbers([800, 810, 790], [100, 101, 99])
    outcome = compare(comparison("ratio", above=2), found)
    assert outcome.estimate == pytest.approx(8, rel=1e-3)
    assert outcome.low == pytest.approx(7.793, abs=0.001)
    assert outcome.high == pytest.approx(8.212, abs=0.001)
    assert outcome.verdict == HOLDS
    turned = numbers([100, 101, 99], [800, 810, 790])
    assert compare(comparison("ratio", above=2), turned).verdict == FAILS


def test_a_goal_that_is_not_reached_bounds_one_side():
    """The slower one never got there: at least 8 times, so above 2 but no limit."""
    slow, fast = [Bound(800), Bound(801)], [100, 100.5]
    outcome = compare(comparison("ratio", above=2), numbers(slow, fast))
    assert outcome.high == math.inf and outcome.verdict == HOLDS
    outcome = compare(comparison("ratio", above=10), numbers(slow, fast))
    assert outcome.verdict == OPEN  # it may be above 10, or not
    outcome = compare(comparison("ratio", above=2), numbers(fast, slow))
    assert outcome.low == 0 and outcome.verdict == FAILS
    both = compare(comparison("ratio", above=2), numbers(slow, slow))
    assert both.verdict == OPEN


def test_counts_that_no_seed_changes_are_exact():
    assert compare(comparison(below=0), numbers([7, 7], [9, 9])).verdict == HOLDS
    assert compare(comparison(below=0), numbers([9, 9], [9, 9])).verdict == FAILS


def paired(a, b, **limits):
    """The outcome of two measures of the same runs."""
    limits = {"above": None, "below": None} | limits
    rule = Comparison("difference", "ten", "a", "a", **limits, second_measure="one")
    return compare(rule, {"a": {"ten": a, "one": b}})


def test_two_measures_of_the_same_runs_are_compared_in_pairs():
    """Differences -1, -2, -3: mean -2, standard error 1 / sqrt(3).

    t(0.975) with 2 degrees is 4.303. The runs differ by far more than this.
    """
    ten, one = [19, 48, 77], [20, 50, 80]
    outcome = paired(ten, one, below=1)
    assert outcome.estimate == -2
    assert outcome.low == pytest.approx(-2 - 4.303 / 3**0.5, abs=0.001)
    assert outcome.high == pytest.approx(-2 + 4.303 / 3**0.5, abs=0.001)
    assert outcome.verdict == HOLDS
    assert paired(one, ten, below=-5).verdict == FAILS  # turned round
    assert paired(ten, one, below=0).verdict == OPEN
    assert compare(comparison(below=1), numbers(ten, one)).verdict == OPEN  # not paired


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([19], [20]),  # one run
        ([19.1, 48.1], [20.2, 49.2]),  # equal differences: no spread to be seen
        ([19, 48], [20]),  # a run is not measured yet
        ([], []),
    ],
)
def test_pairs_that_do_not_decide(first, second):
    assert paired(first, second, below=0).verdict == OPEN


def test_counts_in_pairs_are_exact():
    assert paired([7, 7], [9, 9], below=0).verdict == HOLDS


def test_a_claim_holds_if_all_comparisons_hold():
    found = numbers([10, 10.1], [5, 5.1])
    rule = [comparison(above=0), comparison("ratio", above=1)]
    assert decide(rule, found)[0] == HOLDS
    assert decide([*rule, comparison(below=0)], found)[0] == FAILS
    assert decide([*rule, comparison(above=5)], found)[0] == OPEN


def test_intervals_are_those_of_scipy():
    first, second = [10.0, 12.5, 14.0, 11.0], [5.5, 6.0, 9.0]
    outcome = compare(comparison(above=0), numbers(first, second))
    test = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (outcome.low, outcome.high) == pytest.approx(test)
    spread = stats.t.interval(0.95, 3, loc=11.875, scale=stats.sem(first))
    assert interval(first)[1:] == pytest.approx(spread)


def test_the_interval_of_logarithms_is_around_the_geometric_mean():
    values = [0.5, 4.0, 120.0]
    logs = np.log(values)
    spread = stats.t.interval(0.95, 2, loc=logs.mean(), scale=stats.sem(logs))
    found = interval(values, of_logarithms=True)
    assert found == pytest.approx((stats.gmean(values), *np.exp(spread)))
    mean, low, high = interval([4.0], of_logarithms=True)
    assert (mean, low, high) == (pytest.approx(4), -math.inf, math.inf)


def test_gradients_have_a_geometric_mean():
    ratio, error = "gradient_ratio:first_step", "test_error"
    assert measures.with_unit(ratio).endswith(", first step, geometric mean")
    assert measures.interval(ratio, [1.0, 100.0])[0] == pytest.approx(10)
    assert measures.interval(error, [1.0, 100.0])[0] == pytest.approx(50.5)
