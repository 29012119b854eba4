"""Intervals, comparisons of two systems, percentiles."""

import math
from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
from names import public

from simlib.checks import InputError
from simlib.stats import intervals as stats_intervals
from simlib.stats.intervals import (
    difference,
    holm,
    inside,
    mean_interval,
    next_interval,
    paired_difference,
    percentile_of,
)

T_9_DEGREES = 2.2621571628  # 97.5 % quantile of Student's t, from a printed table


def finite(record):
    return all(math.isfinite(value) for value in astuple(record) if isinstance(value, float))


def test_mean_interval_is_student_t():
    values = np.arange(10.0)
    interval = mean_interval(values)
    half_width = T_9_DEGREES * math.sqrt(np.var(values, ddof=1) / 10)
    assert interval.mean == 4.5
    assert interval.replications == 10
    assert interval.std == pytest.approx(np.std(values, ddof=1))
    assert (interval.ci_low, interval.ci_high) == pytest.approx((4.5 - half_width, 4.5 + half_width), rel=1e-9)


def test_more_confidence_widens_the_interval():
    widths = [i.ci_high - i.ci_low for i in (mean_interval([1.0, 2.0, 4.0], c) for c in (1e-300, 0.5, 0.95))]
    assert widths[0] == 0.0
    assert widths[0] < widths[1] < widths[2]


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e99])
def test_equal_values_have_an_interval_of_zero_width(value):
    interval = mean_interval([value] * 7)
    assert (interval.mean, interval.ci_low, interval.ci_high, interval.std) == (value, value, value, 0.0)


def test_one_replication_has_a_mean_and_no_interval():
    assert astuple(mean_interval([3.0])) == (3.0, None, None, 1, None)
    pair = paired_difference([3.0], [1.0])
    assert (pair.mean, pair.ci_low, pair.ci_high, pair.correlation, pair.p_value) == (2.0, None, None, None, None)
    assert pair.share_greater == 1.0


def test_extreme_values_give_finite_intervals():
    for values in ([1e99, -1e99], [1e-300, 2e-300], [0.0, 5e-324], [1e99, 1e99 * (1 + 1e-15)]):
        for confidence in (1e-12, 1 - 1e-16):
            assert finite(mean_interval(values, confidence))
            assert finite(paired_difference(values, values[::-1], confidence))


def test_mean_intervals_cover_the_true_mean_as_often_as_they_say():
    # 4,000 experiments of 10 normal values at 90 %: the count of covers is binomial with sd 19; a bound of 63 (3.3 sd)
    # gives a correct interval a 0.1 % chance to fail.
    values = np.random.default_rng(11).normal(5.0, 2.0, (4000, 10))
    intervals = [mean_interval(row, 0.9) for row in values]
    assert abs(sum(i.ci_low <= 5.0 <= i.ci_high for i in intervals) - 3600) <= 63


def test_paired_intervals_cover_the_true_difference_and_are_narrower_under_common_random_numbers():
    # As above: 4,000 experiments, 0.1 % chance to fail. a and b share most of their randomness (correlation 0.9).
    rng = np.random.default_rng(12)
    shared, own = rng.normal(0.0, 3.0, (4000, 10)), rng.normal(0.0, 1.0, (2, 4000, 10))
    a, b = 2.0 + shared + own[0], shared + own[1]
    pairs = [paired_difference(x, y, 0.9) for x, y in zip(a, b, strict=True)]
    assert abs(sum(p.ci_low <= 2.0 <= p.ci_high for p in pairs) - 3600) <= 63
    assert np.mean([p.correlation for p in pairs]) == pytest.approx(0.9, abs=0.02)
    apart = [paired_difference(x, y, 0.9) for x, y in zip(a, np.roll(b, 1, axis=0), strict=True)]
    assert np.mean([p.std for p in pairs]) < 0.5 * np.mean([p.std for p in apart])


def test_paired_difference_counts_who_is_less_in_each_replication():
    pair = paired_difference([1.0, 5.0, 2.0, 0.0], [2.0, 4.0, 2.0, 7.0])
    assert pair.mean == -1.75
    assert (pair.share_less, pair.share_equal, pair.share_greater) == (0.5, 0.25, 0.25)


