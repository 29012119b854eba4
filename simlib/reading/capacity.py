"""From capacities to sentences and tables: how much load each scheduler carries, and what speaks against the figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib import capacity
from simlib.checks import reads_tables
from simlib.notebook import signed
from simlib.reading import _p_value, _texts, established
from simlib.schedulers import short_name

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["capacity_answer", "capacity_checks", "show_capacities", "show_ratios"]


@reads_tables
def capacity_answer(table: pd.DataFrame, ratios: pd.DataFrame) -> str:
    """Each scheduler's capacity by level, and how multi-bin compares with dynamic batching."""
    sentences = []
    for level, rows in table.groupby("level", sort=False):
        found = ", ".join(f"{short_name(row.policy)} {_capacity(row)}" for row in rows.itertuples())
        pair = ratios.query("level == @level and policy == 'multi_bin_dynamic' and over == 'dynamic_no_bins'")
        sentences.append(f"Level {level}: {found} requests per second.")
        for row in pair.itertuples():
            times = f"{row.ratio:.3f} times ({row.ci_low:.3f} to {row.ci_high:.3f}) the load of dynamic batching"
            verdict = "carries" if established(row) else "is not shown to carry anything but"
            sentences.append(f"Multi-bin batching {verdict} {times}.")
    return " ".join(sentences)


@reads_tables
def capacity_checks(table: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Does a capacity hang on how long runs are, does the warm-up outlast its cut, does a share fall with the rate?"""
    by = dict(iter(table.groupby("verdict")))
    texts = {"stable": "stay within 2 %", "moves": "move", "unclear": "cannot be told apart from either"}
    counts = [
        f"{len(by[verdict])} {text} ({', '.join(_places(by[verdict]))})"
        for verdict, text in texts.items()
        if verdict in by
    ]
    cut, given = table["warmup_requests"], round(capacity.SCORED[0] * table["requests"].max())
    warm_up = (
        f"MSER-5 would cut at most {cut.max():.0f} requests at these rates; {given:,} are cut of every run."
        if (cut <= given).all()
        else f"A warm-up may last longer than the {given:,} requests cut: {', '.join(_places(table[~(cut <= given)]))}."
    )
    falls = curves[curves["falls"]]
    shape = (
        "Nowhere does the share of late requests fall as the rate grows, beyond what chance explains."
        if falls.empty
        else f"The share falls as the rate grows, so that there is more than one root, for {', '.join(_places(falls))}."
    )
    return f"Of {len(table)} capacities, in runs twice as long, {'; '.join(counts)}. {warm_up} {shape}"


def _places(rows: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(f"{short_name(row.policy)} at level {row.level}" for row in rows.itertuples()))


def _capacity(row: Any) -> str:
    return f"{row.capacity_rps:.1f} ({row.ci_low:.1f} to {row.ci_high:.1f})"


@reads_tables
def show_capacities(table: pd.DataFrame) -> Styler:
    """Capacities with intervals, and what becomes of them in runs twice as long."""
    shown = pd.DataFrame(
        {
            "level": table["level"],
            "scheduler": table["policy"].map(short_name),
            "capacity, requests/s (95 % interval)": [_capacity(row) for row in table.itertuples()],
            "runs twice as long: times": [
                f"{row.doubled_ratio:.3f} ({row.doubled_ci_low:.3f} to {row.doubled_ci_high:.3f})"
                for row in table.itertuples()
            ],
            "verdict": table["verdict"],
        }
    )
    return shown.style.hide(axis="index")


@reads_tables
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
            "correlation": _texts(ratios["correlation"], signed),
            "samples": ratios["method"],
            "p (Holm)": [_p_value(p) for p in ratios["p_holm"]],
        }
    )
    return shown.style.hide(axis="index")
