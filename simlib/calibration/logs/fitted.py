"""Laws of a step fitted to a log: a constant beside a profile's kernels, what cards tell each other, an affine law.

A replay says which steps there were until a request's first and last token; a law is to make them add up to the times
that were logged. How far that leaves them open, `scatter` says.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from simlib.calibration.logs.engine_log import EngineLog
from simlib.calibration.logs.scatter import CONFIDENCE, STRETCHES, Stamps
from simlib.calibration.logs.served import serve_log, steps_by_engine, totals
from simlib.checks import InputError
from simlib.continuous.settings import Continuous
from simlib.engine import shapes
from simlib.latency.kernel_profile import ProfileLaw
from simlib.latency.parallel import ALONE, Parallel
from simlib.latency.steps import StepLaw

FITTED = 150  # requests of a log to which a law is fitted
ROUNDS = 12
SHORTEST_S = 0.3  # of a time that counts in full, such as the first step's
NEAR_S, TOLERANCE_S = 1e-3, 1e-5
MOST_OVERHEAD_S, MOST_OVERLAP = 0.2, 0.9  # of a constant per step; as a share of the shortest step, if below zero
LAW = ("a_s", "b_s", "c_s", "d_s")
BUSY, CLOCK = len(LAW), len(LAW) + 1  # columns behind the totals that these are multiplied by


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
    """As `affine_of`, with limits: least squares without one of ten stretches of steps after another (jackknife)."""
    from scipy.stats import t

    each = steps_by_engine(serve_log(log, law, settings, parallel), parallel)
    each = each[:1] if parallel.together else each
    times_s = np.concatenate([steps["time_s"] for steps in each])
    terms = np.concatenate([totals(steps) for steps in each])
    found, group = fitted_law(terms, times_s), np.arange(len(times_s)) * STRETCHES // len(times_s)
    value, scale, reach = found.params[: len(LAW)], np.maximum(np.abs(terms).max(axis=0), 1e-300), None
    if len(times_s) >= 2 * STRETCHES:
        parts = [(terms[group != k] / scale, times_s[group != k]) for k in range(STRETCHES)]
        without = [np.linalg.lstsq(*part, rcond=None)[0] for part in parts]
        error = np.sqrt((STRETCHES - 1) * np.var(without, axis=0)) / scale
        reach = t.ppf(0.5 + CONFIDENCE / 2, STRETCHES - 1) * error
    return Fit(found, dict(zip(LAW, value.tolist(), strict=True)), _limits(LAW, value, reach))


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
        found = _Rows.of(log, serve_log(log, law, settings, parallel), slice(count), parallel)
        terms, times_s = found.weighed()
        before, law = law, fitted_law(terms, times_s)
        if law == before:
            break
    value = law.params[: len(LAW)]
    return Fit(law, dict(zip(LAW, value.tolist(), strict=True)), _limits(LAW, value, found.reach(terms)))


def equations(log: EngineLog, served: Any, count: int, parallel: Parallel = ALONE) -> tuple[np.ndarray, np.ndarray]:
    """What a law from the log solves: totals and times to the first tokens, then from there to the last, as shares."""
    return _Rows.of(log, served, slice(count), parallel).weighed()


@dataclass(frozen=True, slots=True)
class _Rows:
    """Sums of `_until` to the first tokens, then from there to the last, the logged times without idle ones; stamps."""

    sums: np.ndarray
    times_s: np.ndarray
    stamps: Stamps

    @classmethod
    def of(cls, log: EngineLog, served: Any, rows: slice, parallel: Parallel) -> _Rows:
        logged = [ends[rows] - log.queued_s[0] for ends in (log.first_token_s, log.last_token_s)]
        ours = [ends[rows] for ends in (served.first_token_s, served.completion_s)]
        each, gpu = steps_by_engine(served, parallel), served.gpu[rows]
        first, last = (_until(each, ends, gpu) for ends in ours)
        first_s, last_s = (
            log_s - (s - until[:, BUSY]) for log_s, s, until in zip(logged, ours, (first, last), strict=True)
        )
        stamps = Stamps(
            np.concatenate(logged) - np.concatenate(ours),
            np.concatenate([first[:, CLOCK], last[:, CLOCK]]),
            np.full(2 * len(gpu), -1) if parallel.together else np.tile(gpu, 2),
        )
        return cls(np.vstack([first, last - first]), np.concatenate([first_s, last_s - first_s]), stamps)

    @property
    def weights(self) -> np.ndarray:
        """That make errors relative ones."""
        return 1 / np.maximum(self.times_s, SHORTEST_S)

    def weighed(self) -> tuple[np.ndarray, np.ndarray]:
        """Totals, shape (rows, 4), and times, as shares."""
        return self.sums[:, :BUSY] * self.weights[:, None], self.times_s * self.weights

    def reach(self, terms: np.ndarray) -> np.ndarray | None:
        """Half the intervals of the coefficients of these terms, by least squares of shares."""
        return self.stamps.reach(influence(terms, self.weights))


def influence(terms: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """By how much the least squares of weighed rows change with each stamp, shape (coefficients, stamps).

    Rows are of first stamps, then of what lies between these and the last ones, in the order of the stamps.
    """
    count = len(terms) // 2
    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)
    of_rows = np.linalg.pinv(terms / scale) / scale[:, None] * weights
    first, then = of_rows[:, :count], of_rows[:, count:]
    return np.hstack([first - then, then])


def _until(each: list[dict[str, np.ndarray]], at_s: np.ndarray, gpu: np.ndarray) -> np.ndarray:
    """Totals of an engine's steps until these ends of steps, their seconds and squares of these: shape (ends, 6)."""
    sums = np.empty((len(at_s), CLOCK + 1))
    for engine, steps in enumerate(each):
        mine = gpu == engine
        ended = np.searchsorted(steps["start_s"] + steps["time_s"], at_s[mine] * (1 - 1e-12))
        ended = np.minimum(ended, len(steps["time_s"]) - 1)
        columns = totals(steps), steps["time_s"], steps["time_s"] ** 2 / steps["steps"]
        sums[mine] = np.cumsum(np.column_stack(columns), axis=0)[ended]
    return sums


