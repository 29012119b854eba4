"""From capacities under a deadline to sentences and tables: where bins pay, and what the engine carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables
from simlib.reading import established
from simlib.reading.executions import name_of
from simlib.studies.executions import BATCHES, STEPS

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["SAME", "answer", "engine", "equivalence", "headline", "joint", "show_capacities", "show_ratios"]

SAME = 0.02  # capacities that differ by less are taken for the same


@reads_tables
def answer(ratios: pd.DataFrame) -> str:
    """By number of GPUs, whether some number of bins carries more than none, and what the wrong one costs."""
    sentences = []
    for gpus, rows in _bins(ratios, BATCHES).groupby("gpus", sort=True):
        gains = rows[[established(row) and row.ratio > 1 for row in rows.itertuples()]]
        losses = rows[[established(row) and row.ratio < 1 for row in rows.itertuples()]]
        name = f"{gpus} GPU{'s' if gpus > 1 else ''}"
        told = [f"{word} with {_extreme(found, best)}" for word, found, best in _words(gains, losses) if len(found)]
        sentences.append(f"On {name} bins {' and '.join(told) or 'are not shown to matter'}.")
    return " ".join(sentences)


@reads_tables
def headline(ratios: pd.DataFrame) -> str:
    """What a middling number of bins is worth on the fewest and on the most GPUs, and what the best of all are."""
    batches, joint = _bins(ratios, BATCHES), _bins(ratios, BATCHES, "joint_optimum")
    share, k = ratios["late_share"].max(), sorted(batches["k_bins"].unique())[batches["k_bins"].nunique() // 2]
    own = batches[(batches["late_share"] == share) & (batches["k_bins"] == k)].sort_values("gpus")
    few, many = own.iloc[0], own.iloc[-1]
    best = joint.loc[joint["ratio"].idxmax()]
    return (
        f"Bins need GPUs: with {100 * share:g} % late, {k} bins carry {_ratio(few)}, of the load of none on "
        f"{few['gpus']} GPU{'s' if few['gpus'] > 1 else ''} and {_ratio(many)}, on {many['gpus']}; at most "
        f"{best['k_bins']}, chosen with their batch sizes, carry {_ratio(best)}, on {best['gpus']}."
    )


@reads_tables
def joint(ratios: pd.DataFrame) -> str:
    """Bins and batch sizes chosen together, by number of GPUs: the best over none, in batches and on an engine."""
    rows, told = _bins(ratios, BATCHES, "joint_optimum"), []
    for gpus, own in rows.groupby("gpus", sort=True):
        best = own.loc[own["ratio"].idxmax()]
        told.append(f"{gpus} GPU{'s' if gpus > 1 else ''}: at most K = {best['k_bins']} ({_ratio(best)})")
    steps = _bins(ratios, STEPS, "joint_optimum")
    worst, best = (steps.loc[pick(steps["ratio"])] for pick in (pd.Series.idxmin, pd.Series.idxmax))
    return (
        f"Bins and batch sizes chosen together, over none, by number of GPUs: {'; '.join(told)}. An engine that takes "
        f"the requests in the order of such bins, one after the other, carries {_ratio(worst)}, to {_ratio(best)}, of "
        "what it carries first come, first served."
    )


def _words(gains: pd.DataFrame, losses: pd.DataFrame) -> list[tuple[str, pd.DataFrame, bool]]:
    return [("carry more, most", gains, True), ("carry less, least", losses, False)]


def _extreme(rows: pd.DataFrame, largest: bool) -> str:
    row = rows.loc[rows["ratio"].idxmax() if largest else rows["ratio"].idxmin()]
    return f"K = {row['k_bins']} at {100 * row['late_share']:g} % late ({_ratio(row)})"


@reads_tables
def equivalence(ratios: pd.DataFrame) -> str:
    """On an engine: of how many comparisons the interval lies within 2 % of no change, or leaves it out."""
    rows = _bins(ratios, STEPS)
    same = int(((rows["ci_low"] > 1 - SAME) & (rows["ci_high"] < 1 + SAME)).sum())
    other = rows[[established(row) for row in rows.itertuples()]]
    furthest = rows.loc[(rows["ratio"] - 1).abs().idxmax()]
    shown = "none is shown to differ" if other.empty else f"{len(other)} differ by pairs, after Holm's correction"
    return (
        f"Under continuous batching the order of the bins changes little: of {len(rows)} comparisons with first come, "
        f"first served {same} are equivalent within {SAME:.0%}, {shown}, and the furthest mean ratio is "
        f"{_ratio(furthest)}."
    )


@reads_tables
def engine(ratios: pd.DataFrame) -> str:
    """How much more an engine carries than its counterpart among the schedulers."""
    rows = ratios[(ratios["execution"] == STEPS) & (ratios["over_execution"] == BATCHES)]
    told = []
    for (scheduler, over), own in rows.groupby(["scheduler", "over_scheduler"], sort=False):
        low, high = own["ratio"].min(), own["ratio"].max()
        told.append(f"{name_of(STEPS, scheduler)} {low:.1f} to {high:.1f} times the load of {over}")
    return f"The engine carries more at every number of GPUs: {'; '.join(told)}."


@reads_tables
def show_capacities(table: pd.DataFrame) -> Styler:
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


@reads_tables
def show_ratios(ratios: pd.DataFrame) -> Styler:
    """Paired ratios of capacities."""
    shown = pd.DataFrame(
        {
            "GPUs": ratios["gpus"],
            "late": [f"{100 * share:g} %" for share in ratios["late_share"]],
            "system": [_system(row.execution, row.scheduler, row.k_bins) for row in ratios.itertuples()],
            "over": [_system(row.over_execution, row.over_scheduler, row.over_k_bins) for row in ratios.itertuples()],
            "ratio (95 % interval)": [_ratio(row._asdict()) for row in ratios.itertuples()],
        }
    )
    return shown.style.hide(axis="index")


def _system(execution: str, scheduler: str, k_bins: int) -> str:
    return name_of(execution, scheduler) + (f", K = {k_bins}" if k_bins > 1 else "")


def _bins(ratios: pd.DataFrame, execution: str, scheduler: str = "multi_bin_dynamic") -> pd.DataFrame:
    """What that many bins are worth over none."""
    binned = (ratios["scheduler"] == scheduler) & (ratios["k_bins"] > ratios["over_k_bins"])
    return ratios[binned & (ratios["execution"] == execution)]


def _ratio(row: Any) -> str:
    return f"{row['ratio']:.3f} times, {row['ci_low']:.3f} to {row['ci_high']:.3f}"
