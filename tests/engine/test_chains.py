import heapq
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simlib
from simlib.checks import InputError
from simlib.engine.chains import answered, chains, come, coming
from tests.closed_loops import check, clients, forests, opened
from tests.strategies import policies


@given(forests(exact=True), st.data())
def test_who_comes_next_is_who_is_due_first(table, data):
    refused = np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
    seen = chains(table, ~refused)
    if not table.closed:
        return
    heap = [(table.arrival_s[row], row) for row in range(len(table)) if table.previous[row] < 0]
    heapq.heapify(heap)

    def free(row, now_s):
        for other in np.flatnonzero(table.previous == row):
            heapq.heappush(heap, (now_s + table.think_s[other], other))

    while heap:
        time_s, row = heapq.heappop(heap)
        if refused[row]:
            free(row, time_s)
            continue
        assert coming(seen) == row and seen.arrival_s[row] == time_s
        come(row, seen)
        served_s = time_s + data.draw(st.integers(0, 16)) / 8
        answered(row, served_s, seen)
        free(row, served_s)
    assert coming(seen) == -1


def test_a_client_asks_again_when_it_is_answered():
    # One client thinks 1 s; another thinks not at all: batches of one take 2 s, first come, first served.
    table = simlib.RequestTable([0, 0, 0, 1], [1] * 4, [1] * 4, previous=[-1, -1, 1, 0], think_s=[0, 0, 0, 1])
    run = simlib.simulate(table, simlib.StaticFIFO(1), simlib.GivenTimes([2.0] * 4), backend="interpreted")
    assert run.requests["arrival_s"].tolist() == [0, 0, 4, 3]
    assert run.requests["completion_s"].tolist() == [2, 4, 8, 6]
    assert run.given_row.tolist() == [0, 1, 3, 2]
    assert run.table.previous.tolist() == [-1, -1, 0, 1]
    assert run.summary()["latency_mean_s"] == (2 + 4 + 4 + 3) / 4


def plainly(table, size, gpus, service_s, most_tokens=math.inf):
    """Static batches of closed loops by a list of events: arrivals and completions, of each request in table order."""
    heap = [(table.arrival_s[row], 1, row) for row in range(len(table)) if table.previous[row] < 0]
    heapq.heapify(heap)
    line, idle = [], set(range(gpus))
    arrival_s, completion_s = table.arrival_s.copy(), np.full(len(table), np.nan)

    def answer(row, now_s):
        for other in np.flatnonzero(table.previous == row):
            arrival_s[other] = now_s + table.think_s[other]
            heapq.heappush(heap, (arrival_s[other], 1, other))

    while heap:
        now_s = heap[0][0]
        while heap and heap[0][0] == now_s:
            _, arrives, what = heapq.heappop(heap)
            if not arrives:
                idle.add(what[0])
                for row in what[1]:
                    answer(row, now_s)
            elif table.prompt_tokens[what] + table.output_tokens[what] > most_tokens:
                answer(what, now_s)
            else:
                line.append(what)
        while idle and line:
            gpu, batch, line = min(idle), line[:size], line[size:]
            idle.discard(gpu)
            end_s = now_s + max(service_s[row] for row in batch)
            completion_s[batch] = end_s
            heapq.heappush(heap, (end_s, 0, (gpu, batch)))
    return arrival_s, completion_s


