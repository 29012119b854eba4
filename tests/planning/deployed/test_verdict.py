"""Counts of windows against a promise: exact binomial probabilities, and how often a promise that holds is blamed."""

import pytest
from scipy.stats import binom

from simlib.planning.deployed.promise import Assumed, Promise, Promised, Setup
from simlib.planning.deployed.verdict import Count, judge
from simlib.planning.deployed.window import Observed
from simlib.planning.objectives import parse

SLA = parse("ttft_p99<=1,tpot_p99<=0.05")


def promise(confidence=0.95, high_s=0.8):
    promised = (Promised(SLA[0], Assumed(0.5, 0.3, high_s)), Promised(SLA[1], Assumed(0.03)))
    return Promise("plan.json", 600.0, confidence, promised, {}, Setup(1, 8, 512, 1000))


def window(ttft=(0.5, 0.5), tpot=(0.03, 0.03)):
    values = {name: ends for name, ends in (("ttft_p99", ttft), ("tpot_p99", tpot)) if ends}
    return Observed("w", 600.0, 100, values, {})


@pytest.mark.parametrize(
    ("windows", "missed", "chance", "too_many"),
    [
        (1, 0, 1.0, False), (1, 1, 0.05, True), (2, 1, 0.0975, False), (2, 2, 0.0025, True), (20, 3, 0.0755, False),
        (20, 4, 0.0159, True), (100, 9, 0.0631, False), (100, 10, 0.0282, True),
    ],
)  # fmt: skip
def test_so_many_misses_are_compatible_with_95_of_100(windows, missed, chance, too_many):
    found = judge(promise(), [window(ttft=(2.0, 2.0))] * missed + [window()] * (windows - missed)).missed
    assert (found.told, found.beyond) == (windows, missed)
    assert found.chance == pytest.approx(chance, abs=5e-5)
    assert found.too_many is too_many


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_a_promise_that_holds_is_blamed_at_most_as_often_as_its_level(share):
    for windows in (1, 2, 3, 10, 59, 60, 200):
        counts = [
            Count.of([False] * missed + [True] * (windows - missed), share, share) for missed in range(windows + 1)
        ]
        blamed = sum(binom.pmf(count.beyond, windows, share) for count in counts if count.too_many)
        assert blamed <= share + 1e-9


def test_bounds_that_do_not_tell_count_for_nothing():
    found = judge(promise(), [window(ttft=(0.5, 2.5)), window(), window(ttft=None)])
    assert (found.missed.told, found.missed.beyond, found.inside) == (1, 0, True)
    assert judge(promise(), [window(ttft=(0.5, 2.5))]).inside is None
    # A window that misses one objective for sure misses, whatever the other one does.
    assert judge(promise(), [window(ttft=(0.5, 2.5), tpot=(0.1, 0.1))]).inside is False


def test_a_number_above_its_predicted_range_is_outside_though_its_limit_holds():
    found = judge(promise(), [window(ttft=(0.9, 0.9))])
    assert found.inside is False and not found.missed.beyond
    assert found.above["ttft_p99"].too_many
    assert judge(promise(), [window(ttft=(0.1, 0.1))]).inside  # faster than predicted breaks no promise


def test_the_worst_is_the_one_furthest_beyond_what_it_is_judged_by():
    found = judge(promise(), [window(), window(tpot=(0.07, 0.07)), window(ttft=(1.2, 1.2))])
    case, one = found.worst
    assert (case.values_s["tpot_p99"], one.objective.name) == ((0.07, 0.07), "tpot_p99")  # 1.4 of its limit, not 1.2
    above = judge(promise(high_s=0.55), [window(ttft=(0.6, 0.6), tpot=(0.04, 0.04))])
    assert above.worst[1].objective.name == "ttft_p99"  # though tpot is nearer to its limit
    once = judge(promise(), [window(ttft=(0.9, 0.9), tpot=(0.06, 0.06)), *[window()] * 4])  # neither is too often
    assert once.inside and once.worst[1].objective.name == "tpot_p99"


def test_without_a_share_no_window_may_miss():
    assert judge(promise(confidence=None), [window()] * 5).inside
    assert judge(promise(confidence=None), [window()] * 99 + [window(ttft=(2.0, 2.0))]).inside is False


def test_what_no_window_has_is_said():
    assert judge(promise(), [window(tpot=None)]).unmeasured == ["tpot_p99"]
