"""Advice from the comparison of policies: each sentence counts rows of its table, none is asserted without them."""

from __future__ import annotations

import pandas as pd

from book.chapters.policies.study import AXIS_LOAD, BASELINES, BATCHES, BLIND, MAIN, PREDICTORS, STEPS
from book.chapters.policies.tables import LATE, counts
from book.kit.names import EXECUTION_NAMES, SHORT_EXECUTION_NAMES
from book.kit.tables import sign
from simlib.text import percent, signed

ENOUGH = 0.25  # of the places: what a policy must win on balance to be advised


def best(table: pd.DataFrame, execution: str) -> str:
    """The policy with fewer late requests in most places, less those with more; the baseline below `ENOUGH` of them."""
    rows = counts(table)
    rows = rows[rows["execution"] == execution]
    rows = rows.assign(net=rows["fewer"] - rows["more"]).sort_values(["net", "change"], ascending=[False, True])
    return (
        str(rows.iloc[0]["policy"]) if rows.iloc[0]["net"] >= ENOUGH * rows.iloc[0]["places"] else BASELINES[execution]
    )


def advice(table: pd.DataFrame, execution: str) -> str:
    """Which policy to use in an execution, and how each of the others compares with first come, first served."""
    chosen, rows = best(table, execution), counts(table)
    rows = rows[rows["execution"] == execution]
    base = BASELINES[execution]
    own = rows[rows["policy"] == chosen]
    start = f"With {EXECUTION_NAMES[execution]}, "
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
            signs = [sign(row) for row in own.itertuples()]
            mean = signed(100 * own["difference"].mean(), 1)
            said.append(f"{name}: fewer in {signs.count(-1)}, more in {signs.count(1)} of {len(signs)} ({mean} points)")
        parts.append(f"{chosen} with {EXECUTION_NAMES[execution]} at {percent(AXIS_LOAD, 0)}: {'; '.join(said)}")
    if not parts:
        return "The advised policies read no predictions."
    return f"It takes a predictor. {'. '.join(parts)}."


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
        parts.append(f"with {EXECUTION_NAMES[execution]} {listed or 'none'}")
    return f"In overload these have fewer late requests than first come, first served: {'; '.join(parts)}."


def who_pays_answer(table: pd.DataFrame) -> str:
    """Which policies take from long requests to give to short ones, or the other way."""
    short, long = (counts(table, f"late_{name}") for name in ("short", "long"))
    both = short.merge(long, on=["execution", "policy"], suffixes=("_short", "_long"))
    paid = both[(both["fewer_short"] > both["more_short"]) & (both["more_long"] > both["fewer_long"])]
    spared = both[(both["fewer_short"] > both["more_short"]) & (both["more_long"] == 0)]
    parts = [
        f"{row.policy} ({SHORT_EXECUTION_NAMES[row.execution]}) has fewer late among the short third of requests in "
        f"{row.fewer_short} of {row.places_short} places and more among the long third in {row.more_long}"
        for row in paid.itertuples()
    ]
    parts += [
        f"{row.policy} ({SHORT_EXECUTION_NAMES[row.execution]}) spares the short third in {row.fewer_short} of "
        f"{row.places_short} places, and in no place are established more late among the long third"
        for row in spared.itertuples()
    ]
    return f"Who pays: {'; '.join(parts)}." if parts else "No policy moves lateness between short and long requests."


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
            f"with {EXECUTION_NAMES[execution]} light clients have fewer late requests in {light['fewer']} of "
            f"{light['places']} places and more in {light['more']}, the heavy one fewer in {heavy['fewer']} and more "
            f"in {heavy['more']}, all together fewer in {late['fewer']} and more in {late['more']}"
        )
    return f"Fair shares between clients: {'; '.join(parts)}."


def rejection_answer(table: pd.DataFrame) -> str:
    """What turning requests away, or letting clients leave, does to late requests and to the latency of the others."""
    parts = []
    for execution, policy in ((BATCHES, "early_rejection"), (STEPS, "timeout")):
        late, tail = (counts(table, metric) for metric in (LATE, "latency_p99_s"))
        row, p99 = (
            rows[(rows["execution"] == execution) & (rows["policy"] == policy)].iloc[0] for rows in (late, tail)
        )
        parts.append(
            f"{policy} ({SHORT_EXECUTION_NAMES[execution]}) has fewer late requests in {row['fewer']} of "
            f"{row['places']} places, more in {row['more']} ({signed(100 * row['change'], 1)} points on average; "
            f"whoever is turned away is late), and a lower 99th percentile of those served in {p99['fewer']}"
        )
    return f"Turning away: {'; '.join(parts)}."


def floor_answer(table: pd.DataFrame) -> str:
    """How far first come, first served and the best policy are above the floor under the mean latency."""
    rows = table[(table["metric"] == "over_floor") & (table["predictor"] == MAIN) & table["value"].notna()]
    parts = []
    for execution, base in BASELINES.items():
        own = rows[rows["execution"] == execution]
        first = own[own["policy"] == base]
        least = own.groupby(["traffic", "load"], sort=False)["value"].min()
        parts.append(
            f"with {EXECUTION_NAMES[execution]} first come, first served has {first['value'].min():.1f} to "
            f"{first['value'].max():.1f} times the mean latency that no order can be below, the best policy of each "
            f"place {least.min():.1f} to {least.max():.1f} times"
        )
    return f"What is left on the table: {'; '.join(parts)}."


def _counted(row: pd.Series, base: str) -> str:
    return (
        f"fewer late requests than under {base} in {row['fewer']} of {row['places']} places, more in {row['more']} "
        f"({signed(100 * row['change'], 1)} points on average)"
    )
