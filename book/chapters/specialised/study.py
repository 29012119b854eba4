"""Two pools of GPUs, one for short requests and one for long ones, against one fleet for all.

Two ways to give out memory: a place for the longest context of the pool (`PLACES`), or blocks as they are needed
(`PAGED`). Two laws of steps: one measured, and the one that FleetOpt's authors published. GPUs are counted in seconds
of a GPU that a request takes in a saturated engine, so that pools need no whole numbers of GPUs; then eight GPUs with
Poisson arrivals and a deadline. Whoever routes knows the lengths: the most that pools can gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_number
from simlib.continuous.settings import Continuous
from simlib.latency import presets
from simlib.latency.steps import StepLaw
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.requests.azure import azure_like
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats.estimates import as_row, ratio
from simlib.stats.intervals import mean_interval, paired_difference
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd

MEMORY_TOKENS, WINDOW = 2**20, 2**16  # of a GPU, and the longest context: as FleetOpt's authors have them
PROMPT_TOKENS, OUTPUT_TOKENS, OUTPUT_SD, MOST_OUTPUT = 1000.0, 200.0, 0.8, 1024
SEATS, BUDGET = 256, 2048
CUTS = tuple(2**power for power in range(10, 16))
FEWEST = 0.04  # of the requests, in a pool: fewer would say little of its rate
AZURE = "Azure-like"
SPREADS = (0.3, 0.8, 1.2, 1.6, 2.0)  # log-sd of prompts
MIXED = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
FILLED = 0.2  # share of the requests that are let in before a saturated run is scored
TUNING_SEED = 10_000  # added to the seed of requests on which a cut is picked
PLACES, PAGED = "places", "paged"


@dataclass(frozen=True, slots=True)
class Engine:
    """How a GPU steps.

    Attributes
    ----------
    law : StepLaw
    chunk_tokens : int
        Tokens that each prompt advances in a step, however many there are; 0: prompts share a budget.
    """

    law: StepLaw
    chunk_tokens: int = 0

    def settings(self, seats: int) -> Continuous:
        """Of an engine with so many places, whose memory is given as needed."""
        budget = self.chunk_tokens * seats or BUDGET
        return Continuous(seats, MEMORY_TOKENS, token_budget=budget, long_prefill_tokens=self.chunk_tokens)

    def mixed(self, share: float) -> Engine:
        """The same where each token by which a context is shorter than the step's longest takes part of its time."""
        return replace(self, law=replace(self.law, h_s=check_number("mixed", share, 0.0) * self.law.d_s))


MEASURED = replace(presets.load("h100x8-splitwise-llama2-70b").step_law(), trust=None)  # contexts reach beyond its grid
ENGINES = {"measured": Engine(MEASURED), "published": Engine(StepLaw(0.008, d_s=0.00065 / 8192), 512)}


def requests(lengths: float | str, count: int, seed: int) -> RequestTable:
    """Requests with log-normal lengths, cut to the window, or Azure's; Poisson arrivals, one a second in the mean.

    Parameters
    ----------
    lengths : float or str
        Log-sd of the prompts, whose median stays, in [0, 3]; or `AZURE`.
    count, seed : int

    Examples
    --------
    >>> table = requests(1.2, 10_000, 1)
    >>> round(float(np.log(table.prompt_tokens).std()), 1), bool((total_tokens(table) <= WINDOW).all())
    (1.2, True)
    """
    count, seed = check_integer("count", count, 1), check_integer("seed", seed, 0)
    arrival_s = np.cumsum(stream("specialised", seed, "arrivals").exponential(1.0, count))
    if lengths == AZURE:
        drawn = azure_like(count, seed)
        return RequestTable(arrival_s, drawn.prompt_tokens, drawn.output_tokens, drawn.output_tokens)
    spread = check_number("lengths", lengths, 0.0, 3.0)
    prompts, outputs = stream("specialised", seed, "lengths").spawn(2)
    prompt = np.exp(np.log(PROMPT_TOKENS) + spread * prompts.standard_normal(count))
    output = np.exp(np.log(OUTPUT_TOKENS) + OUTPUT_SD * outputs.standard_normal(count))
    prompt = np.clip(np.rint(prompt), 16, WINDOW - MOST_OUTPUT).astype(int)
    output = np.clip(np.rint(output), 2, MOST_OUTPUT).astype(int)
    return RequestTable(arrival_s, prompt, output, output)


