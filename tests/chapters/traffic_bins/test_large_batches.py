"""The first-order condition of large batches: its special cases, its equations, and that its root is a minimum."""

import math

import numpy as np
import pytest
from scipy import stats

import simlib
from book.chapters.traffic_bins.large_batches import large_batch_edges
from simlib.policies import bins
from simlib.policies.optimal_bins import cut

LOG_NORMAL = stats.lognorm(1.0, scale=150)


@pytest.mark.parametrize("k_bins", [1, 2, 5, 32])
def test_uniform_lengths_get_lemma_4_1(k_bins):
    assert large_batch_edges(stats.uniform(1, 19), k_bins) == pytest.approx(np.linspace(1, 20, k_bins + 1)[1:-1])


@pytest.mark.parametrize("batch_size", [8, 200])
@pytest.mark.parametrize("k_bins", [2, 3, 5, 8])
def test_exponential_lengths_get_lemma_a1(k_bins, batch_size):
    found = large_batch_edges(stats.expon(scale=10), k_bins, batch_size)
    assert found == pytest.approx(bins.lemma_a1(10.0, k_bins, batch_size), rel=1e-9)


def test_uniform_lengths_with_a_batch_size_know_that_the_last_bin_ends_earlier():
    # One edge l of U(0, 1): l^2 + (1 - l) (l + (1 - l) B / (B + 1)) is least at (B - 1) / (2 B).
    assert large_batch_edges(stats.uniform(0, 1), 2, 4) == pytest.approx([0.375])


@pytest.mark.parametrize(
    "law",
    [stats.uniform(1, 19), stats.beta(2, 3, 0, 500), stats.triang(0.3, 0, 100)],
    ids=["uniform", "beta", "triang"],
)
def test_every_edge_meets_the_condition(law):
    edges = np.concatenate([[law.support()[0]], large_batch_edges(law, 5), [law.support()[1]]])
    masses = np.diff(law.cdf(edges))
    assert masses[:-1] == pytest.approx(law.pdf(edges[1:-1]) * np.diff(edges)[1:], rel=1e-6)


@pytest.mark.parametrize(("law", "batch_size"), [(LOG_NORMAL, 128), (stats.gamma(5.47, scale=42.7), 32)])
def test_no_edges_nearby_are_better(law, batch_size):
    quantiles = (np.arange(200_000) + 0.5) / 200_000

    def bound(edges):
        """sum_i p_i l_i, with the last bin's expected maximum."""
        survival = law.sf(edges[-1])
        longest = law.isf(survival * -np.expm1(np.log(quantiles) / batch_size)).mean()
        return np.diff(law.cdf(edges), prepend=0.0) @ edges + survival * longest

    best = large_batch_edges(law, 4, batch_size)
    for i in range(3):
        for factor in (0.97, 1.03):
            moved = best.copy()
            moved[i] *= factor
            assert bound(moved) > bound(best)


def test_a_samples_best_bins_near_the_laws_as_batches_grow():
    law = stats.beta(0.5, 1.0, 0, 1000)
    sample, expected = law.ppf((np.arange(5000) + 0.5) / 5000), large_batch_edges(law, 3)
    far, near = (abs(cut(sample, 3, size) / expected - 1).max() for size in (8, 128))
    assert near < 0.005 < 0.05 < far  # as 1/B


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 3), "distribution"),
        ((stats.poisson(5), 3), "distribution"),
        ((stats.norm(0, 1), 3, 8), "distribution"),
        ((LOG_NORMAL, 0, 8), "k_bins"),
        ((LOG_NORMAL, 3), "batch_size"),
        ((LOG_NORMAL, 3, 1), "batch_size"),
        ((LOG_NORMAL, 3, math.nan), "batch_size"),
    ],
)
def test_what_has_no_such_edges_is_refused(arguments, message):
    with pytest.raises(simlib.InputError, match=message):
        large_batch_edges(*arguments)
