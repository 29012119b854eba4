"""Traffic like BurstGPT's, as much of it as is wanted: a generator with coefficients fitted to what is known of it.

Beside `traces`, which reads real rows: these are drawn. Two kinds of requests are superposed, as in the trace.
*Conversations* follow the clock and the week; *API calls* come and go by the day, each day's nearly equal in length.
Both are Poisson within windows, at a rate that is the day's level times the hour's share times a log-normal factor of
the window; API calls come in clumps. Coefficients are data (``data/burstgpt_population.json``, from
``benchmarks/fit_population.py``); a chapter says how far the result is like the trace.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from simlib import datasets, reading
from simlib.checks import InputError, check_choice, check_integer, check_number
from simlib.requests.streams import MOST_REQUESTS, stream
from simlib.requests.table import RequestTable

DAY_S, HOUR_S = 86_400.0, 3600.0
WEEKEND = (3, 4)  # days of the trace's week, which starts on a weekday
MOST_DAYS, FAMILY = 4096, "burstgpt-like"

Traffic = Literal["all", "conversations", "api_calls"]
LOG_TYPES = {"conversations": "Conversation log", "api_calls": "API log"}


@dataclass(frozen=True, slots=True)
class Conversations:
    """People who write to a chat service: a level for workdays and one for weekends, and the hours of the day.

    Attributes
    ----------
    workday_requests, weekend_requests : float
        Mean number of requests a day.
    day_log_sd : float
        Standard deviation of the logarithm of a day's level around it.
    hour_share : sequence of 24 floats
        Share of the day's requests in each hour.
    window_s, window_log_sd : float
        Length of the windows within which arrivals are Poisson, in seconds; standard deviation of the logarithm of
        their rates around the hour's.
    failed_share : float
        Share of requests with no tokens at all.
    weights, log_means, log_covariances : sequences of shape (k,), (k, 2), (k, 2, 2)
        Mixture of bivariate log-normals for prompt and answer, in tokens: both marginals and their dependence.
    longest_tokens : pair of int
        Prompts and answers are cut to 1 … so many tokens.
    """

    workday_requests: float
    weekend_requests: float
    day_log_sd: float
    hour_share: Sequence[float]
    window_s: float
    window_log_sd: float
    failed_share: float
    weights: Sequence[float]
    log_means: Sequence[Sequence[float]]
    log_covariances: Sequence[Sequence[Sequence[float]]]
    longest_tokens: Sequence[int]

    clump_mean = 1.0

    def day_levels(self, days: int, first_day: int, rng: np.random.Generator) -> np.ndarray:
        """Expected requests of each day, shape (days,)."""
        weekend = np.isin((first_day + np.arange(days)) % 7, WEEKEND)
        level = np.where(weekend, self.weekend_requests, self.workday_requests)
        return level * _unit_mean(self.day_log_sd, rng.standard_normal(days))

    def lengths(self, arrival_s: np.ndarray, days: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Prompt and answer of each request, in tokens, two integer arrays of shape (n,)."""
        choice_rng, normal_rng = rng.spawn(2)
        n = len(arrival_s)
        part = np.searchsorted(np.cumsum(self.weights)[:-1], choice_rng.random(n), side="right")
        roots = np.linalg.cholesky(np.asarray(self.log_covariances))[part]
        means = np.asarray(self.log_means)[part]
        z = normal_rng.standard_normal((n, 2))
        prompt = np.exp(means[:, 0] + roots[:, 0, 0] * z[:, 0])
        output = np.exp(means[:, 1] + roots[:, 1, 0] * z[:, 0] + roots[:, 1, 1] * z[:, 1])
        return _whole(prompt, self.longest_tokens[0]), _whole(output, self.longest_tokens[1])


