"""Closed loops: what each client asks is its own, who begins when, and requests that are dealt."""

import numpy as np
import pytest

import simlib
from simlib.checks import InputError
from simlib.requests.lengths import Fixed, LogNormal, Mixture, Uniform
from simlib.requests.loops.closed import closed, dealt, starts_s
from simlib.requests.predictors import MultiplicativeNoise
from simlib.requests.table import RequestTable

LENGTHS = LogNormal(100, 0.8), Mixture([Uniform(1, 50), Fixed(200)], [3, 1])
WANTED = ("prompt_tokens", "output_tokens", "predicted_output_tokens", "think_s")


def of_client(table, client, columns=WANTED):
    return [getattr(table, column)[table.labels["client"] == client].tolist() for column in columns]


def test_two_clients_by_hand():
    """Client 1 begins at 0.5; each thinks for 2 s: before any answer has taken time they alternate."""
    table = closed(2, 3, Fixed(100), Fixed(10), think=2.0, ramp_s=1.0)
    assert table.arrival_s.tolist() == [0.0, 0.5, 2.0, 2.5, 4.0, 4.5]
    assert table.previous.tolist() == [-1, -1, 0, 1, 2, 3] and table.think_s.tolist() == [0, 0, 2, 2, 2, 2]
    assert table.labels["client"].tolist() == [0, 1] * 3


def test_a_client_asks_the_same_whoever_else_is_there_and_however_long():
    one = closed(4, 10, *LENGTHS, "exponential:1s", MultiplicativeNoise(0.5))
    more = closed(65, 25, *LENGTHS, "exponential:1s", MultiplicativeNoise(0.5), ramp_s=9.0, stages=[(30, 20.0)])
    for client in range(4):
        assert of_client(one, client) == [values[:10] for values in of_client(more, client)]
    assert of_client(one, 0) != of_client(one, 1)
    assert of_client(one, 0) != of_client(closed(4, 10, *LENGTHS, 1.0, MultiplicativeNoise(0.5), replication=1), 0)


@pytest.mark.parametrize("execution", ["run_to_completion", simlib.Continuous(max_seqs=4)])
def test_every_policy_gets_the_same_requests_and_arrivals_follow_answers(execution):
    table = closed(5, 6, *LENGTHS, "exponential:100ms", MultiplicativeNoise(0.5))
    law = "original-synthetic" if execution == "run_to_completion" else simlib.StepLaw(0.01, 1e-4, 3e-5, 2e-8)
    policies = "static_fifo", "shortest_predicted_first"
    for policy in policies if execution == "run_to_completion" else ("fcfs", "shortest_predicted_first"):
        run = simlib.simulate(table, policy, law, 1, execution, backend="interpreted")
        served = run.requests.sort_values(["client", "arrival_s"], kind="stable")
        for client in range(5):
            mine = served[served["client"] == client]
            assert [mine[name].tolist() for name in WANTED] == of_client(table, client)
            sent_s = mine["completion_s"].to_numpy()[:-1] + mine["think_s"].to_numpy()[1:]
            np.testing.assert_allclose(mine["arrival_s"].to_numpy()[1:], sent_s, atol=1e-9)


def test_more_begin_at_each_stage_and_a_ramp_is_of_each():
    assert starts_s(5, 2.0, [(1, 10.0), (3, 20.0)]).tolist() == [0.0, 10.0, 11.0, 30.0, 31.0]
    assert starts_s(1).tolist() == [0.0]


def test_requests_are_dealt_in_turn():
    table = RequestTable(
        [0.0, 7.0, 8.0, 9.0, 9.0], [1, 2, 3, 4, 5], [1] * 5, predicted_output_tokens=[9, 8, 7, 6, 5],
        labels={"model": np.array(list("abcde"))},
    )  # fmt: skip
    found = dealt(table, 2, think=1.0, ramp_s=1.0)
    assert found.prompt_tokens.tolist() == [1, 2, 3, 4, 5] and found.labels["client"].tolist() == [0, 1, 0, 1, 0]
    assert found.arrival_s.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0] and found.previous.tolist() == [-1, -1, 0, 1, 2]
    assert found.predicted_output_tokens.tolist() == [9, 8, 7, 6, 5] and "".join(found.labels["model"]) == "abcde"


def test_a_client_has_one_conversation_after_the_other():
    """Sessions a (rows 0, 2), b (1, 4), c (3, 5) for two clients: c comes after a, whose second turn ends at 5 s."""
    table = RequestTable(
        [0.0, 1.0, 5.0, 6.0, 7.0, 7.0], [1, 2, 3, 4, 5, 6], [1] * 6,
        previous=[-1, -1, 0, -1, 1, 3], think_s=[0, 0, 5.0, 0, 6.0, 1.0],
    )  # fmt: skip
    found = dealt(table, 2, think=10.0)
    by_client = [found.prompt_tokens[found.labels["client"] == client].tolist() for client in (0, 1)]
    assert by_client == [[1, 3, 4, 6], [2, 5]]
    assert found.arrival_s[found.labels["client"] == 0].tolist() == [0.0, 5.0, 15.0, 16.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clients": 0}, r"clients: 0 \(expected an integer from 1"),
        ({"clients": 2.5}, "clients: 2.5"),
        ({"requests": 0}, "requests of each client: 0"),
        ({"requests": 10**8, "clients": 2}, "clients times requests: 200000000"),
        ({"think": -1.0}, "think_s: -1"),
        ({"ramp_s": -1.0}, "ramp_s: -1"),
        ({"prompt": 5}, "prompt: 5"),
        ({"stages": [(2, 5.0)]}, r"stages, stage 0: clients: 2 \(expected an integer from 1 to 1\)"),
        ({"clients": 9, "stages": [(4, 5.0), (4, 5.0)]}, "stages, stage 1: clients: 4"),
        ({"clients": 9, "stages": [(4, 0.0)]}, "stages, stage 0: seconds: 0"),
        ({"clients": 9, "stages": [(4, 5.0)], "ramp_s": 9.0}, "stages, stage 0: seconds: 5"),
        ({"clients": 9, "stages": [4]}, r"stages, stage 0: 4 \(expected clients and seconds\)"),
        ({"clients": 9, "stages": 4}, r"stages: 4 \(expected a sequence of clients and seconds"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    good = {"clients": 2, "requests": 3, "prompt": Fixed(5), "output": Fixed(5)}
    with pytest.raises(InputError, match=message):
        closed(**(good | change))


def test_a_data_frame_is_dealt_like_a_table():
    table = RequestTable([0.0, 1.0, 5.0], [10, 20, 30], [1, 2, 3])
    assert dealt(table.frame(), 2, 2.0).frame().equals(dealt(table, 2, 2.0).frame())


def test_more_clients_than_there_is_to_ask_are_refused():
    with pytest.raises(InputError, match=r"clients: 3 \(expected at most 2: there are 2 requests\)"):
        dealt(RequestTable([0.0, 1.0], [1, 1], [1, 1]), 3)


def test_somebody_may_think_for_hours():
    assert closed(2, 20, Fixed(5), Fixed(5), think="2h").arrival_s[-1] == 19 * 7200.0
