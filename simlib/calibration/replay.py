"""A real engine's log, replayed: the same arrivals and lengths, and how far the simulated times are from the logged.

Reads a log of requests and a kernel profile, runs `continuous`, returns errors. No constant is tuned to a log except
those that `Replay.settings` shows: the affine law fitted to the log, or the profile's constant per step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simlib import reading
from simlib.checks import InputError, check_choice, check_integer, check_number
from simlib.continuous import columns as at
from simlib.continuous import state
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.engine import shapes
from simlib.latency import kernel_profile
from simlib.latency.steps import StepLaw
from simlib.lazy import pd
from simlib.requests.formats import known
from simlib.requests.formats.layout import Log, refuse_first
from simlib.requests.formats.traces import vllm_log
from simlib.requests.table import TOKEN_COLUMNS, RequestTable

MODELS = ("profile", "affine", "affine-from-log")
COLUMNS = ("step_model", "metric", "statistic", "engine_s", "simulated_s", "error_percent")
STAMPS = {"queued_s": vllm_log.FROM} | vllm_log.STAMPS
FITTED = 150  # requests of a log to which a law is fitted
STEPS_PER_TOKEN, ROUNDS, FEW = 2, 12, 1000
SHORTEST_S = 0.3  # of a time that counts in full, such as the first step's
MOST_OVERHEAD_S, MOST_OVERLAP = 0.2, 0.9  # of a constant per step; as a share of the shortest step, if below zero


@dataclass(frozen=True, slots=True)
class EngineLog:
    """A real engine's requests in order of arrival, and the stamps that its times are taken from, seconds."""

    table: RequestTable
    queued_s: np.ndarray
    first_token_s: np.ndarray
    last_token_s: np.ndarray

    def times_s(self) -> dict[str, np.ndarray]:
        """TTFT, TPOT and end-to-end latency of each request, seconds; both latencies from `queued_ts`."""
        return _times(self.queued_s, self.first_token_s, self.last_token_s, self.table)


@dataclass(frozen=True, slots=True)
class Replay:
    """A replayed log: the settings, and a data frame of errors with the columns `COLUMNS`."""

    settings: dict[str, Any]
    rows: pd.DataFrame


def read_log(given: str | Path | Log) -> EngineLog:
    """Read an engine's log of requests, one JSON object a line, packed or not; or take one that `known` has parsed.

    Each has ``input_toks, output_toks, arrival_time`` and the stamps ``queued_ts, scheduled_ts, first_token_ts,
    last_token_ts``, and ``cached_toks`` where the engine tells how many tokens of a prompt its prefix cache had.
    Requests without output have failed, and are left out.

    Raises
    ------
    InputError
        If it is another file; if a line lacks lengths, arrival or one of the stamps; if stamps are out of order; if
        more tokens were cached than the prompt has; if no request was served.
    """
    log = given if isinstance(given, Log) else known.requests(given)
    frame, place = log.frame, f"log {log.source}"
    missing = [theirs for ours, theirs in STAMPS.items() if ours not in frame]
    if missing:
        raise InputError(f"{place}: no {', '.join(missing)} (expected an engine's log with its stamps)")
    frame = frame[frame["output_tokens"] > 0]
    if not len(frame):
        raise InputError(f"{place}: no request has output (expected at least 1 that was served)")
    for ours, theirs in STAMPS.items():
        refuse_first(place, theirs, frame[ours], frame[ours].isna().to_numpy(), "expected a time")
    frame = frame.sort_values("clock", kind="stable")
    clock = frame["clock"].to_numpy()
    table = RequestTable(
        (clock - clock[0]) / log.clock.ticks_per_s, *(frame[name].to_numpy() for name in TOKEN_COLUMNS[:2]),
        cached_prompt_tokens=frame["cached_prompt_tokens"].to_numpy() if "cached_prompt_tokens" in frame else None,
    )  # fmt: skip
    return EngineLog(table, *(frame[name].to_numpy() for name in STAMPS if name != "scheduled_s"))


