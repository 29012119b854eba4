"""Tables of GPUs of one's own: what pools save, who is late, and what papers claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.specialised.study import LINE, MAIN_LOAD, PAGED, PLACES
from book.kit.tables import with_limits

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

LAWS = {"measured": "measured", "published": "FleetOpt's"}
LIMITS = ["saved", "ci_low", "ci_high"]


def lengths_of(value: float | str) -> str:
    """A case's name: a spread as a number, a trace as it is."""
    return value if isinstance(value, str) else f"{value:g}"


def show_needs(needs: pd.DataFrame) -> Styler:
    """GPUs of one fleet and of pools over a paged fleet's, and what pools save, in per cent: a row a law and case."""
    rows = []
    for (engine, lengths), own in needs.groupby(["engine", "lengths"], sort=False):
        by = own.set_index("memory")
        saved = {
            memory: with_limits(*(100 * by.loc[memory, LIMITS].astype(float)).round() + 0.0, ".0f")
            for memory in (PLACES, PAGED)
        }
        rows.append(
            {"steps": LAWS[engine], "spread of prompts": lengths_of(lengths)}
            | {"one fleet of places": by.loc[PLACES, "shared"], "pools of places": by.loc[PLACES, "pools"]}
            | {"pools save, places (%)": saved[PLACES], "pools save, paged (%)": saved[PAGED]}
        )
    return pd.DataFrame(rows).style.hide(axis="index").format(precision=2)


def show_late(late: pd.DataFrame) -> Styler:
    """Late requests at the main load, in per cent: of all, of short and of long ones, with how pools were cut."""
    rows = late[(late["load"] == MAIN_LOAD) & (late["base"] == LINE)]
    shown = pd.DataFrame(
        {
            "a token short costs": (100 * rows["mixed"]).map("{:.0f} %".format),
            "served in": rows["arm"],
            "late (%)": [
                with_limits(100 * row.late, 100 * row.ci_low, 100 * row.ci_high, ".1f") for row in rows.itertuples()
            ],
            "of short": (100 * rows["late_short"]).map("{:.1f}".format),
            "of long": (100 * rows["late_long"]).map("{:.1f}".format),
            "mean latency": rows["latency"].map("{:.2f}".format),
        }
    )
    return shown.style.hide(axis="index")
