"""Tables of the comparison of policies: in how many places each has fewer late requests, and who pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.policies.study import BASELINE, BATCHES, CLASSES, MAIN, Place
from book.kit.names import SCHEDULER_NAMES, SHORT_EXECUTION_NAMES, TRAFFIC_NAMES
from book.kit.tables import sign, with_limits
from simlib.text import percent, signed

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


LATE = "sla_violation_share"
NAMES = SCHEDULER_NAMES | {
    "optimal_bins": "bins, edges that cost least",
    "joint_optimum": "bins, batch sizes of their own",
    "early_rejection": "early rejection",
    "timeout": "clients leave",
    "fair_share": "fair shares",
}
FIRST_COME = ("static_fifo", "dynamic_no_bins")  # in order of arrival, as the baseline
PREDICTOR_NAMES = {
    "oracle": "perfect predictions",
    "noise 0.5": "typical errors (σ = 0.5)",
    "rank 0.4": "poor ones (rank 0.4)",
    "original": "the original's formula",
    "perfect": "perfect predictions",
}


USABLE = "predictor != 'rank 0.4'"
BAND = f"gpus > 1 and deadline_s in (22.4, 35.3) and load in (0.8, 0.95) and {USABLE}"  # where bins pay


def points(difference: float) -> str:
    """A difference of shares in points: ``+3``, ``−12``; below half a point ``+0.4``, and ``0`` from either side."""
    digits = 0 if abs(difference) >= 0.005 else 1
    rounded = round(100 * difference, digits)
    return signed(rounded, digits) if rounded else "0"


def tally(table: pd.DataFrame, where: str = "load > 0", against: str = "") -> pd.Series:
    """In how many cells of the map (`sign_map.table_of`) bins leave fewer or more late: ``cells, fewer, more``.

    Against the rival, or, with ``first_``, against the best in order of arrival.
    """
    names = ["difference", "p_holm"]
    rows = table.query(where)[[against + name for name in names]].set_axis(names, axis=1)
    signs = [sign(row) for row in rows.itertuples()]
    return pd.Series({"cells": len(signs), "fewer": signs.count(-1), "more": signs.count(1)})


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
    """Shares of late requests by place, what was picked, and the difference from first come, first served."""
    rows = table[(table["metric"] == LATE) & (table["predictor"] == MAIN)]
    differences = [
        "–" if pd.isna(row.difference) else _in_points(row.difference, row.difference_ci_low, row.difference_ci_high)
        for row in rows.itertuples()
    ]
    shown = {
        "execution": rows["execution"].map(SHORT_EXECUTION_NAMES),
        "traffic": rows["traffic"].map(TRAFFIC_NAMES),
        "load": [percent(load, 0) for load in rows["load"]],
        "policy": rows["policy"].map(NAMES),
        "batch size": rows["chosen"],
        "late": [percent(value) for value in rows["value"]],
        "minus first come (points)": differences,
    }
    return pd.DataFrame(shown).style.hide(axis="index")


def show_map(table: pd.DataFrame) -> Styler:
    """In how many cells of the map bins leave fewer late / more late: by what is told apart, against either rival."""
    rows = []
    for axis, word in (("gpus", "{} GPUs"), ("deadline_s", "deadline {:g} s"), ("predictor", "{}")):
        for value in dict.fromkeys(table[axis]):
            both = [tally(table, f"{axis} == {value!r}", against) for against in ("", "first_")]
            row = {"settings": word.format(PREDICTOR_NAMES.get(value, value)), "in all": both[0]["cells"]}
            for name, found in zip(("against the best without", "against order of arrival"), both, strict=True):
                row[name] = f"{found['fewer']} / {found['more']}"
            rows.append(row)
    return pd.DataFrame(rows).style.hide(axis="index")


def show_cells(table: pd.DataFrame) -> Styler:
    """Every cell of the map: both arms, what was picked, and the difference."""
    shown = {
        "GPUs": table["gpus"],
        "predictor": table["predictor"].map(PREDICTOR_NAMES),
        "deadline": [f"{value:g} s" for value in table["deadline_s"]],
        "load": [percent(load, 0) for load in table["load"]],
        "bins, cap": table["bins"],
        "late": [percent(value) for value in table["bins_late"]],
        "rival, cap": table["rival"],
        "late there": [percent(value) for value in table["rival_late"]],
        "difference (points)": [
            _in_points(row.difference, row.difference_ci_low, row.difference_ci_high) for row in table.itertuples()
        ],
    }
    return pd.DataFrame(shown).style.hide(axis="index")


def boundary(conditions: pd.DataFrame) -> pd.DataFrame:
    """Capacities of four bins of equal mass on two GPUs over no bins, of `deadline_capacity`'s conditions.

    ``deadline_s, predictor, over`` (``dynamic``: dynamic batching, nobody's cap chosen; ``best``: the best without
    bins, everybody's chosen) with ``ratio, ci_low, ci_high``.
    """
    four = "scheduler == 'multi_bin_dynamic' and k_bins == 4 and gpus == 2"
    return conditions.query(four)[["deadline_s", "predictor", "over", "ratio", "ci_low", "ci_high"]]


def show_boundary(conditions: pd.DataFrame) -> Styler:
    """What four bins carry in time on two GPUs, by deadline and predictor."""
    names = {"dynamic": "over dynamic batching, no caps chosen", "best": "over the best without, caps chosen"}
    rows = boundary(conditions)
    rows = rows.assign(text=[with_limits(row.ratio, row.ci_low, row.ci_high, ".2f") for row in rows.itertuples()])
    wide = rows.pivot_table(
        index=["deadline_s", "predictor"], columns="over", values="text", aggfunc="first", sort=False
    )
    wide = wide[list(names)].rename(columns=names).rename_axis(columns=None).reset_index()
    wide = wide.assign(
        deadline_s=[f"{value:.1f} s" for value in wide["deadline_s"]], predictor=wide["predictor"].map(PREDICTOR_NAMES)
    )
    return wide.rename(columns={"deadline_s": "deadline"}).style.hide(axis="index")


def _in_points(difference: float, low: float, high: float) -> str:
    """``−9.9 (−12.8 to −7.0)``, without a minus before a zero."""
    mean, low, high = (signed(round(100 * value, 1) + 0.0, 1) for value in (difference, low, high))
    return f"{mean} ({low} to {high})"


def show_who_pays(table: pd.DataFrame, load: float, execution: str = BATCHES) -> Styler:
    """Late requests by true length and by client at one load: differences in points, bold where established."""
    parts = {f"late_{name}": name for name in CLASSES}
    parts |= {"late_light_clients": "light clients", "late_heavy_client": "heavy client"}
    rows = table[(table["load"] == load) & (table["predictor"] == MAIN) & table["metric"].isin(parts)]
    rows = rows[rows["difference"].notna() & (rows["execution"] == execution) & ~rows["policy"].isin(FIRST_COME)]
    texts = []
    for row in rows.itertuples():
        text = signed(round(100 * row.difference, 1) + 0.0, 1)
        texts.append(f"<b>{text}</b>" if sign(row) else text)
    named = rows.assign(text=texts, traffic=rows["traffic"].map(TRAFFIC_NAMES), policy=rows["policy"].map(NAMES))
    keys = ["policy", "traffic"]
    wide = named.pivot_table(index=keys, columns="metric", values="text", aggfunc="first", sort=False)
    return wide[list(parts)].rename(columns=parts).rename_axis(columns=None).reset_index().style.hide(axis="index")


def show_floor(table: pd.DataFrame) -> Styler:
    """Mean latency as a multiple of the floor, from the least place to the most: first come, and each place's best."""
    rows = table[(table["metric"] == "over_floor") & (table["predictor"] == MAIN) & table["value"].notna()]
    shown = []
    for execution in dict.fromkeys(rows["execution"]):
        own = rows[rows["execution"] == execution]
        first = own.loc[own["policy"] == BASELINE, "value"]
        best = own.groupby(["traffic", "load"], sort=False)["value"].min()
        ranges = [f"{values.min():.1f} to {values.max():.1f}" for values in (first, best)]
        columns = ("execution", "first come, first served", "best policy of each place")
        shown.append(dict(zip(columns, (SHORT_EXECUTION_NAMES[execution], *ranges), strict=True)))
    return pd.DataFrame(shown).style.hide(axis="index")


def _compared(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    rows = table[(table["metric"] == metric) & (table["predictor"] == MAIN)]
    return rows[rows["policy"] != BASELINE]
