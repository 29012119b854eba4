"""Routers that know prefixes: against plain engines whose caches are looked into, and by hand."""

import dataclasses

import numpy as np
import plain_blocks
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from step_cases import LAWS, longest_tokens

import simlib
from simlib.continuous.serve import rules_of, served
from simlib.continuous.settings import Continuous
from simlib.policies.plan import Order

CACHED = Continuous(block_tokens=4, token_budget=64, prefix_cache=True, routing="prefix")


@st.composite
def routed(draw):
    """A table of few groups, 2 or 3 GPUs whose caches hardly hold it, and whether with priorities.

    Steps of a 64th of a second meet arrivals at the same instant, to the last bit.
    """
    rows, rng = draw(st.integers(2, 40)), np.random.default_rng(draw(st.integers(0, 2**32)))
    gaps = rng.exponential(draw(st.sampled_from([0.002, 0.02, 0.1])), rows) * (rng.random(rows) < 0.8)
    law = draw(st.sampled_from([LAWS[0], simlib.StepLaw(2**-6)]))
    if law.params[1] == 0:
        gaps = np.round(gaps * 2**6) / 2**6
    priority = draw(st.booleans())
    if priority:  # nobody comes at the instant of another one, whose number would decide
        gaps = np.maximum(gaps, 2**-6)
    prompts, outputs = rng.integers(1, 60, rows), rng.integers(1, draw(st.sampled_from([4, 80])), rows)
    table = simlib.RequestTable(
        np.cumsum(gaps),
        prompts,
        outputs,
        priority=rng.integers(-1, 2, rows),
        prefix_group=rng.integers(0, draw(st.integers(1, 6)), rows),
        prefix_tokens=np.minimum(prompts, rng.integers(0, 60, rows)),
    )
    by_cost = draw(st.booleans())
    engine = dataclasses.replace(
        CACHED,
        max_seqs=draw(st.sampled_from([1, 2, 5, 40])),
        kv_tokens=int(longest_tokens(prompts, outputs, 4) * draw(st.sampled_from([1, 2, 4, 20]))),
        steps_in_flight=draw(st.integers(1, 2)),
        routing="prefix_cost" if by_cost else "prefix",
        overlap_score_weight=draw(st.sampled_from([None, 0.0, 0.3, 4.0])) if by_cost else None,
    )
    return table, law, engine, draw(st.integers(2, 3)), priority


def run(table, law, engine, gpus, priority=False, backend="interpreted"):
    order = Order(priority=priority)
    return served(table, law, gpus, rules_of(engine, law, gpus, order), order, backend)[1]