def total_tokens(table: RequestTable) -> np.ndarray:
    """Tokens of each request at its end."""
    return table.prompt_tokens + table.output_tokens


def seats_of(memory: str, longest: int) -> int:
    """Places of a GPU: as many longest contexts as its memory holds, and no more than an engine has."""
    return SEATS if memory == PAGED else min(MEMORY_TOKENS // longest, SEATS)


def gpu_s(table: RequestTable, engine: Engine, seats: int) -> float:
    """Seconds of a GPU that a request takes if all are waiting: between admissions, once the places are filled."""
    waiting = RequestTable(np.zeros(len(table)), table.prompt_tokens, table.output_tokens)
    run = simulate(waiting, "fcfs", engine.law, execution=engine.settings(seats))
    first, last = int(FILLED * len(table)), len(table) - 1
    return float(run.times.start_s[last] - run.times.start_s[first]) / (last - first)


def pools_s(table: RequestTable, engine: Engine, memory: str, cut: int) -> float:
    """The same with a pool for requests of up to `cut` tokens and one for longer ones, each as large as it needs."""
    is_short = total_tokens(table) <= cut
    seconds = 0.0
    for inside, longest in ((is_short, cut), (~is_short, WINDOW)):
        part = table.rows(np.flatnonzero(inside))
        seconds += len(part) / len(table) * gpu_s(part, engine, seats_of(memory, longest))
    return seconds


def best_cut(table: RequestTable, engine: Engine, memory: str) -> int:
    """The cut of `CUTS` with the least seconds, of those that leave each pool enough requests to judge by."""
    below = {cut: int(np.count_nonzero(total_tokens(table) <= cut)) for cut in CUTS}
    fewest = FEWEST * len(table)
    able = [cut for cut, count in below.items() if fewest <= count <= len(table) - fewest]
    if not able:
        raise InputError(f"lengths: no cut of {CUTS} leaves {FEWEST:.0%} of the requests on either side (expected one)")
    return min(able, key=lambda cut: pools_s(table, engine, memory, cut))


def needs(count: int, replications: int, seed: int, cases: Iterable[float | str] = (*SPREADS, AZURE)) -> pd.DataFrame:
    """GPUs for the same requests: one fleet and two pools, with places or paged memory.

    Returns
    -------
    pandas.DataFrame
        One row an engine, case and memory: ``engine, lengths, memory, cut_tokens``; ``shared, pools`` in GPUs of a
        fleet with paged memory; ``saved`` by pools, as a share, with its interval; ``replications``.
    """
    import pandas as pd

    rows, cases = [], list(cases)
    for name, engine in ENGINES.items():
        for lengths in cases:
            trial = requests(lengths, count, seed + TUNING_SEED)
            for memory in (PLACES, PAGED):
                cut = best_cut(trial, engine, memory)
                found = replicate(
                    _needs_of(lengths, count, engine, memory, cut), replications, seed=seed, progress=False
                )
                place = {"engine": name, "lengths": lengths, "memory": memory, "cut_tokens": cut}
                plain = {fleet: float((found[fleet] / found["paged"]).mean()) for fleet in ("shared", "pools")}
                rows.append(place | plain | _saved(found) | {"replications": replications})
    return pd.DataFrame(rows)


def slowed(
    count: int,
    replications: int,
    seed: int,
    spreads: Iterable[float] = SPREADS[1:],
    mixed: Iterable[float] = MIXED,
) -> pd.DataFrame:
    """What pools save of paged memory if unequal contexts slow each other: ``lengths, mixed, cut_tokens, saved``."""
    import pandas as pd

    rows, mixed = [], list(mixed)
    for lengths in spreads:
        trial = requests(lengths, count, seed + TUNING_SEED)
        for share in mixed:
            engine = ENGINES["measured"].mixed(share)
            cut = best_cut(trial, engine, PAGED)
            found = replicate(_needs_of(lengths, count, engine, PAGED, cut), replications, seed=seed, progress=False)
            place = {"lengths": lengths, "mixed": share, "cut_tokens": cut}
            rows.append(place | _saved(found) | {"replications": replications})
    return pd.DataFrame(rows)


def _needs_of(
    lengths: float | str, count: int, engine: Engine, memory: str, cut: int
) -> Callable[[int], dict[str, float]]:
    def once(seed: int) -> dict[str, float]:
        table = requests(lengths, count, seed)
        paged = gpu_s(table, engine, SEATS)
        shared = paged if memory == PAGED else gpu_s(table, engine, seats_of(memory, WINDOW))
        return {"shared": shared, "pools": pools_s(table, engine, memory, cut), "paged": paged}

    return once


def _saved(found: pd.DataFrame) -> dict[str, Any]:
    """Share of the shared fleet's GPUs that pools save: from the geometric mean of paired ratios."""
    kept = ratio(mean_interval(np.log(found["pools"] / found["shared"])))
    low, high = (None if limit is None else 1 - limit for limit in (kept.ci_high, kept.ci_low))
    return {"saved": 1 - kept.mean, "ci_low": low, "ci_high": high}


GPUS, ALLOWED_S, SLACK = 8, 1.0, 2.0  # a first token within a second and twice the prompt's own time
LOADS = (0.5, 0.7, 0.85)
MAIN_SPREAD, MAIN_LOAD, SLOW = 1.6, 0.85, 0.05
METRICS = ("late", "late_short", "late_long", "latency_s")
LONG_TOKENS = 4096
SHORTEST = ShortestPredictedFirst(None, 4096, 8)
LINE, LINES, POOLS, POOLS_LINES = "one line", "a line a GPU", "pools", "pools, a line a GPU"
FIRST = "shortest prompt first"


def served(table: RequestTable, engine: Engine, gpus: int, routing: str = "shared", policy: Any = "fcfs") -> np.ndarray:
    """Times to the first and to the last token, seconds, shape (2, n); routing and policy as in `simulate`."""
    settings = replace(engine.settings(SEATS), routing=routing)
    times = simulate(table, policy, engine.law, gpus, settings).times
    return np.stack([times.first_token_s, times.completion_s]) - table.arrival_s


def pooled(table: RequestTable, engine: Engine, cut: int, short_gpus: int, routing: str = "shared") -> np.ndarray:
    """The same of two pools, `short_gpus` of `GPUS` for requests of up to `cut` tokens."""
    is_short, times_s = total_tokens(table) <= cut, np.zeros((2, len(table)))
    for inside, gpus in ((is_short, short_gpus), (~is_short, GPUS - short_gpus)):
        if inside.any():
            times_s[:, inside] = served(table.rows(np.flatnonzero(inside)), engine, gpus, routing)
    return times_s


def _arms(table: RequestTable, engine: Engine, cut: int, short_gpus: int) -> dict[str, np.ndarray]:
    by_prompt = RequestTable(table.arrival_s, table.prompt_tokens, table.output_tokens, table.prompt_tokens)
    return {
        LINE: served(table, engine, GPUS),
        LINES: served(table, engine, GPUS, "least_tokens"),
        FIRST: served(by_prompt, engine, GPUS, policy=SHORTEST),
        POOLS: pooled(table, engine, cut, short_gpus),
        POOLS_LINES: pooled(table, engine, cut, short_gpus, "least_tokens"),
    }


def scored(table: RequestTable, times_s: np.ndarray) -> dict[str, float]:
    """Shares that are late, of all, of short and of long requests, and mean latency: by `METRICS`."""
    count = len(table)
    kept = slice(count // 10, count - count // 10)
    prompt = table.prompt_tokens[kept]
    is_late = times_s[0, kept] > ALLOWED_S + SLACK * MEASURED.c_s * prompt
    is_long = prompt > LONG_TOKENS
    late = (is_late, is_late[~is_long], is_late[is_long])
    values = (float(part.mean()) if len(part) else 0.0 for part in late)
    return dict(zip(METRICS, (*values, float(times_s[1, kept].mean())), strict=True))


def deadlines(
    count: int,
    replications: int,
    seed: int,
    cells: Iterable[tuple[float, float]] = ((MAIN_SPREAD, 0.0), (MAIN_SPREAD, SLOW)),
    loads: Iterable[float] = LOADS,
) -> pd.DataFrame:
    """Every arm in each replication: ``lengths, mixed, load, arm, cut_tokens, short_gpus, replication`` and `METRICS`.

    Loads are shares of what one fleet can serve where unequal contexts slow nothing. How pools are cut, and how many
    GPUs the short ones get, is what left the fewest late on other requests.
    """
    import pandas as pd

    rows, loads = [], list(loads)
    for lengths, mixed in cells:
        engine = ENGINES["measured"].mixed(mixed)
        work_s = gpu_s(requests(lengths, count, seed + TUNING_SEED), ENGINES["measured"], SEATS)
        trial = requests(lengths, count // 2, seed + TUNING_SEED)
        for load in loads:
            gap_s = work_s / GPUS / load
            cut, short_gpus = _best_pools(_paced(trial, gap_s), engine)
            for replication in range(replications):
                table = _paced(requests(lengths, count, seed + replication), gap_s)
                place = {"lengths": lengths, "mixed": mixed, "load": load, "replication": replication}
                for arm, times_s in _arms(table, engine, cut, short_gpus).items():
                    split = {"cut_tokens": cut, "short_gpus": short_gpus} if arm in (POOLS, POOLS_LINES) else {}
                    rows.append(place | {"arm": arm} | split | scored(table, times_s))
    return pd.DataFrame(rows)


def _paced(table: RequestTable, gap_s: float) -> RequestTable:
    return RequestTable(
        gap_s * table.arrival_s, table.prompt_tokens, table.output_tokens, table.predicted_output_tokens
    )


def _best_pools(table: RequestTable, engine: Engine) -> tuple[int, int]:
    """The cut and the short ones' GPUs that leave the fewest late; of equals, with the least mean latency."""
    total = total_tokens(table)
    tried = [(cut, gpus) for cut in CUTS if 0 < np.count_nonzero(total > cut) < len(table) for gpus in range(1, GPUS)]

    def worth(tried: tuple[int, int]) -> tuple[float, float]:
        found = scored(table, pooled(table, engine, *tried))
        return found["late"], found["latency_s"]

    return min(tried, key=worth)


def against(runs: pd.DataFrame, bases: Iterable[str] = (LINE, LINES, POOLS)) -> pd.DataFrame:
    """Shares of late requests, how much more than another arm's, and latency over that arm's, with intervals.

    Parameters
    ----------
    runs : pandas.DataFrame
        Of `deadlines`.
    bases : iterable of str
        Arms of it.
    """
    import pandas as pd

    rows, bases = [], list(bases)
    for base in bases:
        check_choice("bases", base, tuple(runs["arm"].unique()))
    for (lengths, mixed, load), cell in runs.groupby(["lengths", "mixed", "load"], sort=False):
        arms = {arm: own.set_index("replication") for arm, own in cell.groupby("arm", sort=False)}
        for base in bases:
            for arm, own in arms.items():
                pair = paired_difference(own["late"], arms[base]["late"])
                speed = ratio(mean_interval(np.log(own["latency_s"] / arms[base]["latency_s"])))
                rows.append(
                    {"lengths": lengths, "mixed": mixed, "load": load, "base": base, "arm": arm}
                    | {name: own[name].iloc[0] for name in ("cut_tokens", "short_gpus")}
                    | as_row(mean_interval(own["late"]), "late")
                    | as_row(pair, "more", "more_")
                    | as_row(speed, "latency", "latency_")
                    | {name: float(own[name].mean()) for name in METRICS[1:3]}
                    | {"p_value": pair.p_value, "replications": len(own)}
                )
    return pd.DataFrame(rows)