def test_paired_difference_is_the_interval_of_the_differences():
    a, b = np.random.default_rng(13).normal(size=(2, 20))
    pair, plain = paired_difference(a, b), mean_interval(a - b)
    assert astuple(pair)[:5] == astuple(plain)
    assert pair.correlation == pytest.approx(np.mean((a - a.mean()) * (b - b.mean())) / a.std() / b.std())
    # The p-value and the interval say the same: zero is a limit of the interval with confidence 1 - p.
    edge = mean_interval(a - b, 1 - pair.p_value)
    assert min(abs(edge.ci_low), abs(edge.ci_high)) == pytest.approx(0.0, abs=1e-9)


def test_correlation_has_its_sign_and_is_missing_for_a_constant():
    assert paired_difference([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).correlation == pytest.approx(1.0)
    assert paired_difference([1.0, 2.0, 3.0], [6.0, 4.0, 2.0]).correlation == pytest.approx(-1.0)
    assert paired_difference([0.1] * 3, [6.0, 4.0, 2.0]).correlation is None


def test_systems_that_never_differ_have_p_one_and_those_that_always_differ_alike_have_p_zero():
    same = paired_difference([0.1, 0.2, 0.7], [0.1, 0.2, 0.7])
    assert (same.mean, same.ci_low, same.ci_high, same.share_equal, same.p_value) == (0.0, 0.0, 0.0, 1.0, 1.0)
    assert paired_difference([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]).p_value == 0.0


def negatively_correlated(experiments, replications, seed):
    """a and b with equal means and correlation -0.5, and b once more from other random numbers."""
    first, other, apart = np.random.default_rng(seed).normal(size=(3, experiments, replications))
    return first, -0.5 * first + math.sqrt(0.75) * other, apart


def test_where_pairing_helps_the_difference_is_paired():
    rng = np.random.default_rng(19)
    a = rng.normal(size=20)
    b = a + rng.normal(size=20)
    assert difference(a, b, apart=lambda: pytest.fail("not needed")) == paired_difference(a, b)
    assert difference(a, -b) == paired_difference(a, -b)  # nothing else to compare with
    assert difference([0.1] * 20, b, apart=a).method == "paired"  # a constant pairs with anything


def test_where_it_does_not_the_difference_is_welchs_and_says_so():
    from scipy.stats import ttest_ind

    a, b, apart = (sample[0] for sample in negatively_correlated(1, 30, 20))
    found, welch = difference(a, b, 3 * apart[:11]), ttest_ind(a, 3 * apart[:11], equal_var=False)
    limits = welch.confidence_interval(0.95)
    assert (found.method, found.correlation) == ("independent", paired_difference(a, b).correlation)
    assert (found.ci_low, found.ci_high) == pytest.approx((limits.low, limits.high))
    assert found.p_value == pytest.approx(welch.pvalue)
    assert found.mean == pytest.approx(np.mean(a) - np.mean(3 * apart[:11]))


def test_negative_correlation_needs_runs_apart():
    # 4,000 experiments at 95 %: binomial sd 13.8, the bound of 46 (3.3 sd) has a 0.1 % false-alarm rate. Welch's test
    # of the same runs takes them for independent, and covers 89 %: more than 20 sd off.
    samples = negatively_correlated(4000, 30, 21)
    apart = [difference(a, b, other) for a, b, other in zip(*samples, strict=True)]
    same = [difference(a, b, b) for a, b, _ in zip(*samples, strict=True)]
    assert abs(sum(d.ci_low <= 0 <= d.ci_high for d in apart) - 3800) <= 46
    assert sum(d.ci_low <= 0 <= d.ci_high for d in same) < 3650
    assert {d.method for d in apart if d.correlation <= 0} == {"independent"}


def test_holm_matches_the_procedure_by_hand():
    # In order 0.005 0.01 0.03 0.04, times 4 3 2 1: 0.02 0.03 0.06 0.04, and the last may not be below the third.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.8, 1.0]).tolist() == [1.0, 1.0, 1.0]
    assert holm([0.2]).tolist() == [0.2]


def test_holm_rejects_a_true_family_as_rarely_as_it_says():
    # 4,000 families of 5 true hypotheses at 5 %: exact rate 1 - (1 - 0.01)**5 = 4.9 %, so 196 with sd 13.7; the bound
    # of 45 (3.3 sd) has a 0.1 % false-alarm rate.
    p = np.random.default_rng(14).random((4000, 5))
    rejected = sum(holm(row).min() <= 0.05 for row in p)
    assert abs(rejected - 196) <= 45


def test_one_more_replication_lies_inside_as_often_as_it_says():
    # 4,000 experiments of 6 log-normal values and one more: exact rate 95 %, sd of the count 13.8; the bound of 45
    # (3.3 sd) has a 0.1 % false-alarm rate.
    values = np.exp(np.random.default_rng(15).normal(1.0, 0.3, (4000, 7)))
    ends = [next_interval(row[:6]) for row in values]
    inside = sum(low <= row[6] <= high for (low, high), row in zip(ends, values, strict=True))
    assert abs(inside - 3800) <= 45


@pytest.mark.parametrize(
    ("value", "percentile"), [(0.0, 0.0), (1.0, 12.5), (1.5, 25.0), (2.0, 50.0), (3.0, 87.5), (9.0, 100.0)]
)
def test_percentile_is_the_mid_rank(value, percentile):
    assert percentile_of(value, [3.0, 2.0, 1.0, 2.0]) == percentile


def test_inside_includes_its_limits():
    sample = np.arange(1001.0)
    assert [inside(v, sample) for v in (24.9, 25.0, 500.0, 975.0, 975.1)] == [False, True, True, True, False]
    assert inside(0.0, sample, 0.0, 1.0)
    assert not inside(25.0, sample, 0.25, 0.75)


def test_a_claim_of_zero_is_inside_where_most_replications_have_zero():
    sample = [0.0] * 98 + [0.4, 0.5]
    assert inside(0.0, sample)
    assert percentile_of(0.0, sample) == 49.0


GOOD = {
    "mean_interval": {"values": [1.0, 2.0], "confidence": 0.95},
    "next_interval": {"values": [1.0, 2.0], "confidence": 0.95},
    "paired_difference": {"a": [1.0, 2.0], "b": [1.0, 3.0], "confidence": 0.95},
    "difference": {"a": [1.0, 2.0], "b": [3.0, 1.0], "apart": [1.0, 3.0], "confidence": 0.95},
    "holm": {"p_values": [0.1, 0.2]},
    "percentile_of": {"value": 1.0, "sample": [1.0, 2.0]},
    "inside": {"value": 1.0, "sample": [1.0, 2.0], "low": 0.025, "high": 0.975},
}
NO_NUMBER = [math.nan, math.inf, "1", None, [1.0], 10**400]
NO_LIST = [None, "1", 3.0, [], [[1.0]], [[1.0], [1.0, 2.0]], ["1", "2"], [True, False], [None, 1.0], [math.nan, 1.0]]
NO_LIST += [[1.0, -math.inf], [1e101, 1.0], [1.0, 10**400], {"a": 1.0}, [1j, 2.0], np.array(["2020-01-01"], "M8[s]")]
BAD = {
    **dict.fromkeys(("values", "a", "b", "sample", "p_values"), NO_LIST),
    "apart": [*NO_LIST[1:], [1.0]],  # None: there is no such sample
    "confidence": [*NO_NUMBER, True, 0, 1, -0.5, 95],
    "value": [*NO_NUMBER, True],
    "low": [*NO_NUMBER, True, -0.1, 1.1],
    "high": [*NO_NUMBER, True, -0.1, 1.1, 0.025, 0.0],
}


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [(name, argument, value) for name, good in GOOD.items() for argument in good for value in BAD[argument]],
)
def test_a_bad_argument_is_named(name, argument, value):
    with pytest.raises(InputError, match=rf"^({argument}|high)\b"):
        getattr(stats_intervals, name)(**{**GOOD[name], argument: value})


def test_every_public_function_is_in_the_fuzz_and_runs_on_its_good_arguments():
    others = {"Estimate", "Interval", "PairedDifference", "check_numbers", "refuse_rows", "t_quantile", "p_value"}
    assert set(GOOD) | others == set(public(stats_intervals))
    for name, good in GOOD.items():
        assert getattr(stats_intervals, name)(**good) is not None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([1.0, math.nan, math.inf]), "values, replication 1: nan"),
        (lambda: mean_interval([1.0, None]), "values, replication 1: None"),
        (lambda: paired_difference([1.0, 2.0], [1.0]), "b: 1 replications .expected 2"),
        (lambda: holm([0.5, 1.5]), "p_values, row 1: 1.5"),
    ],
)
def test_the_first_bad_row_is_named_with_its_value(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_lists_of_any_kind_are_taken():
    for values in (pd.Series([1, 2], index=[7, 9]), (1, 2), np.array([1, 2], dtype=np.uint8), [np.float32(1), 2]):
        assert mean_interval(values).mean == 1.5
    # Unsigned differences must not wrap around.
    small, large = np.array([1, 2], dtype=np.uint8), np.array([2, 4], dtype=np.uint8)
    assert paired_difference(small, large).mean == -1.5
