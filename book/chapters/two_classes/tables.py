"""Tables of two classes: who is in time under which order, step, limit and mix, and what papers claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.two_classes.chat import MAIN_RPS
from book.chapters.two_classes.engines import TRAFFIC
from book.chapters.two_classes.study import CLASSES, REFUSES
from book.kit.tables import with_limits

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def _percent(row: pd.Series) -> str:
    """A share and its interval in percent."""
    return with_limits(*(100 * row[each] for each in ("share", "ci_low", "ci_high")), ".0f")


def _wide(rows: pd.DataFrame, index: list[str], columns: list[str]) -> pd.DataFrame:
    """Shares as text, in the order of the rows."""
    rows = rows.assign(text=rows.apply(_percent, axis=1))
    wide = rows.pivot_table(index=index, columns=columns, values="text", aggfunc="first", sort=False)
    return wide.rename_axis(columns=[None] * len(columns)).reset_index()


def show_orders(orders: pd.DataFrame, load: float, settings: pd.DataFrame) -> Styler:
    """Who is in time at one load under each order, in percent, with the setting that was picked for it."""
    rows = orders[(orders["load"] == load) & (orders["metric"] != "both")]
    wide = _wide(rows[rows["setting"] == "own"], ["order"], ["metric"])
    usual = rows[(rows["setting"] == "default") & (rows["metric"] == "interactive")]
    wide = wide.merge(_wide(usual, ["order"], ["metric"]), on="order", how="left", suffixes=("", ", usual step"))
    known = settings.set_index("order").loc[wide["order"]]
    wide.insert(1, "places", known["places"].to_numpy())
    wide.insert(2, "tokens of a step", known["budget_tokens"].to_numpy())
    return wide.fillna("").style.hide(axis="index")


def show_shares(table: pd.DataFrame, by: list[str], arm: str = "order") -> Styler:
    """Who is in time by place and arm, a class a column, in percent."""
    rows = table[table["metric"].isin(("interactive", "batch"))].copy()
    for column in by:
        if rows[column].dtype.kind == "f":
            rows[column] = rows[column].map("{:g}".format)
    return _wide(rows, [*by, arm], ["metric"]).style.hide(axis="index")


def show_paces(table: pd.DataFrame) -> Styler:
    """Interactive requests in time, in percent, by the limit on the time of a token: priority with refusals."""
    rows = table[(table["order"] == REFUSES) & (table["metric"] == "interactive")]
    rows = rows.assign(limit=[f"{1000 * limit_s:g} ms a token" for limit_s in rows["tpot_s"]])
    rows = rows.assign(step=rows["setting"].map({"default": "usual", "own": "picked"}))
    return _wide(rows, ["step"], ["limit"]).style.hide(axis="index")


def show_talks(table: pd.DataFrame) -> Styler:
    """Who is in time in conversations above capacity, and what of their prompts was found in the cache, in percent."""
    rows = table[(table["rate_rps"] == MAIN_RPS) & (table["setting"] == "own")]
    wide = _wide(rows, ["order"], ["metric"])
    heads = {f"found_{name}": f"found, {name}" for name in CLASSES}
    return wide.rename(columns=heads).style.hide(axis="index")


def show_transferred(table: pd.DataFrame) -> Styler:
    """Who is in time of a traffic, in percent, under the setting that is best for itself and for the others."""
    rows = table[table["metric"] == "both"]
    wide = _wide(rows, ["traffic"], ["best_for"]).rename(columns={name: f"best for {name}" for name in TRAFFIC})
    return wide.rename(columns={"traffic": "who is served"}).style.hide(axis="index")


def show_bound(table: pd.DataFrame) -> Styler:
    """Goodput of both classes over the bound, in percent, by load."""
    rows = table[table["metric"] == "of_bound"]
    rows = rows.assign(load=rows["load"].map("load {:g}".format))
    return _wide(rows, ["order"], ["load"]).style.hide(axis="index")
