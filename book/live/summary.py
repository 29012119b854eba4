"""A run in numbers, and replications in intervals, as kernels: `metrics.summary`, `shares` and `intervals`."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from book.live.batches import BUSY, COLLAPSED, GAP_P99, IDLE, SIZE_MEAN, Answered, Requests, places_of
from simlib.runs.metrics import SUMMARY_KEYS
from simlib.runs.stability import CRITICAL_T, ONE_SIDED, SHORTEST_RUN, WINDOWS
from simlib.runs.tally import (
    COMPLETED,
    FAILED,
    GOOD,
    LAST,
    LATENCY,
    MISSED,
    QUEUEING,
    SERVICE,
    TOKENS,
    TPOT,
    TPOTS,
    TTFT,
    TTFTS,
    add_up,
    add_windows,
)
from simlib.stats.intervals import t_quantile
from simlib.stats.shares import FEWEST_CLUSTERS

(
    REQUESTS, FAILURES, LATE, GOODPUT, MEAN, P50, P95, P99, WAIT, WORK, FIRST, FIRST_P99, GAP, PER_TOKEN_P99, BETWEEN,
    RATE, TOKEN_RATE, UTILIZATION, SIZE, COLLAPSE, MAKESPAN, STABILITY,
) = range(len(SUMMARY_KEYS))  # fmt: skip
STABLE, NEAR_CRITICAL, UNSTABLE, UNKNOWN = range(4)
LABELS = ("stable", "near_critical", "unstable", "unknown")
CRITICAL_Z = -NormalDist().inv_cdf(ONE_SIDED)
REPLICATIONS, CONFIDENCE = 20, 0.95
T_QUANTILE = t_quantile(REPLICATIONS - 1, CONFIDENCE)


def ranked(values: np.ndarray, first: int, rank: int) -> float:
    """Kernel: the value of a rank, with what is less before it and what is more behind; those before `first` are."""
    low, high = first, len(values) - 1
    while low < high:
        middle = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] < middle:
                left += 1
            while middle < values[right]:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left, right = left + 1, right - 1
        if rank <= right:
            high = right
        elif rank >= left:
            low = left
        else:
            break
    return values[rank]


def percentile(values: np.ndarray, percent: float, first: int) -> float:
    """Kernel: `metrics.percentiles`, one after the other, each in what is above the rank before; NaN of no values."""
    if len(values) == 0:
        return math.nan
    place = percent / 100 * (len(values) - 1)
    rank = math.floor(place)
    below = ranked(values, first, rank)
    above, part = below, place - rank
    if rank + 1 < len(values):
        above = values[rank + 1]
        for other in range(rank + 2, len(values)):
            above = min(above, values[other])
    return above - (above - below) * (1 - part) if part >= 0.5 else below + (above - below) * part


def rank_of(percent: float, count: int) -> int:
    """Kernel: the rank below a percentile."""
    return math.floor(percent / 100 * (count - 1)) if count > 0 else 0


def token_p99_s(tpot_s: np.ndarray, gaps: np.ndarray) -> float:
    """Kernel: `metrics.token_p99`: the slowest few most often have the slowest hundredth of the gaps."""
    count, total = len(tpot_s), gaps.sum()
    if count == 0:
        return math.nan
    top, partly = max(1, count // 24), tpot_s.copy()
    while True:
        slowest, counts, found, below = np.empty(count), np.empty(count, np.int64), 0, total
        least_s = ranked(partly, 0, count - top)
        for place in range(count):
            if tpot_s[place] >= least_s:
                slowest[found], counts[found] = tpot_s[place], gaps[place]
                below -= gaps[place]
                found += 1
        if below < 0.99 * total or top == count:
            break
        top = min(2 * top, count)
    places, place = places_of(slowest[:found]), 0
    while below + counts[places[place]] < 0.99 * total:
        below += counts[places[place]]
        place += 1
    return slowest[places[place]]


def label(arrival_s: np.ndarray, completion_s: np.ndarray) -> int:
    """Kernel: `stability.label`, by number."""
    count = len(arrival_s)
    if count == 0 or count < SHORTEST_RUN or arrival_s[0] == arrival_s[count - 1]:
        return UNKNOWN
    size = count // WINDOWS
    there, delays_s = np.zeros(WINDOWS, np.int64), np.zeros(WINDOWS)
    add_windows(arrival_s, completion_s, arrival_s[size - 1 : size * WINDOWS : size].copy(), there, delays_s)
    mean, squares, before = there[WINDOWS - 1] / WINDOWS, 0.0, 0
    for window in range(WINDOWS):
        squares += (there[window] - before - mean) ** 2
        before = there[window]
    if mean * math.sqrt(WINDOWS) > CRITICAL_T * math.sqrt(squares / (WINDOWS - 1)):
        return UNSTABLE
    return STABLE if is_random(delays_s[1:] / size) else NEAR_CRITICAL


def is_random(means: np.ndarray) -> bool:
    """Kernel: `steady.is_random` with an error of 5 %."""
    count, total, largest, spread, steps = len(means), 0.0, 0.0, 0.0, 0.0
    for place in range(count):
        total += means[place]
        largest = max(largest, abs(means[place]))
    centre = total / count
    for place in range(count):
        spread += (means[place] - centre) ** 2
        if place > 0:
            steps += (means[place] - means[place - 1]) ** 2
    if spread <= count * (1e-9 * largest) ** 2:
        return True
    return (1 - steps / spread / 2) * math.sqrt((count**2 - 1) / (count - 2)) < CRITICAL_Z


def divided(amount: float, by: float) -> float:
    """Kernel: NaN of nothing."""
    return amount / by if by > 0 else math.nan


def per_second(amount: float, time_s: float) -> float:
    """Kernel: infinite, or nothing, where no time passes."""
    return amount / time_s if time_s > 0 else (math.inf if amount > 0 else 0.0)


def summary(requests: Requests, d_sla: float, answered: Answered, batched: bool, numbers: np.ndarray) -> None:
    """Kernel: the run by `metrics.SUMMARY_KEYS`, the label by its number in `LABELS`."""
    count = len(requests.arrival_s)
    sums, limits_s = np.zeros(GOOD + 1), np.full(3, math.inf)
    limits_s[0] = d_sla
    completions_s, latencies_s, ttfts_s, tpots_s = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    gaps = np.empty(count, np.int64)
    add_up(
        requests.arrival_s, requests.output_tokens, np.arange(count), answered.start_s, answered.first_token_s,
        answered.completion_s, limits_s, sums, completions_s, latencies_s, ttfts_s, tpots_s, gaps,
    )  # fmt: skip
    completed, ttfts, tpots = int(sums[COMPLETED]), int(sums[TTFTS]), int(sums[TPOTS])
    latencies_s, ttfts_s = latencies_s[:completed], ttfts_s[:ttfts]
    gaps, tpots_s = gaps[:tpots], tpots_s[:tpots]
    makespan_s, totals = sums[LAST] - requests.arrival_s[0], answered.totals
    numbers[REQUESTS], numbers[FAILURES], numbers[LATE] = count, sums[FAILED], sums[MISSED] / count
    numbers[GOODPUT] = per_second(sums[GOOD], makespan_s)
    numbers[MEAN] = divided(sums[LATENCY], completed)
    numbers[P50] = percentile(latencies_s, 50.0, 0)
    numbers[P95] = percentile(latencies_s, 95.0, rank_of(50.0, completed))
    numbers[P99] = percentile(latencies_s, 99.0, rank_of(95.0, completed))
    numbers[WAIT], numbers[WORK] = divided(sums[QUEUEING], completed), divided(sums[SERVICE], completed)
    numbers[FIRST], numbers[FIRST_P99] = divided(sums[TTFT], ttfts), percentile(ttfts_s, 99.0, 0)
    numbers[BETWEEN] = token_p99_s(tpots_s, gaps) if batched else totals[GAP_P99]  # before they change places
    numbers[GAP], numbers[PER_TOKEN_P99] = divided(sums[TPOT], tpots), percentile(tpots_s, 99.0, 0)
    numbers[RATE], numbers[TOKEN_RATE] = per_second(completed, makespan_s), per_second(sums[TOKENS], makespan_s)
    numbers[UTILIZATION] = totals[BUSY] / (totals[BUSY] + totals[IDLE]) if totals[BUSY] > 0.0 else 0.0
    numbers[SIZE], numbers[COLLAPSE], numbers[MAKESPAN] = totals[SIZE_MEAN], totals[COLLAPSED], makespan_s
    came_s, place = np.empty(completed), 0
    for row in range(count):
        if not math.isnan(answered.completion_s[row]):
            came_s[place] = requests.arrival_s[row]
            place += 1
    numbers[STABILITY] = label(came_s, completions_s[:completed])


def share_interval(hits: np.ndarray, trials: np.ndarray, weights: np.ndarray, found: np.ndarray) -> None:
    """Kernel: `shares.share_interval` of 20 groups: share, limits (NaN: none), groups with hits, not full of them.

    `weights` say how often each group is in each resample, a row a resample.
    """
    groups, tried, hit, full = len(hits), trials.sum(), hits.sum(), 0
    share, with_hits, varies = hit / tried, 0, False
    squares = 0.0
    for group in range(groups):
        with_hits += int(hits[group] > 0)
        full += int(hits[group] == trials[group])
        varies |= hits[group] * tried != hit * trials[group]
        squares += trials[group] ** 2
    found[0], found[1], found[2], found[3], found[4] = share, math.nan, math.nan, with_hits, groups - full
    if hit == 0.0 or hit == tried:
        bound = -math.expm1(math.log1p(-CONFIDENCE) / (tried**2 / squares))
        found[1], found[2] = (0.0, bound) if hit == 0.0 else (1 - bound, 1.0)
    elif min(with_hits, groups - full) >= FEWEST_CLUSTERS:
        found[1] = found[2] = share
        if varies:
            bootstrap(hits, trials, weights, found)


def bootstrap(hits: np.ndarray, trials: np.ndarray, weights: np.ndarray, found: np.ndarray) -> None:
    """Kernel: quantiles of the studentised logit over resamples."""
    groups, share, residuals = len(hits), found[0], 0.0
    for group in range(groups):
        residuals += (hits[group] - share * trials[group]) ** 2
    error = math.sqrt(groups / (groups - 1) * residuals) / trials.sum() / (share * (1 - share))
    centre, resamples = math.log(share / (1 - share)), len(weights) // groups
    studentised = np.empty(resamples)
    for resample in range(resamples):
        hit = tried = both = squares = own = 0.0
        for group in range(groups):
            weight = float(weights[resample * groups + group])
            hit += weight * hits[group]
            tried += weight * trials[group]
            squares += weight * hits[group] ** 2
            both += weight * (hits[group] * trials[group])
            own += weight * trials[group] ** 2
        again = hit / tried
        spread = max(squares - 2 * again * both + again**2 * own, 0.0)
        width = math.sqrt(groups / (groups - 1) * spread) / tried
        if again <= 0.0:
            studentised[resample] = -math.inf
        elif again >= 1.0:
            studentised[resample] = math.inf
        else:
            width /= again * (1 - again)
            apart = math.log(again / (1 - again)) - centre
            studentised[resample] = apart / width if width > 0.0 else (math.nan if apart == 0.0 else apart * math.inf)
    tail = (1 - CONFIDENCE) / 2
    low = ranked(studentised, 0, max(math.ceil(resamples * tail) - 1, 0))
    high = ranked(studentised, 0, max(math.ceil(resamples * (1 - tail)) - 1, 0))
    found[1] = 1 / (1 + math.exp(-(centre - high * error)))
    found[2] = 1 / (1 + math.exp(-(centre - low * error)))


def difference(one: np.ndarray, other: np.ndarray, found: np.ndarray) -> None:
    """Kernel: `intervals.paired_difference` of 20 replications: mean, limits."""
    count, first, total, squares = len(one), one[0] - other[0], 0.0, 0.0
    for place in range(count):
        total += one[place] - other[place] - first
    mean = total / count
    for place in range(count):
        squares += (one[place] - other[place] - first - mean) ** 2
    half = T_QUANTILE * math.sqrt(squares / (count - 1)) / math.sqrt(count)
    found[0], found[1], found[2] = first + mean, first + mean - half, first + mean + half
