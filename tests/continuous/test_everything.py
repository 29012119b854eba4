"""All rules at once: cache, priorities, routers, two steps in flight, clients that wait; what no run may break."""

import dataclasses
from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from step_cases import LAWS, longest_tokens

import simlib
from simlib.continuous import columns as at
from simlib.continuous import loop
from simlib.continuous.running import copies
from simlib.continuous.running.line import evict
from simlib.continuous.serve import rules_of, served
from simlib.continuous.settings import ROUTING, Continuous
from simlib.continuous.state import REQUEST_MASK, blocks_of
from simlib.policies.plan import Order

CHECKED = settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def cases(draw):
    """A table with contents, priorities and followers; an engine whose cache hardly holds its longest; GPUs; order."""
    rows, rng = draw(st.integers(1, 30)), np.random.default_rng(draw(st.integers(0, 2**32)))
    arrival_s = np.cumsum(rng.exponential(draw(st.sampled_from([0.002, 0.05])), rows) * (rng.random(rows) < 0.8))
    prompts, outputs = rng.integers(1, 60, rows), rng.integers(1, draw(st.sampled_from([4, 60])), rows)
    previous = np.full(rows, -1)
    if draw(st.booleans()):  # some wait for an answer, each for one of its own
        follows = np.flatnonzero(rng.random(rows) < 0.5)
        previous[follows] = np.maximum(follows - rng.integers(1, 4, len(follows)), -1)
        previous[np.setdiff1d(np.arange(rows), np.unique(previous, return_index=True)[1])] = -1
    table = simlib.RequestTable(
        arrival_s,
        prompts,
        outputs,
        priority=rng.integers(-1, 2, rows),
        prefix_group=rng.integers(0, draw(st.integers(1, 4)), rows),
        prefix_tokens=np.minimum(prompts, rng.integers(0, 60, rows)),
        previous=previous,
        think_s=np.where(previous >= 0, arrival_s - arrival_s[previous], 0.0),
    )
    block = draw(st.sampled_from([1, 4, 16]))
    engine = Continuous(
        max_seqs=draw(st.sampled_from([1, 3, 40])),
        kv_tokens=int(longest_tokens(prompts, outputs, block) * draw(st.sampled_from([1, 1.5, 3, 20]))),
        block_tokens=block,
        token_budget=draw(st.sampled_from([16, 64, 2048])),
        steps_in_flight=draw(st.integers(1, 2)),
        watermark=draw(st.sampled_from([0.0, 0.05])),
        routing=draw(st.sampled_from([name for name in ROUTING if name != "by_class"])),
        prefix_cache=True,
    )
    return table, engine, draw(st.integers(1, 3)), Order(priority=draw(st.booleans()))


def run(case, backend="interpreted"):
    table, engine, gpus, order = case
    return served(table, LAWS[0], gpus, rules_of(engine, LAWS[0], gpus, order), order, backend)[1]


def in_memory(gpu, ask, state):
    """Tokens in memory of each sequence that has some, before a step is composed."""
    n, tokens, request = state.numbers[gpu], {}, state.numbers[gpu, at.NEWEST]
    ends = {int(key & REQUEST_MASK): key >> 32 for key in state.heap[gpu, : n[at.DECODES]]}
    while request >= 0:
        last = ask.prompt_tokens[request] + max(ask.output_tokens[request] - 1, 0)
        tokens[int(request)] = last - (ends[request] - n[at.STEP]) if request in ends else last
        request = state.precedes[request]
    if n[at.PARTIAL] >= 0:
        tokens[int(n[at.PARTIAL])] = n[at.COMPUTED]
    for request in state.begun[gpu, : n[at.BEGUN]] if len(state.begun) else ():
        tokens[int(request)] = state.computed[request]
    return tokens


