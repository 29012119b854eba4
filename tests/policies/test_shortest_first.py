"""Shortest predicted first with ageing: worked by hand, against a plain priority queue, and in both executions."""

import math

import numpy as np
import pytest
from strategies import ONE_SEAT, order_of

import simlib
from simlib.continuous.settings import Continuous
from simlib.policies.shortest_first import ShortestPredictedFirst

STEP_S = 0.01  # of a step that decodes or prefills: an output of o tokens takes o of them alone


def requests_of(seed: int, rows: int = 300, lengths: int = 30) -> simlib.RequestTable:
    """Requests that queue for one seat; predictions that are wrong, of few lengths."""
    rng = np.random.default_rng(seed)
    outputs = rng.integers(1, 60, rows)
    arrival_s = np.cumsum(rng.exponential(0.28, rows))
    return simlib.RequestTable(arrival_s, np.ones(rows, int), outputs, rng.integers(1, lengths + 1, rows))


def by_priority_queue(table: simlib.RequestTable, seconds_per_token: float) -> list[int]:
    """The order of service of one server that takes the request with the least aged prediction at each instant."""
    weight, ageing = (1.0, 0.0) if seconds_per_token == math.inf else (seconds_per_token, 1.0)
    waiting, served, now_s, arrived = [], [], 0.0, 0
    while len(served) < len(table):
        if not waiting:
            now_s = max(now_s, table.arrival_s[arrived])
        while arrived < len(table) and table.arrival_s[arrived] <= now_s:
            waiting.append(arrived)
            arrived += 1
        # Priorities as they are now: predicted tokens less what waiting has gained.
        now = [(weight * table.predicted_output_tokens[r] - ageing * (now_s - table.arrival_s[r]), r) for r in waiting]
        best = min(now)[1]
        waiting.remove(best)
        served.append(best)
        now_s += STEP_S * table.output_tokens[best]
    return served


@pytest.mark.parametrize(
    ("seconds_per_token", "order"),
    [
        (0.0, [0, 1, 2, 3]),  # keys are arrivals: 1, 2, 3
        (0.1, [0, 2, 1, 3]),  # 1 + 2.0, 2 + 0.5, 3 + 0.2: 3.0, 2.5, 3.2
        (0.2, [0, 2, 3, 1]),  # 1 + 4.0, 2 + 1.0, 3 + 0.4: 5.0, 3.0, 3.4
        (None, [0, 3, 2, 1]),  # 20, 5 and 2 tokens
        (math.inf, [0, 3, 2, 1]),
    ],
)
def test_three_that_wait_by_hand(seconds_per_token, order):
    table = simlib.RequestTable([0, 1, 2, 3], [1] * 4, [500, 20, 5, 2], [500, 20, 5, 2])
    policy = ShortestPredictedFirst(seconds_per_token, batch_size=1)
    assert order_of(simlib.simulate(table, policy, simlib.StepLaw(STEP_S), 1, ONE_SEAT)) == order
    assert order_of(simlib.simulate(table, policy, simlib.GivenTimes([5.0, 0.2, 0.05, 0.02]))) == order


@pytest.mark.parametrize("seconds_per_token", [0.0, 0.05, 0.3, math.inf])
@pytest.mark.parametrize("backend", ["interpreted", "compiled"])
def test_both_executions_are_a_priority_queue(seconds_per_token, backend):
    table = requests_of(1)
    expected = by_priority_queue(table, seconds_per_token)
    policy = ShortestPredictedFirst(seconds_per_token, batch_size=1)
    batches = simlib.simulate(table, policy, simlib.GivenTimes(STEP_S * table.output_tokens), backend=backend)
    steps = simlib.simulate(table, policy, simlib.StepLaw(STEP_S), 1, ONE_SEAT, backend=backend)
    assert order_of(batches) == order_of(steps) == expected
    assert expected != by_priority_queue(table, 0.01)  # the weight matters: these requests do queue


def test_without_weight_it_is_first_come_first_served():
    table = requests_of(2, lengths=500)
    engine = Continuous(max_seqs=4, kv_tokens=512)
    law = simlib.StepLaw(STEP_S, 1e-3, 1e-4, 1e-6)
    runs = [simlib.simulate(table, policy, law, 2, engine) for policy in (ShortestPredictedFirst(0), "fcfs")]
    np.testing.assert_array_equal(*(run.times.completion_s for run in runs))


def test_too_many_lengths_share_lines_that_somebody_stands_in():
    rng = np.random.default_rng(3)
    predicted = np.where(rng.random(1000) < 0.4, 7, rng.integers(1, 5000, 1000))
    table = simlib.RequestTable(np.arange(1000.0), np.ones(1000), predicted, predicted)
    plan = ShortestPredictedFirst(k_bins=64).plan(table, 1)
    assert plan.queues.occupied == len(plan.queues.end) == len(plan.edges) + 1
    assert 32 < plan.queues.occupied <= 64
    few = ShortestPredictedFirst(k_bins=64).plan(requests_of(1), 1)
    assert few.queues.occupied == 30  # a line a length


def test_a_batch_is_of_about_its_heads_length():
    table = simlib.RequestTable([0, 1, 1, 1], [1] * 4, [9, 90, 9, 9], [9, 90, 9, 9])
    run = simlib.simulate(table, ShortestPredictedFirst(0.1, batch_size=2), simlib.GivenTimes([5, 1, 1, 1]))
    assert run.served.batch_of.tolist() == [0, 2, 1, 1]


def test_lines_on_each_gpu_keep_the_order():
    table = requests_of(4, rows=120)
    engine = Continuous(max_seqs=1, routing="round_robin")
    run = simlib.simulate(table, ShortestPredictedFirst(0.1), simlib.StepLaw(STEP_S), 2, engine)
    for gpu in range(2):
        own = np.flatnonzero(run.served.gpu == gpu)
        expected = by_priority_queue(table.rows(own), 0.1)
        assert np.argsort(run.times.start_s[own], kind="stable").tolist() == expected


@pytest.mark.parametrize("value", [-1, math.nan, "x", True, 10**400])
def test_a_bad_weight_is_named(value):
    with pytest.raises(simlib.InputError, match="seconds_per_token"):
        ShortestPredictedFirst(value)
