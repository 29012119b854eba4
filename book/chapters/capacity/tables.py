"""Tables of capacities, by scheduler and by number of GPUs, and of the conditions that decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from book.chapters.capacity.sensitivity import FACTORS, OUTCOMES
from book.kit.names import system
from book.kit.tables import as_texts, with_limits
from simlib.policies.plan import short_name
from simlib.text import interval, p_value, percent, signed

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def rate_of(row: Any) -> str:
    """A capacity with its interval."""
    return with_limits(row.capacity_rps, row.ci_low, row.ci_high, ".1f")


def show_capacities(table: pd.DataFrame) -> Styler:
    """Capacities with intervals, and what becomes of them in runs twice as long."""
    shown = pd.DataFrame(
        {
            "level": table["level"],
            "scheduler": table["policy"].map(short_name),
            "capacity, requests/s (95 % interval)": [rate_of(row) for row in table.itertuples()],
            "runs twice as long: times": [
                with_limits(row.doubled_ratio, row.doubled_ci_low, row.doubled_ci_high) for row in table.itertuples()
            ],
            "verdict": table["verdict"],
        }
    )
    return shown.style.hide(axis="index")


def show_ratios(ratios: pd.DataFrame) -> Styler:
    """How many times the load of another scheduler each carries."""
    shown = pd.DataFrame(
        {
            "level": ratios["level"],
            "scheduler": ratios["policy"].map(short_name),
            "over": ratios["over"].map(short_name),
            "capacity, times (95 % interval)": [
                with_limits(row.ratio, row.ci_low, row.ci_high) for row in ratios.itertuples()
            ],
            "correlation": as_texts(ratios["correlation"], signed),
            "samples": ratios["method"],
            "p (Holm)": [p_value(p) for p in ratios["p_holm"]],
        }
    )
    return shown.style.hide(axis="index")


def show_by_gpus(table: pd.DataFrame) -> Styler:
    """Capacities with intervals, a row a system, a column a number of GPUs and share of late requests."""
    shown = pd.DataFrame(
        {
            "system": [_system(row.execution, row.scheduler, row.k_bins) for row in table.itertuples()],
            "late": [f"{100 * share:g} %" for share in table["late_share"]],
            "GPUs": table["gpus"],
            "rate": [with_limits(row.capacity_rps, row.ci_low, row.ci_high, ".3g") for row in table.itertuples()],
        }
    )
    wide = shown.pivot_table(index=["late", "system"], columns="GPUs", values="rate", aggfunc="first", sort=False)
    return wide.reset_index().style.hide(axis="index")


def show_paired_ratios(ratios: pd.DataFrame) -> Styler:
    """Paired ratios of capacities."""
    shown = pd.DataFrame(
        {
            "GPUs": ratios["gpus"],
            "late": [f"{100 * share:g} %" for share in ratios["late_share"]],
            "system": [_system(row.execution, row.scheduler, row.k_bins) for row in ratios.itertuples()],
            "over": [_system(row.over_execution, row.over_scheduler, row.over_k_bins) for row in ratios.itertuples()],
            "ratio (95 % interval)": [times(row._asdict()) for row in ratios.itertuples()],
        }
    )
    return shown.style.hide(axis="index")


def _system(execution: str, scheduler: str, k_bins: int) -> str:
    return system(execution, scheduler) + (f", K = {k_bins}" if k_bins > 1 else "")


def times(row: Any) -> str:
    """A ratio of capacities with its interval: how many times as much."""
    return f"{row['ratio']:.3f} times, {row['ci_low']:.3f} to {row['ci_high']:.3f}"


def show_factors() -> Styler:
    """The box: each factor with its range."""
    rows = [
        {"factor": factor.label, "from": f"{factor.low:g}", "to": f"{factor.high:g}"}
        | {"uniform in": "its logarithm" if factor.log else "itself"}
        for factor in FACTORS.values()
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


def show_indices(indices: pd.DataFrame) -> Styler:
    """Total indices with their intervals, one row a factor, one column an outcome."""
    totals = indices[indices["index"] == "total"].sort_values("value", ascending=False)
    order = list(totals.loc[totals["outcome"] == next(iter(OUTCOMES)), "factor"])
    texts = {(row.factor, row.outcome): _range(row) for row in totals.itertuples()}
    shown = [
        {"factor": FACTORS[name].label} | {title: texts[name, key] for key, title in OUTCOMES.items()} for name in order
    ]
    return pd.DataFrame(shown).style.hide(axis="index")


def _range(row: Any) -> str:
    return f"{percent(row.value, 0)} ({interval(row.ci_low, row.ci_high, 0)})"
