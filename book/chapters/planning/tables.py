"""A plan as a table, and what plans lose against the best."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from simlib.planning import report
from simlib.planning.plan import Configuration, Plan
from simlib.planning.whatif.frontier import of_way
from simlib.text import interval, percent, signed

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


PARTS = {"ttft": "time to the first token", "tpot": "time between tokens", "latency": "latency"}
STATISTICS = {
    "mean": "mean",
    "p50": "median",
    "p90": "90th percentile",
    "p95": "95th percentile",
    "p99": "99th percentile",
}


def objective(name: str) -> str:
    """An objective in words: ``ttft_p99`` is the time to the first token, 99th percentile."""
    part, _, statistic = name.rpartition("_")
    return f"{PARTS[part]}, {STATISTICS.get(statistic, statistic)}" if part in PARTS else name


def table_of(plan: Plan) -> pd.DataFrame:
    """A plan as a tidy table, one row an objective and one for the load."""
    chosen, load = plan.nearest, plan.allowed
    rows = [
        {"quantity": one.name, "limit_s": one.limit_s, **plan.values_s[one.name]._asdict()}
        for one in plan.planner.objectives
    ]
    rows.append({"quantity": "load", "low": load.low, "middle": load.middle, "high": load.high, "allowed": load.load})
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
    """The plan, one row a matter, objectives by their names."""
    told = [(objective(name), said) for name, said in report.rows(plan)]
    return pd.DataFrame(told, columns=["", "plan"]).style.hide(axis="index")


def show_steps(frontier: pd.DataFrame, chosen: Configuration) -> Styler:
    """What each step from the plan costs: other sequences with its budget, other budgets with its sequences."""
    own = of_way(frontier, chosen).query("measured")
    parts = []
    for name, what, kept in (
        ("max_seqs", "sequences", own["token_budget"] == chosen.token_budget),
        ("token_budget", "tokens a step", own["max_seqs"] == chosen.max_seqs),
    ):
        rows = own[kept].sort_values(name)
        step = rows["load"].pct_change()
        parts.append(
            pd.DataFrame(
                {
                    "at most": [f"{value:,} {what}" for value in rows[name]],
                    "may be given": [f"{load:.2f}" for load in rows["load"]],
                    "over the step below": [
                        "" if change != change else f"{signed(100 * change, 0)} %".replace("−0 ", "+0 ")
                        for change in step
                    ],
                    "limits": ["hold" if holds else "do not hold" for holds in rows["holds"]],
                    "gives way first": ["–" if limit != limit else objective(limit) for limit in rows["limit"]],
                }
            )
        )
    return pd.concat(parts).style.hide(axis="index")


def show_regret(table: pd.DataFrame) -> Styler:
    """What each plan bears, against the best of as many GPUs: multiples of its demand."""
    lost = [f"{percent(row.lost_share)} ({interval(row.ci_low, row.ci_high)})" for row in table.itertuples()]
    shown = pd.DataFrame(
        {
            "demand": [f"{row.demand} ({row.gpus} GPU{'s' * (row.gpus > 1)})" for row in table.itertuples()],
            "plan bears": [f"{load:.2f}" for load in table["chosen_load"]],
            "best bears": [f"{load:.2f}" for load in table["best_load"]],
            "lost": [text.replace("-", "−") for text in lost],
        }
    )
    return shown.style.hide(axis="index")


def show_held(table: pd.DataFrame) -> Styler:
    """How often plans held, how good their intervals were, what they cost: one row a kind of traffic."""
    shown = pd.DataFrame(
        {
            "traffic": _traffic(table),
            "plans": [f"{pairs:,}" for pairs in table["pairs"]],
            "no plan": table["no_plan"],
            "held": _held(table),
            "score, of the plain rule's": [f"{ratio:.2f}" for ratio in table["score_ratio"]],
            "GPU-hours over one load": _over_one(table),
            "price of the promise": more(table["promise"]),
            "over each window": more(table["over_each"]),
        }
    )
    return shown.style.hide(axis="index")


def show_rolled(table: pd.DataFrame) -> Styler:
    """How many whole plans held, and their GPUs over hindsight's: one row a kind of traffic."""
    shown = pd.DataFrame(
        {
            "traffic": _traffic(table),
            "plans": table["plans"],
            "no plan": table["no_plan"],
            "met every objective": _held(table),
            "GPUs of a plan": [f"{gpus:.1f}" for gpus in table["gpus"]],
            "over one fleet": more(table["over_one"]),
            "over each window": more(table["over_each"]),
        }
    )
    return shown.style.hide(axis="index")


def _over_one(table: pd.DataFrame) -> list[str]:
    told, lows, highs = (more(table[name]) for name in ("over_one", "over_low", "over_high"))
    between = ["" if low == "–" else f" ({low} to {high})" for low, high in zip(lows, highs, strict=True)]
    return [each + ends for each, ends in zip(told, between, strict=True)]


def _traffic(table: pd.DataFrame) -> list[str]:
    return [f"{row.traffic}, {row.kind}" for row in table.itertuples()]


def _held(table: pd.DataFrame) -> list[str]:
    between = ["" if pd.isna(row.ci_low) else f" ({interval(row.ci_low, row.ci_high)})" for row in table.itertuples()]
    return [percent(share) + more for share, more in zip(table["held"], between, strict=True)]


def more(ratios: Iterable[float]) -> list[str]:
    """By how much ratios exceed 1, as text: ``+7 %``."""
    return ["–" if pd.isna(ratio) else f"{signed(100 * ratio - 100, 0)} %".replace("−0 ", "+0 ") for ratio in ratios]
