"""Batches' longest members for any times, bins and errors: tables of the Multi-Bin paper, enumeration, closed forms."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from tabulated import printed

from simlib.checks import InputError
from simlib.requests.predictors import measured_confusion, symmetric_confusion
from simlib.theory import maxima
from simlib.theory.bins import exponential_edges_s, exponential_max_s, multi_bin_throughput_rps, uniform_max_s

UNIFORM, EXPONENTIAL = stats.uniform(1, 19), stats.expon(scale=10.0)


def longest_s(times, size) -> float:
    """Mean of the longest of a batch that knows no bins."""
    return maxima.bin_max_s(times, (), size)[0]


def test_maximum_of_draws_from_a_sample_equals_the_mean_over_all_draws():
    sample = [5.0, 1.0, 2.0, 2.0]
    triples = [max(a, b, c) for a in sample for b in sample for c in sample]
    assert longest_s(sample, 3) == pytest.approx(np.mean(triples), rel=1e-13)


def test_maximum_of_draws_has_its_limits():
    sample = np.random.default_rng(3).uniform(1.0, 20.0, 1000)
    assert longest_s(sample, 1) == pytest.approx(sample.mean())
    assert longest_s(sample, 10**9) == pytest.approx(sample.max())
    assert longest_s([0.1] * 7, 5) == 0.1
    assert longest_s(np.array([4], dtype=np.uint8), 3) == 4.0


def test_maximum_of_draws_from_an_even_grid_is_the_uniform_one():
    grid = 1 + 19 * (np.arange(100_000) + 0.5) / 100_000
    assert longest_s(grid, 128) == pytest.approx(uniform_max_s(1.0, 20.0, 128), abs=1e-3)


@pytest.mark.parametrize("batch_size", [1, 2, 128, 10**6])
def test_maximum_of_any_law_is_the_closed_form_where_there_is_one(batch_size):
    uniform = uniform_max_s(1.0, 20.0, batch_size)
    assert longest_s(UNIFORM, batch_size) == pytest.approx(uniform, rel=1e-8)
    assert longest_s((lambda x: (x - 1) / 19, 1, 20), batch_size) == pytest.approx(uniform, rel=1e-8)
    for mean_s in (1e-5, 10.0, 1e7):
        exponential = exponential_max_s(mean_s, batch_size)
        assert longest_s(stats.expon(scale=mean_s), batch_size) == pytest.approx(exponential, rel=1e-8)
    # Pareto with P(X > x) = x^-a: Gamma(B + 1) Gamma(1 - 1/a) / Gamma(B + 1 - 1/a); a = 1.5 has no variance.
    log_pareto = math.lgamma(batch_size + 1) + math.lgamma(1 / 3) - math.lgamma(batch_size + 1 / 3)
    assert longest_s(stats.pareto(1.5), batch_size) == pytest.approx(math.exp(log_pareto), rel=1e-6)


def test_a_sample_is_a_law_too():
    quantiles = EXPONENTIAL.ppf((np.arange(200_000) + 0.5) / 200_000)
    confusion = symmetric_confusion(3, 0.1)
    exact = maxima.bin_max_s(EXPONENTIAL, [5.0, 12.0], 8, confusion)
    assert maxima.bin_max_s(quantiles, [5.0, 12.0], 8, confusion) == pytest.approx(exact, rel=1e-4)
    assert maxima.bin_shares(quantiles, [5.0, 12.0]) == pytest.approx(
        maxima.bin_shares(EXPONENTIAL, [5.0, 12.0]), abs=1e-5
    )


# Appendix A.4 with B = 200, mean 10 s: bins of Lemma A.1 (batch time, throughput), and of equal mass (throughput).
EXPONENTIAL_BINS = {
    1: (58.7803, 3.4025, 3.4025),
    2: (27.5155, 7.2686, 5.5101),
    3: (20.0660, 9.9671, 7.0811),
    4: (16.9392, 11.8070, 8.3140),
    5: (15.2562, 13.1094, 9.3137),
}


@pytest.mark.parametrize(("k_bins", "row"), EXPONENTIAL_BINS.items())
def test_exponential_times_in_bins_of_lemma_a1_and_of_equal_mass(k_bins, row):
    edges_s = exponential_edges_s(10.0, k_bins, 200)
    equal_mass_s = EXPONENTIAL.ppf(np.arange(1, k_bins) / k_bins)
    assert maxima.binned_batch_s(EXPONENTIAL, edges_s, 200) == printed(row[0], 4)
    assert maxima.binned_throughput_rps(EXPONENTIAL, edges_s, 200) == printed(row[1], 4)
    assert maxima.binned_throughput_rps(EXPONENTIAL, equal_mass_s, 200) == printed(row[2], 4)


def test_bins_of_equal_width_give_theorem_4_2():
    for k_bins in (1, 2, 5, 32):
        edges_s = np.linspace(1, 20, k_bins + 1)[1:-1]
        expected = multi_bin_throughput_rps(1.0, 20.0, 128, k_bins)
        assert maxima.binned_throughput_rps(UNIFORM, edges_s, 128) == pytest.approx(expected, rel=1e-9)


# Figure 8, requests per second, for these shares of errors to each neighbour.
ERRORS = [0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5]
FIGURE_8 = {
    2: [8.434, 7.408, 6.658, 6.534, 6.475, 6.457, 6.450, 6.4475],
    4: [9.970, 8.880, 8.062, 7.925, 7.859, 7.837, 7.827, 7.822],
    8: [10.969, 10.168, 9.523, 9.410, 9.355, 9.337, 9.328, 9.3235],
}


@pytest.mark.parametrize(("k_bins", "throughputs_rps"), FIGURE_8.items())
def test_figure_8_is_the_exact_integral(k_bins, throughputs_rps):
    edges_s = np.linspace(1, 20, k_bins + 1)[1:-1]
    for p_error, throughput_rps in zip(ERRORS, throughputs_rps, strict=True):
        confusion = symmetric_confusion(k_bins, p_error)
        exact = maxima.binned_throughput_rps(UNIFORM, edges_s, 128, confusion)
        assert exact == pytest.approx(throughput_rps, rel=0, abs=1e-3)


def test_bins_that_say_nothing_are_no_bins():
    assert maxima.binned_batch_s(UNIFORM, [10.5], 128, symmetric_confusion(2, 0.5)) == pytest.approx(
        uniform_max_s(1.0, 20.0, 128), rel=1e-9
    )


@pytest.mark.parametrize("k_bins", [2, 4, 8])
def test_no_error_and_no_bin_changes_the_mean_of_batches_of_one(k_bins):
    edges_s = EXPONENTIAL.ppf(np.arange(1, k_bins) / k_bins)
    confusion = measured_confusion(k_bins)
    assert maxima.binned_batch_s(EXPONENTIAL, edges_s, 1, confusion) == pytest.approx(10.0, rel=1e-9)
    assert maxima.bin_shares(EXPONENTIAL, edges_s, confusion).sum() == pytest.approx(1.0)
    row_shares = confusion / confusion.sum(axis=1, keepdims=True)
    counted, shared = (maxima.binned_batch_s(UNIFORM, edges_s, 8, matrix) for matrix in (confusion, row_shares))
    assert counted == pytest.approx(shared, rel=1e-12)


def test_batches_from_mistaken_bins_equal_the_mean_over_all_draws():
    sample, matrix = [1.0, 3.0, 4.0, 8.0], np.array([[0.75, 0.25], [0.5, 0.5]])
    bins = np.array([0, 0, 1, 1])  # 4 lies on the edge, and belongs above it
    for predicted in (0, 1):
        weights = matrix[bins, predicted] / matrix[bins, predicted].sum()
        mean = sum(
            max(sample[i] for i in draw) * math.prod(weights[i] for i in draw)
            for draw in itertools.product(range(4), repeat=3)
        )
        assert maxima.bin_max_s(sample, [4.0], 3, matrix)[predicted] == pytest.approx(mean, rel=1e-12)


def test_a_bin_that_nothing_falls_into_has_no_batches():
    for times in (UNIFORM, [1.0, 5.0, 19.0]):
        shares, batch_s = maxima.bin_shares(times, [25.0]), maxima.bin_max_s(times, [25.0], 4)
        assert shares == pytest.approx([1.0, 0.0])
        assert math.isnan(batch_s[1])
        assert maxima.binned_batch_s(times, [25.0], 4) == pytest.approx(longest_s(times, 4))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (stats.norm(5, 1), "least of times: -inf"),
        (stats.pareto(0.9), "mean of times: inf"),
        (stats.poisson(3), "expected a continuous distribution"),
        ((lambda x: x / 2, 0.0, 1.0), "from 0 to 0.5"),
        ((lambda x: x, 1.0, 1.0), "high of times: 1.0"),
        ((lambda x: "much", 0.0, 1.0), "cdf of times at 0 s"),
        ([], "times: "),
    ],
)
def test_times_that_cannot_be_used_are_named(times, message):
    with pytest.raises(InputError, match=message):
        longest_s(times, 8)


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        ([[0.9, 0.2], [0.0, 1.0]], "confusion, row 0: the sum is 1.1"),
        ([[1.0, 0.0]], r"confusion: shape \(1, 2\)"),
        (np.eye(3), r"confusion: shape \(3, 3\) \(expected \(2, 2\)"),
        ([[0, 0], [1, 1]], "confusion, row 0: the sum is 0"),
    ],
)
def test_a_confusion_matrix_that_does_not_fit_is_named(confusion, message):
    with pytest.raises(InputError, match=message):
        maxima.binned_throughput_rps(UNIFORM, [10.5], 8, confusion)


def test_the_first_bad_row_of_a_sample_is_named():
    with pytest.raises(InputError, match=r"times, row 2: -3\.0"):
        longest_s([1.0, 2.0, -3.0, -4.0], 2)
