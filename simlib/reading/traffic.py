"""From traffic to sentences and tables: what requests look like, and how like a generator's are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["figure_name", "population_answer", "show_likeness", "workloads_answer"]

SOURCES = {
    "head": "first day",
    "minutes": "first week",
    "claims": "first 1,000 rows",
    "days": "weeks held out",
    "burst": "densest burst",
}


@reads_tables
def workloads_answer(bursts: pd.DataFrame, lengths: pd.DataFrame) -> str:
    """How bursty the sample is in its longest window, and how its outputs compare with the recipe's."""
    longest = bursts.iloc[-1]
    times = "above" if longest["dispersion_index"] > longest["poisson_high"] else "within"
    outputs = lengths[lengths["part"] == "output_tokens"].set_index("workload")
    real, recipe = outputs.loc["BurstGPT sample"], outputs.loc["synthetic recipe"]
    return (
        f"Counts per {longest['window_s']:g} s vary {longest['dispersion_index']:.1f} times as much as a Poisson "
        f"stream's ({times} its 95 % range). Outputs of the real rows: mean {real['mean_tokens']:.0f} tokens, "
        f"standard deviation {real['sd_tokens']:.0f}; the synthetic recipe's {recipe['mean_tokens']:.0f} and "
        f"{recipe['sd_tokens']:.0f}."
    )


@reads_tables
def population_answer(table: pd.DataFrame) -> str:
    """How many of the figures held out fit, and which do not."""
    misfits = table[~table["fits"]]
    names = [f"{figure_name(row)} ({SOURCES[row.source]})" for row in misfits.itertuples()]
    return (
        f"{int(table['fits'].sum())} of {len(table)} figures of rows and totals that no coefficient was fitted to lie "
        f"inside the central 95 % of the draws. Outside: {'; '.join(names) or 'none'}."
    )


@reads_tables
def figure_name(row: Any) -> str:
    """A row of `likeness.compared` in words: ``dispersion, 60 s``, ``output p95, tokens``."""
    words = row.figure.replace("_tokens", ", tokens").replace("_", " ")
    return re.sub(r" (\d+)s$", r", \1 s", words)


@reads_tables
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
