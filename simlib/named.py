"""What a user's word means: the name of a policy, of a latency law, of a law of steps, of an execution."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simlib import reading
from simlib.calibration import designed
from simlib.calibration.cards import Calibration
from simlib.calibration.fit import from_grid
from simlib.checks import InputError, check_choice, number_in
from simlib.continuous.settings import Continuous
from simlib.latency import law_file, measurements, presets
from simlib.latency.interpolated import Table
from simlib.latency.models import Affine, Function, LatencyModel
from simlib.latency.presets import PRESETS
from simlib.latency.steps import StepLaw
from simlib.policies.deadline.early_rejection import EarlyRejection
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.policies.fair_share import FairShare
from simlib.policies.full_batches import MultiBinFixed
from simlib.policies.priority import PriorityFirst
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.policies.static import FirstCome, StaticFIFO


def latency_of(latency: Any) -> LatencyModel:
    """The model that a user means: a model, a preset's name, ``"alpha,beta,gamma"``, a CSV, or a function.

    A CSV is one of measurements (`cards.Calibration` fits it, and takes the form with the smallest error on points left
    out), a grid as `from_grid` reads it, a law of steps (`law_file`), or single steps that an engine was asked for
    (`designed`); with ``table:`` before its path, its times are interpolated.
    """
    if isinstance(latency, LatencyModel):
        return latency
    if callable(latency):
        return Function(latency)
    if isinstance(latency, str) and latency.startswith("table:"):
        return Table.read(latency.removeprefix("table:"))
    if _is_file(latency):
        found = _from_csv(latency)
        return law_file.static_batches(found) if isinstance(found, StepLaw) else found
    if isinstance(latency, str) and latency in PRESETS:
        return PRESETS[latency]
    if isinstance(latency, str) and latency.count(",") == 2:
        return Affine(*_numbers(latency, "alpha,beta,gamma"))
    if isinstance(latency, str) and latency.count("-") > 1:
        return presets.load(latency)
    near = presets.near(latency) if isinstance(latency, str) else ""
    raise InputError(
        f"latency: {latency!r} (expected a preset: {', '.join(PRESETS)}, or what `simlib presets` lists{near}; or "
        "alpha,beta,gamma in seconds; or a CSV of measurements; or a function)"
    )


def _is_file(given: Any) -> bool:
    if not isinstance(given, str):
        return isinstance(given, Path)
    return given.endswith(".csv") or (os.path.exists(given) and not os.path.isdir(given))  # a pipe, too


def _from_csv(path: str | Path) -> LatencyModel | StepLaw:
    """What a file says of times; it is read once, as a pipe can only be."""
    expected = "a CSV of measurements, or a law that `simlib calibrate` wrote"
    _, text = reading.text(path, expected, f"latency file {path}")
    if law_file.is_law(text):
        return law_file.parse(text, str(path))
    if designed.is_steps(text):
        return designed.parse(text, str(path)).law
    header = next((line for line in text.splitlines() if not line.startswith("#")), "")
    measured = measurements.parse(text, str(path))
    return Calibration.of(measured).model() if "prompt_tokens" in header else from_grid(measured)


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
        PriorityFirst,
    )
}
ENGINE_POLICIES = {**POLICIES, FirstCome.name: FirstCome}
LONGEST_STEP_S = 1.0  # of a typed law, with nothing in it: a longer one was meant in milliseconds
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
    if isinstance(policy, str):
        return policy_kind(policy, execution)()
    if isinstance(policy, type) or not all(hasattr(policy, part) for part in ("plan", "name", "needs_predictions")):
        known = ENGINE_POLICIES if execution_of(execution) else POLICIES
        hint = "; a function of your own: simlib.Custom(name, function)" if inspect.isfunction(policy) else ""
        raise InputError(f"policy: {policy!r} (expected a policy, or one of {', '.join(known)}{hint})")
    return policy


def policy_kind(name: Any, execution: Any, place: str = "policy", continuous: str = "execution='continuous'") -> Any:
    """The policy's class; `place` and `continuous` are how an error names where it was given, and what it misses."""
    known = ENGINE_POLICIES if execution_of(execution) else POLICIES
    if name in ENGINE_POLICIES and name not in known:
        raise InputError(f"{place}: {name!r} (expected {continuous} beside it; without, one of {', '.join(known)})")
    return known[check_choice(place, name, known)]


def step_law_of(given: Any) -> Any:
    """The step law that a user means: a law, its file, ``"a,b,c,d"`` in seconds, or what `latency_of` takes."""
    if hasattr(given, "law") and hasattr(given, "linear") and not isinstance(given, type):
        return given
    if isinstance(given, str) and given.count(",") in (3, 4):
        law = StepLaw(*_numbers(given, "a,b,c,d"))
        if law.a_s > LONGEST_STEP_S:
            raise InputError(
                f"latency: {given!r}: a step of {law.a_s:g} s with nothing in it looks like milliseconds "
                f"(expected a, b, c and d in seconds, a at most {LONGEST_STEP_S:g})"
            )
        return law
    found = _from_csv(given) if _is_file(given) else latency_of(given)
    return found if isinstance(found, StepLaw) else found.step_law()


def _numbers(text: str, expected: str) -> list[float]:
    numbers = [number_in(part) for part in text.split(",")]
    if any(map(math.isnan, numbers)):
        raise InputError(f"latency: {text!r} (expected {expected} in seconds)")
    return numbers
