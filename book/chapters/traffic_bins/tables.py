"""From tables of bins for real lengths to sentences and tables: which rule, which batch sizes, where the gain goes.

Reads what `held_out`, `deadline` and `by_rate` return. A gain is called one only where its interval leaves out 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.text import percent

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


SOURCE_NAMES = {
    "log_normal": "log-normal (the trial)",
    "burstgpt_sample": "BurstGPT, real rows",
    "burstgpt_like": "BurstGPT-like",
    "azure_2023": "Azure 2023",
}


def show_practice(table: pd.DataFrame, k_bins: int = 2) -> Styler:
    """For whoever sets up a server: edges, batch sizes, what a GPU carries, and what a worse predictor leaves of it."""
    rows = table[(table["k_bins"] == k_bins) & (table["refused"] == "")]
    index = ["source", "deadline_s"]
    oracle = rows[(rows["predictor"] == "oracle") & (rows["choice"] == "joint")]
    weak = {
        name: rows[(rows["predictor"] == name) & (rows["choice"] == "joint")].set_index(index)
        for name in rows["predictor"].unique()
        if name != "oracle"
    }
    shown = pd.DataFrame(
        {
            "lengths": oracle["source"].map(SOURCE_NAMES),
            "deadline": oracle["deadline_s"].map("{:g} s".format),
            "cut at, tokens": oracle["edges"],
            "batch sizes": oracle["batch_sizes"],
            "in the last bin": oracle["last_share"].map(percent),
            "requests/s a GPU (95 % band)": [_rate(row) for _, row in oracle.iterrows()],
            "late in service": oracle["late_share"].map(percent),
            "times equal mass": [ratio(row) for _, row in oracle.iterrows()],
        }
        | {
            f"… {name}": [ratio(at.loc[place]) if place in at.index else "–" for place in zip(
                oracle["source"], oracle["deadline_s"], strict=True)]
            for name, at in weak.items()
        }
    )  # fmt: skip
    return shown.style.hide(axis="index")


def show_rules(table: pd.DataFrame, predictor: str = "oracle") -> Styler:
    """Throughput over one bin by rule, on lengths unseen; a dash where the rows are too few."""
    rows = table[table["predictor"] == predictor]
    text = [
        "–" if row["refused"] else f"{row['gain']:.2f} ({row['gain_low']:.2f} to {row['gain_high']:.2f})"
        for _, row in rows.iterrows()
    ]
    wide = rows.assign(text=text).pivot_table(
        "text", ["source", "batch_size", "k_bins"], "rule", aggfunc="first", sort=False
    )
    shown = wide.reset_index().rename_axis(columns=None)
    shown["source"] = shown["source"].map(SOURCE_NAMES)
    names = {"source": "lengths", "batch_size": "B", "k_bins": "K", "equal_mass": "equal mass", "lemma_a1": "Lemma A.1"}
    return shown.rename(columns=names).style.hide(axis="index")


def show_condition(table: pd.DataFrame) -> Styler:
    """How far the condition's edges lie from the exact programme's, and from the lemmas'."""
    wide = table.pivot_table("largest_gap", "law", "batch_size", sort=False).map(lambda gap: percent(gap, 2))
    special = table.groupby("law", sort=False)["special_case_gap"].max()
    wide.columns = [f"B = {size}" for size in wide.columns]
    shown = wide.assign(**{"from Lemma 4.1 or A.1": ["–" if pd.isna(gap) else f"{gap:.0e}" for gap in special]})
    return shown.reset_index().style.hide(axis="index")


def show_capacities(table: pd.DataFrame) -> Styler:
    """Largest rates that keep the deadline, waiting included."""
    shown = pd.DataFrame(
        {
            "lengths": table["source"].map(SOURCE_NAMES),
            "predictor": table["predictor"],
            "GPUs": table["gpus"],
            "bins": table["choice"].str.replace("_", " "),
            "policy": table["kind"].map({"fixed": "full batches", "greedy": "what waits"}),
            "requests/s (95 % interval)": [
                "none: late at any rate" if row["refused"] else _rate(row, "capacity_rps")
                for _, row in table.iterrows()
            ],
        }
    )
    return shown.style.hide(axis="index")


def _rate(row: Any, name: str = "held_out_rps") -> str:
    return f"{row[name]:.3g} ({row['ci_low']:.3g} to {row['ci_high']:.3g})"


def ratio(row: Any) -> str:
    low, high = ("ratio_low", "ratio_high") if "ratio_low" in row else ("ci_low", "ci_high")
    return f"{row['ratio']:.2f} ({row[low]:.2f} to {row[high]:.2f})"