@given(forests(), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_batches_are_those_of_a_plain_list_of_events(table, size, gpus, seed):
    if not table.closed:
        return
    service_s = np.random.default_rng(seed).exponential(1.0, len(table))
    run = simlib.simulate(
        table, simlib.StaticFIFO(size), simlib.GivenTimes(service_s), gpus=gpus, backend="interpreted"
    )
    arrival_s, completion_s = plainly(table, size, gpus, service_s)
    assert run.requests["arrival_s"].tolist() == arrival_s.tolist()
    assert run.requests["completion_s"].tolist() == completion_s.tolist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(forests(exact=True), policies(), st.integers(1, 3))
def test_any_policy_of_batches(table, policy, gpus):
    if not table.closed:
        return
    law = simlib.Affine(0.125, 1 / 1024, 0.5)
    run = simlib.simulate(table, policy, law, gpus=gpus, oversize="reject", backend="interpreted")
    check(table, run)
    # Who waits for a full batch may have been told that no more will come; clients are numbered as they come; who was
    # turned away may come again at that very instant, and is there from its beginning in the open run.
    if policy.work_conserving and policy.name not in ("fair_share", "early_rejection"):
        again = simlib.simulate(opened(run), policy, law, gpus=gpus, oversize="reject", backend="interpreted")
        assert np.array_equal(again.times.completion_s, run.times.completion_s, equal_nan=True)


def test_backends_agree_and_a_file_has_all_of_it(tmp_path):
    rng = np.random.default_rng(4)
    shape = (5, 40)
    table = clients(
        rng.exponential(0.5, shape),
        prompt_tokens=rng.integers(1, 400, shape),
        output_tokens=rng.integers(1, 200, shape),
        predicted_output_tokens=rng.integers(1, 200, shape),
    )
    for policy in ("multi_bin_dynamic", simlib.EarlyRejection(0.3), simlib.FairShare(4)):
        ways = [simlib.simulate(table, policy, gpus=2, backend=way) for way in ("interpreted", "compiled", "stepped")]
        assert all(way.requests.equals(ways[0].requests) for way in ways)
        check(table, ways[1])
    again = simlib.load(ways[1].save(tmp_path / "run.parquet"))
    assert again.requests.equals(ways[1].requests) and again.summary() == ways[1].summary()
    assert (again.given_row == ways[1].given_row).all()
    assert again.occupancy().equals(ways[1].occupancy())


def test_who_is_refused_is_answered_at_once():
    # The middle one of a chain never fits: whoever waits for it thinks from the instant at which it came.
    table = simlib.RequestTable(
        [0, 0, 0], [1, 10_000_000, 1], [1, 1, 1], [1, 1, 1], previous=[-1, 0, 1], think_s=[0, 1, 2]
    )
    run = simlib.simulate(table, "dynamic_no_bins", "1,0,0", oversize="reject", backend="interpreted")
    assert run.requests["arrival_s"].tolist() == [0, 2, 4]
    assert run.rejected == 1
    engine = simlib.Continuous(kv_tokens=64)
    run = simlib.simulate(table, "fcfs", "1,0,0,0", execution=engine, oversize="reject", backend="interpreted")
    assert run.requests["arrival_s"].tolist() == [0, 2, 4]
    assert run.rejected == 1 and run.idle_s == 3.0
    alone = simlib.RequestTable([0, 0], [10_000_000] * 2, [1, 1], [1, 1], previous=[-1, 0], think_s=[0, 3])
    for execution, policy in (("run_to_completion", "dynamic_no_bins"), (engine, "fcfs")):
        run = simlib.simulate(
            alone,
            policy,
            "1,0,0,0" if policy == "fcfs" else "1,0,0",
            execution=execution,
            oversize="reject",
            backend="interpreted",
        )
        assert run.table.arrival_s.tolist() == [0, 3] and run.rejected == 2


def test_full_batches_of_more_than_there_are_clients_go_when_no_more_can_come():
    table = clients(np.full((2, 3), 1.0), prompt_tokens=np.ones((2, 3)), output_tokens=np.ones((2, 3)),
                    predicted_output_tokens=np.ones((2, 3)))  # fmt: skip
    run = simlib.simulate(table, simlib.MultiBinFixed(4, 1), simlib.GivenTimes([2.0] * 6), backend="interpreted")
    assert run.batches[["start_s", "size"]].to_numpy().tolist() == [[1, 2], [4, 2], [7, 2]]


def test_no_more_come_only_until_somebody_is_served():
    # Batches of two, and a client alone in its bin: it goes when nobody else can come, and then waits for the others.
    ones = np.ones((3, 2))
    table = clients(ones, prompt_tokens=ones, output_tokens=ones, predicted_output_tokens=[[1, 1], [1, 1], [9, 9]])
    for sizes, expected in (
        ((2, 2), [[1, 2, 0], [4, 2, 0], [6, 1, 1], [9, 1, 1]]),
        ((4, 4), [[1, 2, 0], [1, 1, 1], [4, 2, 0], [4, 1, 1]]),  # at a last call all GPUs are asked
    ):
        policy = simlib.MultiBinFixed(sizes, 2, bounds=[5.0])
        run = simlib.simulate(table, policy, simlib.GivenTimes([2.0] * 6), gpus=2, backend="interpreted")
        assert run.batches[["start_s", "size", "bin"]].to_numpy().tolist() == expected


def never(now_s, gpu, waiting, params, memory, note):
    """A rule that waits for three, whatever it is told."""
    return 0, 3 if waiting.tail[0] - waiting.head[0] >= 3 else 0


def test_a_rule_that_waits_for_ever_is_named():
    table = clients(np.full((2, 3), 1.0), prompt_tokens=np.ones((2, 3)), output_tokens=np.ones((2, 3)))
    for execution, law in (("run_to_completion", "1,0,0"), ("continuous", "1,0,0,0")):
        with pytest.raises(InputError, match="policy never: 2 requests wait for ever at 1 s"):
            simlib.simulate(table, simlib.Custom("never", never), law, execution=execution, backend="interpreted")


def repairs(count, servers, service_s, think_s):
    """M/M/c//N: the exact throughput, from the stationary numbers in the system."""
    weights = [1.0]
    for present in range(1, count + 1):
        weights.append(weights[-1] * (count - present + 1) / think_s * service_s / min(present, servers))
    busy = sum(weight * min(present, servers) for present, weight in enumerate(weights))
    return busy / sum(weights) / service_s


def until_s(run):
    """When the first client has none left to ask for."""
    done_s = run.times.completion_s
    return done_s[np.setdiff1d(np.arange(len(done_s)), run.table.previous)].min()


def throughput(run):
    """Answers a second while all clients ask."""
    done_s, end_s = run.times.completion_s, until_s(run)
    return np.count_nonzero(done_s <= end_s) / end_s


@pytest.mark.parametrize(("count", "servers"), [(3, 1), (8, 2), (6, 6)])
def test_machine_repair(count, servers):
    """M/M/c//N, 12 runs of 600 turns: within 4.4 standard errors, exceeded by chance in 1 of 1,000 (t, 11 degrees)."""
    rng, found, turns = np.random.default_rng(11), [], 600
    for _ in range(12):
        table = clients(
            rng.exponential(2.0, (count, turns)),
            prompt_tokens=np.ones((count, turns)),
            output_tokens=np.ones((count, turns)),
        )
        law = simlib.GivenTimes(rng.exponential(1.0, len(table)))
        found.append(throughput(simlib.simulate(table, simlib.StaticFIFO(1), law, gpus=servers)))
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - repairs(count, servers, 1.0, 2.0)) < 4.4 * error + 0.5 * servers / turns
    assert max(found) < 1.1 * min(count / 3.0, servers)


