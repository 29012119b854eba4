"""The dynamic programme against brute force and the paper's lemmas, and what its bins are worth on lengths unseen."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simlib
from simlib.engine.compiled import compiled
from simlib.policies import bins as policies_bins
from simlib.policies import optimal_bins
from simlib.policies.bins import RULES, assign
from simlib.policies.optimal_bins import batch_tokens, cut, distinct, optimal


def plug_in(lengths, edges, sizes) -> float:
    """Expected work a request, from the definition: E[max] = sum_j x_(j) [(j/m)^B - ((j-1)/m)^B]."""
    work = 0.0
    bins = np.searchsorted(edges, lengths, side="right")
    for number, size in enumerate(sizes):
        members = np.sort(lengths[bins == number])
        places = np.arange(len(members) + 1) / max(len(members), 1)
        work += len(members) / len(lengths) * (members @ np.diff(places**size)) / size
    return work


def best_by_brute_force(lengths, sizes, batches) -> float:
    values = np.unique(lengths)
    found = np.inf
    for edges in combinations(values[1:], len(sizes) - 1):
        rows = np.bincount(np.searchsorted(edges, lengths, side="right"), minlength=len(sizes))
        if (rows >= batches * np.array(sizes)).all():
            found = min(found, plug_in(lengths, edges, sizes))
    return found


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    st.lists(st.integers(0, 40), min_size=4, max_size=25).map(np.array),
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_no_cut_of_a_small_sample_is_better(lengths, sizes, batches):
    expected = best_by_brute_force(lengths, sizes, batches)
    values, counts = distinct(lengths)
    if expected == np.inf:
        with pytest.raises(simlib.InputError, match="lengths_tokens"):
            optimal_bins.best_cut(values, counts, np.array(sizes, float), batches)
        return
    edges, work = optimal_bins.best_cut(values, counts, np.array(sizes, float), batches)
    assert work == pytest.approx(expected, rel=1e-12)
    assert plug_in(lengths, edges, sizes) == pytest.approx(expected, rel=1e-12)
    assert (edges % 1 == 0).all()


def test_kernels_agree_with_their_twins_to_the_last_bit():
    rng = np.random.default_rng(1)
    values = np.unique(rng.exponential(10, 60))
    up_to, costs = np.arange(len(values) + 1.0), np.zeros((2, len(values) + 1))
    best, origin = rng.random((2, len(values) + 1)), np.zeros((2, len(values) + 1), np.int64)
    best[1] = best[0]
    for first in range(0, 50, 7):
        for row, way in enumerate((lambda f: f, compiled)):
            way(optimal_bins.interval_costs)(first, values, up_to, 128.0, 2.0, costs[row])
            way(optimal_bins.relax)(first, 0.25, costs[row], best[row], origin[row])
    assert costs[0].tobytes() == costs[1].tobytes()
    assert best[0].tobytes() == best[1].tobytes() and np.array_equal(*origin)


@pytest.mark.parametrize(("k_bins", "batch_size"), [(2, 8), (4, 8), (5, 128), (32, 2)])
def test_uniform_lengths_are_cut_in_equal_widths(k_bins, batch_size):
    lengths = (np.arange(3200) + 0.5) / 160  # U(0, 20) as exactly as 3,200 values can be
    expected = np.linspace(0, 20, k_bins + 1)[1:-1]
    assert cut(lengths, k_bins, batch_size) == pytest.approx(expected, abs=1 / 160)


@pytest.mark.parametrize("k_bins", [2, 3, 5])
def test_in_sample_optimal_bins_beat_equal_mass_and_the_papers_bins(k_bins):
    lengths = np.random.default_rng(7).exponential(10, 40_000).round(2)
    sizes = [200] * k_bins
    costs = {rule: plug_in(lengths, policies_bins.edges(rule, lengths, k_bins, 200), sizes) for rule in RULES}
    assert costs["optimal"] <= min(costs.values())
    assert costs["equal_mass"] > 1.2 * costs["lemma_a1"] > 1.2 * costs["optimal"]


def test_batch_sizes_of_their_own_move_the_edges():
    lengths = np.random.default_rng(3).integers(1, 1001, 3000)
    same, apart = cut(lengths, 2, [32, 32]), cut(lengths, 2, [32, 4])
    assert same.tolist() == cut(lengths, 2, 32).tolist()
    assert plug_in(lengths, apart, [32, 4]) < plug_in(lengths, same, [32, 4])


def test_what_is_optimal_in_sample_is_reported_with_what_it_is_on_lengths_unseen():
    # A log-normal law (median 150, sigma 1) with B = 128: the maximum of a few hundred rows is far too short.
    lengths = np.exp(np.log(150) + np.random.default_rng(11).standard_normal(1000)).round()
    found = optimal(lengths, 2, 128)
    assert found.batch_tokens == pytest.approx(128 * plug_in(lengths, found.edges, [128, 128]))
    assert found.edges.tolist() == policies_bins.edges("optimal", lengths, 2, 128).tolist()
    assert found.shares.tolist() == (np.bincount(assign(lengths, found.edges)) / 1000).tolist()
    assert found.ci_low < found.held_out_tokens < found.ci_high
    assert found.rows == 1000 and found.batch_sizes.tolist() == [128, 128]
    assert optimal(lengths, 2, 128).ci_low == found.ci_low  # the same seed, the same answer


def test_held_out_means_without_bias():
    """Without replacement, the expected maximum of sub-samples averages to the law's: 21 B / (B + 1) for 1..20."""
    rng, size, found = np.random.default_rng(5), 8, []
    for _ in range(2000):
        values, counts = distinct(rng.uniform(0, 20, 12))
        found.append(batch_tokens(values, counts, np.zeros(0), np.array([8.0]), replace=False))
    expected = 20 * size / (size + 1)
    # False alarm at 0.1 %: 3.29 standard errors of 2,000 samples, fixed seed.
    assert abs(np.mean(found) - expected) < 3.29 * np.std(found) / np.sqrt(2000)
    assert batch_tokens(*distinct([1, 2, 3]), np.zeros(0), np.array([3.0]), replace=False) == 3.0
    assert batch_tokens(*distinct([1, 2, 2, 5]), np.array([3.0]), np.array([2.0, 8.0]), replace=False) == pytest.approx(
        (0.75 / 2 * (2 * 2 / 3 + 2 / 3) + 0.25 / 8 * 5) / (0.75 / 2 + 0.25 / 8)
    )


