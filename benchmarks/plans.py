"""Do plans hold? Planned on the past of generated and of recorded traffic, replayed on the next window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from book.chapters.planning import coverage, traffic
from book.chapters.planning.traffic import Record
from simlib.planning import fleet
from simlib.planning.plan import Configuration

LIMITS, LONG_PROMPTS = "ttft_p99<=1,tpot_p99<=0.05", "ttft_p99<=10,tpot_p99<=0.05"
ENGINE, BUDGET = "h100-vllm-llama3-8b", 2048
RECORDS, WINDOWS, WINDOW_S, RATE_RPS = 20, 40, 120.0, 8.0  # of each world
GROUPS, CLIENTS, SEED = 6, 40, 5000  # of ServeGen's; seeds that nothing was chosen by


def run() -> dict[str, pd.DataFrame]:
    """The table ``plan_coverage``."""
    each = pd.concat([of_record(*case) for case in records()], ignore_index=True)
    tables = [coverage.judged(part, ["kind", "traffic"]) for part in (each, each.assign(traffic="all"))]
    return {"plan_coverage": pd.concat(tables, ignore_index=True)}


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


def of_record(kind: str, number: int, record: Record) -> pd.DataFrame:
    """The plans of one record at each origin."""
    chosen = Configuration(fleet.engine(ENGINE), record.replicas, record.places, BUDGET)
    long = np.median(record.table.prompt_tokens) > 4000
    found = coverage.served(record, chosen, LONG_PROMPTS if long else LIMITS)
    print(f"{record.name}: {len(found.borne)} windows", flush=True)
    return coverage.origins(found).assign(kind=kind, traffic=record.name, series=number)
