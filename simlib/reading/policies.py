"""From the comparison of policies to advice: each sentence counts rows of its table, none is asserted without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables
from simlib.notebook import percent, signed
from simlib.reading import established
from simlib.studies.policies import AXIS_LOAD, BASELINES, BATCHES, BLIND, CLASSES, MAIN, PREDICTORS, STEPS, Place

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = [
    "advice",
    "best",
    "counts",
    "fairness_answer",
    "floor_answer",
    "overload_answer",
    "predictor_answer",
    "rejection_answer",
    "show_late",
    "show_places",
    "show_who_pays",
    "who_pays_answer",
]

LATE = "sla_violation_share"
ENOUGH = 0.25  # of the places: what a policy must win on balance to be advised
NAMES = {BATCHES: "batches that run to completion", STEPS: "continuous batching"}
TRAFFIC_NAMES = {"poisson": "Poisson", "burstgpt_like": "BurstGPT-like", "azure_like": "Azure-like"}


@reads_tables
def counts(table: pd.DataFrame, metric: str = LATE, least_load: float = 0.0) -> pd.DataFrame:
    """In how many places (traffic and load) a policy has established less or more of a metric than its baseline.

    ``execution, policy, places, fewer, more, change``: under the main predictor, at loads from `least_load` on; the
    last is the mean difference.
    """
    rows = _compared(table, metric)
    rows = rows[rows["load"] >= least_load]
    rows = rows.assign(sign=[_sign(row) for row in rows.itertuples()])
    grouped = rows.groupby(["execution", "policy"], sort=False)
    found = grouped.agg(
        places=("sign", "size"),
        fewer=("sign", lambda s: int((s < 0).sum())),
        more=("sign", lambda s: int((s > 0).sum())),
        change=("difference", "mean"),
    )
    return found.reset_index()


@reads_tables
def best(table: pd.DataFrame, execution: str) -> str:
    """The policy with fewer late requests in most places, less those with more; the baseline below `ENOUGH` of them."""
    rows = counts(table)
    rows = rows[rows["execution"] == execution]
    rows = rows.assign(net=rows["fewer"] - rows["more"]).sort_values(["net", "change"], ascending=[False, True])
    return (
        str(rows.iloc[0]["policy"]) if rows.iloc[0]["net"] >= ENOUGH * rows.iloc[0]["places"] else BASELINES[execution]
    )


@reads_tables
def advice(table: pd.DataFrame, execution: str) -> str:
    """Which policy to use in an execution, and how each of the others compares with first come, first served."""
    chosen, rows = best(table, execution), counts(table)
    rows = rows[rows["execution"] == execution]
    base = BASELINES[execution]
    own = rows[rows["policy"] == chosen]
    start = f"With {NAMES[execution]}, "
    if own.empty:
        start += (
            f"keep first come, first served ({base}): less those with more late requests, no policy has fewer in "
            f"{percent(ENOUGH, 0)} of the places"
        )
    else:
        start += f"use {chosen}: {_counted(own.iloc[0], base)}"
    others = rows[rows["policy"] != chosen].sort_values(["fewer", "more"], ascending=[False, True])
    listed = "; ".join(f"{row.policy} fewer in {row.fewer}, more in {row.more}" for row in others.itertuples())
    return f"{start}. The others: {listed}, of {int(rows['places'].max())}."


@reads_tables
def predictor_answer(table: pd.DataFrame) -> str:
    """What is left of the advised policy of each execution as the predictor gets worse."""
    parts = []
    for execution in BASELINES:
        chosen = best(table, execution)
        if chosen in BLIND:
            continue
        rows = table[(table["execution"] == execution) & (table["policy"] == chosen) & (table["metric"] == LATE)]
        rows = rows[rows["load"] == AXIS_LOAD]
        said = []
        for name in PREDICTORS:
            own = rows[rows["predictor"] == name]
            sign = [_sign(row) for row in own.itertuples()]
            mean = signed(100 * own["difference"].mean(), 1)
            said.append(f"{name}: fewer in {sign.count(-1)}, more in {sign.count(1)} of {len(sign)} ({mean} points)")
        parts.append(f"{chosen} with {NAMES[execution]} at {percent(AXIS_LOAD, 0)}: {'; '.join(said)}")
    if not parts:
        return "The advised policies read no predictions."
    return f"It takes a predictor. {'. '.join(parts)}."


@reads_tables
def overload_answer(table: pd.DataFrame) -> str:
    """Which policies have fewer late requests where more comes than can be served."""
    rows, parts = counts(table, least_load=1.0), []
    for execution in BASELINES:
        own = rows[(rows["execution"] == execution) & (rows["fewer"] > rows["more"])]
        own = own.sort_values(["fewer", "change"], ascending=[False, True])
        listed = ", ".join(
            f"{row.policy} (in {row.fewer} of {row.places}; {signed(100 * row.change, 1)} points on average)"
            for row in own.itertuples()
        )
        parts.append(f"with {NAMES[execution]} {listed or 'none'}")
    return f"In overload these have fewer late requests than first come, first served: {'; '.join(parts)}."


@reads_tables
def who_pays_answer(table: pd.DataFrame) -> str:
    """Which policies take from long requests to give to short ones, or the other way."""
    short, long = (counts(table, f"late_{name}") for name in ("short", "long"))
    both = short.merge(long, on=["execution", "policy"], suffixes=("_short", "_long"))
    paid = both[(both["fewer_short"] > both["more_short"]) & (both["more_long"] > both["fewer_long"])]
    spared = both[(both["fewer_short"] > both["more_short"]) & (both["more_long"] == 0)]
    parts = [
        f"{row.policy} ({_short(row.execution)}) has fewer late among the short third of requests in "
        f"{row.fewer_short} of {row.places_short} places and more among the long third in {row.more_long}"
        for row in paid.itertuples()
    ]
    parts += [
        f"{row.policy} ({_short(row.execution)}) spares the short third in {row.fewer_short} of {row.places_short} "
        "places, and in no place are established more late among the long third"
        for row in spared.itertuples()
    ]
    return f"Who pays: {'; '.join(parts)}." if parts else "No policy moves lateness between short and long requests."


@reads_tables
def fairness_answer(table: pd.DataFrame) -> str:
    """What fair shares do for light clients, for the heavy one and in all, in each execution."""
    parts = []
    for execution in BASELINES:
        found = {}
        for metric in ("late_light_clients", "late_heavy_client", LATE):
            rows = counts(table, metric)
            found[metric] = rows[(rows["execution"] == execution) & (rows["policy"] == "fair_share")].iloc[0]
        light, heavy, late = found.values()
        parts.append(
            f"with {NAMES[execution]} light clients have fewer late requests in {light['fewer']} of {light['places']} "
            f"places and more in {light['more']}, the heavy one fewer in {heavy['fewer']} and more in {heavy['more']}, "
            f"all together fewer in {late['fewer']} and more in {late['more']}"
        )
    return f"Fair shares between clients: {'; '.join(parts)}."


@reads_tables
def rejection_answer(table: pd.DataFrame) -> str:
    """What turning requests away, or letting clients leave, does to late requests and to the latency of the others."""
    parts = []
    for execution, policy in ((BATCHES, "early_rejection"), (STEPS, "timeout")):
        late, tail = (counts(table, metric) for metric in (LATE, "latency_p99_s"))
        row, p99 = (
            rows[(rows["execution"] == execution) & (rows["policy"] == policy)].iloc[0] for rows in (late, tail)
        )
        parts.append(
            f"{policy} ({_short(execution)}) has fewer late requests in {row['fewer']} of {row['places']} places, "
            f"more in {row['more']} ({signed(100 * row['change'], 1)} points on average; whoever is turned away is "
            f"late), and a lower 99th percentile of those served in {p99['fewer']}"
        )
    return f"Turning away: {'; '.join(parts)}."


@reads_tables
def floor_answer(table: pd.DataFrame) -> str:
    """How far first come, first served and the best policy are above the floor under the mean latency."""
    rows = table[(table["metric"] == "over_floor") & (table["predictor"] == MAIN) & table["value"].notna()]
    parts = []
    for execution, base in BASELINES.items():
        own = rows[rows["execution"] == execution]
        first = own[own["policy"] == base]
        least = own.groupby(["traffic", "load"], sort=False)["value"].min()
        parts.append(
            f"with {NAMES[execution]} first come, first served has {first['value'].min():.1f} to "
            f"{first['value'].max():.1f} times the mean latency that no order can be below, the best policy of each "
            f"place {least.min():.1f} to {least.max():.1f} times"
        )
    return f"What is left on the table: {'; '.join(parts)}."


def show_places(places: list[Place]) -> Styler:
    """What load 100 % is, and the deadline, of each execution and traffic."""
    rows = [
        {"execution": _short(place.execution), "traffic": TRAFFIC_NAMES[place.traffic]}
        | {"100 % (requests/s)": f"{place.capacity_rps:.2f}", "deadline (s)": f"{place.d_sla:.1f}"}
        for place in places
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


@reads_tables
def show_late(table: pd.DataFrame) -> Styler:
    """Shares of late requests by place; an arrow where they are established to be fewer or more."""
    rows = table[(table["metric"] == LATE) & (table["predictor"] == MAIN)]
    arrows = {-1: " ↓", 0: "", 1: " ↑"}
    texts = [f"{percent(row.value)}{arrows[_sign(row)]}" for row in rows.itertuples()]
    named = rows.assign(text=texts, traffic=rows["traffic"].map(TRAFFIC_NAMES), execution=rows["execution"].map(_short))
    keys = ["execution", "policy"]
    wide = named.pivot_table(index=keys, columns=["traffic", "load"], values="text", aggfunc="first", sort=False)
    wide.columns = [f"{traffic}, {percent(load, 0)}" for traffic, load in wide.columns]
    return wide.reset_index().style.hide(axis="index")


@reads_tables
def show_who_pays(table: pd.DataFrame, load: float) -> Styler:
    """Late requests by true length and by client at one load: differences in points, bold where established."""
    parts = {f"late_{name}": name for name in CLASSES}
    parts |= {"late_light_clients": "light clients", "late_heavy_client": "heavy client"}
    rows = table[(table["load"] == load) & (table["predictor"] == MAIN) & table["metric"].isin(parts)]
    rows = rows[rows["difference"].notna()]
    texts = []
    for row in rows.itertuples():
        text = signed(100 * row.difference, 1)
        texts.append(f"<b>{text}</b>" if _sign(row) else text)
    named = rows.assign(text=texts, traffic=rows["traffic"].map(TRAFFIC_NAMES), execution=rows["execution"].map(_short))
    keys = ["execution", "traffic", "policy"]
    wide = named.pivot_table(index=keys, columns="metric", values="text", aggfunc="first", sort=False)
    return wide[list(parts)].rename(columns=parts).rename_axis(columns=None).reset_index().style.hide(axis="index")


def _compared(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    rows = table[(table["metric"] == metric) & (table["predictor"] == MAIN)]
    return rows[rows["policy"] != rows["execution"].map(BASELINES)]


def _sign(row: Any) -> int:
    if pd.isna(row.difference) or not established(row):
        return 0
    return 1 if row.difference > 0 else -1


def _counted(row: pd.Series, base: str) -> str:
    return (
        f"fewer late requests than under {base} in {row['fewer']} of {row['places']} places, more in {row['more']} "
        f"({signed(100 * row['change'], 1)} points on average)"
    )


def _short(execution: str) -> str:
    return "batches" if execution == BATCHES else "steps"
