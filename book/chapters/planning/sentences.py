"""How good plans are, in a sentence."""

from __future__ import annotations

import pandas as pd

from simlib.text import interval, percent

MOST_LOST = 0.05  # what a plan may cost against the best


def regret_answer(table: pd.DataFrame) -> str:
    """How much capacity the plans lose, and whether that is little."""
    worst = table.loc[table["lost_share"].idxmax()]
    kept = int((table["lost_share"] <= MOST_LOST).sum())
    return (
        f"Of {len(table)} plans {kept} lose at most {MOST_LOST:.0%} of the load that the best configuration bears; "
        f"the most is lost for {worst['demand']}: {percent(worst['lost_share'])} "
        f"({interval(worst['ci_low'], worst['ci_high'])})."
    )
