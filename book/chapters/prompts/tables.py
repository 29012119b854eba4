"""Tables of what a predictor should say: gains and who pays, ranks, what renewing and mistakes do, what is claimed."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.prompts.quality import (
    AGAIN,
    KNOWN,
    LAW,
    NOTHING,
    ONCE,
    OPPOSITE,
    RENEWED,
    RULES,
    WIDE_SPREAD,
    WITHOUT,
)
from book.chapters.prompts.study import CELL, MAIN_SPREAD, OVERLOAD, SAYS
from book.kit.tables import with_limits

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

ROBUST = [  # execution, load, rule, the weight of waiting
    *(("batches", 0.9, says, weight_s) for says, weight_s in (("median", 0.02), ("quantile", 0.02), ("quantile", inf))),
    *(("engine", 0.9, says, inf) for says in (ONCE, RENEWED, WITHOUT)),
    *(("engine", OVERLOAD, says, weight_s) for says in (ONCE, RENEWED) for weight_s in (inf, 0.05)),
    *(("engine", OVERLOAD, says, inf) for says in (AGAIN, WITHOUT)),
]
GAINS = ("one answer", "median", "quantile", "the length")  # the mean lies between; mean and tail beside the quantile
HEADS = {"mean_s": "mean", "p99_s": "P99", "short_s": "short third", "long_s": "long third"}


def chosen_of(ratios: pd.DataFrame, picked: pd.DataFrame) -> pd.DataFrame:
    """The rows of `study.ratios_of` at the weights of `study.picked`."""
    return ratios.merge(picked, on=[*CELL, "weight_s"])


def show_gains(chosen: pd.DataFrame) -> Styler:
    """Latency over first come's at the main spread: in the mean, at its P99, of short and of long answers."""
    rows = chosen[(chosen["spread"] == MAIN_SPREAD) & chosen["says"].isin(GAINS)]
    rows = rows[(rows["execution"] == "engine") | (rows["load"] < OVERLOAD)]
    texts = [with_limits(row.ratio, row.ci_low, row.ci_high, ".2f") for row in rows.itertuples()]
    order = {says: place for place, says in enumerate(SAYS)}
    rows = rows.assign(text=texts, order=rows["says"].map(order), load=rows["load"].map("{:g}".format))
    by = ["execution", "load", "order", "says"]
    wide = rows.pivot_table(index=by, columns="metric", values="text", aggfunc="first")
    wide = wide[list(HEADS)].rename(columns=HEADS).rename_axis(columns=None)
    return wide.droplevel("order").reset_index().style.hide(axis="index")


def show_ranks(quality: pd.DataFrame) -> Styler:
    """Rank correlation of what is said with what comes, by the spread of one prompt's answers."""
    wide = quality.pivot_table(index="says", columns="spread", values="rank").loc[list(SAYS)]
    wide = wide.rename(columns="{:g}".format).rename_axis(index="says", columns="spread of one prompt's answers")
    return wide.style.format("{:.2f}")


def show_renewed(chosen: pd.DataFrame, memory: pd.DataFrame) -> Styler:
    """An engine's rules where laws are told: mean latency over first come's, who pays, places lost, the cache.

    `chosen` is `quality.chosen_of`'s, `memory` is `quality.memory_of`'s.
    """
    rows = chosen[(chosen["execution"] == "engine") & (chosen["told"] == LAW)]
    shown = pd.DataFrame(index=pd.Index(list(RULES), name=None))
    for (spread, load), own in rows[rows["metric"] == "mean_s"].groupby(["spread", "load"]):
        texts = [with_limits(row.ratio, row.ci_low, row.ci_high, ".2f") for row in own.itertuples()]
        shown[f"spread {spread:g}, load {load:g}"] = pd.Series(texts, own["says"])
    wide = rows[(rows["load"] == OVERLOAD) & (rows["spread"] == WIDE_SPREAD)].set_index(["metric", "says"])["ratio"]
    shown["long third*"] = wide["long_s"].map("{:.2f}".format)
    here = memory[(memory["load"] == OVERLOAD) & (memory["spread"] == WIDE_SPREAD) & (memory["weight_s"] == inf)]
    here = here.set_index("says")
    shown["places lost*"] = here["lost"].map("{:.1f}".format)
    shown["cache*, tokens"] = here["most_tokens"].map("{:,.0f}".format)
    return shown.rename_axis("says").reset_index().style.hide(axis="index")


def show_robust(ratios: pd.DataFrame) -> Styler:
    """Mean latency over first come's by what is told, one row a rule and weight of waiting, at the main spread.

    `ratios` is `study.ratios_of`'s of `quality.runs_of`'s.
    """
    rows = ratios[(ratios["metric"] == "mean_s") & (ratios["spread"] == MAIN_SPREAD)]
    rows = rows.set_index(["execution", "load", "says", "weight_s", "told"])
    shown = []
    for execution, load, says, weight_s in ROBUST:
        row = {
            "where": f"{execution}, load {load:g}",
            "rule": says,
            "a token's worth, s": f"{weight_s:g}".replace("inf", "∞"),
        }
        for told in (KNOWN, LAW, NOTHING, OPPOSITE):
            found = rows.loc[(execution, load, says, weight_s, told)]
            row[told] = with_limits(found["ratio"], found["ci_low"], found["ci_high"], ".2f")
        shown.append(row)
    return pd.DataFrame(shown).style.hide(axis="index")


def show_heavy(chosen: pd.DataFrame) -> Styler:
    """Mean latency over first come's where lengths are log-t, a column a place."""
    rows = chosen[chosen["metric"] == "mean_s"]
    texts = [with_limits(row.ratio, row.ci_low, row.ci_high, ".2f") for row in rows.itertuples()]
    names = [f"{row.execution}, load {row.load:g}, spread {row.spread:g}" for row in rows.itertuples()]
    wide = rows.assign(text=texts, place=names).pivot_table(
        index="says", columns="place", values="text", aggfunc="first"
    )
    return wide.loc[list(SAYS)].rename_axis(columns=None).reset_index().style.hide(axis="index")
