"""One law of steps with the way in, from the light loads; and how slow a machine was while a load ran."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from benchmarks.engine.loads import Load, Requests
from benchmarks.engine.predict import engine_of, simulated
from simlib.calibration.loads import law as of_loads
from simlib.calibration.loads.limits import regression
from simlib.calibration.loads.load import MeasuredLoad
from simlib.calibration.step_fit import EngineLaw, solve
from simlib.latency.steps import NoisyLaw, StepLaw
from simlib.predicted.benchmarks import measured, numbers
from simlib.requests.formats import known

SLOWEST = 4.0  # times the law, and the fastest as much below it
ROUNDS = 50  # of fitting the law and the speeds in turn
TIMES = ("start_times", "ttfts")


@dataclass(frozen=True)
class Measured:
    """A load that was measured: its requests, what the client wrote, how slow the machine was, 1 if unknown."""

    load: Load
    requests: Requests
    result: Mapping[str, list]
    slowness: float = 1.0

    def benchmark(self) -> MeasuredLoad:
        """As `simlib` reads benchmarks, in a time in which the machine is always as fast."""
        times = {name: (np.array(self.result[name]) / self.slowness).tolist() for name in TIMES}
        times["itls"] = [(np.array(gaps) / self.slowness).tolist() for gaps in self.result["itls"]]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{self.load.name}.json")
            path.write_text(json.dumps({**self.result, **times}))
            [found] = MeasuredLoad.of(known.parse(path))
        return replace(found, name=self.load.name)

    def numbers(self) -> dict[str, float]:
        """Mean and quantiles of what clients measured."""
        return measured(self.benchmark())


def fit(runs: Sequence[Measured]) -> EngineLaw:
    """The law and the way in under which a simulation gives these runs back."""
    return of_loads.fit([run.benchmark() for run in runs], engine_of(runs[0].load))


def fit_each(runs: Sequence[Measured]) -> EngineLaw:
    """As `fit`, of a machine that drifts: each run has a speed of its own, on average over all of them 1."""
    loads = [run.benchmark() for run in runs]
    steps, data = regression(loads, engine_of(runs[0].load))
    of, slow = steps["load"].to_numpy(), np.ones(len(runs))
    for _ in range(ROUNDS):
        expected_s = data.design @ solve(data._replace(step_s=data.step_s / slow[of]))
        slow = np.bincount(of, data.weight * data.step_s) / np.bincount(of, data.weight * expected_s)
        slow /= math.exp(np.mean(np.log(slow)))
    return fit([replace(run, slowness=float(own)) for run, own in zip(runs, slow, strict=True)])


def slower(law: StepLaw | NoisyLaw, times: float) -> StepLaw | NoisyLaw:
    """The same where everything takes so many times as long."""
    if isinstance(law, NoisyLaw):
        return replace(law, base=slower(law.base, times))
    return StepLaw(*(times * law.params), way_in_s=times * law.way_in_s)


def slowness(law: StepLaw, bracket: Measured) -> float:
    """How many times as long as the law says everything took, by a bracket's mean time per output token."""
    wanted_s = bracket.numbers()["tpot mean"]

    def late_s(log_times: float) -> float:
        run = simulated(bracket.load, bracket.requests, slower(law, math.exp(log_times)))
        return numbers(run)["tpot mean"] - wanted_s

    most = math.log(SLOWEST)
    if late_s(-most) >= 0 or late_s(most) <= 0:
        return SLOWEST if late_s(most) <= 0 else 1 / SLOWEST
    return math.exp(brentq(late_s, -most, most, xtol=1e-3))
