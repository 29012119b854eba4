"""Synthetic workloads: request tables made from an arrival process, length distributions and a predictor.

First in the flow; what comes out is the table that every policy reads. `original` repeats the original system's
recipe bit for bit, `generate` combines the records of `arrivals`, `lengths` and `predictors` (or a user's own)
with keyed streams. All draw in table order, so that the first requests do not depend on how many follow. Workloads
whose arrivals hang on answers (`closed`, `dealt`, `conversations`) are made in `loops`.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_type
from simlib.requests.arrivals import ArrivalProcess, check_rate
from simlib.requests.lengths import LengthDistribution, check_lengths
from simlib.requests.loops.closed import closed, dealt
from simlib.requests.loops.conversations import conversations
from simlib.requests.predictors import Predictor, original_predictions, predict
from simlib.requests.streams import MOST_REQUESTS, stream
from simlib.requests.table import RequestTable

__all__ = ["ORIGINAL_RATE_RPS", "closed", "conversations", "dealt", "generate", "original", "redrawn"]
ORIGINAL_RATE_RPS = 50.0
BLOCK_ROWS = 50  # rows that stay together, so that their bursts and runs of like requests do; longer ones are broken up
REDRAWN = ("prompt_tokens", "output_tokens", "predicted_output_tokens", "cached_prompt_tokens", "priority")


def generate(
    n: int,
    arrivals: ArrivalProcess,
    prompt: LengthDistribution,
    output: LengthDistribution,
    predictor: Predictor | None = None,
    *,
    family: str = "synthetic",
    replication: int = 0,
) -> RequestTable:
    """Make a request table from an arrival process, two length distributions and, if wanted, a predictor.

    Each part draws from a stream of its own, keyed by family and replication, so that changing or removing one part
    leaves the others as they were.

    Parameters
    ----------
    n : int
        Number of requests, at least 1.
    arrivals : ArrivalProcess
        A record of `arrivals`, or an object with the same members.
    prompt, output : LengthDistribution
        Records of `lengths`, or objects with the same members.
    predictor : Predictor, optional
        A record of `predictors`; without it the table has no predictions.
    family, replication : str, int
        The key of the streams, see `simlib.requests.streams.stream`.

    Examples
    --------
    >>> from simlib.requests.arrivals import Poisson
    >>> from simlib.requests.lengths import LogNormal, Uniform
    >>> table = generate(1000, Poisson(rate_rps=50.0), prompt=Uniform(16, 512), output=LogNormal(120.0, 0.8))
    >>> len(table), bool(table.prompt_tokens.max() <= 512)
    (1000, True)
    """
    n = check_integer("n", n, 1, MOST_REQUESTS)
    check_type("arrivals", arrivals, ArrivalProcess, "an arrival process such as Poisson(rate_rps=50.0)")
    check_lengths("prompt", prompt)
    check_lengths("output", output)
    arrival_rng = stream(family, replication, "arrivals")
    prompt_rng, output_rng = stream(family, replication, "lengths").spawn(2)
    table = RequestTable(arrivals.sample(n, arrival_rng), prompt.sample(n, prompt_rng), output.sample(n, output_rng))
    return table if predictor is None else predict(table, predictor, family=family, replication=replication)


def original(
    n: int, seed: int = 42, rate_rps: float = ORIGINAL_RATE_RPS, arrivals: Literal["poisson", "on_off"] = "poisson"
) -> RequestTable:
    """The original system's synthetic workload with its predictions, bit for bit, from NumPy's legacy Mersenne Twister.

    Parameters
    ----------
    n : int
        Number of requests, at least 1.
    seed : int
        Arrivals use the seed, prompts seed + 1, outputs seed + 2, predictions the seed again.
    rate_rps : float
        Rate of the Poisson arrivals, in requests per second. ON/OFF arrivals have their own (100 per second while
        on, about 25 in the long run): with them any value but the default is refused.
    arrivals : {"poisson", "on_off"}
        The arrival process.

    Notes
    -----
    Prompts are uniform in [16, 128), [128, 512) or [512, 2048) with probability 0.6, 0.3, 0.1; outputs are
    Gamma(2, scale 50) + 0.3 v prompt with v uniform in [0.2, 0.8), kept in [1, 4096]; the prediction knows the
    prompt only (`predictors.original_predictions`). Lengths are cut to integers.

    Examples
    --------
    >>> original(2).prompt_tokens.tolist(), original(2).predicted_output_tokens.tolist()
    ([84, 42], [35, 20])
    """
    n = check_integer("n", n, 1, MOST_REQUESTS)
    seed = check_integer("seed", seed, 0, 2**32 - 3)
    rate_rps = check_rate("rate_rps", rate_rps)
    check_choice("arrivals", arrivals, ("poisson", "on_off"))
    if arrivals == "on_off" and rate_rps != ORIGINAL_RATE_RPS:
        raise InputError(
            f"rate_rps: {rate_rps:g} (expected the default, {ORIGINAL_RATE_RPS:g}: the recipe's ON/OFF arrivals have "
            "rates of their own; RequestTable.at_rate scales them, OnOff has parameters)"
        )
    legacy = np.random.RandomState(seed)
    arrival_s = np.cumsum(legacy.exponential(1.0 / rate_rps, n)) if arrivals == "poisson" else _on_off(n, legacy)
    prompt = _original_prompts(n, np.random.RandomState(seed + 1))
    output = _original_outputs(prompt, np.random.RandomState(seed + 2))
    return RequestTable(arrival_s, prompt, output, original_predictions(prompt, seed))


def _on_off(n: int, legacy: np.random.RandomState) -> np.ndarray:
    """The recipe's ON/OFF arrivals: the gap that leaves a period is lost, but its time is not."""
    arrival_s: list[float] = []
    clock_s = 0.0
    while len(arrival_s) < n:
        clock_s += legacy.lognormal(math.log(5.0), 0.8)
        end_s = clock_s + legacy.lognormal(math.log(2.0), 0.5)
        while len(arrival_s) < n:
            clock_s += legacy.exponential(0.01)
            if clock_s > end_s:
                break
            arrival_s.append(clock_s)
    return np.array(arrival_s)


