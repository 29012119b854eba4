"""The controller's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from simlib.stats.shares import wilson_interval
from simlib.text import interval, percent, seconds

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def equal_numbers(equal: Mapping[int, float], replications: int) -> dict[str, str]:
    """Shares of replications in which two schedulers are the same, by level, with Wilson's interval, as texts."""
    found = {level: wilson_interval(round(share * replications), replications) for level, share in equal.items()}
    return {
        f"equal_{level}": f"{percent(one.value, 0)} ({interval(one.ci_low, one.ci_high)})"
        for level, one in found.items()
    }


def collapse_numbers(clearing: pd.DataFrame) -> dict[str, str]:
    """Clearing times of the static and of the original's dynamic scheduler, and the latter's mean batch, as texts."""
    rows = clearing.set_index(["scheduler", "variant"])
    original = rows.loc[("dynamic_no_bins", "original")]
    return {
        "static_s": seconds(rows.loc[("static_fifo", ""), "clearing_s"], 1),
        "dynamic_s": seconds(original["clearing_s"], 1),
        "dynamic_batch": f"{original['batch_size_mean']:.1f}",
    }


def show_branches(branches: pd.DataFrame) -> Styler:
    """Share of batch formations that take each branch, one row a level, deadline and scheduler."""
    wide = branches.pivot_table(index=["level", "d_sla_s", "scheduler"], columns="branch", values="share", sort=False)
    shown = wide.map(percent).reset_index().rename(columns={"d_sla_s": "deadline (s)"})
    return shown.style.format(precision=2, subset=["deadline (s)"]).hide(axis="index")
