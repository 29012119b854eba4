"""From the tables of a replayed log to the numbers of its chapter.

Reads what `studies.validation` returns.
"""

from __future__ import annotations

import pandas as pd

from simlib.checks import reads_tables
from simlib.notebook import seconds, signed

__all__ = ["numbers"]


@reads_tables
def numbers(table: pd.DataFrame, parts: pd.DataFrame, drawn: pd.DataFrame) -> dict[str, str]:
    """Errors as the chapter quotes them, by model and by metric and statistic, or by part."""
    texts = {}
    for row in drawn.itertuples():
        which = f"{row.metric}_{row.statistic}"
        for kind, column in (("refits", "ci"), ("own", "own"), ("shared", "shared")):
            low, high = (getattr(row, f"{column}_{end}") for end in ("low", "high"))
            texts[f"{kind}_{which}"] = f"{signed(low, 1)} to {signed(high, 1)} %"
        texts[f"later_profile_{which}"] = f"{signed(row.profile_percent, 1)} %"
        texts[f"refits_{which}_reach"] = f"{row.reach_percent:g} %"
        texts[f"refits_{which}_in_reach"] = f"{row.refits_in_reach:.0%}"
    for row in table.itertuples():
        value = f"{row.error_percent:.1f}" if row.statistic == "mape" else signed(row.error_percent, 1)
        texts[f"{row.step_model}_{row.metric}_{row.statistic}".replace("-", "_")] = f"{value} %"
    for row in parts.itertuples():
        name = f"{row.step_model}_{row.span}".replace("-", "_")
        texts |= {name: f"{signed(row.error_percent, 1)} %", f"{name}_s": seconds(row.engine_s, 1)}
    return texts