@pytest.mark.parametrize(("count", "servers", "cycle_s"), [(2, 1, 5.0), (5, 1, 10.0), (9, 2, 9.0)])
def test_asymptotic_bounds_are_reached_without_chance(count, servers, cycle_s):
    # Service 2 s, think 3 s: X = min(N / 5, servers / 2), where N / X is the time that a client's cycle takes.
    shape = (count, 40)
    table = clients(np.full(shape, 3.0), prompt_tokens=np.ones(shape), output_tokens=np.ones(shape))
    run = simlib.simulate(table, simlib.StaticFIFO(1), simlib.GivenTimes([2.0] * len(table)), gpus=servers)
    done_s = np.sort(run.times.completion_s)
    assert done_s[30 * count] - done_s[20 * count] == pytest.approx(10 * cycle_s, abs=1.0 if servers > 1 else 1e-9)


@given(st.integers(0, 2**32), st.integers(1, 3))
def test_each_client_is_served_or_thinks(seed, gpus):
    """N T is the sum of times in the system and thinking, clipped to the window, exactly: it tests the bookkeeping."""
    rng = np.random.default_rng(seed)
    shape = (4, 6)
    table = clients(rng.integers(0, 16, shape) / 8, prompt_tokens=np.ones(shape), output_tokens=np.ones(shape))
    law = simlib.GivenTimes(rng.integers(1, 24, len(table)) / 8)
    run = simlib.simulate(table, simlib.StaticFIFO(2), law, gpus=gpus, backend="interpreted")
    came_s, done_s, came = run.table.arrival_s, run.times.completion_s, run.table
    end_s = until_s(run)
    inside = np.minimum(done_s, end_s) - np.minimum(came_s, end_s)
    asked_s = np.where(came.previous < 0, 0.0, done_s[came.previous])
    thinking = np.minimum(came_s, end_s) - np.minimum(asked_s, end_s)
    assert inside.sum() + thinking.sum() == 4 * end_s
