"""Fair shares: virtual token counters by hand and against a plain twin, in both executions."""

import numpy as np
import pytest
from strategies import ONE_SEAT, order_of

import simlib
from simlib.continuous.settings import Continuous
from simlib.policies.fair_share import FairShare
from simlib.requests.clients import clients_of, with_clients

BACKENDS = ("compiled", "stepped", "interpreted")
STEP_S = 0.01


def requests_of(arrival_s, outputs, clients) -> simlib.RequestTable:
    return simlib.RequestTable(arrival_s, [1] * len(outputs), outputs, outputs, labels={"client": list(clients)})


def crowd(seed: int, rows: int = 200) -> simlib.RequestTable:
    """Requests that queue for one seat, of four clients of unequal rates; half of them seldom wait."""
    rng = np.random.default_rng(seed)
    outputs = rng.integers(1, 40, rows)
    table = simlib.RequestTable(np.cumsum(rng.exponential(0.2, rows)), rng.integers(1, 9, rows), outputs, outputs)
    return with_clients(table, [6, 3, 1, 0.5], "crowd", seed)


def plain_order(table: simlib.RequestTable, service_s: np.ndarray, weight: float) -> list[int]:
    """One server, one request at a time: lists of requests, counters by client, as the paper words it."""
    clients = clients_of(table)
    waiting, counters, last = {c: [] for c in set(clients.tolist())}, dict.fromkeys(set(clients.tolist()), 0.0), None
    now_s, arrived, order = 0.0, 0, []
    while len(order) < len(table):
        if not any(waiting.values()):
            now_s = max(now_s, table.arrival_s[arrived])
        while arrived < len(table) and table.arrival_s[arrived] <= now_s:
            client = int(clients[arrived])
            if not waiting[client]:
                active = [counters[other] for other in waiting if waiting[other]]
                level = min(active) if active else counters.get(last, 0.0)
                counters[client] = max(counters[client], level)
            waiting[client].append(arrived)
            arrived += 1
        client = min((c for c in waiting if waiting[c]), key=lambda c: (counters[c], c))
        request = waiting[client].pop(0)
        counters[client] += table.prompt_tokens[request] + weight * table.predicted_output_tokens[request]
        order.append(request)
        last, now_s = client, now_s + service_s[request]
    return order


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_least_served_client_is_next_by_hand(backend):
    # Each request is charged 1 + 2 x 9 = 19. At 1 s both clients have 19, the first one comes first; at 2 s it has 38.
    table = requests_of([0, 0.1, 0.2, 0.3, 0.4], [9] * 5, "aaabb")
    run = simlib.simulate(table, FairShare(1), simlib.GivenTimes([1.0] * 5), backend=backend)
    assert order_of(run) == [0, 1, 3, 2, 4]


def test_idleness_earns_no_credit():
    # The second client comes at 5.5, when the first has been charged for six: it is lifted to that, and they alternate.
    table = requests_of([*np.arange(12) * 0.01, 5.5, 5.51, 5.52], [9] * 15, "a" * 12 + "b" * 3)
    run = simlib.simulate(table, FairShare(1), simlib.GivenTimes([1.0] * 15))
    assert order_of(run) == [0, 1, 2, 3, 4, 5, 6, 12, 7, 13, 8, 14, 9, 10, 11]


@pytest.mark.parametrize("seed", range(4))
def test_batches_of_one_follow_the_plain_twin(seed):
    table = crowd(seed)
    service_s = 0.01 * table.output_tokens
    run = simlib.simulate(table, FairShare(1), simlib.GivenTimes(service_s))
    assert order_of(run) == plain_order(table, service_s, 2.0)


@pytest.mark.parametrize("backend", ["compiled", "interpreted"])
@pytest.mark.parametrize("seed", range(2))
def test_an_engine_of_one_seat_follows_it_too(seed, backend):
    table = crowd(seed, 120)
    law = simlib.StepLaw(STEP_S)  # an output of o tokens takes o steps
    run = simlib.simulate(table, FairShare(output_weight=0.5), law, 1, ONE_SEAT, backend=backend)
    # Whoever arrives while a step runs is seen at its end: service is counted from there, as in the twin.
    assert order_of(run) == plain_order(table, STEP_S * table.output_tokens, 0.5)


def test_a_batch_is_of_one_client_and_of_its_oldest():
    table = crowd(1, 300)
    run = simlib.simulate(table, FairShare(4), simlib.GivenTimes(np.full(300, 0.9)), gpus=2)
    clients = clients_of(table)
    for batch in range(len(run.served.size)):
        assert len(set(clients[run.served.batch_of == batch].tolist())) == 1
    for client in range(4):
        assert (np.diff(run.served.batch_of[clients == client]) >= 0).all()


def test_under_a_flood_by_one_client_the_others_wait_less_than_first_come_first_served():
    table = with_clients(simlib.workload.original(600, seed=5, rate_rps=40.0), [9, 1, 1], "flood", 5)
    law = simlib.StepLaw(0.02, 0.001)
    fair_run, fcfs = (
        simlib.simulate(table, policy, law, 1, Continuous(max_seqs=8)).by("client") for policy in (FairShare(), "fcfs")
    )
    late = {name: rows.set_index("client")["latency_mean_s"] for name, rows in (("fair", fair_run), ("fcfs", fcfs))}
    assert (late["fair"][[1, 2]] < 0.5 * late["fcfs"][[1, 2]]).all() and late["fair"][0] > late["fcfs"][0]


def test_clients_are_numbered_by_first_appearance_whatever_they_are_called():
    assert clients_of(requests_of([0, 1, 2], [1] * 3, ["z", "a", "z"])).tolist() == [0, 1, 0]


def test_clients_are_drawn_with_their_shares_from_a_stream_of_their_own():
    table = simlib.workload.original(8000, seed=1)
    drawn = with_clients(table, [3, 1], "shares", 2)
    share = np.mean(drawn.labels["client"] == 0)
    assert abs(share - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 8000)  # fails by chance once in 16,000 seeds
    assert drawn.arrival_s is table.arrival_s and "client" not in table.labels
    again = with_clients(table, [3, 1], "shares", 2)
    np.testing.assert_array_equal(drawn.labels["client"], again.labels["client"])


def test_what_each_client_got():
    run = simlib.simulate(requests_of([0, 0, 0], [1] * 3, "aba"), FairShare(1), simlib.GivenTimes([1.0] * 3))
    found = run.by("client", 1.5).set_index("client")
    assert found["requests"].to_dict() == {"a": 2, "b": 1}
    assert found["latency_mean_s"].to_dict() == {"a": 2.0, "b": 2.0}
    assert found["sla_violation_share"].to_dict() == {"a": 0.5, "b": 1.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FairShare(batch_size=0), "batch_size: 0"),
        (lambda: FairShare(output_weight=-1), "output_weight: -1"),
        (lambda: simlib.simulate(simlib.workload.original(5), FairShare()), "client: missing column"),
        (lambda: simlib.simulate(requests_of([0, 1], [1, 1], ["a", None]), FairShare()), "client, row 1: missing"),
        (
            lambda: clients_of(requests_of(np.arange(5000), [1] * 5000, range(5000))),
            "number of classes by client: 5000",
        ),
        (lambda: with_clients(simlib.workload.original(5), []), "shares: none"),
        (lambda: with_clients(simlib.workload.original(5), [1, 0]), "shares: 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(simlib.InputError, match=message):
        call()
