"""A live prefix cache: what is found, what is shared, what is evicted."""

import dataclasses
import itertools
import warnings
from collections import OrderedDict

import numpy as np
import plain_blocks
import pytest

import simlib
from simlib.continuous import columns as at
from simlib.continuous.columns import NUMBERS
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
    for ids, hits in ((prompts, 32), (whole, 64)):  # the last token generated has no place: 69 of 70 tokens
        run = simlib.simulate(simlib.RequestTable(**rows, block_ids=ids), "fcfs", LAW, 1, CACHED)
        assert run.prefix_hits.tolist() == [0, hits]
    said = "block_ids, row 0: 3 blocks .expected 2, for full blocks of 16 of its 40 prompt tokens, or 4 with"
    with pytest.raises(simlib.InputError, match=said):
        simlib.simulate(simlib.RequestTable(**rows, block_ids=[[1, 2, 3], whole[1]]), "fcfs", LAW, 1, CACHED)


def conversations(rng, sessions, turns, block_tokens=4):
    """Turns that begin with all that was said before, and all of them with the same 8 tokens."""
    rows = []
    for session in range(sessions):
        said, arrival_s = 8, rng.random() * 0.3
        for _ in range(turns):
            prompt, output = said + int(rng.integers(1, 20)), int(rng.integers(1, 40))
            said, blocks = prompt + output, (prompt + output) // block_tokens
            ids = [place if 4 * place < 8 else 1000 * session + place for place in range(blocks)]
            rows.append((arrival_s, prompt, output, ids))
            arrival_s += 2.0 + rng.random()
    rows.sort(key=lambda row: row[0])
    arrival_s, prompts, outputs, ids = zip(*rows, strict=True)
    return simlib.RequestTable(arrival_s, prompts, outputs, block_ids=ids)


@pytest.mark.parametrize("steps_in_flight", [1, 2])
def test_conversations_find_what_they_generated_as_block_by_block(steps_in_flight):
    rng, hits, preemptions = np.random.default_rng(11), 0, 0
    for _ in range(30):
        table = conversations(rng, int(rng.integers(2, 7)), int(rng.integers(1, 4)))
        longest = int((table.prompt_tokens + table.output_tokens).max()) + 4
        engine = Continuous(8, int(longest * rng.choice([1, 1.5, 2])), 4, 40, prefix_cache=True,
                            steps_in_flight=steps_in_flight)  # fmt: skip
        fast, plain = serve(table, LAW, engine, 1, "interpreted"), plain_blocks.serve(table, LAW, engine)
        assert (fast.completion_s < table.arrival_s + 2.0).all()  # no turn comes before the answer to the one before
        np.testing.assert_allclose(fast.completion_s, plain.completion_s, rtol=1e-9)
        assert fast.numbers[0, at.SUM_PREFILL] == plain.prefill
        hits, preemptions = hits + fast.hits.sum(), preemptions + plain.preemptions
    assert hits > 1000 and preemptions > 20


def test_one_that_runs_finds_what_another_one_generates_meanwhile():
    # The 17th step, from 0.16 s on, is the 16th decode: it completes the second block.
    for arrival_s, found in ((0.145, 16), (0.155, 32)):
        twins = simlib.RequestTable([0.0, arrival_s], [16, 40], [60, 1], block_ids=[[1, 2, 3, 4], [1, 2]])
        assert serve(twins, simlib.StepLaw(0.01), CACHED, 1, "interpreted").hits.tolist() == [0, found]


