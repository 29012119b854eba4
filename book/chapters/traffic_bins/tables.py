"""Tables of bins for real lengths: rules on lengths unseen, what to set up, what it carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from book.chapters.traffic_bins.figures import PREDICTOR_NAMES
from book.kit.names import BIN_RULE_NAMES, TRAFFIC_NAMES
from book.kit.tables import with_limits
from simlib.text import percent

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def show_practice(table: pd.DataFrame, k_bins: int = 2, names: tuple[str, ...] = ("rank 0.7",)) -> Styler:
    """For whoever sets up a server: edges, batch sizes, what a GPU carries, and what a worse predictor leaves of it."""
    rows = table[(table["k_bins"] == k_bins) & (table["refused"].fillna("") == "") & (table["choice"] == "joint")]
    index = ["source", "deadline_s"]
    oracle = rows[rows["predictor"] == "oracle"]
    others = {name: own.set_index(index) for name, own in rows.groupby("predictor") if name in names}
    shown = pd.DataFrame(
        {
            "lengths": oracle["source"].map(TRAFFIC_NAMES),
            "deadline": oracle["deadline_s"].map("{:g} s".format),
            "cut at, tokens": oracle["edges"],
            "batch sizes": oracle["batch_sizes"],
            "in the last bin": oracle["last_share"].map(percent),
            "requests/s a GPU (95 % band)": [_rate(row) for _, row in oracle.iterrows()],
            "late in service": oracle["late_share"].map(percent),
            "times one bin": [ratio(row) for _, row in oracle.iterrows()],
        }
        | {
            f"… {PREDICTOR_NAMES[name]}": [ratio(at.loc[place]) if place in at.index else "–" for place in zip(
                oracle["source"], oracle["deadline_s"], strict=True)]
            for name, at in others.items()
        }
    )  # fmt: skip
    return shown.style.hide(axis="index")


def show_rules(table: pd.DataFrame, predictor: str = "oracle") -> Styler:
    """Throughput over one bin by rule, on lengths unseen; a dash where the rows are too few."""
    rows = table[table["predictor"] == predictor]
    text = [
        "–" if row["refused"] else with_limits(row["gain"], row["gain_low"], row["gain_high"], ".2f")
        for _, row in rows.iterrows()
    ]
    wide = rows.assign(text=text).pivot_table(
        "text", ["source", "batch_size", "k_bins"], "rule", aggfunc="first", sort=False
    )
    shown = wide.reset_index().rename_axis(columns=None)
    shown["source"] = shown["source"].map(TRAFFIC_NAMES)
    names = {"source": "lengths", "batch_size": "B", "k_bins": "K"} | BIN_RULE_NAMES
    return shown.rename(columns=names).style.hide(axis="index")


def show_condition(table: pd.DataFrame) -> Styler:
    """How far the condition's edges lie from the exact programme's, and from the lemmas'."""
    wide = table.pivot_table("largest_gap", "law", "batch_size", sort=False).map(lambda gap: percent(gap, 2))
    special = table.groupby("law", sort=False)["special_case_gap"].max()
    wide.columns = [f"B = {size}" for size in wide.columns]
    shown = wide.assign(**{"from Lemma 4.1 or A.1": ["–" if pd.isna(gap) else f"{gap:.0e}" for gap in special]})
    return shown.reset_index().style.hide(axis="index")


def show_capacities(table: pd.DataFrame) -> Styler:
    """Largest rates that keep the deadline, waiting included, of batches of what waits, and over the best without."""
    rows = table[table["kind"] == "greedy"]
    place = ["source", "predictor", "gpus"]
    arms = {choice: own.set_index(place) for choice, own in rows.groupby("choice", sort=False)}
    alone, own, equal = (arms[choice] for choice in ("no_bins", "joint", "equal_mass"))
    shown = pd.DataFrame(
        {
            "lengths": [TRAFFIC_NAMES[source] for source, _, _ in own.index],
            "predictor": [PREDICTOR_NAMES[name] for _, name, _ in own.index],
            "GPUs": [gpus for _, _, gpus in own.index],
            "best without": alone.loc[own.index, "policy"],
            "requests/s": [_carried(row) for _, row in alone.loc[own.index].iterrows()],
            "batches in two bins": own["policy"],
            "times the best without": [_over(row) for _, row in own.iterrows()],
            "… of equal mass": [_over(row) for _, row in equal.loc[own.index].iterrows()],
        }
    )
    return shown.style.hide(axis="index")


def _carried(row: Any) -> str:
    return "none: late at any rate" if _refused(row) else _rate(row, "capacity_rps")


def _over(row: Any) -> str:
    return "late at any rate" if _refused(row) else ratio(row)


def _refused(row: Any) -> bool:
    return isinstance(row["refused"], str) and row["refused"] != ""


def _rate(row: Any, name: str = "held_out_rps") -> str:
    return with_limits(row[name], row["ci_low"], row["ci_high"], ".3g")


def ratio(row: Any) -> str:
    """A ratio with its band or interval, whichever the row has."""
    low, high = ("ratio_low", "ratio_high") if "ratio_low" in row else ("ci_low", "ci_high")
    return with_limits(row["ratio"], row[low], row[high], ".2f")