@dataclass(frozen=True, slots=True)
class ApiCalls:
    """Programs that call the service: quiet days, days of very different levels, clumps of calls from one template.

    Attributes
    ----------
    quiet_share : float
        Share of days without calls.
    day_log_mean, day_log_sd, day_correlation : float
        Mean and standard deviation of the logarithm of the calls of a day that has any; correlation of one day's
        normal score with the next day's.
    hour_share, window_s, window_log_sd, failed_share, longest_tokens
        As for `Conversations`.
    clump_mean : float
        Mean size of a clump, geometric: calls at the same instant.
    total_log_mean, total_log_sd : float
        Mean and standard deviation, over days, of the logarithm of a call's tokens.
    scatter_log_sd, response_log_sd : float
        Standard deviations of the logarithms of prompts and of answers within a day.
    response_share : float
        The answer's share of a call's tokens.
    """

    quiet_share: float
    day_log_mean: float
    day_log_sd: float
    day_correlation: float
    hour_share: Sequence[float]
    window_s: float
    window_log_sd: float
    clump_mean: float
    failed_share: float
    total_log_mean: float
    total_log_sd: float
    scatter_log_sd: float
    response_share: float
    response_log_sd: float
    longest_tokens: Sequence[int]

    def day_levels(self, days: int, first_day: int, rng: np.random.Generator) -> np.ndarray:
        """Expected calls of each day, shape (days,); scores are an autoregression, the lowest of them quiet days."""
        from scipy.signal import lfilter
        from scipy.special import ndtr, ndtri

        noise = rng.standard_normal(days) * math.sqrt(1.0 - self.day_correlation**2)
        noise[0] /= math.sqrt(1.0 - self.day_correlation**2)
        place = ndtr(lfilter([1.0], [1.0, -self.day_correlation], noise))
        busy = np.clip((place - self.quiet_share) / (1.0 - self.quiet_share), 1e-9, None)
        level = np.exp(self.day_log_mean + self.day_log_sd * ndtri(busy))
        return np.where(place < self.quiet_share, 0.0, level)

    def lengths(self, arrival_s: np.ndarray, days: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Prompt and answer of each call, in tokens, two integer arrays of shape (n,)."""
        template_rng, normal_rng = rng.spawn(2)
        total = np.exp(self.total_log_mean + self.total_log_sd * template_rng.standard_normal(days))
        total = total[(arrival_s / DAY_S).astype(np.intp)]
        z = normal_rng.standard_normal((len(arrival_s), 2))
        prompt = (1.0 - self.response_share) * total * _unit_mean(self.scatter_log_sd, z[:, 0])
        output = self.response_share * total * _unit_mean(self.response_log_sd, z[:, 1])
        return _whole(prompt, self.longest_tokens[0]), _whole(output, self.longest_tokens[1])


@dataclass(frozen=True, slots=True)
class Population:
    """All traffic of which a trace is one draw: conversations and API calls together."""

    conversations: Conversations
    api_calls: ApiCalls

    @classmethod
    def read(cls, file: str | Path | None = None) -> Population:
        """The coefficients in a file as `fit_population` writes it; by default those that the repository ships.

        Raises
        ------
        InputError
            If the file cannot be read, or lacks a coefficient.
        """
        file = datasets.shipped("burstgpt_population.json") if file is None else Path(file)
        try:
            source, text = reading.text(file, "coefficients as fit_population writes them", str(file))
            document = reading.json_of(text, source)
            return cls(Conversations(**document["conversations"]), ApiCalls(**document["api_calls"]))
        except (KeyError, TypeError) as problem:
            raise InputError(f"{file}: {problem} (expected coefficients as fit_population writes them)") from None

    def document(self) -> dict[str, Any]:
        """The coefficients as a mapping that JSON takes; `read` takes it back."""
        return asdict(self)

    def sample(
        self,
        n: int,
        replication: int = 0,
        *,
        traffic: Traffic = "all",
        first_day: int = 0,
        rate_factor: float = 1.0,
        family: str = FAMILY,
    ) -> RequestTable:
        """Draw the first `n` requests from a midnight on.

        Parameters
        ----------
        n : int
            Number of requests, at least 1. The first ones do not depend on how many follow.
        replication : int
            Which independent draw.
        traffic : {"all", "conversations", "api_calls"}
            Which kinds of requests; each kind is the same with and without the other.
        first_day : int
            Day of the trace's week at whose midnight the table starts, 0 to 6; 3 and 4 are the weekend.
        rate_factor : float
            Arrival times are divided by it.
        family : str
            The key of the streams, with `replication`; see `simlib.requests.streams.stream`.

        Returns
        -------
        RequestTable
            With the label ``log_type``. A failed request has no tokens, as in the trace; no predictions are made.

        Raises
        ------
        InputError
            If an argument is out of range, or the traffic so thin that `n` requests do not come in 4096 days.
        """
        n = check_integer("n", n, 1, MOST_REQUESTS)
        key = _checked(replication, traffic, first_day, family)
        check_number("rate_factor", rate_factor, 0.0, open_low=True)
        days, margin = 1, 50.0 + 6.0 * math.sqrt(2.0 * self.api_calls.clump_mean * n)
        while days <= MOST_DAYS:
            parts = self._parts(days, *key)
            grid_s = np.arange(0.0, days * DAY_S + 1.0, min(part.kind.window_s for part in parts))
            expected = sum(part.expected_until(grid_s) for part in parts)
            if expected[-1] < n + margin:
                days *= 2
                continue
            table = _superposed(parts, float(np.interp(n + margin, expected, grid_s)), n, rate_factor)
            if len(table) == n:
                return table
            margin *= 2.0  # six standard deviations were not enough, for once
        raise InputError(f"n: {n} (expected at most what {MOST_DAYS} days of traffic {traffic!r} bring)")

    def sample_days(
        self, days: int, replication: int = 0, traffic: Traffic = "all", first_day: int = 0, family: str = FAMILY
    ) -> RequestTable:
        """Draw all requests of `days` whole days; otherwise as `sample`, of which it draws the same requests."""
        days = check_integer("days", days, 1, MOST_DAYS)
        return _superposed(self._parts(days, *_checked(replication, traffic, first_day, family)), days * DAY_S)

    def _parts(self, days: int, traffic: str, first_day: int, family: str, replication: int) -> list[_Part]:
        kinds = {"conversations": self.conversations, "api_calls": self.api_calls}
        arrival_rngs = stream(family, replication, "arrivals").spawn(len(kinds))
        length_rngs = stream(family, replication, "lengths").spawn(len(kinds))
        return [
            _Part.of(kind, LOG_TYPES[name], days, first_day, arrivals, lengths)
            for (name, kind), arrivals, lengths in zip(kinds.items(), arrival_rngs, length_rngs, strict=True)
            if traffic in ("all", name)
        ]


def burstgpt_like(n: int, replication: int = 0, **options: Any) -> RequestTable:
    """Draw `n` requests with the coefficients that the repository ships; options as for `Population.sample`.

    Examples
    --------
    >>> table = burstgpt_like(1000, traffic="conversations", rate_factor=100.0)
    >>> len(table), set(table.labels["log_type"])
    (1000, {'Conversation log'})
    """
    return _shipped().sample(n, replication, **options)


@functools.cache
def _shipped() -> Population:
    return Population.read()


@dataclass(frozen=True, slots=True)
class _Part:
    """One kind of requests on given days: what is expected by the end of each window, and chance yet to be drawn."""

    kind: Conversations | ApiCalls
    log_type: str
    days: int
    events: np.ndarray  # expected arrivals, clumps counted once, up to each window's start and the last one's end
    gap_rng: np.random.Generator
    clump_rng: np.random.Generator
    length_rng: np.random.Generator
    failure_rng: np.random.Generator

    @classmethod
    def of(
        cls,
        kind: Conversations | ApiCalls,
        log_type: str,
        days: int,
        first_day: int,
        arrival_rng: np.random.Generator,
        length_rng: np.random.Generator,
    ) -> _Part:
        day_rng, window_rng, gap_rng, clump_rng = arrival_rng.spawn(4)
        windows = round(HOUR_S / kind.window_s)
        share = np.repeat(np.asarray(kind.hour_share) / windows, windows)
        factor = _unit_mean(kind.window_log_sd, window_rng.standard_normal((days, len(share))))
        expected = kind.day_levels(days, first_day, day_rng)[:, None] * share * factor
        events = np.concatenate([[0.0], np.cumsum(expected)]) / kind.clump_mean
        return cls(kind, log_type, days, events, gap_rng, clump_rng, *length_rng.spawn(2))

    def expected_until(self, times_s: np.ndarray) -> np.ndarray:
        """Expected requests up to each time."""
        return np.interp(times_s, self._edges_s(), self.events) * self.kind.clump_mean

    def draw(self, end_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Arrival times up to `end_s`, prompts and answers: a Poisson stream of rate 1, its clock bent."""
        last = float(np.interp(end_s, self._edges_s(), self.events))
        clock = np.cumsum(self.gap_rng.standard_exponential(int(last + 10.0 * math.sqrt(last) + 50.0)))
        arrival_s = np.interp(clock[: np.searchsorted(clock, last)], self.events, self._edges_s())
        if self.kind.clump_mean > 1.0:
            arrival_s = np.repeat(arrival_s, self.clump_rng.geometric(1.0 / self.kind.clump_mean, len(arrival_s)))
        prompt, output = self.kind.lengths(arrival_s, self.days, self.length_rng)
        served = self.failure_rng.random(len(arrival_s)) >= self.kind.failed_share
        return arrival_s, prompt * served, output * served

    def _edges_s(self) -> np.ndarray:
        return np.arange(len(self.events)) * self.kind.window_s


def _superposed(parts: Sequence[_Part], end_s: float, n: int | None = None, rate_factor: float = 1.0) -> RequestTable:
    """The parts' requests up to `end_s` in order of arrival, the first `n` of them."""
    drawn = [part.draw(end_s) for part in parts]
    arrival_s, prompt, output = (np.concatenate(columns) for columns in zip(*drawn, strict=True))
    which = np.repeat(np.arange(len(parts)), [len(columns[0]) for columns in drawn])
    order = np.argsort(arrival_s, kind="stable")[:n]
    names = np.array([part.log_type for part in parts], dtype=object)
    labels = {"log_type": names[which[order]]}
    return RequestTable(arrival_s[order] / rate_factor, prompt[order], output[order], labels=labels)


def _checked(replication: Any, traffic: Any, first_day: Any, family: str) -> tuple[str, int, str, int]:
    check_choice("traffic", traffic, get_args(Traffic))
    first_day = check_integer("first_day", first_day, 0, 6)
    return traffic, first_day, family, check_integer("replication", replication, 0, 2**32 - 1)


def _unit_mean(log_sd: float, normals: np.ndarray) -> np.ndarray:
    """Log-normal factors of mean 1."""
    return np.exp(log_sd * normals - log_sd**2 / 2.0)


def _whole(tokens: np.ndarray, longest: int) -> np.ndarray:
    return np.clip(np.rint(tokens), 1, longest).astype(np.int64)
