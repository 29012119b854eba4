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

KEYS = {key: place for place, key in enumerate(SUMMARY_KEYS)}
(
    REQUESTS, FAILURES, LATE, GOODPUT, MEAN, P50, P95, P99, WAIT, WORK, FIRST, FIRST_P99, GAP, PER_TOKEN_P99, BETWEEN,
    RATE, TOKEN_RATE, UTILIZATION, SIZE, COLLAPSE, MAKESPAN, STABILITY,
) = range(len(KEYS))  # fmt: skip
STABLE, NEAR_CRITICAL, UNSTABLE, UNKNOWN = range(4)
LABELS = ("stable", "near_critical", "unstable", "unknown")
CRITICAL_Z = -NormalDist().inv_cdf(ONE_SIDED)
REPLICATIONS, CONFIDENCE = 20, 0.95
T_QUANTILE = t_quantile(REPLICATIONS - 1, CONFIDENCE)


def ascending(values: np.ndarray) -> np.ndarray:
    """Kernel: the values in order: runs of 16 are made, and merged."""
    count, width, ordered, merged = len(values), 16, values.copy(), np.empty(len(values))
    for start in range(0, count, width):
        for last in range(start + 1, min(start + width, count)):
            value, place = ordered[last], last
            while place > start and ordered[place - 1] > value:
                ordered[place] = ordered[place - 1]
                place -= 1
            ordered[place] = value
    while width < count:
        for start in range(0, count, 2 * width):
            middle, end = min(start + width, count), min(start + 2 * width, count)
            left, right, place = start, middle, start
            while left < middle and right < end:
                one, other = ordered[left], ordered[right]
                takes = one <= other  # no jump: nobody could guess it
                merged[place] = one if takes else other
                left += int(takes)
                right += int(not takes)
                place += 1
            while left < middle:
                merged[place] = ordered[left]
                left, place = left + 1, place + 1
            while right < end:
                merged[place] = ordered[right]
                right, place = right + 1, place + 1
        ordered, merged = merged, ordered
        width *= 2
    return ordered


def quantile(ordered: np.ndarray, percent: float) -> float:
    """Kernel: `metrics.percentiles` of values in order; NaN of none."""
    if len(ordered) == 0:
        return math.nan
    place = percent / 100 * (len(ordered) - 1)
    low = math.floor(place)
    below, above, part = ordered[low], ordered[min(low + 1, len(ordered) - 1)], place - low
    return above - (above - below) * (1 - part) if part >= 0.5 else below + (above - below) * part


def token_p99_s(tpot_s: np.ndarray, ordered: np.ndarray, gaps: np.ndarray) -> float:
    """Kernel: `metrics.token_p99`: the slowest few most often have the slowest hundredth of the gaps."""
    count, total = len(tpot_s), gaps.sum()
    if count == 0:
        return math.nan
    top = max(1, count // 24)
    while True:
        slowest, counts, found, below = np.empty(count), np.empty(count, np.int64), 0, total
        for place in range(count):
            if tpot_s[place] >= ordered[count - top]:
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
    latencies_s, firsts_s = ascending(latencies_s[:completed]), ascending(ttfts_s[:ttfts])
    gaps, tpots_s = gaps[:tpots], tpots_s[:tpots]
    in_order_s = ascending(tpots_s)
    makespan_s, totals = sums[LAST] - requests.arrival_s[0], answered.totals
    numbers[REQUESTS], numbers[FAILURES], numbers[LATE] = count, sums[FAILED], sums[MISSED] / count
    numbers[GOODPUT] = per_second(sums[GOOD], makespan_s)
    numbers[MEAN] = divided(sums[LATENCY], completed)
    numbers[P50], numbers[P95] = quantile(latencies_s, 50.0), quantile(latencies_s, 95.0)
    numbers[P99] = quantile(latencies_s, 99.0)
    numbers[WAIT], numbers[WORK] = divided(sums[QUEUEING], completed), divided(sums[SERVICE], completed)
    numbers[FIRST], numbers[FIRST_P99] = divided(sums[TTFT], ttfts), quantile(firsts_s, 99.0)
    numbers[GAP], numbers[PER_TOKEN_P99] = divided(sums[TPOT], tpots), quantile(in_order_s, 99.0)
    numbers[BETWEEN] = token_p99_s(tpots_s, in_order_s, gaps) if batched else totals[GAP_P99]
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
    ordered = ascending(studentised)
    tail = (1 - CONFIDENCE) / 2
    low = ordered[max(math.ceil(resamples * tail) - 1, 0)]
    high = ordered[max(math.ceil(resamples * (1 - tail)) - 1, 0)]
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
