"""Intervals, paired comparisons, percentiles, replications and the stability label."""

import math
import sys
import threading
import warnings
from collections import Counter
from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest

from simlib import stats
from simlib.checks import InputError

T_9_DEGREES = 2.2621571628  # 97.5 % quantile of Student's t, from a printed table


def finite(record):
    return all(value is None or math.isfinite(value) for value in astuple(record))


def test_mean_interval_is_student_t():
    values = np.arange(10.0)
    interval = stats.mean_interval(values)
    half_width = T_9_DEGREES * math.sqrt(np.var(values, ddof=1) / 10)
    assert interval.mean == 4.5
    assert interval.replications == 10
    assert interval.std == pytest.approx(np.std(values, ddof=1))
    assert (interval.ci_low, interval.ci_high) == pytest.approx((4.5 - half_width, 4.5 + half_width), rel=1e-9)


def test_more_confidence_widens_the_interval():
    widths = [i.ci_high - i.ci_low for i in (stats.mean_interval([1.0, 2.0, 4.0], c) for c in (1e-300, 0.5, 0.95))]
    assert widths[0] == 0.0
    assert widths[0] < widths[1] < widths[2]


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e99])
def test_equal_values_have_an_interval_of_zero_width(value):
    interval = stats.mean_interval([value] * 7)
    assert (interval.mean, interval.ci_low, interval.ci_high, interval.std) == (value, value, value, 0.0)


def test_one_replication_has_a_mean_and_no_interval():
    assert astuple(stats.mean_interval([3.0])) == (3.0, None, None, 1, None)
    pair = stats.paired_difference([3.0], [1.0])
    assert (pair.mean, pair.ci_low, pair.ci_high, pair.correlation, pair.p_value) == (2.0, None, None, None, None)
    assert pair.share_greater == 1.0


def test_extreme_values_give_finite_intervals():
    for values in ([1e99, -1e99], [1e-300, 2e-300], [0.0, 5e-324], [1e99, 1e99 * (1 + 1e-15)]):
        for confidence in (1e-12, 1 - 1e-16):
            assert finite(stats.mean_interval(values, confidence))
            assert finite(stats.paired_difference(values, values[::-1], confidence))


def test_mean_intervals_cover_the_true_mean_as_often_as_they_say():
    # 4,000 experiments of 10 normal values at 90 %: the count of covers is binomial with sd 19; a bound of 63 (3.3 sd)
    # gives a correct interval a 0.1 % chance to fail.
    values = np.random.default_rng(11).normal(5.0, 2.0, (4000, 10))
    intervals = [stats.mean_interval(row, 0.9) for row in values]
    assert abs(sum(i.ci_low <= 5.0 <= i.ci_high for i in intervals) - 3600) <= 63


def test_paired_intervals_cover_the_true_difference_and_are_narrower_under_common_random_numbers():
    # As above: 4,000 experiments, 0.1 % chance to fail. a and b share most of their randomness (correlation 0.9).
    rng = np.random.default_rng(12)
    shared, own = rng.normal(0.0, 3.0, (4000, 10)), rng.normal(0.0, 1.0, (2, 4000, 10))
    a, b = 2.0 + shared + own[0], shared + own[1]
    pairs = [stats.paired_difference(x, y, 0.9) for x, y in zip(a, b, strict=True)]
    assert abs(sum(p.ci_low <= 2.0 <= p.ci_high for p in pairs) - 3600) <= 63
    assert np.mean([p.correlation for p in pairs]) == pytest.approx(0.9, abs=0.02)
    apart = [stats.paired_difference(x, y, 0.9) for x, y in zip(a, np.roll(b, 1, axis=0), strict=True)]
    assert np.mean([p.std for p in pairs]) < 0.5 * np.mean([p.std for p in apart])


def test_paired_difference_counts_who_is_less_in_each_replication():
    pair = stats.paired_difference([1.0, 5.0, 2.0, 0.0], [2.0, 4.0, 2.0, 7.0])
    assert pair.mean == -1.75
    assert (pair.share_less, pair.share_equal, pair.share_greater) == (0.5, 0.25, 0.25)


def test_paired_difference_is_the_interval_of_the_differences():
    a, b = np.random.default_rng(13).normal(size=(2, 20))
    pair, plain = stats.paired_difference(a, b), stats.mean_interval(a - b)
    assert astuple(pair)[:5] == astuple(plain)
    assert pair.correlation == pytest.approx(np.mean((a - a.mean()) * (b - b.mean())) / a.std() / b.std())
    # The p-value and the interval say the same: zero is a limit of the interval with confidence 1 - p.
    edge = stats.mean_interval(a - b, 1 - pair.p_value)
    assert min(abs(edge.ci_low), abs(edge.ci_high)) == pytest.approx(0.0, abs=1e-9)


