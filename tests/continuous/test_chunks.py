"""Several prompts that are begun, in small numbers; the block-by-block twin has them in `test_settings`."""

import pytest

import simlib
from simlib.continuous.settings import Continuous

LAW = simlib.StepLaw(1.0)


def shapes(table, policy="fcfs", backend="interpreted", **settings):
    run = simlib.simulate(
        table, policy, LAW, 1, Continuous(block_tokens=1, token_budget=8, **settings), backend=backend
    )
    return run.steps[["decodes", "prefill_tokens"]].to_numpy().tolist(), run


@pytest.mark.parametrize("backend", ["interpreted", "compiled"])
def test_chunks_are_cut_so_that_two_prompts_advance_at_once(backend):
    """Prompts of 10 and 4 tokens, cut to 3, of 8 in a step: 3 + 3, 3 + 1, a decode and 3, and the last one alone."""
    table = simlib.RequestTable([0.0, 0.0], [10, 4], [1, 2])
    steps, run = shapes(table, long_prefill_tokens=3, backend=backend)
    assert steps == [[0, 6], [0, 4], [1, 3], [0, 1]]
    assert run.times.first_token_s.tolist() == [4.0, 2.0]
    assert shapes(table)[0] == [[0, 8], [0, 6], [1, 0]]


def test_who_is_alone_is_not_cut():
    """A prompt of 12 begins alone with 8 of them; beside another one it takes 3 a step."""
    assert shapes(simlib.RequestTable([0.0, 0.5], [12, 1], [1, 1]), long_prefill_tokens=3)[0] == [
        [0, 8],
        [0, 4],
        [0, 1],
    ]
    assert shapes(simlib.RequestTable([0.0, 0.0], [12, 1], [1, 1]), long_prefill_tokens=3)[0][0] == [0, 4]
    assert shapes(simlib.RequestTable([0.0], [12], [1]), long_prefill_tokens=3)[0] == [[0, 8], [0, 4]]


def test_the_newest_of_those_that_are_begun_loses_its_memory():
    """Two prompts of 6 in 8 blocks, cut to 3: the second one's third token has no room once both have 3 and 4."""
    table = simlib.RequestTable([0.0, 0.0], [6, 6], [1, 1])
    steps, run = shapes(table, long_prefill_tokens=3, kv_tokens=8, whole_prompt=False)
    assert run.preemptions == 1
    assert steps == [[0, 6], [0, 3], [0, 6]]


def test_a_cut_needs_chunks():
    with pytest.raises(simlib.InputError, match=r"long_prefill_tokens: 3 .*'chunked'"):
        Continuous(long_prefill_tokens=3, prefill="mixed")
    with pytest.raises(simlib.InputError, match="long_prefill_tokens: -1"):
        Continuous(long_prefill_tokens=-1)
