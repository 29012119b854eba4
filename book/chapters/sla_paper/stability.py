"""At which load a controller starves itself: bisected, by rule, by what it is fed with, and by where it starts.

A run has collapsed if it completes clearly less than a static cap that meets the deadline does on the same requests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.sla_paper.control import capacity_rps, floor_batch, sla_batch
from book.chapters.sla_paper.rules import A_S, BETA_S, D_SLA, LAW, OPEN, RULES
from simlib.checks import check_integer
from simlib.continuous.control import StepControl
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.requests.table import RequestTable
from simlib.stats.estimates import as_row
from simlib.stats.intervals import mean_interval

if TYPE_CHECKING:
    import pandas as pd


COLLAPSED = 0.9  # completions, of the static cap's: less is a collapse
LOADS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
HALVINGS = 4  # of the interval between two loads: to a hundredth of the load
RESAMPLES = 1000
CONTROLLERS = (
    *({"sla": rule, "feedback": "step"} for rule in RULES),
    *({"sla": rule, "feedback": fed} for fed in ("service", "latency") for rule in RULES[:-1]),
)
VARIANTS = (
    *({"sla": "paper", "feedback": "step", **one} for one in ({"alpha": 4}, {"delta": 20}, {"window_steps": 256})),
    *(
        {"sla": "paper", "feedback": "latency", **one}
        for one in ({"alpha": 4}, {"alpha": 60}, {"delta": 1}, {"delta": 20}, {"window_requests": 8},
                    {"window_requests": 512})
    ),
)  # fmt: skip
CHANGES = {"alpha": "α = {}", "delta": "δ = {}", "window_steps": "window of {} steps",
           "window_requests": "window of {} requests"}  # fmt: skip


def collapse_loads(
    controls: Sequence[dict[str, Any]] = CONTROLLERS,
    loads: Sequence[float] = LOADS,
    requests: int = 4000,
    backlog: int = 300,
    mean_output: float = 200.0,
    replications: int = 20,
    seed: int = 1,
) -> pd.DataFrame:
    """The least load at which half of the runs collapse, from empty and from a backlog, by controller.

    Runs of all controllers, starts and loads face the same requests; what is resampled are replications.

    Parameters
    ----------
    controls : sequence of dict
        Arguments of `StepControl`, but its deadline: 50 ms a step, or with feedback of requests' times that times the
        mean output; the tolerance is a fiftieth of it.
    loads : sequence of float
        Arrival rates, ascending, as shares of what a batch of (D - a) / beta completes. The interval before the first
        one at which half of the runs collapse is halved `HALVINGS` times.
    requests, backlog : int
        That arrive in a run, and that wait at its start in one from a backlog.

    Returns
    -------
    pandas.DataFrame
        A row a controller and start: ``collapse_load, ci_low, ci_high``, from a bootstrap; where half of the runs
        collapse at none of the loads, the load is missing and its interval begins at the largest of them. And of the
        largest load the share of runs that collapse, ``fallen_share``, and what is completed over what the static cap
        completes, ``kept_up, kept_ci_low, kept_ci_high``, and over what the floor of `control` does, ``of_floor``.
    """
    import pandas as pd

    requests = check_integer("requests", requests, 100)
    replications = check_integer("replications", replications, 2)
    rows = []
    for given in controls:
        control = _control(given, mean_output)
        engine = replace(OPEN, control=control)
        floor = floor_batch(1, control.alpha) if control.sla in ("paper", "printed") else 1
        floor_share = _most_rps(mean_output, floor) / _most_rps(mean_output)
        for start, waiting in (("empty", 0), ("backlog", backlog)):

            def kept(load: float, engine: Continuous = engine, waiting: int = waiting) -> np.ndarray:
                runs = ((load, requests, waiting, mean_output, seed + r) for r in range(replications))
                return np.array([_completed(engine, *run) / _completed_by_static(*run) for run in runs])

            found = bisected(kept, loads)
            about = {name: getattr(control, name) for name in ("sla", "feedback")}
            about |= {"changed": _changed(given), "requests": requests, "start": start}
            about |= half_fallen({load: share < COLLAPSED for load, share in found.items()}, seed)
            last = found[loads[-1]]
            rows.append(
                about
                | {"fallen_share": float((last < COLLAPSED).mean())}
                | as_row(mean_interval(last), "kept_up", "kept_")
                | {"of_floor": float(last.mean() * loads[-1] / floor_share), "replications": replications}
            )
    return pd.DataFrame(rows)


def _control(given: dict[str, Any], mean_output: float) -> StepControl:
    scale = mean_output if given.get("feedback", "step") in ("service", "latency") else 1.0
    return StepControl(**({"target_s": D_SLA * scale, "epsilon_s": D_SLA * scale / 50, "interval_steps": 4} | given))


def _changed(given: dict[str, Any]) -> str:
    return ", ".join(CHANGES[name].format(value) for name, value in given.items() if name in CHANGES)


def _most_rps(mean_output: float, batch: float | None = None) -> float:
    """What a batch completes; by default the one whose step takes the deadline."""
    return capacity_rps(A_S, BETA_S, mean_output, sla_batch(A_S, BETA_S, D_SLA) if batch is None else batch)


def _completed(engine: Continuous, load: float, requests: int, backlog: int, mean_output: float, seed: int) -> int:
    """Completions in the second half of the time in which requests arrive."""
    rng = np.random.default_rng(seed)
    arrival_s = np.r_[np.zeros(backlog), np.cumsum(rng.exponential(1.0, requests)) / (load * _most_rps(mean_output))]
    outputs = rng.geometric(1 / mean_output, requests + backlog)[::-1]  # the same ones for the same arrivals
    table = RequestTable(arrival_s, np.zeros(len(arrival_s), int), outputs)
    done_s, end_s = serve(table, LAW, engine).completion_s, arrival_s[-1]
    return int(((done_s > end_s / 2) & (done_s <= end_s)).sum())


@cache
def _completed_by_static(*run: Any) -> int:
    return _completed(replace(OPEN, max_seqs=int(sla_batch(A_S, BETA_S, D_SLA))), *run)


def bisected(kept: Any, loads: Sequence[float]) -> dict[float, np.ndarray]:
    """What was kept up at each load, and between those two where half of the runs begin to collapse."""
    found = {load: kept(load) for load in loads}
    half = [load for load in loads if (found[load] < COLLAPSED).mean() >= 0.5]
    if half:
        low, high = max((load for load in loads if load < half[0]), default=0.0), half[0]
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            found[middle] = kept(middle)
            low, high = (low, middle) if (found[middle] < COLLAPSED).mean() >= 0.5 else (middle, high)
    return found


def half_fallen(fallen: dict[float, np.ndarray], seed: int) -> dict[str, float]:
    """The least load at which half of the runs have fallen, with a bootstrap over replications."""
    loads = np.array([0.0, *sorted(fallen)])
    runs = np.array([np.zeros(len(fallen[loads[-1]]), bool), *(fallen[load] for load in loads[1:])])
    chosen = np.random.default_rng(seed).integers(runs.shape[1], size=(RESAMPLES, runs.shape[1]))
    again = [half_load(loads, runs[:, one].mean(axis=1)) for one in chosen]
    low, high = (float(np.quantile(again, q, method="nearest")) for q in (0.025, 0.975))
    at = half_load(loads, runs.mean(axis=1))
    known = {"collapse_load": at, "ci_low": min(low, loads[-1]), "ci_high": high}
    return {name: load if math.isfinite(load) else math.nan for name, load in known.items()}


def half_load(loads: np.ndarray, shares: np.ndarray) -> float:
    """Where a share that begins below a half first reaches it, on a line between loads; infinite if nowhere.

    Examples
    --------
    >>> half_load(np.array([0.0, 0.25, 0.5]), np.array([0.0, 0.25, 0.75]))
    0.375
    """
    reached = np.flatnonzero(shares >= 0.5)
    if not len(reached):
        return math.inf
    pair = slice(reached[0] - 1, reached[0] + 1)
    return float(np.interp(0.5, shares[pair], loads[pair]))
