"""The stability label of one run, on queues whose load is known."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy.stats import t as student

from simlib.checks import InputError
from simlib.runs.stability import CRITICAL_T, stability
from simlib.runs.tally import windows
from simlib.stats.steady import looks_independent


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
    counts = Counter(stability(*run) for run in mm1(load, 5000, 600, seed=[15, int(100 * load)]))
    for label, share in stated.items():
        assert abs(counts[label] - 600 * share) <= 2 + 4 * math.sqrt(600 * share * (1 - share))
    assert counts["unknown"] == 0


def test_a_longer_run_is_labelled_more_surely():
    # Stated: 99.95 % unstable at load 1.05, 93.4 % stable at 0.8; 20 runs each miss these bounds in 1e-3 of seeds.
    over = Counter(stability(*run) for run in mm1(1.05, 20_000, 20, seed=16))
    under = Counter(stability(*run) for run in mm1(0.8, 20_000, 20, seed=17))
    assert over["unstable"] >= 19
    assert under["stable"] >= 14
    assert under["unstable"] == 0


def test_short_runs_and_closed_batches_are_unknown():
    arrival_s = np.arange(4999.0)
    assert stability(arrival_s, arrival_s + 1) == "unknown"
    assert stability(arrival_s, 2 * arrival_s + 1) == "unknown"
    assert stability([0.0], [1.0]) == "unknown"
    assert stability(np.zeros(6000), np.arange(1.0, 6001.0)) == "unknown"


@pytest.mark.parametrize("start_s", [0.0, 1e7])
def test_deterministic_queues_are_labelled_without_chance(start_s):
    arrival_s = start_s + np.arange(5000.0)
    assert stability(arrival_s, arrival_s) == "stable"
    assert stability(arrival_s, arrival_s + 0.1) == "stable"
    assert stability(arrival_s, arrival_s + 0.1 * (arrival_s - start_s) + 0.5) == "unstable"


def test_stability_does_not_depend_on_the_unit_of_time():
    for arrival_s, completion_s in mm1(0.9, 5000, 20, seed=18):
        # A power of two, so that no rounding differs.
        assert stability(1024 * arrival_s, 1024 * completion_s) == stability(arrival_s, completion_s)


NO_LIST = [None, "1", 3.0, [], [[1.0]], [[1.0], [1.0, 2.0]], ["1", "2"], [True, False], [None, 1.0], [math.nan, 1.0]]


@pytest.mark.parametrize("value", NO_LIST)
@pytest.mark.parametrize("argument", ["arrival_s", "completion_s"])
def test_a_bad_column_is_named(argument, value):
    with pytest.raises(InputError, match=rf"^{argument}\b"):
        stability(**{"arrival_s": [0.0, 1.0], "completion_s": [1.0, 2.0], argument: value})


@pytest.mark.parametrize(
    ("arrival_s", "completion_s", "message"),
    [
        ([0.0, 1.0], [1.0], "completion_s: 1 rows .expected 2"),
        ([0.0, 2.0, 1.0], [3.0] * 3, "arrival_s, row 2: 1.0"),
        ([0.0, 2.0], [3.0, 1.0], "completion_s, row 1: 1.0"),
    ],
)
def test_the_first_bad_row_is_named_with_its_value(arrival_s, completion_s, message):
    with pytest.raises(InputError, match=message):
        stability(arrival_s, completion_s)


def test_who_is_in_the_system_is_counted_as_a_sort_counts():
    for load, start_s in ((0.5, 0.0), (1.2, 0.0), (0.8, 1e7)):
        for arrival_s, completion_s in mm1(load, 1000, 5, seed=7):
            arrival_s, completion_s = np.floor(arrival_s) + start_s, np.ceil(completion_s) + start_s  # many ties
            ends_s = arrival_s[49::50]
            arrived, done = (
                np.searchsorted(np.sort(times_s), ends_s, "right") for times_s in (arrival_s, completion_s)
            )
            assert windows(arrival_s, completion_s, 20)[0] == (arrived - done).tolist()


def test_the_critical_value_is_students():
    assert pytest.approx(student.ppf(0.95, 19), rel=1e-14) == CRITICAL_T


def test_neighbours_that_depend_do_not_look_independent():
    rng = np.random.default_rng(5)
    free = rng.normal(size=(2000, 19))
    share = np.mean([looks_independent(values) for values in free])
    assert share == pytest.approx(0.95, abs=5 * math.sqrt(0.95 * 0.05 / 2000))  # fails by chance once in 10^6
    assert not looks_independent(np.cumsum(free[0]))
    assert looks_independent([3.0, 3.0, 3.0])


@pytest.mark.parametrize(
    ("means", "error", "message"),
    [
        (None, 0.05, "means"),
        ("abc", 0.05, "means"),
        ([1.0, None, 2.0], 0.05, "means, batch 1: None"),
        ([1.0, math.nan, 2.0], 0.05, "means, batch 1: nan"),
        ([1.0, 2.0], 0.05, "means: 2"),
        ([1.0, 2.0, 1.0], 0.0, "error"),
        ([1.0, 2.0, 1.0], "x", "error"),
    ],
)
def test_bad_input_to_the_test_of_independence_is_named(means, error, message):
    with pytest.raises(InputError, match=message):
        looks_independent(means, error)