def test_correlation_has_its_sign_and_is_missing_for_a_constant():
    assert stats.paired_difference([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).correlation == pytest.approx(1.0)
    assert stats.paired_difference([1.0, 2.0, 3.0], [6.0, 4.0, 2.0]).correlation == pytest.approx(-1.0)
    assert stats.paired_difference([0.1] * 3, [6.0, 4.0, 2.0]).correlation is None


def test_systems_that_never_differ_have_p_one_and_those_that_always_differ_alike_have_p_zero():
    same = stats.paired_difference([0.1, 0.2, 0.7], [0.1, 0.2, 0.7])
    assert (same.mean, same.ci_low, same.ci_high, same.share_equal, same.p_value) == (0.0, 0.0, 0.0, 1.0, 1.0)
    assert stats.paired_difference([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]).p_value == 0.0


def test_holm_matches_the_procedure_by_hand():
    # In order 0.005 0.01 0.03 0.04, times 4 3 2 1: 0.02 0.03 0.06 0.04, and the last may not be below the third.
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.7, 0.8, 1.0]).tolist() == [1.0, 1.0, 1.0]
    assert stats.holm([0.2]).tolist() == [0.2]


def test_holm_rejects_a_true_family_as_rarely_as_it_says():
    # 4,000 families of 5 true hypotheses at 5 %: exact rate 1 - (1 - 0.01)**5 = 4.9 %, so 196 with sd 13.7; the bound
    # of 45 (3.3 sd) has a 0.1 % false-alarm rate.
    p = np.random.default_rng(14).random((4000, 5))
    rejected = sum(stats.holm(row).min() <= 0.05 for row in p)
    assert abs(rejected - 196) <= 45


@pytest.mark.parametrize(
    ("value", "percentile"), [(0.0, 0.0), (1.0, 12.5), (1.5, 25.0), (2.0, 50.0), (3.0, 87.5), (9.0, 100.0)]
)
def test_percentile_is_the_mid_rank(value, percentile):
    assert stats.percentile_of(value, [3.0, 2.0, 1.0, 2.0]) == percentile


def test_inside_includes_its_limits():
    sample = np.arange(1001.0)
    assert [stats.inside(v, sample) for v in (24.9, 25.0, 500.0, 975.0, 975.1)] == [False, True, True, True, False]
    assert stats.inside(0.0, sample, 0.0, 1.0)
    assert not stats.inside(25.0, sample, 0.25, 0.75)


def test_a_claim_of_zero_is_inside_where_most_replications_have_zero():
    sample = [0.0] * 98 + [0.4, 0.5]
    assert stats.inside(0.0, sample)
    assert stats.percentile_of(0.0, sample) == 49.0


def noisy(seed):
    return {"latency_s": np.random.default_rng(seed).exponential(), "seed": seed}


def test_replicate_gives_one_row_a_replication_with_consecutive_seeds():
    frame = stats.replicate(noisy, 4, seed=42)
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.name == "replication"
    assert frame.index.tolist() == [0, 1, 2, 3]
    assert frame["seed"].tolist() == [42.0, 43.0, 44.0, 45.0]
    assert frame["latency_s"].tolist() == [np.random.default_rng(s).exponential() for s in range(42, 46)]


@pytest.mark.parametrize("workers", [2, 5])
def test_results_do_not_depend_on_the_workers(workers):
    pd.testing.assert_frame_equal(
        stats.replicate(noisy, 30, seed=7, workers=workers), stats.replicate(noisy, 30, seed=7), check_exact=True
    )


