"""Length distributions: how many tokens a prompt or an answer has.

First in the flow, beside `arrivals`; `workload` combines them. Each is a frozen record with an exact mean, cutting
included; whatever cuts a length is a named parameter.
"""

from __future__ import annotations

import functools
import inspect
import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from simlib.checks import InputError, check_integer, check_number
from simlib.requests.predictors import MOST_TOKENS, log_normal
from simlib.requests.streams import check_draw


@runtime_checkable
class LengthDistribution(Protocol):
    """Whatever has a mean and samples `n` lengths, shape (n,), in whole tokens."""

    mean_tokens: float

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray: ...


def check_lengths(name: str, value: Any) -> None:
    """Raise `InputError` if `value` is no length distribution.

    What `isinstance` would ask, without computing the mean that it looks for (in Python 3.11), which takes longer than
    a thousand draws.
    """
    missing = object()
    members = [inspect.getattr_static(value, member, missing) for member in ("mean_tokens", "sample")]
    if isinstance(value, type) or missing in members:
        raise InputError(f"{name}: {value!r} (expected a length distribution such as Uniform(16, 512))")


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every length is `tokens`."""

    tokens: int

    def __post_init__(self) -> None:
        check_integer("tokens", self.tokens, 0, MOST_TOKENS)

    @property
    def mean_tokens(self) -> float:
        return float(self.tokens)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return np.full(check_draw(n, rng), int(self.tokens))


@dataclass(frozen=True, slots=True)
class Uniform:
    """Integers from `low` to `high`, both included, equally likely.

    Examples
    --------
    >>> Uniform(1, 20).mean_tokens
    10.5
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        check_integer("low", self.low, 0, MOST_TOKENS)
        check_integer("high", self.high, self.low, MOST_TOKENS)

    @property
    def mean_tokens(self) -> float:
        return (self.low + self.high) / 2.0

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        n = check_draw(n, rng)
        return rng.integers(int(self.low), int(self.high), size=n, endpoint=True)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Exponential lengths, rounded to the nearest integer and then kept in [`low`, `high`].

    Parameters
    ----------
    scale_tokens : float
        Mean before rounding and cutting, in (0, 1e7].
    low, high : int
        Shorter and longer draws become `low` and `high`.

    Examples
    --------
    >>> round(Exponential(scale_tokens=10_000.0).mean_tokens, 3)
    10000.0
    """

    scale_tokens: float
    low: int = 1
    high: int = MOST_TOKENS

    def __post_init__(self) -> None:
        check_number("scale_tokens", self.scale_tokens, 0.0, MOST_TOKENS, open_low=True)
        check_integer("low", self.low, 0, MOST_TOKENS)
        check_integer("high", self.high, self.low, MOST_TOKENS)

    @property
    def mean_tokens(self) -> float:
        """Mean length after rounding and cutting, in tokens: `low` plus the sum of P(length > i) from there on."""
        step, beyond = 1.0 / self.scale_tokens, math.exp(-(self.low + 0.5) / self.scale_tokens)
        return self.low + beyond * math.expm1(-(self.high - self.low) * step) / math.expm1(-step)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        n = check_draw(n, rng)
        drawn = np.rint(self.scale_tokens * rng.standard_exponential(n))
        return np.clip(drawn, self.low, self.high).astype(np.int64)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Log-normal lengths, rounded to the nearest integer and then kept in [`low`, `high`].

    Parameters
    ----------
    median_tokens : float
        Median before rounding, in (0, 1e7].
    sigma : float
        Standard deviation of the logarithm, in (0, 5].
    low, high : int
        Shorter and longer draws become `low` and `high` (by default an empty one and a 128 Ki context).

    Examples
    --------
    >>> round(LogNormal(median_tokens=120.0, sigma=0.8).mean_tokens, 2)  # 120 exp(0.8^2 / 2)
    165.26
    """

    median_tokens: float
    sigma: float
    low: int = 1
    high: int = 131_072

    def __post_init__(self) -> None:
        check_number("median_tokens", self.median_tokens, 0.0, MOST_TOKENS, open_low=True)
        check_number("sigma", self.sigma, 0.0, 5.0, open_low=True)
        check_integer("low", self.low, 0, MOST_TOKENS)
        check_integer("high", self.high, self.low, MOST_TOKENS)

    @property
    def mean_tokens(self) -> float:
        """Mean length after rounding and cutting, in tokens: `low` plus the sum of P(length > i) from there on."""
        return _log_normal_mean(self.median_tokens, self.sigma, self.low, self.high)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        n = check_draw(n, rng)
        return log_normal(self.median_tokens, self.sigma, rng.standard_normal(n), self.low, self.high)


