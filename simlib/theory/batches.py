"""One server of batches by exact chains: any time of a batch, full batches, capped ones, or all that wait.

Arrivals are Poisson with rate lambda, and a batch serves the oldest first. Its time H(n) depends on its size n as a
function says: ``batch_s(n)`` is a number of seconds, or two arrays of values in seconds and their probabilities (of a
continuous time, its quadrature). `theory.queues` has the closed forms for exponential times of any size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from simlib.checks import InputError, check_integer, check_number
from simlib.theory.queues import LARGEST, positive, stable, times_of

MAX_STATES, TAIL = 2048, 1e-12  # requests that a chain may see waiting; what its last state may hold
DROPPED = 1e-18  # a probability that no sum of doubles would feel


class BatchChain(NamedTuple):
    """What the chain says of the steady state.

    Parameters
    ----------
    latency_mean_s : float
        Mean time of a request from arrival to the end of its batch, in seconds.
    batch_size_mean, batch_mean_s : float
        Mean size and mean time of a batch, in requests and seconds.
    busy_share : float
        Share of time in which the server works.
    """

    latency_mean_s: float
    batch_size_mean: float
    batch_mean_s: float
    busy_share: float


def batch_chain(rate_rps: float, batch_s: Callable[[int], Any], least: int = 1, most: int | None = None) -> BatchChain:
    """Steady state of a server that starts a batch as soon as `least` wait, and takes up to `most` of them.

    Neuts' general rule (1967). ``least=1`` is the greedy server, M/G^(1,b)/1, that of Bailey (1954) and of
    `simlib.StaticFIFO`; ``least=most`` waits for full batches; ``most=None`` takes all that wait. With `longest_member`
    these are the capped, fixed and take-all (dynamic) batches of arXiv 2407.05347.

    Parameters
    ----------
    rate_rps : float
        Arrival rate lambda.
    batch_s : callable
        Time of a batch by its size, as in the head of this module.
    least, most : int
        Smallest and largest batch, 1 <= least <= most <= 2048, and `least` up to 1024.

    Raises
    ------
    InputError
        If the load lambda E[H(most)] / most is not below one, or more than 2048 requests matter.

    Notes
    -----
    The chain of requests q left behind by a batch: with n = min(max(q, least), most) in the next one,
    q' = max(q, least) - n + A(n), where A(n) arrive during H(n). By renewal reward E[T] = E[area] / (lambda E[cycle])
    with cycle = (least - q)^+ / lambda + H(n) and area = sum_(q <= m < least) m / lambda + max(q, least) E[H(n)] +
    lambda E[H(n)^2] / 2. Truncated where less than about 1e-12 of it is left.

    Examples
    --------
    >>> chain = batch_chain(2.0, lambda size: 0.3 + 0.05 * size, most=8)
    >>> round(chain.latency_mean_s, 4), round(chain.batch_size_mean, 4)
    (0.4797, 1.2078)
    """
    rate = positive("rate_rps", rate_rps)
    if not callable(batch_s):
        raise InputError(f"batch_s: {batch_s!r:.80} (expected a function from a size to seconds)")
    largest = MAX_STATES if most is None else check_integer("most", most, 1, MAX_STATES)
    least = check_integer("least", least, 1, min(largest, MAX_STATES // 2))
    kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def law(size: int) -> tuple[np.ndarray, np.ndarray]:
        if size not in kept:
            kept[size] = _law(batch_s, size)
        return kept[size]

    values, shares = law(largest)
    load = stable(f"rate_rps * mean of batch_s({largest}) / {largest}", rate * float(values @ shares) / largest)
    states = max(64, 2 * least)
    while states <= MAX_STATES:
        waiting = np.arange(states + 1)
        sizes = np.clip(waiting, least, largest)
        moves = _moves(rate, waiting, sizes, least, law)
        share = _stationary(moves)
        if share[-1] * states <= TAIL * max(1.0, share @ waiting):
            return _rewards(rate, share, waiting, sizes, least, law)
        states *= 2
    raise InputError(f"load: {load:.6g} (expected one at which fewer than {MAX_STATES} requests wait)")


def longest_member(
    tokens: Any,
    fixed_s: float = 0.0,
    per_request_s: float = 0.0,
    per_token_s: float = 0.0,
    per_request_token_s: float = 0.0,
) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Time of a batch of n by its longest output L: H = a + b n + (c + d n) L, for `batch_chain`.

    The service time of arXiv 2407.05347, where a batch ends with its longest member; linear in size and length.

    Parameters
    ----------
    tokens : array_like of float, shape (m,)
        Outputs' lengths, each as likely as the others and independent: P(L <= l) = (share of them <= l)^n.
    fixed_s, per_request_s, per_token_s, per_request_token_s : float
        a, b, c, d, >= 0, in seconds.

    Returns
    -------
    callable
        From a size to the values of H, in seconds, and their probabilities.

    Examples
    --------
    >>> longest_member([1, 3], fixed_s=1.0, per_token_s=2.0)(2)
    (array([3., 7.]), array([0.25, 0.75]))
    """
    lengths, counts = np.unique(times_of("tokens", tokens), return_counts=True)
    up_to = np.append(0.0, np.cumsum(counts)) / counts.sum()
    fixed = check_number("fixed_s", fixed_s, 0.0, LARGEST)
    request = check_number("per_request_s", per_request_s, 0.0, LARGEST)
    token = check_number("per_token_s", per_token_s, 0.0, LARGEST)
    both = check_number("per_request_token_s", per_request_token_s, 0.0, LARGEST)

    def batch_s(size: int) -> tuple[np.ndarray, np.ndarray]:
        return fixed + request * size + (token + both * size) * lengths, np.diff(up_to**size)

    return batch_s


