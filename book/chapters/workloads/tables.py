"""Names of what traffic is of, and how like a model's it is, as a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


SOURCES = {
    "head": "first day",
    "minutes": "first week",
    "claims": "first 1,000 rows",
    "days": "weeks held out",
    "burst": "densest burst",
}


def figure_name(row: Any) -> str:
    """A row of `likeness.compared` in words: ``dispersion, 60 s``, ``output p95, tokens``."""
    words = row.figure.replace("_tokens", ", tokens").replace("_", " ")
    return re.sub(r" (\d+)s$", r", \1 s", words)


def show_likeness(table: pd.DataFrame) -> Styler:
    """Each figure of the real traffic beside the central 95 % of the draws, and the verdict."""
    shown = pd.DataFrame(
        {
            "of": table["source"].map(SOURCES),
            "figure": [figure_name(row) for row in table.itertuples()],
            "real": table["real"].map(_four_digits),
            "draws, 95 %": [f"{_four_digits(row.low)} to {_four_digits(row.high)}" for row in table.itertuples()],
            "mean": table["mean"].map(_four_digits),
            "verdict": table["fits"].map({True: "fits", False: "does not fit"}),
        }
    )
    return shown.style.hide(axis="index")


def _four_digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
