"""A real engine's log, replayed: the same arrivals and lengths, and how far the simulated times are from the logged.

Reads a log of requests and a kernel profile, runs `continuous`, returns errors. No constant is tuned to a log except
those that `Replay.settings` shows, with their limits; what was fitted to some requests is judged on others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simlib import reading
from simlib.calibration.logs import fitted as fits
from simlib.calibration.logs import left_behind
from simlib.calibration.logs.engine_log import EngineLog, read_log, times_of
from simlib.calibration.logs.fitted import Fit
from simlib.calibration.logs.logged_engine import LoggedEngine
from simlib.calibration.logs.served import queued_s, serve_log, steps_by_engine, steps_of
from simlib.checks import InputError, check_choice, check_integer, check_number
from simlib.continuous.settings import Continuous
from simlib.latency import kernel_profile
from simlib.latency.parallel import ALONE, Parallel
from simlib.lazy import pd
from simlib.requests.formats.layout import Log

MODELS = ("profile", "affine", "affine-from-log")
COLUMNS = ("step_model", "metric", "statistic", "engine_s", "simulated_s", "error_percent")
LARGE = 0.1  # of a mean step: a constant that is more stands for something else


@dataclass(frozen=True, slots=True)
class Replay:
    """A replayed log: the settings, and a data frame of errors with the columns `COLUMNS`.

    The settings have what was fitted to the first requests, its 95 % limits, what was fitted to the later ones where
    that judges the first, and in sentences what the replay lacks.
    """

    settings: dict[str, Any]
    rows: pd.DataFrame


def validate(
    profile: str | Path | Sequence[str | Path] | None,
    log: str | Path | Log,
    engine: Continuous | LoggedEngine | None = None,
    models: Sequence[str] = MODELS,
    *,
    layers: int | None = None,
    prefix: str = "",
    overhead_s: float | None = None,
    fitted: int | None = None,
    timeseries: str | Path | None = None,
    parallel: Parallel | None = None,
) -> Replay:
    """Replay a log with each of some step models.

    Parameters
    ----------
    profile : str, Path or sequence of these
        Folder of a kernel profile, or its files (`kernel_profile.read`).
    log : str, Path or Log
        Of requests (`read_log`).
    engine : simlib.Continuous or LoggedEngine, optional
        The engine's limits, with the cache's size; by default those that ``meta.json`` and ``config.json`` beside the
        log or the profile say (`LoggedEngine.of`, which is also told what they do not).
    models : sequence of {"profile", "affine", "affine-from-log"}
        Kernels and a constant per step; the affine law nearest to that; the affine law fitted to the log.
    layers : int, optional
        Of the model, beside limits alone, by default 32.
    prefix : str
        As in `kernel_profile.read`.
    overhead_s : float, optional
        The constant per step, seconds; by default fitted: to the log's first requests to judge the later ones, and to
        these to judge the first.
    fitted : int, optional
        How many requests are the first, by default half of them; the law from the log is judged on the later ones only.
    timeseries : str or Path, optional
        CSV with the columns ``t, running, kv_cache_pct``: how far the simulated numbers are from it, on average, joins
        the settings.
    parallel : Parallel, optional
        How the model is cut, beside limits alone. Without a link between cards that tell each other something, what
        that takes is fitted as seconds a step and a token, in place of the constant.

    Returns
    -------
    Replay
        Errors are signed: positive where the simulation is slower; the statistic ``mape`` is the mean of the single
        requests' absolute errors, in percent, and has no times.
    """
    for model in models:
        check_choice("step model", model, MODELS)
    profile = [] if profile is None else [profile] if isinstance(profile, str | Path) else list(profile)
    has_kernels = bool(set(models) - {"affine-from-log"})
    engine = _engine_of(engine, log, profile, has_kernels, layers, parallel)
    logged, settings, parallel = read_log(log), engine.settings, engine.parallel
    if settings.kv_tokens is None:
        raise InputError("kv_tokens: None (expected the size of the engine's cache)")
    count = len(logged.table)
    fitted = check_integer("fitted", max(count // 2, 1) if fitted is None else fitted, 1, count)
    series = None if timeseries is None else _series(timeseries)
    about = {"engine": asdict(settings), "parallel": asdict(parallel), "laws": {}, "limits": {}, "later_laws": {}}
    about |= {"fitted_requests": fitted, "doubts": [], "sources": engine.found.sources, "usual": engine.usual}
    kernels, rows, apart = [], [], {}
    if has_kernels:
        kernels, about["doubts"] = _kernels(profile, prefix, logged, engine, fitted, overhead_s)
    if fitted == count and (overhead_s is None or "affine-from-log" in models):
        about["doubts"].append(f"all {count} requests are judged by what was fitted to them (expected fewer, --fitted)")
    for model in models:
        first, *later = fitted_laws = _laws(model, kernels, logged, engine, fitted)
        about["laws"][model] = first.values | ({"layers": engine.layers} if model == "profile" else {})
        about["limits"][model] = first.limits
        if later:
            about["later_laws"][model] = later[0].values
        served = [serve_log(logged, one.law, settings, parallel) for one in fitted_laws]
        judged = slice(fitted % count, None) if model == "affine-from-log" else slice(0, None)
        rows += _errors(model, logged, _crossed(logged, served, fitted, parallel), judged)
        if series is not None:
            apart[model] = _apart(series, served[0], settings)
    if series is not None and not series["kv_cache_pct"].any():
        about["doubts"].append("kv_cache_pct of the time series is 0 throughout, as if nothing was cached")
    return Replay({**about, "series": apart} if apart else about, pd.DataFrame(rows, columns=COLUMNS))


def _engine_of(
    engine: Continuous | LoggedEngine | None, log: Any, profile: Sequence[str | Path], kernels: bool,
    layers: int | None, parallel: Parallel | None,
) -> LoggedEngine:  # fmt: skip
    """The engine that is given, alone or with how its model is cut; else that of the files beside log and profile."""
    if isinstance(engine, Continuous):
        return LoggedEngine(engine, ALONE if parallel is None else parallel, 32 if layers is None else layers)
    for name, value in (("layers", layers), ("parallel", parallel)):
        if value is not None:
            raise InputError(f"{name}: given without limits (expected a Continuous beside, or in LoggedEngine.of)")
    if engine is None:
        return LoggedEngine.of([*([] if isinstance(log, Log) else [log]), *profile], kernels=kernels)
    return engine


def _kernels(
    profile: Sequence[str | Path], prefix: str, log: EngineLog, engine: LoggedEngine, fitted: int,
    overhead_s: float | None,
) -> tuple[list[Fit], list[str]]:  # fmt: skip
    """The profile's law with what is fitted beside it, as `_fitted`; and what it lacks."""
    parallel, settings = engine.parallel, engine.settings
    profile = left_behind.profile_of(profile, parallel.tensor)
    left_behind.check_profile(profile, engine.found)
    kernels = kernel_profile.read(profile, engine.layers, prefix, parallel)
    found = _fitted(kernels, log, settings, fitted, overhead_s, parallel)
    return found, [*_lacks(profile, prefix, parallel, overhead_s), *_large(found[0], log, settings, parallel)]


