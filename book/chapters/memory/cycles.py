"""Cycles of evictions: what they cost, what prevents them, from where they are entered, and the dip of a real log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.memory import theory
from book.chapters.memory.study import BACKLOG, ENGINE, LAW, MEMORY_TOKENS, OUTPUT, PROMPT, Case, saturated
from simlib import datasets
from simlib.calibration.logs.engine_log import read_log
from simlib.calibration.logs.fitted import affine_from_log
from simlib.checks import InputError
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats.estimates import as_row
from simlib.stats.intervals import mean_interval

if TYPE_CHECKING:
    import pandas as pd

EQUAL = Case(spread=0.0)
TOTAL = PROMPT + OUTPUT  # tokens of a request, where the share of its output varies
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
FAIR = 0.98  # of the rate without evictions, at which requests are let in
REMEDIES = {
    "none": EQUAL,
    "nothing found again": replace(EQUAL, engine=replace(ENGINE, reuse=False)),
    "5 % kept free": replace(EQUAL, engine=replace(ENGINE, watermark=0.05)),
    "20 % kept free": replace(EQUAL, engine=replace(ENGINE, watermark=0.2)),
    "all memory reserved": replace(EQUAL, engine=replace(ENGINE, reserve=True)),
    "places for the mean": replace(EQUAL, engine=replace(ENGINE, max_seqs=int(MEMORY_TOKENS / (PROMPT + OUTPUT / 2)))),
    "let in at a rate": EQUAL,
    "lengths ±10 %": replace(EQUAL, spread=0.1),
    "lengths ±50 %": replace(EQUAL, spread=0.5),
}
PAIRS = ((4, 6), (5, 6), (3, 9), (4, 9), (40, 60), (41, 60))  # output tokens of two classes
PROMPTS = (10, 1000)
FEW = 0.01  # of a prompt's tokens: outputs no longer are what a theorem means by dominated by inputs
MAP_STEPS = 8_000
LOADS = (0.85, 0.95)
FOLDER, LOG, SERIES = "llmservingsim", "RTX4090*requests.jsonl.gz", "RTX4090*timeseries.csv.gz"


def by_share(requests: int) -> pd.DataFrame:
    """Served over what fits without evictions, equal requests, by the share of a request that is output.

    ``starts_over``: `theory`, steps alone; ``keeps_tokens`` and ``reserves``: the engine. No chance is involved.
    """
    import pandas as pd

    rows = []
    for share in SHARES:
        output = round(share * TOTAL)
        case = Case(TOTAL - output, output, 0.0)
        lengths = TOTAL - output, output, MEMORY_TOKENS
        row = {
            "output_share": share,
            "starts_over": theory.together_per_step(*lengths) / theory.spread_per_step(*lengths),
        }
        for name, engine in (("keeps_tokens", ENGINE), ("reserves", replace(ENGINE, reserve=True))):
            own = replace(case, engine=engine)
            found = saturated(own, own.table(requests, 0))
            row[name] = found["served_rps"] / case.bound_rps(own.table(requests, 0))
        rows.append(row)
    return pd.DataFrame(rows)


def remedies(requests: int, replications: int, seed: int) -> pd.DataFrame:
    """Served over what fits without evictions, by what is done about them; intervals where lengths are drawn."""
    import pandas as pd

    rows = []
    for name, case in REMEDIES.items():
        count = replications if case.spread else 1
        rate_rps = FAIR * EQUAL.bound_rps(EQUAL.table(1, 0)) if name == "let in at a rate" else None
        tables = [case.table(requests, seed + r, rate_rps, even=True) for r in range(count)]
        found = pd.DataFrame([saturated(case, table) for table in tables])
        open_case = replace(case, engine=ENGINE)
        served = found["served_rps"] / [open_case.bound_rps(table) for table in tables]
        estimate = {"of_bound": float(served[0]), "ci_low": np.nan, "ci_high": np.nan}
        if count > 1:
            estimate = as_row(mean_interval(served), "of_bound")
        columns = ("evictions", "computed_again", "running_low", "running_high")
        rows.append({"remedy": name} | estimate | {one: found[one].mean() for one in columns} | {"replications": count})
    return pd.DataFrame(rows)


def lengths() -> pd.DataFrame:
    """Two classes of outputs where evicted answers start over: served over the equilibrium, evictions a completion."""
    import pandas as pd

    rows = []
    for prompt in PROMPTS:
        for pair in PAIRS:
            room = 50.0 * (prompt + max(pair))
            run = theory.restarted(prompt, pair, room, MAP_STEPS)
            even = np.mean([1 / theory.spread_per_step(prompt, output, room) for output in pair])
            half = slice(MAP_STEPS // 2, None)
            done = run.completed[half].mean()
            rows.append(
                {
                    "prompt_tokens": prompt,
                    "input_dominated": max(pair) <= FEW * prompt,
                    "outputs": " and ".join(map(str, pair)),
                    "coprime": np.gcd(*pair) == 1,
                }
                | {"of_bound": done * even, "evictions": run.evicted[half].mean() / done}
            )
    return pd.DataFrame(rows)


def starts(requests: int, replications: int, seed: int) -> pd.DataFrame:
    """Equal requests, evenly spaced or Poisson, from empty and behind a backlog: how many are in the system at the end.

    Loads are shares of the rate without evictions; the end is the last arrival.
    """
    import pandas as pd

    rows = []
    most_rps = EQUAL.bound_rps(EQUAL.table(1, 0))
    for even in (True, False):
        for load in LOADS:
            for waiting in (0, BACKLOG):
                runs = [
                    _left(load * most_rps, even, waiting, requests, seed + r)
                    for r in range(1 if even else replications)
                ]
                left, evicted = np.array(runs).T
                place = {"arrivals": "evenly spaced" if even else "Poisson", "load": load, "waiting": waiting}
                estimate = {"left": float(left[0]), "ci_low": np.nan, "ci_high": np.nan}
                if len(left) > 1:
                    estimate = as_row(mean_interval(left), "left")
                rows.append(place | estimate | {"evictions": evicted.mean(), "replications": len(left)})
    return pd.DataFrame(rows)


def _left(rate_rps: float, even: bool, waiting: int, requests: int, seed: int) -> tuple[float, float]:
    table = EQUAL.table(requests, seed, rate_rps, even)
    arrival_s = np.concatenate([np.zeros(waiting), table.arrival_s])
    both = RequestTable(arrival_s, *EQUAL.lengths(len(arrival_s), seed))
    run = simulate(both, "fcfs", LAW, execution=ENGINE)
    return float((run.times.completion_s > arrival_s[-1]).sum()), run.preemptions / len(both)


def dip(every_s: float = 1.0) -> tuple[pd.DataFrame, str]:
    """Sequences that run, second by second: as logged, in a replay, and with all memory reserved or all requests equal.

    Returns
    -------
    table : pandas.DataFrame
        ``time_s, logged, replayed, reserved, equal``; missing once nothing runs any more.
    source : str
    """
    import pandas as pd

    try:
        folder = datasets.locate(FOLDER)
        (path,), (series,) = folder.glob(LOG), folder.glob(SERIES)
    except (InputError, ValueError):
        return pd.read_csv(datasets.committed("memory_dip")), "the log not re-executed: data absent"
    log, seconds = read_log(path), pd.read_csv(series)
    law = affine_from_log(log, ENGINE)
    count = 2 * len(log.table)  # as many as keep the engine full for as long as the log
    equal = RequestTable(np.zeros(count), np.full(count, PROMPT), np.full(count, OUTPUT))
    found = pd.DataFrame({"time_s": seconds["t"].astype(float), "logged": seconds["running"].astype(float)})
    for name, table, engine in (
        ("replayed", log.table, ENGINE),
        ("reserved", log.table, replace(ENGINE, reserve=True)),
        ("equal", equal, ENGINE),
    ):
        steps = simulate(table, "fcfs", law, execution=engine).steps
        last = np.searchsorted(steps["start_s"], found["time_s"], side="right") - 1
        found[name] = steps["seats"].to_numpy(float)[np.maximum(last, 0)]
    return found, "with the log"


BUSY_S = (25.0, 130.0)  # of the log: evictions go on, and many wait
LAGS_S = range(10, 46)  # a cycle lasts about as long as an answer


def recurrence(table: pd.DataFrame, names: Iterable[str] = ("logged", "replayed", "equal")) -> pd.DataFrame:
    """How much of a swing comes back: the largest autocorrelation of what runs, at a lag about an answer's time."""
    import pandas as pd

    busy = table[table["time_s"].between(*BUSY_S)]
    rows = []
    for name in names:
        found = {lag: busy[name].autocorr(lag) for lag in LAGS_S}
        lag = max(found, key=found.get)
        low, high = busy[name].quantile([0.05, 0.95])
        rows.append({"run": name, "period_s": lag, "recurs": found[lag], "low": low, "high": high})
    return pd.DataFrame(rows)
