"""From a run to numbers with the field's names.

Reads a run of either kind (`Finished`), simulates nothing: a second look, under another deadline, costs no second run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from simlib.checks import InputError, check_type
from simlib.requests.clients import classes_of
from simlib.requests.table import RequestTable
from simlib.runs import tally
from simlib.runs.clients import Window, at_work
from simlib.runs.sla import METRICS, SLA
from simlib.runs.stability import label
from simlib.stats import shares, steady

if TYPE_CHECKING:
    import pandas as pd


SUMMARY_KEYS = (
    *("requests", "failed", "sla_violation_share", "goodput_rps"),
    *("latency_mean_s", "latency_p50_s", "latency_p95_s", "latency_p99_s", "queueing_mean_s", "service_mean_s"),
    *("ttft_mean_s", "ttft_p99_s", "tpot_mean_s", "tpot_p99_s", "itl_p99_s"),
    *("throughput_rps", "output_tokens_per_s", "gpu_utilization", "batch_size_mean", "collapsed_share", "makespan_s"),
    "stability",
)
# Of a run, for intervals of its shares: pieces, fewest requests, probability that independent pieces look dependent.
WINDOWS, FEWEST, DEPENDENT = 20, 1000, 0.01
OF_A_LOOP = "run.at_work, or another runs.clients.Window"


class Times(NamedTuple):
    """When each request started, had its first token and was complete, seconds; NaN where it was rejected."""

    start_s: np.ndarray
    first_token_s: np.ndarray
    completion_s: np.ndarray


class Finished(Protocol):
    """What metrics and timeline read of a run, whichever its kind."""

    table: RequestTable
    gpus: int
    sla: SLA
    policy: str
    times: Times
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # each request's row in its start, first token and end
    busy_s: float
    idle_s: float
    batch_size_mean: float
    collapsed_share: float

    def gap_p99_s(self, tpot_s: np.ndarray, gaps: np.ndarray) -> float: ...  # over all times between tokens
    def slices(self) -> pd.DataFrame: ...  # what the GPUs did, one row a batch or a stretch of equal steps
    def passed(self, done: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]: ...  # in which slices each request was


def request_times(run: Finished) -> dict[str, np.ndarray]:
    """Per-request times in seconds, in input order: latency, queueing, service, ttft, tpot.

    Rejected requests have NaN in all; tpot is NaN below two output tokens, ttft of a failed request, without any.
    """
    times = check_run(run).times
    arrival_s, outputs = run.table.arrival_s, run.table.output_tokens
    gaps, short = outputs - 1.0, outputs < 2
    if short.any():
        gaps[short] = np.nan
    return {
        "latency": times.completion_s - arrival_s,
        "queueing": times.start_s - arrival_s,
        "service": times.completion_s - times.start_s,
        "ttft": np.where(outputs > 0, times.first_token_s - arrival_s, np.nan),
        "tpot": (times.completion_s - times.first_token_s) / gaps,
    }


def violations(run: Finished, sla: SLA | float | str | None = None) -> np.ndarray:
    """Whether each request misses the SLA (strictly later than a limit), shape (n_requests,).

    A rejected request misses every deadline. A failed one, without output, misses every limit on its tokens; against
    one on its latency it is held as the original system does, by when it ended. A single token has no time per token,
    and misses no limit on it.
    """
    completion_s = check_run(run).times.completion_s
    limits = SLA.of(run.sla if sla is None else sla).limits_of(run.table)
    missed = np.isnan(completion_s)
    if "latency" in limits:  # against arrival + deadline, so that equality is exact
        missed |= completion_s > run.table.arrival_s + limits["latency"]
    if set(limits) - {"latency"}:
        times, answered = request_times(run), run.table.output_tokens > 0
        judged = np.isfinite(np.minimum(limits.get("ttft", np.inf), limits.get("tpot", np.inf)))  # for its tokens
        missed |= ~answered & judged
        untimed = np.isnan(times["ttft"]) & answered & ~np.isnan(completion_s)
        _refuse_untimed(limits, int(np.count_nonzero(untimed & judged)))
        for metric in limits.keys() - {"latency"}:
            missed |= times[metric] > limits[metric]
    return missed


def _refuse_untimed(limits_s: Mapping[str, Any], untimed: int) -> None:
    """Raise `InputError` if a limit is on what some completed requests do not have: a time to first token."""
    for metric in limits_s.keys() - {"latency"}:
        if untimed:
            limit_s = np.min(limits_s[metric])
            raise InputError(f"sla: {metric}<={limit_s:g} (the latency model gives no time to first token)")


def summary(
    run: Finished, sla: SLA | float | str | None = None, within: Window | None = None
) -> dict[str, float | int | str]:
    """The run in numbers, by `SUMMARY_KEYS`: shares as fractions, times in seconds.

    Shares count every request, rejected ones as violations; means and quantiles cover the completed ones of this finite
    run: where ``stability`` is ``unstable`` they grow with its length. Percentiles interpolate linearly. `makespan_s`
    runs from the first arrival to the last completion, and `gpu_utilization` is the busy share of the GPUs' time in it.

    ``failed`` requests, without output, are served as given, and in latency and throughput as in the original system;
    they are no goodput, have no time to a first token, and miss every limit on it. `collapsed_share`: see `collapse`.

    Of a closed loop `within` is the time in which all clients are at work (`clients.at_work`): requests answered in it
    count, and rates are of its length, which is the makespan then. What GPUs did is of the whole run: how busy they
    were, sizes of batches, gaps between tokens. ``stability`` is ``closed`` where nobody comes after somebody has left.
    """
    check_run(run)
    judged = SLA.of(run.sla if sla is None else sla)
    limits_s = {} if judged.classes else judged.limits_s
    table, most_s = run.table, np.array([limits_s.get(metric, math.inf) for metric in METRICS])
    arrival_s, outputs, rows = table.arrival_s, table.output_tokens, run.rows
    if within is not None:
        scored = check_type("within", within, Window, OF_A_LOOP).checked().scored(table, run.times.completion_s)
        arrival_s, outputs, rows = arrival_s[scored], outputs[scored], (rows[0][scored], *rows[1:])
        if not len(arrival_s):
            raise InputError("within: no request is answered while all clients are at work (expected a longer run)")
    found = tally.tally(arrival_s, outputs, *rows, most_s)
    sums = found.sums.tolist()
    if judged.classes:
        late = violations(run, judged) if within is None else violations(run, judged)[scored]
        sums[tally.MISSED], sums[tally.GOOD] = int(late.sum()), int((~late & (outputs > 0)).sum())
    completed, ttfts, tpots = (int(sums[place]) for place in (tally.COMPLETED, tally.TTFTS, tally.TPOTS))
    _refuse_untimed(limits_s, int(sums[tally.ANSWERED]) - ttfts)
    makespan_s = sums[tally.LAST] - float(arrival_s[0]) if within is None else within.span_s
    values = (
        len(arrival_s),
        int(sums[tally.FAILED]),
        sums[tally.MISSED] / len(arrival_s),
        _rate(sums[tally.GOOD], makespan_s),
        _mean(sums[tally.LATENCY], completed),
        *percentiles(found.latency_s, 50, 95, 99),
        _mean(sums[tally.QUEUEING], completed),
        _mean(sums[tally.SERVICE], completed),
        _mean(sums[tally.TTFT], ttfts),
        *percentiles(found.ttft_s, 99),
        _mean(sums[tally.TPOT], tpots),
        *percentiles(found.tpot_s, 99),
        run.gap_p99_s(found.tpot_s, found.gaps),
        _rate(completed, makespan_s),
        _rate(sums[tally.TOKENS], makespan_s),
        _share(run.busy_s, run.idle_s),
        run.batch_size_mean,
        run.collapsed_share,
        makespan_s,
        _stability(run, arrival_s, found.completion_s),
    )
    return dict(zip(SUMMARY_KEYS, values, strict=True))


def _stability(run: Finished, arrival_s: np.ndarray, completion_s: np.ndarray) -> str:
    """The label of a run; a closed loop, where the number of clients bounds every queue, has one of its own."""
    table, times = run.table, run.times
    if table.closed and not at_work(table, times.completion_s).is_empty:
        return "closed"
    if not len(completion_s):
        return "unknown"
    return label(
        arrival_s if len(completion_s) == len(arrival_s) else arrival_s[~np.isnan(times.completion_s)], completion_s
    )


def _rate(amount: float, time_s: float) -> float:
    """Amount per second; infinite, or nothing, where no time passes."""
    return float(amount / time_s) if time_s > 0 else (np.inf if amount > 0 else 0.0)


def _share(part: float, rest: float) -> float:
    """A part of the whole; of two that are not negative at most 1, which a part over a measured whole is not."""
    return part / (part + rest) if part else 0.0


def _mean(total: float, count: int) -> float:
    return total / count if count else float("nan")


def by_class(run: Finished, by: str, sla: Any = None, within: Window | None = None) -> pd.DataFrame:
    """What each class of requests got of a run.

    Parameters
    ----------
    by : str
        The column whose value is a request's class: ``priority``, or a label such as ``client``
        (`clients.classes_of`).
    sla : SLA, float or str, optional
        As in `summary`; by class, or the same for all.
    within : clients.Window, optional
        As in `summary`.

    Returns
    -------
    pandas.DataFrame
        One row a class: `by`, ``requests, failed, sla_violation_share, ci_low, ci_high, goodput_rps`` and of latency,
        queueing, ttft and tpot ``NAME_mean_s, NAME_p50_s, NAME_p95_s, NAME_p99_s``, as in `summary`.

    Notes
    -----
    The limits (95 %) are of the share of late requests in a run without end like this one, from 20 windows of its
    arrivals (`shares.share_interval`). They are NaN where they cannot be known: below 1,000 requests, where fewer than
    ten windows have late requests of the class, or ones in time, and where neighbouring windows depend on each other in
    their shares or their mean latencies, as queues grow or the windows are too short.

    Examples
    --------
    >>> import simlib
    >>> requests = simlib.RequestTable([0, 0, 0], [1] * 3, [1] * 3, priority=[1, 0, 0])
    >>> policy = simlib.PriorityFirst(variant=simlib.Rules(b_max=1))
    >>> by_class(simlib.simulate(requests, policy, simlib.GivenTimes([1, 1, 1])), "priority")["latency_mean_s"].tolist()
    [1.5, 3.0]
    """
    import pandas as pd

    codes, values = classes_of(check_run(run).table, by)
    times, late, answered = request_times(run), violations(run, sla), run.table.output_tokens > 0
    completion_s = run.times.completion_s
    done = completion_s[~np.isnan(completion_s)]
    makespan_s = float(done.max() - run.table.arrival_s[0]) if len(done) else 0.0
    counted = np.arange(len(codes))
    if within is not None:
        check_type("within", within, Window, OF_A_LOOP)
        counted, makespan_s = np.arange(len(codes))[within.checked().scored(run.table, completion_s)], within.span_s
    place = np.searchsorted(counted, np.arange(len(codes)))
    sizes = np.bincount(codes[counted], minlength=len(values))
    by_code = np.split(counted[np.argsort(codes[counted], kind="stable")], np.cumsum(sizes)[:-1])
    rows = []
    for value, own in ((value, own) for value, own in zip(values, by_code, strict=True) if len(own)):
        row = {by: value, "requests": len(own), "failed": int(np.count_nonzero(~answered[own]))}
        row |= _late_share(late[own], times["latency"][own], place[own], len(counted))
        row["goodput_rps"] = _rate(np.count_nonzero(~late[own] & answered[own]), makespan_s)
        for name in ("latency", "queueing", "ttft", "tpot"):
            found = times[name][own]
            found = found[~np.isnan(found)]
            statistics = _mean(float(found.sum()), len(found)), *percentiles(found, 50, 95, 99)
            row |= dict(zip((f"{name}_{what}_s" for what in ("mean", "p50", "p95", "p99")), statistics, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def _late_share(late: np.ndarray, latency_s: np.ndarray, rows: np.ndarray, count: int) -> dict[str, float]:
    """The share of late requests of a class, which are these rows of so many, with the limits of its interval."""
    window, done = rows * WINDOWS // count, ~np.isnan(latency_s)
    trials, served = np.bincount(window, minlength=WINDOWS), np.bincount(window[done], minlength=WINDOWS)
    hits, sums = np.bincount(window, late, WINDOWS), np.bincount(window[done], latency_s[done], WINDOWS)
    found = shares.share_interval(hits, trials)
    low, high = math.nan, math.nan
    if found.ci_low is not None and count >= FEWEST and served.all():
        means = (sums / served, hits / trials)
        if all(steady.looks_independent(each, DEPENDENT) for each in means):
            low, high = found.ci_low, found.ci_high
    return {"sla_violation_share": found.value, "ci_low": low, "ci_high": high}


def percentiles(values: np.ndarray, *percents: float) -> list[float]:
    """Exact percentiles with linear interpolation: `numpy.percentile` to the last bit, in a third of its time.

    NaN of no values. numpy selects one rank with vector instructions, several with a loop of branches: so one after the
    other, each among what is above the rank before.

    Examples
    --------
    >>> percentiles(np.array([4.0, 1.0, 2.0, 3.0]), 50, 99)
    [2.5, 3.9699999999999998]
    """
    if not len(values):
        return [float("nan")] * len(percents)
    places = {percent: percent / 100 * (len(values) - 1) for percent in sorted(percents)}
    found, below, above = {}, 0, values.copy()
    for percent, place in places.items():
        at = math.floor(place)
        above.partition(at - below)
        above, below = above[at - below :], at
        low = float(above[0])
        high = float(above[1:].min()) if len(above) > 1 else low
        part = place - at
        found[percent] = high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part
    return [found[percent] for percent in percents]


def token_p99(tpot_s: np.ndarray, gaps: np.ndarray) -> float:
    """99th percentile over all gaps between tokens; a request's gaps are equal in run-to-completion.

    `gaps` counts them, at least one a request.
    """
    if not len(tpot_s):
        return float("nan")
    total, top, partly = int(np.add.reduce(gaps)), max(1, len(tpot_s) // 24), tpot_s.copy()
    while True:  # the slowest few of the requests most often have the slowest hundredth of the gaps
        partly.partition(len(partly) - top)
        slowest = (tpot_s >= partly[len(partly) - top]).nonzero()[0]
        counts = gaps[slowest]
        below = total - int(np.add.reduce(counts))
        if below < 0.99 * total or top == len(tpot_s):
            break
        top = min(2 * top, len(tpot_s))
    times_s = tpot_s[slowest]
    order = times_s.argsort()
    return float(times_s[order[(below + counts[order].cumsum()).searchsorted(0.99 * total)]])


def check_run(run: Finished) -> Finished:
    """Return what is a run, else raise `InputError`."""
    if isinstance(run, type) or not hasattr(run, "gap_p99_s"):
        raise InputError(f"run: {run!r} (expected a run, as simulate returns it)")
    return run
