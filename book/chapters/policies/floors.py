"""A floor under the mean latency of any order, any batches, any preemption: shortest remaining work first, relaxed.

Whatever a system does, a request needs so much time of a server that nothing saves (its *work*, at the best possible
share of a batch or a step), and so much time by the clock even alone. Give all servers' speed to one that may switch at
no cost: serving the least remaining work first completes, at every instant, the most requests that any schedule can.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer
from simlib.stats.intervals import check_numbers
from simlib.theory import steps


def completions_floor_s(arrival_s: Any, work_s: Any, alone_s: Any, servers: int = 1) -> np.ndarray:
    """The earliest time by which 1, 2, …, n requests can be complete under any schedule.

    Parameters
    ----------
    arrival_s, work_s, alone_s : array of float, shape (n_requests,)
        Ascending arrival times; least time of a server that each takes; least time from arrival to completion, seconds.
    servers : int

    Returns
    -------
    ndarray of float, shape (n_requests,)
        Ascending times, seconds. Not those of single requests: some request must suffer for another.

    Notes
    -----
    The larger one of two floors: preemptive shortest remaining processing time on one server of all servers' speed,
    which has the fewest requests in the system at every instant (Schrage 1968), as any schedule's work can be done
    there; and the sorted times ``arrival_s + alone_s``.

    Examples
    --------
    >>> completions_floor_s([0.0, 1.0], [4.0, 1.0], [4.0, 1.0]).tolist()  # the second goes first, at 1 s
    [2.0, 5.0]
    """
    arrival_s, work_s, alone_s = (
        check_numbers(name, given, "request", 0.0)
        for name, given in (("arrival_s", arrival_s), ("work_s", work_s), ("alone_s", alone_s))
    )
    if not len(arrival_s) == len(work_s) == len(alone_s):
        raise InputError(f"work_s: {len(work_s)} of them (expected {len(arrival_s)}, as arrival_s and alone_s)")
    if (np.diff(arrival_s) < 0).any():
        raise InputError("arrival_s: not ascending (expected times in order)")
    speed = check_integer("servers", servers, 1)
    left: list[float] = []
    done: list[float] = []
    now_s = 0.0
    for next_s, work in zip([*arrival_s[1:], np.inf], work_s / speed, strict=True):
        now_s = max(now_s, arrival_s[len(done) + len(left)])
        heapq.heappush(left, work)
        while left and now_s + left[0] <= next_s:
            now_s += heapq.heappop(left)
            done.append(now_s)
        if left:
            heapq.heapreplace(left, left[0] - (next_s - now_s))
            now_s = next_s
    return np.maximum(done, np.sort(arrival_s + alone_s))


def mean_latency_floor_s(arrival_s: Any, work_s: Any, alone_s: Any, servers: int = 1) -> float:
    """No schedule that serves all requests has a lower mean latency, seconds; as `completions_floor_s`.

    Examples
    --------
    >>> mean_latency_floor_s([0.0, 1.0], [4.0, 1.0], [4.0, 1.0])
    3.0
    """
    return float(np.mean(completions_floor_s(arrival_s, work_s, alone_s, servers)) - np.mean(arrival_s))


def batch_work_s(times_s: Any) -> np.ndarray:
    """Least time of a server that a request takes in batches that run to completion.

    Parameters
    ----------
    times_s : array of float, shape (n_requests, most)
        Time of a batch of 1, 2, …, of which this request is the longest; it grows with the longest.

    Notes
    -----
    A member's share of a batch, its time over its size, is no less than if it were its longest.

    Examples
    --------
    >>> batch_work_s([[1.0, 1.2, 1.5]]).tolist()
    [0.5]
    """
    try:
        times = np.asarray(times_s, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        times = np.full((1, 1), np.nan)
    if times.ndim != 2 or not times.size or not (np.isfinite(times) & (times >= 0)).all():
        raise InputError(f"times_s: {times_s!r:.80} (expected seconds >= 0, a row a request, a column a batch size)")
    return (times / np.arange(1, times.shape[1] + 1)).min(axis=1)


def step_work_s(prompt_tokens: Any, output_tokens: Any, params: Any, seats: int) -> tuple[np.ndarray, np.ndarray]:
    """Least time of a GPU, and least time by the clock, of requests under a law of steps; recomputation comes on top.

    Parameters
    ----------
    prompt_tokens, output_tokens : array of int, shape (n_requests,)
    params : sequence of float
        a, b, c, d of `steps.StepLaw`: seconds of a step, a decode, a prompt token, a token of context.
    seats : int
        Sequences that run at once, at most: a step's fixed time is shared by no more.

    Returns
    -------
    work_s, alone_s : ndarray of float, shape (n_requests,)

    Examples
    --------
    >>> [times.tolist() for times in step_work_s([10], [3], (1.0, 0.0, 0.1, 0.0), seats=2)]
    [[2.5], [4.0]]
    """
    prompt, decodes, context = steps.decodes(prompt_tokens, output_tokens)
    a, b, c, d = (float(number) for number in tuple(params)[:4])
    own_s, shared_s = b * decodes + c * prompt + d * context, a * (decodes + 1)  # one step completes the prompt
    return own_s + shared_s / check_integer("seats", seats, 1), own_s + shared_s
