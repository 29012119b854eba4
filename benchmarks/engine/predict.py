"""What the simulator says of a load before it is measured, and the same numbers of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

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
DRAWN_TABLES = 40  # that the requests of an unknown seed are tried as


def engine_of(load: Load) -> Continuous:
    """The simulator's settings of a load's server."""
    of = load.settings
    return Continuous(
        max_seqs=of.max_seqs, token_budget=of.token_budget, block_tokens=BLOCK_TOKENS,
        kv_tokens=of.blocks * BLOCK_TOKENS or None, prefix_cache=of.prefix_cache,
        steps_in_flight=2 if of.two_steps else 1,
    )  # fmt: skip


def simulated(load: Load, requests: Requests, law: StepLaw, way_in_s: float) -> pd.Series:
    """Every number of a load's requests under a law, seconds; by metric and statistic."""
    table = requests.table
    policy = "priority" if load.settings.priorities else "fcfs"
    run = simulate(table, policy, law, execution=engine_of(load))
    first_s, last_s = run.times.first_token_s + way_in_s, run.times.completion_s + way_in_s
    return _numbers(table.arrival_s, first_s, last_s, table.output_tokens, run.itl_s)


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


def given(load: Load, requests: Requests, law: StepLaw, way_in_s: float, draws: Iterable) -> pd.DataFrame:
    """Of requests that are known: ``predicted, low, high``, the last two by the law's uncertainty."""
    drawn = [simulated(load, requests, one, way_s) for one, way_s in draws]
    predicted = simulated(load, requests, law, way_in_s)
    return interval([*drawn, predicted]).assign(predicted=predicted)


def ahead(load: Load, draws: Sequence, seed: int) -> pd.DataFrame:
    """Of requests whose seed nobody knows yet: ``predicted, low, high``, by the law's uncertainty and the seed's."""
    seeds = np.random.default_rng(seed).integers(2**31, size=DRAWN_TABLES)
    each = [simulated(load, draw(load, int(own)), *draws[number % len(draws)]) for number, own in enumerate(seeds)]
    return interval(each).assign(predicted=pd.concat(each, axis=1).mean(axis=1))