@pytest.mark.parametrize("steps_in_flight", [1, 2])
def test_answers_that_nobody_else_has_are_found_as_if_nobody_had_said_what_they_are(steps_in_flight):
    rng, given = np.random.default_rng(2), table()
    engine = dataclasses.replace(CACHED, max_seqs=16, kv_tokens=1920, token_budget=256, steps_in_flight=steps_in_flight)
    prompts = [rng.integers(0, 3, tokens // 16).tolist() for tokens in given.prompt_tokens]
    whole = [
        [*ids, *range(1000 * row + 1000, 1000 * row + 1000 + (prompt + output) // 16 - len(ids))]
        for row, (ids, prompt, output) in enumerate(zip(prompts, given.prompt_tokens, given.output_tokens, strict=True))
    ]
    one, other = (serve(table(block_ids=ids), LAW, engine, 1, "interpreted") for ids in (prompts, whole))
    assert one.numbers[0, NUMBERS.index("preemptions")] > 0
    assert np.allclose(one.completion_s, other.completion_s, rtol=0, atol=1e-9)  # steps are added up one by one


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


# Hits of requests that come one at a time, against a count of their own

ALONE = simlib.StepLaw(1e-3, 0, 0)


@pytest.fixture
def mooncake(data_dir):
    path = data_dir / "mooncake" / "synthetic_trace.jsonl.gz"
    if not path.exists():
        pytest.skip("needs Mooncake's synthetic trace: mooncake/synthetic_trace.jsonl.gz is not in the shared data")
    return path


def one_at_a_time(prompt_tokens, output_tokens, **contents):
    return simlib.RequestTable(100.0 * np.arange(len(prompt_tokens)), prompt_tokens, output_tokens, **contents)


def hits_of(table, blocks, block_tokens):
    engine = Continuous(
        prefix_cache=True, kv_tokens=blocks * block_tokens, block_tokens=block_tokens, token_budget=2**20
    )
    return serve(table, ALONE, engine, 1, "interpreted").hits


def counted(table, blocks, block_tokens):
    """Tokens found by each request, of blocks in a line: free ones are given out from its beginning, blank ones before.

    A sequence's blocks join the line's end, the last one first; one that is not full holds nothing. Its last token is
    computed always, so that a block may be there twice; of two the older one is found.
    """
    names, line, holds, hits, made = {}, OrderedDict(), {}, [], itertools.count()
    for row, ids in enumerate(table.block_ids):
        prompt = int(table.prompt_tokens[row])
        total = prompt + max(int(table.output_tokens[row]) - 1, 0)
        chain = list(
            itertools.accumulate(
                ids[: total // block_tokens].tolist(), lambda p, i: names.setdefault((p, i), len(names)), initial=-1
            )
        )[1:]
        chain += [("generated", row, place) for place in range(len(chain), total // block_tokens)]
        used = []
        for name in chain[: (prompt - 1) // block_tokens]:
            if not holds.get(name):
                break
            used.append(holds[name][0])
            del line[used[-1]]
        hits.append(len(used) * block_tokens)
        for _ in range(len(line) - (blocks - -(-total // block_tokens))):
            block, name = line.popitem(last=False)
            holds[name].remove(block)
        for name in chain[len(used) :]:
            used.append(next(made))
            holds.setdefault(name, []).append(used[-1])
        line |= dict(reversed(list(zip(used, chain, strict=True))))
    return hits


@pytest.mark.parametrize("blocks", [22, 40, 63, 64, 100, 400])
def test_hits_of_a_cache_of_any_size_are_those_counted_in_a_line_of_blocks(blocks):
    rng = np.random.default_rng(3)
    prompts, outputs = rng.integers(1, 21, 400) * 8 - rng.integers(0, 2, 400) * 3, rng.integers(1, 12, 400)
    trees = [rng.integers(0, 2, prompt // 8).tolist() for prompt in prompts]  # alike in some first blocks
    table = one_at_a_time(prompts, outputs, block_ids=trees)
    hits = hits_of(table, blocks, 8).tolist()
    assert sum(hits) > 0
    assert hits == counted(table, blocks, 8)


@pytest.mark.parametrize("blocks", [6, 10, 13, 21, 33, 41, 42])
def test_hits_follow_from_reuse_distances(blocks):
    """Documents of 5 blocks and a token: d others since the last time leave it what they did not need.

    They hold 5 d blocks, one that is not full is blank again whoever had it, and its own end went first.
    """
    document = np.random.default_rng(4).integers(0, 8, 300)
    table = one_at_a_time(np.full(300, 81), np.ones(300), prefix_group=document, prefix_tokens=np.full(300, 81))
    hits = []
    for row, own in enumerate(document):
        before = np.flatnonzero(document[:row] == own)
        others = len(set(document[before[-1] + 1 : row])) if len(before) else np.inf
        hits.append(16 * int(np.clip(blocks - 1 - 5 * others, 0, 5)))
    assert sum(hits) > 0
    assert hits_of(table, blocks, 16).tolist() == hits


@pytest.mark.parametrize("blocks", [40, 100])
def test_hits_of_conversations_are_those_counted(blocks):
    turns = conversations(np.random.default_rng(8), 12, 4)
    table = one_at_a_time(turns.prompt_tokens, turns.output_tokens, block_ids=turns.block_ids)
    hits = hits_of(table, blocks, 4)
    assert hits.sum() > 0
    assert hits.tolist() == counted(table, blocks, 4)


@pytest.mark.parametrize("blocks", [300, 1000, 5000])
def test_hits_of_mooncakes_trace_are_those_counted(mooncake, blocks):
    trace = simlib.traces.read(mooncake, rows=500, engine_block_tokens=512).requests
    table = one_at_a_time(trace.prompt_tokens, trace.output_tokens, block_ids=trace.block_ids)
    hits = hits_of(table, blocks, 512)
    assert hits.sum() > 0
    assert hits.tolist() == counted(table, blocks, 512)


@pytest.mark.parametrize(("rows", "block_tokens"), [(60, 16), (500, 512), (300, 1024)])
def test_a_cache_without_eviction_finds_what_the_fixed_way_does(mooncake, rows, block_tokens):
    trace = simlib.traces.read(mooncake, rows=rows, engine_block_tokens=block_tokens).requests
    table = one_at_a_time(trace.prompt_tokens, trace.output_tokens, block_ids=trace.block_ids)
    fixed = simlib.traces.read(mooncake, rows=rows).requests.cached_prompt_tokens
    assert fixed.sum() > 0
    assert hits_of(table, 2**24, block_tokens).tolist() == (fixed // block_tokens * block_tokens).tolist()


def test_a_cache_that_has_nothing_to_go_by_is_reported():
    """Such as a trace's `hash_ids` that were made `cached_prompt_tokens`, which a live cache does not look at."""
    asked = {"arrival_s": [0.0, 9.0], "prompt_tokens": [64, 80], "output_tokens": [2, 2]}
    with pytest.warns(UserWarning, match=r"prefix_cache: no request says .*engine_block_tokens=16\)") as caught:
        simlib.simulate(asked | {"cached_prompt_tokens": [0, 64]}, "fcfs", LAW, execution=CACHED)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simlib.simulate(asked | {"prefix_group": [0, 0], "prefix_tokens": [64, 64]}, "fcfs", LAW, execution=CACHED)
        simlib.simulate(asked, "fcfs", LAW, execution="continuous")
