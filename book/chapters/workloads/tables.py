"""Names of what traffic is of, and how like a model's it is, as a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.text import percent

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
    words = row.figure.replace("_tokens", ", tokens").replace("_", " ").replace("cv", "variation")
    words = re.sub(r"\bp(\d\d)", r"P\1", words)
    return re.sub(r" (\d+)s$", r", \1 s", re.sub(r" ([hs])$", r", \1", words))


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


def show_lengths(table: pd.DataFrame) -> Styler:
    """Lengths of prompts and answers by workload, in tokens."""
    names = {"mean": "mean", "sd": "standard deviation", "p05": "P5", "p50": "median", "p95": "P95"}
    shown = table.assign(part=table["part"].map({"prompt_tokens": "prompt", "output_tokens": "answer"}))
    shown = shown.rename(columns={f"{column}_tokens": f"{name} (tokens)" for column, name in names.items()})
    return shown.style.format(precision=0).hide(axis="index")


def show_late_alone(table: pd.DataFrame) -> Styler:
    """How long a request takes alone, by level, and how many are late even so."""
    names = {"mean_s": "alone, mean (s)", "max_s": "alone, longest (s)", "late_alone_share": "late alone"}
    return table.rename(columns=names).style.format({"late alone": percent}, precision=2).hide(axis="index")


def show_bins(table: pd.DataFrame) -> Styler:
    """Where bins are cut, and how well the predictions order the lengths."""
    names = {
        "edges_tokens": "cut at (tokens)",
        "distinct_bins": "distinct bins",
        "rank_correlation": "rank correlation",
    }
    shown = table.rename(columns=names)
    return shown.style.format({"rank correlation": "{:.2f}"}, precision=0).hide(axis="index")


def _four_digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
