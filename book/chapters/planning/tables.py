"""A plan as a table, and what plans lose against the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simlib.planning import report
from simlib.planning.plan import Plan
from simlib.text import interval, percent

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def table_of(plan: Plan) -> pd.DataFrame:
    """A plan as a tidy table, one row an objective and one for the headroom."""
    chosen = plan.nearest
    rows = [
        {"quantity": one.name, "limit_s": one.limit_s, **_numbers(plan.values_s[one.name])}
        for one in plan.planner.objectives
    ]
    if plan.headroom is not None:
        rows.append({"quantity": "headroom", **_numbers(plan.headroom)})
    columns = {
        "engine": chosen.engine.name,
        "replicas": chosen.replicas,
        "gpus": chosen.gpus,
        "max_num_seqs": chosen.max_seqs,
        "max_num_batched_tokens": chosen.token_budget,
        "k_bins": chosen.k_bins,
        "met": plan.best is not None,
    }
    return pd.DataFrame(rows).assign(**columns)


def show(plan: Plan) -> Styler:
    """The plan, one row a matter."""
    return pd.DataFrame(report.rows(plan), columns=["", "plan"]).style.hide(axis="index")


def show_regret(table: pd.DataFrame) -> Styler:
    """What each plan bears, against the best of as many GPUs."""
    shown = pd.DataFrame(
        {
            "Demand": table["demand"],
            "GPUs": table["gpus"],
            "Configurations": table["configurations"],
            "Plan bears": [f"{load:.2f}" for load in table["chosen_load"]],
            "Best bears": [f"{load:.2f}" for load in table["best_load"]],
            "Lost": [f"{percent(row.lost_share)} ({interval(row.ci_low, row.ci_high)})" for row in table.itertuples()],
        }
    )
    return shown.style.hide(axis="index")


def _numbers(value: object) -> dict[str, float]:
    return {"mean": value.mean, "ci_low": value.ci_low, "ci_high": value.ci_high, "replications": value.replications}
