"""A user's own rules: each built-in order rebuilt in a few lines, in both engines, however run; and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from step_cases import cases
from strategies import LAW, ONE_SEAT, geometric_requests, order_of

import simlib
from simlib.continuous.settings import Continuous
from simlib.requests.clients import with_clients
from simlib.requests.workload import original

BACKENDS = ("interpreted", "compiled", "stepped")
LINES = {"k_bins": 3, "bounds": "equal_width"}


def whoever_is_first(now_s, gpu, waiting, params, memory, note):
    return 0, 1


def five(now_s, gpu, waiting, params, memory, note):
    return 0, 5


def next_line(now_s, gpu, waiting, params, memory, note):
    for further in range(len(waiting.head)):
        line = (int(memory[0, 0]) + further) % len(waiting.head)
        if waiting.tail[line] > waiting.head[line]:
            memory[0, 0] = (line + 1) % len(waiting.head)
            return line, 1
    return 0, 0


def longest_line(now_s, gpu, waiting, params, memory, note):
    return np.argmax(waiting.tail - waiting.head), 1


def oldest_line(now_s, gpu, waiting, params, memory, note):
    best = -1
    for line in range(len(waiting.head)):
        if waiting.tail[line] > waiting.head[line]:
            first = waiting.order[waiting.head[line]]
            if best < 0 or first < waiting.order[waiting.head[best]]:
                best = line
    return best, 1


def aged(now_s, request, given_to_client, params, memory):
    return request.arrival_s + params[0] * request.predicted_output_tokens


def least_served(now_s, gpu, waiting, params, memory, note):
    """Virtual counters: `memory` has a client's counter, whether it waited, and at its end whom was served last."""
    clients, chosen, level, first = len(waiting.head), -1, math.inf, -1
    for client in range(clients):
        if waiting.tail[client] > waiting.head[client]:
            head = waiting.order[waiting.head[client]]
            if memory[client, 1] > 0:
                level = min(level, memory[client, 0])
            if first < 0 or head < waiting.order[waiting.head[first]]:
                first = client
    if level == math.inf:  # nobody waited before: who came first is lifted first
        level = memory[clients, 0]
        if params[1] > 0:
            level = max(level, memory[first, 0])
    for client in range(clients):
        waits = waiting.tail[client] > waiting.head[client]
        if waits and memory[client, 1] == 0:
            memory[client, 0] = max(memory[client, 0], level)
        memory[client, 1] = 1.0 if waits else 0.0
        if waits and (chosen < 0 or memory[client, 0] < memory[chosen, 0]):
            chosen = client
    size = min(waiting.tail[chosen] - waiting.head[chosen], int(params[0]))
    for place in range(waiting.head[chosen], waiting.head[chosen] + size):
        request = waiting.order[place]
        memory[chosen, 0] += waiting.prompt_tokens[request] + 2.0 * waiting.predicted_output_tokens[request]
    if size == waiting.tail[chosen] - waiting.head[chosen]:
        memory[chosen, 1] = 0.0
    memory[clients, 0] = memory[chosen, 0]
    return chosen, size


def binned(selection):
    return simlib.MultiBinDynamic(3, bin_select=selection, bounds="equal_width", variant="paper")


def fair(table, size=1, in_turn=1.0):
    clients = len(set(table.labels["client"]))
    memory = np.zeros((clients + 1, 2))
    return simlib.Custom("own", least_served, lines="client", params=(size, in_turn), memory=memory)


def shortest(table):
    return simlib.Custom("own", whoever_is_first, key=aged, params=[0.02])


# A built-in policy, and a rule of one's own that admits in its order.
ORDERS = {
    "first come": ("fcfs", lambda table: simlib.Custom("own", whoever_is_first)),
    "in turn": (binned("round_robin"), lambda table: simlib.Custom("own", next_line, **LINES)),
    "longest": (binned("longest_queue"), lambda table: simlib.Custom("own", longest_line, **LINES)),
    "oldest": (binned("oldest_head"), lambda table: simlib.Custom("own", oldest_line, **LINES)),
    "shortest": (simlib.ShortestPredictedFirst(0.02), lambda table: simlib.Custom("own", key=aged, params=[0.02])),
    "fair": (simlib.FairShare(), fair),
}


def predicted(table, seed, lengths=12):
    """The same requests with predictions of few lengths, and clients."""
    rng = np.random.default_rng(seed)
    columns = table.arrival_s, table.prompt_tokens, table.output_tokens, rng.integers(0, lengths, len(table))
    table = simlib.RequestTable(*columns, cached_prompt_tokens=table.cached_prompt_tokens)
    return with_clients(table, [3, 2, 1], "custom", seed)


