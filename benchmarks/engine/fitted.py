"""One law of steps, and the way in, from the light loads; and how fast a machine was while a load ran."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from benchmarks.engine.loads import Load, Requests
from benchmarks.engine.predict import measured, simulated
from simlib.calibration.engine_benchmarks import steps_of
from simlib.calibration.step_fit import fit_steps
from simlib.latency.steps import StepLaw

DRAWS, STRETCHES = 30, 10
SLOWEST = 4.0  # times the law, and the fastest as much below it
ROUNDS = 3  # of fitting the law and the speeds in turn


@dataclass(frozen=True)
class Fitted:
    """A law with the way in, seconds from a client to the queue and back, and draws of both, by their uncertainty."""

    law: StepLaw
    way_in_s: float
    draws: tuple[tuple[StepLaw, float], ...] = ()

    def times(self, speed: float) -> Fitted:
        """The same where everything takes so many times as long."""
        scaled = [(_times(law, speed), way_s * speed) for law, way_s in self.draws]
        return Fitted(_times(self.law, speed), self.way_in_s * speed, tuple(scaled))

    def written(self) -> dict:
        """What a file keeps."""
        return {
            "law": list(self.law.params[:4]),
            "way_in_s": self.way_in_s,
            "draws": [[*law.params[:4], way_s] for law, way_s in self.draws],
        }

    @classmethod
    def read(cls, given: Mapping) -> Fitted:
        """The same again."""
        draws = tuple((StepLaw(*each[:4]), each[4]) for each in given["draws"])
        return cls(StepLaw(*given["law"]), given["way_in_s"], draws)


@dataclass(frozen=True)
class Measured:
    """A load that was measured: its requests, what the client wrote, how slow the machine was, 1 if unknown."""

    load: Load
    requests: Requests
    result: Mapping[str, list]
    slowness: float = 1.0


def fit(runs: Sequence[Measured]) -> Fitted:
    """The law and the way in under which a simulation gives these runs back."""
    steps = pd.concat([_steps(run) for run in runs], ignore_index=True)
    law = _untold(fit_steps(steps).law)
    stretch = np.arange(len(steps)) * STRETCHES // len(steps)
    draws = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once, of the whole
        for seed in range(DRAWS):
            taken = np.random.default_rng(seed).integers(STRETCHES, size=STRETCHES)
            drawn = _untold(fit_steps(pd.concat([steps[stretch == k] for k in taken], ignore_index=True)).law)
            draws.append((drawn, _way_in_s(runs, drawn)))
    return Fitted(law, _way_in_s(runs, law), tuple(draws))


def _steps(run: Measured) -> pd.DataFrame:
    result = run.result
    frame = pd.DataFrame(
        {
            "start_s": result["start_times"],
            "prompt_tokens": result["input_lens"],
            "ttft_s": result["ttfts"],
            "itl_s": list(map(np.array, result["itls"])),
        }
    )
    steps = steps_of(frame.sort_values("start_s", ignore_index=True))
    return steps.assign(step_s=steps["step_s"] / run.slowness)


def _way_in_s(runs: Sequence[Measured], law: StepLaw) -> float:
    """By how much first tokens come later than a simulation without it has them."""
    later = []
    for run in runs:
        simulated_s = simulated(run.load, run.requests, _times(law, run.slowness), 0.0)["ttft", "mean"]
        later.append((measured(run.result)["ttft", "mean"] - simulated_s) / run.slowness)
    return max(0.0, float(np.mean(later)))


def slowness(fitted: Fitted, bracket: Measured) -> float:
    """How many times as long as the law says everything took, by a bracket's mean time per output token."""
    wanted_s = measured(bracket.result)["tpot", "mean"]

    def late_s(log_speed: float) -> float:
        at = fitted.times(math.exp(log_speed))
        return simulated(bracket.load, bracket.requests, at.law, at.way_in_s)["tpot", "mean"] - wanted_s

    most = math.log(SLOWEST)
    ends = late_s(-most), late_s(most)
    if ends[0] >= 0 or ends[1] <= 0:
        return 1 / SLOWEST if ends[0] >= 0 else SLOWEST
    return math.exp(brentq(late_s, -most, most, xtol=1e-3))


def fit_bracketed(runs: Sequence[Measured], around: Sequence[tuple[Measured, Measured]]) -> Fitted:
    """As `fit`, of a machine that drifts: each run as slow as its brackets are, on average over all of them 1."""
    for _ in range(ROUNDS):
        fitted = fit(runs)
        slow = [math.sqrt(slowness(fitted, before) * slowness(fitted, after)) for before, after in around]
        middle = math.exp(np.mean(np.log(slow)))
        runs = [replace(run, slowness=each / middle) for run, each in zip(runs, slow, strict=True)]
    return fit(runs)


def _times(law: StepLaw, speed: float) -> StepLaw:
    return replace(law, **{name: value * speed for name, value in asdict(law).items() if name.endswith("_s")})


def _untold(law: StepLaw) -> StepLaw:
    """Without where it was measured: here it is used beyond that on purpose."""
    return StepLaw(*law.params[:4])
