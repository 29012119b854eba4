"""Ends that the engine does not know, clients that are gone: by hand; the block-by-block twin is in `test_settings`."""

import math

import numpy as np
import pytest

import simlib
from simlib.continuous.settings import Continuous

LAW = simlib.StepLaw(1.0)
BACKENDS = pytest.mark.parametrize("backend", ["interpreted", "compiled"])


def served(table, policy="fcfs", backend="interpreted", law=LAW, gpus=1, **settings):
    return simlib.simulate(
        table, policy, law, gpus, Continuous(block_tokens=1, token_budget=8, **settings), backend=backend
    )


def steps(run):
    rows = run.steps
    return rows.loc[rows.index.repeat(rows["steps"]), ["decodes", "prefill_tokens"]].to_numpy().tolist()


@BACKENDS
def test_a_sequence_whose_end_is_not_known_is_computed_once_more(backend):
    """Its second and last token comes at 2; the step composed at 1 decodes it once more, and the next one does not."""
    table = simlib.RequestTable([0.0, 0.0], [1, 1], [2, 4])
    known, unknown = (served(table, steps_in_flight=2, known_ends=ends, backend=backend) for ends in (True, False))
    assert steps(known) == [[0, 2], [2, 0], [1, 0], [1, 0]]
    assert steps(unknown) == [[0, 2], [2, 0], [2, 0], [1, 0], [1, 0]]
    for run in (known, unknown):
        assert run.times.completion_s.tolist() == [2.0, 4.0]
        assert run.served.gaps.sum() == 1 + 3
    assert steps(served(table, known_ends=False, backend=backend)) == steps(
        known
    )  # with one step in flight it is known


def test_where_max_tokens_is_the_output_its_end_is_known():
    table = simlib.RequestTable([0.0, 0.0], [1, 1], [2, 4], max_tokens=[2, 9])
    assert steps(served(table, steps_in_flight=2, known_ends=False)) == [[0, 2], [2, 0], [1, 0], [1, 0], [1, 0]]


def test_the_last_token_of_who_lost_its_memory_meanwhile_is_not_computed_again():
    """Both are at 3 of 6 blocks when the second one's last token is in flight: its next block would be the seventh."""
    table = simlib.RequestTable([0.0, 0.0], [1, 1], [5, 3])
    run = served(table, steps_in_flight=2, known_ends=False, kv_tokens=6)
    assert run.preemptions == 1
    assert run.times.completion_s.tolist() == [5.0, 3.0]
    assert run.identity["recomputed"] == 0


@BACKENDS
def test_who_is_gone_gives_back_its_seat_at_the_next_boundary(backend):
    """One seat. The first client leaves at 1.5 while its second token is made, the second one while it waits."""
    table = simlib.RequestTable([0.0, 0.1, 0.2], [1, 1, 1], [9, 1, 1], cancel_s=[1.5, 0.7, math.nan])
    run = served(table, max_seqs=1, backend=backend)
    assert steps(run) == [[0, 1], [1, 0], [0, 1]]
    assert np.isnan(run.times.completion_s).tolist() == [True, True, False]
    assert run.times.start_s.tolist()[::2] == [0.0, 2.0] and run.times.first_token_s[0] == 1.0
    assert run.cancelled == 2 and run.rejected == 0
    assert run.summary()["sla_violation_share"] == 1.0  # the third one takes 2.8 s


@BACKENDS
def test_with_two_steps_in_flight_the_second_is_computed_in_vain(backend):
    """At 1.5 the steps until 2 and until 3 are composed; whoever waits is in the one after them."""
    table = simlib.RequestTable([0.0, 0.2], [1, 1], [9, 1], cancel_s=[1.5, math.nan])
    run = served(table, max_seqs=1, steps_in_flight=2, backend=backend)
    assert steps(run) == [[0, 1], [1, 0], [1, 0], [0, 1]]
    assert run.times.start_s[1] == 2.0 and run.times.completion_s[1] == 4.0


