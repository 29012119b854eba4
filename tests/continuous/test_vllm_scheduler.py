"""What vLLM's own scheduler does with the same requests, step by step: runs recorded from it, without a model."""

import dataclasses

import pytest

from benchmarks.conformance import scheduler_steps

MODES = ("sync", "async", "sync_reuse", "async_reuse", "priority", "shared_prefix")


@pytest.fixture(scope="module")
def cases(data_dir):
    return scheduler_steps.read(data_dir / "vllm-scheduler" / "steps.json.gz")


def test_there_are_twenty_runs_of_each_mode(cases):
    assert [case.mode for case in cases] == [MODES[number % 6] for number in range(120)]


@pytest.mark.parametrize("number", range(120))
def test_every_step_and_every_time_is_that_of_vllms_scheduler(cases, number):
    assert scheduler_steps.compare(cases[number]).equal


@pytest.mark.parametrize("number", [number for number in range(120) if MODES[number % 6].endswith("reuse")])
def test_whoever_lost_its_memory_finds_it_again_without_a_cache_of_contents(cases, number):
    engine = dataclasses.replace(cases[number].engine, reuse=True, prefix_cache=False)
    assert scheduler_steps.compare(dataclasses.replace(cases[number], engine=engine)).equal