def overhead_of(
    law: ProfileLaw,
    log: EngineLog,
    settings: Continuous,
    requests: int | slice = FITTED,
    parallel: Parallel = ALONE,
    near_s: float | None = None,
) -> float:
    """The constant per step, in seconds, with which these requests, or the first ones, end as logged, on average.

    Below zero where the engine is faster than the sum of its kernels, measured one by one; down to a tenth of a step.
    It is looked for near another one first, if that is given.
    """
    from scipy.optimize import brentq

    rows = requests if isinstance(requests, slice) else slice(requests)
    ends_s = float(np.mean(log.last_token_s[rows] - log.queued_s[0]))

    @functools.cache
    def late_s(overhead_s: float) -> float:
        served = serve_log(log, law.with_overhead(overhead_s), settings, parallel)
        return float(np.mean(served.completion_s[rows])) - ends_s

    one_decode = np.zeros(len(shapes.SHAPE))
    one_decode[[shapes.N_DECODES, shapes.CONTEXT]] = 1
    least_s, most_s = -MOST_OVERLAP * law.law(one_decode, law.params), MOST_OVERHEAD_S
    if near_s is not None:
        low_s, high_s = max(near_s - NEAR_S, least_s), near_s + NEAR_S
        if late_s(low_s) < 0 < late_s(high_s):
            return float(brentq(late_s, low_s, high_s, xtol=TOLERANCE_S))
    if late_s(least_s) >= 0:
        return least_s
    if (short_s := -late_s(most_s)) > 0:
        raise InputError(
            f"log: its requests end after {ends_s:.4g} s on average, {short_s:.4g} s later than with "
            f"{most_s:g} s a step beside the profile's kernels (expected the log of an engine with this "
            "profile and these limits, or a constant of your own, --step-overhead)"
        )
    return float(brentq(late_s, least_s, most_s, xtol=TOLERANCE_S))


def constant(
    law: ProfileLaw, log: EngineLog, settings: Continuous, rows: slice, parallel: Parallel = ALONE,
    near_s: float | None = None,
) -> Fit:  # fmt: skip
    """A profile with the constant of `overhead_of`, and its limits."""
    overhead_s = overhead_of(law, log, settings, rows, parallel, near_s)
    fitted = law.with_overhead(overhead_s)
    found = _Rows.of(log, serve_log(log, fitted, settings, parallel), rows, parallel)
    count = len(found.sums) // 2
    steps = found.sums[:count, 0] + found.sums[count:, 0]  # until the last tokens, whose mean was fitted
    reach = found.stamps.reach(np.repeat([0.0, 1 / steps.sum()], count)[None])
    limits = {} if reach is None else {"overhead_s": (overhead_s - float(reach[0]), overhead_s + float(reach[0]))}
    return Fit(fitted, {"overhead_s": overhead_s}, limits)


def messages(law: ProfileLaw, log: EngineLog, settings: Continuous, rows: slice, parallel: Parallel = ALONE) -> Fit:
    """A profile with what its cards tell each other: seconds a step and seconds a token, neither below zero.

    Fitted as `affine_from_log`, which see, to what a replay's kernels leave of the log's times.
    """
    value, names = np.zeros(2), ("overhead_s", "token_s")
    for _ in range(ROUNDS):
        found = _Rows.of(log, serve_log(log, law.with_overhead(*value), settings, parallel), rows, parallel)
        steps = np.column_stack([found.sums[:, 0], found.sums[:, 1] + found.sums[:, 2]])
        left_s = found.times_s - (found.sums[:, BUSY] - steps @ value)
        terms = steps * found.weights[:, None]
        before, value = value, _nonnegative(terms, left_s * found.weights)
        if np.allclose(value, before, rtol=1e-6, atol=0):
            break
    fitted = law.with_overhead(*value.tolist())
    return Fit(fitted, dict(zip(names, value.tolist(), strict=True)), _limits(names, value, found.reach(terms)))


def fitted_law(terms: np.ndarray, times_s: np.ndarray) -> StepLaw:
    """The affine law, no coefficient below zero, nearest to times of totals, shape (rows, 4), as of `equations`."""
    return StepLaw(*(float(value) for value in _nonnegative(terms, times_s)))


def _nonnegative(terms: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)
    return nnls(terms / scale, times_s)[0] / scale


def _limits(names: tuple[str, ...], value: np.ndarray, reach: np.ndarray | None) -> dict[str, tuple[float, float]]:
    if reach is None:
        return {}
    both = zip(names, value.tolist(), reach.tolist(), strict=True)
    return {name: (max(middle - far, 0.0), middle + far) for name, middle, far in both}
