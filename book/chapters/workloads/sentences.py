"""Sentences on traffic: how bursty, how long, how like a model's."""

from __future__ import annotations

import pandas as pd

from book.chapters.workloads.tables import SOURCES, figure_name


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


def population_answer(table: pd.DataFrame) -> str:
    """How many of the figures held out fit, and which do not."""
    misfits = table[~table["fits"]]
    names = [f"{figure_name(row)} ({SOURCES[row.source]})" for row in misfits.itertuples()]
    return (
        f"{int(table['fits'].sum())} of {len(table)} figures of rows and totals that no coefficient was fitted to lie "
        f"inside the central 95 % of the draws. Outside: {'; '.join(names) or 'none'}."
    )
