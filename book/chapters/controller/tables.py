"""The controller's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.kit.names import SCHEDULER_NAMES
from book.kit.tables import with_limits
from simlib.text import percent

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

VARIANTS = {"original": "original's rule", "paper": "paper's rule", "printed": "rule as printed"}


def show_equal(equal: pd.DataFrame) -> Styler:
    """How often dynamic batching is a static batch, request by request, by level and size."""
    limits = (100 * equal[["share", "ci_low", "ci_high"]]).itertuples(index=False)
    shown = equal[["level", "batch_size"]].rename(columns={"batch_size": "static batches of"})
    shown["the same to the last request (% of runs)"] = [with_limits(*one, form=".0f") for one in limits]
    return shown.style.hide(axis="index")


def show_clearing(clearing: pd.DataFrame) -> Styler:
    """How long each scheduler needs to clear the burst, and its mean batch."""
    shown = clearing.assign(
        scheduler=clearing["scheduler"].map(SCHEDULER_NAMES), variant=clearing["variant"].map(VARIANTS).fillna("of 8")
    )
    shown = shown.rename(columns={"clearing_s": "burst cleared after (s)", "batch_size_mean": "mean batch (requests)"})
    return shown.style.format(precision=1).hide(axis="index")


def show_branches(branches: pd.DataFrame) -> Styler:
    """Share of batch formations that take each branch, one row a level, deadline and scheduler."""
    named = branches.assign(scheduler=branches["scheduler"].map(SCHEDULER_NAMES))
    wide = named.pivot_table(index=["level", "d_sla_s", "scheduler"], columns="branch", values="share", sort=False)
    shown = wide.map(percent).reset_index().rename(columns={"d_sla_s": "deadline (s)"})
    return shown.style.format(precision=2, subset=["deadline (s)"]).hide(axis="index")
