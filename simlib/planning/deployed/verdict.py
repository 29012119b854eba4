"""Inside or outside what was promised: windows counted, and whether so many misses are still compatible with it.

A promise is that a share of the windows meets every objective; misses are held against it by the exact binomial
probability of so many or more, at the level of the promise itself: where 95 of 100 are promised, 5 %. So one window
that misses, alone, speaks against it; one of two does not. The same is asked of each objective's predicted range, above
which a fortieth of the windows may lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simlib.planning.deployed.promise import COVERAGE, Promise, Promised
from simlib.planning.deployed.window import Observed
from simlib.planning.objectives import Objective

LEVEL = 0.05  # where no share is promised
EXACT = 1e-9  # 1 - 0.95 is no float


@dataclass(frozen=True, slots=True)
class Count:
    """Of so many windows that tell, so many lie beyond, and how likely so many or more are where the promise holds."""

    told: int
    beyond: int
    chance: float
    level: float

    @classmethod
    def of(cls, within: Sequence[bool | None], share: float, level: float) -> Count:
        """`share` is that of the windows which may lie beyond."""
        from scipy.stats import binom

        told, beyond = sum(one is not None for one in within), sum(one is False for one in within)
        return cls(told, beyond, float(binom.sf(beyond - 1, told, share)) if beyond else 1.0, level)

    @property
    def too_many(self) -> bool:
        """Whether they speak against the promise."""
        return self.beyond > 0 and self.chance <= self.level + EXACT


@dataclass(frozen=True)
class Checked:
    """What windows say of a promise.

    Attributes
    ----------
    promise : Promise
    windows : sequence of Observed
    missed : Count
        Windows that miss an objective.
    above : mapping of str to Count
        Windows above an objective's predicted range, by its name.
    """

    promise: Promise
    windows: Sequence[Observed]
    missed: Count
    above: dict[str, Count]

    @property
    def inside(self) -> bool | None:
        """Whether what was promised holds; None where no window tells, or classes could not be told apart."""
        if self.missed.too_many or any(one.too_many for one in self.above.values()):
            return False
        return True if self.missed.told and not self.promise.necessary else None

    @property
    def unmeasured(self) -> list[str]:
        """Objectives of which no window has a time."""
        return [
            one.name for one in self.promise.objectives if not any(one.name in each.values_s for each in self.windows)
        ]

    @property
    def worst(self) -> tuple[Observed, Promised]:
        """The window and the objective that are furthest beyond what was promised, or nearest to it."""
        cases = [
            (window, one)
            for window in self.windows for one in self.promise.promised if one.objective.name in window.values_s
        ]  # fmt: skip
        high = {name for name, count in self.above.items() if count.too_many}
        if self.missed.too_many:
            kept = cases
        elif high:
            kept = [case for case in cases if case[1].objective.name in high]
        elif self.inside is None:
            kept = [(window, one) for window, one in cases if _met(window, one.objective) is None] or cases
        else:
            kept = cases

        def beyond(case: tuple[Observed, Promised]) -> float:
            window, one = case
            edge = one.range_s.high if high and not self.missed.too_many else one.objective.limit_s
            low, top = window.values_s[one.objective.name]
            return (low or top) / edge

        return max(kept, key=beyond)


def judge(promise: Promise, windows: Sequence[Observed]) -> Checked:
    """Hold windows, one or more, against a promise."""
    met = []
    for window in windows:
        each = [_met(window, one) for one in promise.objectives]
        met.append(False if False in each else None if None in each else True)
    share = 0.0 if promise.confidence is None else 1 - promise.confidence
    missed = Count.of(met, share, LEVEL if promise.confidence is None else share)
    above = {}
    for one in promise.promised:
        if one.range_s.high is not None:
            inside = [within(window.values_s.get(one.objective.name), one.range_s.high) for window in windows]
            above[one.objective.name] = Count.of(inside, (1 - COVERAGE) / 2, LEVEL)
    return Checked(promise, windows, missed, above)


def _met(window: Observed, one: Objective) -> bool | None:
    return within(window.values_s.get(one.name), one.limit_s)


def within(ends: tuple[float, float] | None, edge: float) -> bool | None:
    """Whether a number that lies between two ends is at most `edge`; None where the ends do not tell.

    Examples
    --------
    >>> within((0.2, 0.2), 0.5), within((0.25, 0.5), 0.5), within((0.25, 0.5), 0.3), within((0.5, 1.0), 0.5)
    (True, True, None, False)
    """
    if ends is None:
        return None
    low, high = ends
    if high <= edge:
        return True
    return False if low >= edge else None
