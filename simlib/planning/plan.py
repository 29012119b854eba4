"""What a planner answers with: a configuration, what it does, and what could go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from simlib.latency.trust import Beyond
from simlib.lazy import pd
from simlib.planning.demand import Demand
from simlib.planning.fleet import Engine
from simlib.planning.objectives import Objective
from simlib.text import many

LOADS = tuple(tenths / 10 for tenths in range(5, 21))
CURVE_DRAWS = 5


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is deployed.

    Attributes
    ----------
    engine : Engine
    replicas, max_seqs, token_budget : int
    k_bins : int
        Classes of predicted length that take turns at admission; 1: none.
    order : {"fcfs", "priority"}
        First come, first served, in each bin; or the most urgent first (`priority.PriorityFirst`), without bins.
    prefix_cache : bool
        Whether prompts find what others have in common with them (`settings.Continuous`).
    routing : {"least_tokens", "prefix"}
        Of several replicas, which is given a request (`settings.Continuous`).
    """

    engine: Engine
    replicas: int
    max_seqs: int
    token_budget: int
    k_bins: int = 1
    order: str = "fcfs"
    prefix_cache: bool = False
    routing: str = "least_tokens"

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.replicas * self.engine.gpus

    @property
    def admits(self) -> str:
        """Who is next, in words."""
        if self.order == "priority":
            return "the most urgent first"
        return "first come, first served" if self.k_bins == 1 else f"{self.k_bins} bins by predicted length"

    def __str__(self) -> str:
        told = [f"{self.replicas} x {self.engine.name} ({many(self.gpus, 'GPU')})"]
        told += [f"at most {self.max_seqs} sequences and {self.token_budget} tokens a step", self.admits]
        told += ["a prefix cache"] * self.prefix_cache
        told += ["routed to where most of a prompt is cached"] * (self.routing == "prefix")
        return ", ".join(told)


class Case(NamedTuple):
    """One trial: who serves which draw at which load, with which noise of predictions (None: the planner's)."""

    chosen: Configuration
    seed: int
    load: float = 1.0
    noise: float | None = None


class Spread(NamedTuple):
    """Half of the windows to come have more than the middle, 95 % of them lie between the ends, seconds."""

    low: float
    middle: float
    high: float


class Recorded(NamedTuple):
    """What becomes of the record that a plan is made from: its strain in all, and its windows'."""

    strain: float
    windows: int
    missed: int
    worst: float


class Needed(NamedTuple):
    """How many GPUs would do, where none within the limits does; None: no number would. And what limits them."""

    gpus: int | None
    low: int | None
    high: int | None
    limit: str


class Judge(Protocol):
    """What is asked of a planner: its question, and what configurations do for it."""

    demand: Demand
    objectives: Sequence[Objective]
    noise: float
    seed: int
    trials: Any

    @property
    def margin(self) -> float: ...
    def seeds(self, chosen: Configuration, count: int, first: int = 0) -> Sequence[int]: ...
    def allowed(self, chosen: Configuration, seeds: Sequence[int], fine: float = ...) -> Any: ...


@dataclass(frozen=True, slots=True)
class Risk:
    """What becomes of a plan when something is worse than planned.

    Attributes
    ----------
    what : str
    strain : float
        As `planner.Planner.screen` has it: above 1 the plan would not be made.
    missed_share : float
        Share of the windows, or of the draws, in which an objective is missed.
    """

    what: str
    strain: float
    missed_share: float


@dataclass(frozen=True)
class Plan:
    """What `planner.Planner.plan` found.

    Attributes
    ----------
    planner : Planner
        Who was asked.
    best : Configuration or None
        None: nothing within the limits meets the objectives as promised; then `nearest` is what comes closest.
    nearest : Configuration
        `best`, where there is one.
    allowed : Allowed
        What `nearest` may be given (`planning.allowed`).
    values_s : dict of str to Spread
        Of `nearest`, each objective's value: of the next window of a record, or of a draw.
    recorded : Recorded or None
        What becomes of the record itself; None of a description.
    runner_up : Configuration or None
        The next in the race.
    runner_up_allowed : Allowed or None
        What that may be given.
    tie : bool
        Whether both bear the same, as far as can be told.
    risks : list of Risk
    remeasure : str
        The one point to measure again on the own engine: what moves the load that can be borne most.
    gpus_by_order : dict of str to int or None
        Fewest GPUs with each way to admit (`Configuration.admits`), on screening; None above the limit.
    cost_per_million_output_tokens : float or None
        At the demand's load; None without a price.
    short : Needed or None
        Where nothing meets the objectives.
    beyond : list of Beyond
        Where the law is used outside what it was measured at, in a fresh draw.
    runs : int
        Simulations made.
    """

    planner: Any
    best: Configuration | None
    nearest: Configuration
    allowed: Any
    values_s: dict[str, Spread]
    recorded: Recorded | None
    runner_up: Configuration | None
    runner_up_allowed: Any
    tie: bool
    risks: list[Risk]
    remeasure: str
    gpus_by_order: dict[str, int | None]
    cost_per_million_output_tokens: float | None
    short: Needed | None
    beyond: list[Beyond]
    runs: int

    @property
    def doubts(self) -> list[str]:
        """Why the law may not hold for this plan, in words: fit, what it cannot tell, what lies beyond it."""
        trust, chosen = self.nearest.engine.trust, self.nearest
        told = [] if trust is None else trust.doubts(one.metric for one in self.planner.objectives)
        for one in self.beyond:
            more = one.term in ("decodes", "batch_size") and chosen.max_seqs > one.used[1]
            told.append(f"{one}{f', and up to {chosen.max_seqs} may run' if more else ''}")
        return told

    @property
    def binding(self) -> Objective:
        """The objective that is nearest to its limit, or furthest beyond it."""
        return max(self.planner.objectives, key=lambda one: self.values_s[one.name].high / one.limit_s)

    def curve(self) -> pd.DataFrame:
        """How near each objective is to its limit as the load grows: ``load, objective, draw, share_of_limit``.

        A draw is a window of a record.
        """
        planner, rows = self.planner, []
        seeds = planner.seeds(self.nearest, CURVE_DRAWS)
        most = max(self.allowed.middle + 0.25, 0.75)
        for load in (each for each in LOADS if each <= most):
            each = [planner.trials.values_s(Case(self.nearest, seed, load)) for seed in seeds]
            for one in planner.objectives:
                shares = np.concatenate([values[one.name] for values in each]) / one.limit_s
                shares = shares[:-1] if planner.demand.promises else shares
                rows += [
                    {"load": load, "objective": one.name, "draw": draw, "share_of_limit": share}
                    for draw, share in enumerate(shares.tolist())
                ]
        return pd.DataFrame(rows)