def _moves(
    rate: float, waiting: np.ndarray, sizes: np.ndarray, least: int, law: Callable[[int], tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Transition matrix; what would move beyond the last state moves to it."""
    states = len(waiting)
    arrivals = {size: _arrivals(rate, law(size), waiting) for size in np.unique(sizes).tolist()}
    moves = np.zeros((states, states))
    for row, (size, left) in enumerate(zip(sizes.tolist(), (np.maximum(waiting, least) - sizes).tolist(), strict=True)):
        moves[row, left:] = arrivals[size][: states - left]
    moves[:, -1] += np.maximum(0.0, 1 - moves.sum(axis=1))
    return moves


def _arrivals(rate: float, law: tuple[np.ndarray, np.ndarray], numbers: np.ndarray) -> np.ndarray:
    """Probability of each number of arrivals during a batch: a mixture of Poisson laws."""
    from scipy.special import gammaln, pdtr, xlogy

    expected, shares = rate * law[0][:, None], law[1]
    probability = shares @ np.exp(xlogy(numbers, expected) - expected - gammaln(numbers + 1))
    # The logarithms are sums of thousands: without this their rounding errors would look like arrivals beyond the last.
    return probability * (shares @ pdtr(numbers[-1], expected[:, 0]) / probability.sum())


def _stationary(moves: np.ndarray) -> np.ndarray:
    balance = moves.T - np.eye(len(moves))
    balance[0] = 1.0  # one of the balance equations follows from the others, the sum of all shares does not
    return np.linalg.solve(balance, np.eye(len(moves))[0])


def _rewards(
    rate: float,
    share: np.ndarray,
    waiting: np.ndarray,
    sizes: np.ndarray,
    least: int,
    law: Callable[[int], tuple[np.ndarray, np.ndarray]],
) -> BatchChain:
    moments = {size: [law(size)[1] @ law(size)[0] ** power for power in (1, 2)] for size in np.unique(sizes).tolist()}
    first, second = np.array([moments[size] for size in sizes.tolist()]).T
    missing = np.maximum(least - waiting, 0)
    cycle_s = share @ (missing / rate + first)
    filling = missing * (np.minimum(waiting, least) + least - 1) / 2 / rate
    area = share @ (filling + np.maximum(waiting, least) * first + rate * second / 2)
    busy_s = share @ first
    return BatchChain(*map(float, (area / (rate * cycle_s), share @ sizes, busy_s, busy_s / cycle_s)))


def _law(batch_s: Callable[[int], Any], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and probabilities of a batch's time, checked; those that no sum would feel are left out."""
    given = batch_s(size)
    values, shares = given if isinstance(given, tuple) and len(given) == 2 else ([given], [1.0])
    values, shares = times_of(f"batch_s({size})", values), times_of(f"probabilities of batch_s({size})", shares)
    if len(values) != len(shares) or abs(shares.sum() - 1) > 1e-9:
        raise InputError(f"batch_s({size}): {given!r:.80} (expected a probability for each value, with the sum 1)")
    felt = shares > DROPPED
    return values[felt], shares[felt]
