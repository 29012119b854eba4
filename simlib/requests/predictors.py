"""Predictors of output length: what a scheduler believes before it serves.

They read the true lengths of a request table and hand it predicted ones; the binning and the schedulers see only
these. Each is a small frozen record with `predict(prompt_tokens, output_tokens, rng)`, so a user's own fits as well.
Noise belongs to a request's position in the table: the predictions of the first requests do not depend on how many
follow (except for `LatentScore`, which ranks them all).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import length_hint
from typing import Any, Protocol, runtime_checkable

import numpy as np

from simlib.checks import InputError, check_integer, check_number, check_type
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable, token_column

# The longest length that a record may name; beyond it a typing error is likelier than a request.
MOST_TOKENS = 10_000_000
# A row of printed probabilities need not sum to 1 beyond its printed digits.
ROW_SUM_TOLERANCE = 1e-6
# Sums of counts up to here are exact in double precision.
MOST_COUNTS = 1e12


@runtime_checkable
class Predictor(Protocol):
    """Whatever predicts: one integer of tokens for each request, in table order."""

    def predict(self, prompt_tokens: np.ndarray, output_tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Predicted output lengths, shape (n_requests,), in tokens."""
        ...


def predict(table: RequestTable, predictor: Predictor, *, family: str, replication: int = 0) -> RequestTable:
    """Give the requests the predictions of `predictor`; arrivals and lengths stay as they are.

    Parameters
    ----------
    table : RequestTable
        The requests (or a data frame with a table's columns).
    predictor : Predictor
        A record of this module, or an object with the same `predict`.
    family, replication : str, int
        The key of the prediction stream, see `simlib.requests.streams.stream`.

    Examples
    --------
    >>> table = RequestTable(arrival_s=[0.0, 0.1], prompt_tokens=[84, 42], output_tokens=[57, 206])
    >>> predict(table, Oracle(), family="two requests").predicted_output_tokens.tolist()
    [57, 206]
    """
    table = RequestTable.of(table)
    if isinstance(predictor, type) or not isinstance(predictor, Predictor):
        raise InputError(f"predictor: {predictor!r} (expected a predictor such as Oracle())")
    rng = stream(family, replication, "prediction")
    return table.with_predictions(predictor.predict(table.prompt_tokens, table.output_tokens, rng))