def same(run, other):
    served, expected = run.served, other.served
    names = ("start_s", "first_token_s", "completion_s", "gpu") if hasattr(served, "gaps") else served._fields[:5]
    for name in names:
        np.testing.assert_array_equal(getattr(served, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("name", ORDERS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases(), seed=st.integers(0, 99))
def test_a_rebuilt_order_admits_as_the_built_in_one_does(name, case, seed):
    table, engine, law, gpus = case
    table = predicted(table, seed)
    built_in, own = ORDERS[name]
    runs = [simlib.simulate(table, p, law, gpus, engine, backend="interpreted") for p in (built_in, own(table))]
    same(*runs)


@pytest.mark.parametrize("routing", ["shared", "least_tokens"])
@pytest.mark.parametrize("name", ORDERS)
def test_every_way_to_run_an_own_order_gives_the_built_in_ones_run(name, routing):
    table = predicted(geometric_requests(3, 500), 3)
    engine = Continuous(max_seqs=12, kv_tokens=1600, routing=routing)
    built_in, own = ORDERS[name]
    expected = simlib.simulate(table, built_in, LAW, 2, engine, backend="interpreted")
    assert expected.preemptions > 0
    for backend in BACKENDS:
        run = simlib.simulate(table, own(table), LAW, 2, engine, backend=backend)
        assert run.backend == backend
        same(run, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("built_in", "own"),
    [
        (simlib.StaticFIFO(5), lambda table: simlib.Custom("own", five)),
        (simlib.FairShare(5), lambda table: fair(table, 5, 0.0)),
        (simlib.ShortestPredictedFirst(0.02, batch_size=1), shortest),
    ],
    ids=["first come", "fair", "shortest"],
)
def test_batches_of_a_rebuilt_order_are_the_built_in_ones(built_in, own, backend):
    table = predicted(geometric_requests(4, 300), 4)
    runs = [simlib.simulate(table, policy, gpus=2, backend=backend) for policy in (built_in, own(table))]
    times = [(run.times.start_s.tobytes(), run.times.completion_s.tobytes()) for run in runs]
    assert times[0] == times[1]


# Three wait for one seat when the first has ended: 9, 3 and 6 tokens, of clients a, b and a.
WAIT = simlib.RequestTable([0, 1, 1, 1], [1] * 4, [9, 9, 3, 6], [9, 9, 3, 6], labels={"client": list("aaba")})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("key", "order"),
    [
        (lambda now_s, request, given, params, memory: request.predicted_output_tokens, [0, 2, 3, 1]),
        (lambda now_s, request, given, params, memory: -request.predicted_output_tokens, [0, 1, 3, 2]),
        (lambda now_s, request, given, params, memory: given, [0, 2, 1, 3]),  # a has 10 already, b none, then 4
        (lambda now_s, request, given, params, memory: 0.0, [0, 1, 2, 3]),  # ties go to the oldest
    ],
    ids=["shortest", "longest", "least given", "ties"],
)
def test_a_key_orders_within_a_line_by_hand(key, order, backend):
    policy = simlib.Custom("own", whoever_is_first, key=key)
    assert order_of(simlib.simulate(WAIT, policy, simlib.StepLaw(1.0), 1, ONE_SEAT, backend=backend)) == order
    assert order_of(simlib.simulate(WAIT, policy, simlib.GivenTimes([9.0, 9, 3, 6]), backend=backend)) == order


def test_an_answer_admits_so_many_at_most_in_a_step():
    table = simlib.RequestTable([0.0] * 6, [1] * 6, [50] * 6)
    two = simlib.Custom("two", lambda *_: (0, 2))
    run = simlib.simulate(table, two, simlib.StepLaw(1.0), 1, Continuous(token_budget=2, block_tokens=1, max_seqs=6))
    assert run.times.start_s.tolist()[:2] == [0.0, 0.0]


def gathers_three(now_s, gpu, waiting, params, memory, note):
    return 0, 3 if waiting.tail[0] - waiting.head[0] >= 3 or waiting.tail[0] == waiting.end[0] else 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rule_may_wait_for_the_next_event(backend):
    table = simlib.RequestTable([0.0, 1.0, 2.0, 3.0], [1] * 4, [5] * 4)
    run = simlib.simulate(
        table, simlib.Custom("own", gathers_three), simlib.StepLaw(0.1), 1, "continuous", backend=backend
    )
    assert run.times.start_s.tolist() == [2.0, 2.0, 2.0, 3.0]


def turns_long_ones_away(now_s, gpu, waiting, params, memory, note):
    first = waiting.order[waiting.head[0]]
    return 0, -1 if waiting.prompt_tokens[first] > params[0] else 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("routing", ["shared", "least_requests"])
def test_who_is_turned_away_is_not_served_and_counts_as_late(routing, backend):
    table = geometric_requests(5, 100)
    policy = simlib.Custom("choosy", turns_long_ones_away, params=[300])
    run = simlib.simulate(table, policy, LAW, 2, Continuous(routing=routing), backend=backend)
    away = table.prompt_tokens > 300
    assert np.array_equal(np.isnan(run.times.completion_s), away)
    assert run.rejected == away.sum() and run.summary()["sla_violation_share"] >= away.mean()


def answers(answer):
    return lambda now_s, gpu, waiting, params, memory, note: answer if now_s >= 2.0 else (0, 1)


@pytest.mark.parametrize("execution", ["run_to_completion", "continuous"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("answer", "said"),
    [((7, 1), "7, 1"), ((-1, 1), "-1, 1"), ((1, -1), "1, -1")],
    ids=["no such queue", "before the first", "nobody to turn away"],
)
def test_an_answer_out_of_range_is_named_with_its_instant(answer, said, backend, execution):
    table = simlib.RequestTable([0, 1, 2], [5] * 3, [5] * 3, [1, 1, 1])
    policy = simlib.Custom("odd", answers(answer), k_bins=2, bounds=(50,))
    with pytest.raises(simlib.InputError, match=r"policy odd: .*at 2 s") as caught:
        simlib.simulate(table, policy, "original-synthetic", 1, execution, backend=backend)
    assert said in str(caught.value)


@pytest.mark.parametrize("execution", ["run_to_completion", "continuous"])
@pytest.mark.parametrize("answer", [(0.5, 1), None, "no", (0, 1, 2), (0, 10**30)], ids=repr)
def test_an_answer_that_is_no_queue_and_size_is_shown(answer, execution):
    with pytest.raises(simlib.InputError, match=r"policy odd: decide answered .* at 2 s"):
        simlib.simulate(
            simlib.RequestTable([0, 1, 2], [5] * 3, [5] * 3), simlib.Custom("odd", answers(answer)), execution=execution
        )


def fails(now_s, gpu, waiting, params, memory, note):
    if now_s >= 2.0:
        raise ValueError("no idea")
    return 0, 1


@pytest.mark.parametrize("execution", ["run_to_completion", "continuous"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rule_that_raises_is_named_with_what_it_raised(backend, execution):
    table = simlib.RequestTable([0, 1, 2], [5] * 3, [5] * 3)
    with pytest.raises(simlib.InputError, match=r"policy odd: decide raised ValueError: no idea, at 2 s"):
        simlib.simulate(table, simlib.Custom("odd", fails), execution=execution, backend=backend)


def test_what_numba_cannot_compile_runs_between_compiled_steps():
    seen = {}

    def remembers(now_s, gpu, waiting, params, memory, note):
        seen[gpu] = seen.get(gpu, 0) + 1
        return 0, 1

    table = original(30_000, seed=1)
    run = simlib.simulate(table, simlib.Custom("own", remembers), LAW, 3, Continuous(max_seqs=40), backend="auto")
    expected = simlib.simulate(table, "fcfs", LAW, 3, Continuous(max_seqs=40))
    assert run.backend == "stepped" and sum(seen.values()) >= 30_000
    same(run, expected)


def test_neither_a_rule_nor_a_key_is_no_policy():
    with pytest.raises(simlib.InputError, match="neither decide nor key"):
        simlib.Custom("nothing")


def test_a_loaded_run_of_an_own_rule_says_why_its_steps_are_not_there(tmp_path):
    table = geometric_requests(6, 50)
    run = simlib.simulate(table, simlib.Custom("own", whoever_is_first), LAW, 1, "continuous")
    again = simlib.load(run.save(tmp_path / "run.parquet"))
    same(again, run)
    with pytest.raises(simlib.InputError, match="policy own is not in its file"):
        again.steps  # noqa: B018


@pytest.mark.parametrize("backend", ["interpreted", "compiled"])
def test_a_first_that_does_not_fit_lets_nobody_in_behind_it(backend):
    """Batches of at most 10 tokens: 2, then 9, which would be 11; the 8 that came first has to wait, though it fits."""
    table = simlib.RequestTable([0.0] * 3, [0] * 3, [8, 2, 9], [3, 1, 2])  # whoever is predicted least is first
    mine = simlib.Custom("own", two_of_them, key=aged, params=[1.0], capacity_tokens=10.0)
    run = simlib.simulate(table, mine, simlib.GivenTimes([1.0] * 3), backend=backend)
    assert run.served.batch_of.tolist() == [2, 0, 1]
    assert run.served.size.tolist() == [1, 1, 1]


def two_of_them(now_s, gpu, waiting, params, memory, note):
    return 0, 2
