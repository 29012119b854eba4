"""What a predictor should say of a prompt whose answers have a law of lengths: median, mean, quantile, or one of them.

Every prompt's answers are log-normal (or log-t, whose tail is heavier) with a median and a spread of its own; half of
the prompts are sure of their length, half are not. A predictor that knows each law says one number of it, and requests
are served shortest said first, with ageing, in batches (the preset of `executions`) and in an engine. Held against
first come, first served on the same requests. Latencies are scored by arrival, behind a warm-up and with arrivals
going on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.continuous.executions import PRESET
from book.chapters.prompts.laws import MOST_TOKENS
from simlib.checks import check_choice, check_each, check_integer, check_number
from simlib.continuous.settings import Continuous
from simlib.named import latency_of, step_law_of
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.estimates import as_row, ratio
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


MEDIAN_TOKENS, LOG_SD, PROMPT_TOKENS = 120.0, 1.0, 200
SURE = 0.3  # the spread of a prompt that is sure of its length, in parts of all prompts' own
SPREADS = (0.0, 0.3, 0.6, 0.9)  # how much of the log-sd of lengths is within prompts
MAIN_SPREAD, MAIN_LOAD, OVERLOAD = 0.6, 0.9, 1.1
QUANTILE = 0.9
HEAVY = 3.0  # degrees of freedom of the heavier law
HEAVY_PLACES = (("batches", MAIN_LOAD, MAIN_SPREAD), ("batches", MAIN_LOAD, 0.9), ("engine", OVERLOAD, MAIN_SPREAD))
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
        The law of a prompt's answers, tokens: log-normal, or log-t.
    output_tokens, seen_tokens : array of int, shape (n,)
    freedom : float
        Degrees of freedom of the t; infinite: normal.
    """

    gap: np.ndarray
    log_median: np.ndarray
    log_sd: np.ndarray
    output_tokens: np.ndarray
    seen_tokens: np.ndarray
    freedom: float = math.inf


def prompts(
    requests: int, seed: int, spread: float = MAIN_SPREAD, sure: float = SURE, freedom: float = math.inf
) -> Prompts:
    """Prompts whose answers together have the same spread, however much of it is within prompts.

    Parameters
    ----------
    requests, seed : int
    spread : float
        Root mean square of the prompts' own log-sd, in [0, 1].
    sure : float
        Log-sd of half of the prompts, in parts of `spread`, in [0, 1]; 1: all prompts are equally sure.
    freedom : float
        As in `Prompts`; the log-sd is the t's scale then, and the spread is wider.

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
    shape = (2, requests)
    away = answers.standard_normal(shape) if freedom == math.inf else answers.standard_t(freedom, shape)
    both = np.exp(log_median + log_sd * away)
    served, seen = np.clip(np.round(both), 1, MOST_TOKENS).astype(np.int64)
    return Prompts(gaps.exponential(1.0, requests), log_median, log_sd, served, seen, freedom)


def mean_tokens(drawn: Prompts) -> np.ndarray:
    """Expected length of each prompt's answers; of log-t ones, which have none, with the cap."""
    if drawn.freedom < math.inf:
        return _between(drawn, 0.0)
    return np.exp(drawn.log_median + drawn.log_sd**2 / 2)


def quantile_tokens(drawn: Prompts, share: float = QUANTILE) -> np.ndarray:
    """The length that so many of a prompt's answers do not exceed."""
    from scipy import stats

    away = NormalDist().inv_cdf(share) if drawn.freedom == math.inf else stats.t.ppf(share, drawn.freedom)
    return np.exp(drawn.log_median + away * drawn.log_sd)


def tail_tokens(drawn: Prompts, share: float = QUANTILE) -> np.ndarray:
    """Expected length of those answers that exceed the quantile (conditional value at risk)."""
    if drawn.freedom < math.inf:
        return _between(drawn, share)
    above = NormalDist().inv_cdf(share)
    beyond = np.array([NormalDist().cdf(sd - above) for sd in drawn.log_sd])
    return mean_tokens(drawn) * beyond / (1 - share)


