"""What B has late beyond A: in pairs where both face the same requests, else of seeds apart, else with a reason."""

import math

import numpy as np
import pytest

from book.explorer.against import Kept, compared
from book.explorer.replications import replicated
from book.explorer.state import Position
from simlib.runs import metrics
from simlib.stats import intervals, shares

A = Position(requests=200, schedulers=["dynamic_no_bins", "multi_bin_dynamic"], d_sla=0.5)
COUNT = 12


def of(work):
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value


def against(a: Position, b: Position, count: int = COUNT) -> dict:
    return of(compared(Kept(a), of(replicated(b, count)), count))


def late(position: Position, scheduler: str, seeds) -> list[int]:
    """Of direct runs, one a seed."""
    tables = (position.moved({"seed": seed}).drawn() for seed in seeds)
    return [int(metrics.violations(position.served(table, scheduler)).sum()) for table in tables]


@pytest.mark.parametrize("moves", [{"d_sla": 0.8}, {"gpus": 3}, {"execution": "continuous"}, {"predictor": "oracle"}])
def test_the_same_requests_are_compared_in_pairs(moves):
    b = A.moved(moves)
    found = against(A, b)
    assert found["method"] == "paired" and found["replications"] == COUNT and not found["conditional"]
    for one in found["differences"]:
        share = [np.array(late(position, one["scheduler"], range(42, 42 + COUNT))) / 200 for position in (b, A)]
        pair = intervals.paired_difference(*share)
        assert one["mean"] == pytest.approx(pair.mean)
        if one["low"] is None:
            assert np.sum(share[0] != share[1]) < shares.FEWEST_CLUSTERS
        else:
            assert (one["low"], one["high"]) == pytest.approx((pair.ci_low, pair.ci_high))


@pytest.mark.parametrize(
    ("moves", "seeds_of_a"),
    [
        ({"load": 1.3}, range(42 + 2 * COUNT, 42 + 3 * COUNT)),
        ({"seed": 43}, range(42 + 2 * COUNT, 42 + 3 * COUNT)),  # 11 of 12 would be served twice
        ({"seed": 900}, range(42, 42 + COUNT)),
    ],
)
def test_other_requests_are_compared_with_no_seed_in_common(moves, seeds_of_a):
    b = A.moved(moves)
    found = against(A, b)
    assert found["method"] == "independent"
    (one,) = (one for one in found["differences"] if one["scheduler"] == "dynamic_no_bins")
    of_a = shares.share_interval(late(A, "dynamic_no_bins", seeds_of_a), 200)
    of_b = shares.share_interval(late(b, "dynamic_no_bins", range(b.seed, b.seed + COUNT)), 200)
    assert one["mean"] == pytest.approx(of_b.value - of_a.value)
    below = math.hypot(of_b.value - of_b.ci_low, of_a.ci_high - of_a.value)
    above = math.hypot(of_b.ci_high - of_b.value, of_a.value - of_a.ci_low)
    assert (one["low"], one["high"]) == pytest.approx((one["mean"] - below, one["mean"] + above))


def test_where_nothing_is_left_to_chance_the_difference_is_exact_and_has_no_interval():
    fixed = A.moved({"workload": "burstgpt", "predictor": "oracle"})
    found = against(fixed, fixed.moved({"d_sla": 0.3}))
    assert found["method"] == "exact" and all(one["low"] is None for one in found["differences"])
    assert found["differences"][0]["reason"] == "nothing is left to chance"
    other = against(fixed, fixed.moved({"load": 2.0}))
    assert "other requests" in other["differences"][0]["reason"]


def test_a_fixed_trace_is_compared_in_pairs_that_are_conditional_on_it():
    trace = A.moved({"workload": "burstgpt", "latency": "original-calibrated", "load": 3.0})
    found = against(trace.moved({"predictor": "oracle"}), trace)  # one side has one run, the other a run a prediction
    assert found["method"] == "paired" and found["conditional"] and found["replications"] == COUNT


def test_a_trace_whose_predictions_have_other_seeds_is_not_compared_in_pairs():
    trace = A.moved({"workload": "burstgpt", "latency": "original-calibrated", "predictor": "noise_1", "load": 3.0})
    assert against(trace, trace.moved({"seed": 43}), 3)["method"] == "independent"


def test_too_few_replications_that_differ_carry_no_interval():
    found = against(A.moved({"d_sla": 3.0}), A.moved({"d_sla": 3.0, "k_bins": 5}))
    reasons = {one["scheduler"]: one["reason"] for one in found["differences"]}
    assert reasons["dynamic_no_bins"] == f"they differ in 0 of {COUNT} replications; an interval needs 10"


def test_a_is_served_once_however_often_it_is_compared():
    kept, b = Kept(A), of(replicated(A.moved({"d_sla": 0.8}), COUNT))
    assert len(list(compared(kept, b, COUNT))) >= 2 * COUNT and list(compared(kept, b, COUNT)) == []


def test_only_what_both_have_is_compared():
    assert against(A.moved({"schedulers": ["static_fifo"]}), A)["differences"] == []
