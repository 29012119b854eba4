"""What a user's word means: the name of a policy, of a latency law, of a law of steps, of an execution."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simlib.calibration.cards import Calibration
from simlib.calibration.fit import from_grid
from simlib.checks import InputError, check_choice
from simlib.continuous.settings import Continuous
from simlib.latency import presets
from simlib.latency.interpolated import Table
from simlib.latency.models import Affine, Function, LatencyModel
from simlib.latency.presets import PRESETS
from simlib.latency.steps import StepLaw
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.policies.early_rejection import EarlyRejection
from simlib.policies.fair_share import FairShare
from simlib.policies.full_batches import MultiBinFixed
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.policies.static import FirstCome, StaticFIFO


def latency_of(latency: Any) -> LatencyModel:
    """The model that a user means: a model, a preset's name, ``"alpha,beta,gamma"``, a CSV, or a function.

    A CSV is one of measurements (`cards.Calibration` fits it, and takes the form with the smallest error on points left
    out), or a grid as `from_grid` reads it; with ``table:`` before its path, its times are interpolated.
    """
    if isinstance(latency, LatencyModel):
        return latency
    if callable(latency):
        return Function(latency)
    if isinstance(latency, str) and latency.startswith("table:"):
        return Table.read(latency.removeprefix("table:"))
    if isinstance(latency, Path) or (isinstance(latency, str) and latency.endswith(".csv")):
        return _from_csv(latency)
    if isinstance(latency, str) and latency in PRESETS:
        return PRESETS[latency]
    if isinstance(latency, str) and latency.count(",") == 2:
        try:
            return Affine(*(float(part) for part in latency.split(",")))
        except ValueError as problem:
            raise InputError(f"latency: {latency!r} ({problem}; expected alpha,beta,gamma in seconds)") from None
    if isinstance(latency, str) and latency.count("-") > 1:
        return presets.load(latency)
    raise InputError(
        f"latency: {latency!r} (expected a preset: {', '.join(PRESETS)}, or what `simlib presets` lists; or "
        "alpha,beta,gamma in seconds; or a CSV of measurements; or a function)"
    )


def _from_csv(path: str | Path) -> LatencyModel:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            header = next((line for line in file if not line.startswith("#")), "")
    except OSError as problem:
        raise InputError(f"latency file {path}: {problem}") from None
    if "prompt_tokens" not in header:
        return from_grid(path)
    return Calibration.of(path).model()


POLICIES: Mapping[str, Any] = {
    policy.name: policy
    for policy in (
        StaticFIFO,
        DynamicNoBins,
        MultiBinDynamic,
        MultiBinFixed,
        ShortestPredictedFirst,
        EarlyRejection,
        FairShare,
    )
}
ENGINE_POLICIES = {**POLICIES, FirstCome.name: FirstCome}
EXECUTIONS = ("run_to_completion", "continuous")


def execution_of(execution: Any) -> Any:
    """The settings of continuous batching, if it is asked for."""
    if isinstance(execution, str) and execution == "run_to_completion":
        return None
    if isinstance(execution, Continuous):
        return execution
    check_choice("execution", execution, EXECUTIONS)
    return Continuous()


def policy_of(policy: Any, execution: Any = "run_to_completion") -> Any:
    """The policy that a user means: an object, or a known name with its defaults."""
    known = ENGINE_POLICIES if execution_of(execution) else POLICIES
    if isinstance(policy, str):
        return known[check_choice("policy", policy, known)]()
    if isinstance(policy, type) or not all(hasattr(policy, part) for part in ("plan", "name", "needs_predictions")):
        hint = "; a function of your own: simlib.Custom(name, function)" if inspect.isfunction(policy) else ""
        raise InputError(f"policy: {policy!r} (expected a policy, or one of {', '.join(known)}{hint})")
    return policy


def step_law_of(given: Any) -> Any:
    """The step law that a user means: a law, ``"a,b,c,d"`` in seconds, or what `latency_of` takes and has one."""
    if hasattr(given, "law") and hasattr(given, "linear") and not isinstance(given, type):
        return given
    if isinstance(given, str) and given.count(",") in (3, 4):
        try:
            return StepLaw(*(float(part) for part in given.split(",")))
        except ValueError as problem:
            raise InputError(f"latency: {given!r} ({problem}; expected a,b,c,d in seconds)") from None
    return latency_of(given).step_law()