@dataclass(frozen=True, slots=True)
class OriginalFormula:
    """The original system's predictor: 1.5 prompt^0.7 times a log-normal factor (log-mean 0, log-sd 0.1).

    The result is cut to an integer and kept in [1, 4096]. The true output plays no part.

    Examples
    --------
    >>> OriginalFormula().predict([0, 100], [57, 206], np.random.default_rng(1)).tolist()
    [1, 40]
    """

    def predict(self, prompt_tokens: np.ndarray, output_tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        prompt, _ = _lengths(prompt_tokens, output_tokens, rng)
        return _original_formula(prompt, np.exp(0.1 * rng.standard_normal(len(prompt))))


def original_predictions(prompt_tokens: np.ndarray, seed: int = 42) -> np.ndarray:
    """The original system's predictions, bit for bit, for prompts from a workload or a trace.

    Parameters
    ----------
    prompt_tokens : array of int, shape (n_requests,)
        Prompt lengths, in tokens; a prompt of 0 predicts 1.
    seed : int
        Seed of its prediction stream, from 0 to 2**32 - 1.

    Examples
    --------
    >>> original_predictions([84, 42, 0], seed=42).tolist()
    [35, 20, 1]
    """
    prompt, _ = _columns(prompt_tokens, prompt_tokens)
    legacy = np.random.RandomState(check_integer("seed", seed, 0, 2**32 - 1))
    return _original_formula(prompt, legacy.lognormal(0.0, 0.1, len(prompt)))


@dataclass(frozen=True, slots=True)
class Oracle:
    """Predicts the true output length.

    Examples
    --------
    >>> Oracle().predict([84, 42], [57, 206], np.random.default_rng(1)).tolist()
    [57, 206]
    """

    def predict(self, prompt_tokens: np.ndarray, output_tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return _lengths(prompt_tokens, output_tokens, rng)[1].copy()


@dataclass(frozen=True, slots=True)
class MultiplicativeNoise:
    """The true output times exp(`sigma` z), z standard normal, rounded to an integer.

    Median-unbiased: half the predictions are too long. Their mean is exp(sigma^2 / 2) times the true mean.

    Parameters
    ----------
    sigma : float
        Standard deviation of the logarithm of the error, in [0, 5].
    low, high : int
        Predictions are kept in [low, high] tokens. The default `low` of 1: nobody predicts an empty answer.

    Examples
    --------
    >>> MultiplicativeNoise(sigma=0.5).predict([84, 42], [57, 206], np.random.default_rng(1)).tolist()
    [68, 311]
    """

    sigma: float
    low: int = 1
    high: int = MOST_TOKENS

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma, 0.0, 5.0)
        check_integer("low", self.low, 0, MOST_TOKENS)
        check_integer("high", self.high, self.low, MOST_TOKENS)

    def predict(self, prompt_tokens: np.ndarray, output_tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _, output = _lengths(prompt_tokens, output_tokens, rng)
        return log_normal(output, self.sigma, rng.standard_normal(len(output)), self.low, self.high)


def log_normal(scale: float | np.ndarray, sigma: float, normal: np.ndarray, low: int, high: int) -> np.ndarray:
    """``scale exp(sigma z)`` of standard normal z, rounded and kept in [low, high]; `normal` is used up.

    In place, as a fresh array of a million numbers costs as much as its arithmetic.
    """
    normal *= sigma
    np.exp(normal, out=normal)
    normal *= scale
    np.rint(normal, out=normal)
    return np.clip(normal, low, high, out=normal).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Confusion:
    """A classifier of lengths: the predicted bin is drawn from the true bin's row of a confusion matrix.

    The predicted length is uniform over the integers of the predicted bin, whatever the true length: a classifier
    knows no more than the bin. Thresholding the predictions at the same bounds gives the predicted bins back.

    Parameters
    ----------
    matrix : array, shape (k_bins, k_bins)
        Rows are true bins, columns predicted ones. Whole numbers are counts; otherwise probabilities, and then each
        row must sum to 1 (within 1e-6).
    bounds : sequence of int, length k_bins + 1
        Ascending edges in tokens; bin j is bounds[j] <= tokens < bounds[j + 1]. True lengths below the first edge
        count as the first bin, those from the last edge on as the last bin.

    Raises
    ------
    InputError
        If the matrix is not square, a row is empty or does not sum to 1, or the edges do not ascend or fit it.

    Examples
    --------
    >>> Confusion([[1, 0], [0, 1]], bounds=[1, 100, 101]).predict([9], [5000], np.random.default_rng(1)).tolist()
    [100]
    """

    matrix: tuple[tuple[float, ...], ...]
    bounds: tuple[int, ...]

    def __post_init__(self) -> None:
        matrix = _confusion_matrix(self.matrix)
        object.__setattr__(self, "matrix", tuple(map(tuple, matrix.tolist())))
        object.__setattr__(self, "bounds", _bin_edges(self.bounds, len(matrix)))

    def predict(self, prompt_tokens: np.ndarray, output_tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _, output = _lengths(prompt_tokens, output_tokens, rng)
        bounds = np.array(self.bounds)
        true_bin = np.searchsorted(bounds[1:-1], output, side="right")
        cumulative = np.cumsum(self.matrix, axis=1)
        cumulative /= cumulative[:, -1:]
        which, where = rng.random((len(output), 2)).T  # two draws a request, side by side, so that none shifts another
        predicted_bin = np.empty(len(output), dtype=np.int64)
        for row in range(len(cumulative)):
            members = np.flatnonzero(true_bin == row)
            predicted_bin[members] = np.searchsorted(cumulative[row], which[members], side="right")
        return bounds[predicted_bin] + (where * np.diff(bounds)[predicted_bin]).astype(np.int64)


# Rows true, columns predicted bins of equal probability; BERT with one linear layer on LMSYS-Chat-1M.
_MEASURED = {
    2: [[25802, 4778], [3668, 26716]],
    4: [[12165, 2584, 490, 178], [2668, 8385, 3386, 724], [287, 2569, 8145, 4186], [82, 730, 4689, 9696]],
    8: [
        [5925, 1143, 410, 175, 53, 30, 13, 24],
        [1242, 3855, 1356, 643, 280, 127, 92, 49],
        [294, 1619, 3060, 1350, 601, 276, 149, 96],
        [147, 608, 1515, 2460, 1713, 796, 359, 120],
        [35, 170, 482, 1284, 2428, 1767, 1070, 251],
        [18, 64, 188, 615, 1683, 2267, 2154, 711],
        [7, 35, 110, 313, 915, 1902, 2998, 1329],
        [8, 32, 87, 220, 595, 1277, 2577, 2792],
    ],
}


def confusion_shares(matrix: Any, name: str = "matrix") -> np.ndarray:
    """A confusion matrix as probabilities: each row divided by its sum.

    Parameters
    ----------
    matrix : array_like, shape (k_bins, k_bins)
        As in `Confusion`.
    name : str
        What an error calls it.

    Examples
    --------
    >>> confusion_shares([[3, 1], [0, 5]]).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    shares = _confusion_matrix(matrix, name)
    return shares / shares.sum(axis=1, keepdims=True)


def measured_confusion(k_bins: int) -> np.ndarray:
    """A measured confusion matrix: 60,964 conversations of LMSYS-Chat-1M, bins of equal probability.

    Parameters
    ----------
    k_bins : {2, 4, 8}
        Number of bins.

    Notes
    -----
    Counts; rows are true bins, columns predicted ones. Multi-bin batching paper (arXiv 2412.04504v1), Appendix C.1,
    figure 10. The bin is right for 86.1, 63.0 and 42.3 % of the conversations with 2, 4 and 8 bins.

    Examples
    --------
    >>> measured_confusion(2).tolist()
    [[25802, 4778], [3668, 26716]]
    """
    if check_integer("k_bins", k_bins, 1) not in _MEASURED:
        raise InputError(f"k_bins: {k_bins} (expected 2, 4 or 8, the numbers of bins that were measured)")
    return np.array(_MEASURED[int(k_bins)])


def symmetric_confusion(k_bins: int, p_error: float) -> np.ndarray:
    """The confusion matrix of errors to the neighbouring bins, each with probability `p_error`.

    Parameters
    ----------
    k_bins : int
        Number of bins, 2 to 1024.
    p_error : float
        Probability of each neighbour, in [0, 0.5]; an edge bin has one neighbour, an inner one two.

    Notes
    -----
    Rows are true bins, columns predicted ones. Multi-bin batching paper (arXiv 2412.04504v1), section 6.2, figure 8.

    Examples
    --------
    >>> symmetric_confusion(3, 0.25).tolist()
    [[0.75, 0.25, 0.0], [0.25, 0.5, 0.25], [0.0, 0.25, 0.75]]
    """
    k_bins = check_integer("k_bins", k_bins, 2, 1024)
    p_error = check_number("p_error", p_error, 0.0, 0.5)
    matrix = p_error * (np.eye(k_bins, k=1) + np.eye(k_bins, k=-1))
    np.fill_diagonal(matrix, 1.0 - matrix.sum(axis=1))
    return matrix


@dataclass(frozen=True, slots=True)
class LatentScore:
    """One score a request, with a given rank correlation to the true length, turned into a length.

    The predicted lengths are the true ones, re-ordered by the score, so that both have the same distribution:
    thresholding them gives bins, ordering them gives shortest-first, and both face the same predictor.
    A score is compared with all others: unlike the other predictors, this one looks at the whole table.

    Parameters
    ----------
    rank_correlation : float
        Spearman's correlation of predicted and true length, in [-1, 1]. At 1 this is the oracle. Ties among the true
        lengths are ordered by chance, so a table full of ties realises less.

    Notes
    -----
    A Gaussian copula on the ranks. Pearson's correlation r of two normal variables and Spearman's rho obey
    r = 2 sin(pi rho / 6).

    Examples
    --------
    >>> LatentScore(rank_correlation=1.0).predict([9, 9, 9], [57, 206, 104], np.random.default_rng(1)).tolist()
    [57, 206, 104]
    """

    rank_correlation: float

    def __post_init__(self) -> None:
        check_number("rank_correlation", self.rank_correlation, -1.0, 1.0)

    def predict(self, prompt_tokens: np.ndarray, output_tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy.special import ndtri

        _, output = _lengths(prompt_tokens, output_tokens, rng)
        requests = len(output)
        tie_rng, noise_rng = rng.spawn(2)
        shortest_first = np.argsort(output + 0.5 * tie_rng.random(requests))  # less than a token: only ties are moved
        normal_score = np.empty(requests)
        normal_score[shortest_first] = ndtri((np.arange(requests) + 0.5) / requests)
        # Rounded, because 2 sin(pi / 6) falls short of 1 by one bit, and a perfect score must stay perfect.
        correlation = round(2.0 * math.sin(math.pi * self.rank_correlation / 6.0), 15)
        noise = math.sqrt(1.0 - correlation**2) * noise_rng.standard_normal(requests)
        predicted = np.empty(requests, dtype=np.int64)
        predicted[np.argsort(correlation * normal_score + noise)] = output[shortest_first]
        return predicted


def _original_formula(prompt_tokens: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return np.clip((1.5 * prompt_tokens**0.7 * factor).astype(np.int64), 1, 4096)


def _lengths(prompt_tokens: Any, output_tokens: Any, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    check_type("rng", rng, np.random.Generator, "a numpy random Generator")
    return _columns(prompt_tokens, output_tokens)


def _columns(prompt_tokens: Any, output_tokens: Any) -> tuple[np.ndarray, np.ndarray]:
    """The two columns as arrays, checked by the rules of a request table."""
    rows = length_hint(prompt_tokens, 1)
    if rows == 0:
        raise InputError("prompt_tokens: no rows (expected at least 1)")
    columns = (("prompt_tokens", prompt_tokens), ("output_tokens", output_tokens))
    return tuple(token_column(name, given, rows, copy=False) for name, given in columns)


def _confusion_matrix(given: Any, name: str = "matrix") -> np.ndarray:
    try:
        matrix = np.array(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: {given!r} (expected rows of equal length, all numbers)") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) == 0:
        raise InputError(f"{name}: shape {matrix.shape} (expected as many rows as columns, one a bin)")
    bad = ~((matrix >= 0) & (matrix <= MOST_COUNTS))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        wanted = f"expected a number from 0 to {MOST_COUNTS:g}"
        raise InputError(f"{name}, row {row}, column {column}: {matrix[row, column]} ({wanted})")
    sums = matrix.sum(axis=1)
    counts = bool((matrix == np.floor(matrix)).all())
    bad = sums == 0 if counts else np.abs(sums - 1.0) > ROW_SUM_TOLERANCE
    if bad.any():
        row = int(np.argmax(bad))
        wanted = "counts of which one is positive" if counts else "probabilities that sum to 1"
        raise InputError(f"{name}, row {row}: the sum is {sums[row]} (expected {wanted})")
    return matrix


def _bin_edges(given: Any, k_bins: int) -> tuple[int, ...]:
    if not np.iterable(given):
        raise InputError(f"bounds: {given!r} (expected {k_bins + 1} edges in tokens)")
    bounds = tuple(check_integer(f"bounds, edge {i}", edge, 0, MOST_TOKENS) for i, edge in enumerate(given))
    if len(bounds) != k_bins + 1:
        raise InputError(f"bounds: {len(bounds)} edges (expected {k_bins + 1}, one more than the matrix has bins)")
    falls = [i for i in range(1, len(bounds)) if bounds[i] <= bounds[i - 1]]
    if falls:
        raise InputError(f"bounds, edge {falls[0]}: {bounds[falls[0]]} (expected more than the edge before it)")
    return bounds
