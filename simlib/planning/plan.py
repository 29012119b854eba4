"""What a planner answers with: a configuration, what it does, and what could go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simlib.latency.trust import Beyond
from simlib.lazy import pd
from simlib.planning.fleet import Engine
from simlib.planning.objectives import Objective
from simlib.stats.intervals import Interval
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
        Classes of predicted length that take turns at admission; 1: first come, first served.
    """

    engine: Engine
    replicas: int
    max_seqs: int
    token_budget: int
    k_bins: int = 1

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.replicas * self.engine.gpus

    def __str__(self) -> str:
        order = "first come, first served" if self.k_bins == 1 else f"{self.k_bins} bins by predicted length"
        return (
            f"{self.replicas} x {self.engine.name} ({many(self.gpus, 'GPU')}), at most {self.max_seqs} sequences and "
            f"{self.token_budget} tokens a step, {order}"
        )


@dataclass(frozen=True, slots=True)
class Risk:
    """What becomes of a plan when something is worse than planned.

    Attributes
    ----------
    what : str
    strain : Interval
        Largest of the objectives' values, each over its limit.
    missed_share : float
        Share of the draws in which an objective is missed.
    """

    what: str
    strain: Interval
    missed_share: float


@dataclass(frozen=True)
class Plan:
    """What `Planner.plan` found.

    Attributes
    ----------
    planner : Planner
        Who was asked.
    best : Configuration or None
        None: nothing within the limits meets the objectives with the confidence asked for; then `nearest` is what
        comes closest.
    nearest : Configuration
        `best`, where there is one.
    values_s : dict of str to Interval
        Of `nearest`, on fresh draws: each objective's value, seconds.
    ranges_s : dict of str to (float, float)
        In which 95 % of the runs to come have it: of other traffic and, where the law keeps draws of itself, of those.
    strain : Interval
        Of `nearest`, on the same draws.
    headroom : Interval or None
        Largest multiple of the load that meets the objectives, one root a draw; None where a draw has none between
        the ends of `planner.HEADROOM`.
    runner_up : Configuration or None
        The next in the race.
    runner_up_headroom : Interval or None
        Its own.
    risks : list of Risk
    remeasure : str
        The one point to measure again on the own engine: what moves the strain most.
    gpus_by_bins : dict of int to int or None
        Fewest GPUs with so many bins, on screening; None above the limit.
    cost_per_million_output_tokens : float or None
        At the demand's load; None without a price.
    beyond : list of Beyond
        Where the law is used outside what it was measured at, in a fresh draw.
    runs : int
        Simulations made.
    """

    planner: Any
    best: Configuration | None
    nearest: Configuration
    values_s: dict[str, Interval]
    ranges_s: dict[str, tuple[float, float]]
    strain: Interval
    headroom: Interval | None
    runner_up: Configuration | None
    runner_up_headroom: Interval | None
    risks: list[Risk]
    remeasure: str
    gpus_by_bins: dict[int, int | None]
    cost_per_million_output_tokens: float | None
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
        return max(self.planner.objectives, key=lambda one: self.values_s[one.name].mean / one.limit_s)

    def curve(self) -> pd.DataFrame:
        """How near each objective is to its limit as the load grows: ``load, objective, draw, share_of_limit``."""
        planner = self.planner
        most = LOADS[-1] if self.headroom is None else max(self.headroom.mean + 0.25, 0.75)
        rows = []
        for load in (each for each in LOADS if each <= most):
            for draw in range(CURVE_DRAWS):
                values_s = planner.values_s(self.nearest, planner.seed + draw, load)
                rows += [
                    {
                        "load": load,
                        "objective": one.name,
                        "draw": draw,
                        "share_of_limit": values_s[one.name] / one.limit_s,
                    }
                    for one in planner.objectives
                ]
        return pd.DataFrame(rows)
