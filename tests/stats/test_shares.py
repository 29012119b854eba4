"""Intervals for small shares: coverage over clusters, and no interval where there is nothing to make one of."""

import math

import numpy as np
import pytest

from simlib.checks import InputError
from simlib.stats.intervals import mean_interval
from simlib.stats.shares import FEWEST_CLUSTERS, share_interval, wilson_interval


def clustered(groups, requests, seed, share=0.02):
    """Hits of each group: a fifth of the groups has any, and a beta-distributed share of their requests."""
    rng = np.random.default_rng(seed)
    affected = rng.random(groups) < 0.2
    return rng.binomial(requests, affected * rng.beta(2.0, 2.0 * (0.2 / share - 1), groups))


def test_no_hit_is_bounded_by_the_rule_of_three_over_groups():
    found = share_interval([0] * 300, trials=1000)
    assert (found.value, found.ci_low, found.method, found.groups) == (0.0, 0.0, "rule_of_three", 300)
    assert found.ci_high == pytest.approx(3 / 300, rel=0.01)
    assert found.ci_high == pytest.approx(1 - 0.05 ** (1 / 300))


def test_nothing_but_hits_is_its_mirror_image():
    none, every = share_interval([0] * 30, trials=7), share_interval([7] * 30, trials=7)
    assert (every.value, every.ci_high) == (1.0, 1.0)
    assert every.ci_low == pytest.approx(1 - none.ci_high)


def test_long_groups_weigh_more_so_that_unequal_ones_bound_less():
    unequal = share_interval([0] * 50, [100] * 49 + [4900])  # as 3.9 groups
    assert unequal.ci_high > 9 * share_interval([0] * 50, 100).ci_high
    assert unequal.ci_high == pytest.approx(1 - 0.05 ** (9800**2 / (49 * 100**2 + 4900**2)) ** -1)


def test_the_rule_of_three_errs_as_rarely_as_it_says():
    # 60 single requests of which 5 % are late: the bound 4.87 % is wrong just when none is, by chance 0.95**60 = 4.6 %.
    # 4,000 experiments: binomial sd 13.3, the bound of 44 (3.3 sd) has a 0.1 % false-alarm rate.
    late = np.random.default_rng(31).random((4000, 60)) < 0.05
    wrong = sum(share_interval(row, 1).ci_high < 0.05 for row in late.astype(int) if not row.any())
    assert abs(wrong - 4000 * 0.95**60) <= 44


@pytest.mark.parametrize("clusters", range(1, FEWEST_CLUSTERS))
def test_too_few_clusters_give_a_reason_in_place_of_limits(clusters):
    hits = [5] * clusters + [0] * (40 - clusters)
    for found in (share_interval(hits, 1000), share_interval(1000 - np.array(hits), 1000)):
        assert (found.ci_low, found.ci_high, found.half_width, found.method) == (None, None, None, "none")
        assert found.reason.startswith(f"{clusters} of 40 groups ha")
    assert share_interval([5] * FEWEST_CLUSTERS + [0] * 40, 1000).reason == ""


def test_one_group_has_no_interval():
    assert share_interval([3], [10]).ci_low is None


def test_limits_stay_in_range_where_the_plain_interval_does_not():
    # 60 replications, hits in a fifth of them, of which one has nearly all.
    hits = [0] * 48 + [1] * 11 + [400]
    plain = share_interval(hits, 1000, method="t")
    assert plain.ci_low < 0
    for method in ("logit", "bootstrap_t"):
        found = share_interval(hits, 1000, method=method)
        assert 0 < found.ci_low < found.value < found.ci_high < 1
        assert found.ci_high - found.value > found.value - found.ci_low
        assert found.ci_high > plain.ci_high


def test_the_mirror_image_has_mirrored_limits():
    hits = clustered(80, 200, 32)
    for method in ("logit", "bootstrap_t", "t"):
        late, met = share_interval(hits, 200, method=method), share_interval(200 - hits, 200, method=method)
        assert (met.ci_low, met.ci_high) == pytest.approx((1 - late.ci_high, 1 - late.ci_low), abs=2e-3)


