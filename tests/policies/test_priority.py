"""Batches of the most urgent: worked by hand, against a plain heap, and what a policy's key sees of a priority."""

import heapq

import numpy as np
import pytest

import simlib

ONE = simlib.PriorityFirst(variant=simlib.Rules(b_max=1))


def requests_of(seed: int, rows: int = 400, classes: int = 3) -> simlib.RequestTable:
    """Requests that queue, of few classes, some at one instant."""
    rng = np.random.default_rng(seed)
    arrival_s = np.sort(np.round(rng.uniform(0, rows / 150, rows), 1 if seed % 2 else 6))
    prompts, outputs = rng.integers(1, 300, (2, rows))
    return simlib.RequestTable(arrival_s, prompts, outputs, outputs, priority=rng.integers(-1, classes - 1, rows))


def by_heap(table: simlib.RequestTable, sizes: list[int], starts_s: list[float], most_tokens: float) -> list[list[int]]:
    """Batches of these sizes at these times from one heap, which knows of nothing but keys; fewer where tokens end."""
    keys = [(int(table.priority[r]), float(table.arrival_s[r]), str(r), r) for r in range(len(table))]
    tokens, waiting, came, batches = table.prompt_tokens + table.output_tokens, [], 0, []
    for size, start_s in zip(sizes, starts_s, strict=True):
        while came < len(keys) and keys[came][1] <= start_s:
            heapq.heappush(waiting, keys[came])
            came += 1
        batch, held = [], 0
        while waiting and len(batch) < size and held + tokens[waiting[0][-1]] <= most_tokens:
            batch.append(heapq.heappop(waiting)[-1])
            held += tokens[batch[-1]]
        batches.append(batch)
    return batches


def members(run: simlib.Run) -> list[list[int]]:
    return [np.flatnonzero(run.served.batch_of == batch).tolist() for batch in range(len(run.served.size))]


def test_four_by_hand():
    table = simlib.RequestTable([0, 1, 2, 2.5], [5] * 4, [9] * 4, priority=[5, 0, -3, 0])
    run = simlib.simulate(table, ONE, simlib.GivenTimes([3, 1, 1, 1]))
    assert run.times.start_s.tolist() == [0.0, 4.0, 3.0, 5.0]
    two = simlib.PriorityFirst(variant=simlib.Rules(b_min=2, b_max=2))
    assert simlib.simulate(table, two, simlib.GivenTimes([3, 1, 1, 1])).served.batch_of.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kv_gb_per_token", [5e-6, 1 / 128])  # of the second nothing but two or three requests fit
def test_batches_are_those_of_a_heap(seed, kv_gb_per_token):
    table, rules = requests_of(seed), simlib.Rules(b_max=8, memory=simlib.Memory(kv_gb_per_token=kv_gb_per_token))
    policy = simlib.PriorityFirst(0.3, rules)
    run = simlib.simulate(table, policy, "original-calibrated", 2, backend="interpreted")
    asked = run.batches[["b_mem", "b_sla"]].min(axis=1).astype(int).tolist()
    expected = by_heap(table, asked, run.served.start_s.tolist(), rules.memory.capacity_tokens)
    assert members(run) == [sorted(batch) for batch in expected]
    assert run.served.size.max() > 1 and (np.diff(run.served.batch_of) < 0).any()  # somebody overtakes


@pytest.mark.parametrize("variant", ["original", "paper"])
def test_all_of_one_class_are_batched_as_without_priorities(variant):
    table = requests_of(2, classes=1)
    one, other = (
        simlib.simulate(table, policy(0.3, variant), "original-calibrated", 2)
        for policy in (simlib.PriorityFirst, simlib.DynamicNoBins)
    )
    assert np.array_equal(one.served.batch_of, other.served.batch_of)
    assert np.array_equal(one.times.completion_s, other.times.completion_s)


def test_backends_agree_to_the_last_bit():
    table, runs = requests_of(1, 2000), []
    for backend in ("compiled", "stepped", "interpreted"):
        policy = simlib.PriorityFirst(0.3, simlib.Rules(memory=simlib.Memory(kv_gb_per_token=1 / 256)))
        runs.append(simlib.simulate(table, policy, "original-calibrated", 3, backend=backend))
    for run in runs[1:]:
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(runs[0].served, run.served, strict=True))


