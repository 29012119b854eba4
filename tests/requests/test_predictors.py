"""Predictors: the original's to the last integer, the others against the error law that they state."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from simlib.checks import InputError
from simlib.requests.arrivals import Poisson
from simlib.requests.lengths import Fixed, LogNormal, Uniform
from simlib.requests.predictors import (
    Confusion,
    LatentScore,
    MultiplicativeNoise,
    Oracle,
    OriginalFormula,
    confusion_shares,
    measured_confusion,
    original_predictions,
    predict,
    symmetric_confusion,
)
from simlib.requests.table import RequestTable
from simlib.requests.workload import generate, original

# Normal quantile of a two-sided false-alarm probability of one in a million, for each single comparison.
Z = stats.norm.isf(0.5e-6)

EDGES_4 = [1, 28, 41, 88, 4097]
BY_POSITION = [OriginalFormula(), Oracle(), MultiplicativeNoise(0.5), Confusion(measured_confusion(4), EDGES_4)]
ALL = [*BY_POSITION, LatentScore(0.7)]


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def table() -> RequestTable:
    return generate(20_000, Poisson(50.0), Uniform(16, 2048), LogNormal(120.0, 0.8))


# The original's formula


def test_the_original_s_predictions_of_the_trace_are_met(data_dir):
    path = data_dir / "reference-runs" / "burstgpt400_x100.table.csv"
    prompt, predicted = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(2, 4), unpack=True, dtype=int)
    assert len(prompt) == 400
    assert (original_predictions(prompt, seed=42) == predicted).all()


def test_the_original_predicts_the_published_first_requests_and_one_for_an_empty_prompt():
    assert original_predictions([84, 42, 0], seed=42).tolist() == [35, 20, 1]
    assert original_predictions([0, 2**31], seed=3).tolist() == [1, 4096]


def test_the_formula_on_a_keyed_stream_errs_like_the_original_s():
    # Same law, other numbers: log errors of 20,000 predictions, two-sample test, error probability 1e-4.
    workload = original(20_000)
    ours = OriginalFormula().predict(workload.prompt_tokens, workload.output_tokens, rng())
    assert (ours != workload.predicted_output_tokens).mean() > 0.5
    long = workload.prompt_tokens > 512  # where cutting to an integer matters little
    base = workload.prompt_tokens[long] ** 0.7
    errors = [np.log(p[long] / base) for p in (ours, workload.predicted_output_tokens)]
    assert long.sum() > 1500
    assert stats.ks_2samp(*errors).pvalue > 1e-4
    assert errors[0].std() == pytest.approx(0.1, rel=0.1)


# Errors around the true length


def test_the_oracle_predicts_the_true_length(table):
    predicted = Oracle().predict(table.prompt_tokens, table.output_tokens, rng())
    assert (predicted == table.output_tokens).all()
    assert predicted is not table.output_tokens


def test_multiplicative_noise_is_log_normal_with_median_one():
    # Error probability 1e-4; lengths so long that rounding does not show.
    output = np.full(5000, 100_000)
    predicted = MultiplicativeNoise(0.5).predict(output, output, rng())
    assert stats.kstest(np.log(predicted / output), stats.norm(0.0, 0.5).cdf).pvalue > 1e-4


def test_noise_of_no_size_is_the_oracle_but_for_empty_answers():
    assert MultiplicativeNoise(0.0).predict([5, 5, 5], [1, 206, 0], rng()).tolist() == [1, 206, 1]


def test_noisy_predictions_stay_between_low_and_high(table):
    predicted = MultiplicativeNoise(2.0, low=10, high=500).predict(table.prompt_tokens, table.output_tokens, rng())
    assert (predicted.min(), predicted.max()) == (10, 500)


# Confusion of bins


@pytest.mark.parametrize(
    ("k_bins", "exact_share", "near_share"), [(2, 0.8614, None), (4, 0.6297, 0.9591), (8, 0.4229, 0.7942)]
)
def test_the_measured_matrices_have_the_published_accuracies(k_bins, exact_share, near_share):
    matrix = measured_confusion(k_bins)
    near = np.abs(np.subtract.outer(np.arange(k_bins), np.arange(k_bins))) <= 1
    assert matrix.shape == (k_bins, k_bins)
    assert matrix.sum() == 60_964
    # The paper prints two digits of a percentage, cut rather than rounded.
    assert np.trace(matrix) / 60_964 == pytest.approx(exact_share, abs=1e-4)
    if near_share:
        assert matrix[near].sum() / 60_964 == pytest.approx(near_share, abs=1e-4)


def test_a_measured_matrix_can_be_changed_without_changing_the_next():
    measured_confusion(2)[0, 0] = 0
    assert measured_confusion(2)[0, 0] == 25_802


def test_symmetric_errors_go_to_the_neighbours():
    assert symmetric_confusion(2, 0.5).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert symmetric_confusion(4, 0.0).tolist() == np.eye(4).tolist()
    matrix = symmetric_confusion(4, 0.2)
    assert matrix[0] == pytest.approx([0.8, 0.2, 0.0, 0.0])
    assert matrix[2] == pytest.approx([0.0, 0.2, 0.6, 0.2])
    assert matrix.sum(axis=1) == pytest.approx(np.ones(4))


MATRICES = [measured_confusion(2), measured_confusion(4), measured_confusion(8), symmetric_confusion(4, 0.3)]


@pytest.mark.parametrize("matrix", MATRICES, ids=lambda matrix: f"{len(matrix)} bins")
def test_predicted_bins_have_the_frequencies_of_the_matrix(matrix):
    # Error probability 1e-5 a row.
    k_bins = len(matrix)
    edges = np.linspace(1, 1 + 100 * k_bins, k_bins + 1, dtype=int)
    output = Uniform(1, 100 * k_bins).sample(50_000, rng(2))
    predicted = Confusion(matrix, edges).predict(output, output, rng())
    true_bin, predicted_bin = (np.searchsorted(edges, x, side="right") - 1 for x in (output, predicted))
    assert predicted.min() >= edges[0]
    assert predicted.max() < edges[-1]
    for row in range(k_bins):
        counts = np.bincount(predicted_bin[true_bin == row], minlength=k_bins)
        share = matrix[row] / matrix[row].sum()
        assert counts.sum() > 4000
        assert counts[share == 0].sum() == 0
        assert stats.chisquare(counts[share > 0], counts.sum() * share[share > 0]).pvalue > 1e-5


def test_a_predicted_length_is_uniform_in_the_predicted_bin():
    # Error probability 1e-4: the true length 57 tells nothing beyond its bin.
    output = np.full(20_000, 57)
    predicted = Confusion([[1.0, 0.0], [0.0, 1.0]], [1, 50, 70]).predict(output, output, rng())
    counts = np.bincount(predicted)[50:]
    assert counts.sum() == 20_000
    assert len(counts) == 20
    assert stats.chisquare(counts).pvalue > 1e-4


def test_lengths_at_and_beyond_the_edges_belong_to_the_bins_that_the_docstring_says():
    output = [0, 9, 10, 19, 20, 5000]
    predicted = Confusion(np.eye(2), [5, 10, 20]).predict(output, output, rng())
    assert ((predicted >= 10) == [False, False, True, True, True, True]).all()


def test_counts_and_their_shares_are_the_same_confusion():
    counts = measured_confusion(2)
    shares = counts / counts.sum(axis=1, keepdims=True)
    output = Uniform(1, 200).sample(5000, rng())
    by_count, by_share = (Confusion(m, [1, 100, 201]).predict(output, output, rng()) for m in (counts, shares))
    assert (by_count == by_share).all()
    assert confusion_shares(counts).tolist() == shares.tolist()
    assert confusion_shares(shares) == pytest.approx(shares, rel=1e-15)
    with pytest.raises(InputError, match=r"confusion, row 1: the sum is 0\.5"):
        confusion_shares([[1.0, 0.0], [0.25, 0.25]], "confusion")


# One latent score


@pytest.mark.parametrize("wanted", [-1.0, -0.5, 0.0, 0.43, 0.8, 0.99, 1.0])
def test_the_latent_score_realises_its_rank_correlation(wanted):
    # Error probability below 1e-6: no rank correlation of n pairs from a Gaussian copula varies more than that of
    # independent ones, sd 1 / sqrt(n - 1). The lengths have few ties.
    n = 100_000
    output = Uniform(1, 10_000_000).sample(n, rng(2))
    predicted = LatentScore(wanted).predict(output, output, rng())
    assert abs(stats.spearmanr(output, predicted).statistic - wanted) < Z / math.sqrt(n - 1)


@pytest.mark.parametrize("correlation", [-1.0, 0.0, 0.7, 1.0])
def test_the_latent_score_keeps_the_distribution_of_lengths(table, correlation):
    predicted = LatentScore(correlation).predict(table.prompt_tokens, table.output_tokens, rng())
    assert (np.sort(predicted) == np.sort(table.output_tokens)).all()


def test_a_perfect_score_is_the_oracle_and_its_opposite_reverses_the_order(table):
    output = table.output_tokens
    assert (LatentScore(1.0).predict(output, output, rng()) == output).all()
    distinct = np.random.default_rng(3).permutation(1000)
    assert (LatentScore(-1.0).predict(distinct, distinct, rng()) == 999 - distinct).all()


def test_ties_are_ordered_by_chance_and_not_by_position():
    # Error probability 1e-6: among equal lengths a score that knows the order would predict by position.
    output = np.repeat([10, 20], 5000)
    predicted = LatentScore(0.5).predict(output, output, rng())
    longer = np.flatnonzero(predicted[:5000] == 20)
    assert len(longer) > 1000
    assert abs(longer.mean() - 2499.5) < Z * 5000 / math.sqrt(12 * len(longer))


def test_one_request_and_equal_lengths_are_predicted_as_they_are():
    assert LatentScore(0.3).predict([7], [57], rng()).tolist() == [57]
    assert LatentScore(0.3).predict([7] * 9, [57] * 9, rng()).tolist() == [57] * 9


# All of them


@pytest.mark.parametrize("predictor", BY_POSITION, ids=lambda predictor: type(predictor).__name__)
def test_the_first_predictions_do_not_depend_on_how_many_follow(table, predictor):
    prompt, output = table.prompt_tokens, table.output_tokens
    few, many = predictor.predict(prompt[:50], output[:50], rng()), predictor.predict(prompt, output, rng())
    assert (few == many[:50]).all()


@pytest.mark.parametrize("predictor", BY_POSITION, ids=lambda predictor: type(predictor).__name__)
def test_other_lengths_change_no_other_prediction(table, predictor):
    prompt, output = table.prompt_tokens[:50].copy(), table.output_tokens[:50].copy()
    before = predictor.predict(prompt, output, rng())
    prompt[7:17], output[7:17] = 1, 1
    changed = np.flatnonzero(before != predictor.predict(prompt, output, rng()))
    assert 5 <= len(changed) <= 10
    assert set(changed) <= set(range(7, 17))


@pytest.mark.parametrize("predictor", ALL, ids=lambda predictor: type(predictor).__name__)
def test_a_prediction_of_a_table_changes_the_predictions_only(table, predictor):
    labelled = RequestTable.of(table.frame().assign(model="m").set_index(np.arange(len(table)) + 100))
    predicted = predict(labelled, predictor, family="test")
    assert predicted.predicted_output_tokens.dtype == np.int64
    assert predicted.predicted_output_tokens.min() >= 0
    pd.testing.assert_frame_equal(predicted.frame().drop(columns="predicted_output_tokens"), labelled.frame())


def test_family_and_replication_decide_the_noise(table):
    def predictions(family, replication):
        return predict(table, MultiplicativeNoise(0.5), family=family, replication=replication).predicted_output_tokens

    assert (predictions("a", 0) == predictions("a", 0)).all()
    assert (predictions("a", 0) != predictions("a", 1)).any()
    assert (predictions("a", 0) != predictions("b", 0)).any()


def test_a_user_s_own_predictor_fits():
    class HalfThePrompt:
        def predict(self, prompt_tokens, output_tokens, rng):
            return prompt_tokens // 2

    predicted = predict(generate(3, Poisson(1.0), Fixed(10), Fixed(99)), HalfThePrompt(), family="test")
    assert predicted.predicted_output_tokens.tolist() == [5, 5, 5]


# Bad input


class Returns:
    def __init__(self, values):
        self.values = values

    def predict(self, prompt_tokens, output_tokens, rng):
        return self.values


TWO = RequestTable([0.0, 0.1], [84, 42], [57, 206])
IDENTITY = [[1, 0], [0, 1]]
BAD_NUMBERS = [math.nan, math.inf, "0.5", None, True, [0.5]]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: predict([1, 2], Oracle(), family="a"), "requests: list"),
        (lambda: predict(TWO, "oracle", family="a"), "predictor: 'oracle'"),
        (lambda: predict(TWO, Oracle, family="a"), "predictor: <class"),
        (lambda: predict(TWO, None, family="a"), "predictor: None"),
        (lambda: predict(TWO, Oracle(), family=""), "family"),
        (lambda: predict(TWO, Oracle(), family="a", replication=-1), "replication: -1"),
        (lambda: predict(TWO, Returns([1]), family="a"), "predicted_output_tokens: 1 rows"),
        (lambda: predict(TWO, Returns([1, -1]), family="a"), "predicted_output_tokens, row 1: -1"),
        (lambda: predict(TWO, Returns([1, math.nan]), family="a"), "predicted_output_tokens, row 1: nan"),
        (lambda: original_predictions([5, -1], 42), "prompt_tokens, row 1: -1"),
        (lambda: original_predictions([5, 1.5], 42), "prompt_tokens, row 1: 1.5"),
        (lambda: original_predictions(5, 42), "prompt_tokens: 0 dimensions"),
        (lambda: original_predictions([], 42), "no rows"),
        (lambda: original_predictions([5], -1), "seed: -1"),
        (lambda: original_predictions([5], 2**32), "seed: 4294967296"),
        (lambda: original_predictions([5], "a"), "seed: 'a'"),
        (lambda: MultiplicativeNoise(-0.1), "sigma: -0.1"),
        (lambda: MultiplicativeNoise(5.1), "sigma: 5.1"),
        (lambda: MultiplicativeNoise(0.5, low=-1), "low: -1"),
        (lambda: MultiplicativeNoise(0.5, low=10, high=9), "high: 9"),
        (lambda: LatentScore(1.01), "rank_correlation: 1.01"),
        (lambda: LatentScore(-2), "rank_correlation: -2"),
        (lambda: measured_confusion(3), "k_bins: 3"),
        (lambda: measured_confusion("4"), "k_bins: '4'"),
        (lambda: symmetric_confusion(1, 0.1), "k_bins: 1"),
        (lambda: symmetric_confusion(2.5, 0.1), "k_bins: 2.5"),
        (lambda: symmetric_confusion(2, 0.51), "p_error: 0.51"),
        (lambda: symmetric_confusion(2, -0.1), "p_error: -0.1"),
        (lambda: Confusion([], [1]), "matrix: shape"),
        (lambda: Confusion([1, 0], [1, 2, 3]), "matrix: shape"),
        (lambda: Confusion([[1, 0]], [1, 2, 3]), "matrix: shape"),
        (lambda: Confusion([[1, 0], [1]], [1, 2, 3]), "matrix: .*equal length"),
        (lambda: Confusion("ab", [1, 2, 3]), "matrix: 'ab'"),
        (lambda: Confusion(None, [1, 2, 3]), "matrix"),
        (lambda: Confusion([[1, -1], [0, 1]], [1, 2, 3]), "matrix, row 0, column 1: -1"),
        (lambda: Confusion([[1, 0], [0, math.nan]], [1, 2, 3]), "matrix, row 1, column 1: nan"),
        (lambda: Confusion([[1, 0], [0, math.inf]], [1, 2, 3]), "matrix, row 1, column 1: inf"),
        (lambda: Confusion([[5, 3], [0, 0]], [1, 2, 3]), "matrix, row 1: the sum is 0"),
        (lambda: Confusion([[0.5, 0.5], [0.5, 0.4]], [1, 2, 3]), "matrix, row 1: the sum is 0.9.*sum to 1"),
        (lambda: Confusion([[0.5, 0.5], [0, 0]], [1, 2, 3]), "matrix, row 1: the sum is 0"),
        (lambda: Confusion(IDENTITY, [1, 2]), "bounds: 2 edges .expected 3"),
        (lambda: Confusion(IDENTITY, [1, 2, 2]), "bounds, edge 2: 2"),
        (lambda: Confusion(IDENTITY, [1, 3, 2]), "bounds, edge 2: 2"),
        (lambda: Confusion(IDENTITY, [-1, 3, 4]), "bounds, edge 0: -1"),
        (lambda: Confusion(IDENTITY, [1, 2.5, 4]), "bounds, edge 1: 2.5"),
        (lambda: Confusion(IDENTITY, [1, 2, math.inf]), "bounds, edge 2: inf"),
        (lambda: Confusion(IDENTITY, 7), "bounds: 7"),
        (lambda: Confusion(IDENTITY, "abc"), "bounds, edge 0: 'a'"),
        *[(lambda bad=bad: MultiplicativeNoise(bad), "sigma: ") for bad in BAD_NUMBERS],
        *[(lambda bad=bad: LatentScore(bad), "rank_correlation: ") for bad in BAD_NUMBERS],
        *[(lambda bad=bad: symmetric_confusion(2, bad), "p_error: ") for bad in BAD_NUMBERS],
        *[(lambda bad=bad: symmetric_confusion(bad, 0.1), "k_bins: ") for bad in BAD_NUMBERS],
    ],
)
def test_bad_arguments_are_refused_by_name_and_value(call, named):
    with pytest.raises(InputError, match=named):
        call()


@pytest.mark.parametrize("predictor", ALL, ids=lambda predictor: type(predictor).__name__)
@pytest.mark.parametrize(
    ("columns", "named"),
    [
        (([1, 2], [3], rng()), "output_tokens: 1 rows"),
        (([1, -2], [3, 4], rng()), "prompt_tokens, row 1: -2"),
        (([1, 2], [3, math.nan], rng()), "output_tokens, row 1: nan"),
        (([1, 2], [3, 4.5], rng()), "output_tokens, row 1: 4.5"),
        (([], [], rng()), "no rows"),
        ((1, 2, rng()), "prompt_tokens: 0 dimensions"),
        (([1], [2], 42), "rng: 42"),
        (([1], [2], None), "rng: None"),
    ],
)
def test_bad_columns_are_refused_by_name_row_and_value(predictor, columns, named):
    with pytest.raises(InputError, match=named):
        predictor.predict(*columns)
