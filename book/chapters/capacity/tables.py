"""From capacities to sentences and tables: how much load each scheduler carries, and what speaks against the figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from book.chapters.capacity.sensitivity import FACTORS, OUTCOMES
from book.chapters.continuous.tables import name_of
from book.kit.tables import as_texts
from simlib.levels import p_value_text
from simlib.policies.plan import short_name
from simlib.text import interval, percent, signed

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def capacity(row: Any) -> str:
    return f"{row.capacity_rps:.1f} ({row.ci_low:.1f} to {row.ci_high:.1f})"


def show_capacities(table: pd.DataFrame) -> Styler:
    """Capacities with intervals, and what becomes of them in runs twice as long."""
    shown = pd.DataFrame(
        {
            "level": table["level"],
            "scheduler": table["policy"].map(short_name),
            "capacity, requests/s (95 % interval)": [capacity(row) for row in table.itertuples()],
            "runs twice as long: times": [
                f"{row.doubled_ratio:.3f} ({row.doubled_ci_low:.3f} to {row.doubled_ci_high:.3f})"
                for row in table.itertuples()
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
                f"{row.ratio:.3f} ({row.ci_low:.3f} to {row.ci_high:.3f})" for row in ratios.itertuples()
            ],
            "correlation": as_texts(ratios["correlation"], signed),
            "samples": ratios["method"],
            "p (Holm)": [p_value_text(p) for p in ratios["p_holm"]],
        }
    )
    return shown.style.hide(axis="index")


def show_deadline_capacities(table: pd.DataFrame) -> Styler:
    """Capacities with intervals, a row a system, a column a number of GPUs and share of late requests."""
    shown = pd.DataFrame(
        {
            "system": [
                name_of(row.execution, row.scheduler) + (f", K = {row.k_bins}" if row.k_bins > 1 else "")
                for row in table.itertuples()
            ],
            "late": [f"{100 * share:g} %" for share in table["late_share"]],
            "GPUs": table["gpus"],
            "rate": [f"{row.capacity_rps:.3g} ({row.ci_low:.3g} to {row.ci_high:.3g})" for row in table.itertuples()],
        }
    )
    wide = shown.pivot_table(index=["late", "system"], columns="GPUs", values="rate", aggfunc="first", sort=False)
    return wide.reset_index().style.hide(axis="index")


def show_deadline_ratios(ratios: pd.DataFrame) -> Styler:
    """Paired ratios of capacities."""
    shown = pd.DataFrame(
        {
            "GPUs": ratios["gpus"],
            "late": [f"{100 * share:g} %" for share in ratios["late_share"]],
            "system": [_system(row.execution, row.scheduler, row.k_bins) for row in ratios.itertuples()],
            "over": [_system(row.over_execution, row.over_scheduler, row.over_k_bins) for row in ratios.itertuples()],
            "ratio (95 % interval)": [ratio(row._asdict()) for row in ratios.itertuples()],
        }
    )
    return shown.style.hide(axis="index")


def _system(execution: str, scheduler: str, k_bins: int) -> str:
    return name_of(execution, scheduler) + (f", K = {k_bins}" if k_bins > 1 else "")


def ratio(row: Any) -> str:
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