def test_a_fitted_tail_stands_in_for_rows_that_are_not_there():
    from scipy import stats

    law = stats.lognorm(1.0, scale=150)
    lengths = law.rvs(400, random_state=np.random.default_rng(3)).round()
    with pytest.raises(simlib.InputError, match="400 rows do not support B = 128"):
        optimal(lengths, 2, 128)
    many = law.ppf((np.arange(20_000) + 0.5) / 20_000).round()
    best = cut(many, 2, 128)[0]
    for tail in (law, "log_normal"):
        found = optimal(lengths, 2, 128, tail=tail)
        assert found.shares.sum() == pytest.approx(1)
        assert 0.75 * best < found.edges[0] < 1.25 * best
        assert found.ci_low < found.held_out_tokens < found.ci_high


def test_the_rule_is_one_of_the_policies():
    requests = simlib.workload.original(1000, seed=42)
    run = simlib.simulate(requests, simlib.MultiBinFixed(8, 4, "optimal"))
    assert run.edges.tolist() == cut(requests.predicted_output_tokens, 4, 8).tolist()
    capped = simlib.MultiBinDynamic(2, bounds="optimal", batch_sizes=[64, 16])
    expected = cut(requests.predicted_output_tokens, 2, [64, 16])
    assert simlib.simulate(requests, capped).edges.tolist() == expected.tolist()
    with pytest.raises(simlib.InputError, match="1000 rows do not support B = 128 in 4 bins"):
        simlib.simulate(requests, simlib.MultiBinFixed(128, 4, "optimal"))


LENGTHS = np.arange(1, 101)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LENGTHS, 101, 1), "k_bins: 101 .expected at most 100, the number of distinct lengths"),
        (([5] * 50 + [6] * 50, 3, 2), "k_bins: 3 .expected at most 2"),
        ((LENGTHS, 0, 1), "k_bins"),
        ((LENGTHS, 2, 0), "batch_size"),
        ((LENGTHS, 2, [4]), "batch_size"),
        ((LENGTHS, 2, "8"), "batch_size"),
        ((LENGTHS, 2, 17), "100 rows do not support B = 17 in 2 bins .expected at least 102"),
        ((LENGTHS, 2, [30, 4]), "100 rows do not support B = 30, 4 in 2 bins"),
        (([1] * 97 + [2, 3, 4], 2, 16), "cannot be cut in 2 bins of 3 batches"),
        (([], 1, 1), "lengths_tokens"),
        (([1.0, np.nan], 1, 1), "lengths_tokens"),
        (([1.0, -2.0], 1, 1), "lengths_tokens"),
        ((["a"], 1, 1), "lengths_tokens"),
        (([[1, 2]], 1, 1), "lengths_tokens"),
    ],
)
def test_what_cannot_be_cut_is_refused(arguments, message):
    with pytest.raises(simlib.InputError, match=message):
        optimal(*arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [("tail", "pareto"), ("tail", 5), ("confidence", 1.0), ("confidence", "x"), ("seed", -1), ("seed", None)],
)
def test_an_option_out_of_range_is_refused(name, value):
    with pytest.raises(simlib.InputError, match=name):
        optimal(LENGTHS, 2, 4, **{name: value})


def test_a_tail_that_ends_too_soon_or_cannot_be_fitted_is_refused():
    from scipy import stats

    with pytest.raises(simlib.InputError, match=r"tail.*exceeds 90"):
        optimal(LENGTHS, 2, 4, tail=stats.uniform(0, 50))
    with pytest.raises(simlib.InputError, match=r"tail.*differ"):
        optimal([7] * 50, 1, 4, tail="log_normal")
