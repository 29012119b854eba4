"""How long a batch takes: service-time models, their presets, and bring-your-own times and functions.

The engine calls a model's `law` with the batch's shape (`shapes.BATCH_COLUMNS`) and the model's numbers; schedulers
never see it. A law is a kernel, so that it runs compiled.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simlib.checks import InputError, check_number
from simlib.engine import batches as at
from simlib.engine.batches import Batches, signatures
from simlib.engine.compiled import compiled, is_compilable, is_worthwhile, one_at_a_time
from simlib.latency.steps import StepLaw
from simlib.requests.table import RequestTable

PIECE = 4096  # batches whose shapes stay in a processor's cache
SHAPE = ("size", "max_prompt_tokens", "sum_prompt_tokens", "max_output_tokens", "sum_output_tokens", "max_total_tokens")


def affine_law(batch: np.ndarray, params: np.ndarray) -> float:
    """Kernel of `Affine`; `params` is (alpha, beta, gamma, floor)."""
    size = batch[at.SIZE]
    service_s = params[0] + params[1] * batch[at.MAX_TOTAL] * (1.0 + params[2] * (size - 1.0) / size)
    return max(params[3], service_s)


def given_law(batch: np.ndarray, params: np.ndarray) -> float:
    """Kernel of `GivenTimes`: the largest time given for a member."""
    return batch[at.GIVEN]


def given_batch_law(batch: np.ndarray, params: np.ndarray) -> float:
    """Kernel of `GivenBatchTimes`: the time given for the batch's number."""
    return params[int(batch[at.NUMBER])]


def each_time(law: Callable[..., float], batches: np.ndarray, params: np.ndarray, times_s: np.ndarray) -> None:
    """Kernel: a law's times of many batches, one a row."""
    for i in range(len(batches)):
        times_s[i] = law(batches[i], params)


class LatencyModel:
    """What the engine needs of a model: a kernel, its numbers, and times given for single requests."""

    __slots__ = ()
    law: Callable[[np.ndarray, np.ndarray], float]

    @property
    def params(self) -> np.ndarray:
        """Numbers that `law` reads, shape (any,)."""
        return np.zeros(1)

    def given_s(self, requests: int) -> np.ndarray:
        """Time given for each of the requests, seconds; empty where the model gives none."""
        return np.zeros(0)

    def check(self, requests: int) -> None:
        """Raise `InputError` if the model cannot serve a table of that many requests."""

    def report(self, table: RequestTable, served: Batches) -> None:
        """Warn if what was served is beyond what the model is good for."""

    def step_law(self) -> StepLaw:
        """The law of an engine's steps that goes with it, for continuous batching.

        Raises
        ------
        InputError
            If the model knows nothing of steps.
        """
        raise InputError(f"latency: {self!r:.80} (expected a law of steps for execution 'continuous', such as StepLaw)")

    def first_token_s(self, shape: np.ndarray) -> np.ndarray:
        """Time from a batch's start to its first token, seconds, shape (n_batches,).

        The same batch, stopped after one output token. `shape` has one row a batch in the columns of
        `shapes.BATCH_COLUMNS` that are in `SHAPE`.
        """
        each, params, times_s = _each(self.law, len(shape)), self.params, np.empty(len(shape))
        for start in range(0, len(shape), PIECE):
            whole = shape[start : start + PIECE]
            cut = np.zeros((len(whole), at.SUM_OUTPUT + 2))
            cut[:, : whole.shape[1]] = whole
            cut[:, at.MAX_OUTPUT] = 1.0
            cut[:, at.SUM_OUTPUT] = whole[:, at.SIZE]
            cut[:, at.MAX_TOTAL] = whole[:, at.MAX_PROMPT] + 1.0
            each(cut, params, times_s[start : start + PIECE])
        if not (times_s >= 0.0).all():
            batch = int(np.argmin(times_s >= 0.0))
            raise InputError(
                f"latency: {times_s[batch]:g} s to the first token of batch {batch}, of size "
                f"{shape[batch, at.SIZE]:.0f} (expected seconds >= 0 for the same batch with one output token each)"
            )
        return times_s


def times_of(law: Callable[..., float], batches: np.ndarray, params: np.ndarray) -> np.ndarray:
    """A law's times of many batches in seconds, one a row of `shapes.BATCH_COLUMNS`."""
    times_s = np.empty(len(batches))
    _each(law, len(batches))(batches, params, times_s)
    return times_s


def _each(law: Callable[..., float], batches: int) -> Callable[..., None]:
    """`each_time` of a law, compiled where that pays for so many batches and can be."""
    if not is_worthwhile(batches) or not is_compilable(law, kind := signatures().law)[0]:
        return functools.partial(each_time, law)
    return functools.partial(compiled(each_time, _of_rows()), compiled(law, kind))


@one_at_a_time
@functools.cache
def _of_rows() -> Any:
    """Numba's signature of `each_time`: one object, or it would be compiled again in each run."""
    from numba import types

    floats = types.float64[::1]
    return types.void(types.FunctionType(signatures().law), types.float64[:, ::1], floats, floats)