def _laws(model: str, kernels: list[Fit], log: EngineLog, engine: LoggedEngine, fitted: int) -> list[Fit]:
    """A step model's law, fitted to the first requests, and that fitted to the later ones, where these are to judge."""
    if model == "affine-from-log":
        return [fits.from_log(log, engine.settings, fitted, engine.parallel)]
    if model == "affine":
        return [fits.nearest(one.law, log, engine.settings, engine.parallel) for one in kernels]
    return kernels


def _crossed(log: EngineLog, served: Sequence[Any], fitted: int, parallel: Parallel) -> dict[str, np.ndarray]:
    """Simulated times, of the first requests with what was fitted to the later ones."""
    simulated, *crossed = (_simulated(log, one, parallel) for one in served)
    for other in crossed:
        simulated = {name: np.append(other[name][:fitted], simulated[name][fitted:]) for name in simulated}
    return simulated


def _fitted(
    kernels: kernel_profile.ProfileLaw, log: EngineLog, settings: Continuous, fitted: int,
    overhead_s: float | None, parallel: Parallel,
) -> list[Fit]:  # fmt: skip
    """The kernels with what is fitted beside them: to the first requests and, where there are any, to later ones."""
    if overhead_s is not None:
        law = kernels.with_overhead(check_number("overhead_s", overhead_s))
        return [Fit(law, {"overhead_s": law.overhead_s}, {})]
    halves = [slice(0, fitted), slice(fitted, None)][: 1 + (fitted < len(log.table))]
    if parallel.talks and parallel.link is None:
        return [fits.messages(kernels, log, settings, rows, parallel) for rows in halves]
    found: list[Fit] = []
    for rows in halves:
        near_s = found[0].law.overhead_s if found else None
        found.append(fits.constant(kernels, log, settings, rows, parallel, near_s))
    return found


