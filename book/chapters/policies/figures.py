"""Figure of the comparison of policies: how many more or fewer requests are late than first come, first served."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from book.chapters.policies.study import BASELINES, BATCHES, MAIN, STEPS, TRAFFIC
from book.kit.names import TRAFFIC_NAMES
from book.kit.style import COLORS, INK

POLICY_COLORS = COLORS | {
    "optimal_bins": "#882255",
    "joint_optimum": "#332288",
    "early_rejection": "#117777",
    "timeout": "#117777",
    "fair_share": "#4D4D4D",
}
NAMES = {
    "static_fifo": "batches of 8",
    "multi_bin_dynamic": "multi-bin",
    "optimal_bins": "optimal bins",
    "joint_optimum": "joint optimum",
    "shortest_predicted_first": "shortest predicted first",
    "early_rejection": "early rejection",
    "timeout": "clients leave",
    "fair_share": "fair shares",
}
EXECUTIONS = {BATCHES: "Run to completion", STEPS: "Continuous"}
TICKS = (-0.5, -0.2, -0.05, 0.0, 0.05, 0.2, 0.5)


def differences(table: pd.DataFrame) -> Figure:
    """One row of panels an execution, one column a kind of traffic: each policy's differences, by load, with bars."""
    rows = table[(table["metric"] == "sla_violation_share") & (table["predictor"] == MAIN)]
    rows = rows[rows["difference"].notna()]
    loads = sorted(set(rows["load"]))
    policies = {
        execution: list(dict.fromkeys(rows.loc[rows["execution"] == execution, "policy"])) for execution in BASELINES
    }
    figure, axes = plt.subplots(
        2, len(TRAFFIC), sharex=True, sharey="row", figsize=(9.0, 6.4),
        height_ratios=[max(len(names), 1) for names in policies.values()],
    )  # fmt: skip
    for line, (execution, names) in zip(axes, policies.items(), strict=True):
        for axis, traffic in zip(line, TRAFFIC, strict=True):
            own = rows[(rows["execution"] == execution) & (rows["traffic"] == traffic)]
            for place, name in enumerate(names):
                _draw(axis, own[own["policy"] == name], place, loads, POLICY_COLORS[name])
            _dress(axis)
            axis.set_title(f"{EXECUTIONS[execution]}, {TRAFFIC_NAMES[traffic]}", fontsize=9)
        line[0].set_yticks(range(len(names)), [NAMES[name] for name in names], fontsize=9)
        line[0].set_ylim(len(names) - 0.4, -0.6)
    figure.supxlabel("Late requests, minus first come, first served (points)", fontsize=10)
    marks = [Line2D([], [], marker="o", ls="", ms=6, color=INK, mfc=_fill(load, loads, INK)) for load in loads]
    labels = [f"{100 * load:g} % of its capacity" for load in loads]
    figure.legend(marks, labels, loc="outside upper center", ncols=len(loads), fontsize=9)
    return figure


def _draw(axis: Axes, rows: pd.DataFrame, place: int, loads: list[float], color: str) -> None:
    for row in rows.itertuples():
        rank = loads.index(row.load)
        height = place + 0.19 * (rank - (len(loads) - 1) / 2)
        axis.plot([row.difference_ci_low, row.difference_ci_high], [height] * 2, color=color, lw=1.2)
        axis.plot(row.difference, height, "o", ms=4.5, color=color, mfc=_fill(row.load, loads, color))


def _fill(load: float, loads: list[float], color: str) -> tuple[float, ...]:
    """The fuller the system, the fuller the mark."""
    from matplotlib.colors import to_rgb

    part = loads.index(load) / max(len(loads) - 1, 1)
    return tuple(1 - part * (1 - np.array(to_rgb(color))))


def _dress(axis: Axes) -> None:
    root = (lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: np.sign(x) * np.square(x))
    axis.set_xscale("function", functions=root)
    axis.set_xticks(TICKS, [f"{100 * tick:+g}".replace("-", "−") if tick else "0" for tick in TICKS], fontsize=8)
    axis.axvline(0, color=INK, lw=1)
    axis.tick_params(axis="y", length=0)
