"""What a predictor should say of a prompt whose answers have a law of lengths: median, mean, quantile, or one of them.

Every prompt's answers are log-normal with a median and a spread of its own; half of the prompts are sure of their
length, half are not. A predictor that knows each law says one number of it, and requests are served shortest said
first, with ageing, in batches (the preset of `executions`) and in an engine. Held against first come, first served on
the same requests. Latencies are scored by arrival, behind a warm-up and with arrivals going on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.continuous.executions import PRESET
from simlib.checks import check_choice, check_each, check_integer, check_number
from simlib.continuous.settings import Continuous
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.estimates import as_row, ratio
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


MEDIAN_TOKENS, LOG_SD, MOST_TOKENS, PROMPT_TOKENS = 120.0, 1.0, 4000, 200
SURE = 0.3  # the spread of a prompt that is sure of its length, in parts of all prompts' own
SPREADS = (0.0, 0.3, 0.6, 0.9)  # how much of the log-sd of lengths is within prompts
MAIN_SPREAD, MAIN_LOAD, OVERLOAD = 0.6, 0.9, 1.1
QUANTILE = 0.9
SCALE = 10  # what is said is kept in tenths of a token, so that hardly two prompts tie
TUNING, TUNING_SEED = 4, 10_000  # replications on which a weight is picked, and what is added to the seed
METRICS = ("mean_s", "p99_s", "short_s", "long_s")
SHORT, LONG = 1 / 3, 2 / 3  # by rank of the true output
CELL = ["execution", "load", "spread", "says"]
FIRST = "first come"


@dataclass(frozen=True)
class Prompts:
    """Prompts, each with its law of lengths, and two answers drawn from it: one to be served, one seen before.

    Attributes
    ----------
    gap : array of float, shape (n,)
        Exponential gaps between arrivals, of mean 1.
    log_median, log_sd : array of float, shape (n,)
        The law of a prompt's answers: log-normal, tokens.
    output_tokens, seen_tokens : array of int, shape (n,)
    """

    gap: np.ndarray
    log_median: np.ndarray
    log_sd: np.ndarray
    output_tokens: np.ndarray
    seen_tokens: np.ndarray


def prompts(requests: int, seed: int, spread: float = MAIN_SPREAD, sure: float = SURE) -> Prompts:
    """Prompts whose answers together have the same spread, however much of it is within prompts.

    Parameters
    ----------
    requests, seed : int
    spread : float
        Root mean square of the prompts' own log-sd, in [0, 1].
    sure : float
        Log-sd of half of the prompts, in parts of `spread`, in [0, 1]; 1: all prompts are equally sure.

    Examples
    --------
    >>> drawn = prompts(10_000, 1, 0.6)
    >>> round(float(np.log(drawn.output_tokens).std()), 1), sorted(set(drawn.log_sd.round(2).tolist()))
    (1.0, [0.18, 0.83])
    """
    requests, seed = check_integer("requests", requests, 1), check_integer("seed", seed, 0)
    spread, sure = check_number("spread", spread, 0.0, 1.0), check_number("sure", sure, 0.0, 1.0)
    gaps = stream("prompts", seed, "arrivals")
    medians, halves, answers = stream("prompts", seed, "lengths").spawn(3)
    log_median = np.log(MEDIAN_TOKENS) + np.sqrt(LOG_SD**2 - spread**2) * medians.standard_normal(requests)
    log_sd = np.where(halves.random(requests) < 0.5, sure, np.sqrt(2 - sure**2)) * spread
    both = np.exp(log_median + log_sd * answers.standard_normal((2, requests)))
    served, seen = np.clip(np.round(both), 1, MOST_TOKENS).astype(np.int64)
    return Prompts(gaps.exponential(1.0, requests), log_median, log_sd, served, seen)


def mean_tokens(drawn: Prompts) -> np.ndarray:
    """Expected length of each prompt's answers."""
    return np.exp(drawn.log_median + drawn.log_sd**2 / 2)


def quantile_tokens(drawn: Prompts, share: float = QUANTILE) -> np.ndarray:
    """The length that so many of a prompt's answers do not exceed."""
    return np.exp(drawn.log_median + NormalDist().inv_cdf(share) * drawn.log_sd)


def tail_tokens(drawn: Prompts, share: float = QUANTILE) -> np.ndarray:
    """Expected length of those answers that exceed the quantile (conditional value at risk)."""
    above = NormalDist().inv_cdf(share)
    beyond = np.array([NormalDist().cdf(sd - above) for sd in drawn.log_sd])
    return mean_tokens(drawn) * beyond / (1 - share)


