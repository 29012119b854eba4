"""Do plans hold? Planned on the past of generated and of recorded traffic, replayed on the next window."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pandas as pd

from book.chapters.planning import coverage, rolled, traffic
from book.chapters.planning.traffic import Record
from simlib.planning import fleet
from simlib.planning.plan import Configuration

LIMITS, LONG_PROMPTS = "ttft_p99<=1,tpot_p99<=0.05", "ttft_p99<=10,tpot_p99<=0.05"
ENGINE, BUDGET = "h100-vllm-llama3-8b", 2048
RECORDS, WINDOWS, WINDOW_S, RATE_RPS = 20, 40, 120.0, 8.0  # of each world
GROUPS, CLIENTS, SEED = 6, 40, 5000  # of ServeGen's; seeds that nothing was chosen by
FIRST, EVERY = 3, 5  # windows of the past of the first whole plan of a record, and how many later the next is made


def run() -> dict[str, pd.DataFrame]:
    """The tables ``plan_coverage`` and ``plan_rolled``."""
    loads, fleets = [], []
    for kind, number, record in records():
        loads.append(of_record(record).assign(kind=kind, traffic=record.name, series=number))
        if kind == "recorded" and not long(record):  # else refused: the engine was measured with shorter ones
            fleets.append(fleets_of(record).assign(kind=kind, traffic=record.name, series=number))
    each = {"plan_coverage": (coverage, loads), "plan_rolled": (rolled, fleets)}
    return {name: _judged(module, pd.concat(parts, ignore_index=True)) for name, (module, parts) in each.items()}


def _judged(module: ModuleType, each: pd.DataFrame) -> pd.DataFrame:
    """By traffic, and all of a kind."""
    tables = [module.judged(part, ["kind", "traffic"]) for part in (each, each.assign(traffic="all"))]
    return pd.concat(tables, ignore_index=True)


def records() -> Iterator[tuple[str, int, Record]]:
    """Kind, number and record of each series."""
    number = 0
    for world in traffic.WORLDS:
        for _ in range(RECORDS):
            table = traffic.drawn(world, WINDOWS, WINDOW_S, RATE_RPS, SEED + number)
            yield "generated", number, Record(world.name, table, WINDOW_S)
            number += 1
    for record in traffic.recorded(GROUPS, CLIENTS, WINDOWS, SEED):
        yield "recorded", number, record
        number += 1


def of_record(record: Record) -> pd.DataFrame:
    """What one fleet may be given at each origin of a record."""
    chosen = Configuration(fleet.engine(ENGINE), record.replicas, record.places, BUDGET)
    found = coverage.served(record, chosen, limits(record))
    print(f"{record.name}: {len(found.borne)} windows", flush=True)
    return coverage.origins(found)


def fleets_of(record: Record) -> pd.DataFrame:
    """Whole plans of a record. Of few sequences a replica, so that a fleet is of several and its rounding not all."""
    sizes = record.places // 8, record.places // 4
    found = rolled.rolled(record, fleet.engine(ENGINE), sizes, BUDGET, limits(record), FIRST, EVERY)
    print(f"{record.name}: {len(found)} whole plans", flush=True)
    return found


def limits(record: Record) -> str:
    """Objectives: a long prompt may take longer."""
    return LONG_PROMPTS if long(record) else LIMITS


def long(record: Record) -> bool:
    """Whether half of the prompts are long."""
    return float(np.median(record.table.prompt_tokens)) > 2048
