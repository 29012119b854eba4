"""Priorities under continuous batching; what the engine does with them stands in `test_vllm_scheduler`."""

import numpy as np
import plain_blocks
import pytest
from step_cases import longest_tokens

import simlib
from simlib.continuous import columns as at
from simlib.continuous import loop
from simlib.continuous.priority import TIES, urgency
from simlib.continuous.running import victims
from simlib.continuous.serve import rules_of, served
from simlib.continuous.settings import Continuous
from simlib.continuous.state import ending, over
from simlib.policies.plan import Order

LAW = simlib.StepLaw(1.0)


def test_lower_ones_come_first_and_equal_ones_by_arrival():
    table = simlib.RequestTable([0.0, 0.5, 0.6, 0.7], [1] * 4, [2] * 4, priority=[0, 3, -1, 3])
    run = simlib.simulate(table, "priority", LAW, 1, Continuous(max_seqs=1))
    assert run.times.start_s.tolist() == [0.0, 4.0, 2.0, 6.0]


def test_who_is_less_urgent_loses_its_memory():
    """Two prompts of 2 tokens in 5 blocks of one: the second step has room for one, and the other starts again at 3."""
    table = simlib.RequestTable([0.0, 0.0], [2, 2], [3, 3], priority=[1, 0])
    run = simlib.simulate(table, "priority", LAW, 1, Continuous(2, 5, 1, 16))
    assert run.preemptions == 1
    assert run.times.completion_s.tolist() == [5.0, 3.0]


def test_at_one_moment_the_number_decides_as_text():
    table = simlib.RequestTable([0.0] * 12, [1] * 12, [1] * 12, priority=[0] * 12)
    ranks = urgency(table)
    assert len(set(ranks >> TIES)) == 1
    assert np.argsort(ranks).tolist() == [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]


def test_the_policy_needs_the_column():
    table = simlib.RequestTable([0.0], [1], [1])
    with pytest.raises(simlib.InputError, match="priority: missing column"):
        simlib.simulate(table, "priority", LAW, 1, Continuous())


def pressed(seed: int) -> tuple[simlib.RequestTable, Continuous, int]:
    """Requests of some classes that come faster than the memory of some GPUs can hold them."""
    rng = np.random.default_rng(seed)
    rows, block = int(rng.integers(20, 60)), int(rng.choice([1, 4, 16]))
    prompts, outputs = rng.integers(1, 60, rows), rng.integers(1, 80, rows)
    arrival_s = np.sort(np.round(rng.exponential(0.2, rows).cumsum(), int(rng.integers(0, 3))))
    table = simlib.RequestTable(arrival_s, prompts, outputs, priority=rng.integers(0, rng.integers(2, 5), rows))
    engine = Continuous(
        max_seqs=int(rng.choice([4, 8, 256])),
        kv_tokens=longest_tokens(prompts, outputs, block) * int(rng.integers(1, 4)),
        block_tokens=block,
        token_budget=int(rng.choice([16, 64, 2048])),
        steps_in_flight=int(rng.integers(1, 3)),
        reuse=bool(rng.random() < 0.5),
        whole_prompt=bool(rng.random() < 0.5),
        watermark=float(rng.choice([0.0, 0.05])),
    )
    return table, engine, int(rng.integers(1, 3))


def test_nobody_loses_its_memory_while_a_less_urgent_one_runs_and_a_class_is_first_come_first_served(monkeypatch):
    """Over random engines and tables; whoever is chosen to lose its memory is seen together with those that run."""
    seen, choose = [], victims.least_urgent

    def noted(gpu, ask, state):
        n, victim = state.numbers[gpu], choose(gpu, ask, state)
        request = n[at.NEWEST]
        while request >= 0:
            ended = over(request, state) and not ending(request, n, state)
            seen.append((ask.urgency[victim] >> TIES) - (ask.urgency[request] >> TIES) if not ended else 0)
            request = state.precedes[request]
        return victim

    monkeypatch.setattr(victims, "least_urgent", noted)
    preemptions = 0
    for seed in range(40):
        table, engine, gpus = pressed(seed)
        run = simlib.simulate(table, "priority", simlib.StepLaw(0.1, 1e-3, 1e-3), gpus, engine, backend="interpreted")
        preemptions += run.preemptions
        for priority in set(table.priority.tolist()):
            mine = np.flatnonzero(table.priority == priority)
            came_s, start_s = table.arrival_s[mine], run.times.start_s[mine]
            later = came_s[:, None] < came_s[None, :]
            assert (start_s[:, None] <= start_s[None, :])[later].all(), seed
        assert min(seen) >= 0, seed
    assert preemptions > 200 and max(seen) > 0


