"""Tables of bins that are cut anew: late requests in each setting, who pays, and what papers claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.policies.study import MAIN
from book.chapters.recut import study
from book.kit.names import TRAFFIC_NAMES
from book.kit.tables import established
from simlib.text import signed

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

HEADS = {"late_short": "late, short third", "late_long": "late, long third", "mean_s": "mean (s)", "p99_s": "P99 (s)"}


def tally(table: pd.DataFrame, arm: str = study.RECUT, least_load: float = 0.0) -> dict[str, int]:
    """Of how many settings an arm has fewer late than the rival, or more, each established, or neither."""
    rows = table[(table["metric"] == "late") & (table["arm"] == arm) & (table["load"] >= least_load)]
    known = rows["p_holm"] <= 0.05
    fewer, more = known & (rows["difference"] < 0), known & (rows["difference"] > 0)
    return {"settings": len(rows), "fewer": int(fewer.sum()), "more": int(more.sum())}


def show_settings(table: pd.DataFrame) -> Styler:
    """Late shares of the best without and of bins cut anew, a column a load; bold where established."""
    late = table[table["metric"] == "late"]
    rival = late[late["arm"] == late[study.RIVAL]].set_index(study.CELL)["value"]
    rows = []
    for row in late[late["arm"] == study.RECUT].itertuples():
        place = {"traffic": TRAFFIC_NAMES[row.traffic], "predictor": row.predictor}
        place |= {"deadline": f"{row.batches:g} batches", "GPUs": row.gpus, "load": f"{100 * row.load:g} %"}
        before = rival[tuple(getattr(row, name) for name in study.CELL)]
        text = f"{100 * before:.0f} → {100 * row.value:.0f}"
        rows.append(place | {"text": f"<b>{text}</b>" if established(row) else text})
    keys = ["traffic", "predictor", "deadline", "GPUs"]
    wide = pd.DataFrame(rows).pivot_table(index=keys, columns="load", values="text", aggfunc="first", sort=False)
    return wide.fillna("").rename_axis(columns=None).reset_index().style.hide(axis="index")


def show_who_pays(table: pd.DataFrame) -> Styler:
    """Differences to the best without on four GPUs, by load and rule: thirds by true output, mean and P99."""
    rows = table[(table["traffic"] == "poisson") & (table["predictor"] == MAIN) & (table["batches"] == study.BATCHES)]
    rows = rows[(rows["gpus"] == study.GPUS) & rows["load"].isin(study.FEW_LOADS) & rows["arm"].isin(study.CUTS)]
    shown = []
    for (load, arm), own in rows.groupby(["load", "arm"], sort=False):
        row = {"load": f"{100 * load:g} %", "rule": arm}
        for metric, head in HEADS.items():
            one = own[own["metric"] == metric].iloc[0]
            row[head] = signed(one["difference"], 0) if metric.endswith("_s") else points(one["difference"])
        shown.append(row)
    return pd.DataFrame(shown).style.hide(axis="index")


def points(share: float) -> str:
    """A difference of shares in points: ``+3``."""
    return signed(100 * share, 0)
