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
    "ShortestPredictedFirst": "shortest_first",
    "EarlyRejection": "early_rejection",
    "FairShare": "fair",
    "Custom": "schedulers",
    "Rules": "batching",
    "Memory": "batching",
    "Affine": "latency",
    "Phases": "phases",
    "Calibration": "cards",
    "GivenTimes": "latency",
    "GivenBatchTimes": "latency",
    "Continuous": "continuous",
    "StepControl": "step_control",
    "StepLaw": "step_laws",
}
__all__ = list(_HOME)

__getattr__ = getter("simlib", _HOME)


def __dir__() -> list[str]:
    import pkgutil

    return sorted([*_HOME, *(module.name for module in pkgutil.iter_modules(__path__))])