def test_whoever_has_waited_for_too_long_is_gone_however_urgent():
    """One seat, taken until 4: the most urgent one has waited for 3.5 s by then, more than clients do."""
    table = simlib.RequestTable([0.0, 0.5, 1.7, 1.8], [1] * 4, [4, 1, 1, 1], priority=[0, -1, 2, 1])
    run = simlib.simulate(table, "priority", LAW, 1, Continuous(max_seqs=1, timeout_s=3.4), backend="interpreted")
    assert run.abandoned == 1 and np.isnan(run.times.start_s[1])
    assert run.times.start_s[[0, 3, 2]].tolist() == [0.0, 4.0, 5.0]


def test_whole_prompts_by_priority():
    """Beside one that decodes 7 tokens are left: the more urgent prompt of 6 has them, the other one is next."""
    table = simlib.RequestTable([0.0, 0.5, 0.6], [1, 6, 6], [9, 1, 1], priority=[0, 2, 1])
    engine = Continuous(token_budget=8, block_tokens=1, prefill="mixed")
    run = simlib.simulate(table, "priority", LAW, 1, engine, backend="interpreted")
    assert run.times.start_s.tolist() == [0.0, 2.0, 1.0]


@pytest.mark.parametrize("finds", ["reuse", "prefix_cache"])
@pytest.mark.parametrize(
    ("block", "blocks", "arrival_ms", "prompts", "outputs", "priority"),
    [
        (1, 57, [4, 5, 6], [3, 7, 5], [36, 26, 25], [1, 1, 0]),
        (4, 4, [0, 3.4, 3.6, 4, 4.1, 4.2, 5.4, 10, 11], [1, 2, 2, 2, 1, 2, 1, 2, 2], [5, 7, 4, 2, 6, 3, 6, 0, 0],
         [1, 1, 0, 1, 1, -1, -1, -1, 0]),
    ],
    ids=["given a block for the next step", "paused for a step"],
)  # fmt: skip
def test_with_two_in_flight_a_victims_last_token_may_be_known(
    block, blocks, arrival_ms, prompts, outputs, priority, finds
):
    """It is if the victim had its block for the next step already, or was not in both of the last two."""
    shared = {"prefix_group": [0] * len(prompts), "prefix_tokens": [0] * len(prompts)}
    table = simlib.RequestTable(np.array(arrival_ms) / 1000, prompts, outputs, priority=priority, **shared)
    engine = Continuous(8, block * blocks, block, 40, steps_in_flight=2, **{finds: True})
    law, order = simlib.StepLaw(0.0078, 0.0001, 73e-6, 58e-9), Order(priority=True)
    ours, plain = (
        served(table, law, 1, rules_of(engine, law, 1, order), order, "interpreted")[1],
        plain_blocks.serve(table, law, engine, True),
    )
    np.testing.assert_allclose(ours.completion_s, plain.completion_s, rtol=1e-9)


def test_a_gpu_that_has_taken_memory_does_not_wait_for_an_arrival_that_goes_to_another():
    """It composes nothing in that instant, and the requests still to come are for the other GPU."""
    table = simlib.RequestTable(
        [0.0, 0.02, 0.02, 0.03, 0.04, 0.09], [3, 8, 3, 6, 7, 7], [2, 2, 4, 6, 7, 5], priority=[2, 1, 2, 2, 0, 1]
    )
    engine = simlib.Continuous(
        kv_tokens=13, block_tokens=1, whole_prompt=False, long_prefill_tokens=3, routing="least_requests"
    )
    run = simlib.simulate(table, "priority", simlib.StepLaw(0.01, 0, 0, 0), 2, engine, backend="interpreted")
    assert np.isfinite(run.times.completion_s).all()


def test_two_prompts_that_take_each_others_memory_for_ever_are_named(monkeypatch):
    table = simlib.RequestTable(np.zeros(2), np.array([24, 32]), np.array([11, 1]), priority=np.zeros(2, np.int64))
    engine = Continuous(kv_tokens=36, block_tokens=4, token_budget=32, whole_prompt=False, long_prefill_tokens=4)
    monkeypatch.setattr(loop, "WORK", 10_000)
    monkeypatch.setattr(victims, "MOST_PREEMPTIONS", 500)  # neither has all its blocks before the other one has some
    with pytest.raises(simlib.InputError, match="sequences take each other's memory for ever"):
        simlib.simulate(table, "priority", LAW, 1, engine, backend="interpreted")
