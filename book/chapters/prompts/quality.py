"""What predictions are worth as they grow worse, said once or renewed with every token, and what is left without any.

The requests are those of `study`. A predictor's law is right by a share: as it says less of a prompt's median and of
who is sure, the spread of what it says stays the same. In batches the median or a quantile is said; in an engine the
expected length, once, or what is expected to be left as tokens come (`renewed`), or nothing: who has fewest tokens
runs. All are held against first come, first served on the same requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.prompts import laws, renewed
from book.chapters.prompts.study import (
    FIRST,
    LOG_SD,
    MAIN_LOAD,
    MAIN_SPREAD,
    MEDIAN_TOKENS,
    METRICS,
    OVERLOAD,
    PROMPT_TOKENS,
    QUANTILE,
    SAYS,
    SERVERS,
    TUNING,
    TUNING_SEED,
    Prompts,
    mean_tokens,
    prompts,
    scored,
    scores,
    tidy,
)
from simlib.checks import check_integer, check_number
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


KNOWN, LAW, NOTHING, OPPOSITE = "the length", "the law", "nothing", "the opposite"
TOLD = {
    LAW: 1.0,
    "three quarters": 0.75,
    "half": 0.5,
    "a quarter": 0.25,
    NOTHING: 0.0,
    "half the opposite": -0.5,
    OPPOSITE: -1.0,
}
WIDE_SPREAD = 0.9
WEIGHTS_S = {"batches": (0.02, None), "engine": (0.05, None)}
PLACES = (  # execution, load, spread
    ("batches", MAIN_LOAD, MAIN_SPREAD),
    *(("engine", load, spread) for spread in (MAIN_SPREAD, WIDE_SPREAD) for load in (MAIN_LOAD, OVERLOAD)),
)
SHOWN = (PLACES[0], PLACES[2])  # where predictions are of every quality
CELL = ["execution", "load", "spread", "told"]
ALL_METRICS = (*METRICS, "first_s")
LEVELS = np.append(0, 16 * 2 ** np.arange(8))  # tokens at which a request without a prediction goes a level down

LEFT: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": laws.mean_left,
    "median": lambda shares: laws.quantile_left(shares, 0.5),
    "quantile": lambda shares: laws.quantile_left(shares, QUANTILE),
    "index": laws.index_left,
}


@dataclass(frozen=True)
class Rule:
    """What is expected of a request in an engine, and who may lose its place for it.

    Attributes
    ----------
    says : str
        Of `LEFT`; empty: nothing, and who has fewest tokens runs, by `LEVELS`.
    renewed : bool
        Whether it is said again as tokens come, or once and counted down.
    until, reluctance, keeps_memory
        As in `renewed.Order`.
    """

    says: str = "mean"
    renewed: bool = True
    until: float = math.inf
    reluctance: float = 0.0
    keeps_memory: bool = True

    def orders(
        self, told: Prompts, lengths: np.ndarray | None, weights_s: Iterable[float | None]
    ) -> Iterable[renewed.Order]:
        """An order a weight: by the laws that are told, or by the lengths themselves where these are known."""
        start, down = np.zeros(1, np.int64), True
        if not self.says:
            start, down = LEVELS, False
            left = np.broadcast_to(LEVELS.astype(float), (len(told.gap), len(LEVELS)))
        elif lengths is not None:
            left = lengths[:, None].astype(float)
        elif self.renewed:
            start, down = laws.FROM_TOKENS, self.says != "index"
            left = LEFT[self.says](laws.longer(told.log_median, told.log_sd))
        else:
            left = mean_tokens(told)[:, None]
        for weight_s in weights_s:
            waits = math.inf if weight_s is None else weight_s
            yield renewed.Order(left, start, down, waits, self.until, self.reluctance, self.keeps_memory)


ONCE, RENEWED, AGAIN, CAREFUL, WITHOUT = (
    "said once", "renewed", "computed again", "again, with care", "no prediction",
)  # fmt: skip
RULES: Mapping[str, Rule] = {
    ONCE: Rule(renewed=False, until=0.0),
    "once, takes places": Rule(renewed=False),
    RENEWED: Rule(),
    "renewed median": Rule("median"),
    "renewed quantile": Rule("quantile"),
    "renewed index": Rule("index"),
    AGAIN: Rule(until=0.5, keeps_memory=False),
    CAREFUL: Rule(reluctance=10.0, keeps_memory=False),
    WITHOUT: Rule(""),
}
MISTAKEN = (ONCE, RENEWED, AGAIN, WITHOUT)  # rules that are tried on predictions of every quality
SAID = ("median", "quantile")  # in batches
WEIGHED = (*SAID, ONCE, RENEWED)  # rules whose weight is picked, beside the one without a prediction


def mistaken(drawn: Prompts, right: float, seed: int) -> Prompts:
    """What a predictor takes the prompts to be: their laws, as far as it is right.

    Parameters
    ----------
    drawn : Prompts
    right : float
        Correlation of the log-median that is told with the true one, in [-1, 1]; -1 tells the opposite of every prompt,
        and takes the sure ones for those that are not.
    seed : int

    Examples
    --------
    >>> drawn = prompts(5000, 1)
    >>> told = [mistaken(drawn, right, 1).log_median for right in (1.0, 0.5, -1.0)]
    >>> [round(float(np.corrcoef(drawn.log_median, each)[0, 1]), 1) for each in told]
    [1.0, 0.5, -1.0]
    """
    right, seed = check_number("right", right, -1.0, 1.0), check_integer("seed", seed, 0)
    rng = stream("prompts", seed, "prediction")
    spread = float(np.sqrt(np.mean(np.square(np.unique(drawn.log_sd)))))
    middle, noise = math.log(MEDIAN_TOKENS), rng.standard_normal(len(drawn.gap))
    log_median = middle + right * (drawn.log_median - middle)
    log_median += math.sqrt((1 - right**2) * max(LOG_SD**2 - spread**2, 0.0)) * noise
    same = rng.random(len(drawn.gap)) < (1 + right) / 2
    other = drawn.log_sd.min() + drawn.log_sd.max() - drawn.log_sd
    return replace(drawn, log_median=log_median, log_sd=np.where(same, drawn.log_sd, other))


@dataclass(frozen=True)
class Arms:
    """All rules on the requests of one seed, by what they are told: a function for `replicate`."""

    execution: str
    rate_rps: float
    requests: int
    spread: float
    told: tuple[str, ...]
    tuning: bool = False

    def __call__(self, seed: int) -> dict[str, float]:
        """Latencies by arm, ``told|says|weight_s|metric``."""
        drawn, found = prompts(self.requests, seed, self.spread), {}
        serve = self._batches if self.execution == "batches" else self._engine
        same = serve(FIRST, drawn, None, (0.0,), drawn)  # whatever is told
        same |= {} if self.execution == "batches" else serve(WITHOUT, drawn, None, WEIGHTS_S["engine"], drawn)
        for told in self.told:
            known = drawn.output_tokens if told == KNOWN else None
            seen = drawn if told == KNOWN else mistaken(drawn, TOLD[told], seed)
            arms = dict(same)
            for says in self._rules(told):
                arms |= serve(says, seen, known, WEIGHTS_S[self.execution] if says in WEIGHED else (None,), drawn)
            for (says, weight_s), latencies in arms.items():
                found |= {f"{told}|{says}|{weight_s}|{metric}": value for metric, value in latencies.items()}
        return found

    def _rules(self, told: str) -> Iterable[str]:
        if self.execution == "batches":
            return SAID
        if self.tuning:
            return (ONCE, RENEWED)
        return [says for says in (RULES if told == LAW else MISTAKEN) if says != WITHOUT]

    def _batches(
        self, says: str, told: Prompts, lengths: np.ndarray | None, weights_s: Iterable[float | None], drawn: Prompts
    ) -> dict[tuple[str, float], dict[str, float]]:
        known = says == FIRST or lengths is not None
        said, found = drawn.output_tokens.astype(float) if known else SAYS[says](told), {}
        for weight_s in weights_s:
            latencies = SERVERS["batches"].serve(drawn, self.rate_rps, said, weight_s)
            found[says, math.inf if weight_s is None else weight_s] = latencies
        return found

    def _engine(
        self, says: str, told: Prompts, lengths: np.ndarray | None, weights_s: Iterable[float | None], drawn: Prompts
    ) -> dict[tuple[str, float], dict[str, float]]:
        server, count, found = SERVERS["engine"], len(drawn.gap), {}
        places = server.execution.max_seqs
        table = RequestTable(np.cumsum(drawn.gap) / self.rate_rps, np.full(count, PROMPT_TOKENS), drawn.output_tokens)
        for order in RULES[ONCE if says == FIRST else says].orders(told, lengths, weights_s):
            run = renewed.serve(table, order, server.law, places)
            first_s = (run.first_s - table.arrival_s)[scored(count)].mean()
            more = {"first_s": float(first_s), "lost": float(run.lost.mean()), "most_tokens": float(run.most_tokens)}
            found[says, order.weight_s] = scores(run.completion_s - table.arrival_s, drawn.output_tokens) | more
        return found


def runs_of(requests: int, *, seed: int = 42, replications: int = 20, workers: int = 1) -> pd.DataFrame:
    """Latencies of every rule in each replication, by what it is told, and of first come, first served.

    Returns
    -------
    pandas.DataFrame
        As of `study.runs_of`, with a column ``told``, and of an engine ``first_s`` (mean time to the first token),
        ``lost`` (places that a request lost, mean) and ``most_tokens`` (that the cache held at once).
    """
    import pandas as pd

    requests, frames = check_integer("requests", requests, 100), []
    rates_rps = {name: server.capacity_rps(requests, seed + 2 * TUNING_SEED) for name, server in SERVERS.items()}
    for execution, load, spread in PLACES:
        told = (KNOWN, *TOLD) if (execution, load, spread) in SHOWN else (KNOWN, LAW, NOTHING, OPPOSITE)
        place = {"execution": execution, "load": load, "spread": spread}
        tries = ((True, TUNING, seed + TUNING_SEED, (LAW,)), (False, replications, seed, told))
        for tuning, count, first, tells in tries:
            arms = Arms(execution, load * rates_rps[execution], requests, spread, tells, tuning)
            found = replicate(arms, count, seed=first, workers=workers, progress=False)
            frames.append(tidy(found, ("told", "says", "weight_s")).assign(**place, tuning=tuning))
    return pd.concat(frames, ignore_index=True)


def ranks_of(requests: int, seed: int = 42) -> pd.DataFrame:
    """Rank correlation (Spearman) of the median that is told with the length that comes: ``told, rank``."""
    import pandas as pd
    from scipy.stats import spearmanr

    drawn = prompts(requests, seed)
    ranks = {KNOWN: 1.0}
    for told, right in TOLD.items():
        ranks[told] = float(spearmanr(mistaken(drawn, right, seed).log_median, drawn.output_tokens).statistic)
    return pd.DataFrame({"told": list(ranks), "rank": list(ranks.values())})


def chosen_of(ratios: pd.DataFrame, picked: pd.DataFrame) -> pd.DataFrame:
    """Of `study.ratios_of`'s rows those at the weight of `study.picked`, and all of rules that have one weight."""
    found = ratios.merge(
        picked.rename(columns={"weight_s": "best_s"}), on=["execution", "load", "spread", "says"], how="left"
    )
    return found[found["best_s"].isna() | (found["weight_s"] == found["best_s"])].drop(columns="best_s")


def memory_of(runs: pd.DataFrame) -> pd.DataFrame:
    """What an engine's rules ask of it where the law is told: ``load, spread, says, weight_s, lost, most_tokens``."""
    judged = runs[~runs["tuning"] & (runs["execution"] == "engine") & (runs["told"] == LAW)]
    by = ["load", "spread", "says", "weight_s"]
    return judged.groupby(by, sort=False)[["lost", "most_tokens"]].mean().reset_index()