def _lacks(profile: Any, prefix: str, parallel: Parallel, overhead_s: float | None) -> list[str]:
    """What of a run no table and no term stands for."""
    has_experts = "moe" in kernel_profile.find(profile, prefix)
    cards = parallel.tensor * parallel.engines
    how = "is fitted, as seconds a step and a token" if overhead_s is None else "takes no time here"
    doubts = {
        f"no link between its {cards} cards is known: what they tell each other {how} (expected --link-bandwidth and "
        "--link-latency)": parallel.talks and parallel.link is None,
        "experts are cut by rank, and there is no moe.csv: their time is missing": parallel.expert and not has_experts,
        f"{parallel.engines} engines cut each expert, and moe.csv has whole ones: they take too long, what cards tell "
        "each other no time": has_experts and parallel.engines > 1 and not parallel.expert,
    }
    return [text for text, holds in doubts.items() if holds]


def _large(fit: Fit, log: EngineLog, settings: Continuous, parallel: Parallel) -> list[str]:
    """Whether a constant is more than what lies between kernels."""
    each = steps_by_engine(serve_log(log, fit.law, settings, parallel), parallel)
    step_s = sum(steps["time_s"].sum() for steps in each) / sum(steps["steps"].sum() for steps in each)
    share = fit.law.overhead_s / step_s
    if abs(share) <= LARGE or "token_s" in fit.values:
        return []
    return [
        f"the constant of {1e3 * fit.law.overhead_s:.3g} ms is {100 * share:.0f} % of a mean step of "
        f"{1e3 * step_s:.3g} ms, more than pauses between kernels: something else is missing (another card's profile, "
        "other layers, messages between cards, experts, a limit that is not the engine's)"
    ]


def errors(model: str, log: EngineLog, served: Any, judged: slice, parallel: Parallel = ALONE) -> list[tuple]:
    """Rows of `COLUMNS`: mean and quantiles of TTFT, TPOT and end-to-end latency, and their single errors."""
    return _errors(model, log, _simulated(log, served, parallel), judged)


def _simulated(log: EngineLog, served: Any, parallel: Parallel) -> dict[str, np.ndarray]:
    seen_s = queued_s(served, log.table.arrival_s, parallel)
    return times_of(seen_s, served.first_token_s, served.completion_s, log.table)


def _errors(model: str, log: EngineLog, simulated: dict[str, np.ndarray], judged: slice) -> list[tuple]:
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
    seats = blocks = 0
    for engine in range(len(served.steps)):
        steps = steps_of(served, engine)
        at = np.clip(np.searchsorted(steps["start_s"], series["t"], "right") - 1, 0, None)
        seats, blocks = seats + steps["seats"][at], blocks + steps["blocks"][at]
    used = 100 * blocks / settings.blocks / len(served.steps)
    return {
        "running": float(np.mean(np.abs(seats - series["running"]))),
        "kv_cache_points": float(np.mean(np.abs(used - series["kv_cache_pct"]))),
    }
