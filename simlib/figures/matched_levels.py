"""Figure of the rankings at matched load: how likely each scheduler alone is best, by place and load."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from simlib.checks import reads_tables
from simlib.figures import COLORS, INK
from simlib.schedulers import short_name
from simlib.studies import levels

__all__ = ["best"]

TIE = "#EDEDED"
HATCHES = {"multi_bin_dynamic": "//", "dynamic_no_bins": "", "static_fifo": "xx"}
REQUESTS = {1: "Poisson", 2: "BurstGPT-like", 3: "Poisson", 4: "BurstGPT-like"}


@reads_tables
def best(rankings: pd.DataFrame) -> Figure:
    """One panel a load, one bar a place: the probability that each scheduler alone has the fewest late requests.

    `rankings` is `matched_levels.rankings`'s. Places are ordered by their requests, then as in the table.
    """
    loads = list(dict.fromkeys(rankings["load"]))
    places = rankings[["level", "latency"]].drop_duplicates()
    places = places.assign(requests=places["level"].map(REQUESTS)).sort_values(
        "requests", ascending=False, kind="stable"
    )
    keys = list(places[["level", "latency"]].itertuples(index=False, name=None))
    figure, axes = plt.subplots(1, len(loads), sharey=True, figsize=(9.0, 1.6 + 0.36 * len(keys)), squeeze=False)
    for axis, load in zip(axes[0], loads, strict=True):
        rows = rankings[rankings["load"] == load]
        for height, (level, latency) in enumerate(keys):
            left, own = 0.0, rows[(rows["level"] == level) & (rows["latency"] == latency)]
            first = (
                own["ranking"].str.split(r" ([<=]) ", regex=True).map(lambda parts: parts[0] if parts[1] == "<" else "")
            )
            for name in ("multi_bin_dynamic", "dynamic_no_bins", "static_fifo", ""):
                share = own.loc[first == name, "share"].sum()
                style = {"color": COLORS.get(name, TIE), "hatch": HATCHES.get(name, ""), "edgecolor": INK, "lw": 0.4}
                label = f"{short_name(name)} alone" if name else "a tie for the first place"
                axis.barh(height, share, left=left, height=0.74, label=label if height == 0 else None, **style)
                left += share
        axis.set_title(f"load {load:g}", fontsize=10)
        axis.set_xlim(0, 1)
        axis.set_xticks((0, 0.5, 1), ("0", "50", "100 %"))
        axis.set_ylim(-0.6, len(keys) - 0.4)
        axis.axhline(sum(REQUESTS[level] == "Poisson" for level, _ in keys) - 0.5, color=INK, lw=1.2)
        axis.tick_params(labelsize=8)
        axis.grid(visible=False)
    own_level = [latency == levels.of(level).latency for level, latency in keys]
    starts = [f"Level {level}: " if own else "" for (level, _), own in zip(keys, own_level, strict=True)]
    names = [f"{start}{REQUESTS[level]}, {latency}" for start, (level, latency) in zip(starts, keys, strict=True)]
    axes[0][0].set_yticks(range(len(keys)), names, fontsize=8)
    axes[0][0].invert_yaxis()
    figure.supxlabel("Probability of having the fewest late requests", fontsize=10)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
    return figure
