"""What a plan's JSON keeps for a check after deployment, beside what it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from simlib.latency.steps import StepLaw
from simlib.planning.deployed import promise
from simlib.planning.deployed.promise import KEPT, RATE, Assumed
from simlib.planning.objectives import columns_of
from simlib.planning.plan import Plan
from simlib.planning.trials import Case
from simlib.planning.windows import LABEL, WINDOW_S
from simlib.requests.table import RequestTable


def of_plan(plan: Plan) -> dict[str, Any]:
    """Keys of a plan's JSON: ``window_s`` and ``assumed``, which `promise.read` takes.

    Of a record with windows each number is forecast from theirs, and the window of the middle strain is kept. Of a
    description nobody knows how it varies: only its rate has a range, up to the reserve that was kept; of clients who
    wait for answers it is that at which they ask. Of these no requests are kept: when they come hangs on the engine.
    What a prefix cache finds is kept as tokens of each prompt.
    """
    planner, chosen = plan.planner, plan.nearest
    demand, trials, law = planner.demand, planner.trials, chosen.engine.untold
    case = Case(chosen, planner.seed)
    pace = promise.pace_range(chosen.engine.law, trials.run(case), WINDOW_S) if _drawn(chosen.engine) else Assumed(1.0)
    table = trials.requests(planner.seed)
    if chosen.prefix_cache:
        run = trials.run(case)
        table = replace(table, cached_prompt_tokens=np.minimum(run.prefix_hits[run.given_order], table.prompt_tokens))
    by = next(iter(columns_of(planner.objectives)), "")
    if demand.promises:
        window_s = demand.windows.window_s
        each = [table.rows(table.labels[LABEL] == number) for number in range(len(demand.windows))]
        strains = trials.strains(case)[: len(each)]
        typical = each[int(np.argsort(strains, kind="stable")[len(each) // 2])]
        block = promise.assumed(each, _bare(typical), pace, law, steps=demand.windows.steps, by=by)
    else:
        window_s = WINDOW_S
        block = promise.assumed([table], _bare(table), pace, law, by=by)
        rate = promise.rate_rps(table)
        block[RATE] = Assumed(rate, 0.0, (1 + planner.reserve) * rate).document()
    if demand.clients is not None:
        least, most = (_asked_rps(trials.run(case._replace(load=load))) for load in (1.0, planner.margin))
        block |= {"typical": None, RATE: Assumed(least, 0.0, max(least, most)).document()}
    return {"window_s": window_s, "assumed": block}


def _asked_rps(run: Any) -> float:
    """Requests a second that clients make who wait for answers."""
    return float(run.summary(within=run.at_work)["throughput_rps"])


def _drawn(engine: Any) -> bool:
    return isinstance(engine.law, StepLaw) and bool(getattr(engine.trust, "draws", ()))


def _bare(table: RequestTable) -> RequestTable:
    """From 0 on, with nothing that waits for an answer."""
    columns = {name: getattr(table, name) for name in KEPT if getattr(table, name) is not None}
    arrival_s = np.maximum.accumulate(table.arrival_s - table.arrival_s[0])
    return RequestTable(arrival_s, labels=table.labels, **columns)
