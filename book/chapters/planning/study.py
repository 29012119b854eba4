"""How good are plans? What a planner chose against all that it could have, on requests that it never saw.

The load that a configuration bears is a root, found on each draw, or for each window of a record
(`planning.trials.Trials.borne`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.checks import check_integer, check_type
from simlib.planning.demand import Demand, of_table
from simlib.planning.plan import Case
from simlib.planning.planner import Planner
from simlib.requests.table import RequestTable
from simlib.stats import intervals

if TYPE_CHECKING:
    import pandas as pd


HELD_OUT = 500_000  # seeds of the draws begin here, between those that choose and those that confirm


def halves(table: RequestTable, name: str, window_s: float) -> tuple[Demand, Demand]:
    """A trace's first half, to plan by, and its second half, to be judged by.

    Raises
    ------
    InputError
        If a half is too short (`planning.demand.of_table`).
    """
    middle = len(table) // 2
    parts = (("first", slice(0, middle)), ("second", slice(middle, None)))
    first, second = (of_table(table.rows(part), f"{which} half of {name}", window_s) for which, part in parts)
    return first, second


def regret(asked: Mapping[str, tuple[Planner, Demand]], draws: int = 8) -> pd.DataFrame:
    """The load that each plan bears, against the best of all configurations with as many GPUs.

    Parameters
    ----------
    asked : mapping of str to (Planner, Demand)
        By name: who plans, and the demand that judges; its seeds are held out in any case.
    draws : int
        Held-out draws, at least 2.

    Returns
    -------
    pandas.DataFrame
        ``demand, gpus, configurations, chosen, best, chosen_load, best_load, lost_share, ci_low, ci_high, draws,
        runs``: loads are geometric means over draws, or windows, of the largest multiple of the demand that meets the
        objectives, the share lost is one minus their paired ratio. Where no plan was found, the nearest is judged.

    Raises
    ------
    InputError
        If an argument is bad, or as `Planner.plan`.
    """
    import pandas as pd

    check_type("asked", asked, Mapping, "planners and demands by name")
    check_integer("draws", draws, 2)
    rows: list[dict[str, Any]] = []
    for name, (planner, demand) in asked.items():
        plan = planner.plan()
        judge = replace(planner, demand=demand)
        every = judge.configurations(plan.nearest.gpus)
        seeds = range(HELD_OUT, HELD_OUT + draws)
        if demand.recorded:  # its windows are the draws
            seeds = seeds[:1]
        borne = {each: np.concatenate([judge.trials.borne(Case(each, seed)) for seed in seeds]) for each in every}
        best = max(every, key=lambda each: borne[each].mean())
        lost = intervals.mean_interval(borne[best] - borne[plan.nearest])
        rows.append(
            {
                "demand": name,
                "gpus": plan.nearest.gpus,
                "configurations": len(every),
                "chosen": str(plan.nearest),
                "best": str(best),
                "chosen_load": np.exp(borne[plan.nearest].mean()),
                "best_load": np.exp(borne[best].mean()),
                "lost_share": -np.expm1(-lost.mean),
                "ci_low": -np.expm1(-lost.ci_low),
                "ci_high": -np.expm1(-lost.ci_high),
                "draws": len(borne[best]),
                "runs": plan.runs,
            }
        )
    return pd.DataFrame(rows)