def _original_prompts(n: int, legacy: np.random.RandomState) -> np.ndarray:
    which, where = legacy.random_sample((n, 2)).T
    edges = np.array([16.0, 128.0, 512.0, 2048.0])
    length_class = np.searchsorted([0.6, 0.9], which, side="right")
    return (edges[length_class] + np.diff(edges)[length_class] * where).astype(np.int64)


def _original_outputs(prompt_tokens: np.ndarray, legacy: np.random.RandomState) -> np.ndarray:
    # The two draws alternate, and a Gamma draw takes an unknown number of the stream's values: one at a time.
    gamma, uniform = legacy.standard_gamma, legacy.random_sample
    base, share = np.array([(gamma(2.0), uniform()) for _ in prompt_tokens]).T
    output = 50.0 * base + 0.3 * (0.2 + (0.8 - 0.2) * share) * prompt_tokens
    return np.clip(output.astype(np.int64), 1, 4096)


def redrawn(table: RequestTable, rows: int, seed: int) -> RequestTable:
    """Requests like given ones: blocks of consecutive rows, gaps and lengths together, drawn with replacement.

    Parameters
    ----------
    table : RequestTable
        Of at least two blocks of rows, none of which waits for another's answer. The mean rate is the table's.
    rows, seed : int

    Examples
    --------
    >>> table = RequestTable(np.arange(100.0), np.arange(100), np.ones(100, int))
    >>> redrawn(table, 70, seed=1).prompt_tokens[:50].tolist() == list(range(34, 84))
    False
    """
    gaps_s, picked = np.diff(table.arrival_s), blocks(len(table), rows, seed)
    times_s = np.cumsum(gaps_s[picked - 1])
    return of_rows(table, picked, times_s - times_s[0])


def blocks(rows: int, requests: int, seed: int, first: int = 1, block: int = BLOCK_ROWS) -> np.ndarray:
    """Rows in blocks that begin anywhere from the first."""
    starts = stream("demand", seed, "arrivals").integers(first, rows - block, size=-(-requests // block), endpoint=True)
    return (starts[:, None] + np.arange(block)).ravel()[:requests]


def of_rows(table: RequestTable, rows: np.ndarray, arrival_s: np.ndarray) -> RequestTable:
    """The lengths and classes of some rows, in any order, at other times."""
    columns = {name: getattr(table, name) for name in REDRAWN}
    columns = {name: column[rows] for name, column in columns.items() if column is not None}
    return RequestTable(arrival_s, labels={name: values[rows] for name, values in table.labels.items()}, **columns)