def test_a_token_that_comes_when_the_client_has_gone_comes_too_late():
    """Its last token comes at 2: gone at 1.9 it is cancelled, at 2 it has its answer."""
    for gone_s, cancelled in ((1.9, 1), (2.0, 0), (0.0, 1)):
        run = served(simlib.RequestTable([0.0], [1], [2], cancel_s=[gone_s]))
        assert run.cancelled == cancelled and np.isnan(run.times.completion_s[0]) == bool(cancelled)


def test_a_preempted_request_leaves_its_line():
    """Two of 2 tokens in 5 blocks: the second one loses its memory at 1, and its client goes at 1.5."""
    table = simlib.RequestTable([0.0, 0.0], [2, 2], [4, 4], cancel_s=[math.nan, 1.5])
    run = served(table, kv_tokens=5)
    assert run.preemptions == 1 and run.cancelled == 1
    assert steps(run) == [[0, 4], [1, 0], [1, 0], [1, 0]]


def test_blocks_of_who_is_gone_can_be_found():
    table = simlib.RequestTable([0.0, 5.0], [6, 6], [9, 1], block_ids=[range(6)] * 2, cancel_s=[1.5, math.nan])
    assert served(table, prefix_cache=True).prefix_hits.tolist() == [0, 5]


def test_the_most_urgent_of_those_who_are_left_is_next():
    table = simlib.RequestTable(
        [0.0, 0.1, 0.2, 0.3], [1] * 4, [1] * 4, priority=[0, 3, 1, 2], cancel_s=[math.nan, math.nan, 0.9, math.nan]
    )
    assert served(table, "priority", max_seqs=1).times.start_s[[1, 3]].tolist() == [2.0, 1.0]


@pytest.mark.parametrize("routing", ["shared", "round_robin", "least_requests"])
@pytest.mark.parametrize("steps_in_flight", [1, 2])
def test_nobody_is_lost_and_whoever_stays_is_served(routing, steps_in_flight):
    rng = np.random.default_rng(0)
    arrival_s, rows = np.cumsum(rng.exponential(0.5, 200)), 200
    cancel_s = np.where(rng.random(rows) < 0.4, arrival_s + rng.exponential(8.0, rows), np.nan)
    table = simlib.RequestTable(arrival_s, rng.integers(1, 20, rows), rng.integers(1, 9, rows), cancel_s=cancel_s)
    ways = [
        served(table, "fcfs", way, gpus=2, kv_tokens=60, max_seqs=6, steps_in_flight=steps_in_flight, routing=routing)
        for way in ("interpreted", "compiled")
    ]
    run, gone = ways[0], np.isnan(ways[0].times.completion_s)
    assert np.array_equal(ways[1].times.completion_s, run.times.completion_s, equal_nan=True)
    assert 20 < run.cancelled == gone.sum() and not gone[np.isnan(cancel_s)].any()
    assert (run.times.completion_s[~gone & ~np.isnan(cancel_s)] <= cancel_s[~gone & ~np.isnan(cancel_s)]).all()
    assert (run.served.numbers[:, [3, 4]] == 0).all()  # no seat and no block is held at the end
    assert run.rejected == 0


def test_what_is_no_such_time_is_said_before_the_run():
    for given, message in (([0.5], "row 0: 0.5"), ([math.inf], "row 0: inf"), ([2.0, 3.0], "2 rows")):
        with pytest.raises(simlib.InputError, match=f"cancel_s.*{message}"):
            simlib.RequestTable([1.0], [1], [1], cancel_s=given)
    table = simlib.RequestTable([1.0], [1], [1], cancel_s=[2.0])
    assert table.at_rate(0.5).cancel_s.tolist() == [3.0]
    with pytest.raises(simlib.InputError, match=r"cancel_s, row 0: 2 .*'continuous'"):
        simlib.simulate(table, "static_fifo")
    with pytest.raises(simlib.InputError, match="max_tokens, row 0: 1"):
        simlib.RequestTable([1.0], [1], [2], max_tokens=[1])
    for wrong in ({"reserve": True}, {"prefill": "first"}):
        with pytest.raises(simlib.InputError, match="known_ends: False"):
            Continuous(known_ends=False, **wrong)
