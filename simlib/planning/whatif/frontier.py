"""How should a fleet form its batches under these limits? Token budget against sequences: where the promise holds.

Each pair is a configuration, judged like any other (`planning.allowed`); of a description by how much more or less it
bears than the fleet as it is, on the same two draws. Beside the load that it may be given stands what gives way first
there: with few sequences requests wait for a place, with many their tokens are slow; a small budget keeps prompts
waiting, a large one stops those that decode. Who is next, to which replica a request goes and whether prompts are
cached are other *ways*, each with pairs of its own.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from simlib.checks import InputError
from simlib.lazy import pd
from simlib.planning import objectives
from simlib.planning.allowed import Allowed
from simlib.planning.plan import Case, Configuration
from simlib.planning.planner import DRAWS, FRESH, Planner
from simlib.planning.trials import FINE, LOADS

MAX_SEQS = (16, 32, 48, 64, 96, 128, 192, 256)
TOKEN_BUDGETS = (256, 512, 1024, 2048, 4096, 8192)
ROUGH = 0.06  # as `planning.trials.FINE`, of a record: its many windows make up for it
PAIRED = 2  # draws on which a cell is set against the fleet as it is
CLEAR = 0.8  # a load below which one draw tells that the promise does not hold
WAY = ["order", "k_bins", "prefix_cache", "routing"]
JUST = 1.02  # beyond what may be given, where something gives way


def ways_of(planner: Planner, fleet: Configuration) -> list[Configuration]:
    """How a fleet may admit, route and cache by what its planner chose from: itself, and all that change one of these.

    A prefix cache that is on may be off.
    """
    found = [fleet]
    if "fcfs" in planner.orders:
        found += [replace(fleet, order="fcfs", k_bins=bins) for bins in planner.k_bins]
    if "priority" in planner.orders:
        found += [replace(fleet, order="priority", k_bins=1)]
    if fleet.replicas > 1:
        found += [replace(fleet, routing=rule) for rule in planner.routing]
    if fleet.prefix_cache:
        found += [replace(fleet, prefix_cache=False, routing="least_tokens")]
    return list(dict.fromkeys(found))


def frontier(
    planner: Planner,
    fleet: Configuration,
    max_seqs: Sequence[int] = MAX_SEQS,
    token_budgets: Sequence[int] = TOKEN_BUDGETS,
    ways: Sequence[Configuration] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """What a fleet may be given, by how it forms its batches.

    Parameters
    ----------
    planner : Planner
        Whose demand, objectives and promise.
    fleet : Configuration
        Its engine and replicas stay; its own limits are among those tried.
    max_seqs, token_budgets : sequence of int
        Of which all pairs are tried, but those with more sequences than tokens.
    ways : sequence of Configuration
        Of which each has pairs of its own, as `ways_of` gives them; by default the fleet's alone.
    progress : callable
        As `Planner.plan` takes it.

    Returns
    -------
    pandas.DataFrame
        ``order, k_bins, prefix_cache, routing, token_budget, max_seqs, measured, load, sought, holds, limit,
        lost_share, more_seqs_share, more_tokens_share, other_way_share``: the way (`Configuration`); whether so many
        sequences were measured; the load that it may be given, a multiple of the demand's, and whether that is neither
        the least nor the most that is sought; whether it is 1 or more; the objective that gives way first, missing at
        the most that is sought; how much less the load is than the most of what was measured; how much more it is with
        the next more sequences, or tokens, missing behind the last; how much more than with the fleet's own way.

    Raises
    ------
    InputError
        If there is no such pair.
    """
    max_seqs = sorted({*max_seqs, fleet.max_seqs})
    token_budgets = sorted({*token_budgets, fleet.token_budget})
    rows = [
        [replace(way, max_seqs=seqs, token_budget=budget) for seqs in max_seqs if seqs <= budget]
        for way, budget in itertools.product(dict.fromkeys([fleet, *ways]), token_budgets)
    ]
    if not any(rows):
        raise InputError(f"token_budgets: at most {token_budgets[-1]} (expected {max_seqs[0]} or more)")
    planner.trials.hear = lambda: progress(f"how batches are formed; {planner.trials.count:,} runs")
    own = planner.allowed(fleet, planner.seeds(fleet, DRAWS, FRESH))
    for seed in {seed for row in rows for one in row for seed in planner.seeds(one, PAIRED, FRESH)}:
        planner.trials.requests(seed)  # drawn one by one, as draws are kept
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        table = pd.DataFrame(
            itertools.chain.from_iterable(pool.map(lambda row: _along(planner, fleet, own, row), rows))
        )
    best = table.loc[table["measured"], "load"].max()
    for name, other in (("more_seqs_share", "token_budget"), ("more_tokens_share", "max_seqs")):
        table[name] = table.groupby([*WAY, other])["load"].shift(-1) / table["load"] - 1
    table.insert(table.columns.get_loc("more_seqs_share"), "lost_share", 1 - table["load"] / best)
    fleets = table.groupby(["token_budget", "max_seqs"])["load"].transform("first")
    table["other_way_share"] = table["load"] / fleets - 1
    return table


def _along(planner: Planner, fleet: Configuration, own: Allowed, row: Sequence[Configuration]) -> list[dict[str, Any]]:
    """The cells of one token budget, each sought from the load that the one before it bears."""
    found, start, fine = [], 1.0, ROUGH if planner.demand.promises else FINE
    measured = row[0].engine.measured if row else None
    for one in row:
        seeds = planner.seeds(one, PAIRED, FRESH)
        given = own if one == fleet else planner.allowed(one, seeds[:1], fine, start)
        if given.load >= CLEAR and len(seeds) > 1 and one != fleet:
            given = planner.allowed(one, seeds, fine, start)
        load, start, bears = given.load, given.middle, given.load
        if not planner.demand.promises:
            less = given.borne.mean() - own.borne[: len(given.borne)].mean()
            load, bears = own.load * math.exp(less), given.middle
        cell = {name: getattr(one, name) for name in (*WAY, "token_budget", "max_seqs")}
        cell |= {"measured": measured is None or one.max_seqs <= measured.batch_size[1], "load": load}
        cell |= {"sought": 1.01 * LOADS[0] < bears < 0.99 * LOADS[1], "holds": load >= 1}
        limit = None if bears >= 0.99 * LOADS[1] else _limit(planner, Case(one, seeds[0], JUST * bears))
        found.append(cell | {"limit": limit})
    return found


def _limit(planner: Planner, case: Case) -> str:
    """The objective that is nearest to its limit, or furthest beyond."""
    values_s = planner.trials.values_s(case)
    return max(planner.objectives, key=lambda one: objectives.strain(values_s, [one])[-1]).name


def of_way(table: pd.DataFrame, way: Configuration | None = None) -> pd.DataFrame:
    """The rows of one way, or of the first."""
    wanted = table.iloc[0][WAY] if way is None else pd.Series({name: getattr(way, name) for name in WAY})
    return table[(table[WAY] == wanted).all(axis=1)]


def best(table: pd.DataFrame) -> pd.Series:
    """The row of a frontier that may be given most, of what was measured; of equals the smallest limits."""
    measured = table[table["measured"]]
    return measured.loc[measured["load"].idxmax()]


def told(table: pd.DataFrame) -> str:
    """Where the limits hold, in a few words, of one way."""
    held = table[table["holds"]]
    if held.empty:
        return "The limits hold in no cell"
    seqs, budget = held["max_seqs"].min(), held["token_budget"].min()
    if len(held) == ((table["max_seqs"] >= seqs) & (table["token_budget"] >= budget)).sum():
        return f"Limits hold from {seqs:,} sequences and {budget:,} tokens on"
    return f"The limits hold in {len(held)} of {len(table)} cells"


def document(table: pd.DataFrame, planner: Planner, fleet: Configuration) -> dict[str, Any]:
    """A frontier for a machine."""
    return {
        "engine": fleet.engine.name,
        "replicas": fleet.replicas,
        "objectives": [str(one) for one in planner.objectives],
        "best": best(table).to_dict(),
        "cells": table.to_dict("records"),
    }