class OfLongestTotal(LatencyModel):
    """A model of a batch's size and of its largest prompt + output, and of nothing else: T(b, L)."""

    __slots__ = ()

    def batch_time_s(self, size: Any, max_total_tokens: Any) -> Any:
        """T(b, L) in seconds, for numbers or arrays."""
        size, max_total_tokens = _at_least("size", size, 1.0), _at_least("max_total_tokens", max_total_tokens, 0.0)
        return self._time_s(size, max_total_tokens)[()]

    def first_token_s(self, shape: np.ndarray) -> np.ndarray:
        return self._time_s(shape[:, at.SIZE], shape[:, at.MAX_PROMPT] + 1.0)

    def _time_s(self, size: np.ndarray, max_total_tokens: np.ndarray) -> np.ndarray:
        """T(b, L) of arrays that are in range: a run's own."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Affine(OfLongestTotal):
    """T(b, L) = alpha + beta L (1 + gamma (b - 1)/b), L the batch's largest prompt + output.

    Parameters
    ----------
    alpha_s : float
        Fixed time of a batch, seconds, >= 0.
    beta_s_per_token : float
        Time per token of the longest member, seconds, >= 0.
    gamma : float
        What company costs, >= 0: a large batch takes 1 + gamma times the token time of a batch of one.
    floor_s : float
        No batch takes less, seconds, >= 0.

    Notes
    -----
    The original system's formula (its architecture document); it is assumed there, not measured.

    Examples
    --------
    >>> float(Affine(0.010, 0.0002, 0.3).batch_time_s(8, 500))
    0.13625
    """

    alpha_s: float
    beta_s_per_token: float
    gamma: float
    floor_s: float = 0.001
    law = staticmethod(affine_law)

    def __post_init__(self) -> None:
        for name in ("alpha_s", "beta_s_per_token", "gamma", "floor_s"):
            check_number(f"latency {name}", getattr(self, name), 0.0)

    @property
    def params(self) -> np.ndarray:
        return np.array([self.alpha_s, self.beta_s_per_token, self.gamma, self.floor_s], dtype=np.float64)

    def _time_s(self, size: np.ndarray, max_total_tokens: np.ndarray) -> np.ndarray:
        company = 1.0 + self.gamma * (size - 1.0) / size
        return np.maximum(self.floor_s, self.alpha_s + self.beta_s_per_token * max_total_tokens * company)

    def step_law(self) -> StepLaw:
        """A law with the formula's slopes, as T(b, L) knows no steps.

        Every step takes the time beta (1 + gamma) that one more token costs a large batch, every prompt token beta.
        """
        return StepLaw(self.beta_s_per_token * (1 + self.gamma), 0.0, self.beta_s_per_token)


class _Given(LatencyModel):
    """A model of times that the user gives."""

    __slots__ = ()

    def first_token_s(self, shape: np.ndarray) -> np.ndarray:
        return np.full(len(shape), np.nan)  # a given time says nothing of phases


@dataclass(frozen=True, slots=True)
class GivenTimes(_Given):
    """One time a request, in seconds >= 0; a batch takes its members' maximum (the Multi-Bin paper's model)."""

    service_s: Sequence[float] | np.ndarray
    law = staticmethod(given_law)

    def __post_init__(self) -> None:
        object.__setattr__(self, "service_s", _times("latency GivenTimes", self.service_s))

    def given_s(self, requests: int) -> np.ndarray:
        return self.service_s

    def check(self, requests: int) -> None:
        if len(self.service_s) != requests:
            raise InputError(f"latency GivenTimes: {len(self.service_s)} times (expected {requests}, one a request)")


@dataclass(frozen=True, slots=True)
class GivenBatchTimes(_Given):
    """One time a batch, in seconds >= 0, in order of start; at least as many as there are requests is always enough."""

    service_s: Sequence[float] | np.ndarray
    law = staticmethod(given_batch_law)

    def __post_init__(self) -> None:
        object.__setattr__(self, "service_s", _times("latency GivenBatchTimes", self.service_s))

    @property
    def params(self) -> np.ndarray:
        return self.service_s

    def check(self, requests: int) -> None:
        if len(self.service_s) < requests:
            raise InputError(
                f"latency GivenBatchTimes: {len(self.service_s)} times (expected at least {requests}, "
                "for each request might be a batch of its own)"
            )


@dataclass(frozen=True, slots=True)
class Function(LatencyModel):
    """A function of the batch's shape, seconds:

    ``f(size, max_prompt_tokens, sum_prompt_tokens, max_output_tokens, sum_output_tokens, max_total_tokens)``.
    It runs compiled where numba can compile it, in plain Python where not.
    """

    function: Callable[..., float]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InputError(f"latency: {self.function!r} (expected a function of {', '.join(SHAPE)})")
        try:
            inspect.signature(self.function).bind(*SHAPE)
        except (TypeError, ValueError) as problem:
            raise InputError(f"latency function: {problem} (expected the parameters {', '.join(SHAPE)})") from None

    @property
    def law(self) -> Callable[[np.ndarray, np.ndarray], float]:
        try:
            return _kept_law(self.function)
        except TypeError:  # no hash: a law of its own each time, which is never compiled anyway
            return _shape_law(self.function)


def _shape_law(function: Callable[..., float]) -> Callable[[np.ndarray, np.ndarray], float]:
    def law(batch: np.ndarray, params: np.ndarray) -> float:
        return function(batch[0], batch[1], batch[2], batch[3], batch[4], batch[5])  # as `SHAPE` has them

    return law


_kept_law = functools.lru_cache(maxsize=64)(_shape_law)  # one law a function, so that it is compiled once


def _at_least(name: str, values: Any, low: float) -> np.ndarray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.array(np.nan)
    if not (np.isfinite(numbers) & (numbers >= low)).all():
        raise InputError(f"{name}: {values!r} (expected numbers >= {low:g})")
    return numbers


def _times(name: str, given: Any) -> np.ndarray:
    try:
        times = np.ascontiguousarray(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name}: {given!r} (expected times in seconds)") from None
    if times.ndim != 1 or len(times) == 0:
        raise InputError(f"{name}: shape {times.shape} (expected one time each, at least one)")
    bad = ~(np.isfinite(times) & (times >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{name}, row {row}: {times[row]} (expected seconds >= 0)")
    return times
