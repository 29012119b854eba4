"""The Multi-Bin paper's theorems: the values of its tables and figures, limits, and where its text errs."""

import math

import numpy as np
import pytest
from scipy import stats
from tabulated import printed

from simlib.checks import InputError
from simlib.theory import maxima
from simlib.theory.bins import (
    bins_needed,
    exponential_bound_s,
    exponential_edges_s,
    exponential_max_s,
    multi_bin_batch_s,
    multi_bin_latency_s,
    multi_bin_throughput_limit_rps,
    multi_bin_throughput_rps,
    uniform_max_s,
)

PAPER = {"low_s": 1.0, "high_s": 20.0, "batch_size": 128}  # its setting


def test_maxima_are_the_tabulated_ones():
    assert uniform_max_s(1.0, 20.0, batch_size=128) == printed(19.8527, 4)
    assert exponential_max_s(1.0, batch_size=200) == printed(5.87803, 5)
    assert exponential_max_s(10.0, batch_size=200) == printed(58.7803, 4)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_exponential_maximum_is_the_harmonic_sum(batch_size):
    harmonic = math.fsum(1 / j for j in range(1, batch_size + 1))
    assert exponential_max_s(3.0, batch_size) == pytest.approx(3.0 * harmonic, rel=1e-13)


BATCH_TIMES_S = [(1, 19.8527), (2, 15.1764), (3, 13.6176), (4, 12.8382), (5, 12.3705), (8, 11.6691)]
THROUGHPUTS_RPS = {1: 6.4475, 2: 8.4342, 3: 9.3996, 4: 9.9703, 5: 10.3472, 8: 10.9692, 16: 11.5476, 32: 11.8603}
LATENCIES_S = [
    *[(1, 4, 35.728), (1, 6, 30.436), (1, 10, 26.203)],
    *[(2, 4, 46.926), (2, 6, 36.343), (2, 8, 31.051)],
    *[(3, 4, 61.243), (3, 6, 45.368), (3, 8, 37.430), (3, 12, 29.493)],
]


@pytest.mark.parametrize(("k_bins", "batch_s"), BATCH_TIMES_S)
def test_theorem_4_2_mean_batch_time(k_bins, batch_s):
    assert multi_bin_batch_s(**PAPER, k_bins=k_bins) == printed(batch_s, 4)


@pytest.mark.parametrize(("k_bins", "throughput_rps"), THROUGHPUTS_RPS.items())
def test_theorem_4_2_throughput(k_bins, throughput_rps):
    assert multi_bin_throughput_rps(**PAPER, k_bins=k_bins) == printed(throughput_rps, 4)


def test_remark_4_3_limit_is_12_19_and_not_the_12_3_that_the_paper_prints():
    limit = multi_bin_throughput_limit_rps(**PAPER)
    assert limit == printed(12.1905, 4)
    assert abs(limit - 12.3) > 0.1
    assert multi_bin_throughput_rps(**PAPER, k_bins=5) / limit == printed(0.849, 3)
    assert multi_bin_throughput_rps(**PAPER, k_bins=10**9) == pytest.approx(limit)


@pytest.mark.parametrize(("shortfall_rps", "bins"), [(1.0, 10), (0.5, 21), (0.1, 108)])
def test_theorem_4_3_bins_needed(shortfall_rps, bins):
    assert bins_needed(**PAPER, shortfall_rps=shortfall_rps) == bins


@pytest.mark.parametrize("shortfall_rps", [12.0, 6.0, 3.0, 1.0, 0.3, 0.01])
def test_the_bins_needed_suffice_and_one_fewer_does_not(shortfall_rps):
    bins = bins_needed(**PAPER, shortfall_rps=shortfall_rps)
    wanted = multi_bin_throughput_limit_rps(**PAPER) - shortfall_rps
    assert multi_bin_throughput_rps(**PAPER, k_bins=bins) >= wanted
    assert bins == 1 or multi_bin_throughput_rps(**PAPER, k_bins=bins - 1) < wanted


