"""The floor of the steps: by counting, by hand, and under every run."""

import dataclasses

import numpy as np
import pytest
from strategies import LAW, geometric_requests

import simlib
from book.chapters.continuous import bounds
from book.chapters.continuous.bounds import bound_of
from simlib.continuous.settings import Continuous
from simlib.theory import steps


@pytest.mark.parametrize("block", [1, 16])
@pytest.mark.parametrize("reserve", [False, True])
def test_residency_counts_blocks_token_by_token(block, reserve):
    prompts, outputs = np.meshgrid([0, 1, 15, 16, 17, 100], [0, 1, 2, 16, 17, 90])
    prompts, outputs = prompts.ravel(), outputs.ravel()
    counted = []
    for prompt, output in zip(prompts, outputs, strict=True):
        tokens = [prompt + token for token in range(max(output, 1))]
        held = [max(tokens)] * len(tokens) if reserve else tokens
        counted.append(sum(-(-int(t) // block) for t in held))
    assert steps.residency(prompts, outputs, block, reserve).tolist() == counted


def test_work_and_floors_by_hand():
    # Decodes of 3 and 1 tokens at contexts 11, 12, 13 and 5.
    assert steps.work([10, 4], [4, 2]) == (4.0, 14.0, 41.0)
    shares = steps.floors([16, 16], [3, 5], seats=4, blocks=2, token_budget=19)
    assert shares["places"].tolist() == [0.75, 1.25]
    assert shares["memory"].tolist() == [2.5, 4.5]  # one block with the prompt, two from the first decode on
    assert shares["tokens"].sum() == 2.0


POLICIES = ["fcfs", simlib.MultiBinDynamic(4), simlib.ShortestPredictedFirst(None), simlib.StaticFIFO(5)]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: getattr(policy, "name", policy))
@pytest.mark.parametrize("prefill", ["chunked", "mixed", "first"])
@pytest.mark.parametrize("reserve", [False, True])
@pytest.mark.parametrize("routing", ["shared", "by_class"])
def test_no_run_is_below_its_floor(policy, prefill, reserve, routing):
    engine = Continuous(max_seqs=16, kv_tokens=2400, prefill=prefill, reserve=reserve, routing=routing)
    found = bound_of(simlib.simulate(geometric_requests(3, 400), policy, LAW, 2, engine))
    assert found.least_steps <= found.steps
    assert 0 <= found.most_gain < 1
    assert found.recompute_s == 0 or not reserve


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("reserve", [False, True])
def test_what_lies_in_anothers_blocks_is_not_in_the_floor(share, reserve):
    """Half of each prompt is cached, memory is short: a floor that counts lent blocks is above the run."""
    drawn = geometric_requests(3, 400)
    table = dataclasses.replace(drawn, cached_prompt_tokens=drawn.prompt_tokens // 2)
    engine = Continuous(max_seqs=256, kv_tokens=1200, reserve=reserve, share_cached=share, reuse=True)
    found = bound_of(simlib.simulate(table, "fcfs", LAW, 1, engine))
    alone = bound_of(simlib.simulate(drawn, "fcfs", LAW, 1, dataclasses.replace(engine, share_cached=False)))
    assert found.binding == "memory" and found.least_steps <= found.steps
    assert (found.least_steps < alone.least_steps) == share


def test_steps_that_are_always_full_are_at_the_floor():
    """Equal requests, all at once, as many as the places: nothing can be saved."""
    table = simlib.RequestTable(np.zeros(64), np.ones(64), np.full(64, 50))
    found = bound_of(simlib.simulate(table, "fcfs", LAW, 1, Continuous(max_seqs=16)))
    assert found.binding == "places"
    assert found.steps == found.least_steps == 200
    assert found.most_gain == pytest.approx(0)


def test_a_run_below_the_floor_raises(monkeypatch):
    run = simlib.simulate(geometric_requests(3, 400), "fcfs", LAW, 1, Continuous(max_seqs=16))
    true = steps.floors
    monkeypatch.setattr(bounds, "floors", lambda *a: {name: 9 * share for name, share in true(*a).items()})
    with pytest.raises(RuntimeError, match="no fewer than the floor"):
        bound_of(run)


def test_other_runs_are_refused():
    with pytest.raises(simlib.InputError, match="continuous batching"):
        bound_of(simlib.simulate(geometric_requests(3, 400), "static_fifo"))
    with pytest.raises(simlib.InputError, match="output_tokens"):
        steps.work([1, 2], [3])
    with pytest.raises(simlib.InputError, match="prompt_tokens"):
        steps.residency([-1], [3])
    with pytest.raises(simlib.InputError, match="seats"):
        steps.floors([1], [3], 0, 1)
