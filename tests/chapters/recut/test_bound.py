"""What no batching can beat: the exact number in time against brute force, by hand, and against many policies."""

import itertools

import numpy as np
import pytest

import simlib
from book.chapters.recut import bound
from simlib import InputError
from simlib.requests import workload

LAW = simlib.Phases(0.01, 1e-4, 0.015, 1e-3)


def _feasible(chosen, arrival_s, work_s, due_s):
    now_s = 0.0
    for n in chosen:
        now_s = max(now_s, arrival_s[n]) + work_s[n]
        if now_s > due_s[n]:
            return False
    return True


@pytest.mark.parametrize("seed", range(60))
def test_the_most_in_time_is_that_of_the_best_subset(seed):
    """Nine requests, one deadline after each arrival, whole numbers, so that many things happen at once."""
    rng = np.random.default_rng(seed)
    arrival_s = np.sort(rng.integers(0, 15, 9)).astype(float)
    work_s, due_s = rng.integers(1, 7, 9).astype(float), arrival_s + rng.integers(6, 10)
    subsets = itertools.chain.from_iterable(itertools.combinations(range(9), count) for count in range(10))
    best = max(len(chosen) for chosen in subsets if _feasible(chosen, arrival_s, work_s, due_s))
    assert bound.most_in_time(arrival_s, work_s, due_s) == best


def test_the_floor_by_hand():
    """Two together take 1.5 s, 0.75 s each. One GPU, deadline 1.6 s, four at once: two of them can be in time."""

    class Two:
        @staticmethod
        def batch_time_s(size, prompt, output):
            return np.where(size > 2, 1e9, 0.5 + 0.5 * size) + 0.0 * output

    table = simlib.RequestTable([0.0] * 4, [1] * 4, [1] * 4)
    assert bound.late_floor(table, Two, 1, 1.6) == 0.5 and bound.late_floor(table, Two, 2, 1.6) == 0.0
    assert bound.late_floor(table, Two, 1, 0.9) == 1.0, "alone it takes a second"
    assert bound.most_rps(table, Two, 3) == pytest.approx(4.0)


@pytest.mark.filterwarnings("ignore:policy .*controller has collapsed")
@pytest.mark.parametrize("rate_rps", [3.0, 12.0, 60.0])
def test_nothing_is_below_the_floor(rate_rps):
    table = workload.original(400, 7, rate_rps)
    for gpus, d_sla in itertools.product((1, 3), (2.0, 6.0)):
        floor = bound.late_floor(table, LAW, gpus, d_sla)
        for policy in (simlib.StaticFIFO(64), simlib.DynamicNoBins(d_sla), simlib.MultiBinDynamic(4, d_sla)):
            run = simlib.simulate(table, policy, LAW, gpus)
            late = float(np.mean(run.times.completion_s - table.arrival_s > d_sla))
            assert late >= floor
            served_rps = len(table) / (run.times.completion_s.max() - table.arrival_s[0])
            assert served_rps <= bound.most_rps(table, LAW, gpus)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="due_s: not in the order"):
        bound.most_in_time([0.0, 1.0], [1.0, 1.0], [5.0, 4.0])
    with pytest.raises(InputError, match="work_s: 1 of them"):
        bound.most_in_time([0.0, 1.0], [1.0], [5.0, 6.0])
