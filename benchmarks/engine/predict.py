"""What the simulator says of a load before it is measured: for requests that are known, and for a seed that is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.engine.loads import Load, Requests, draw
from benchmarks.engine.server import BLOCK_TOKENS
from simlib.continuous.settings import Continuous
from simlib.latency.steps import StepLaw
from simlib.predicted.benchmarks import numbers
from simlib.predicted.draws import predicted
from simlib.runs.engine_run import EngineRun
from simlib.simulation import simulate

DRAWS = 100
Drawn = Callable[[StepLaw, int], StepLaw]  # from a drawn law and the draw's number to the law that a load meets


def engine_of(load: Load) -> Continuous:
    """The simulator's settings of a load's server."""
    of = load.settings
    return Continuous(
        max_seqs=of.max_seqs, token_budget=of.token_budget, block_tokens=BLOCK_TOKENS,
        kv_tokens=of.blocks * BLOCK_TOKENS or None, prefix_cache=of.prefix_cache,
        steps_in_flight=2 if of.two_steps else 1,
    )  # fmt: skip


def simulated(load: Load, requests: Requests, law: StepLaw) -> EngineRun:
    """A load's requests, served by a law."""
    policy = "priority" if load.settings.priorities else "fcfs"
    return simulate(requests.table, policy, law, 1, engine_of(load))


def given(load: Load, requests: Requests, law: StepLaw, drawn: Drawn) -> pd.DataFrame:
    """Of requests that are known: ``predicted, low, high``, by the law's uncertainty."""
    return _table(lambda one, number: numbers(simulated(load, requests, drawn(one, number))), law, load)


def ahead(load: Load, law: StepLaw, drawn: Drawn, seed: int) -> pd.DataFrame:
    """Of requests whose seed nobody knows yet: the same, by the seed's uncertainty, too."""
    each = [draw(load, int(own)) for own in np.random.default_rng(seed).integers(2**31, size=DRAWS)]
    return _table(lambda one, number: numbers(simulated(load, each[number], drawn(one, number))), law, load)


def _table(numbers_of: Callable, law: StepLaw, load: Load) -> pd.DataFrame:
    found = predicted(numbers_of, law, load.span_s, DRAWS)
    index = pd.MultiIndex.from_tuples([name.split() for name in found], names=["metric", "statistic"])
    return pd.DataFrame(found.values(), index, ["predicted", "low", "high"])
