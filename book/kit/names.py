"""How schedulers, executions, traffic and rules for bins are called in text and figures, by their names in tables."""

from __future__ import annotations

from simlib.levels import PAIRS

SCHEDULER_NAMES = {
    "static_fifo": "static batches",
    "dynamic_no_bins": "dynamic batching",
    "multi_bin_dynamic": "bins",
    "multi_bin_fixed": "bins, full batches",
    "shortest_predicted_first": "shortest predicted first",
    "fcfs": "first come, first served",
}
EXECUTION_NAMES = {"run_to_completion": "batches that run to completion", "continuous": "continuous batching"}
SHORT_EXECUTION_NAMES = {"run_to_completion": "batches", "continuous": "steps"}
ENGINE_NAMES = {"static_fifo": "engine, static batches' places", "fcfs": "engine, first come, first served"}
ENGINE_NAMES |= {"multi_bin_dynamic": "engine, bins in turn"}  # what the order of a scheduler is in an engine
TRAFFIC_NAMES = {
    "poisson": "Poisson",
    "synthetic": "Poisson",
    "on_off": "ON/OFF",
    "trace": "BurstGPT",
    "population": "BurstGPT-like",
    "burstgpt": "BurstGPT-like",
    "burstgpt_like": "BurstGPT-like",
    "burstgpt_sample": "BurstGPT, real rows",
    "azure": "Azure-like",
    "azure_like": "Azure-like",
    "azure_2023": "Azure 2023",
    "log_normal": "log-normal (the trial)",
}
MULTI_DYNAMIC = "scheduler_a == {!r} and scheduler_b == {!r}".format(*PAIRS[2])  # the rows of the last, as a query
BIN_RULE_NAMES = {"equal_mass": "equal mass", "lemma_a1": "Lemma A.1", "optimal": "optimal"}


def system(execution: str, scheduler: str) -> str:
    """A scheduler in an execution, as tables call it: by its own name, or as the order of an engine."""
    names = ENGINE_NAMES if execution == "continuous" else SCHEDULER_NAMES
    return names.get(scheduler, scheduler)
