"""Which limits an engine had that nobody told: those under which its benchmark is given back best."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from simlib.calibration.loads.load import MeasuredLoad
from simlib.calibration.loads.steps import rebuilt
from simlib.calibration.step_fit import Steps, solve
from simlib.continuous.settings import Continuous
from simlib.latency.law_file import NAMES, TERMS
from simlib.latency.steps import StepLaw
from simlib.lazy import pd

SEQUENCES, BUDGETS, IN_FLIGHT = 256, (512, 2048, 8192), (1, 2)
COLUMNS = ("steps", *TERMS, "alone")  # what `law_file.NAMES` and the way in are multiplied by


def regression(
    loads: Sequence[MeasuredLoad], settings: Continuous, way_in_s: float = 0.0
) -> tuple[pd.DataFrame, Steps]:
    """The steps of all loads under these limits, each with the number of its ``load``; and the same as a regression."""
    rows = [rebuilt(load.requests, settings, way_in_s).assign(load=number) for number, load in enumerate(loads)]
    steps = pd.concat(rows, ignore_index=True)
    return steps, Steps(*(steps[name].to_numpy(float) for name in (list(COLUMNS), "step_s", "weight")))


def likeliest(
    loads: Sequence[MeasuredLoad],
    max_seqs: int | None = None,
    token_budget: int | None = None,
    in_flight: int | None = None,
) -> tuple[Continuous, str]:
    """The limits, those not given such that times to the first token are given back best; and what was assumed.

    Candidates are the usual tokens of a step, one step and two in flight, and as many sequences as were there at once.
    """
    most = max(load.most_at_once for load in loads)
    choices = {
        "max_seqs": (max(SEQUENCES, most), most) if max_seqs is None else (max_seqs,),
        "token_budget": BUDGETS if token_budget is None else (token_budget,),
        "steps_in_flight": IN_FLIGHT if in_flight is None else (in_flight,),
    }
    candidates = [Continuous(**dict(zip(choices, values, strict=True))) for values in product(*choices.values())]
    if len(candidates) == 1:
        return candidates[0], ""
    best = min(candidates, key=lambda settings: _misfit(loads, settings))
    told = ", ".join(f"{name} {getattr(best, name)}" for name, values in choices.items() if len(values) > 1)
    return best, f"the engine's limits, as far as they were not given: {told} (they give the benchmark back best)"


def _misfit(loads: Sequence[MeasuredLoad], settings: Continuous) -> float:
    """How far first tokens are from simulated ones, by a law fitted under these limits, as a share of their spread."""
    if any(load.most_at_once > min(settings.max_seqs, settings.token_budget) for load in loads):
        return np.inf
    _, data = regression(loads, settings)
    law, found = StepLaw(*solve(data)[: len(NAMES)].tolist()), []
    for load in loads:
        beyond_s = load.beyond_s(law, settings)
        found.append(np.mean((beyond_s - max(float(np.median(beyond_s)), 0.0)) ** 2) / max(load.ttft_s.var(), 1e-12))
    return float(np.sum(found))


def way_in_s(loads: Sequence[MeasuredLoad], settings: Continuous) -> float:
    """About how long requests are on their way to the queue, by a first law: half of all first tokens took longer."""
    law = StepLaw(*solve(regression(loads, settings)[1])[: len(NAMES)].tolist())
    return max(float(np.median(np.concatenate([load.beyond_s(law, settings) for load in loads]))), 0.0)
