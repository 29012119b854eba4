"""What an engine should allow for two classes at once, and whether each class should have an engine of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.two_classes.study import (
    FIRST_REFUSES,
    GRID,
    MAIN_LOAD,
    REFUSES,
    TUNING,
    TUNING_SEED,
    Rule,
    Setting,
    alone,
    at_rate,
    drawn,
    policy_of,
    requests,
    serve,
)
from simlib.requests.table import RequestTable

if TYPE_CHECKING:
    import pandas as pd


TRAFFIC = ("both", "interactive", "batch")  # what an engine serves: both classes, or one alone
ENOUGH, TOLERANCE, RANGE_RPS = 0.95, math.log(1.04), (4.0, 36.0)
SHARED_MIXES = (0.3, 0.5, 0.7, 0.85)
OWN_ENGINES, SHARED_FIRST, SHARED = "an engine for each class", "two shared, first come", "two shared, priority"
WAYS = (OWN_ENGINES, SHARED_FIRST, SHARED)


def traffic(name: str, count: int, seed: int, load: float = MAIN_LOAD) -> RequestTable:
    """Requests of both classes, or of one that has the engine to itself, at the same load of what they are."""
    if name == "both":
        return drawn(count, seed, load)
    return drawn(count, seed, load, 1.0 if name == "interactive" else 0.0)


def frontier(count: int, seed: int) -> pd.DataFrame:
    """Goodput by the places and the tokens of a step, of both classes and of each alone, on draws kept for picking.

    The order is priority, and whoever is late is refused; with one class that is first come.

    Returns
    -------
    pandas.DataFrame
        ``traffic, places, budget_tokens, share`` and ``best``, whether no other setting of that traffic has more.
    """
    import pandas as pd

    rows = []
    for name in TRAFFIC:
        tables = [traffic(name, count, seed + TUNING_SEED + each) for each in range(TUNING)]
        policy = Rule((0.0, 0.0), "told").policy((1,)) if name == "batch" else policy_of(REFUSES)
        for setting in GRID:
            share = float(np.mean([serve(table, policy, setting).shares()["both"] for table in tables]))
            place = {"traffic": name, "places": setting.places, "budget_tokens": setting.budget_tokens}
            rows.append(place | {"share": share})
    found = pd.DataFrame(rows)
    return found.assign(best=found["share"] == found.groupby("traffic")["share"].transform("max"))


def best_of(frontier: pd.DataFrame) -> dict[str, Setting]:
    """The best setting of each traffic, the larger one of equals."""
    best = frontier[frontier["best"]].sort_values(["places", "budget_tokens"])
    return {row.traffic: Setting(row.places, row.budget_tokens) for row in best.itertuples()}


def transferred_of(seed: int, count: int, best: Mapping[str, Setting]) -> list[dict]:
    """One replication: each traffic under the settings that are best for itself and for the others."""
    rows = []
    for name in TRAFFIC:
        table = traffic(name, count, seed)
        policy = Rule((0.0, 0.0), "told").policy((1,)) if name == "batch" else policy_of(REFUSES)
        rows += [{"traffic": name, "best_for": of} | serve(table, policy, best[of]).shares() for of in TRAFFIC]
    return rows


def in_time(table: RequestTable, rate_rps: float, way: str, best: Mapping[str, Setting]) -> bool:
    """Whether two engines, which refuse whoever is late, have `ENOUGH` of each class in time."""
    table = at_rate(table, rate_rps)
    if way != OWN_ENGINES:
        shares = serve(table, policy_of(FIRST_REFUSES if way == SHARED_FIRST else REFUSES), best["both"], 2).shares()
        return min(shares["interactive"], shares["batch"]) >= ENOUGH
    for which, name in enumerate(TRAFFIC[1:]):
        policy = Rule((0.0, 0.0), "told").policy((which,))
        if serve(alone(table, which), policy, best[name]).shares()[name] < ENOUGH:
            return False
    return True


def carried_rps(table: RequestTable, way: str, best: Mapping[str, Setting]) -> float:
    """The largest rate of two engines together at which both classes are in time, by bisection to 4 %."""
    low, high = map(math.log, RANGE_RPS)
    while high - low > TOLERANCE:
        rate = (low + high) / 2
        low, high = (rate, high) if in_time(table, math.exp(rate), way, best) else (low, rate)
    return math.exp((low + high) / 2)


def carried_of(seed: int, count: int, best: Mapping[str, Setting], first: Setting) -> list[dict]:
    """One replication: what two engines carry by the share of interactive requests, shared or one for each class.

    Engines that are shared have the setting that is best for both; first come, first served has its own.
    """
    rows = []
    for share in SHARED_MIXES:
        table = requests(count, seed, share)
        for way in WAYS:
            settings = {**best, "both": first} if way == SHARED_FIRST else best
            rows.append({"mix": share, "way": way, "carried_rps": carried_rps(table, way, settings)})
    return rows