def test_workers_run_at_the_same_time():
    together = threading.Barrier(2, timeout=30)

    def meet(seed):
        if seed:  # replication 0 runs alone
            together.wait()
        return {"met": 1}

    assert len(stats.replicate(meet, 5, seed=0, workers=2)) == 5


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("first_bad", [0, 4])
def test_the_first_failing_replication_is_named_with_its_seed_and_cause(workers, first_bad):
    def fails(seed):
        if seed >= 100 + first_bad:
            raise ZeroDivisionError("no requests")
        return {"x": 1.0}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            RuntimeError, match=rf"replication {first_bad} \(seed {100 + first_bad}\): .*no requests"
        ) as caught:
            stats.replicate(fails, 20, seed=100, workers=workers)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_bad_input_found_by_the_function_stays_bad_input():
    def refuses(seed):
        raise InputError("gpus: 0 (expected an integer >= 1)")

    with pytest.raises(InputError, match=r"replication 0 \(seed 3\): .*gpus: 0"):
        stats.replicate(refuses, 2, seed=3)


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        (None, "None"),
        ({}, "{}"),
        (3.0, "3.0"),
        ({"x": math.nan}, "x: nan"),
        ({"x": math.inf}, "x: inf"),
        ({"x": "fast"}, "x: 'fast'"),
        ({"x": True}, "x: True"),
        ({"y": 1.0}, "returned y .expected x"),
    ],
)
def test_a_replication_that_returns_something_else_is_named(returned, named):
    with pytest.raises(InputError, match=rf"replication 1 \(seed 6\).*{named}"):
        stats.replicate(lambda seed: {"x": 1.0} if seed == 5 else returned, 3, seed=5)


def test_the_progress_bar_goes_to_standard_error_and_only_where_wanted(capsys, monkeypatch):
    stats.replicate(noisy, 3, seed=0)  # standard error is no terminal here
    stats.replicate(noisy, 3, seed=0, progress=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    stats.replicate(noisy, 3, seed=0)  # a terminal, but too short a work for a bar
    assert capsys.readouterr() == ("", "")
    stats.replicate(noisy, 3, seed=0, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "replications" in err
    assert "/3" in err


def mm1(load, requests, runs, seed):
    """Arrivals and completions of `runs` runs from empty, by Lindley's recursion; shape (runs, requests)."""
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1 / load, (runs, requests)), axis=1)
    completion_s, service_s = np.empty_like(arrival_s), rng.exponential(1.0, (requests, runs))
    free_s = np.zeros(runs)
    for request, now_s in enumerate(arrival_s.T):
        free_s = np.maximum(now_s, free_s) + service_s[request]
        completion_s[:, request] = free_s
    return zip(arrival_s, completion_s, strict=True)


# The label's shares at 5,000 requests, as its docstring states them (0.5 to 1.2).
STATED_SHARES = {
    0.5: {"stable": 0.948, "near_critical": 0.052, "unstable": 0.0},
    0.8: {"stable": 0.894, "near_critical": 0.106, "unstable": 0.0},
    0.95: {"stable": 0.312, "near_critical": 0.686, "unstable": 0.002},
    1.05: {"stable": 0.001, "near_critical": 0.161, "unstable": 0.838},
    1.2: {"stable": 0.0, "near_critical": 0.0, "unstable": 1.0},
}


@pytest.mark.parametrize(("load", "stated"), STATED_SHARES.items())
def test_stability_errs_as_rarely_as_its_docstring_says(load, stated):
    # 600 runs a load. The bound on each count is 4 binomial standard deviations plus 2 (for the rare labels): a label
    # with the stated shares fails in less than 0.1 % of seeds over all 15 comparisons.
    counts = Counter(stats.stability(*run) for run in mm1(load, 5000, 600, seed=[15, int(100 * load)]))
    for label, share in stated.items():
        assert abs(counts[label] - 600 * share) <= 2 + 4 * math.sqrt(600 * share * (1 - share))
    assert counts["unknown"] == 0


def test_a_longer_run_is_labelled_more_surely():
    # Stated: 99.95 % unstable at load 1.05, 93.4 % stable at 0.8; 20 runs each miss these bounds in 1e-3 of seeds.
    over = Counter(stats.stability(*run) for run in mm1(1.05, 20_000, 20, seed=16))
    under = Counter(stats.stability(*run) for run in mm1(0.8, 20_000, 20, seed=17))
    assert over["unstable"] >= 19
    assert under["stable"] >= 14
    assert under["unstable"] == 0


def test_short_runs_and_closed_batches_are_unknown():
    arrival_s = np.arange(4999.0)
    assert stats.stability(arrival_s, arrival_s + 1) == "unknown"
    assert stats.stability(arrival_s, 2 * arrival_s + 1) == "unknown"
    assert stats.stability([0.0], [1.0]) == "unknown"
    assert stats.stability(np.zeros(6000), np.arange(1.0, 6001.0)) == "unknown"


