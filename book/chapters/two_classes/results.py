"""All tables of the chapter from one call: settings are picked on their own draws, then everything is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.prefix_cache.study import ratios, replicated
from book.chapters.two_classes import bound, chat, claims, engines, others
from book.chapters.two_classes.study import (
    FIRST,
    FIRST_REFUSES,
    METRICS,
    PREEMPTS,
    PRIORITY,
    REFUSES,
    Setting,
    mixes_of,
    orders_of,
    paces_of,
    picked,
    scarce_of,
    summary,
)
from simlib.checks import check_integer

if TYPE_CHECKING:
    from collections.abc import Mapping

SOME = (FIRST, FIRST_REFUSES, PRIORITY, REFUSES)
FOUND = ("interactive", "batch", "found_interactive", "found_batch")
BOUNDED = (*METRICS, "bound", "jobs_beside", "of_bound")
BOUND_TIMES = 3  # as many requests in a run that is held against the bound: deadlines are short beside it


def tables(count: int, replications: int, seed: int) -> dict[str, pd.DataFrame]:
    """The chapter's tables by name.

    Parameters
    ----------
    count : int
        Requests of a run.
    replications, seed : int
        Settings are picked on other seeds than those from this one on.
    """
    count = check_integer("count", count, 100)

    def runs(one: Callable[[int], list[dict]]) -> pd.DataFrame:
        return replicated(one, replications, seed)

    own = picked(count // 2, seed)
    some = {order: own[order] for order in SOME}
    scarce = {order: own[order] for order in (PRIORITY, PREEMPTS, REFUSES)}
    frontier = engines.frontier(count // 2, seed)
    best = engines.best_of(frontier)
    talking = chat.talk_settings(count, seed)
    target_s, sizes = others.target_of(count // 2, seed), others.sizes_of(count // 2, seed)
    follows = runs(lambda each: others.controlled_of(each, count, own[REFUSES], target_s))
    batches = runs(lambda each: others.batches_of(each, count // 2, sizes))
    orders = runs(lambda each: orders_of(each, count, own))
    carried = runs(lambda each: engines.carried_of(each, count, best, own[FIRST_REFUSES]))
    bounded = runs(lambda each: bound.bound_of(each, BOUND_TIMES * count, own))
    talks = runs(lambda each: chat.talks_of(each, count, talking))
    transferred = runs(lambda each: engines.transferred_of(each, count, best))
    mixes, paces = runs(lambda each: mixes_of(each, count, some)), runs(lambda each: paces_of(each, count, some))
    way, first, each_own = engines.SHARED, engines.SHARED_FIRST, engines.OWN_ENGINES
    over = ((way, each_own), (first, each_own), (way, first))
    rates = summary(carried, ["mix"], "way", each_own, ["carried_rps"])
    return {
        "two_classes": summary(orders, ["load", "setting"]),
        "two_classes_settings": _settings(own, talking),
        "two_classes_mix": summary(mixes, ["mix"]),
        "two_classes_pace": summary(paces, ["tpot_s", "setting"]),
        "two_classes_memory": summary(
            runs(lambda each: scarce_of(each, count, scarce)), ["memory_tokens"], base=PRIORITY
        ),
        "two_classes_controlled": summary(follows, ["load"], "step", others.PICKED).assign(target_s=target_s),
        "two_classes_batches": summary(batches, ["load"]),
        "two_classes_frontier": frontier,
        "two_classes_transferred": summary(transferred, ["traffic"], "best_for", "both", ["both"]),
        "two_classes_carried": rates.rename(columns={"share": "carried_rps"}).drop(columns="metric"),
        "two_classes_carried_ratios": ratios(carried, "carried_rps", ["mix"], "way", over),
        "two_classes_chat": summary(talks, ["rate_rps", "setting"], metrics=FOUND),
        "two_classes_bound": summary(bounded, ["load"], base=REFUSES, metrics=BOUNDED),
        "two_classes_claims": claims.table_of(orders, carried, bounded),
    }  # fmt: skip


def _settings(own: Mapping[str, Setting], talking: Mapping[str, Setting]) -> pd.DataFrame:
    """What was picked for each order: of requests like Azure's, and of conversations."""
    rows = [
        {"traffic": name, "order": order, "places": setting.places, "budget_tokens": setting.budget_tokens}
        for name, found in (("azure-like", own), ("conversations", talking))
        for order, setting in found.items()
    ]
    return pd.DataFrame(rows)
