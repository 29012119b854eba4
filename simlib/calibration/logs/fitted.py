"""Laws of a step fitted to a log: a constant beside a profile's kernels, what cards tell each other, an affine law.

A replay says which steps there were until a request's first and last token; a law is to make them add up to the times
that were logged. Intervals leave out each of ten stretches of the log.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simlib.calibration.logs.engine_log import EngineLog
from simlib.calibration.logs.served import replay, steps_by_engine, totals
from simlib.checks import InputError
from simlib.continuous.settings import Continuous
from simlib.engine import shapes
from simlib.latency.kernel_profile import ProfileLaw
from simlib.latency.parallel import ALONE, Parallel
from simlib.latency.steps import StepLaw

FITTED = 150  # requests of a log to which a law is fitted
ROUNDS, STRETCHES, CONFIDENCE = 12, 10, 0.95
SHORTEST_S = 0.3  # of a time that counts in full, such as the first step's
MOST_OVERHEAD_S, MOST_OVERLAP = 0.2, 0.9  # of a constant per step; as a share of the shortest step, if below zero
LAW = ("a_s", "b_s", "c_s", "d_s")
BUSY = len(LAW)  # the column behind the totals that these are multiplied by


@dataclass(frozen=True, slots=True)
class Fit:
    """A law, the values in it that were fitted, and their 95 % limits; none where ten stretches cannot tell."""

    law: Any
    values: dict[str, float]
    limits: dict[str, tuple[float, float]]


def affine_of(law: Any, log: EngineLog, settings: Continuous, parallel: Parallel = ALONE) -> StepLaw:
    """The affine law nearest to the profile, by least squares, at the steps that a replay with the profile takes."""
    return nearest(law, log, settings, parallel).law


def nearest(law: Any, log: EngineLog, settings: Continuous, parallel: Parallel = ALONE) -> Fit:
    """As `affine_of`, with limits."""
    each = steps_by_engine(replay(log, law, settings, parallel), parallel)
    each = each[:1] if parallel.together else each
    times_s = np.concatenate([steps["time_s"] for steps in each])
    return _affine(np.concatenate([totals(steps) for steps in each]), times_s, len(times_s))


def affine_from_log(
    log: EngineLog, settings: Continuous, requests: int = FITTED, parallel: Parallel = ALONE
) -> StepLaw:
    """The affine law under which a replay's steps add up to the log's times.

    From the start to a first token, and from there to the last one, a replay says what steps there were and for how
    long the engine was idle. Least squares of the relative errors, no coefficient below zero, give the law, a replay
    with that law better totals, and so on.
    """
    return from_log(log, settings, requests, parallel).law


def from_log(log: EngineLog, settings: Continuous, requests: int = FITTED, parallel: Parallel = ALONE) -> Fit:
    """As `affine_from_log`, with limits."""
    count = min(requests, len(log.table))
    prompts, outputs = log.table.prompt_tokens.sum(), log.table.output_tokens.sum()
    span_s = log.last_token_s.max() - log.queued_s[0]
    law = StepLaw(0.0, 0.7 * span_s / max(outputs, 1), 0.3 * span_s / max(prompts, 1))  # only to begin with
    for _ in range(ROUNDS):
        terms, times_s = equations(log, replay(log, law, settings, parallel), count, parallel)
        before, law = law, fitted_law(terms, times_s)
        if law == before:
            break
    return replace(_affine(terms, times_s, count), law=law)


def equations(log: EngineLog, served: Any, count: int, parallel: Parallel = ALONE) -> tuple[np.ndarray, np.ndarray]:
    """What a law from the log solves: totals and times to the first tokens, then from there to the last, as shares."""
    terms, times_s, weights = _rows(log, served, slice(count), parallel)
    return terms[:, :-1] * weights[:, None], times_s * weights


def _rows(log: EngineLog, served: Any, rows: slice, parallel: Parallel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of `_until`, the logged times without idle ones, and by what rows are weighed."""
    first_s, last_s = (ends[rows] - log.queued_s[0] for ends in (log.first_token_s, log.last_token_s))
    gpu, simulated_first_s, simulated_last_s = (
        column[rows] for column in (served.gpu, served.first_token_s, served.completion_s)
    )
    each = steps_by_engine(served, parallel)
    first, last = _until(each, simulated_first_s, gpu), _until(each, simulated_last_s, gpu)
    first_idle_s, last_idle_s = simulated_first_s - first[:, BUSY], simulated_last_s - last[:, BUSY]
    times_s = np.concatenate([first_s - first_idle_s, last_s - first_s - (last_idle_s - first_idle_s)])
    return np.vstack([first, last - first]), times_s, 1 / np.maximum(times_s, SHORTEST_S)


def _until(each: list[dict[str, np.ndarray]], at_s: np.ndarray, gpu: np.ndarray) -> np.ndarray:
    """Totals of an engine's steps until these ends of steps, and their seconds: shape (ends, 5)."""
    sums = np.empty((len(at_s), BUSY + 1))
    for engine, steps in enumerate(each):
        mine = gpu == engine
        ended = np.searchsorted(steps["start_s"] + steps["time_s"], at_s[mine] * (1 - 1e-12))
        ended = np.minimum(ended, len(steps["time_s"]) - 1)
        sums[mine] = np.cumsum(np.column_stack([totals(steps), steps["time_s"]]), axis=0)[ended]
    return sums