def test_with_groups_of_equal_size_the_t_interval_is_that_of_their_shares():
    hits = clustered(80, 200, 33)
    found, plain = share_interval(hits, 200, method="t"), mean_interval(hits / 200)
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx((plain.mean, plain.ci_low, plain.ci_high))


def test_equal_groups_have_an_interval_of_zero_width():
    for method in ("logit", "bootstrap_t", "t"):
        found = share_interval([10] * 20, 100, method=method)
        assert (found.ci_low, found.ci_high) == pytest.approx((0.1, 0.1))


def test_merging_many_groups_changes_the_interval_little():
    hits = clustered(4000, 50, 34)
    many, few = share_interval(hits, 50), share_interval(hits.reshape(200, 20).sum(axis=1), 1000)
    assert (many.groups, few.groups) == (4000, 200)
    assert (many.ci_low, many.ci_high) == pytest.approx((few.ci_low, few.ci_high), rel=0.05)


@pytest.mark.parametrize(("method", "low", "high"), [("bootstrap_t", 0.93, 0.97), ("logit", 0.93, 0.97)])
def test_shares_of_clusters_are_covered_and_requests_are_not_taken_for_independent(method, low, high):
    # 1,000 experiments of 100 groups, 20 of them affected on average. The band is 3 binomial sd about 95 %, where a
    # method with 94 to 96 % fails with at most 9 %; the seed is fixed. Wilson's interval of the requests is far off.
    covered, naive = 0, 0
    for experiment in range(1000):
        hits = clustered(100, 200, [35, experiment])
        found = share_interval(hits, 200, method=method)
        covered += found.ci_low is None or found.ci_low <= 0.02 <= found.ci_high
        if experiment < 200:
            wilson = wilson_interval(int(hits.sum()), 20_000)
            naive += wilson.ci_low <= 0.02 <= wilson.ci_high
    assert low <= covered / 1000 <= high
    assert naive < 140


def test_the_bootstrap_is_the_same_for_the_same_seed():
    hits = clustered(80, 200, 36)
    assert share_interval(hits, 200, seed=1) == share_interval(hits, 200, seed=1)
    assert share_interval(hits, 200, seed=1) != share_interval(hits, 200, seed=2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        *(({"hits": value}, "^hits") for value in (None, [], [[1]], [math.nan] * 2, [-1, 0], [0.5, 1], "12", [1, 11])),
        *(({"trials": value}, "^trials") for value in (None, 0, -1, 1.5, "1", [1], [10, -1], [10, 1.5], [10] * 3)),
        ({"hits": [0, 0], "trials": [0, 0]}, "^trials: 0 in every group"),
        *(({"confidence": value}, "^confidence") for value in (0, 1, 95, math.nan, None)),
        *(({"method": value}, "^method") for value in ("wald", None)),
        *(({"seed": value}, "^seed") for value in (-1, 1.5, None)),
    ],
)
def test_a_bad_argument_is_named(changed, message):
    good = {"hits": [0, 1], "trials": 10, "confidence": 0.95, "method": "logit", "seed": 0}
    assert share_interval(**good).reason
    with pytest.raises(InputError, match=message):
        share_interval(**{**good, **changed})


def test_wilsons_interval_is_where_the_score_test_is_at_its_quantile():
    found = wilson_interval(7, 30)
    for limit in (found.ci_low, found.ci_high):
        assert abs(7 / 30 - limit) / math.sqrt(limit * (1 - limit) / 30) == pytest.approx(1.959964, rel=1e-6)
    assert wilson_interval(30, 30).ci_high == 1.0 and wilson_interval(0, 30).ci_low == 0.0


@pytest.mark.parametrize(("given", "message"), [((1, 0), "trials: 0"), ((5, 4), "hits: 5")])
def test_what_has_no_wilson_interval_is_named(given, message):
    with pytest.raises(InputError, match=message):
        wilson_interval(*given)


def test_groups_that_are_all_alike_give_an_interval_of_no_width():
    found = share_interval([11] * 30, 400)
    assert (found.value, found.ci_low, found.ci_high, found.method) == (11 / 400, 11 / 400, 11 / 400, "constant")
    assert share_interval([10, 20] * 10, [100, 200] * 10).method == "constant"