@pytest.mark.parametrize("start_s", [0.0, 1e7])
def test_deterministic_queues_are_labelled_without_chance(start_s):
    arrival_s = start_s + np.arange(5000.0)
    assert stats.stability(arrival_s, arrival_s) == "stable"
    assert stats.stability(arrival_s, arrival_s + 0.1) == "stable"
    assert stats.stability(arrival_s, arrival_s + 0.1 * (arrival_s - start_s) + 0.5) == "unstable"


def test_stability_does_not_depend_on_the_unit_of_time():
    for arrival_s, completion_s in mm1(0.9, 5000, 20, seed=18):
        # A power of two, so that no rounding differs.
        assert stats.stability(1024 * arrival_s, 1024 * completion_s) == stats.stability(arrival_s, completion_s)


GOOD = {
    "mean_interval": {"values": [1.0, 2.0], "confidence": 0.95},
    "paired_difference": {"a": [1.0, 2.0], "b": [1.0, 3.0], "confidence": 0.95},
    "holm": {"p_values": [0.1, 0.2]},
    "percentile_of": {"value": 1.0, "sample": [1.0, 2.0]},
    "inside": {"value": 1.0, "sample": [1.0, 2.0], "low": 0.025, "high": 0.975},
    "replicate": {"function": noisy, "replications": 2, "seed": 42, "workers": 1, "progress": None},
    "stability": {"arrival_s": [0.0, 1.0], "completion_s": [1.0, 2.0]},
}
NO_NUMBER = [math.nan, math.inf, "1", None, [1.0], 10**400]
NO_LIST = [None, "1", 3.0, [], [[1.0]], [[1.0], [1.0, 2.0]], ["1", "2"], [True, False], [None, 1.0], [math.nan, 1.0]]
NO_LIST += [[1.0, -math.inf], [1e101, 1.0], [1.0, 10**400], {"a": 1.0}, [1j, 2.0], np.array(["2020-01-01"], "M8[s]")]
BAD = {
    **dict.fromkeys(("values", "a", "b", "sample", "arrival_s", "completion_s", "p_values"), NO_LIST),
    "confidence": [*NO_NUMBER, True, 0, 1, -0.5, 95],
    "value": [*NO_NUMBER, True],
    "low": [*NO_NUMBER, True, -0.1, 1.1],
    "high": [*NO_NUMBER, True, -0.1, 1.1, 0.025, 0.0],
    "function": [None, 3.0, "noisy"],
    "replications": [*NO_NUMBER, True, 0, -1, 1.5],
    "seed": [*NO_NUMBER, True, -1, 1.5, 2**32],
    "workers": [*NO_NUMBER, True, 0, -1, 1.5, 10**6],
    "progress": [1, "yes", math.nan],
}


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [(name, argument, value) for name, good in GOOD.items() for argument in good for value in BAD[argument]],
)
def test_a_bad_argument_is_named(name, argument, value):
    with pytest.raises(InputError, match=rf"^({argument}|high)\b"):
        getattr(stats, name)(**{**GOOD[name], argument: value})


def test_every_public_function_is_in_the_fuzz_and_runs_on_its_good_arguments():
    assert set(GOOD) == set(stats.__all__) - {"Interval", "PairedDifference", "Stability"}
    for name, good in GOOD.items():
        assert getattr(stats, name)(**good) is not None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.mean_interval([1.0, math.nan, math.inf]), "values, replication 1: nan"),
        (lambda: stats.mean_interval([1.0, None]), "values, replication 1: None"),
        (lambda: stats.paired_difference([1.0, 2.0], [1.0]), "b: 1 replications .expected 2"),
        (lambda: stats.holm([0.5, 1.5]), "p_values, row 1: 1.5"),
        (lambda: stats.stability([0.0, 1.0], [1.0]), "completion_s: 1 rows .expected 2"),
        (lambda: stats.stability([0.0, 2.0, 1.0], [3.0] * 3), "arrival_s, row 2: 1.0"),
        (lambda: stats.stability([0.0, 2.0], [3.0, 1.0]), "completion_s, row 1: 1.0"),
    ],
)
def test_the_first_bad_row_is_named_with_its_value(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_lists_of_any_kind_are_taken():
    for values in (pd.Series([1, 2], index=[7, 9]), (1, 2), np.array([1, 2], dtype=np.uint8), [np.float32(1), 2]):
        assert stats.mean_interval(values).mean == 1.5
    # Unsigned differences must not wrap around.
    small, large = np.array([1, 2], dtype=np.uint8), np.array([2, 4], dtype=np.uint8)
    assert stats.paired_difference(small, large).mean == -1.5