def replay(log: EngineLog, law: Any, settings: Continuous) -> Any:
    """Serve the log's requests; their times and the steps, as `serve.serve` returns them."""
    needed = settings.needed_blocks(log.table)
    if (needed > settings.blocks).any():
        row = int(np.argmax(needed > settings.blocks))
        raise InputError(f"log, row {row}: needs {needed[row]} blocks (expected at most kv-blocks, {settings.blocks})")
    most = STEPS_PER_TOKEN * int(log.table.output_tokens.sum()) + len(log.table)
    backend = "interpreted" if len(log.table) <= FEW else "compiled"  # sooner done than compiled
    return serve(log.table, law, settings, backend=backend, log_steps=most)


def affine_of(law: kernel_profile.ProfileLaw, log: EngineLog, settings: Continuous) -> StepLaw:
    """The affine law nearest to the profile, by least squares, at the steps that a replay with the profile takes."""
    served = replay(log, law, settings)
    steps = steps_of(served)
    return fitted_law(_totals(steps), steps["time_s"])


def affine_from_log(log: EngineLog, settings: Continuous, requests: int = FITTED) -> StepLaw:
    """The affine law under which a replay's steps add up to the log's times.

    From the start to a first token, and from there to the last one, a replay says what steps there were and for how
    long the engine was idle. Least squares of the relative errors, no coefficient below zero, give the law, a replay
    with that law better totals, and so on.
    """
    count = min(requests, len(log.table))
    prompts, outputs = log.table.prompt_tokens.sum(), log.table.output_tokens.sum()
    span_s = log.last_token_s.max() - log.queued_s[0]
    law = StepLaw(0.0, 0.7 * span_s / max(outputs, 1), 0.3 * span_s / max(prompts, 1))  # only to begin with
    for _ in range(ROUNDS):
        before, law = law, fitted_law(*equations(log, replay(log, law, settings), count))
        if law == before:
            break
    return law


