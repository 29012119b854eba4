"""Cycles of one run, by hand; bad input named."""

import itertools
import math

import numpy as np
import pytest

from benchmarks import cycles
from simlib.checks import InputError


def test_cycles_start_where_the_system_is_empty():
    arrival_s = [0.0, 1.0, 2.0, 3.0, 7.0, 7.0]
    completion_s = [2.5, 1.5, 3.0, 4.0, 9.0, 9.0]  # the second is complete before the first; 3 s: before the arrival
    assert cycles.cycle_starts(arrival_s, completion_s).tolist() == [0, 3, 4]


def test_cycle_sums_leave_out_what_is_before_the_first_and_after_the_last_start():
    sums, counts = cycles.cycle_sums([100.0, 1.0, 2.0, 3.0, 100.0], [1, 3, 4])
    assert (sums.tolist(), counts.tolist()) == ([3.0, 3.0], [2, 1])


def test_the_regenerative_interval_is_that_of_a_ratio():
    rng = np.random.default_rng(47)
    counts = rng.integers(1, 4, 300)
    starts = np.r_[0, np.cumsum(counts)]
    values = rng.exponential(size=starts[-1] + 1)
    sums = np.array([values[a:b].sum() for a, b in itertools.pairwise(starts)])
    found, ratio = cycles.regenerative(values, starts), sums.sum() / counts.sum()
    spread = np.std(sums - ratio * counts, ddof=1) / counts.mean()
    assert found.value == pytest.approx(ratio)
    assert found.half_width == pytest.approx(1.9679 * spread / math.sqrt(300), rel=1e-4)  # t with 299 degrees


def test_few_cycles_or_one_long_one_give_a_reason():
    values = np.ones(10_000)
    assert cycles.regenerative(values, np.arange(0, 9901, 100)).reason.startswith("99 cycles count as 99 ")
    one_long = np.r_[np.arange(200), 9999]
    assert cycles.regenerative(values, one_long).reason.startswith("200 cycles count as 1.0")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: cycles.cycle_starts([1.0, math.nan], [2.0, 3.0]), "arrival_s, row 1"),
        (lambda: cycles.cycle_starts([1.0], ["a"]), "completion_s"),
        (lambda: cycles.cycle_starts([1.0, 2.0], [2.0]), "completion_s: 1 rows"),
        (lambda: cycles.cycle_sums([1.0, 2.0], [0]), "starts"),
        (lambda: cycles.cycle_sums([1.0, 2.0], [1, 0]), "starts"),
        (lambda: cycles.cycle_sums([1.0, 2.0], [0, 2]), "starts, cycle 1"),
        (lambda: cycles.regenerative(None, [0, 1]), "values"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(InputError, match=named):
        call()
