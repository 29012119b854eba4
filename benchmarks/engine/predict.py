"""What the simulator says of a load before it is measured, and the same numbers of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.engine.loads import Load, Requests, draw
from benchmarks.engine.server import BLOCK_TOKENS
from simlib.continuous.settings import Continuous
from simlib.latency.steps import StepLaw
from simlib.simulation import simulate

METRICS = ("ttft", "tpot", "itl", "e2e")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
COVERED = 0.95


def engine_of(load: Load) -> Continuous:
    """The simulator's settings of a load's server."""
    of = load.settings
    return Continuous(
        max_seqs=of.max_seqs, token_budget=of.token_budget, block_tokens=BLOCK_TOKENS,
        kv_tokens=of.blocks * BLOCK_TOKENS or None, prefix_cache=of.prefix_cache,
        steps_in_flight=2 if of.two_steps else 1,
    )  # fmt: skip


def simulated(load: Load, requests: Requests, law: StepLaw) -> pd.Series:
    """Every number of a load's requests under a law, seconds; by metric and statistic."""
    table = requests.table
    policy = "priority" if load.settings.priorities else "fcfs"
    untold = replace(law, trust=None)  # where it was measured; here it is used beyond that on purpose
    run = simulate(table, policy, untold, execution=engine_of(load))
    return _numbers(table.arrival_s, run.times.first_token_s, run.times.completion_s, table.output_tokens, run.itl_s)


def measured(result: Mapping[str, list]) -> pd.Series:
    """The same numbers of what a client measured."""
    start_s, ttft_s = (np.array(result[name]) for name in ("start_times", "ttfts"))
    gaps = np.concatenate([np.array(each) for each in result["itls"]])
    decode_s = np.array([sum(each) for each in result["itls"]])
    output = np.array(result["output_lens"])
    first_s = start_s + ttft_s
    return _numbers(start_s, first_s, first_s + decode_s, output, lambda share: float(np.quantile(gaps, share)))


def _numbers(
    start_s: np.ndarray, first_s: np.ndarray, last_s: np.ndarray, output: np.ndarray, gap_s: Callable[[float], float]
) -> pd.Series:
    several = output > 1
    decode_s, gaps = (last_s - first_s)[several], output[several] - 1
    each = {"ttft": first_s - start_s, "tpot": decode_s / gaps, "e2e": last_s - start_s}
    found = {("itl", "mean"): decode_s.sum() / gaps.sum()}
    found |= {("itl", name): gap_s(share) for name, share in QUANTILES.items()}
    for metric, values in each.items():
        found[metric, "mean"] = values.mean()
        found |= {(metric, name): np.quantile(values, share) for name, share in QUANTILES.items()}
    found["throughput", "mean"] = len(output) / last_s.max()
    return pd.Series(found, dtype=float).rename_axis(["metric", "statistic"])


def interval(draws: Sequence[pd.Series]) -> pd.DataFrame:
    """Where the numbers of several simulations lie: ``low, high``, 95 % of them between."""
    tail = (1 - COVERED) / 2
    return pd.concat(draws, axis=1).quantile([tail, 1 - tail], axis=1).T.set_axis(["low", "high"], axis=1)


def given(load: Load, requests: Requests, law: StepLaw, draws: Sequence[StepLaw]) -> pd.DataFrame:
    """Of requests that are known: ``predicted, low, high``, the last two by the law's uncertainty."""
    predicted = simulated(load, requests, law)
    return interval([simulated(load, requests, drawn) for drawn in draws]).assign(predicted=predicted)


def ahead(load: Load, draws: Sequence[StepLaw], seed: int) -> pd.DataFrame:
    """Of requests whose seed nobody knows yet: ``predicted, low, high``, by the law's uncertainty and the seed's."""
    seeds = np.random.default_rng(seed).integers(2**31, size=len(draws))
    each = [simulated(load, draw(load, int(own)), law) for own, law in zip(seeds, draws, strict=True)]
    return interval(each).assign(predicted=pd.concat(each, axis=1).mean(axis=1))
