"""Which batch size suits a policy: picked by the same rule for all, on requests that no replication serves."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from book.kit import arms
from simlib import levels
from simlib.requests.table import RequestTable
from simlib.runs.run import Run
from simlib.simulation import simulate

BATCHES = "run_to_completion"
CAPS = (4, 8, 12, 16, 24, 32, 64)  # requests of a batch, at most
FITTED = levels.MOST_REPLICATIONS  # added to the seed: what is fitted is fitted to requests of no replication
DRAWS = 4  # of them
Variants = Mapping[str, tuple[Any, Any]]  # a policy's sizes: (policy, execution) by what is written in a table


def static() -> Variants:
    """Batches of up to so many, in order of arrival."""
    return in_batches(arms.static(CAPS))


def dynamic(d_sla: float) -> Variants:
    """Dynamic batching, steered to the deadline, with a cap."""
    return in_batches(arms.dynamic(d_sla, CAPS))


def bins(d_sla: float, k_values: Iterable[int]) -> Variants:
    """Bins of equal mass in turn, steered to the deadline: how many of them, and the cap."""
    return in_batches(arms.bins(d_sla, sorted(set(k_values)), CAPS))


def shortest(known: RequestTable, d_sla: float, lines: Iterable[int]) -> Variants:
    """Shortest predicted first, in so many lines, which ages by the mean output of known requests."""
    return in_batches(arms.shortest(arms.ageing_s(known.output_tokens, d_sla), sorted(set(lines)), CAPS))


def in_batches(policies: Mapping[str, Any]) -> Variants:
    """Policies as variants that run to completion."""
    return {name: (policy, BATCHES) for name, policy in policies.items()}


def scores(
    variants: Variants, tables: Iterable[RequestTable], model: Any, gpus: int, d_sla: float
) -> dict[str, tuple[float, float]]:
    """Each variant's share of late requests and mean latency over some tables: the least is picked.

    Examples
    --------
    >>> import simlib
    >>> table = simlib.RequestTable([0.0] * 16, [1] * 16, [1] * 16)
    >>> found = scores(static(), [table], lambda size, *longest: 10.0 + size, 1, 26.0)
    >>> found["static, 12"], min(found, key=found.get)
    ((0.25, 25.5), 'static, 16')
    """
    tables, found = list(tables), {}
    for name, (policy, how) in variants.items():
        latency_s = np.concatenate([latencies_s(run_of(each, policy, model, gpus, how)) for each in tables])
        found[name] = (float(np.mean(~(latency_s <= d_sla))), float(np.nanmean(latency_s)))
    return found


def picked(variants: Variants, tables: Iterable[RequestTable], model: Any, gpus: int, d_sla: float) -> str:
    """The variant with the fewest late requests over some tables; where several have, the one with least latency."""
    if len(variants) == 1:
        return next(iter(variants))
    found = scores(variants, tables, model, gpus, d_sla)
    return min(found, key=found.get)


def run_of(table: RequestTable, policy: Any, model: Any, gpus: int, how: Any = BATCHES) -> Run:
    """A run, without the warnings that the page repeats in words."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "latency .*|predicted_output_tokens: tied.*")
        return simulate(table, policy, model, gpus, how)


def latencies_s(run: Run) -> np.ndarray:
    """End-to-end latency of each request, missing where it was turned away."""
    return run.times.completion_s - run.table.arrival_s


def at_rate(table: RequestTable, rate_rps: float) -> RequestTable:
    """The same requests at a mean rate."""
    return table.at_rate(rate_rps * float(table.arrival_s[-1] - table.arrival_s[0]) / (len(table) - 1))
