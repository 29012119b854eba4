"""What a prefix cache is worth where it competes for memory with what runs, and which engine should get a prompt.

Three ways to know what of a prompt is cached: nothing is; a live cache; and hits as the log of an engine with memory
for all would have them (``cached_prompt_tokens``), the same whatever the memory. Capacity is the largest rate at which
5 % of the first tokens are late, found in each replication by itself; all ways face the same requests. Steady state:
what arrives in the middle of a run is scored.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.continuous.executions import PRESET
from book.chapters.prefix_cache.traffic import TURNS, Chat, Trace, trace
from simlib import datasets
from simlib.checks import InputError
from simlib.continuous.settings import Continuous
from simlib.latency import presets
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.estimates import as_row, ratio

if TYPE_CHECKING:
    import pandas as pd

NONE, LIVE, RECORDED = "none", "live", "recorded"
LEAST, STAYS, COST, MOST = (
    "least_requests",
    "stays",
    "prefix_cost",
    "prefix",
)  # `STAYS`: conversations are dealt in turn, and stay
ROUTERS = (LEAST, STAYS, COST, MOST)
LATE, PLACES, KV_BYTES = 0.05, 64, 80 * 8 * 128 * 2 * 2  # of a token of Llama 2 70B in two bytes
ENGINE_TOKENS = 1_300_000  # that eight H100 hold beside its weights
MEMORY = {
    "chat": (100_000, 200_000, 400_000, 800_000),
    "documents": (400_000, ENGINE_TOKENS, 3_200_000, 6_400_000, 12_800_000, 25_600_000),
}
SCARCE_TOKENS, AMPLE_TOKENS = 200_000, 800_000
RATES_RPS = (0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0)
THINK_S, OF_WAITING = (30.0, 60.0, 120.0), (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
ENGINES, COMPARED = (1, 2, 4, 8), 4
LIGHT_RPS = {"chat": 0.75, "documents": 0.2}  # at which all are in time, whatever is cached
ROUTED = {"chat": (400_000, 1.5), "documents": (ENGINE_TOKENS, 0.25)}  # memory and requests a second of each engine
STEP, TOLERANCE, HIGHEST = math.log(1.5), math.log(1.02), math.log(1000.0)
SEEN = ("hit_share", "late_share", "ttft_p50_s", "ttft_p95_s", "preemptions")
Traffic = Chat | Trace


@dataclass(frozen=True, slots=True)
class Way:
    """How requests are served: what is known of prompts, an engine's memory and places, how many, who gets which."""

    cache: str
    memory_tokens: int
    places: int = PLACES
    engines: int = 1
    routing: str = LEAST

    def engine(self, block_tokens: int) -> Continuous:
        """The engine's settings."""
        return Continuous(
            max_seqs=self.places,
            kv_tokens=self.memory_tokens,
            block_tokens=block_tokens,
            prefix_cache=self.cache == LIVE,
            routing=LEAST if self.routing == STAYS else self.routing,
        )


@dataclass(frozen=True, slots=True)
class Served:
    """What is scored: times to the first token, prompt tokens, those found, by request; how often memory was lost."""

    ttft_s: np.ndarray
    prompt_tokens: np.ndarray
    found_tokens: np.ndarray
    preemptions: int

    def seen(self, deadline_s: float) -> dict[str, float]:
        """The `SEEN` numbers."""
        p50, p95 = np.nanquantile(self.ttft_s, [0.5, 0.95])
        late = np.mean(~(self.ttft_s <= deadline_s))  # who was never served is late, too
        found = self.found_tokens.sum() / self.prompt_tokens.sum()
        return dict(zip(SEEN, map(float, (found, late, p50, p95, self.preemptions)), strict=True))


@functools.cache
def law() -> Any:
    """How long steps take."""
    return presets.load(PRESET).step_law()


