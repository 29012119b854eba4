"""From the rankings at matched load to sentences and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from simlib.checks import reads_tables
from simlib.notebook import interval, percent, signed
from simlib.reading import established
from simlib.schedulers import short_name
from simlib.studies import levels

if TYPE_CHECKING:
    from IPython.display import HTML
    from pandas.io.formats.style import Styler

__all__ = [
    "causes_answer",
    "flips",
    "loads_answer",
    "matched_answer",
    "show_causes",
    "show_flips",
    "show_loads",
    "show_matched_rankings",
]


@reads_tables
def flips(differences: pd.DataFrame, pair: tuple[str, str] = levels.PAIRS[2]) -> pd.DataFrame:
    """In how many places a pair's first scheduler has fewer late requests, more, or no established difference.

    ``requests, times, load, places, fewer, more``: by kind of requests, by kind of batch times (the formula of the
    levels, or measured), and by load. `differences` is `matched_levels.differences`'s.
    """
    rows = differences[(differences["scheduler_a"] == pair[0]) & (differences["scheduler_b"] == pair[1])]
    kinds = _kinds(rows).assign(sign=[_sign(row) for row in rows.itertuples()])
    grouped = kinds.groupby(["requests", "times", "load"], sort=False)["sign"]
    found = grouped.agg(places="size", fewer=lambda s: int((s < 0).sum()), more=lambda s: int((s > 0).sum()))
    return found.reset_index()


@reads_tables
def matched_answer(rankings: pd.DataFrame, differences: pd.DataFrame) -> str:
    """Whether one ranking holds, and how often multi-bin batching is alone the best or better than dynamic batching."""
    cells = rankings.groupby(["level", "latency", "load"], sort=False)
    common = cells.first()["ranking"]
    alone = rankings["share"].where(rankings["ranking"].str.startswith("multi_bin_dynamic <"), 0.0)
    best = alone.groupby([rankings[key] for key in ("level", "latency", "load")], sort=False).sum()
    counted = flips(differences)
    fewer, more = int(counted["fewer"].sum()), int(counted["more"].sum())
    kinds = common.nunique()
    return (
        f"{'No' if kinds > 1 else 'Yes'}: of {len(common)} places and loads the most likely ranking is "
        f"{'one of ' + str(kinds) if kinds > 1 else 'the same in all'}. Multi-bin batching alone is best with more "
        f"than even odds in {int((best > 0.5).sum())} of them; against dynamic batching it has fewer late requests in "
        f"{fewer}, more in {more}, and no established difference in {len(common) - fewer - more}."
    )


@reads_tables
def causes_answer(differences: pd.DataFrame, causes: pd.DataFrame) -> str:
    """Whether late requests follow what bins save in service and cost in waiting, and what work they make or save."""
    a, b = levels.PAIRS[2]
    rows = differences[(differences["scheduler_a"] == a) & (differences["scheduler_b"] == b)]
    both = rows.merge(causes, on=["level", "latency", "load"])
    sure = both[[_sign(row) != 0 for row in both.itertuples()]]
    agree = int((np.sign(sure["waiting"] + sure["service"]) == np.sign(sure["difference"])).sum())
    shorter, longer = int((causes["service_high"] < 0).sum()), int((causes["waiting_low"] > 0).sum())
    smaller = int((causes["batch_size_a"] < causes["batch_size_b"]).sum())
    more, less = _kinds(causes[causes["work_low"] > 0]), _kinds(causes[causes["work_high"] < 0])
    spared = less.groupby(["requests", "times"], sort=False).size()
    parts = [f"{count} with {requests} requests, {times} times" for (requests, times), count in spared.items()]
    saved = f", and less in {len(less)} (down to {_percent(less['work'].min())}; {', '.join(parts)})" if parts else ""
    return (
        f"Bins make batches alike: in {shorter} of {len(causes)} places and loads a request's service is shorter than "
        f"under dynamic batching. They also make them smaller ({smaller} of {len(causes)}), and in {longer} requests "
        f"wait longer. Where a difference in late requests is established, it has the sign of the two together in "
        f"{agree} of {len(sure)}. What bins do to the wait shows in the GPU time that a request takes: it is more in "
        f"{len(more)} (up to {_percent(more['work'].max())}), as fewer share a batch{saved}, as each member of a mixed "
        "batch is charged for its longest."
    )


@reads_tables
def loads_answer(loads: pd.DataFrame) -> str:
    """How far apart the document's levels are in load and deadline."""
    least, most = loads.loc[loads["load"].idxmin()], loads.loc[loads["load"].idxmax()]
    return (
        f"In these terms the document's levels lie between a load of {least['load']:.2f} (level {least['level']:.0f}) "
        f"and one of {most['load']:.2f} (level {most['level']:.0f}), and their deadline of a second is "
        f"{loads['slack'].min():.1f} to {loads['slack'].max():.1f} times what a batch takes."
    )


