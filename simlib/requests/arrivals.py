"""Arrival processes: when requests come.

Beside `lengths`; `workload` combines them. Each is a frozen record with a long-run rate, drawn in
table order, so that the first requests do not depend on how many follow. Unit-rate gaps are scaled by the rate, so
that two rates share one stream of chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from simlib.checks import InputError, check_number
from simlib.requests.streams import check_draw
from simlib.stats.intervals import check_numbers

# A table takes mean gaps of 1000 s for milliseconds; nothing queues at such rates anyway.
LOWEST_RATE_RPS, HIGHEST_RATE_RPS = 1e-3, 1e9
MOST_WINDOWS = 10_000_000


@runtime_checkable
class ArrivalProcess(Protocol):
    """Whatever has a long-run rate and samples `n` ascending arrival times, shape (n,), in seconds."""

    rate_rps: float

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray: ...


def check_rate(name: str, rate_rps: Any) -> float:
    """Return an arrival rate in requests per second if it is one that a table takes, else raise `InputError`."""
    return check_number(name, rate_rps, LOWEST_RATE_RPS, HIGHEST_RATE_RPS)


@dataclass(frozen=True, slots=True)
class Poisson:
    """Poisson arrivals: independent exponential gaps, the first before the first request.

    Gaps are drawn at unit rate and divided by the rate: the times at rate 2 are half those at rate 1.

    Parameters
    ----------
    rate_rps : float
        Requests per second, in [0.001, 1e9].

    Examples
    --------
    >>> slow, fast = (Poisson(rate).sample(3, np.random.default_rng(1)) for rate in (1.0, 2.0))
    >>> bool((slow == 2.0 * fast).all())
    True
    """

    rate_rps: float

    def __post_init__(self) -> None:
        check_rate("rate_rps", self.rate_rps)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        n = check_draw(n, rng)
        return np.cumsum(rng.standard_exponential(n)) / self.rate_rps


@dataclass(frozen=True, slots=True)
class GammaArrivals:
    """Independent Gamma gaps with a given coefficient of variation; above 1 they are burstier than Poisson.

    Gaps are drawn at unit rate and divided by the rate, as in `Poisson`, which `cv=1` equals.

    Parameters
    ----------
    rate_rps : float
        Requests per second, in [0.001, 1e9].
    cv : float
        Standard deviation of the gaps over their mean, in [0.01, 100]; the Gamma shape is 1 / cv^2.
    """

    rate_rps: float
    cv: float

    def __post_init__(self) -> None:
        check_rate("rate_rps", self.rate_rps)
        check_number("cv", self.cv, 0.01, 100.0)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        n = check_draw(n, rng)
        shape = 1.0 / self.cv**2
        return np.cumsum(rng.standard_gamma(shape, n)) / shape / self.rate_rps


@dataclass(frozen=True, slots=True)
class OnOff:
    """Poisson arrivals during ON periods, none during OFF periods; both have log-normal lengths. OFF comes first.

    Two in-ON rates with the same stream see the same periods and the same unit-rate gaps.

    Parameters
    ----------
    on_rate_rps : float
        Requests per second while ON, in [0.001, 1e9].
    on_median_s, off_median_s : float
        Median period lengths, in seconds, in (0, 1e6]; the median ON period must bring at least 0.1 requests.
    on_sigma, off_sigma : float
        Standard deviations of the logarithms of the period lengths, in [0, 3]; 0 makes them constant.

    Notes
    -----
    The defaults are the original recipe's values. Its own loop (`workload.original`) wastes one gap a cycle, so it is
    not this process to the bit, and slower by 0.1 %.

    Examples
    --------
    >>> OnOff(on_rate_rps=100.0, on_sigma=0.0, off_sigma=0.0).rate_rps  # 2 s of 7 s
    28.571428571428573
    """

    on_rate_rps: float = 100.0
    on_median_s: float = 2.0
    off_median_s: float = 5.0
    on_sigma: float = 0.5
    off_sigma: float = 0.8

    def __post_init__(self) -> None:
        check_rate("on_rate_rps", self.on_rate_rps)
        check_number("on_median_s", self.on_median_s, 0.0, 1e6, open_low=True)
        check_number("off_median_s", self.off_median_s, 0.0, 1e6, open_low=True)
        check_number("on_sigma", self.on_sigma, 0.0, 3.0)
        check_number("off_sigma", self.off_sigma, 0.0, 3.0)
        # Emptier ON periods would only be drawn to be passed over, without end.
        check_number("on_median_s x on_rate_rps", self.on_median_s * self.on_rate_rps, 0.1)

    @property
    def rate_rps(self) -> float:
        """Long-run rate, in requests per second: the in-ON rate times the mean share of time ON."""
        on_mean_s = self.on_median_s * math.exp(self.on_sigma**2 / 2.0)
        off_mean_s = self.off_median_s * math.exp(self.off_sigma**2 / 2.0)
        return self.on_rate_rps * on_mean_s / (on_mean_s + off_mean_s)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        n = check_draw(n, rng)
        gap_rng, period_rng = rng.spawn(2)
        on_time_s = np.cumsum(gap_rng.standard_exponential(n)) / self.on_rate_rps
        normals = np.empty((0, 2))
        on_ends_s = np.zeros(1)
        while on_ends_s[-1] <= on_time_s[-1]:
            cycles = 16 + int((on_time_s[-1] - on_ends_s[-1]) / self.on_median_s)
            normals = np.concatenate([normals, period_rng.standard_normal((cycles, 2))])
            on_ends_s = np.cumsum(self.on_median_s * np.exp(self.on_sigma * normals[:, 1]))
        off_s = np.cumsum(self.off_median_s * np.exp(self.off_sigma * normals[:, 0]))
        return on_time_s + off_s[np.searchsorted(on_ends_s, on_time_s, side="right")]


@dataclass(frozen=True, slots=True)
class AllAtOnce:
    """Every request arrives at time 0: shows what a system can do when it never runs dry."""

    rate_rps: ClassVar[float] = math.inf

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return np.zeros(check_draw(n, rng))


def dispersion_index(arrival_s: np.ndarray, window_s: float) -> float:
    """Variance over mean of the number of arrivals in a window; 1 for a Poisson stream, more when it is bursty.

    Parameters
    ----------
    arrival_s : ndarray, shape (n_requests,)
        Arrival times in seconds, ascending.
    window_s : float
        Length of the window; at least two whole windows must fit between the first and the last arrival.

    Examples
    --------
    >>> dispersion_index(np.arange(100.0), 10.0)
    0.0
    """
    arrival_s = check_numbers("arrival_s", arrival_s, "row")
    span_s = arrival_s[-1] - arrival_s[0]
    check_number("window_s", window_s, span_s / MOST_WINDOWS, span_s / 2.0)
    windows = int(span_s / window_s)
    number = ((arrival_s - arrival_s[0]) / window_s).astype(int)
    counts = np.bincount(number[number < windows], minlength=windows)
    return float(np.var(counts, ddof=1) / np.mean(counts))


def gap_variation(arrival_s: np.ndarray) -> float:
    """Coefficient of variation of the gaps between arrivals; 1 for a Poisson stream."""
    gaps = np.diff(check_numbers("arrival_s", arrival_s, "row"))
    if len(gaps) < 2 or not gaps.sum() > 0:
        raise InputError(f"arrival_s: {len(gaps)} gaps (expected at least 2, not all zero)")
    return float(np.std(gaps, ddof=1) / np.mean(gaps))
