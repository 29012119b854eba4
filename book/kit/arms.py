"""What is tried with bins and without them at several batch sizes, by its setting, and which of it carries most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from simlib.checks import InputError
from simlib.planning.carried.capacity import Search
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.policies.static import StaticFIFO
from simlib.stats.replications import replicate

Policies = dict[str, Any]  # by setting, as a table calls it


def static(caps: Iterable[int], called: str = "static, {}") -> Policies:
    """Static batches: up to so many requests, in order of arrival."""
    return {called.format(cap): StaticFIFO(cap) for cap in caps}


def dynamic(d_sla: float, caps: Iterable[int], called: str = "dynamic, {}") -> Policies:
    """Dynamic batching, steered to the deadline, with a cap."""
    return {called.format(cap): DynamicNoBins(d_sla, Rules(b_max=cap)) for cap in caps}


def bins(
    d_sla: float,
    k_bins: Iterable[int],
    caps: Iterable[int],
    called: str = "{} bins, {}",
    bin_select: str = "round_robin",
) -> Policies:
    """Bins of equal mass, steered to the deadline: how many of them, and the cap."""
    return {
        called.format(k, cap): MultiBinDynamic(k, d_sla, bin_select, variant=Rules(b_max=cap))
        for k in k_bins
        for cap in caps
    }


def shortest(
    ageing_s: float | None, lines: Iterable[int], caps: Iterable[int], called: str = "shortest of {}, {}"
) -> Policies:
    """Shortest predicted first: a batch is of one line of like predictions, and there are so many lines."""
    return {called.format(k, cap): ShortestPredictedFirst(ageing_s, k, cap) for k in lines for cap in caps}


def ageing_s(lengths: Any, d_sla: float) -> float:
    """Seconds of waiting that outweigh a predicted token: a quarter of the deadline outweighs a mean length."""
    return d_sla / 4 / float(np.mean(lengths))


def picked(search: Search, replications: int, **ways: Any) -> tuple[str, float]:
    """Which of a search's policies carries most in the geometric mean, and how much; `ways` as for `replicate`.

    A policy that misses the deadline at any rate carries nothing. The seeds should be of none that are judged.
    """

    def one(seed: int) -> dict[str, float]:
        table, found = search.table(seed), {}
        for name in search.policies:
            try:
                found[name] = search.root(name, table)
            except InputError as problem:
                if not str(problem).startswith("late_share"):  # the run is too short to tell
                    raise
                found[name] = 0.0
        return found

    with np.errstate(divide="ignore"):
        means = np.exp(np.log(replicate(one, replications, **ways)).mean())
    return str(means.idxmax()), float(means.max())
