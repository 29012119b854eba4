"""From plain names and values to a workload, a policy, a latency model: what may stand in one place of a sweep's grid.

First in the flow of a sweep, before `grid`. Each kind has a name and takes the parameters of the record that it makes,
so that a new parameter of a policy can be swept without a line here. Nothing is evaluated, nothing is imported by name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

from simlib import named
from simlib.checks import MAX_GPUS, InputError, check_choice, check_integer
from simlib.latency import models, presets
from simlib.named import POLICIES as NAMED_POLICIES
from simlib.policies import dynamic
from simlib.policies.batch_size import VARIANTS, Memory, Rules
from simlib.policies.deadline.early_rejection import EarlyRejection
from simlib.policies.priority import PriorityFirst
from simlib.requests import lengths, predictors, streams, traces, workload
from simlib.requests.arrivals import AllAtOnce, ArrivalProcess, GammaArrivals, OnOff, Poisson
from simlib.requests.clients import with_priorities
from simlib.requests.table import RequestTable
from simlib.runs.sla import SLA
from simlib.simulation import OVERSIZE


@dataclass(frozen=True, slots=True)
class Original:
    """Workload ``original``: the original system's recipe, replication r with seed ``seed + r``."""

    requests: int = 1000
    seed: int = 42
    rate_rps: float = workload.ORIGINAL_RATE_RPS
    arrivals: str = "poisson"
    priorities: Sequence[float] | None = None
    has_predictions: ClassVar[bool] = True

    def table(self, replication: int, requests: int | None = None) -> RequestTable:
        """One replication's requests, or as many of the first as wanted."""
        table = workload.original(requests or self.requests, self.seed + replication, self.rate_rps, self.arrivals)
        return _with_priorities(table, self.priorities, "original", self.seed + replication)

    @property
    def has_priorities(self) -> bool:
        """Whether the requests come with priorities."""
        return self.priorities is not None

    def check(self, replications: int) -> None:
        """Raise `InputError` if a replication cannot be made."""
        check_integer("seed", self.seed, 0, 2**32 - 2 - replications)
        _check_recipe(self)


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Workload ``synthetic``: `workload.generate` with its keyed streams; rates share their unit-rate gaps."""

    arrivals: ArrivalProcess
    prompt: lengths.LengthDistribution
    output: lengths.LengthDistribution
    predictor: predictors.Predictor | None = None
    requests: int = 1000
    family: str = "synthetic"
    priorities: Sequence[float] | None = None

    def table(self, replication: int, requests: int | None = None) -> RequestTable:
        """One replication's requests, or as many of the first as wanted."""
        parts = (self.arrivals, self.prompt, self.output, self.predictor)
        table = workload.generate(requests or self.requests, *parts, family=self.family, replication=replication)
        return _with_priorities(table, self.priorities, self.family, replication)

    @property
    def has_priorities(self) -> bool:
        """Whether the requests come with priorities."""
        return self.priorities is not None

    @property
    def has_predictions(self) -> bool:
        """Whether the requests come with predicted lengths."""
        return self.predictor is not None

    def check(self, replications: int) -> None:
        """Raise `InputError` if a replication cannot be made."""
        _check_recipe(self)


@dataclass(frozen=True, slots=True)
class Trace:
    """Workload ``trace``: rows of a file (`traces.read`); replications differ in what is drawn for them alone."""

    path: str
    requests: int | None = None
    rate_factor: float = 1.0
    failed: str = "drop"
    predictor: predictors.Predictor = field(default_factory=predictors.OriginalFormula)
    family: str = "trace"
    priorities: Sequence[float] | None = None
    has_predictions: ClassVar[bool] = True

    def table(self, replication: int) -> RequestTable:
        """One replication's requests."""
        table = predictors.predict(self.read().requests, self.predictor, family=self.family, replication=replication)
        return _with_priorities(table, self.priorities, self.family, replication)

    @property
    def has_priorities(self) -> bool:
        """Whether the requests come with priorities: the file's, or drawn."""
        return self.priorities is not None or self.read().requests.priority is not None

    def read(self) -> traces.Trace:
        """The file's requests, with the account of how they came out of it."""
        return _trace(self.path, self.requests, self.rate_factor, self.failed)

    def check(self, replications: int) -> None:
        """Raise `InputError` if the file cannot be read so."""
        self.table(0)


def _with_priorities(
    table: RequestTable, shares: Sequence[float] | None, family: str, replication: int
) -> RequestTable:
    """With the `priorities` of a recipe: shares of 0, 1, …, that are drawn; the table's own without."""
    return table if shares is None else with_priorities(table, shares, family, replication)


