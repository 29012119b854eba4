"""The tables of the chapter on prefix caches, as its page shows them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from book.chapters.prefix_cache.figures import ROUTERS, TITLES
from book.chapters.prefix_cache.study import LIVE, NONE, RECORDED
from simlib.text import percent, seconds

TOLD = {NONE: "none", LIVE: "live"}


def tokens(count: float) -> str:
    """A memory in thousands or millions of tokens."""
    return f"{count / 1e6:g} million" if count >= 1e6 else f"{count / 1e3:g} thousand"


def times(row: Any) -> str:
    """A ratio, with its interval where there is one."""
    return f"{row.ratio:.2f}" + ("" if pd.isna(row.ci_low) else f" ({row.ci_low:.2f} to {row.ci_high:.2f})")


def show_capacities(table: pd.DataFrame, ratios: pd.DataFrame) -> Styler:
    """A row a kind of traffic and memory: what is found, what is carried, and both ratios."""
    place = ["workload", "memory_tokens"]
    rows = []
    for key, own in table.groupby(place, sort=False):
        own, of = own.set_index("cache"), ratios.set_index([*place, "cache"]).loc[key]
        rows.append(
            {"traffic": TITLES[key[0]].lower(), "memory": tokens(key[1])}
            | {"found": percent(own.loc[LIVE, "hit_share"], 0)}
            | {f"TTFT, {said}": seconds(own.loc[cache, "ttft_p50_s"], 2) for cache, said in TOLD.items()}
            | {"requests/s, none": f"{own.loc[NONE, 'capacity_rps']:.2f}"}
            | {"live, times that": times(of.loc[LIVE])}
            | {"recorded, times live": times(of.loc[RECORDED])}
        )
    return pd.DataFrame(rows).style.hide()


def show_places(ratios: pd.DataFrame) -> Styler:
    """How many times as much 64 places carry, a row a memory and cache."""
    rows = []
    for (memory, cache), own in ratios.groupby(["memory_tokens", "cache"], sort=False):
        said = {"memory (tokens)": tokens(memory), "cache": {NONE: "none", LIVE: "live"}[cache]}
        rows.append(said | {f"{row.places} places over {row.over}": times(row) for row in own.itertuples()})
    return pd.DataFrame(rows).style.hide()


def show_routers(ratios: pd.DataFrame) -> Styler:
    """Capacity of several engines over that of the fewest requests."""
    rows = [
        {"traffic": TITLES[row.workload].lower(), "engines": row.engines, "who gets the prompt": ROUTERS[row.routing]}
        | {"capacity, times that of fewest requests": times(row)}
        for row in ratios.itertuples()
    ]
    return pd.DataFrame(rows).style.hide()
