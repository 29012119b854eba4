"""Whole plans, rolled: a fleet planned on the past of a record, replayed on its next window, against hindsight's.

What `coverage` judges is the load that one fleet may be given; here `Planner.plan` chooses the fleet, of whole GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from book.chapters.planning.coverage import clustered, ratio
from book.chapters.planning.traffic import Record
from simlib.planning.demand import of_table
from simlib.planning.fleet import Engine
from simlib.planning.plan import Case, Configuration
from simlib.planning.planner import Planner
from simlib.planning.trials import Trials
from simlib.planning.windows import LABEL

MOST_GPUS = 8
MEMORY = 20  # windows that a plan looks back: they support 95 %, and more make it slow


def rolled(
    record: Record, one: Engine, sizes: Sequence[int], budget: int, wanted: str, first: int, every: int
) -> pd.DataFrame:
    """Plans of one record at some origins, and what becomes of the next window.

    Parameters
    ----------
    record : Record
    one : Engine
        Replicas of which are deployed.
    sizes : sequence of int
        Sequences that may run at once, to choose from.
    budget : int
        Tokens a step.
    wanted : str
        Objectives.
    first, every : int
        Windows before the first plan, at least 2, and how many later each next one is made, from `MEMORY` at most.

    Returns
    -------
    pandas.DataFrame
        ``windows, gpus, met, one_fleet, each_window``: windows before the plan; its GPUs, missing where none is found
        up to `MOST_GPUS`; whether the next window met all objectives; GPUs of the cheapest fleet with which, in
        hindsight, as many of the next windows meet them as was promised; and of the cheapest for the next one alone.
    """
    demand = of_table(record.table, record.name, record.window_s)
    number = demand.windows.table.labels[LABEL]
    rows, judge = [], None
    for count in range(first, len(demand.windows), every):
        ends = (int(np.flatnonzero(number == window)[0]) for window in (max(count - MEMORY, 0), count))
        past = record.table.rows(slice(*ends))
        planner = Planner(
            of_table(past, record.name, record.window_s),
            [one],
            wanted,
            max_gpus=MOST_GPUS,
            max_seqs=sizes,
            token_budgets=(budget,),
            k_bins=(1,),
        )
        judge = judge or Trials(demand, planner.objectives, 0.4)
        best = planner.plan().best
        met = best is not None and bool(judge.strains(Case(best, 0))[count] <= 1)
        rows.append({"windows": count, "gpus": np.nan if best is None else best.gpus, "met": met})
    found = pd.DataFrame(rows)
    return found.assign(**_hindsight(judge, one, sizes, budget, found, planner.confidence))


def _hindsight(
    judge: Trials, one: Engine, sizes: Sequence[int], budget: int, found: pd.DataFrame, share: float
) -> dict:
    """Fewest GPUs for all windows that a plan was made for, and for each of them."""
    planned = found["gpus"].notna().to_numpy()
    one_fleet, each = np.nan, np.full(len(found), np.nan)
    for replicas in range(1, MOST_GPUS // one.gpus + 1):
        cases = [Case(Configuration(one, replicas, size, budget), 0) for size in sizes]
        met = np.array([strains[found["windows"]] <= 1 for strains in judge.together(cases)])
        each = np.where(np.isnan(each) & met.any(axis=0), replicas * one.gpus, each)
        if np.isnan(one_fleet) and (met[:, planned].mean(axis=1) >= share).any():
            one_fleet = replicas * one.gpus
        if not np.isnan(each).any() and not np.isnan(one_fleet):
            break
    return {"one_fleet": one_fleet, "each_window": each}


def judged(each: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """How many plans held, and what they cost over hindsight, whole GPUs.

    Parameters
    ----------
    each : pandas.DataFrame
        As `rolled` gives them, with ``series``, a number of each record.
    by : sequence of str
        Columns whose values are judged apart.

    Returns
    -------
    pandas.DataFrame
        ``plans, records, no_plan, held, ci_low, ci_high, gpus, over_one, over_each``: plans made and origins without;
        the share of next windows that met every objective, with its 95 % interval, clustered by record (missing for
        one); the mean fleet; its GPUs over those of one fleet, and of one for each window, that hindsight would have
        had, where there is one.
    """
    rows = []
    for name, part in each.groupby(list(by), sort=False):
        made = part[part["gpus"].notna()]
        met = made["met"].groupby(made["series"])
        share, low, high = clustered(met.sum().to_numpy(), met.size().to_numpy())
        over = {}
        for column in ("one_fleet", "each_window"):
            there = made[made[column].notna()]
            over[column] = ratio(there["gpus"].sum(), there[column].sum())
        rows.append(
            dict(zip(by, name, strict=True))
            | {"plans": len(made), "records": met.ngroups, "no_plan": len(part) - len(made)}
            | {"held": share, "ci_low": low, "ci_high": high, "gpus": float(made["gpus"].mean())}
            | {"over_one": over["one_fleet"], "over_each": over["each_window"]}
        )
    return pd.DataFrame(rows)