def whole(gpu, ask, state, rules):
    """Every block is free or used, once: those of running sequences, shared ones counted once, and the free line."""
    evict(gpu, ask, state, rules)
    n, tokens = state.numbers[gpu], in_memory(gpu, ask, state)
    places = {r: range(min(ask.listed[r], t >> rules.bits)) for r, t in tokens.items()}
    content = {r: [int(ask.contents[ask.first[r] + place]) for place in places[r]] for r in tokens}
    users = Counter()
    for request, row in content.items():
        assert state.shown[request] >= len(row) or not rules.answers
        for what in row[: state.shown[request]]:
            copy = copies.made_by(request, what, gpu, state) if state.users[gpu, what] >= copies.SEVERAL else -1
            users[what, copy] += 1
    for (what, copy), count in users.items():
        assert (copies.used_by(state.users[gpu, what]) if copy < 0 else state.copies[gpu, copy, copies.USERS]) == count
    shown = sum(min(state.shown[r], len(places[r])) for r in tokens)
    used = sum(blocks_of(t, rules.bits) for t in tokens.values()) - shown + len(users)
    assert n[at.USED] == used <= rules.blocks
    free, mask = 0, state.line.shape[1] - 1
    for record in (state.line[gpu, place & mask] for place in range(n[at.OLDEST], n[at.LATEST])):
        request, number, own, listed = record
        free += state.filled[request] if state.place[request] == number else own
        for what in ask.contents[ask.first[request] : ask.first[request] + listed]:
            if copies.used_by(state.users[gpu, what]) == 0 and state.mark[gpu, what] == number:
                free += 1
            elif state.users[gpu, what] >= copies.SEVERAL:
                free += copies.freed_with(number, what, gpu, state) >= 0
    assert free == n[at.HOLDING] <= rules.blocks - n[at.USED]


@CHECKED
@given(cases())
def test_no_block_is_lost_or_given_twice(case):
    compose, seen = loop.compose, []

    def looked_at(gpu, ask, lines, state, rules, *functions):
        whole(gpu, ask, state, rules)
        seen.append(gpu)
        return compose(gpu, ask, lines, state, rules, *functions)

    loop.compose = looked_at
    try:
        run(case)
    finally:
        loop.compose = compose
    assert seen


@CHECKED
@given(cases())
def test_everybody_is_served_once_in_order_and_compiled_as_interpreted(case):
    table, engine, gpus, order = case
    one, other = run(case), run(case, "compiled")
    for column in ("start_s", "first_token_s", "completion_s", "gpu", "hits", "gaps", "arrival_s"):
        assert getattr(one, column).tobytes() == getattr(other, column).tobytes(), column
    came_s, n = one.arrival_s, dict(zip(at.NUMBERS, one.numbers.T, strict=True))
    assert np.isfinite(one.completion_s).all() and (one.start_s >= came_s).all()
    waits = np.flatnonzero(table.previous >= 0)
    before = table.previous[waits]
    np.testing.assert_allclose(came_s[waits], np.maximum(one.completion_s[before] + table.think_s[waits], 0))
    needed = int((table.prompt_tokens + table.output_tokens - 1).sum())
    assert n["sum_prefill"].sum() + n["sum_decodes"].sum() == needed + n["recomputed"].sum() - one.hits.sum()
    assert one.gaps.sum() == (table.output_tokens - 1).sum()
    lines = one.gpu if engine.routing != "shared" and gpus > 1 else np.zeros(len(table), int)
    classes = table.priority if order.priority else np.zeros(len(table), int)
    for line in set(lines):  # who came earlier starts no later
        for level in set(classes):
            rows = np.flatnonzero((lines == line) & (classes == level))
            starts = one.start_s[rows[np.lexsort((one.start_s[rows], came_s[rows]))]]
            assert (np.diff(starts) >= 0).all()
    if n["preemptions"].sum() == 0:  # Little's law on each GPU: seats in time are residences
        for gpu in range(gpus):
            residence_s = (one.completion_s - one.start_s)[one.gpu == gpu].sum()
            np.testing.assert_allclose(one.totals_s[gpu, at.SEAT_TIME], residence_s, rtol=1e-9, atol=1e-12)


@CHECKED
@given(cases())
def test_a_cache_that_never_forgets_saves_what_the_shared_prefixes_say(case):
    """Each block that others filled before is found; only those computed at the same time are computed twice."""
    table, engine, _, _ = case
    table = dataclasses.replace(table, arrival_s=np.arange(len(table)) * 100.0, previous=None, think_s=None)
    found = run((table, dataclasses.replace(engine, kv_tokens=None, routing="shared"), 1, Order())).hits
    longest = Counter()
    for row, (group, tokens) in enumerate(zip(table.prefix_group, table.prefix_tokens, strict=True)):
        blocks = min(tokens, longest[group], table.prompt_tokens[row] - 1) // engine.block_tokens
        assert found[row] == blocks * engine.block_tokens
        longest[group] = max(longest[group], tokens)
