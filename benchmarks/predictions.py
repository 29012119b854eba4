"""How often do predicted intervals hold what a benchmark then measures? On engines whose law and noise are known.

An engine's steps take what its law says, times the noise of each step, times a pace that is the run's own; requests are
some milliseconds on the way. One experiment puts some loads on such engines, fits one law to what their clients
measured, and predicts the times of another load with intervals of 95 %, before it is served by an engine of its own.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd

from simlib.calibration.loads import law
from simlib.calibration.loads.load import MeasuredLoad
from simlib.continuous.settings import Continuous
from simlib.latency.steps import NoisyLaw, StepLaw
from simlib.predicted import benchmarks
from simlib.requests.table import RequestTable
from simlib.simulation import simulate

TRUE = StepLaw(0.018, 0.00036, 0.00006, 2e-7, way_in_s=0.011)
ENGINE = Continuous(max_seqs=32, token_budget=512)
STEP_NOISE = 0.07
CASES = {  # rates of the loads that a law is fitted to, the rate that is predicted, drift between runs
    "two loads, no drift": ((4.0, 8.0), 11.0, 0.0),
    "four loads, no drift": ((4.0, 8.0, 6.0, 10.0), 9.0, 0.0),
    "five loads, drift 5 %": ((4.0, 8.0, 6.0, 4.0, 8.0), 7.0, 0.05),
}
JUDGED = [f"{metric} {statistic}" for metric in ("ttft", "tpot", "e2e") for statistic in ("mean", "p90")]


def load(
    rate_rps: float,
    requests: int,
    rng: np.random.Generator,
    *,
    true: StepLaw = TRUE,
    engine: Continuous = ENGINE,
    noise: float = STEP_NOISE,
    drift: float = 0.0,
    name: str = "synthetic",
) -> MeasuredLoad:
    """What clients measure of an engine with this law, noise of its steps, and a pace of its own."""
    arrival_s = np.cumsum(rng.exponential(1 / rate_rps, requests))
    table = RequestTable(arrival_s - arrival_s[0], rng.integers(30, 271, requests), rng.integers(12, 109, requests))
    base = StepLaw(*(true.params[:4] * np.exp(drift * rng.standard_normal())).tolist(), way_in_s=true.way_in_s)
    return of_run(simulate(table, "fcfs", NoisyLaw(base, noise, float(rng.random())), 1, engine), name)


def of_run(run: Any, name: str) -> MeasuredLoad:
    """What clients measure of a run: a token of each that decodes at the end of each step."""
    ends_s = (run.steps["start_s"] + run.steps["time_s"]).to_numpy()
    first_s, last_s = run.times.first_token_s, run.times.completion_s
    places = [np.searchsorted(ends_s, times_s - 1e-9) for times_s in (first_s, last_s)]
    columns = {name: getattr(run.table, name) for name in ("prompt_tokens", "output_tokens")}
    start_s = run.table.arrival_s
    gaps = [np.diff(ends_s[first : last + 1]) for first, last in zip(*places, strict=True)]
    return MeasuredLoad(name, pd.DataFrame({"start_s": start_s, **columns, "ttft_s": first_s - start_s, "itl_s": gaps}))


def experiment(fitted: tuple[float, ...], rate_rps: float, drift: float, seed: int, requests: int = 150) -> pd.Series:
    """Which of the numbers of `JUDGED` lie inside."""
    rng = np.random.default_rng(seed)
    loads = [load(rate, requests, rng, drift=drift, name=f"load {number}") for number, rate in enumerate(fitted)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = law.fit(loads, ENGINE, seed=seed).law
        rows = benchmarks.judged(load(rate_rps, requests, rng, drift=drift), found, ENGINE, seed=seed)
    inside = (rows["low"] <= rows["measured"]) & (rows["measured"] <= rows["high"])
    return pd.Series(inside.to_numpy(), rows["metric"] + " " + rows["statistic"])[JUDGED]


def coverage(case: str, experiments: int, seed: int = 0) -> pd.DataFrame:
    """Share of the experiments in which each number lies inside, with its standard error."""
    found = pd.DataFrame([experiment(*CASES[case], seed=seed + number) for number in range(experiments)]).astype(float)
    share = found.mean()
    error = np.sqrt(share * (1 - share) / experiments)
    return pd.DataFrame({"case": case, "number": share.index, "inside": share.to_numpy(), "error": error.to_numpy()})


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    for case in sys.argv[2:] or CASES:
        print(coverage(case, count).to_string(index=False))