def _check_recipe(recipe: Original | Synthetic) -> None:
    check_integer("requests", recipe.requests, 1, streams.MOST_REQUESTS)
    recipe.table(0, requests=1)


@functools.lru_cache(maxsize=4)
def _trace(path: str, requests: int | None, rate_factor: float, failed: str) -> traces.Trace:
    return traces.read(path, rows=requests, rate_factor=rate_factor, failed=failed)


class Kinds(NamedTuple):
    """What may stand in one place of a grid, by name; `usual` where no name is given."""

    known: Mapping[str, Callable[..., Any]]
    usual: str | None = None


ARRIVALS = Kinds({"poisson": Poisson, "gamma": GammaArrivals, "on_off": OnOff, "all_at_once": AllAtOnce})
LENGTHS = Kinds(
    {
        "fixed": lengths.Fixed,
        "uniform": lengths.Uniform,
        "exponential": lengths.Exponential,
        "log_normal": lengths.LogNormal,
        "mixture": lengths.Mixture,
        "empirical": lengths.Empirical,
    }
)
PREDICTORS = Kinds(
    {
        "original": predictors.OriginalFormula,
        "oracle": predictors.Oracle,
        "noise": predictors.MultiplicativeNoise,
        "confusion": predictors.Confusion,
        "latent_score": predictors.LatentScore,
    }
)
WORKLOADS = Kinds({"original": Original, "synthetic": Synthetic, "trace": Trace})
MEMORIES = Kinds({"memory": Memory}, "memory")
RULES = Kinds({name: functools.partial(Rules, name) for name in VARIANTS}, "original")
LATENCIES = Kinds(
    {"affine": models.Affine}
    | {
        name: functools.partial(type(preset), **{part.name: getattr(preset, part.name) for part in fields(preset)})
        for name, preset in presets.PRESETS.items()
    },
    "affine",
)
POLICIES = Kinds(NAMED_POLICIES)
# Parameters that are themselves of a kind, by who has them.
PARTS: dict[Any, dict[str, Kinds]] = {
    Synthetic: {"arrivals": ARRIVALS, "prompt": LENGTHS, "output": LENGTHS, "predictor": PREDICTORS},
    Trace: {"predictor": PREDICTORS},
    lengths.Mixture: {"parts": LENGTHS},
    EarlyRejection: {"variant": RULES},
    PriorityFirst: {"variant": RULES},
    dynamic.DynamicNoBins: {"variant": RULES},
    dynamic.MultiBinDynamic: {"variant": RULES},
    Rules: {"memory": MEMORIES},
}


def build(kinds: Kinds, value: Any, place: str) -> Any:
    """Make what a place of the grid describes: a kind's name, or its parameters and under ``kind`` its name."""
    given = {"kind": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        raise InputError(f"{place}: {value!r} (expected one of {', '.join(kinds.known)}, or its parameters)")
    given = dict(given)
    kind = check_choice(f"{place}.kind", given.pop("kind", kinds.usual), kinds.known)
    make = kinds.known[kind]
    known = _parameters(make)
    for name in given:
        check_choice(f"{place}, a parameter of {kind}", name, known)
    missing = [name for name, needed in known.items() if needed and name not in given]
    if missing:
        raise InputError(f"{place}.{missing[0]}: missing ({kind} needs {', '.join(n for n in known if known[n])})")
    for name, part in PARTS.get(getattr(make, "func", make), {}).items():
        inner = given.get(name)
        if isinstance(inner, (list, tuple)):
            given[name] = [build(part, one, f"{place}.{name}.{i}") for i, one in enumerate(inner)]
        elif inner is not None:
            given[name] = build(part, inner, f"{place}.{name}")
    try:
        return make(**given)
    except InputError as problem:
        raise InputError(f"{place}: {problem}") from None


@functools.cache
def _parameters(make: Callable[..., Any]) -> dict[str, bool]:
    """Names of what it takes, and whether each is needed."""
    return {name: one.default is one.empty for name, one in inspect.signature(make).parameters.items()}


def _latency(value: Any) -> Any:
    is_name = isinstance(value, str) and value not in LATENCIES.known
    return named.latency_of(value) if is_name else build(LATENCIES, value, "latency")


SECTIONS: dict[str, Callable[[Any], Any]] = {
    "workload": lambda value: build(WORKLOADS, value, "workload"),
    "policy": lambda value: build(POLICIES, value, "policy"),
    "latency": _latency,
    "gpus": lambda value: check_integer("gpus", value, 1, MAX_GPUS),
    "sla": lambda value: None if value is None else SLA.of(value),
    "oversize": lambda value: check_choice("oversize", value, OVERSIZE),
}
