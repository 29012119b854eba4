"""Tables of what a predictor should say: gains and who pays, ranks, and what papers claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.prompts.study import CELL, MAIN_SPREAD, SAYS
from book.kit.tables import with_limits

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

HEADS = {"mean_s": "mean", "p99_s": "P99", "short_s": "short third", "long_s": "long third"}


def chosen_of(ratios: pd.DataFrame, picked: pd.DataFrame) -> pd.DataFrame:
    """The rows of `study.ratios_of` at the weights of `study.picked`."""
    return ratios.merge(picked, on=[*CELL, "weight_s"])


def show_gains(chosen: pd.DataFrame) -> Styler:
    """Latency over first come's at the main spread: in the mean, at its P99, of short and of long answers."""
    rows = chosen[chosen["spread"] == MAIN_SPREAD]
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


def show_claims(claims: pd.DataFrame) -> Styler:
    """What is claimed, what is found, and the verdict, one row a point."""
    shown = pd.DataFrame(
        {
            "who": claims["source"],
            "claim": claims["claim"],
            "claimed": claims["claimed"].map("{:.3g}".format).replace("nan", "more"),
            "ours": [
                "–" if pd.isna(row.ours) else with_limits(row.ours, row.ci_low, row.ci_high, ".2f")
                for row in claims.itertuples()
            ],
            "verdict": claims["verdict"],
            "rule": claims["rule"],
        }
    )
    return shown.style.hide(axis="index")