@functools.lru_cache(maxsize=64)
def _log_normal_mean(median_tokens: float, sigma: float, low: int, high: int) -> float:
    from scipy.special import ndtr

    edges = np.arange(low, high) + 0.5
    return float(low + ndtr(np.log(median_tokens / edges) / sigma).sum())


@dataclass(frozen=True, slots=True)
class Mixture:
    """Each length comes from one of several distributions, chosen with probability proportional to its weight.

    A histogram is a mixture of `Uniform` bins with its counts as weights.

    Parameters
    ----------
    parts : sequence of LengthDistribution
        At least one.
    weights : sequence of float
        One a part, >= 0, not all 0; they need not sum to 1.

    Examples
    --------
    >>> Mixture(parts=[Fixed(10), Fixed(100)], weights=[9, 1]).mean_tokens
    19.0
    """

    parts: tuple[LengthDistribution, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("parts", "weights"):
            given = getattr(self, name)
            if not np.iterable(given):
                raise InputError(f"{name}: {given!r} (expected a list)")
            object.__setattr__(self, name, tuple(given))
        for i, part in enumerate(self.parts):
            check_lengths(f"parts, part {i}", part)
        for i, weight in enumerate(self.weights):
            check_number(f"weights, weight {i}", weight, 0.0, 1e12)
        if len(self.weights) != len(self.parts):
            raise InputError(f"weights: {len(self.weights)} of them (expected {len(self.parts)}, one a part)")
        if not sum(self.weights) > 0:
            raise InputError(f"weights: {list(self.weights)} (expected one that is positive)")

    @property
    def mean_tokens(self) -> float:
        return float(np.average([part.mean_tokens for part in self.parts], weights=self.weights))

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        n = check_draw(n, rng)
        choice_rng, *part_rngs = rng.spawn(1 + len(self.parts))
        shares = np.cumsum(self.weights) / np.sum(self.weights)
        choice = np.searchsorted(shares, choice_rng.random(n), side="right")
        lengths = np.empty(n, dtype=np.int64)
        for i, (part, part_rng) in enumerate(zip(self.parts, part_rngs, strict=True)):
            chosen = np.flatnonzero(choice == i)
            if len(chosen):
                lengths[chosen] = part.sample(len(chosen), part_rng)
        return lengths


@dataclass(frozen=True, slots=True, eq=False)
class Empirical:
    """Lengths drawn with replacement from measured ones.

    Parameters
    ----------
    values : array of int
        The measured lengths, in tokens, at least one.
    """

    values: np.ndarray

    def __post_init__(self) -> None:
        try:
            values = np.array(self.values, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"values: {self.values!r} (expected a list of integers)") from error
        if values.ndim != 1 or len(values) == 0:
            raise InputError(f"values: shape {values.shape} (expected a list of at least one length)")
        bad = ~((values >= 0) & (values <= MOST_TOKENS) & (values == np.floor(values)))
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(f"values, row {row}: {values[row]:.16g} (expected an integer from 0 to {MOST_TOKENS})")
        object.__setattr__(self, "values", values.astype(np.int64))

    @property
    def mean_tokens(self) -> float:
        return float(self.values.mean())

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        n = check_draw(n, rng)
        return self.values[rng.integers(len(self.values), size=n)]
