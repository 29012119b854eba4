"""Rules that cut the queue anew: batches by hand, special cases, bad input."""

import numpy as np
import pytest

import simlib
from book.chapters.recut.rules import OLDEST, WORK, Window
from simlib import InputError
from simlib.policies.shortest_first import ShortestPredictedFirst

LAW = simlib.Phases(1.0, 0.0, 1.0, 0.0)  # as many seconds as the longest member has tokens


def starts_of(kind, arrival_s, tokens, cap=2, patience_s=100.0):
    table = simlib.RequestTable(arrival_s, [1] * len(tokens), tokens, tokens)
    return simlib.simulate(table, Window(kind, cap, patience_s).policy(table, LAW), LAW).times.start_s.tolist()


def test_around_the_oldest_by_hand():
    """At 9 s wait lengths 8, 2, 3, the 8 first: with the 3 it takes 8 s, and a batch must hold it. Then the 2 alone."""
    assert starts_of(OLDEST, [0.0, 1.0, 2.0, 3.0], [9, 8, 2, 3]) == [0.0, 9.0, 17.0, 9.0]


def test_most_work_by_hand_leaves_no_room_empty():
    """At 9 s wait 8, 2, 7: the run of 8 and 7 has most tokens a second (15 in 8 s), more than 8 alone or 7 and 2."""
    assert starts_of(WORK, [0.0, 1.0, 2.0, 3.0], [9, 8, 2, 7], patience_s=1e8) == [0.0, 9.0, 17.0, 9.0]


def test_waiting_makes_work_count():
    """At 9 s wait 2 since 1 s, 8 since 8 s: without waiting 8 alone is one token a second as 2 is, and comes later."""
    calm, aged = (starts_of(WORK, [0.0, 1.0, 8.0], [9, 2, 8], cap=1, patience_s=p) for p in (1e8, 1.0))
    assert aged == [0.0, 9.0, 11.0] and calm[1] < calm[2]


def test_where_all_are_alike_it_is_first_come_first_served():
    rng = np.random.default_rng(5)
    table = simlib.RequestTable(np.cumsum(rng.exponential(0.4, 300)), [1] * 300, [7] * 300, [7] * 300)
    own = simlib.simulate(table, Window(OLDEST, 8).policy(table, LAW), LAW, 2)
    first_come = simlib.simulate(table, ShortestPredictedFirst(0.0, 1, 8), LAW, 2)
    assert own.times.start_s.tolist() == first_come.times.start_s.tolist()


def test_every_rule_serves_all_and_compiled_as_interpreted():
    """To the last bit, lengths mispredicted, two GPUs."""
    table = simlib.workload.original(120, 3)
    windows = [Window(kind, 8, 2.5).policy(table, LAW) for kind in (OLDEST, WORK)]
    for policy in (*windows, simlib.MostInTime(5.0, LAW, 8), simlib.MostInTime(5.0, LAW, 8, k_bins=3)):
        ways = [simlib.simulate(table, policy, LAW, 2, backend=way) for way in ("interpreted", "compiled")]
        assert ways[0].times.completion_s.tolist() == ways[1].times.completion_s.tolist()
        assert ways[0].served.size.sum() == 120


def test_bad_input_is_named():
    with pytest.raises(InputError, match="kind: 'shortest'"):
        Window("shortest", 8)
    with pytest.raises(InputError, match=r"patience_s: 0\.0"):
        Window(WORK, 8, 0.0)