def test_some_that_do_not_fit_keep_the_others_in_order():
    table = simlib.RequestTable([0, 0, 0, 0], [500, 5000, 400, 400], [1] * 4, priority=[2, 0, 1, 0])
    rules = simlib.Rules(b_max=1, memory=simlib.Memory(kv_gb_per_token=1 / 128))
    run = simlib.simulate(table, simlib.PriorityFirst(variant=rules), simlib.GivenTimes([1] * 4), oversize="reject")
    assert run.served.batch_of.tolist() == [2, -1, 1, 0]


def test_at_one_moment_the_number_decides_as_text():
    table = simlib.RequestTable([0.0] * 12 + [1.0], [1] * 13, [1] * 13, priority=[0] * 13)
    run = simlib.simulate(table, ONE, simlib.GivenTimes([1] * 13))
    assert np.argsort(run.times.start_s).tolist() == [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9, 12]


def test_every_request_may_have_a_priority_of_its_own(tmp_path):
    """Five thousand deadlines: more than a simulation has bins."""
    rng, rows = np.random.default_rng(5), 5000
    arrival_s, ones = np.sort(rng.uniform(0, 50, rows)), np.ones(rows, int)
    table = simlib.RequestTable(arrival_s, ones, ones, priority=rng.permutation(rows) * 10**5)
    run = simlib.simulate(table, ONE, simlib.GivenTimes(np.full(rows, 0.02)))
    starts_s = np.sort(run.times.start_s)
    assert members(run) == by_heap(table, [1] * rows, starts_s.tolist(), np.inf)
    again = simlib.load(run.save(tmp_path / "run.parquet"))
    assert np.array_equal(again.times.completion_s, run.times.completion_s)
    with pytest.raises(simlib.InputError, match="number of classes by priority: 5000"):
        run.by("priority")


def more_urgent(now_s, request, given_to_client, params, memory):
    return request.priority


@pytest.mark.parametrize("execution", ["run_to_completion", simlib.Continuous(max_seqs=1)])
@pytest.mark.parametrize("backend", ["interpreted", "compiled", "stepped"])
def test_a_key_sees_the_priority(execution, backend):
    table = requests_of(4, 60)  # no two at one instant
    decide = {} if execution != "run_to_completion" else {"decide": lambda now_s, *_: (0, 1)}
    if backend == "compiled" and decide:
        decide = {"decide": one_of_the_first}
    mine = simlib.Custom("mine", key=more_urgent, **decide)
    law = simlib.GivenTimes(np.full(60, 0.5)) if decide else simlib.StepLaw(0.01)
    run = simlib.simulate(table, mine, law, 1, execution, backend=backend)
    theirs = simlib.simulate(table, ONE if decide else "priority", law, 1, execution, backend="interpreted")
    assert np.array_equal(run.times.start_s, theirs.times.start_s)


def one_of_the_first(now_s, gpu, waiting, params, memory, note):
    return 0, 1


def test_without_priorities_a_key_sees_zero():
    table = simlib.RequestTable([0.0, 0.0], [1, 1], [1, 1])
    run = simlib.simulate(table, simlib.Custom("mine", one_of_the_first, key=more_urgent), simlib.GivenTimes([1, 1]))
    assert run.times.start_s.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("execution", ["run_to_completion", "continuous"])
@pytest.mark.parametrize(
    ("priority", "message"),
    [
        (None, "priority: missing column"),
        ([0, 1.5], "priority, row 1: 1.5 .expected an integer"),
        ([0, "high"], "priority, row 1"),
        ([float("nan"), 0], "priority, row 0"),
        ([True, 2**70], "priority, row"),
        ([0], "priority: 1 rows"),
    ],
)
def test_bad_priorities_are_named_before_the_run(execution, priority, message):
    columns = {"arrival_s": [0, 1], "prompt_tokens": [1, 1], "output_tokens": [1, 1]}
    columns |= {} if priority is None else {"priority": priority}
    with pytest.raises(simlib.InputError, match=message):
        simlib.simulate(columns, "priority", simlib.Phases(0.1, 0.0, 0.1, 0.0), 1, execution)


@pytest.mark.parametrize(("argument", "value"), [("d_sla", 0), ("d_sla", "x"), ("variant", "none"), ("variant", 3)])
def test_bad_settings_are_named(argument, value):
    with pytest.raises(simlib.InputError, match=argument):
        simlib.PriorityFirst(**{argument: value})
