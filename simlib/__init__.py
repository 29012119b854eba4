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
    "Phases": "phases",
    "Calibration": "cards",
    "GivenTimes": "latency",
    "GivenBatchTimes": "latency",
    "Continuous": "continuous",
    "StepLaw": "step_laws",
}
_MODULES = {
    "arrivals",
    "backends",
    "batch_times",
    "batching",
    "binning",
    "calibration",
    "capacity",
    "cards",
    "checks",
    "claims",
    "continuous",
    "datasets",
    "deadline_bins",
    "engine",
    "engine_run",
    "explorer",
    "figures",
    "figures_latency",
    "figures_multi_bin",
    "figures_statistics",
    "figures_traffic_bins",
    "figures_validation",
    "fitting",
    "gpu_benchmarks",
    "grid",
    "histograms",
    "host",
    "interpolation",
    "joint_bins",
    "kernel_profile",
    "large_batches",
    "latency",
    "lengths",
    "levels",
    "measured_levels",
    "measurements",
    "metrics",
    "multi_bin",
    "multi_bin_carried",
    "multi_bin_claims",
    "notebook",
    "optimal_bins",
    "phase_bins",
    "phases",
    "predictors",
    "presets",
    "rate_bins",
    "reading",
    "reading_calibration",
    "reading_capacity",
    "reading_claims",
    "reading_latency",
    "reading_multi_bin",
    "reading_speed",
    "reading_statistics",
    "reading_traffic",
    "reading_traffic_bins",
    "recipes",
    "replications",
    "residual_svg",
    "run",
    "schedulers",
    "selection",
    "serving_benchmarks",
    "shards",
    "shares",
    "simulation",
    "stability",
    "stats",
    "steady",
    "step_compose",
    "step_laws",
    "step_state",
    "steploop",
    "streams",
    "studies",
    "sweep",
    "table",
    "theory",
    "theory_batches",
    "theory_bins",
    "theory_maxima",
    "theory_queues",
    "traces",
    "traffic",
    "traffic_bins",
    "validation",
    "validity",
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