def serve(table: RequestTable, traffic: Traffic, way: Way) -> Served:
    """Serve a table one way."""
    low_s, high_s = traffic.scored_s(table)
    if way.cache == RECORDED:
        table = recorded(table, traffic.block_tokens)
    elif way.cache == NONE:
        table = replace(table, block_ids=None)
    stays = way.routing == STAYS
    parts = [table.rows(rows) for rows in _by_client(table, way.engines)] if stays else [table]
    engine, engines = way.engine(traffic.block_tokens), 1 if stays else way.engines
    columns, lost = [], 0
    for part in parts:
        run = simulate(part, "fcfs", law(), engines, engine, traffic.deadline_s, oversize="reject")
        came, given = run.table, run.table.cached_prompt_tokens
        scored = (came.arrival_s >= low_s) & (came.arrival_s <= high_s)
        found = np.maximum(run.prefix_hits, 0) if given is None else given
        ttft_s = run.times.first_token_s - came.arrival_s
        columns.append([column[scored] for column in (ttft_s, came.prompt_tokens, found)])
        lost += run.preemptions
    return Served(*(np.concatenate(column) for column in zip(*columns, strict=True)), lost)


def recorded(table: RequestTable, block_tokens: int) -> RequestTable:
    """The requests with the hits that an engine with memory for all would log, and without what prompts contain."""
    run = simulate(table, "fcfs", law(), 1, Continuous(PLACES, block_tokens=block_tokens, prefix_cache=True))
    hits = np.empty(len(table), np.int64)
    hits[slice(None) if run.given_row is None else run.given_row] = run.prefix_hits
    return replace(table, cached_prompt_tokens=hits, block_ids=None)


def _by_client(table: RequestTable, engines: int) -> list[np.ndarray]:
    """The rows of each engine, if what belongs together is dealt in turn and stays together."""
    _, first, which = np.unique(table.labels["client"], return_index=True, return_inverse=True)
    turn = np.argsort(np.argsort(first))[which.reshape(-1)]
    return [np.flatnonzero(turn % engines == engine) for engine in range(engines)]


def capacity(traffic: Traffic, way: Way, seed: int, start_rps: float = 1.0) -> float:
    """The largest rate of all engines together that is in time, by bisection to 2 %; requests a second."""

    def late(log_rate: float) -> bool:
        served = serve(traffic.draw(math.exp(log_rate), seed), traffic, way)
        return served.seen(traffic.deadline_s)["late_share"] > LATE

    low = high = math.log(start_rps * way.engines)
    if late(low):
        while late(low := low - STEP):
            high = low
    else:
        while not late(high := high + STEP):
            if high > HIGHEST:
                raise InputError(
                    f"requests: {len(traffic.draw(1.0, seed))} (expected more: all are in time at any rate)"
                )
            low = high
    while high - low > TOLERANCE:
        middle = (low + high) / 2
        low, high = (low, middle) if late(middle) else (middle, high)
    return math.exp((low + high) / 2)


def by_memory(traffic: Traffic, seed: int) -> list[dict]:
    """Capacity of one engine by its memory, for each way to know what is cached, and what it finds at that rate.

    ``ttft_p50_s`` and ``ttft_p95_s`` are those of one light load (`LIGHT_RPS`), the same for all.
    """
    rows, light = [], traffic.draw(LIGHT_RPS[traffic.name], seed)
    for memory_tokens in MEMORY[traffic.name]:
        start_rps = 1.0
        for cache in (NONE, LIVE, RECORDED):
            way = Way(cache, memory_tokens)
            start_rps = capacity(traffic, way, seed, start_rps)
            found = serve(traffic.draw(start_rps, seed), traffic, way).seen(traffic.deadline_s)["hit_share"]
            place = {"workload": traffic.name, "memory_tokens": memory_tokens, "cache": cache}
            times = serve(light, traffic, way).seen(traffic.deadline_s)
            rows.append(place | times | {"capacity_rps": start_rps, "hit_share": found})
    return rows


def by_places(traffic: Chat, seed: int) -> list[dict]:
    """Capacity of one engine by how many may run at once, where memory is scarce and where it is ample."""
    return [
        {"memory_tokens": memory, "cache": cache, "places": places}
        | {"capacity_rps": capacity(traffic, Way(cache, memory, places), seed)}
        for memory in (SCARCE_TOKENS, AMPLE_TOKENS)
        for cache in (NONE, LIVE)
        for places in (32, 48)
    ]


