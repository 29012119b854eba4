"""Intervals of a run's numbers, by drawing what is not known: the law of the engine's steps, and the traffic.

A law that was fitted to several loads keeps draws of itself in its `Trust`: whoever serves the same requests by each of
them sees how far another run's numbers may lie, and by drawing the requests anew, too, how far those of other traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from simlib.latency.steps import StepLaw
from simlib.latency.trust import DRAWS, ENDS


class Predicted(NamedTuple):
    """The median over draws, and the interval in which 95 % of them lie; NaN where nothing can be drawn."""

    value: float
    low: float
    high: float


def predicted(
    numbers_of: Callable[[Any, int], Mapping[str, float]],
    law: Any,
    span_s: float,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Predicted]:
    """The numbers of a run by a law, with their intervals.

    Parameters
    ----------
    numbers_of : callable
        From a law and the number of the draw, by which traffic may be drawn, to the numbers of a run.
    law : StepLaw or another law of steps
        Where it keeps no draws, its own numbers have no interval.
    span_s : float
        How long the run is, seconds.
    draws, seed : int

    Examples
    --------
    >>> predicted(lambda law, draw: {"step": law.a_s}, StepLaw(0.5), 1.0)
    {'step': Predicted(value=0.5, low=nan, high=nan)}
    """
    laws = law.drawn(draws, span_s, seed) if isinstance(law, StepLaw) else []
    if not laws:
        return {name: Predicted(float(value), np.nan, np.nan) for name, value in numbers_of(law, 0).items()}
    found = [numbers_of(one, draw) for draw, one in enumerate(laws)]
    columns = {name: np.array([one[name] for one in found]) for name in found[0]}
    return {
        name: Predicted(float(np.median(values)), *map(float, np.percentile(values, ENDS)))
        for name, values in columns.items()
    }
