"""The floor under any order: against a brute-force schedule, and under every policy of both executions."""

import numpy as np
import pytest

import simlib
from book.chapters.policies import floors
from simlib.checks import InputError
from simlib.continuous.settings import Continuous
from simlib.latency import presets
from simlib.policies import batch_size
from simlib.policies.fair_share import FairShare
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.requests.clients import with_clients

MODEL = presets.load("h100x8-splitwise-llama2-70b")


def in_slices(arrival_s, work_s, servers, slice_s=0.001):
    """Shortest remaining work first in slices of time: completions in order."""
    left, done, now = np.asarray(work_s, float) / servers, [], 0
    while len(done) < len(left):
        here = [i for i in range(len(left)) if left[i] > 0 and arrival_s[i] <= now * slice_s + 1e-9]
        if here:
            best = min(here, key=lambda i: left[i])
            left[best] -= slice_s
            if left[best] <= 1e-9:
                left[best] = 0
                done.append((now + 1) * slice_s)
        now += 1
    return done


@pytest.mark.parametrize("seed", range(5))
def test_shortest_remaining_first_is_what_slices_of_time_give(seed):
    rng = np.random.default_rng(seed)
    arrival_s, work_s = np.sort(rng.integers(0, 300, 12)) / 1000, rng.integers(1, 60, 12) / 1000 * 2
    found = floors.completions_floor_s(arrival_s, work_s, np.zeros(12), servers=2)
    assert found == pytest.approx(in_slices(arrival_s, work_s, 2), abs=1e-6)


def test_nobody_is_done_sooner_than_alone():
    assert floors.completions_floor_s([0.0, 0.5], [0.1, 0.1], [2.0, 1.0]).tolist() == [1.5, 2.0]
    assert floors.mean_latency_floor_s([0.0, 0.5], [0.1, 0.1], [2.0, 1.0]) == 1.5


def test_work_is_the_best_share_of_a_batch():
    assert floors.batch_work_s([[1.0, 1.2, 3.0], [1.0, 3.0, 1.2]]) == pytest.approx([0.6, 0.4])


@pytest.mark.filterwarnings("ignore:latency")
@pytest.mark.parametrize("load", [0.3, 1.0, 3.0])
def test_every_policy_of_both_executions_lies_above_the_floor(load):
    table = with_clients(simlib.workload.original(300, seed=7, rate_rps=load), [3, 1, 1])
    table = table.with_predictions(table.output_tokens)
    prompt, output = table.prompt_tokens, table.output_tokens
    times_s = MODEL.model.batch_time_s(np.arange(1, 65), prompt[:, None], output[:, None])
    bounds = {
        "run_to_completion": (floors.batch_work_s(times_s), times_s[:, 0]),
        "continuous": floors.step_work_s(prompt, output, MODEL.step_law().params, 64),
    }
    rules = batch_size.Rules(b_max=64)
    for execution, (work_s, alone_s) in bounds.items():
        floor_s = floors.completions_floor_s(table.arrival_s, work_s, alone_s, 2)
        how = execution if execution == "run_to_completion" else Continuous(max_seqs=64)
        policies = [
            simlib.StaticFIFO(),
            simlib.MultiBinDynamic(variant=rules),
            FairShare(),
            ShortestPredictedFirst(None),
        ]
        for policy in policies:
            run = simlib.simulate(table, policy, MODEL, 2, how)
            assert (np.sort(run.times.completion_s) >= floor_s * (1 - 1e-9)).all()


def test_one_request_alone_meets_its_floor():
    table = simlib.RequestTable([1.0], [100], [20], [20])
    work_s, alone_s = floors.step_work_s([100], [20], MODEL.step_law().params, 64)
    run = simlib.simulate(table, "fcfs", MODEL.step_law(), execution=Continuous(max_seqs=64))
    floor_s = floors.completions_floor_s([1.0], work_s, alone_s)
    assert run.times.completion_s == pytest.approx(floor_s)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: floors.completions_floor_s([1.0, 0.0], [1, 1], [1, 1]), "arrival_s: not ascending"),
        (lambda: floors.completions_floor_s([1.0], [1, 1], [1]), "work_s: 2 of them"),
        (lambda: floors.completions_floor_s([1.0], [-1], [1]), "work_s"),
        (lambda: floors.mean_latency_floor_s([], [], []), "arrival_s"),
        (lambda: floors.completions_floor_s([1.0], [1], [1], 0), "servers: 0"),
        (lambda: floors.batch_work_s([1.0]), "times_s"),
        (lambda: floors.step_work_s([1], [1], (1, 0, 0, 0), 0), "seats: 0"),
        (lambda: floors.step_work_s([np.nan], [1], (1, 0, 0, 0), 1), "prompt_tokens"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