def overhead_of(
    law: ProfileLaw,
    log: EngineLog,
    settings: Continuous,
    requests: int | slice = FITTED,
    parallel: Parallel = ALONE,
) -> float:
    """The constant per step, in seconds, with which these requests, or the first ones, end as logged, on average.

    Below zero where the engine is faster than the sum of its kernels, measured one by one; down to a tenth of a step.
    """
    from scipy.optimize import brentq

    rows = requests if isinstance(requests, slice) else slice(requests)
    ends_s = float(np.mean(log.last_token_s[rows] - log.queued_s[0]))

    def late_s(overhead_s: float) -> float:
        served = replay(log, law.with_overhead(overhead_s), settings, parallel)
        return float(np.mean(served.completion_s[rows])) - ends_s

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


def constant(law: ProfileLaw, log: EngineLog, settings: Continuous, rows: slice, parallel: Parallel = ALONE) -> Fit:
    """A profile with the constant of `overhead_of`, and its limits: what each stretch's ends would have it."""
    found = law.with_overhead(overhead_of(law, log, settings, rows, parallel))
    served = replay(log, found, settings, parallel)
    order = np.argsort(log.last_token_s[rows], kind="stable")
    logged_s = (log.last_token_s[rows] - log.queued_s[0])[order]
    ended_s = served.completion_s[rows][order]
    steps = _until(steps_by_engine(served, parallel), served.completion_s[rows], served.gpu[rows])[order, :1]
    group = _stretches(len(order))
    if group is None:
        return Fit(found, {"overhead_s": found.overhead_s}, {})

    def added(column: np.ndarray) -> np.ndarray:
        return np.diff([column[group == k].mean() for k in range(STRETCHES)], prepend=0.0)

    terms = added(steps)[:, None]
    reach = _reach(terms, added(logged_s) - added(ended_s) + found.overhead_s * terms[:, 0], np.arange(STRETCHES))
    limits = (float(found.overhead_s + sign * reach[0]) for sign in (-1, 1))
    return Fit(found, {"overhead_s": found.overhead_s}, {"overhead_s": tuple(limits)})


def messages(law: ProfileLaw, log: EngineLog, settings: Continuous, rows: slice, parallel: Parallel = ALONE) -> Fit:
    """A profile with what its cards tell each other: seconds a step and seconds a token, neither below zero.

    Fitted as `affine_from_log`, which see, to what a replay's kernels leave of the log's times.
    """
    value, count = np.zeros(2), len(range(len(log.table))[rows])
    for _ in range(ROUNDS):
        terms, times_s, weights = _rows(log, replay(log, law.with_overhead(*value), settings, parallel), rows, parallel)
        steps = np.column_stack([terms[:, 0], terms[:, 1] + terms[:, 2]])
        left_s = times_s - (terms[:, BUSY] - steps @ value)
        steps, left_s = steps * weights[:, None], left_s * weights
        before, value = value, _nonnegative(steps, left_s)
        if np.allclose(value, before, rtol=1e-6, atol=0):
            break
    names, group = ("overhead_s", "token_s"), _stretches(count)
    limits = {} if group is None else _limits(names, value, _reach(steps, left_s, np.tile(group, 2)))
    return Fit(law.with_overhead(*value.tolist()), dict(zip(names, value.tolist(), strict=True)), limits)


def fitted_law(terms: np.ndarray, times_s: np.ndarray) -> StepLaw:
    """The affine law, no coefficient below zero, nearest to times of totals, shape (rows, 4), as of `equations`."""
    return StepLaw(*(float(value) for value in _nonnegative(terms, times_s)))


def _affine(terms: np.ndarray, times_s: np.ndarray, count: int) -> Fit:
    law, group = fitted_law(terms, times_s), _stretches(count)
    value = law.params[: len(LAW)]
    values = dict(zip(LAW, value.tolist(), strict=True))
    if group is None:
        return Fit(law, values, {})
    return Fit(law, values, _limits(LAW, value, _reach(terms, times_s, np.tile(group, len(times_s) // count))))


def _nonnegative(terms: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)
    return nnls(terms / scale, times_s)[0] / scale


def _stretches(count: int) -> np.ndarray | None:
    """Of which tenth each is; None: there are too few."""
    return None if count < 2 * STRETCHES else np.arange(count) * STRETCHES // count


def _reach(terms: np.ndarray, times_s: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Half of each coefficient's 95 % interval: least squares without one stretch after another (jackknife)."""
    from scipy.stats import t

    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)
    without = [np.linalg.lstsq(terms[group != k] / scale, times_s[group != k], rcond=None)[0] for k in range(STRETCHES)]
    error = np.sqrt((STRETCHES - 1) * np.var(without, axis=0)) / scale
    return t.ppf(0.5 + CONFIDENCE / 2, STRETCHES - 1) * error


def _limits(names: tuple[str, ...], value: np.ndarray, reach: np.ndarray) -> dict[str, tuple[float, float]]:
    both = zip(names, value.tolist(), reach.tolist(), strict=True)
    return {name: (max(middle - far, 0.0), middle + far) for name, middle, far in both}