def by_load(traffic: Chat, seed: int) -> list[dict]:
    """What one engine with scarce memory finds, and who is late, by load: as it is, and as recorded hits have it."""
    rows = []
    for rate_rps in RATES_RPS:
        table = traffic.draw(rate_rps, seed)
        for cache in (LIVE, RECORDED):
            served = serve(table, traffic, Way(cache, SCARCE_TOKENS))
            rows.append({"rate_rps": rate_rps, "cache": cache} | served.seen(traffic.deadline_s))
    return rows


def by_waiting(sessions: int, seed: int, rate_rps: float = 1.5) -> list[dict]:
    """What is found of what memory for all would find, by memory over the conversations between two turns."""
    rows = []
    for think_s in THINK_S:
        traffic = Chat(sessions, think_s)
        table = traffic.draw(rate_rps, seed)
        waiting = waiting_tokens(table, traffic)
        most = serve(table, traffic, Way(LIVE, 2**24)).seen(traffic.deadline_s)["hit_share"]
        for times in OF_WAITING:
            found = serve(table, traffic, Way(LIVE, int(times * waiting))).seen(traffic.deadline_s)["hit_share"]
            place = {"think_s": think_s, "times_waiting": times, "waiting_tokens": waiting}
            rows.append(place | {"found_share": found / most, "hit_share": found})
    return rows


def waiting_tokens(table: RequestTable, traffic: Chat) -> float:
    """Tokens of the conversations between an answer and the next turn, all together, on average (Little's law)."""
    low_s, high_s = traffic.scored_s(table)
    scored = (table.arrival_s >= low_s) & (table.arrival_s <= high_s) & (table.previous >= 0)
    before = table.previous[scored]
    context = table.prompt_tokens[before] + table.output_tokens[before]
    return float((context * table.think_s[scored]).sum() / (high_s - low_s))


def by_router(traffic: Traffic, seed: int, routers: Iterable[str] = ROUTERS) -> list[dict]:
    """What several engines find and how soon they answer, at one load and memory of each, by who gets which prompt."""
    memory_tokens, rate_rps = ROUTED[traffic.name]
    rows = []
    for engines in ENGINES:
        together = traffic.times(engines)
        table = together.draw(rate_rps * engines, seed)
        for routing in routers if engines > 1 else (LEAST,):
            served = serve(table, together, Way(LIVE, memory_tokens, engines=engines, routing=routing))
            seen = served.seen(traffic.deadline_s)
            rows += [
                {"workload": traffic.name, "engines": engines, "routing": each} | seen
                for each in ((routing,) if engines > 1 else routers)
            ]
    return rows


def router_capacity(traffic: Traffic, seed: int, routers: Iterable[str] = ROUTERS) -> list[dict]:
    """Capacity of `COMPARED` engines, by who gets which prompt."""
    memory_tokens, _ = ROUTED[traffic.name]
    together = traffic.times(COMPARED)
    return [
        {"workload": traffic.name, "engines": COMPARED, "routing": routing}
        | {"capacity_rps": capacity(together, Way(LIVE, memory_tokens, engines=COMPARED, routing=routing), seed)}
        for routing in routers
    ]


def replicated(one: Callable[[int], list[dict]], replications: int, seed: int) -> pd.DataFrame:
    """The rows of several replications below each other, with ``replication``."""
    import pandas as pd

    return pd.concat([pd.DataFrame(one(seed + r)).assign(replication=r) for r in range(replications)])


def means(runs: pd.DataFrame, metric: str, by: Iterable[str], others: Iterable[str] = ()) -> pd.DataFrame:
    """Means over replications, one row a place: `by`, the metric with its 95 % interval, plain means of `others`."""
    import pandas as pd

    rows = []
    for key, group in runs.groupby(list(by), sort=False):
        row = dict(zip(by, key, strict=True)) | as_row(intervals.mean_interval(group[metric]), metric)
        rows.append(row | {name: group[name].mean() for name in others} | {"replications": len(group)})
    table = pd.DataFrame(rows).astype({"ci_low": float, "ci_high": float})
    return table.assign(ci_low=table["ci_low"].clip(lower=0))


