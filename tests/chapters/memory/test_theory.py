"""Capacity under a memory limit, against cases that are worked by hand."""

import numpy as np
import pytest

from book.chapters.memory import theory
from simlib.checks import InputError
from simlib.theory.steps import residency


def test_a_life_is_chunks_of_the_prompt_and_a_token_a_step():
    """Prompt 5 in chunks of 2: 2, 4, 5; then 6, 7: 24 in all. In one step: 5, 6, 7."""
    assert theory.lifetime_tokens([5], [2], chunk_tokens=2).tolist() == [24.0]
    assert theory.lifetime_tokens([5], [2]).tolist() == [18.0]
    assert theory.lifetime_tokens([4], [1], chunk_tokens=2).tolist() == [2 + 4 + 5]


def test_an_engine_whose_last_chunk_gives_a_token_needs_one_step_fewer():
    assert theory.lifetime_tokens([5], [2])[0] - residency([5], [2], block_tokens=1)[0] == 5 + 2


def test_the_service_rate_by_hand():
    """A mean of 18 and 46 tokens times steps: 32 of them fill 1,024 for a step of 0.5 s: two rates of 32."""
    assert theory.service_rate_rps([5, 10], [2, 3], 1024, 0.5) == 64.0


def test_what_is_together_serves_half_of_what_is_spread_if_prompts_are_short():
    share = [theory.together_per_step(1, o, 1e9) / theory.spread_per_step(1, o, 1e9) for o in (1, 10, 10_000)]
    assert share[0] == 1.0 and share[1] == pytest.approx(6.5 / 11) and share[2] == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(("prompt", "output"), [(1, 2), (3, 4), (100, 20), (1, 50)])
def test_equal_requests_that_start_over_end_in_the_worst_cycle(prompt, output):
    room = 60.0 * (prompt + output)
    run = theory.restarted(prompt, output, room, 10 * output)
    assert run.completed[output:].mean() == pytest.approx(theory.together_per_step(prompt, output, room))
    assert run.running[:output].tolist() == pytest.approx(run.running[-output:].tolist())


def test_two_classes_by_hand():
    """Room for 12, prompt 1, outputs 1 and 2, half each: 6 begin, 3 end; the others' 3 grow to 9, and 1.5 begin."""
    run = theory.restarted(1, (1, 2), 12.0, steps=2)
    assert run.running.tolist() == [6.0, 4.5]
    assert run.completed.tolist() == [3.0, 3.75]
    assert run.evicted.tolist() == [0.0, 0.0]


def test_long_prompts_with_coprime_outputs_end_without_evictions():
    coprime, even = (theory.restarted(1000, pair, 50_000.0, 4000) for pair in ((5, 6), (4, 6)))
    assert coprime.evicted[2000:].sum() == 0 < even.evicted[2000:].sum()
    assert np.ptp(coprime.running[2000:]) < 1e-6 < np.ptp(even.running[2000:])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: theory.lifetime_tokens([1, 2], [1]), "output_tokens: 1 of them"),
        (lambda: theory.service_rate_rps([1], [1], 0.0, 1.0), "memory_tokens"),
        (lambda: theory.service_rate_rps([1], [1], 9.0, 0.0), "step_s"),
        (lambda: theory.spread_per_step(5, 5, 9.0), "memory_tokens"),
        (lambda: theory.together_per_step(5, 0, 9.0), "output_tokens"),
        (lambda: theory.restarted(1, 2, 9.0, 0), "steps"),
        (lambda: theory.restarted(1, (2, 3), 9.0, 5, share=(-1.0, 2.0)), "share"),
        (lambda: theory.restarted(1, (2, 3), 9.0, 5, share=(1.0,)), "share"),
        (lambda: theory.restarted(1, (2, 3), 9.0, 5, share=(0.0, 0.0)), "share"),
    ],
)
def test_bad_input_is_named(call, told):
    with pytest.raises(InputError, match=told):
        call()