def _between(drawn: Prompts, share: float) -> np.ndarray:
    """Mean of the quantiles above a share, each cut at the cap."""
    from scipy import stats

    away = stats.t.ppf(share + (1 - share) * (np.arange(400) + 0.5) / 400, drawn.freedom)
    tokens = np.exp(drawn.log_median[:, None] + drawn.log_sd[:, None] * away)
    return np.minimum(tokens, MOST_TOKENS).mean(axis=1)


SAYS: Mapping[str, Callable[[Prompts], np.ndarray]] = {
    "one answer": lambda drawn: drawn.seen_tokens.astype(float),
    "median": lambda drawn: np.exp(drawn.log_median),
    "mean": mean_tokens,
    "quantile": quantile_tokens,
    "mean and tail": lambda drawn: mean_tokens(drawn) + tail_tokens(drawn),
    "the length": lambda drawn: drawn.output_tokens.astype(float),
}


def scored(count: int) -> slice:
    """The requests that count, by arrival: those between warm-up and end."""
    return slice(count // 10, count - count // 10)


def scores(latency_s: np.ndarray, output_tokens: np.ndarray) -> dict[str, float]:
    """Latencies of the requests that count, by `METRICS`.

    Examples
    --------
    >>> scores(np.arange(1.0, 31.0), np.arange(30, 0, -1))["short_s"]
    23.5
    """
    kept = scored(len(latency_s))
    latency_s, output_tokens = latency_s[kept], output_tokens[kept]
    rank = np.argsort(np.argsort(output_tokens, kind="stable"), kind="stable") / len(latency_s)
    return {
        "mean_s": float(latency_s.mean()),
        "p99_s": float(np.quantile(latency_s, 0.99)),
        "short_s": float(latency_s[rank < SHORT].mean()),
        "long_s": float(latency_s[rank >= LONG].mean()),
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

    @property
    def law(self) -> Any:
        """The preset's law: of a batch's time, or of a step's."""
        return _law(self.latency, isinstance(self.execution, Continuous))

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
        run = simulate(table, self.policy(weight_s), self.law, self.gpus, self.execution)
        return scores(run.times.completion_s - table.arrival_s, drawn.output_tokens)

    def capacity_rps(self, requests: int, seed: int, spread: float = MAIN_SPREAD, freedom: float = math.inf) -> float:
        """What first come, first served completes a second in the middle of requests that all wait."""
        drawn = prompts(requests, seed, spread, freedom=freedom)
        table = RequestTable(
            np.zeros(requests), np.full(requests, PROMPT_TOKENS), drawn.output_tokens, drawn.output_tokens
        )
        run = simulate(table, self.policy(0.0), self.law, self.gpus, self.execution)
        ends_s = np.sort(run.times.completion_s)
        first, last = requests // 5, 7 * requests // 10
        return (last - first) / float(ends_s[last] - ends_s[first])


@cache
def _law(latency: str, steps: bool) -> Any:
    return step_law_of(latency) if steps else latency_of(latency)


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
    places = [
        (execution, load, spread)
        for execution in SERVERS
        for load, spread in (*((MAIN_LOAD, spread) for spread in spreads), (OVERLOAD, MAIN_SPREAD))
    ]
    rates_rps = {name: server.capacity_rps(requests, seed + 2 * TUNING_SEED) for name, server in SERVERS.items()}
    arms = [
        Arms(SERVERS[execution], load * rates_rps[execution], requests, spread) for execution, load, spread in places
    ]
    return pd.concat(map(partial(_both, seed, replications, workers), places, arms), ignore_index=True)


def heavy_runs_of(requests: int, *, seed: int = 42, replications: int = 20, workers: int = 1) -> pd.DataFrame:
    """As `runs_of`, with log-t lengths, at `HEAVY_PLACES`; loads are of what first come carries of such lengths."""
    import pandas as pd

    requests, arms = check_integer("requests", requests, 100), []
    for execution, load, spread in HEAVY_PLACES:
        server = SERVERS[execution]
        rate_rps = load * server.capacity_rps(requests, seed + 2 * TUNING_SEED, spread, HEAVY)
        arms.append(Arms(server, rate_rps, requests, spread, HEAVY))
    return pd.concat(map(partial(_both, seed, replications, workers), HEAVY_PLACES, arms), ignore_index=True)


def _both(
    seed: int, replications: int, workers: int, place: tuple[str, float, float], arms: Callable[[int], dict]
) -> pd.DataFrame:
    """Replications to pick weights on, and to judge."""
    import pandas as pd

    frames = []
    for tuning, count, first in ((True, TUNING, seed + TUNING_SEED), (False, replications, seed)):
        found = replicate(arms, count, seed=first, workers=workers, progress=False)
        frames.append(tidy(found).assign(**dict(zip(CELL, place, strict=False)), tuning=tuning))
    return pd.concat(frames)


@dataclass(frozen=True)
class Arms:
    """All that is compared on the requests of one seed: a function for `replicate`."""

    server: Server
    rate_rps: float
    requests: int
    spread: float
    freedom: float = math.inf

    def __call__(self, seed: int) -> dict[str, float]:
        """Latencies by arm, ``says|weight_s|metric``."""
        drawn, found = prompts(self.requests, seed, self.spread, freedom=self.freedom), {}
        for says, say in {FIRST: SAYS["the length"], **SAYS}.items():
            said = say(drawn)
            for weight_s in (0.0,) if says == FIRST else self.server.weights_s:
                weight = math.inf if weight_s is None else weight_s
                for metric, value in self.server.serve(drawn, self.rate_rps, said, weight_s).items():
                    found[f"{says}|{weight}|{metric}"] = value
        return found


def tidy(found: pd.DataFrame, arm: tuple[str, ...] = ("says", "weight_s")) -> pd.DataFrame:
    """One row an arm and replication from one column an arm and metric, ``says|weight_s|metric``."""
    import pandas as pd

    long = found.rename_axis("replication").reset_index().melt("replication")
    long[[*arm, "metric"]] = long["variable"].str.split("|", expand=True)
    long["weight_s"] = long["weight_s"].astype(float)
    wide = long.pivot_table(index=[*arm, "replication"], columns="metric", values="value", sort=False)
    return pd.DataFrame(wide).reset_index().rename_axis(columns=None)


def ratios_of(
    runs: pd.DataFrame, of: str = FIRST, cell: Iterable[str] = CELL[:3], metrics: Iterable[str] = METRICS
) -> pd.DataFrame:
    """Each arm over another on the same requests: geometric means of paired ratios, one row an arm and metric.

    Parameters
    ----------
    runs : pandas.DataFrame
        Of `runs_of`; only replications that weights are not picked on count.
    of : str
        What is said by the arm in the denominator: first come, or the same weight's.
    cell : iterable of str
        Columns in whose cells arms are compared.
    metrics : iterable of str
        What is compared; where a cell lacks one, it is left out.

    Returns
    -------
    pandas.DataFrame
        `cell`, ``says, weight_s, metric, ratio, ci_low, ci_high, p_value, replications``.
    """
    import pandas as pd

    check_choice("of", of, sorted({FIRST, *runs["says"]}))
    judged, rows, cell = runs[~runs["tuning"]], [], list(cell)
    for place, own in judged.groupby(cell, sort=False):
        arms = {key: arm.set_index("replication") for key, arm in own.groupby(["says", "weight_s"], sort=False)}
        for (says, weight_s), arm in arms.items():
            base = arms[FIRST, 0.0] if of == FIRST else arms.get((of, weight_s))
            if says in (FIRST, of) or base is None:
                continue
            for metric in metrics:
                if metric not in arm or arm[metric].isna().any():
                    continue
                pair = intervals.paired_difference(np.log(arm[metric]), np.log(base[metric]))
                rows.append(
                    dict(zip(cell, place, strict=True))
                    | {"says": says, "weight_s": weight_s, "metric": metric, **as_row(ratio(pair), "ratio")}
                    | {"p_value": pair.p_value, "replications": pair.replications}
                )
    return pd.DataFrame(rows)


def picked(runs: pd.DataFrame) -> pd.DataFrame:
    """The weight of each arm that has the least mean latency on the draws kept for that: `CELL`, ``weight_s``."""
    import pandas as pd

    rows = []
    for (execution, load, spread), cell in runs[runs["tuning"]].groupby(CELL[:3], sort=False):
        means = np.log(cell.set_index(["says", "weight_s"])["mean_s"]).groupby(level=[0, 1]).mean()
        for says in (each for each in cell["says"].unique() if each != FIRST):
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
