"""How long to go on: until an interval is as narrow as wanted.

Calls the caller's function for one replication after another, by seed, as `replications` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from simlib.checks import InputError, check_integer, check_number, check_type
from simlib.lazy import pd
from simlib.stats.intervals import LARGEST, Interval, mean_interval
from simlib.stats.replications import replicate

FIRST_STAGE = 20


@dataclass(frozen=True, slots=True)
class Precise:
    """What `until_precise` ended with.

    Attributes
    ----------
    interval : Interval
        Of the metric that decided.
    reached : bool
        Whether the half-width is as small as wanted, and not merely the most replications made.
    runs : pandas.DataFrame
        As `replications.replicate` gives them.
    """

    interval: Interval
    reached: bool
    runs: pd.DataFrame


def until_precise(
    function: Callable[[int], Mapping[str, float]], metric: str, *, half_width: float, seed: int, most: int = 10_000
) -> Precise:
    """Replicate until the mean's interval (95 %) is narrow enough.

    Parameters
    ----------
    function, seed
        As in `replications.replicate`.
    metric : str
        Which of the numbers that the function returns decides.
    half_width : float
        Wanted, > 0, in the metric's unit.
    most : int
        Replications at the most, at least the 20 of the first stage: with fewer, a variance that is small by chance
        would stop too early.

    Notes
    -----
    Chow and Robbins (1965), by stages: each goes to what the variance so far asks for, at most half as many again.

    Examples
    --------
    >>> draw = lambda seed: {"late_share": np.random.default_rng(seed).random()}
    >>> found = until_precise(draw, "late_share", half_width=0.02, seed=42)
    >>> found.reached, found.interval.replications > 700
    (True, True)
    """
    check_type("metric", metric, str, "the name of a metric")
    half_width = check_number("half_width", half_width, 0.0, LARGEST, open_low=True)
    most = check_integer("most", most, FIRST_STAGE)
    seed = check_integer("seed", seed, 0, 2**32 - most)
    stages, count = [], FIRST_STAGE
    while True:
        done = sum(map(len, stages))
        stages.append(replicate(function, count - done, seed=seed + done, progress=False))
        if metric not in stages[0]:
            raise InputError(f"metric: {metric!r} (expected one of {', '.join(stages[0])})")
        values = np.concatenate([stage[metric].to_numpy() for stage in stages])
        interval = mean_interval(values)
        width = interval.ci_high - interval.mean
        if width <= half_width or count == most:
            runs = pd.concat(stages, ignore_index=True).rename_axis("replication")
            return Precise(interval, width <= half_width, runs)
        asked = count * (width / half_width) ** 2
        count = min(most, max(count + 1, math.ceil(min(asked, 1.5 * count))))
