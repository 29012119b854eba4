"""How should a fleet form its batches under these limits? Token budget against sequences: where the promise holds.

Each pair is a configuration, judged like any other (`planning.allowed`). Beside the load that it may be given stands
what gives way first there: at few sequences requests wait for a place, at many their tokens are slow; a small budget
keeps prompts waiting, a large one stops those that decode.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from simlib.lazy import pd
from simlib.planning import objectives
from simlib.planning.plan import Asked, Case, Configuration

MAX_SEQS = (8, 16, 32, 64, 128, 256)
TOKEN_BUDGETS = (256, 512, 1024, 2048, 4096, 8192)
FINE = 0.05  # as `planning.trials.FINE`
JUST = 1.02  # beyond what may be given, where something gives way


def frontier(
    planner: Asked,
    fleet: Configuration,
    max_seqs: Sequence[int] = MAX_SEQS,
    token_budgets: Sequence[int] = TOKEN_BUDGETS,
    k_bins: Sequence[int] = (1,),
) -> pd.DataFrame:
    """What a fleet may be given, by how it forms its batches.

    Parameters
    ----------
    planner : Planner or another who is `Asked`
        Whose demand, objectives and promise.
    fleet : Configuration
        Its engine and replicas stay.
    max_seqs, token_budgets, k_bins : sequence of int
        Of which all pairs are tried, but those with more sequences than tokens.

    Returns
    -------
    pandas.DataFrame
        ``k_bins, token_budget, max_seqs, load, holds, limit, lost_share``: the load that it may be given, a multiple of
        the demand's; whether that is 1 or more; the objective that gives way first; and how much less that load is than
        the most in the table.
    """
    each = [
        replace(fleet, max_seqs=seqs, token_budget=budget, k_bins=bins)
        for bins, budget, seqs in itertools.product(k_bins, token_budgets, max_seqs) if seqs <= budget
    ]  # fmt: skip
    for chosen in each:
        for seed in planner.seeds(chosen, 1):
            planner.trials.requests(seed)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        loads = np.array(list(pool.map(lambda one: planner.allowed(one, planner.seeds(one, 1), FINE).load, each)))
        limits = list(pool.map(lambda pair: _limit(planner, *pair), zip(each, loads, strict=True)))
    return pd.DataFrame(
        {
            "k_bins": [one.k_bins for one in each],
            "token_budget": [one.token_budget for one in each],
            "max_seqs": [one.max_seqs for one in each],
            "load": loads,
            "holds": loads >= 1,
            "limit": limits,
            "lost_share": 1 - loads / loads.max(),
        }
    )


def _limit(planner: Asked, chosen: Configuration, load: float) -> str:
    """The objective that is nearest to its limit, or furthest beyond, a little above the load that may be given."""
    case = Case(chosen, planner.seeds(chosen, 1)[0], JUST * load * planner.margin)
    values = planner.trials.values_s(case)
    return max(planner.objectives, key=lambda one: objectives.strain(values, [one])[-1]).name
