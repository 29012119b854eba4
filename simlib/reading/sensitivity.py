"""From the sensitivity study to sentences and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables
from simlib.notebook import interval, percent, signed
from simlib.studies.sensitivity import FACTORS, OUTCOMES, PER_GPU

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["box_answer", "directions_answer", "drivers_answer", "per_gpu_answer", "show_factors", "show_indices"]

MATTERS = 0.1  # of the variance: what a factor must surely have, or surely not have, to be called one or the other


@reads_tables
def drivers_answer(indices: pd.DataFrame, outcome: str = "difference") -> str:
    """Which factors surely carry a tenth of an outcome's variance, which surely do not, how much is interplay."""
    rows = indices[indices["outcome"] == outcome]
    totals = rows[rows["index"] == "total"].sort_values("value", ascending=False)
    sure = [_with_interval(row) for row in totals[totals["ci_low"] > MATTERS].itertuples()]
    minor = [_label(row.factor) for row in totals[totals["ci_high"] < MATTERS].itertuples()]
    open_ = [_label(row.factor) for row in totals.itertuples() if row.ci_low <= MATTERS <= row.ci_high]
    alone = float(rows.loc[rows["index"] == "first", "value"].sum())
    chance = rows[rows["index"] == "chance"].iloc[0]
    parts = [f"{_list(sure)} each carry more than {percent(MATTERS, 0)} of its variance, interactions included"]
    parts = parts if sure else [f"no factor surely carries more than {percent(MATTERS, 0)} of its variance"]
    if minor:
        parts.append(f"{_list(minor)} surely less")
    if open_:
        parts.append(f"of {_list(open_)} it is not established")
    return (
        f"{OUTCOMES[outcome]}: {'; '.join(parts)}. Single factors explain {percent(min(alone, 1.0), 0)} of it, the "
        f"rest is interplay; given the point, chance makes {percent(chance['value'], 0)} of the variance of single "
        f"runs ({interval(chance['ci_low'], chance['ci_high'], 0)})."
    )


@reads_tables
def box_answer(effects: pd.DataFrame) -> str:
    """What bins do on average over the whole box, and in how much of it they do good."""
    row = effects[(effects["outcome"] == "difference") & (effects["factor"] == "")].iloc[0]
    kind = "more" if row["ci_low"] > 0 else "fewer" if row["ci_high"] < 0 else "neither more nor fewer"
    return (
        f"Over the whole box multi-bin batching has {kind} late requests than dynamic batching: "
        f"{signed(100 * row['value'], 1)} points ({interval(row['ci_low'], row['ci_high'], 1, points=True)}); it has "
        f"fewer at {percent(row['negative'], 0)} of the points."
    )


@reads_tables
def directions_answer(effects: pd.DataFrame) -> str:
    """Which way each factor pulls, from its lowest part to its highest, where the two intervals are apart."""
    rows, down, up = effects[effects["outcome"] == "difference"], [], []
    for name in FACTORS:
        own = rows[rows["factor"] == name].sort_values("middle")
        low, high = own.iloc[0], own.iloc[-1]
        said = f"{_label(name)} ({signed(100 * low['value'], 1)} to {signed(100 * high['value'], 1)} points)"
        if high["ci_high"] < low["ci_low"]:
            down.append(said)
        elif high["ci_low"] > low["ci_high"]:
            up.append(said)
    parts = [f"Bins do better with more of: {_list(down)}"] if down else []
    parts += [f"{'worse' if parts else 'Bins do worse'} with more of: {_list(up)}"] if up else []
    return "; ".join(parts or ["No factor's ends differ beyond their intervals"]) + "."


@reads_tables
def per_gpu_answer(effects: pd.DataFrame) -> str:
    """What bins do where there are few and where there are many of them for each GPU."""
    rows = effects[(effects["outcome"] == "difference") & (effects["factor"] == PER_GPU)].sort_values("middle")
    said = [
        f"with about {row.middle:.2g} bins a GPU {signed(100 * row.value, 1)} points "
        f"({interval(row.ci_low, row.ci_high, 1, points=True)}; fewer late requests at {percent(row.negative, 0)} of "
        "the points)"
        for row in rows.iloc[[0, -1]].itertuples()
    ]
    return f"Bins and GPUs act through their ratio: {said[0]}, {said[1]}."


def show_factors() -> Styler:
    """The box: each factor with its range."""
    rows = [
        {"factor": factor.label, "from": f"{factor.low:g}", "to": f"{factor.high:g}"}
        | {"uniform in": "its logarithm" if factor.log else "itself"}
        for factor in FACTORS.values()
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


@reads_tables
def show_indices(indices: pd.DataFrame) -> Styler:
    """Total indices with their intervals, one row a factor, one column an outcome."""
    totals = indices[indices["index"] == "total"].sort_values("value", ascending=False)
    order = list(totals.loc[totals["outcome"] == next(iter(OUTCOMES)), "factor"])
    texts = {(row.factor, row.outcome): _range(row) for row in totals.itertuples()}
    shown = [
        {"factor": FACTORS[name].label} | {title: texts[name, key] for key, title in OUTCOMES.items()} for name in order
    ]
    return pd.DataFrame(shown).style.hide(axis="index")


def _label(name: str) -> str:
    return FACTORS[name].label.split(" (")[0].split(",")[0]


def _range(row: Any) -> str:
    return f"{percent(row.value, 0)} ({interval(row.ci_low, row.ci_high, 0)})"


def _with_interval(row: Any) -> str:
    return f"{_label(row.factor)} ({percent(row.value, 0)}, {interval(row.ci_low, row.ci_high, 0)})"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