@reads_tables
def show_loads(loads: pd.DataFrame) -> Styler:
    """The document's levels in the terms of this study."""
    names = {"rate_rps": "requests/s", "saturated_rps": "batches of 8 serve (requests/s)", "slack": "deadline ÷ batch"}
    return loads.rename(columns=names).style.format(precision=2).hide(axis="index")


@reads_tables
def show_flips(differences: pd.DataFrame) -> Styler:
    """Multi-bin against dynamic batching by load: in how many places fewer late requests, more, or neither."""
    counted = flips(differences)
    texts = [_counts(row) for row in counted.itertuples()]
    named = counted.rename(columns={"times": "batch times"}).assign(text=texts)
    keys = ["requests", "batch times"]
    wide = named.pivot_table(index=keys, columns="load", values="text", aggfunc="first", sort=False)
    wide.columns = [f"load {load:g}" for load in wide.columns]
    return wide.reset_index().style.hide(axis="index")


@reads_tables
def show_causes(causes: pd.DataFrame) -> Styler:
    """Means over the places of a kind, by load: waiting and service in shares of the deadline, GPU time relative."""
    means = _kinds(causes).groupby(["requests", "times", "load"], sort=False)[["waiting", "service", "work"]].mean()
    shown = means.reset_index().rename(columns={"times": "batch times", "work": "GPU time"})
    formats = {"load": "{:g}", "waiting": signed, "service": signed, "GPU time": _percent}
    return shown.style.format(formats).hide(axis="index")


@reads_tables
def show_matched_rankings(rankings: pd.DataFrame) -> HTML:
    """Every ranking with its probability, to be unfolded load by load."""
    from IPython.display import HTML

    parts = []
    for load, rows in rankings.groupby("load", sort=False):
        shown = pd.DataFrame(
            {
                "level": rows["level"],
                "batch times": rows["latency"],
                "ranking, best first": [_short(ranking) for ranking in rows["ranking"]],
                "probability": [percent(share, 0) for share in rows["share"]],
                "95 % interval": [interval(row.ci_low, row.ci_high, 0) for row in rows.itertuples()],
            }
        )
        table = shown.style.hide(axis="index").to_html()
        parts.append(f"<details><summary>load {load:g}: {len(rows)} rankings</summary>{table}</details>")
    return HTML("".join(parts))


def _sign(row: Any) -> int:
    return int(np.sign(row.difference)) if established(row) else 0


def _kinds(table: pd.DataFrame) -> pd.DataFrame:
    """With the kind of requests, and whether batch times are the formula of the levels or measured."""
    formula = {level.latency for level in levels.LEVELS.values()}
    return table.assign(
        requests=["BurstGPT-like" if levels.of(level).on_trace else "Poisson" for level in table["level"]],
        times=["formula" if latency in formula else "measured" for latency in table["latency"]],
    )


def _percent(change: float) -> str:
    return f"{signed(100 * change, 1)} %"


def _counts(row: Any) -> str:
    neither = row.places - row.fewer - row.more
    parts = [(row.fewer, "fewer"), (row.more, "more"), (neither, "neither")]
    return ", ".join(f"{count} {word}" for count, word in parts if count)


def _short(ranking: str) -> str:
    for name in levels.SCHEDULERS:
        ranking = ranking.replace(name, short_name(name))
    return ranking.replace("<", "&lt;")
