"""The picture of a replayed log: each error by its sign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simlib.checks import reads_tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["errors"]

NAMES = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "end to end"}
MARKERS = {"mean": "o", "p50": "s", "p90": "^", "p99": "D"}
LANE = 0.18


@reads_tables
def errors(table: pd.DataFrame, drawn: pd.DataFrame) -> Figure:
    """Signed errors of a replay (`validation.COLUMNS`): a panel a step model, a line a metric, a mark a statistic.

    The law from the log has its limits over `refits` of `studies.validation` and, dotted, over its `prefix_hits` with
    shared blocks.
    """
    import matplotlib.pyplot as plt

    models = list(dict.fromkeys(table["step_model"]))
    figure, axes = plt.subplots(
        1, len(models), figsize=(3.2 * len(models), 2.4), sharex=True, sharey=True, squeeze=False
    )
    for axis, model in zip(axes[0], models, strict=True):
        for lane, (statistic, marker) in enumerate(MARKERS.items()):
            rows = table[(table["step_model"] == model) & (table["statistic"] == statistic)].set_index("metric")
            places = [place + LANE * (lane - (len(MARKERS) - 1) / 2) for place in range(len(NAMES))]
            (mark,) = axis.plot(rows["error_percent"].reindex(NAMES), places, marker, mfc="none", label=statistic)
            if model == "affine-from-log":
                limits = drawn[drawn["statistic"] == statistic].set_index("metric").reindex(NAMES)
                axis.hlines(places, limits["ci_low"], limits["ci_high"], color=mark.get_color(), linewidth=1)
                axis.hlines(places, limits["shared_low"], limits["shared_high"], color="0.5", lw=1, ls=":")
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title(model)
        axis.set_xlabel("Error (%)")
    axes[0, 0].set_yticks(range(len(NAMES)), NAMES.values())
    axes[0, 0].invert_yaxis()
    axes[0, 0].legend(fontsize="small", loc="lower left")
    return figure
