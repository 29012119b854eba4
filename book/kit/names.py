"""How schedulers, executions, traffic and rules for bins are called in text and figures, by their names in tables."""

from __future__ import annotations

from simlib import levels
from simlib.policies.plan import short_name

SCHEDULER_NAMES = {name: short_name(name) for name in levels.SCHEDULERS}
SCHEDULER_NAMES |= {"multi_bin_fixed": "multi-bin, full batches"}
EXECUTION_NAMES = {"run_to_completion": "batches that run to completion", "continuous": "continuous batching"}
SHORT_EXECUTION_NAMES = {"run_to_completion": "batches", "continuous": "steps"}
ENGINE_NAMES = {"static_fifo": "continuous, static's places", "fcfs": "continuous, fcfs"}
ENGINE_NAMES |= {"multi_bin_dynamic": "continuous, bins' order"}  # what the order of a scheduler is in an engine
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
BIN_RULE_NAMES = {"equal_mass": "equal mass", "lemma_a1": "Lemma A.1", "optimal": "optimal"}


def system(execution: str, scheduler: str) -> str:
    """A scheduler in an execution, as tables call it: by its own name, or as the order of an engine."""
    return ENGINE_NAMES.get(scheduler, scheduler) if execution == "continuous" else scheduler