SAYS: Mapping[str, Callable[[Prompts], np.ndarray]] = {
    "one answer": lambda drawn: drawn.seen_tokens.astype(float),
    "median": lambda drawn: np.exp(drawn.log_median),
    "mean": mean_tokens,
    "quantile": quantile_tokens,
    "mean and tail": lambda drawn: mean_tokens(drawn) + tail_tokens(drawn),
    "the length": lambda drawn: drawn.output_tokens.astype(float),
}


@dataclass(frozen=True)
class Server:
    """How requests are served: the arms' policy by the seconds of waiting that outweigh a token, and the law.

    Attributes
    ----------
    execution : str or Continuous
    latency : str
        A preset.
    gpus : int
    lines : int
        Lines by what is said; a batch that runs to completion is of one.
    batch_size : int
    weights_s : tuple of float or None
        Seconds of waiting that outweigh a token, that are tried; None: waiting counts for nothing.
    """

    execution: Any
    latency: str
    gpus: int
    lines: int
    batch_size: int
    weights_s: tuple[float | None, ...]

    def policy(self, weight_s: float | None) -> ShortestPredictedFirst:
        """Shortest said first; with 0 it is first come, first served, in one line."""
        if weight_s == 0.0:
            return ShortestPredictedFirst(0.0, 1, self.batch_size)
        return ShortestPredictedFirst(weight_s and weight_s / SCALE, self.lines, self.batch_size)

    def serve(self, drawn: Prompts, rate_rps: float, said: np.ndarray, weight_s: float | None) -> dict[str, float]:
        """Latencies of the requests between warm-up and end, seconds, by `METRICS`."""
        count = len(drawn.gap)
        table = RequestTable(
            np.cumsum(drawn.gap) / rate_rps,
            np.full(count, PROMPT_TOKENS),
            drawn.output_tokens,
            np.maximum(np.round(SCALE * said), 1).astype(np.int64),
        )
        run = simulate(table, self.policy(weight_s), self.latency, self.gpus, self.execution)
        scored = slice(count // 10, count - count // 10)
        latency_s = (run.times.completion_s - table.arrival_s)[scored]
        rank = np.argsort(np.argsort(drawn.output_tokens[scored], kind="stable"), kind="stable") / len(latency_s)
        return {
            "mean_s": float(latency_s.mean()),
            "p99_s": float(np.quantile(latency_s, 0.99)),
            "short_s": float(latency_s[rank < SHORT].mean()),
            "long_s": float(latency_s[rank >= LONG].mean()),
        }

    def capacity_rps(self, requests: int, seed: int) -> float:
        """What first come, first served completes a second in the middle of requests that all wait."""
        drawn = prompts(requests, seed)
        table = RequestTable(
            np.zeros(requests), np.full(requests, PROMPT_TOKENS), drawn.output_tokens, drawn.output_tokens
        )
        run = simulate(table, self.policy(0.0), self.latency, self.gpus, self.execution)
        ends_s = np.sort(run.times.completion_s)
        first, last = requests // 5, 7 * requests // 10
        return (last - first) / float(ends_s[last] - ends_s[first])


SERVERS: Mapping[str, Server] = {
    "batches": Server("run_to_completion", PRESET, 2, 4, 32, (0.005, 0.02, 0.2, None)),
    "engine": Server(Continuous(max_seqs=32), "h100-vllm-llama3-8b", 1, 4096, 8, (0.002, 0.01, 0.05, None)),
}


def runs_of(
    requests: int, spreads: Iterable[float] = SPREADS, *, seed: int = 42, replications: int = 20, workers: int = 1
) -> pd.DataFrame:
    """Latencies of every arm in each replication, and of first come, first served.

    Parameters
    ----------
    requests : int
        In a run.
    spreads : iterable of float
        As in `prompts`; overload is of the main one alone.

    Returns
    -------
    pandas.DataFrame
        One row an arm and replication: ``execution, load, spread, says, weight_s, replication, tuning`` and `METRICS`,
        seconds; `weight_s` infinite where waiting counts for nothing, 0 for first come, first served; `tuning` says
        which replications are of seeds to pick weights on.
    """
    import pandas as pd

    requests = check_integer("requests", requests, 100)
    spreads = check_each("spreads", spreads, lambda spread: check_number("spreads", spread, 0.0, 1.0))
    frames = []
    for execution, server in SERVERS.items():
        rate_rps = server.capacity_rps(requests, seed + 2 * TUNING_SEED)
        for load, spread in (*((MAIN_LOAD, spread) for spread in spreads), (OVERLOAD, MAIN_SPREAD)):
            arms = Arms(server, load * rate_rps, requests, spread)
            for tuning, count, first in ((True, TUNING, seed + TUNING_SEED), (False, replications, seed)):
                found = replicate(arms, count, seed=first, workers=workers, progress=False)
                place = {"execution": execution, "load": load, "spread": spread, "tuning": tuning}
                frames.append(_long(found).assign(**place))
    return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class Arms:
    """All that is compared on the requests of one seed: a function for `replicate`."""

    server: Server
    rate_rps: float
    requests: int
    spread: float

    def __call__(self, seed: int) -> dict[str, float]:
        """Latencies by arm, ``says|weight_s|metric``."""
        drawn, found = prompts(self.requests, seed, self.spread), {}
        arms = [(FIRST, 0.0), *((says, weight_s) for says in SAYS for weight_s in self.server.weights_s)]
        for says, weight_s in arms:
            said = SAYS["the length" if says == FIRST else says](drawn)
            for metric, value in self.server.serve(drawn, self.rate_rps, said, weight_s).items():
                found[f"{says}|{np.inf if weight_s is None else weight_s}|{metric}"] = value
        return found


def _long(found: pd.DataFrame) -> pd.DataFrame:
    """One row an arm and replication from one column an arm and metric."""
    import pandas as pd

    tidy = found.rename_axis("replication").reset_index().melt("replication")
    tidy[["says", "weight_s", "metric"]] = tidy["variable"].str.split("|", expand=True)
    tidy["weight_s"] = tidy["weight_s"].astype(float)
    wide = tidy.pivot_table(index=["says", "weight_s", "replication"], columns="metric", values="value", sort=False)
    return pd.DataFrame(wide).reset_index().rename_axis(columns=None)


def ratios_of(runs: pd.DataFrame, of: str = FIRST) -> pd.DataFrame:
    """Each arm over another on the same requests: geometric means of paired ratios, one row an arm and metric.

    Parameters
    ----------
    runs : pandas.DataFrame
        Of `runs_of`; only replications that weights are not picked on count.
    of : str
        What is said by the arm in the denominator: first come, or the same weight's.

    Returns
    -------
    pandas.DataFrame
        ``execution, load, spread, says, weight_s, metric, ratio, ci_low, ci_high, p_value, replications``.
    """
    import pandas as pd

    check_choice("of", of, (FIRST, *SAYS))
    judged, rows = runs[~runs["tuning"]], []
    for (execution, load, spread), cell in judged.groupby(CELL[:3], sort=False):
        arms = {key: arm.set_index("replication") for key, arm in cell.groupby(["says", "weight_s"], sort=False)}
        for (says, weight_s), arm in arms.items():
            base = arms[FIRST, 0.0] if of == FIRST else arms.get((of, weight_s))
            if says in (FIRST, of) or base is None:
                continue
            for metric in METRICS:
                pair = intervals.paired_difference(np.log(arm[metric]), np.log(base[metric]))
                rows.append(
                    {"execution": execution, "load": load, "spread": spread, "says": says, "weight_s": weight_s}
                    | {"metric": metric, **as_row(ratio(pair), "ratio")}
                    | {"p_value": pair.p_value, "replications": pair.replications}
                )
    return pd.DataFrame(rows)


def picked(runs: pd.DataFrame) -> pd.DataFrame:
    """The weight of each arm that has the least mean latency on the draws kept for that: `CELL`, ``weight_s``."""
    import pandas as pd

    rows = []
    for (execution, load, spread), cell in runs[runs["tuning"]].groupby(CELL[:3], sort=False):
        means = np.log(cell.set_index(["says", "weight_s"])["mean_s"]).groupby(level=[0, 1]).mean()
        for says in SAYS:
            best = float(means[says].idxmin())
            rows.append(dict(zip(CELL, (execution, load, spread, says), strict=True)) | {"weight_s": best})
    return pd.DataFrame(rows)


def quality(requests: int, spreads: Iterable[float] = SPREADS, seed: int = 42) -> pd.DataFrame:
    """Rank correlation (Spearman) of what is said with what comes: ``spread, says, rank``."""
    import pandas as pd
    from scipy.stats import spearmanr

    rows = []
    for spread in spreads:
        drawn = prompts(requests, seed, spread)
        for says, say in SAYS.items():
            rank = float(spearmanr(say(drawn), drawn.output_tokens).statistic)
            rows.append({"spread": spread, "says": says, "rank": rank})
    return pd.DataFrame(rows)
