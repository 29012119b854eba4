"""What a prompt's law of lengths says of an answer that has so many tokens already: how much of it is left.

A law is a log-median and a log-sd; its logarithm is normal, or Student's t, whose tail is heavier. Answers end at
`MOST_TOKENS`. What is left is tabulated, a row a prompt and a column each of `FROM_TOKENS`.
"""

from __future__ import annotations

import math

import numpy as np

from simlib.checks import check_number
from simlib.engine.compiled import compiled

MOST_TOKENS = 4000
FROM_TOKENS = np.unique(np.append(0, np.round(np.geomspace(4, MOST_TOKENS, 65)))).astype(np.int64)


def longer(log_median: np.ndarray, log_sd: np.ndarray, freedom: float = math.inf) -> np.ndarray:
    """Share of each prompt's answers that are longer than `FROM_TOKENS`, shape (prompts, tokens).

    Parameters
    ----------
    log_median, log_sd : array of float, shape (prompts,)
        A law without spread is that of its median.
    freedom : float
        Degrees of freedom of the logarithm's t, > 0; infinite: normal.

    Examples
    --------
    >>> shares = longer(np.log([100.0]), np.array([0.5]))
    >>> [round(float(np.interp(tokens, FROM_TOKENS, shares[0])), 1) for tokens in (0, 100, MOST_TOKENS)]
    [1.0, 0.5, 0.0]
    """
    from scipy import special

    freedom = check_number("freedom", freedom, 0.0, open_low=True) if freedom < math.inf else math.inf
    with np.errstate(divide="ignore"):
        away = (log_median[:, None] - np.log(FROM_TOKENS)) / np.maximum(log_sd, 1e-9)[:, None]
    shares = special.ndtr(away) if freedom == math.inf else special.stdtr(freedom, away)
    shares[:, 0], shares[:, -1] = 1.0, 0.0
    return shares


def mean_left(shares: np.ndarray) -> np.ndarray:
    """Expected tokens left, of answers that are longer; `shares` is of `longer`.

    Examples
    --------
    >>> left = mean_left(longer(np.log([100.0]), np.array([0.5])))
    >>> round(float(left[0, 0]), -1), round(100 * math.exp(0.5**2 / 2), -1)
    (110.0, 110.0)
    """
    return compiled(_mean_left)(shares, FROM_TOKENS)


def quantile_left(shares: np.ndarray, share: float) -> np.ndarray:
    """Tokens left that this share of the answers that are longer do not exceed."""
    return compiled(_quantile_left)(shares, FROM_TOKENS, share)


def index_left(shares: np.ndarray) -> np.ndarray:
    """Gittins's index: the fewest tokens of service for one answer that ends, over all lengths to try.

    Smallest index first has the least mean latency on one server whose work can be put aside for nothing.
    """
    return compiled(_index_left)(shares, FROM_TOKENS)


def _mean_left(shares: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    left = np.ones_like(shares)  # who has outlived its law is taken to end at once
    for row in range(len(shares)):
        total = 0.0
        for place in range(len(tokens) - 2, -1, -1):
            total += (shares[row, place] + shares[row, place + 1]) / 2 * (tokens[place + 1] - tokens[place])
            if shares[row, place] > 0.0:
                left[row, place] = total / shares[row, place]
    return left


def _quantile_left(shares: np.ndarray, tokens: np.ndarray, share: float) -> np.ndarray:
    left = np.ones_like(shares)
    for row in range(len(shares)):
        end = 1
        for place in range(len(tokens) - 1):
            aim = (1.0 - share) * shares[row, place]
            end = max(end, place + 1)
            while shares[row, end] > aim:
                end += 1
            above, below = shares[row, end - 1], shares[row, end]
            if above > below:
                part = (above - aim) / (above - below)
                left[row, place] = tokens[end - 1] + part * (tokens[end] - tokens[end - 1]) - tokens[place]
    return left


def _index_left(shares: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    left = np.ones_like(shares)
    for row in range(len(shares)):
        for place in range(len(tokens) - 1):
            served, best = 0.0, np.inf
            for end in range(place + 1, len(tokens)):
                served += (shares[row, end - 1] + shares[row, end]) / 2 * (tokens[end] - tokens[end - 1])
                ended = shares[row, place] - shares[row, end]
                if ended > 0.0:
                    best = min(best, served / ended)
            if best < np.inf:
                left[row, place] = best
    return left
