"""How should an LLM-serving system form its batches when it has a deadline to meet?

An afternoon's reading, each file with only the earlier ones known: `checks`, `requests.table` (what a request is),
`engine.shapes`, `engine.batches` (the event loop), `latency.models`, `policies.plan` (what a policy is), `static`,
`batch_size` (Algorithms 1 and 2), `bins`, `dynamic`, `runs.sla`, `metrics`, `run`, `batch_run`, `named`, `simulation`.

Then by room: more of what comes in `requests`, who is next in `policies`, how long in `latency`, and what happened in
`runs`; `continuous` is the step engine, `calibration` finds laws, `theory` checks both engines, `stats` has intervals,
`planning` says what to deploy, `sweep` and `levels` simulate many times, `cli` has the same verbs in a terminal.
"""

from __future__ import annotations

from simlib.lazy import getter

_HOME = {
    "InputError": "checks",
    "RequestTable": "requests.table",
    "workload": "requests.workload",
    "traces": "requests.traces",
    "predictors": "requests.predictors",
    "Affine": "latency.models",
    "GivenTimes": "latency.models",
    "GivenBatchTimes": "latency.models",
    "Phases": "latency.phases",
    "StepLaw": "latency.steps",
    "Calibration": "calibration.cards",
    "StaticFIFO": "policies.static",
    "Rules": "policies.batch_size",
    "Memory": "policies.batch_size",
    "DynamicNoBins": "policies.dynamic",
    "MultiBinDynamic": "policies.dynamic",
    "MultiBinFixed": "policies.full_batches",
    "ShortestPredictedFirst": "policies.shortest_first",
    "EarlyRejection": "policies.deadline.early_rejection",
    "MostInTime": "policies.deadline.most_in_time",
    "FairShare": "policies.fair_share",
    "PriorityFirst": "policies.priority",
    "Custom": "policies.custom",
    "Continuous": "continuous.settings",
    "StepControl": "continuous.control",
    "SLA": "runs.sla",
    "Run": "runs.run",
    "load": "runs.files",
    "simulate": "simulation",
}
__all__ = list(_HOME)

__getattr__ = getter("simlib", _HOME)


def __dir__() -> list[str]:
    return sorted(_HOME)