def ratios(
    runs: pd.DataFrame, metric: str, by: Iterable[str], arm: str, pairs: Iterable[tuple[Any, Any]]
) -> pd.DataFrame:
    """Geometric means of A over B with 95 % intervals, paired by replication; ``p_holm`` over the whole table."""
    import pandas as pd

    rows = []
    for key, group in runs.groupby(list(by), sort=False):
        wide = np.log(group.pivot_table(index="replication", columns=arm, values=metric))
        for a, b in pairs:
            pair = intervals.paired_difference(wide[a], wide[b])
            place = dict(zip(by, key, strict=True)) | {arm: a, "over": b}
            rows.append(place | as_row(ratio(pair), "ratio") | {"p_holm": pair.p_value, "replications": len(wide)})
    table = pd.DataFrame(rows).astype({"ci_low": float, "ci_high": float, "p_holm": float})
    known = table["p_holm"].notna()
    if known.any():
        table.loc[known, "p_holm"] = intervals.holm(table.loc[known, "p_holm"])
    return table


def tables(requests: int, replications: int, seed: int) -> tuple[dict[str, pd.DataFrame], str]:
    """The chapter's tables by name, and whether the trace was there: what rests on it is else what is committed.

    Parameters
    ----------
    requests : int
        Of a run of the chat, on average.
    replications, seed : int
        Of the chat; the trace is one draw.
    """
    import pandas as pd

    chat, several = Chat(max(2, round(requests / TURNS))), Chat(max(2, round(requests / TURNS / 3)))
    ways = {"replications": replications, "seed": seed}
    memory = replicated(lambda each: by_memory(chat, each), **ways)
    routed = replicated(lambda each: by_router(several, each), **ways)
    apart = replicated(lambda each: router_capacity(several, each), **ways)
    of_chat = memory
    try:
        documents, source = trace(), "with Mooncake's trace"
    except InputError:
        documents, source = None, "Mooncake's trace not re-executed: data absent"
    if documents is not None:
        memory = pd.concat([memory, replicated(lambda each: by_memory(documents, each), 1, seed)])
        routed = pd.concat([routed, replicated(lambda each: by_router(documents, each), 1, seed)])
        apart = pd.concat([apart, replicated(lambda each: router_capacity(documents, each), 1, seed)])
    place = ["workload", "memory_tokens"]
    found = {
        "prefix_cache": means(memory, "capacity_rps", [*place, "cache"], ["hit_share", "ttft_p50_s", "ttft_p95_s"]),
        "prefix_cache_ratios": ratios(memory, "capacity_rps", place, "cache", ((LIVE, NONE), (RECORDED, LIVE))),
        "prefix_cache_routers": means(routed, "hit_share", ["workload", "engines", "routing"], SEEN[1:4]),
        "prefix_cache_router_ratios": ratios(
            apart, "capacity_rps", ["workload", "engines"], "routing", [(other, LEAST) for other in ROUTERS[1:]]
        ),
    }
    if documents is None:
        found = with_committed(found)
    at_most = of_chat[of_chat["memory_tokens"].isin((SCARCE_TOKENS, AMPLE_TOKENS)) & (of_chat["cache"] != RECORDED)]
    places = pd.concat([replicated(lambda each: by_places(chat, each), **ways), at_most.assign(places=PLACES)])
    loads = replicated(lambda each: by_load(chat, each), **ways)
    waiting = replicated(lambda each: by_waiting(chat.sessions, each), **ways)
    parts = [
        means(loads, metric, ["rate_rps", "cache"]).rename(columns={metric: "value"}).assign(metric=metric)
        for metric in ("hit_share", "late_share", "ttft_p95_s", "preemptions")
    ]
    found |= {
        "prefix_cache_places": ratios(
            places, "capacity_rps", ["memory_tokens", "cache"], "places", ((PLACES, 32), (PLACES, 48))
        ),
        "prefix_cache_load": pd.concat(parts),
        "prefix_cache_waiting": means(waiting, "found_share", ["think_s", "times_waiting"], ["waiting_tokens"]),
    }
    return found, source


def with_committed(found: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables of the chat with the rows of the trace that are committed."""
    import pandas as pd

    committed = {name: pd.read_csv(datasets.committed(name)) for name in found}
    return {
        name: pd.concat([table, committed[name].query("workload == 'documents'")], ignore_index=True)
        for name, table in found.items()
    }
