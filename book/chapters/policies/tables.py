"""Tables of the comparison of policies: in how many places each has fewer late requests, and who pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.policies.study import BASELINES, CLASSES, MAIN, Place
from book.kit.names import SHORT_EXECUTION_NAMES, TRAFFIC_NAMES
from book.kit.tables import sign
from simlib.text import percent, signed

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


LATE = "sla_violation_share"


def counts(table: pd.DataFrame, metric: str = LATE, least_load: float = 0.0) -> pd.DataFrame:
    """In how many places (traffic and load) a policy has established less or more of a metric than its baseline.

    ``execution, policy, places, fewer, more, change``: under the main predictor, at loads from `least_load` on; the
    last is the mean difference.
    """
    rows = _compared(table, metric)
    rows = rows[rows["load"] >= least_load]
    rows = rows.assign(sign=[sign(row) for row in rows.itertuples()])
    grouped = rows.groupby(["execution", "policy"], sort=False)
    found = grouped.agg(
        places=("sign", "size"),
        fewer=("sign", lambda s: int((s < 0).sum())),
        more=("sign", lambda s: int((s > 0).sum())),
        change=("difference", "mean"),
    )
    return found.reset_index()


def show_places(places: list[Place]) -> Styler:
    """What load 100 % is, and the deadline, of each execution and traffic."""
    rows = [
        {"execution": SHORT_EXECUTION_NAMES[place.execution], "traffic": TRAFFIC_NAMES[place.traffic]}
        | {"100 % (requests/s)": f"{place.capacity_rps:.2f}", "deadline (s)": f"{place.d_sla:.1f}"}
        for place in places
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


def show_late(table: pd.DataFrame) -> Styler:
    """Shares of late requests by place; an arrow where they are established to be fewer or more."""
    rows = table[(table["metric"] == LATE) & (table["predictor"] == MAIN)]
    arrows = {-1: " ↓", 0: "", 1: " ↑"}
    texts = [f"{percent(row.value)}{arrows[sign(row)]}" for row in rows.itertuples()]
    named = rows.assign(
        text=texts, traffic=rows["traffic"].map(TRAFFIC_NAMES), execution=rows["execution"].map(SHORT_EXECUTION_NAMES)
    )
    keys = ["execution", "policy"]
    wide = named.pivot_table(index=keys, columns=["traffic", "load"], values="text", aggfunc="first", sort=False)
    wide.columns = [f"{traffic}, {percent(load, 0)}" for traffic, load in wide.columns]
    return wide.reset_index().style.hide(axis="index")


def show_who_pays(table: pd.DataFrame, load: float) -> Styler:
    """Late requests by true length and by client at one load: differences in points, bold where established."""
    parts = {f"late_{name}": name for name in CLASSES}
    parts |= {"late_light_clients": "light clients", "late_heavy_client": "heavy client"}
    rows = table[(table["load"] == load) & (table["predictor"] == MAIN) & table["metric"].isin(parts)]
    rows = rows[rows["difference"].notna()]
    texts = []
    for row in rows.itertuples():
        text = signed(100 * row.difference, 1)
        texts.append(f"<b>{text}</b>" if sign(row) else text)
    named = rows.assign(
        text=texts, traffic=rows["traffic"].map(TRAFFIC_NAMES), execution=rows["execution"].map(SHORT_EXECUTION_NAMES)
    )
    keys = ["execution", "traffic", "policy"]
    wide = named.pivot_table(index=keys, columns="metric", values="text", aggfunc="first", sort=False)
    return wide[list(parts)].rename(columns=parts).rename_axis(columns=None).reset_index().style.hide(axis="index")


def show_floor(table: pd.DataFrame) -> Styler:
    """Mean latency as a multiple of the floor, from the least place to the most: first come, and each place's best."""
    rows = table[(table["metric"] == "over_floor") & (table["predictor"] == MAIN) & table["value"].notna()]
    shown = []
    for execution, base in BASELINES.items():
        own = rows[rows["execution"] == execution]
        first = own.loc[own["policy"] == base, "value"]
        best = own.groupby(["traffic", "load"], sort=False)["value"].min()
        ranges = [f"{values.min():.1f} to {values.max():.1f}" for values in (first, best)]
        columns = ("execution", "first come, first served", "best policy of each place")
        shown.append(dict(zip(columns, (SHORT_EXECUTION_NAMES[execution], *ranges), strict=True)))
    return pd.DataFrame(shown).style.hide(axis="index")


def _compared(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    rows = table[(table["metric"] == metric) & (table["predictor"] == MAIN)]
    return rows[rows["policy"] != rows["execution"].map(BASELINES)]
