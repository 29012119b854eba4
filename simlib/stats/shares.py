"""Intervals for small shares: late requests come in clusters, and what counts is how many clusters there are.

Reads hits and trials by group (replications, batches or busy cycles); a group is the piece that is independent of the
others, a request is not. Near 0 or 1 the t interval of the groups' shares is lopsided and leaves [0, 1]; here it is
made on the logit scale, or by the bootstrap. A count that is not whole, or more hits than trials: `InputError`.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Literal, get_args

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_number
from simlib.stats.intervals import Estimate, check_numbers, refuse_rows, t_quantile

Method = Literal["bootstrap_t", "logit", "t"]
FEWEST_CLUSTERS = 10  # groups with a hit, and without: below it, no interval covers as it should
RESAMPLES, MOST_RESAMPLED = 1000, 200


def share_interval(
    hits: Any, trials: Any, confidence: float = 0.95, method: Method = "bootstrap_t", seed: int = 0
) -> Estimate:
    """Share of all trials that are hits, such as late requests, with an interval that knows of clusters.

    Parameters
    ----------
    hits : array_like of int, shape (groups,)
        Hits of each independent group, at most its trials.
    trials : array_like of int, shape (groups,), or int
        Trials of each group; one number where all are alike. Not all zero.
    confidence : float
        As in `intervals.mean_interval`.
    method : {"bootstrap_t", "logit", "t"}
        What is done where there are enough clusters; ``t`` is the plain interval, which fails near 0 and 1.
    seed : int
        Of the bootstrap's resamples.

    Returns
    -------
    Estimate
        ``rule_of_three`` where there is no hit at all (or nothing else): the interval starts at 0 (ends at 1) and its
        other limit is one-sided. ``constant``, of no width, where all groups have the same share. ``none``, without
        limits and with the reason, where fewer than `FEWEST_CLUSTERS` groups have a hit, or fewer are not full of them.

    Notes
    -----
    The share is a ratio of sums, P = sum h / sum n, and its variance that of the residuals h - P n over groups. The
    logit interval is symmetric for ln(P / (1 - P)), the bootstrap takes the quantiles of that statistic, studentised,
    over 1,000 resamples of groups. Without a hit, G groups bound the share by 1 - (1 - confidence)^(1/G), which is 3/G
    at 95 %. Where groups differ in size, G is (sum n)^2 / sum n^2 of them, as long groups weigh more.

    Examples
    --------
    >>> found = share_interval([0] * 60, trials=1000)
    >>> found.method, found.ci_low, round(found.ci_high, 3)
    ('rule_of_three', 0.0, 0.049)
    >>> share_interval([0, 0, 5, 0], trials=1000).reason
    '1 of 4 groups has hits (an interval needs 10 with hits and 10 not full of them)'
    """
    hits, trials = _counts(hits, trials)
    confidence = check_number("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    check_choice("method", method, get_args(Method))
    seed = check_integer("seed", seed, 0)
    groups, share = len(hits), float(hits.sum() / trials.sum())
    if share in (0.0, 1.0):
        effective = trials.sum() ** 2 / np.sum(trials**2)
        bound = -math.expm1(math.log1p(-confidence) / effective)
        low, high = (0.0, bound) if share == 0 else (1 - bound, 1.0)
        return Estimate(share, low, high, "rule_of_three", groups)
    hit, spared = np.count_nonzero(hits), np.count_nonzero(hits < trials)
    if min(hit, spared) < FEWEST_CLUSTERS:
        few, what = (hit, "hits") if hit <= spared else (spared, "anything else")
        needs = f"an interval needs {FEWEST_CLUSTERS} with hits and {FEWEST_CLUSTERS} not full of them"
        reason = f"{few} of {groups} groups {'has' if few == 1 else 'have'} {what} ({needs})"
        return Estimate(share, None, None, "none", groups, reason)
    if not np.any(hits * trials.sum() - hits.sum() * trials):
        return Estimate(share, share, share, "constant", groups)
    error = _standard_error(hits, trials, share)
    t = t_quantile(groups - 1, confidence)
    if method == "t":
        return Estimate(share, share - t * error, share + t * error, method, groups)
    centre, error = math.log(share / (1 - share)), error / (share * (1 - share))
    below, above = (t, t) if method == "logit" else _bootstrap(hits, trials, confidence, seed)
    low, high = (1 / (1 + math.exp(-limit)) for limit in (centre - below * error, centre + above * error))
    return Estimate(share, low, high, method, groups)


def wilson_interval(hits: int, trials: int) -> Estimate:
    """Share of *independent* trials that are hits, such as whole replications, with Wilson's interval (95 %).

    Requests of one run are not independent: `share_interval` is for them.

    Examples
    --------
    >>> found = wilson_interval(99, 100)
    >>> found.value, round(found.ci_low, 3), round(found.ci_high, 3)
    (0.99, 0.946, 0.998)
    """
    from scipy.stats import binomtest

    trials = check_integer("trials", trials, 1)
    hits = check_integer("hits", hits, 0, trials)
    found = binomtest(hits, trials).proportion_ci(0.95, method="wilson")
    return Estimate(hits / trials, float(found.low), float(found.high), "wilson", trials)


def _standard_error(hits: np.ndarray, trials: np.ndarray, share: float) -> float:
    residuals, groups = hits - share * trials, len(hits)
    return math.sqrt(groups / (groups - 1) * float(np.sum(residuals**2))) / float(trials.sum())


def _bootstrap(hits: np.ndarray, trials: np.ndarray, confidence: float, seed: int) -> tuple[float, float]:
    """How many standard errors the limits lie below and above the estimate, on the logit scale."""
    if len(hits) > MOST_RESAMPLED:  # neighbours together are independent of the others too, and many less work
        starts = np.linspace(0, len(hits), MOST_RESAMPLED, endpoint=False).astype(int)
        hits, trials = np.add.reduceat(hits, starts), np.add.reduceat(trials, starts)
    groups, share = len(hits), hits.sum() / trials.sum()
    weights = resamples(groups, seed)
    hit, tried = weights @ hits, weights @ trials
    again = hit / tried
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = weights @ hits**2 - 2 * again * (weights @ (hits * trials)) + again**2 * (weights @ trials**2)
        error = np.sqrt(groups / (groups - 1) * np.maximum(squares, 0)) / tried / (again * (1 - again))
        studentised = (np.log(again / (1 - again)) - math.log(share / (1 - share))) / error
    # A resample without a hit lies below all others, one of nothing but hits above.
    studentised = np.where(again == 0, -np.inf, np.where(again == 1, np.inf, studentised))
    low, high = np.quantile(studentised, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
    return float(high), float(-low)


@functools.lru_cache(maxsize=8)
def resamples(groups: int, seed: int) -> np.ndarray:
    """How often each group is in each resample of the bootstrap, shape (`RESAMPLES`, groups)."""
    return np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), RESAMPLES).astype(float)


def _counts(hits: Any, trials: Any) -> tuple[np.ndarray, np.ndarray]:
    hits = check_numbers("hits", hits, "group", 0.0, 1e15)
    if np.ndim(trials) == 0:
        trials = np.full(len(hits), check_integer("trials", trials, 1, 10**15))
    trials = check_numbers("trials", trials, "group", 0.0, 1e15)
    if len(trials) != len(hits):
        raise InputError(f"trials: {len(trials)} groups (expected {len(hits)}, as in hits)")
    for name, counts in (("hits", hits), ("trials", trials)):
        refuse_rows(name, counts, np.flatnonzero(counts != np.floor(counts)), "that is whole", "group")
    refuse_rows("hits", hits, np.flatnonzero(hits > trials), "of at most the group's trials", "group")
    if not trials.any():
        raise InputError("trials: 0 in every group (expected at least one)")
    return hits, trials