def test_the_throughput_of_k_bins_needs_k_bins():
    # The shortfall is then a hair above or below a whole number of bins, by rounding alone.
    for bins in range(2, 60):
        shortfall = multi_bin_throughput_limit_rps(**PAPER) - multi_bin_throughput_rps(**PAPER, k_bins=bins)
        assert bins_needed(**PAPER, shortfall_rps=shortfall) == bins


def test_nothing_to_gain_needs_one_bin():
    assert bins_needed(1.0, 20.0, batch_size=1, shortfall_rps=1e-10) == 1
    assert bins_needed(7.0, 7.0, batch_size=128, shortfall_rps=1e-6) == 1


@pytest.mark.parametrize(("k_bins", "rate_rps", "latency_s"), LATENCIES_S)
def test_lemma_5_1_latency(k_bins, rate_rps, latency_s):
    assert multi_bin_latency_s(rate_rps, **PAPER, k_bins=k_bins) == printed(latency_s, 3)


# Lemma A.1 with B = 200 and times of mean 10 s: inner edges, and the bound on the mean batch time and the throughput.
EDGES_S = {
    1: [],
    2: [17.7122],
    3: [10.1929, 27.9051],
    4: [7.0275, 17.2203, 34.9326],
    5: [5.3224, 12.3499, 22.5428, 40.2550],
}
BOUNDS = {
    1: (58.7803, 3.4025),
    2: (27.7122, 7.2170),
    3: (20.1929, 9.9045),
    4: (17.0275, 11.7457),
    5: (15.3224, 13.0528),
}
MASSES = {2: [0.8299, 0.1701], 3: [0.6391, 0.2995, 0.0614], 5: [0.4127, 0.2964, 0.1859, 0.0871, 0.0179]}


@pytest.mark.parametrize("k_bins", EDGES_S)
def test_lemma_a1_edges_and_bound(k_bins):
    edges_s = exponential_edges_s(10.0, k_bins, 200)
    assert edges_s.tolist() == printed(EDGES_S[k_bins], 4)
    bound_s = exponential_bound_s(10.0, edges_s, 200)
    assert (bound_s, 200 / bound_s) == printed(BOUNDS[k_bins], 4)


@pytest.mark.parametrize("k_bins", MASSES)
def test_lemma_a1_bins_are_not_of_equal_mass(k_bins):
    shares = maxima.bin_shares(stats.expon(scale=10.0), exponential_edges_s(10.0, k_bins, 200))
    assert shares.tolist() == printed(MASSES[k_bins], 4)


@pytest.mark.parametrize("batch_size", [2, 8, 200])
@pytest.mark.parametrize("k_bins", [2, 3, 5, 32])
def test_lemma_a1_edges_minimise_the_bound(k_bins, batch_size):
    edges_s = exponential_edges_s(3.0, k_bins, batch_size)
    least_s = exponential_bound_s(3.0, edges_s, batch_size)
    for edge in range(k_bins - 1):
        for factor in (0.999, 1.001):
            moved_s = edges_s.copy()
            moved_s[edge] *= factor
            assert exponential_bound_s(3.0, moved_s, batch_size) > least_s


def test_the_bound_holds_for_any_edges():
    rng = np.random.default_rng(11)
    for _ in range(20):
        edges_s = np.sort(rng.exponential(15.0, rng.integers(1, 6)))
        exact_s = maxima.binned_batch_s(stats.expon(scale=10.0), edges_s, 50)
        assert exact_s < exponential_bound_s(10.0, edges_s, 50)


def test_edges_for_batches_of_one_do_not_exist():
    assert exponential_edges_s(10.0, 1, 1).tolist() == []
    with pytest.raises(InputError, match="batch_size: 1"):
        exponential_edges_s(10.0, 2, 1)
