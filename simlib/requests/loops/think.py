"""How long somebody thinks between an answer and the next request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from simlib.checks import InputError, check_number
from simlib.durations import wait_s
from simlib.requests.arrivals import ArrivalProcess
from simlib.requests.streams import check_draw

LONGEST_S = 1e6


@runtime_checkable
class Think(Protocol):
    """Whatever has a mean and samples `n` times >= 0, shape (n,), in seconds."""

    mean_s: float

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class Constant:
    """Always as long.

    Examples
    --------
    >>> Constant(2.0).sample(2, np.random.default_rng(1)).tolist()
    [2.0, 2.0]
    """

    mean_s: float = 0.0

    def __post_init__(self) -> None:
        check_number("think_s", self.mean_s, 0.0, LONGEST_S)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return np.full(check_draw(n, rng), float(self.mean_s))


@dataclass(frozen=True, slots=True)
class Exponential:
    """Exponential times, which forget how long they have been: the think time of the textbooks' interactive systems."""

    mean_s: float

    def __post_init__(self) -> None:
        check_number("think_s", self.mean_s, 0.0, LONGEST_S, open_low=True)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self.mean_s * rng.standard_exponential(check_draw(n, rng))


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Log-normal times: many short ones, and people who come back after lunch.

    Parameters
    ----------
    median_s : float
        In (0, 1e6], seconds.
    sigma : float
        Standard deviation of the logarithm, in (0, 5].
    """

    median_s: float
    sigma: float

    def __post_init__(self) -> None:
        check_number("think_s", self.median_s, 0.0, LONGEST_S, open_low=True)
        check_number("sigma", self.sigma, 0.0, 5.0, open_low=True)

    @property
    def mean_s(self) -> float:
        return float(self.median_s * np.exp(self.sigma**2 / 2.0))

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self.median_s * np.exp(self.sigma * rng.standard_normal(check_draw(n, rng)))


@dataclass(frozen=True, slots=True)
class Gaps:
    """The gaps of an arrival process as times to think, such as those of `arrivals.GammaArrivals`."""

    arrivals: ArrivalProcess

    @property
    def mean_s(self) -> float:
        return 1.0 / self.arrivals.rate_rps

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return np.diff(self.arrivals.sample(n, rng), prepend=0.0)


def think_of(given: Any) -> Think:
    """A time to think from what a user gives.

    Parameters
    ----------
    given : float, str, ArrivalProcess or Think
        Seconds or a text such as ``"500ms"``: always as long; ``"exponential:2s"``; an arrival process, whose gaps they
        are; or a record of this module, or an object with the same members.

    Raises
    ------
    InputError
        If it is none of these, or a time below zero.

    Examples
    --------
    >>> think_of("500ms"), think_of("exponential:2s")
    (Constant(mean_s=0.5), Exponential(mean_s=2.0))
    """
    if not isinstance(given, type):
        if isinstance(given, Think):
            return given
        if isinstance(given, ArrivalProcess):
            return Gaps(given)
        kind, colon, time = given.partition(":") if isinstance(given, str) else ("", "", "")
        if colon and kind == "exponential":
            return Exponential(wait_s("think_s", time))
        if isinstance(given, str | int | float | np.number) and not isinstance(given, bool):
            return Constant(wait_s("think_s", given))
    raise InputError(f"think_s: {given!r} (expected seconds, 500ms, exponential:2s, or a record of loops.think)")


def thinks_s(think: Think, n: int, rng: np.random.Generator) -> np.ndarray:
    """So many times to think, looked at: a user's own may be anything.

    Raises
    ------
    InputError
        If there are not so many, or one is no time >= 0.
    """
    found = np.asarray(think.sample(n, rng), dtype=np.float64)
    good = np.isfinite(found) & (found >= 0)
    if found.shape != (n,) or not good.all():
        shown = f"shape {found.shape}" if found.shape != (n,) else f"{found[np.argmin(good)]:g}"
        raise InputError(f"think_s: {shown} from {think!r} (expected {n} times >= 0)")
    return found