def equations(log: EngineLog, served: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """What a law from the log solves: totals and times to the first tokens, then from there to the last, as shares."""
    first_s, last_s = (ends[:count] - log.queued_s[0] for ends in (log.first_token_s, log.last_token_s))
    first, first_idle_s = _until(served, served.first_token_s[:count])
    last, last_idle_s = _until(served, served.completion_s[:count])
    times_s = np.concatenate([first_s - first_idle_s, last_s - first_s - (last_idle_s - first_idle_s)])
    weights = 1 / np.maximum(times_s, SHORTEST_S)
    return np.vstack([first, last - first]) * weights[:, None], times_s * weights


def _until(served: Any, at_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Totals of the steps until these ends of steps, shape (ends, 4), and for how long no step ran."""
    steps = steps_of(served)
    ended = np.searchsorted(steps["start_s"] + steps["time_s"], at_s * (1 - 1e-12))
    ended = np.minimum(ended, len(steps["time_s"]) - 1)
    return np.cumsum(_totals(steps), axis=0)[ended], at_s - np.cumsum(steps["time_s"])[ended]


def overhead_of(law: kernel_profile.ProfileLaw, log: EngineLog, settings: Continuous, requests: int = FITTED) -> float:
    """The constant per step, in seconds, with which the first requests end when the log has it, on average.

    Below zero where the engine is faster than the sum of its kernels, measured one by one; down to a tenth of a step.
    """
    from scipy.optimize import brentq

    ends_s = float(np.mean(log.last_token_s[:requests] - log.queued_s[0]))

    def late_s(overhead_s: float) -> float:
        served = replay(log, law.with_overhead(overhead_s), settings)
        return float(np.mean(served.completion_s[:requests])) - ends_s

    one_decode = np.zeros(len(shapes.SHAPE))
    one_decode[[shapes.N_DECODES, shapes.CONTEXT]] = 1
    least_s = -MOST_OVERLAP * law.law(one_decode, law.params)
    if late_s(least_s) >= 0:
        return least_s
    if (short_s := -late_s(MOST_OVERHEAD_S)) > 0:
        raise InputError(
            f"log: its first requests end after {ends_s:.4g} s on average, {short_s:.4g} s later than with "
            f"{MOST_OVERHEAD_S:g} s a step beside the profile's kernels (expected the log of an engine with this "
            "profile and these limits, or a constant of your own, --step-overhead)"
        )
    return float(brentq(late_s, least_s, MOST_OVERHEAD_S, xtol=1e-5))


def validate(
    profile: str | Path,
    log: str | Path | Log,
    settings: Continuous,
    models: Sequence[str] = MODELS,
    *,
    layers: int = 32,
    prefix: str = "",
    overhead_s: float | None = None,
    fitted: int = FITTED,
    timeseries: str | Path | None = None,
) -> Replay:
    """Replay a log with each of some step models.

    Parameters
    ----------
    profile : str or Path
        Folder of a kernel profile (`kernel_profile.read`).
    log : str, Path or Log
        Of requests (`read_log`).
    settings : simlib.Continuous
        The engine's limits, with the cache's size.
    models : sequence of {"profile", "affine", "affine-from-log"}
        Kernels and a constant per step; the affine law nearest to that; the affine law fitted to the log.
    layers, prefix
        As in `kernel_profile.read`.
    overhead_s : float, optional
        The constant per step, seconds; by default fitted to the log's first requests.
    fitted : int
        How many requests laws are fitted to; the law from the log is judged on the others only.
    timeseries : str or Path, optional
        CSV with the columns ``t, running, kv_cache_pct``: how far the simulated numbers are from it, on average, joins
        the settings.

    Returns
    -------
    Replay
        Errors are signed: positive where the simulation is slower; the statistic ``mape`` is the mean of the single
        requests' absolute errors, in percent, and has no times.
    """
    logged = read_log(log)
    for model in models:
        check_choice("step model", model, MODELS)
    check_integer("fitted", fitted, 1, len(logged.table))
    if settings.kv_tokens is None:
        raise InputError("kv_tokens: None (expected the size of the engine's cache)")
    series = None if timeseries is None else _series(timeseries)
    rows, laws, apart = [], {}, {}
    if set(models) - {"affine-from-log"}:
        kernels = kernel_profile.read(profile, layers, prefix)
        if overhead_s is None:
            overhead_s = overhead_of(kernels, logged, settings, fitted)
        kernels = kernels.with_overhead(check_number("overhead_s", overhead_s))
    for model in models:
        judged = slice(fitted if model == "affine-from-log" and fitted < len(logged.table) else 0, None)
        if model == "affine-from-log":
            law = affine_from_log(logged, settings, fitted)
        else:
            law = kernels if model == "profile" else affine_of(kernels, logged, settings)
        laws[model] = asdict(law) if isinstance(law, StepLaw) else {"overhead_s": law.overhead_s, "layers": layers}
        laws[model].pop("trust", None)  # it is fitted here, and to this log
        served = replay(logged, law, settings)
        rows += errors(model, logged, served, judged)
        if series is not None:
            apart[model] = _apart(series, served, settings)
    about = {"engine": asdict(settings), "laws": laws, "fitted_requests": fitted}
    return Replay({**about, "series": apart} if apart else about, pd.DataFrame(rows, columns=COLUMNS))


def errors(model: str, log: EngineLog, served: Any, judged: slice) -> list[tuple]:
    """Rows of `COLUMNS`: mean and quantiles of TTFT, TPOT and end-to-end latency, and their single errors."""
    seen_s = queued_s(served, log.table.arrival_s)
    simulated = _times(seen_s, served.first_token_s, served.completion_s, log.table)
    statistics = {"mean": np.nanmean, **{f"p{q}": lambda v, q=q: np.nanpercentile(v, q) for q in (50, 90, 99)}}
    rows = []
    for metric, engine_s in log.times_s().items():
        real, ours = engine_s[judged], simulated[metric][judged]
        for name, statistic in statistics.items():
            a, b = float(statistic(real)), float(statistic(ours))
            rows.append((model, metric, name, a, b, 100 * (b / a - 1)))
        apart = np.abs(ours / real - 1)
        rows.append((model, metric, "mape", np.nan, np.nan, 100 * float(np.nanmean(apart[np.isfinite(apart)]))))
    return rows


def queued_s(served: Any, arrival_s: np.ndarray) -> np.ndarray:
    """When the simulated engine sees who has arrived, as a real one's `queued_ts`: at the next step's start, seconds.

    Steps that share a row of the log are taken to be equally long.
    """
    steps = steps_of(served)
    start_s, count = steps["start_s"], steps["steps"]
    following = np.searchsorted(start_s, arrival_s * (1 - 1e-12))
    next_s = np.append(start_s, np.inf)[following]
    row = np.maximum(following - 1, 0)  # in whose steps they arrive
    each_s = np.maximum(steps["time_s"] / count, 1e-300)[row]
    inside = np.ceil((arrival_s - start_s[row]) / each_s)
    return np.where((following > 0) & (inside < count[row]), start_s[row] + inside * each_s, next_s)


def _times(origin_s: np.ndarray, first_s: np.ndarray, last_s: np.ndarray, table: RequestTable) -> dict[str, np.ndarray]:
    gaps = np.where(table.output_tokens > 1, table.output_tokens - 1.0, np.nan)
    return {"ttft": first_s - origin_s, "tpot": (last_s - first_s) / gaps, "e2e": last_s - origin_s}


def steps_of(served: Any) -> dict[str, np.ndarray]:
    """The logged steps of a replay by column, `state.LOGGED`; RuntimeError if there was no room for all."""
    stored = served.numbers[0, at.STORED]
    if stored == served.steps.shape[1]:
        raise RuntimeError(f"steps of a replay: {stored} rows are full (expected room for all)")
    return dict(zip(state.LOGGED, served.steps[0, :stored].T, strict=True))


def _totals(steps: dict[str, np.ndarray]) -> np.ndarray:
    """Steps, decodes, prefill and context tokens of each row of logged steps, shape (rows, 4)."""
    n, decodes = steps["steps"], steps["decodes"]
    context = n * steps["context_tokens"] + decodes * n * (n - 1) / 2
    return np.column_stack([n, n * decodes, steps["prefill_tokens"], context])


def fitted_law(totals: np.ndarray, times_s: np.ndarray) -> StepLaw:
    """The affine law, no coefficient below zero, nearest to times of totals, shape (rows, 4), as of `equations`."""
    from scipy.optimize import nnls

    scale = np.maximum(np.abs(totals).max(axis=0), 1e-300)
    return StepLaw(*(float(value) for value in nnls(totals / scale, times_s)[0] / scale))


def _series(path: str | Path) -> pd.DataFrame:
    frame = reading.delimited(*reading.contents(path, "a time series as CSV", f"timeseries {path}"))
    for name in ("t", "running", "kv_cache_pct"):
        numbers = pd.to_numeric(frame.get(name, pd.Series(np.nan, frame.index)), errors="coerce")
        if not np.isfinite(numbers).all():
            raise InputError(f"timeseries {path}, {name}: missing column or no numbers")
        frame[name] = numbers
    return frame


def _apart(series: pd.DataFrame, served: Any, settings: Continuous) -> dict[str, float]:
    """Mean absolute difference of running sequences, and of the cache's use in points, at the series' instants."""
    steps = steps_of(served)
    at = np.clip(np.searchsorted(steps["start_s"], series["t"], "right") - 1, 0, None)
    running = float(np.mean(np.abs(steps["seats"][at] - series["running"])))
    used = 100 * steps["blocks"][at] / settings.blocks
    return {"running": running, "kv_cache_points": float(np.mean(np.abs(used - series["kv_cache_pct"])))}
