"""A benchmark predicted by a law, beside what it measured.

Its requests are served as they came; where clients waited for answers (vLLM's ``--max-concurrency``), in a closed loop
of as many: each time an answer is complete, the next request is sent.
"""

from __future__ import annotations

import dataclasses
import heapq
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from simlib.calibration.loads.load import MeasuredLoad
from simlib.checks import InputError
from simlib.continuous.settings import Continuous
from simlib.latency.steps import StepLaw
from simlib.latency.trust import DRAWS
from simlib.lazy import pd
from simlib.predicted.draws import predicted
from simlib.requests.table import RequestTable
from simlib.runs.engine_run import EngineRun
from simlib.simulation import simulate

COLUMNS = ("file", "metric", "statistic", "measured", "predicted", "low", "high", "unit")
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
UNITS = {"ttft": "s", "tpot": "s", "itl": "s", "e2e": "s", "throughput": "tokens/s"}
WAITING = 0.9  # share of the requests that are sent just when an answer came, from which on that is no chance
SOON = 0.02  # of the median time of a request
EARLY, FEW = 0.7, 0.02  # of the least that a prompt takes; share of the first tokens that may come before it


def judged(load: MeasuredLoad, law: Any, engine: Continuous, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """A load's measured times beside those that a law predicts.

    Parameters
    ----------
    load : MeasuredLoad
    law : StepLaw
        Where it keeps no draws (`simlib.predicted.draws`), predictions have no intervals.
    engine : Continuous
        The limits of the engine that was measured.
    draws, seed : int

    Returns
    -------
    DataFrame
        One row a number, with `COLUMNS`; of each of ``ttft, tpot, itl, e2e`` mean and quantiles, seconds, where
        answers have them, and the throughput.

    Raises
    ------
    InputError
        If a request needs more than the engine's cache.

    Warns
    -----
    UserWarning
        If the law was fitted to these very times; if prompts repeat what those before them began with, or first tokens
        came earlier than their prompts allow; if the run leaves what the law was measured at.
    """
    replayed = Replayed.of(load, engine)
    for doubt in doubts(load, law, engine):
        warnings.warn(f"{load.name}: {doubt}", stacklevel=2)
    replayed = replayed.settled(law)
    replayed.run(law)  # says what of it lies beyond the law's measurements
    span_s = float(np.max(load.requests["start_s"] + load.ttft_s + load.rest_s))
    found = predicted(lambda drawn, _: numbers(replayed.run(drawn)), law, span_s, draws, seed)
    real = measured(load)
    rows = [
        (load.name, *name.split(), value, *found[name], UNITS[name.split()[0]])
        for name, value in real.items()
        if not np.isnan(value)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def doubts(load: MeasuredLoad, law: Any, engine: Continuous) -> list[str]:
    """Why a benchmark may be no test of a law: it was fitted to it, or a prefix cache was on."""
    told = []
    if load.mark in getattr(getattr(law, "trust", None), "fitted", ()):
        told.append("the law was fitted to these very times: how near they are says nothing of other loads")
    told += filter(None, [load.repeats])
    if isinstance(law, StepLaw):
        prompt = load.requests["prompt_tokens"].to_numpy(float)
        if "cached_prompt_tokens" in load.requests:
            prompt = prompt - load.requests["cached_prompt_tokens"].to_numpy(float)
        least_s = law.way_in_s + np.ceil(prompt / engine.token_budget) * law.a_s + prompt * law.c_s
        early = int(np.count_nonzero(load.ttft_s < EARLY * least_s))
        if early > FEW * len(prompt):
            told.append(
                f"{early} of {len(prompt)} first tokens came before {EARLY:.0%} of what their prompts take alone: it "
                "looks as if a prefix cache was on, which is not replayed (expected prompts that share nothing)"
            )
    return told


@dataclasses.dataclass(frozen=True, slots=True)
class Replayed:
    """A benchmark's requests, to be served by laws: as they came, or by clients who wait for answers.

    Attributes
    ----------
    table : RequestTable
    engine : Continuous
    clients : int, optional
        How many wait for answers; None: requests come when they came.
    followed : ndarray of int, optional
        Of a closed loop, whose answer each request behind the first of the clients' followed, to begin with.
    """

    table: RequestTable
    engine: Continuous
    clients: int | None = None
    followed: np.ndarray | None = None

    @classmethod
    def of(cls, load: MeasuredLoad, engine: Continuous) -> Replayed:
        """A load's; whether its clients waited is told by when they sent requests."""
        table, end_s = load.table, load.requests["start_s"].to_numpy() + load.ttft_s + load.rest_s
        needed = engine.needed_blocks(table)
        if (needed > engine.blocks).any():
            row = int(np.argmax(needed > engine.blocks))
            most = f"expected at most {engine.blocks}, the cache's"
            raise InputError(f"{load.name}, request {row}: needs {needed[row]} blocks ({most})")
        clients, share = waiting(table.arrival_s, end_s)
        if 1 - WAITING < share < WAITING:
            warnings.warn(
                f"{load.name}: {share:.0%} of the requests were sent when another was complete, as if at most "
                f"{clients} were let in: they are sent as recorded (expected a rate or a limit, without the other)",
                stacklevel=3,
            )
        return cls(table, engine, clients, followed(end_s, clients)) if share >= WAITING else cls(table, engine)

    def run(self, law: Any) -> EngineRun:
        """The requests, served by a law."""
        table = self.table if self.clients is None else self._after(self.followed)
        return simulate(table, "fcfs", law, 1, self.engine)

    def settled(self, law: Any) -> Replayed:
        """The same, with whoever follows whom as it comes about by this law; it is near for others, too."""
        if self.clients is None:
            return self
        found = self
        for _ in range(len(self.followed)):  # each time one more is right, at least
            run = found.run(law)
            before, found = found, dataclasses.replace(
                found, followed=followed(run.times.completion_s[run.given_order], self.clients)
            )  # fmt: skip
            if np.array_equal(found.followed, before.followed):
                break
        return found

    def _after(self, before: np.ndarray) -> RequestTable:
        """Each request behind the first of the clients' is sent when one of these is complete."""
        previous = np.concatenate([np.full(self.clients, -1), before])
        arrival_s = np.maximum(self.table.arrival_s, 0.0)
        arrival_s[self.clients :] = arrival_s[self.clients - 1]
        return RequestTable(arrival_s, self.table.prompt_tokens, self.table.output_tokens, previous=previous)


def followed(end_s: np.ndarray, clients: int) -> np.ndarray:
    """Which answer each request behind the first of the clients' follows: the earliest that no other one has followed.

    Examples
    --------
    >>> followed(np.array([1.0, 5.0, 1.0, 2.0, 9.0]), clients=3).tolist()
    [0, 2]
    """
    open_s = [(end_s[row], row) for row in range(clients)]
    heapq.heapify(open_s)
    return np.array([heapq.heapreplace(open_s, (end_s[row], row))[1] for row in range(clients, len(end_s))], dtype=int)


def waiting(start_s: np.ndarray, end_s: np.ndarray) -> tuple[int, float]:
    """How many requests were in flight at most, and the share of those behind the first that followed an answer.

    Where so many clients wait, the request behind the first of theirs is sent with the first answer, the next one with
    the second, and so on, within `SOON` of a request's time.

    Examples
    --------
    >>> waiting(np.array([0.0, 0.0, 1.0, 2.0, 2.5]), np.array([1.0, 2.0, 2.5, 3.0, 4.0]))
    (2, 1.0)
    >>> waiting(np.array([0.0, 0.1, 5.0, 7.0]), np.array([1.0, 1.1, 5.5, 7.5]))
    (2, 0.0)
    """
    soon_s = SOON * float(np.median(end_s - start_s))
    start_s, end_s = np.sort(start_s), np.sort(end_s)
    clients = 1 + int(np.max(np.arange(len(start_s)) - np.searchsorted(end_s, start_s + soon_s, "right")))
    after_s = start_s[clients:] - end_s[: len(start_s) - clients]
    return clients, float(np.mean(after_s <= soon_s)) if len(after_s) else 0.0


def measured(load: MeasuredLoad) -> dict[str, float]:
    """What a load's clients measured, as `numbers` of a run."""
    gaps = np.concatenate([np.asarray(each, float) for each in load.requests["itl_s"]])
    answers = load.requests["output_tokens"].to_numpy(float)
    span_s = float(np.max(load.requests["start_s"] + load.ttft_s + load.rest_s))
    return _numbers(load.ttft_s, load.rest_s, answers, _statistics(gaps), answers.sum() / span_s)


def numbers(run: EngineRun) -> dict[str, float]:
    """Mean and quantiles of a run's times, ``"ttft mean"`` and so on, seconds; tokens a second."""
    times, answers = run.times, run.table.output_tokens.astype(float)
    ttft_s, rest_s = times.first_token_s - run.table.arrival_s, times.completion_s - times.first_token_s
    itl = {"mean": rest_s.sum() / max((answers - 1).sum(), 1), **{name: run.itl_s(q) for name, q in SHARES.items()}}
    span_s = times.completion_s.max() - run.table.arrival_s[0]
    return _numbers(ttft_s, rest_s, answers, itl, answers.sum() / span_s)


def _numbers(
    ttft_s: np.ndarray, rest_s: np.ndarray, answers: np.ndarray, itl: Mapping[str, float], rate: float
) -> dict[str, float]:
    several = answers > 1
    times = {"ttft": ttft_s, "tpot": rest_s[several] / (answers[several] - 1), "e2e": ttft_s + rest_s}
    found = {"itl": itl}
    found |= {metric: _statistics(values) for metric, values in times.items()}
    rows = {
        f"{metric} {name}": float(value) for metric in UNITS if metric in found for name, value in found[metric].items()
    }
    return rows | {"throughput mean": float(rate)}


def _statistics(values: np.ndarray) -> dict[str, float]:
    if not len(values):  # answers of one token have no gaps
        return dict.fromkeys(("mean", *SHARES), np.nan)
    return {"mean": values.mean(), **{name: np.quantile(values, share) for name, share in SHARES.items()}}
