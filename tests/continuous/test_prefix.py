"""A live prefix cache: what is found, what is shared, what is evicted."""

import dataclasses

import numpy as np
import pytest

import simlib
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous

LAW = simlib.StepLaw(0.01, 2e-4, 1e-4, 1e-7)
CACHED = Continuous(prefix_cache=True)


def table(rows=60, **more):
    rng = np.random.default_rng(0)
    arrival_s = np.cumsum(rng.exponential(0.05, rows))
    return simlib.RequestTable(arrival_s, rng.integers(100, 600, rows), rng.integers(1, 100, rows), **more)


def grouped(rows=60):
    rng = np.random.default_rng(1)
    return table(rows, prefix_group=rng.integers(0, 4, rows), prefix_tokens=rng.integers(0, 100, rows))


def test_the_second_of_two_equal_prompts_computes_its_last_block_only():
    two = simlib.RequestTable([0.0, 1.0], [64, 64], [1, 1], block_ids=[[7, 8, 9, 10]] * 2)
    run = simlib.simulate(two, "fcfs", simlib.StepLaw(0.01, 0, 1e-3), 1, CACHED)
    assert run.prefix_hits.tolist() == [0, 48]
    assert run.times.completion_s.tolist() == pytest.approx([0.01 + 0.064, 1.01 + 0.016])


def test_a_block_after_another_one_is_another_block():
    two = simlib.RequestTable([0.0, 1.0], [48, 48], [1, 1], block_ids=[[7, 8, 9], [6, 8, 9]])
    assert simlib.simulate(two, "fcfs", LAW, 1, CACHED).prefix_hits.sum() == 0


@pytest.mark.parametrize("steps_in_flight", [1, 2])
@pytest.mark.parametrize("backend", ["interpreted", "compiled"])
def test_groups_are_a_short_way_to_say_block_ids(steps_in_flight, backend):
    short = grouped()
    ids = [
        [group if 16 * (place + 1) <= shared else 1000 + row for place in range(prompt // 16)]
        for row, (group, shared, prompt) in enumerate(
            zip(short.prefix_group, short.prefix_tokens, short.prompt_tokens, strict=True)
        )
    ]
    engine = dataclasses.replace(CACHED, max_seqs=16, kv_tokens=1920, token_budget=256, steps_in_flight=steps_in_flight)
    one, other = (serve(given, LAW, engine, 1, backend) for given in (short, table(block_ids=ids)))
    assert one.hits.sum() > 0
    assert np.array_equal(one.hits, other.hits)
    assert np.array_equal(one.completion_s, other.completion_s)


def test_block_ids_may_go_on_over_what_is_generated():
    rows = {"arrival_s": [0.0, 1.0], "prompt_tokens": [40, 80], "output_tokens": [30, 1]}
    prompts, whole = ([[1, 2], [1, 2, 3, 4, 5]], [[1, 2, 3, 4], [1, 2, 3, 4, 5]])
    for ids in (prompts, whole):
        run = simlib.simulate(simlib.RequestTable(**rows, block_ids=ids), "fcfs", LAW, 1, CACHED)
        assert run.prefix_hits[1] >= 32
    said = "block_ids, row 0: 3 blocks .expected 2, for full blocks of 16 of its 40 prompt tokens, or 4 with"
    with pytest.raises(simlib.InputError, match=said):
        simlib.simulate(simlib.RequestTable(**rows, block_ids=[[1, 2, 3], whole[1]]), "fcfs", LAW, 1, CACHED)


def test_without_anything_in_common_a_large_cache_changes_nothing():
    with_it, without = (
        serve(table(), LAW, Continuous(prefix_cache=cache), 1, "interpreted") for cache in (True, False)
    )
    assert np.array_equal(with_it.completion_s, without.completion_s)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"block_ids": [[1]] * 60}, "block_ids, row 0"),
        ({"block_ids": [[-1]] * 60}, "block_ids, row 0"),
        ({"block_ids": [[0.5]] * 60}, "block_ids, row 0"),
        ({"block_ids": [[1]] * 3}, "block_ids: 3 rows"),
        ({"prefix_group": [1] * 60}, "prefix_tokens: missing"),
        ({"prefix_group": [1] * 60, "prefix_tokens": [10**6] * 60}, "prefix_tokens, row 0"),
        ({"priority": [0.5] * 60}, "priority, row 0"),
    ],
)
def test_what_is_no_content_is_said_before_the_run(columns, message):
    with pytest.raises(simlib.InputError, match=message):
        simlib.simulate(table(**columns), "fcfs", LAW, 1, CACHED)
