"""Windows of a benchmark's result that has each request's times."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from simlib.calibration.engine_benchmarks import RECORDED
from simlib.checks import InputError
from simlib.lazy import pd
from simlib.planning.deployed import classes
from simlib.planning.deployed.promise import CACHED, FAILED, OUTPUTS, PROMPTS, RATE
from simlib.planning.deployed.window import ITL, SHORT, TTFT, Observed
from simlib.planning.objectives import Group, Objective, columns_of
from simlib.requests.formats.aggregates.summary import Summary
from simlib.requests.formats.layout import Log
from simlib.requests.table import RequestTable
from simlib.requests.traces import failures_of
from simlib.text import span

EXACT = 1e-9  # 0.95 of a window is no float


def windows(log: Log | Summary, objectives: Sequence[Objective], window_s: float, model: str = "") -> list[Observed]:
    """The windows of a result, one after the other from its first request on; what is left at its end is not judged.

    Parameters
    ----------
    log : Log or Summary
        Of one load, with the start of each request and times for at least one of the objectives.
    objectives : sequence of Objective
    window_s : float
        How long they are. The last one may lack `window.SHORT` of it.
    model : str
        As the result says it.

    Raises
    ------
    InputError
        If it has no row a request or none of the times, or is shorter than a window.
    """
    if isinstance(log, Summary):
        raise InputError(log.refusal)
    if log.several or "clock" not in log.frame:
        raise InputError(log.several or f"{log.source}, {log.starts} (expected the start of each request)")
    frame = _timed(log.frame.assign(failed=failures_of(log.frame)))
    if not any(f"{one.metric}_s" in frame for one in objectives):
        wanted = ", ".join(dict.fromkeys(one.metric for one in objectives))
        raise InputError(f"{log.source}: no times of requests, of {wanted} (expected a benchmark's result: {RECORDED})")
    starts_s = log.seconds(frame["clock"].to_numpy())
    starts_s = starts_s - starts_s.min()
    whole_s = float(starts_s.max())
    count = math.floor(whole_s / window_s + SHORT + EXACT)
    if count < 1:
        least = f"expected at least {span(window_s)}, one window of the plan"
        raise InputError(f"{log.source}: {span(whole_s)} from its first request to its last ({least})")
    frame = frame.assign(start_s=starts_s).sort_values("start_s", kind="stable")
    last = count - 1 if whole_s <= count * window_s else count  # the last request may come as the last window ends
    number = np.minimum(frame["start_s"].to_numpy() // window_s, last)
    found, silent = [], count
    for which, rows in frame.groupby(number):
        if which == count:  # behind the last whole window
            continue
        silent -= 1
        name = log.source if count == 1 else f"{log.source}, window {int(which) + 1} of {count}"
        if rows["failed"].all():
            warnings.warn(f"{name}: all {len(rows)} requests failed, nothing is judged", stacklevel=2)
            continue
        span_s = min(window_s, whole_s - which * window_s)
        found.append(_window(name, rows, span_s, objectives, log.version, model))
    if silent:
        warnings.warn(f"{log.source}: {silent} of {count} windows without a request, not judged", stacklevel=2)
    return found


def _timed(frame: pd.DataFrame) -> pd.DataFrame:
    """With the times that follow from others."""
    if "itl_s" in frame:
        rest_s = np.array([float(np.sum(gaps)) for gaps in frame["itl_s"]])
        frame = frame.assign(rest_s=rest_s)
        if "latency_s" not in frame and "ttft_s" in frame:
            frame = frame.assign(latency_s=frame["ttft_s"] + rest_s)
    elif {"ttft_s", "latency_s"} <= set(frame):
        frame = frame.assign(rest_s=frame["latency_s"] - frame["ttft_s"])
    if "tpot_s" not in frame and "rest_s" in frame:
        gaps = frame["output_tokens"].to_numpy(float) - 1
        frame = frame.assign(tpot_s=frame["rest_s"] / np.where(gaps > 0, gaps, np.nan))
    return frame


def _window(
    name: str, rows: pd.DataFrame, span_s: float, objectives: Sequence[Objective], engine: str, model: str
) -> Observed:
    failed = rows["failed"].to_numpy(bool)
    served = rows[~failed]
    known = {
        RATE: len(rows) / span_s,
        PROMPTS: float(rows["prompt_tokens"].mean()),
        OUTPUTS: float(served["output_tokens"].mean()),
        FAILED: float(failed.mean()),
        **classes.shares(rows, objectives),
    }
    if "cached_prompt_tokens" in served:
        known[CACHED] = float(served["cached_prompt_tokens"].sum() / max(served["prompt_tokens"].sum(), 1))
    if "ttft_s" in served:
        known[TTFT] = float(served["ttft_s"].mean())
    gaps = float((served["output_tokens"] - 1).sum())
    if "rest_s" in served and gaps > 0:
        known[ITL] = float(served["rest_s"].sum() / gaps)
    values_s = {}
    for one in objectives:
        if f"{one.metric}_s" in served:
            own = np.full(len(rows), True) if one.group is None else _members(rows, one.group)
            times_s = rows[f"{one.metric}_s"].to_numpy(float)[own & ~failed]
            value = _value_s(times_s, int((own & failed).sum()), one.quantile)
            values_s[one.name] = value, value
    names = ("prompt_tokens", "output_tokens", "cached_prompt_tokens", "priority")
    columns = {name: served[name].to_numpy() for name in names if name in served}
    labels = {by: served[by].to_numpy() for by in columns_of(objectives) if by != "priority"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the lengths, which the file's own account tells
        table = RequestTable(served["start_s"].to_numpy() - served["start_s"].iloc[0], labels=labels, **columns)
    return Observed(name, span_s, len(rows), values_s, known, table, engine, model)


def _members(rows: pd.DataFrame, group: Group) -> np.ndarray:
    """Which rows are of a class."""
    found = classes.in_rows(rows, group.by)
    return found == group.of if group.of else ~np.isin(found, group.but)


def _value_s(times_s: np.ndarray, failed: int, quantile: float | None) -> float:
    """A mean of those served; a quantile of all, to which a request that failed never came."""
    times_s = times_s[~np.isnan(times_s)]
    if quantile is None:
        return float(times_s.mean()) if len(times_s) else 0.0
    if not failed:
        return float(np.quantile(times_s, quantile)) if len(times_s) else 0.0
    times_s = np.concatenate([np.sort(times_s), np.full(failed, np.inf)])
    return float(times_s[math.ceil(quantile * (len(times_s) - 1))])
