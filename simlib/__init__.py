"""How should an LLM-serving system form its batches when it has a deadline to meet?

Open first: `table` (what a request is), `schedulers` (the policies), `engine` (the event loop).
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "RequestTable": "table",
    "InputError": "checks",
    "simulate": "simulation",
    "Run": "run",
    "SLA": "metrics",
    "StaticFIFO": "schedulers",
    "DynamicNoBins": "schedulers",
    "MultiBinDynamic": "schedulers",
    "MultiBinFixed": "schedulers",
    "Custom": "schedulers",
    "Rules": "batching",
    "Memory": "batching",
    "Affine": "latency",
    "GivenTimes": "latency",
    "GivenBatchTimes": "latency",
    "Continuous": "continuous",
    "StepLaw": "step_laws",
}
_MODULES = {
    "arrivals",
    "backends",
    "batching",
    "binning",
    "capacity",
    "checks",
    "continuous",
    "datasets",
    "engine",
    "engine_run",
    "explorer",
    "figures",
    "figures_statistics",
    "figures_validation",
    "grid",
    "histograms",
    "kernel_profile",
    "latency",
    "lengths",
    "levels",
    "metrics",
    "notebook",
    "predictors",
    "reading",
    "reading_capacity",
    "reading_speed",
    "reading_statistics",
    "reading_traffic",
    "recipes",
    "replications",
    "run",
    "schedulers",
    "selection",
    "shards",
    "shares",
    "simulation",
    "stability",
    "stats",
    "step_compose",
    "step_laws",
    "step_state",
    "steady",
    "steploop",
    "streams",
    "studies",
    "sweep",
    "table",
    "theory",
    "traces",
    "traffic",
    "validation",
    "workload",
}
__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `import simlib` and `simlib --help` stay light.
    if name in _MODULES:
        return importlib.import_module(f"simlib.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"simlib.{_HOME[name]}"), name)
    raise AttributeError(f"module 'simlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
