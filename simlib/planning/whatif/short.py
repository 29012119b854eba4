"""Where nothing within the limits meets the objectives: how many GPUs would do, and what is short."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from simlib.planning import objectives
from simlib.planning.allowed import Allowed
from simlib.planning.plan import Case, Configuration, Judge, Needed
from simlib.planning.trials import settings
from simlib.requests.workload import of_rows
from simlib.simulation import simulate

MOST_REPLICAS = 4096
ALONE, APART_S = 1000, 500.0  # so many requests, so far from each other that none meets another
SHORT = {"ttft": "the first token", "tpot": "the time between tokens", "latency": "the latency"}


def needed(planner: Judge, nearest: Configuration, found: Allowed) -> Needed:
    """How many GPUs of the nearest configuration's kind would do.

    So many replicas bear about as many times the load: from there on the number is sought, growing and halving. The
    interval has two standard errors, as a share, of the load that windows, or draws, bear on average.
    """
    limit = _limit(planner, nearest)
    if limit.startswith("the law"):
        return Needed(None, None, None, limit)
    enough, short_of = None, nearest.replicas
    replicas = max(short_of + 1, math.ceil(nearest.replicas / found.load))
    while enough is None or enough - short_of > max(1, short_of // 50):
        if replicas > MOST_REPLICAS:
            return Needed(None, None, None, limit)
        more = replace(nearest, replicas=replicas)
        if planner.allowed(more, planner.seeds(more, 1)).load >= 1:
            enough = replicas
        else:
            short_of = replicas
        replicas = math.ceil(short_of * 1.3) if enough is None else (enough + short_of) // 2
    each = np.array(found.borne)
    spread = math.exp(2 * float(each.std(ddof=1)) / math.sqrt(len(each))) if len(each) > 1 else 1.0
    low, high = math.floor(enough / spread), math.ceil(enough * spread)
    gpus = nearest.engine.gpus
    return Needed(enough * gpus, max(low, short_of if spread == 1 else 1) * gpus, high * gpus, limit)


def _limit(planner: Judge, chosen: Configuration) -> str:
    """What limits a configuration, in words."""
    table = planner.trials.requests(planner.seed).head(ALONE)
    rows = np.arange(len(table))
    shared = {name: getattr(table, name) for name in ("block_ids", "prefix_group", "prefix_tokens")}
    alone = replace(of_rows(table, rows, APART_S * rows), **shared)
    run = simulate(alone, "fcfs", chosen.engine.untold, 1, settings(replace(chosen, replicas=1)))
    alone = objectives.values_s(run, planner.objectives)
    for one in planner.objectives:
        if alone[one.name] > one.limit_s:
            return f"the law: requests that never meet have {one.name} at {alone[one.name]:.3g} s"
    run = planner.trials.run(Case(chosen, planner.seed))
    values = planner.trials.values_s(Case(chosen, planner.seed))
    worst = max(planner.objectives, key=lambda one: objectives.strain(values, [one])[-1])
    if run.preemptions > 0.01 * len(run.table):
        return f"memory: {SHORT[worst.metric]} is late as the cache of {chosen.engine.kv_tokens:,} tokens is full"
    return f"{SHORT[worst.metric]} ({worst.name})"