def contents(table, row, block=4):
    """What each full block of a prompt contains, as others would know it."""
    shared = table.prefix_tokens[row] // block
    blocks = range(table.prompt_tokens[row] // block)
    return [(table.prefix_group[row], k) if k < shared else (row, k, "alone") for k in blocks]


def best(table, engine, fast, row, found, gpus):
    """The GPU that the rule names, from what the plain engines held and what the requests before it had come to."""
    now_s, tokens, before = table.arrival_s[row], table.prompt_tokens, np.arange(row)
    scores = []
    for gpu in range(gpus):
        here = before[fast.gpu[:row] == gpu]
        live = here[fast.completion_s[here] > now_s]
        if engine.routing == "prefix":
            scores.append((-found[row, gpu], len(live)))
            continue
        unread = live[fast.first_token_s[live] > now_s]
        to_prefill = sum(tokens[i] - 4 * found[i, gpu] for i in [*unread, row])
        asked = len({what for i in [*live, row] for what in contents(table, i)})
        asked += sum(tokens[i] % 4 > 0 for i in [*live, row])
        weight = 1.0 if engine.overlap_score_weight is None else engine.overlap_score_weight
        scores.append((weight * (to_prefill / 4) + asked,))
    return min(range(gpus), key=scores.__getitem__)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(routed())
def test_each_request_goes_where_the_rule_says_and_each_gpu_serves_as_one_alone(case):
    table, law, engine, gpus, priority = case
    fast, found = run(*case), np.zeros((len(table), gpus), int)
    for gpu in range(gpus):
        rows = np.flatnonzero(fast.gpu == gpu)
        if len(rows) == 0:
            continue
        most = np.minimum(table.prefix_tokens, table.prompt_tokens - 1) // 4
        looks = [[at_s, contents(table, i)[: most[i]]] for i, at_s in enumerate(table.arrival_s)]
        plain = plain_blocks.serve(table.rows(rows), law, engine, priority, looks)
        found[:, gpu] = [count for _, count in looks]
        for column in ("start_s", "first_token_s", "completion_s"):
            np.testing.assert_allclose(getattr(fast, column)[rows], getattr(plain, column), rtol=1e-9, err_msg=column)
    assert [best(table, engine, fast, row, found, gpus) for row in range(len(table))] == fast.gpu.tolist()


def test_most_cached_blocks_come_before_least_load():
    """Four prompts of one content stay where the first one is; one of another content goes where nobody is."""
    table = simlib.RequestTable(np.arange(5) / 100, [64] * 5, [50] * 5, block_ids=[[0] * 16] * 3 + [[1] * 16, [0] * 16])
    assert run(table, LAWS[1], CACHED, 3).gpu.tolist() == [0, 0, 0, 1, 0]


@pytest.mark.parametrize(("weight", "gpu"), [(0.0, 1), (0.6, 1), (0.7, 0), (None, 0)])
def test_a_weight_says_what_a_block_to_compute_counts_against_one_in_use(weight, gpu):
    """GPU 0 has prompts of 16 and 30 blocks, GPU 1 one of 20, all computed. The first one's content comes again.

    On GPU 0 its last block is to be computed, and none more will be in use: w + 46. On GPU 1: 16 w + 20 + 16.
    """
    ids = [[*range(16)], [*range(100, 120)], [*range(200, 230)], [*range(16)]]
    table = simlib.RequestTable([0.0, 1e-3, 0.3, 0.6], [64, 80, 120, 64], [500] * 4, block_ids=ids)
    engine = dataclasses.replace(CACHED, token_budget=512, routing="prefix_cost", overlap_score_weight=weight)
    assert run(table, LAWS[1], engine, 2).gpu.tolist() == [0, 1, 0, gpu]


@pytest.mark.parametrize("routing", ["prefix", "prefix_cost"])
def test_compiled_and_interpreted_routers_agree_to_the_last_bit(routing):
    rng = np.random.default_rng(3)
    prompts, groups = rng.integers(20, 200, 300), rng.integers(0, 12, 300)
    table = simlib.RequestTable(
        np.cumsum(rng.exponential(0.01, 300)),
        prompts,
        rng.integers(1, 60, 300),
        prefix_group=groups,
        prefix_tokens=prompts // 2,
    )
    engine = dataclasses.replace(CACHED, kv_tokens=2000, max_seqs=16, routing=routing)
    one, other = (run(table, LAWS[0], engine, 3, backend=backend) for backend in ("interpreted", "compiled"))
    assert one.gpu.tobytes() == other.gpu.tobytes() and len(set(one.gpu)) == 3
    assert one.completion_s.tobytes() == other.completion_s.tobytes()


def test_with_one_gpu_there_is_nothing_to_choose():
    table = simlib.RequestTable([0.0, 0.1], [64, 64], [5, 5], block_ids=[[7] * 16] * 2)
    one, other = (run(table, LAWS[0], dataclasses.replace(CACHED, routing=name), 1) for name in ("prefix", "shared"))
    assert one.completion_s.tolist() == other.completion_s.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"routing": "prefix"}, "routing: 'prefix' .expected prefix_cache beside it"),
        ({"routing": "prefix_cost"}, "routing: 'prefix_cost' .expected prefix_cache beside it"),
        (
            {"prefix_cache": True, "overlap_score_weight": 2.0},
            "overlap_score_weight: 2 .expected routing 'prefix_cost'",
        ),
        ({"prefix_cache": True, "routing": "prefix_cost", "overlap_score_weight": -1.0}, "overlap_score_weight: -1"),
    ],
)
def test_a_router_that_cannot_be_is_refused(change, message):
    with pytest.raises(simlib.InputError, match=message):
        Continuous(**change)
