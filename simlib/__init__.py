"""How should an LLM-serving system form its batches when it has a deadline to meet?

Open first: `table` (what a request is), `schedulers` (the policies), `engine` (the event loop).
"""

from __future__ import annotations

from simlib.lazy import getter

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
    "batching",
    "binning",
    "calibration",
    "capacity",
    "cards",
    "checks",
    "claims",
    "continuous",
    "datasets",
    "engine",
    "engine_run",
    "explorer",
    "figures",
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
    "measurements",
    "metrics",
    "notebook",
    "optimal_bins",
    "phases",
    "predictors",
    "presets",
    "reading",
    "recipes",
    "replications",
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
    "traces",
    "traffic",
    "validation",
    "validity",
    "workload",
}
__all__ = [*_HOME, *_MODULES]
__getattr__ = getter("simlib", _MODULES, _HOME)


def __dir__() -> list[str]:
    return sorted(__all__)
