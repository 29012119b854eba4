"""Bins for predicted output lengths.

Reads predictions, hands the schedulers a bin number a request. Knows neither time nor GPUs. A rule gives the K - 1
inner edges; a length equal to an edge belongs to the bin above it, and what lies below the first edge to the first bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from simlib.checks import MAX_BINS, InputError, check_choice, check_integer, check_number
from simlib.policies.optimal_bins import cut, sizes_of
from simlib.theory.bins import exponential_edges_s

RULES = ("equal_mass", "equal_mass_integer", "equal_width", "lemma_a1", "optimal")


def equal_mass(lengths_tokens: np.ndarray, k_bins: int) -> np.ndarray:
    """Inner edges at the i/K quantiles (linear interpolation): Lemma 4.1 of the Multi-Bin paper, for uniform times.

    Examples
    --------
    >>> equal_mass(np.array([1, 2, 3, 4, 5]), 2)
    array([3.])
    """
    k_bins = check_integer("k_bins", k_bins, 1, MAX_BINS)
    shares = np.arange(1, k_bins) / k_bins
    if _are_few(lengths_tokens):
        return _counted_quantiles(lengths_tokens, shares)
    return np.quantile(_lengths(lengths_tokens), shares)


def _counted_quantiles(lengths: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """`numpy.quantile`, to the last bit, from how often each length occurs: nothing is sorted."""
    up_to = np.cumsum(np.bincount(lengths))
    place = shares * (len(lengths) - 1)
    below = np.floor(place)
    lower, upper = (np.searchsorted(up_to, rank, side="right").astype(np.float64) for rank in (below, below + 1))
    part = place - below
    # numpy interpolates from the nearer end.
    return np.where(part < 0.5, lower + (upper - lower) * part, upper - (upper - lower) * (1 - part))


def equal_width(lengths_tokens: np.ndarray, k_bins: int) -> np.ndarray:
    """Inner edges that cut the range of the lengths in K equal parts."""
    k_bins, lengths = check_integer("k_bins", k_bins, 1, MAX_BINS), _lengths(lengths_tokens)
    return np.linspace(np.min(lengths), np.max(lengths), k_bins + 1)[1:-1]


def lemma_a1(mean_tokens: float, k_bins: int, batch_size: int) -> np.ndarray:
    """Inner edges that minimise the Multi-Bin paper's bound for exponential lengths.

    Parameters
    ----------
    mean_tokens : float
        Mean length 1/mu, > 0.
    k_bins, batch_size : int
        K >= 1 bins and B >= 1 requests a batch.

    Notes
    -----
    Appendix A.4, equations (28) and (29) with the index corrected, by `bins.exponential_edges_s`.

    Examples
    --------
    >>> lemma_a1(10.0, 3, 200).round(4)
    array([10.1929, 27.9051])
    """
    mean = check_number("mean_tokens", mean_tokens, 0.0, open_low=True)
    return mean * exponential_edges_s(1.0, k_bins, batch_size)


def edges(
    rule: str | Sequence[float], lengths_tokens: np.ndarray, k_bins: int, batch_size: int | Sequence[int] = 8
) -> np.ndarray:
    """Inner edges by a rule's name, or the given ones, checked.

    Parameters
    ----------
    rule : str or sequence of float
        One of `RULES`, or K - 1 ascending edges in tokens. ``equal_mass_integer`` cuts each quantile to an integer, as
        the original system does; ``lemma_a1`` takes the lengths' mean; ``optimal`` is `optimal`, without a tail.
    lengths_tokens : ndarray, shape (n_requests,)
        Predicted output lengths.
    k_bins : int
        Number of bins, >= 1.
    batch_size : int or sequence of int
        B of all bins or of each. Only ``optimal`` reads it, and ``lemma_a1``, whose bound knows that of the last bin.

    Returns
    -------
    ndarray of float, shape (k_bins - 1,)

    Raises
    ------
    InputError
        Naming the parameter, the value and what was expected; with ``optimal`` also if the lengths are too few.
    """
    k_bins = check_integer("k_bins", k_bins, 1, MAX_BINS)
    if isinstance(rule, str):
        check_choice("bounds", rule, RULES)
        if k_bins == 1:
            return np.zeros(0)
        if rule == "optimal":
            return cut(lengths_tokens, k_bins, batch_size)
        if rule == "lemma_a1":
            # With B = 1, ln H_B = 0 and every bin but the last is empty.
            last = check_integer("batch_size", sizes_of(batch_size, k_bins)[-1], 2)
            mean_tokens = check_number("mean of tokens", np.mean(_lengths(lengths_tokens)), 0.0, open_low=True)
            return lemma_a1(mean_tokens, k_bins, last)
        if rule == "equal_width":
            return equal_width(lengths_tokens, k_bins)
        quantiles = equal_mass(lengths_tokens, k_bins)
        return np.floor(quantiles) if rule == "equal_mass_integer" else quantiles
    try:
        given = np.asarray(rule, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"bounds: {rule!r} (expected a rule's name or {k_bins - 1} edges in tokens)") from None
    if given.shape != (k_bins - 1,):
        raise InputError(f"bounds: {rule!r} (expected {k_bins - 1} inner edges for k_bins = {k_bins})")
    if not np.isfinite(given).all() or (np.diff(given) <= 0).any():
        raise InputError(f"bounds: {rule!r} (expected finite edges in ascending order)")
    return given


def assign(lengths_tokens: np.ndarray, inner_edges: np.ndarray) -> np.ndarray:
    """Bin number of each length, from 0; the lower edge is included, the upper is not.

    Examples
    --------
    >>> assign(np.array([1, 28, 41, 500]), np.array([28, 41, 88]))
    array([0, 1, 2, 3])
    """
    edges = _lengths(inner_edges, "edges", least=0)
    if (np.diff(edges) < 0).any():
        raise InputError(f"edges: {inner_edges!r} (expected ascending edges)")
    if _are_few(lengths_tokens):  # fewer lengths than requests: look each length up once
        return np.searchsorted(edges, np.arange(lengths_tokens.max() + 1), side="right")[lengths_tokens]
    return np.searchsorted(edges, _lengths(lengths_tokens), side="right").astype(np.int64)


class Queues(NamedTuple):
    """Who will stand in which queue.

    Request r will stand in queue ``of[r]``; queue q is ``order[start[q]:end[q]]``, oldest first.
    """

    of: np.ndarray
    order: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @property
    def occupied(self) -> int:
        """How many of the queues are not empty."""
        return int(np.count_nonzero(self.end > self.start))

    def rows(self, keep: np.ndarray) -> Queues:
        """The same queues of some of the requests, which are numbered anew; `keep` are their positions, ascending."""
        place = np.full(len(self.of), -1)
        place[keep] = np.arange(len(keep))
        order = place[self.order]
        end = np.cumsum(np.bincount(self.of[keep], minlength=len(self.end)))
        return Queues(self.of[keep], order[order >= 0], end - np.diff(end, prepend=0), end)


def queues(queue_of: np.ndarray, count: int) -> Queues:
    """Line requests, given in order of arrival, up in `count` queues.

    Examples
    --------
    >>> queues(np.array([1, 0, 1]), 2).order
    array([1, 0, 2])
    """
    end = np.cumsum(np.bincount(queue_of, minlength=count))
    # numpy sorts short integers in linear time; one queue is in order as it is.
    short = np.int16 if count <= 2**15 else np.int64
    order = np.arange(len(queue_of)) if count == 1 else np.argsort(queue_of.astype(short), kind="stable")
    return Queues(np.ascontiguousarray(queue_of, np.int64), order, end - np.diff(end, prepend=0), end)


def _are_few(lengths: Any) -> bool:
    if not isinstance(lengths, np.ndarray) or lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths):
        return False
    return bool(lengths.min() >= 0 and lengths.max() < len(lengths))


def _lengths(values: Any, name: str = "lengths_tokens", least: int = 1) -> np.ndarray:
    try:
        lengths = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        lengths = np.full(1, np.nan)
    if lengths.ndim != 1 or len(lengths) < least or not np.isfinite(lengths).all():
        raise InputError(f"{name}: {values!r} (expected finite numbers of tokens in one dimension)")
    return lengths
