"""Most in time: batches by hand, the best of all batches by brute force, special cases, bad input."""

import itertools
import math

import numpy as np
import pytest

import simlib
from simlib import InputError, MostInTime
from simlib.engine.shapes import Waiting
from simlib.latency.models import Function
from simlib.policies.deadline import most_in_time

LAW = simlib.Phases(1.0, 0.0, 1.0, 0.0)  # as many seconds as the longest member has tokens
GROWING = simlib.Phases(1.0, 0.0, 1.0, 0.25)  # and a quarter of a second more for each step of each member


def starts_of(arrival_s, tokens, **options):
    table = simlib.RequestTable(arrival_s, [1] * len(tokens), tokens, tokens)
    policy = MostInTime(**({"d_sla": 100.0, "law": LAW, "batch_size": 2} | options))
    return simlib.simulate(table, policy, LAW).times.start_s.tolist()


def test_one_edge_takes_whoever_can_be_in_time():
    """At 9 s, deadline 12 s: what came at 1 s with 9 tokens would end at 18 s, late; two of length 2 end in time."""
    assert starts_of([0.0, 1.0, 1.0, 1.0], [9, 2, 9, 2], d_sla=12.0) == [0.0, 9.0, 11.0, 9.0]


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
    plan = MostInTime(18.0, GROWING, cap).plan(simlib.RequestTable(arrival_s, [1] * 8, tokens, tokens), 1)
    params, memory = plan.params, plan.memory
    queue, size = plan.decide(now_s, 0, _queue(arrival_s, tokens), params, memory, np.zeros(0))

    def rate(members):
        time_s = float(GROWING.batch_time_s(len(members), 1, tokens[members].max()))
        slack_s = 18.0 - (now_s - arrival_s[members]) - time_s
        return sum(math.exp(-slack / 9.0) if slack >= 0 else most_in_time.LATE_CREDIT for slack in slack_s) / time_s

    chosen = np.flatnonzero(memory[most_in_time.CHOSEN][:8])
    best = max(rate(np.array(m)) for count in range(1, cap + 1) for m in itertools.combinations(range(8), count))
    assert (queue, size) == (0, len(chosen)) and rate(chosen) == pytest.approx(best)


def test_who_is_late_already_gets_the_seats_that_are_left():
    """At 9 s, deadline 5 s, all three are late: the last two to have missed it go first, the oldest waits."""
    assert starts_of([0.0, 1.0, 2.0, 3.0], [9, 2, 2, 2], d_sla=5.0) == [0.0, 11.0, 9.0, 9.0]


def test_a_margin_leaves_out_who_would_just_be_in_time():
    """At 9 s, deadline 12 s: 2 s are left for what came at 1 s and takes 2 s, half of what is asked with a margin."""
    tight, wide = (starts_of([0.0, 1.0, 5.0], [9, 2, 3], batch_size=1, margin=margin) for margin in (1.0, 2.0))
    assert tight == wide  # nobody is short of time within 100 s
    found = [starts_of([0.0, 1.0, 5.0], [9, 2, 3], d_sla=10.0, batch_size=1, margin=margin) for margin in (1.0, 2.0)]
    assert found[0] == [0.0, 9.0, 11.0] and found[1] == [0.0, 12.0, 9.0]


def test_where_all_are_alike_it_is_first_come_first_served():
    rng = np.random.default_rng(5)
    table = simlib.RequestTable(np.cumsum(rng.exponential(0.4, 300)), [1] * 300, [7] * 300, [7] * 300)
    own = simlib.simulate(table, MostInTime("1000000s", LAW, 8), LAW, 2)
    first_come = simlib.simulate(table, simlib.ShortestPredictedFirst(0.0, 1, 8), LAW, 2)
    assert own.times.start_s.tolist() == first_come.times.start_s.tolist()


def test_it_leaves_fewer_late_than_shortest_first_where_it_is_busy():
    """Seed 1, 2,000 requests at 1.1 times what batches carry: a quarter fewer at least (measured: less than half)."""
    law, table = simlib.Affine(0.010, 0.0002, 0.3), simlib.workload.original(2000, 1, rate_rps=140.0)
    late = [
        simlib.simulate(table, policy, law).summary(0.4)["sla_violation_share"]
        for policy in (MostInTime(0.4, law), simlib.ShortestPredictedFirst(None, 4, 32))
    ]
    assert late[0] < 0.75 * late[1]


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"d_sla": 0.0}, "d_sla"),
        ({"batch_size": 0}, "batch_size"),
        ({"patience": 0.0}, "patience"),
        ({"k_bins": 0}, "k_bins"),
        ({"law": "original"}, "law"),
        ({"law": simlib.GivenTimes([1.0])}, "law: .*expected a model of simlib"),
        ({"law": simlib.Affine(0.0, 0.0, 0.0, floor_s=0.0)}, "law: .*gives a batch of one its time"),
        ({"law": Function(lambda *shape: 1.0)}, "law: .*expected a model of simlib"),
    ],
)
def test_bad_input_is_named(options, place):
    with pytest.raises(InputError, match=place):
        MostInTime(**({"d_sla": 1.0, "law": LAW} | options))
