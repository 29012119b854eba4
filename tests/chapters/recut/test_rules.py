"""Rules that cut the queue anew: batches by hand, the best of all batches by brute force, special cases, bad input."""

import itertools
import math

import numpy as np
import pytest

import simlib
from book.chapters.recut import rules
from book.chapters.recut.rules import IN_TIME, OLDEST, WORK, Rule
from simlib import InputError
from simlib.engine.shapes import Waiting
from simlib.policies.shortest_first import ShortestPredictedFirst

LAW = simlib.Phases(1.0, 0.0, 1.0, 0.0)  # as many seconds as the longest member has tokens
GROWING = simlib.Phases(1.0, 0.0, 1.0, 0.25)  # and a quarter of a second more for each step of each member


def starts_of(kind, arrival_s, tokens, **options):
    table = simlib.RequestTable(arrival_s, [1] * len(tokens), tokens, tokens)
    rule = Rule(kind, **({"cap": 2, "d_sla": 100.0} | options))
    return simlib.simulate(table, rule.policy(table, LAW), LAW).times.start_s.tolist()


def test_around_the_oldest_by_hand():
    """At 9 s wait lengths 8, 2, 3, the 8 first: with the 3 it takes 8 s, and a batch must hold it. Then the 2 alone."""
    assert starts_of(OLDEST, [0.0, 1.0, 2.0, 3.0], [9, 8, 2, 3]) == [0.0, 9.0, 17.0, 9.0]


def test_most_work_by_hand_leaves_no_room_empty():
    """At 9 s wait 8, 2, 7: the run of 8 and 7 has most tokens a second (15 in 8 s), more than 8 alone or 7 and 2."""
    assert starts_of(WORK, [0.0, 1.0, 2.0, 3.0], [9, 8, 2, 7], patience=1e6) == [0.0, 9.0, 17.0, 9.0]


def test_waiting_makes_work_count():
    """At 9 s wait 2 since 1 s, 8 since 8 s: without waiting 8 alone is one token a second as 2 is, and comes later."""
    calm, aged = (starts_of(WORK, [0.0, 1.0, 8.0], [9, 2, 8], cap=1, patience=p) for p in (1e6, 0.01))
    assert aged == [0.0, 9.0, 11.0] and calm[1] < calm[2]


def test_one_edge_takes_whoever_can_be_in_time():
    """At 9 s, deadline 12 s: what came at 1 s with 9 tokens would end at 18 s, late; two of length 2 end in time."""
    assert starts_of(IN_TIME, [0.0, 1.0, 1.0, 1.0], [9, 2, 9, 2], d_sla=12.0) == [0.0, 9.0, 11.0, 9.0]


def _queue(arrival_s, tokens):
    count = len(tokens)
    ends = np.array([count])
    lengths = np.asarray(tokens, np.int64)
    return Waiting(np.zeros(1, int), ends, ends, np.arange(count), np.asarray(arrival_s), np.ones(count, int), lengths)


@pytest.mark.parametrize("seed", range(25))
def test_no_batch_whatever_its_members_is_worth_more_a_second_than_one_edge(seed):
    """All batches of up to four of eight that wait: none has more urgency a second, lower edge or not."""
    rng = np.random.default_rng(seed)
    arrival_s, tokens, now_s, cap = np.sort(rng.uniform(0, 20, 8)), rng.integers(1, 15, 8), 22.0, 4
    rule = Rule(IN_TIME, cap, 18.0, 0.5)
    policy = rule.policy(simlib.RequestTable(arrival_s, [1] * 8, tokens, tokens), GROWING)
    params, memory = np.array(policy.params), np.array(policy.memory)
    queue, size = rules.in_time(now_s, 0, _queue(arrival_s, tokens), params, memory, np.zeros(0))

    def rate(members):
        time_s = float(GROWING.batch_time_s(len(members), 1, tokens[members].max()))
        slack_s = 18.0 - (now_s - arrival_s[members]) - time_s
        return sum(math.exp(-slack / 9.0) if slack >= 0 else rules.LATE_CREDIT for slack in slack_s) / time_s

    chosen = np.flatnonzero(memory[rules.CHOSEN][:8])
    best = max(rate(np.array(m)) for count in range(1, cap + 1) for m in itertools.combinations(range(8), count))
    assert (queue, size) == (0, len(chosen)) and rate(chosen) == pytest.approx(best)


@pytest.mark.parametrize("kind", [OLDEST, IN_TIME])
def test_where_all_are_alike_it_is_first_come_first_served(kind):
    rng = np.random.default_rng(5)
    table = simlib.RequestTable(np.cumsum(rng.exponential(0.4, 300)), [1] * 300, [7] * 300, [7] * 300)
    own = simlib.simulate(table, Rule(kind, 8, 1e6).policy(table, LAW), LAW, 2)
    first_come = simlib.simulate(table, ShortestPredictedFirst(0.0, 1, 8), LAW, 2)
    assert own.times.start_s.tolist() == first_come.times.start_s.tolist()


def test_every_rule_serves_all_and_compiled_as_interpreted():
    """To the last bit, lengths mispredicted, two GPUs."""
    table = simlib.workload.original(120, 3)
    for kind in rules.KINDS:
        policy = Rule(kind, 8, 5.0, 0.5, k_bins=3).policy(table, LAW)
        ways = [simlib.simulate(table, policy, LAW, 2, backend=way) for way in ("interpreted", "compiled")]
        assert ways[0].times.completion_s.tolist() == ways[1].times.completion_s.tolist()
        assert ways[0].served.size.sum() == 120


def test_bad_input_is_named():
    with pytest.raises(InputError, match="kind: 'shortest'"):
        Rule("shortest", 8, 1.0)
    with pytest.raises(InputError, match=r"d_sla: 0\.0"):
        Rule(WORK, 8, 0.0)
