"""Two classes of conversations behind a live prefix cache: people who wait for each turn, and agents that need not.

Conversations are those of the chapter on caches, with a shorter time to think; half of them are interactive, turn by
turn, half are batch jobs with the loose deadline. A turn follows the answer before it, so that who is served late comes
later, and finds less of what was said in the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from book.chapters.prefix_cache.traffic import TURNS, Chat
from book.chapters.two_classes.study import (
    DEFAULT,
    FIRST,
    FIRST_REFUSES,
    HALF,
    PRIORITY,
    REFUSES,
    TUNING,
    TUNING_SEED,
    Outcome,
    Setting,
    law,
    policy_of,
)
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable
from simlib.simulation import simulate

THINK_S, BLOCK_TOKENS = 20.0, 64
RATES_RPS, MAIN_RPS = (8.0, 16.0), 16.0  # turns if answers took no time: below and above what the engine carries
TALKS = (FIRST, FIRST_REFUSES, PRIORITY, REFUSES)
TALK_GRID = tuple(Setting(places, budget) for places in (48, 64, 96) for budget in (768, 2048))


@functools.lru_cache(maxsize=16)
def conversations(count: int, seed: int, rate_rps: float, share: float = HALF) -> tuple[RequestTable, Chat]:
    """So many requests on average, in conversations of either class, and the traffic that they are of."""
    chat = Chat(max(2, round(count / TURNS)), THINK_S)
    table = chat.draw(rate_rps, seed)
    which = table.labels["client"]
    job = stream("two classes of conversations", seed, "service").random(chat.sessions) >= share
    job[which[0]] = False
    job = job[which].astype(np.int64)
    return replace(table, predicted_output_tokens=table.output_tokens, priority=job, labels={"client": job}), chat


def talk(count: int, seed: int, rate_rps: float, order: str, setting: Setting) -> dict[str, float]:
    """Goodput by class, and what share of prompts was found in the cache, of each class."""
    table, chat = conversations(count, seed, rate_rps)
    engine = setting.engine(block_tokens=BLOCK_TOKENS, prefix_cache=True)
    run = simulate(table, policy_of(order), law(), 1, engine)
    low_s, high_s = chat.scored_s(table)
    scored = (run.table.arrival_s >= low_s) & (run.table.arrival_s <= high_s)
    found, served = np.maximum(run.prefix_hits, 0), scored & (run.prefix_hits >= 0) & ~np.isnan(run.times.start_s)
    shares = Outcome.of(run, scored).shares()
    for name, of in (("found_interactive", run.table.priority == 0), ("found_batch", run.table.priority == 1)):
        shares[name] = float(found[served & of].sum() / max(run.table.prompt_tokens[served & of].sum(), 1))
    return shares


def talk_settings(count: int, seed: int, orders: Iterable[str] = TALKS) -> dict[str, Setting]:
    """For each order the setting that has most in time at the highest rate, on draws kept for that."""
    found = {}
    for order in orders:
        shares = {
            each: np.mean([talk(count, seed + TUNING_SEED + r, MAIN_RPS, order, each)["both"] for r in range(TUNING)])
            for each in TALK_GRID
        }
        found[order] = max(shares, key=lambda each: (shares[each], each))
    return found


def talks_of(seed: int, count: int, own: Mapping[str, Setting]) -> list[dict]:
    """One replication: some orders by the rate of turns, above what the engine carries at the default setting, too."""
    return [
        {"rate_rps": rate, "setting": name, "order": order} | talk(count, seed, rate, order, each)
        for rate in RATES_RPS
        for order, setting in own.items()
        for name, each in (("default", DEFAULT), ("own", setting))
        if name == "own" or rate == MAIN_RPS
    ]
