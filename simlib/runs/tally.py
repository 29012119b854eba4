"""One pass over the requests of a run: its sums and counts, and the columns of which percentiles are taken.

Kernels, beside `metrics` and `stability`, which read what they leave: numpy would take thirty passes, each of them over
memory that the last one has pushed out of the cache. Sums run in table order, interpreted as compiled.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from simlib.engine.compiled import called, is_worthwhile, one_at_a_time

ROWS_A_REQUEST = 4  # rows of a table that are tallied while the interpreted engine serves a request
COMPLETED, MISSED, LATENCY, QUEUEING, SERVICE, TTFT, TTFTS, TPOT, TPOTS, TOKENS, LAST = range(11)
FAILED, ANSWERED, GOOD = range(11, 14)


class Tally(NamedTuple):
    """What a pass leaves: sums by the constants above, and the columns of what is present, in table order.

    A request without output has failed, whether it was served or not; one that was served with output is answered, and
    good if it is not late; only what is answered has a time to the first token.

    `gaps` are the times between tokens, output - 1, of the requests in `tpot_s`.
    """

    sums: np.ndarray
    completion_s: np.ndarray
    latency_s: np.ndarray
    ttft_s: np.ndarray
    tpot_s: np.ndarray
    gaps: np.ndarray


def tally(
    arrival_s: np.ndarray,
    output_tokens: np.ndarray,
    row_of: np.ndarray,
    start_s: np.ndarray,
    first_token_s: np.ndarray,
    completion_s: np.ndarray,
    limits_s: np.ndarray,
) -> Tally:
    """Sum and count over all requests.

    Parameters
    ----------
    arrival_s, output_tokens : ndarray, shape (n_requests,)
    row_of : ndarray of int, shape (n_requests,)
        Each request's row in the next three, -1 if it was rejected.
    start_s, first_token_s, completion_s : ndarray of float, shape (any,)
        NaN where there is none.
    limits_s : ndarray of float, shape (3,)
        Deadlines for latency, ttft and tpot, infinite where there is none.
    """
    count = len(arrival_s)
    sums, gaps = np.zeros(GOOD + 1), np.empty(count, np.int64)
    columns = tuple(np.empty(count) for _ in range(4))
    given = (arrival_s, output_tokens, row_of, start_s, first_token_s, completion_s, limits_s)
    _run(add_up, count, *given, sums, *columns, gaps)
    completed, ttfts, tpots = (int(sums[place]) for place in (COMPLETED, TTFTS, TPOTS))
    present = zip(columns, (completed, completed, ttfts, tpots), strict=True)
    return Tally(sums, *(column[:rows] for column, rows in present), gaps[:tpots])


def _run(kernel: Callable[..., None], rows: int, *arrays: np.ndarray) -> None:
    """Run a kernel as it stands, or compiled where that pays for so many rows."""
    if is_worthwhile(rows // ROWS_A_REQUEST):
        # Whatever is given (part of an array, one that is read-only) becomes the one kind that is compiled for.
        arrays = tuple(np.ascontiguousarray(array) for array in arrays)
        kernel = called(kernel, _signature(*(array.dtype for array in arrays)))
    kernel(*arrays)


@one_at_a_time
@functools.cache
def _signature(*dtypes: np.dtype) -> Any:
    from numba import from_dtype, types

    return types.void(*(from_dtype(dtype)[::1] for dtype in dtypes))


def add_up(
    arrival_s: np.ndarray,
    output_tokens: np.ndarray,
    row_of: np.ndarray,
    start_s: np.ndarray,
    first_token_s: np.ndarray,
    completion_s: np.ndarray,
    limits_s: np.ndarray,
    sums: np.ndarray,
    completions_s: np.ndarray,
    latencies_s: np.ndarray,
    ttfts_s: np.ndarray,
    tpots_s: np.ndarray,
    gaps: np.ndarray,
) -> None:
    """Kernel of `tally`; the last six are filled in."""
    latency_most_s, ttft_most_s, tpot_most_s = limits_s[0], limits_s[1], limits_s[2]
    completed = missed = ttfts = tpots = tokens = failed = answered = good = 0
    latency_sum = queueing_sum = service_sum = ttft_sum = tpot_sum = 0.0
    last_s, judges_tokens = arrival_s[0], min(ttft_most_s, tpot_most_s) < math.inf
    for request in range(len(arrival_s)):
        row, came_s, gap = row_of[request], arrival_s[request], output_tokens[request] - 1
        failed += gap < 0
        if row < 0 or math.isnan(completion_s[row]):
            missed += 1
            continue
        end_s, began_s = completion_s[row], start_s[row]
        latency_s, ttft_s = end_s - came_s, first_token_s[row] - came_s
        completions_s[completed] = end_s
        latencies_s[completed] = latency_s
        completed += 1
        tokens += gap + 1
        latency_sum += latency_s
        queueing_sum += began_s - came_s
        service_sum += end_s - began_s
        last_s = max(last_s, end_s)
        # Against arrival + deadline, so that equality is exact. No branch on it: which requests are late is a surprise.
        late = end_s > came_s + latency_most_s
        if gap < 0:
            late |= judges_tokens  # of which there is none
        elif not math.isnan(ttft_s):
            late |= ttft_s > ttft_most_s
            ttfts_s[ttfts] = ttft_s
            ttfts += 1
            ttft_sum += ttft_s
            if gap > 0:
                tpot_s = (end_s - first_token_s[row]) / gap
                tpots_s[tpots] = tpot_s
                gaps[tpots] = gap
                tpots += 1
                tpot_sum += tpot_s
                late |= tpot_s > tpot_most_s
        missed += late
        answered += gap >= 0
        good += (gap >= 0) & (not late)
    sums[FAILED], sums[ANSWERED], sums[GOOD] = failed, answered, good
    sums[COMPLETED], sums[MISSED], sums[TOKENS], sums[LAST] = completed, missed, tokens, last_s
    sums[LATENCY], sums[QUEUEING], sums[SERVICE] = latency_sum, queueing_sum, service_sum
    sums[TTFT], sums[TTFTS], sums[TPOT], sums[TPOTS] = ttft_sum, ttfts, tpot_sum, tpots


def windows(arrival_s: np.ndarray, completion_s: np.ndarray, count: int) -> tuple[list[int], list[float]]:
    """Cut a run, in order of arrival, into windows of equally many requests; what does not fill one is left out.

    Returns
    -------
    list of int
        Requests in the system at the last arrival of each window, after all that happens at that instant.
    list of float
        Mean delay of each window's requests, seconds.
    """
    size = len(arrival_s) // count
    there, delays_s = np.zeros(count, np.int64), np.zeros(count)
    ends_s = arrival_s[size - 1 : size * count : size]
    _run(add_windows, len(arrival_s), arrival_s, completion_s, ends_s, there, delays_s)
    return there.tolist(), (delays_s / size).tolist()


def add_windows(
    arrival_s: np.ndarray, completion_s: np.ndarray, ends_s: np.ndarray, there: np.ndarray, delays_s: np.ndarray
) -> None:
    """Kernel of `windows`; the last two are filled in."""
    count = len(ends_s)
    size, first = len(arrival_s) // count, 0
    for window in range(count + 1):  # the last one: what does not fill a window
        total_s = 0.0
        for request in range(size * window, size * (window + 1) if window < count else len(arrival_s)):
            came_s, end_s = arrival_s[request], completion_s[request]
            total_s += end_s - came_s
            while first < count and ends_s[first] < came_s:
                first += 1
            sees = first  # every window that ends between arrival and completion
            while sees < count and ends_s[sees] < end_s:
                there[sees] += 1
                sees += 1
        if window < count:
            delays_s[window] = total_s
