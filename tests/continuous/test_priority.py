"""Priorities under continuous batching; what the engine does with them stands in `test_vllm_scheduler`."""

import pytest

import simlib
from simlib.continuous.settings import Continuous

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


def test_the_policy_needs_the_column():
    table = simlib.RequestTable([0.0], [1], [1])
    with pytest.raises(simlib.InputError, match="priority: missing column"):
        simlib.simulate(table, "priority", LAW, 1, Continuous())
