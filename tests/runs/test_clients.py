"""The time in which all clients are at work, what counts in it, and the interactive law."""

import numpy as np
import pytest

import simlib
from simlib.checks import InputError
from simlib.requests.lengths import Fixed
from simlib.requests.table import RequestTable
from simlib.runs.clients import Window, at_work, interactive_clients

ONE = {"latency": simlib.StepLaw(0.1, 0.0, 0.0, 0.0), "execution": simlib.Continuous(), "backend": "interpreted"}


def served(table, gpus=1):
    return simlib.simulate(table, "fcfs", gpus=gpus, **ONE)


def test_two_clients_by_hand():
    """Steps of 0.1 s, two tokens an answer: 0.2 s. Client 0 at 0, 1.2, 2.4; client 1, from 0.5, at 0.5 and 1.7."""
    table = RequestTable(
        [0.0, 0.5, 1.0, 1.5, 2.0], [1] * 5, [2] * 5, previous=[-1, -1, 0, 1, 2], think_s=[0, 0, 1.0, 1.0, 1.0]
    )
    run = served(table)
    np.testing.assert_allclose(run.times.completion_s, [0.2, 0.7, 1.4, 1.9, 2.6])
    window = run.at_work
    assert window.clients == 2 and (window.start_s, window.end_s) == pytest.approx((0.5, 1.9))
    found = run.summary(within=window)
    assert found["requests"] == 3 and found["makespan_s"] == pytest.approx(1.4)  # answered at 0.7, 1.4 and 1.9
    assert found["throughput_rps"] == pytest.approx(3 / 1.4) and found["latency_mean_s"] == pytest.approx(0.2)
    assert found["stability"] == run.summary()["stability"] == "closed" and run.summary()["requests"] == 5
    assert interactive_clients(run.table, run.times.completion_s, window) == pytest.approx(3 / 1.4 * 1.2)


def test_the_interactive_law_counts_the_clients():
    """10 clients, 0.7 s of thinking, three steps of 0.1 s: at most 10 a second, less what waits for a step to end."""
    run = served(simlib.workload.closed(10, 1000, Fixed(5), Fixed(3), think=0.7, ramp_s=1.0))
    assert interactive_clients(run.table, run.times.completion_s, run.at_work) == pytest.approx(10.0, rel=0.01)
    assert 10 / 1.1 <= run.summary(within=run.at_work)["throughput_rps"] <= 10.0


def test_who_is_late_is_counted_among_what_is_answered_in_the_window():
    run = served(simlib.workload.closed(3, 4, Fixed(5), Fixed(3), think=0.7))
    assert run.summary(sla=0.25, within=run.at_work)["sla_violation_share"] == 1.0
    assert run.summary(sla=0.35, within=run.at_work)["sla_violation_share"] == 0.0


def test_requests_that_are_not_served_count_by_when_they_came():
    window = Window(1, 1.0, 2.0)
    table = RequestTable([0.5, 1.5, 2.5], [1] * 3, [1] * 3, previous=[-1, 0, 1])
    assert window.scored(table, np.array([np.nan, np.nan, np.nan])).tolist() == [False, True, False]
    assert window.scored(table, np.array([1.0, 2.0, 3.0])).tolist() == [False, True, False]


def test_where_one_is_done_before_another_begins_there_is_no_such_time():
    table = RequestTable([0.0, 0.0, 9.0], [1] * 3, [2] * 3, previous=[-1, 0, -1])
    run = served(table)
    assert run.at_work.is_empty and run.summary()["stability"] == "unknown"  # sessions come openly: too few to tell
    with pytest.raises(InputError, match=r"clients: never are all 2 at work, the last one begins at 9 s and the first"):
        run.summary(within=run.at_work)


@pytest.mark.parametrize(
    "look", [lambda run, within: run.summary(within=within), lambda run, at: run.by("client", None, at)]
)
def test_another_thing_than_a_window_is_refused(look):
    run = served(simlib.workload.closed(2, 3, Fixed(5), Fixed(3)))
    with pytest.raises(InputError, match=r"within: \(0.0, 1.0\) \(expected run.at_work, or"):
        look(run, (0.0, 1.0))


def test_an_open_run_has_no_clients():
    with pytest.raises(InputError, match="previous: missing column"):
        at_work(RequestTable([0.0], [1], [1]), np.array([1.0]))
