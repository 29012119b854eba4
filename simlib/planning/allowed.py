"""How much load a configuration may be given, as a multiple of the demand's: what a plan promises.

Of a record with windows the promise is about windows to come: the load that each window of the record bears is a series
(`trials.Trials.borne`), in which bursts of all lengths count, the drift of rate and lengths and what is random in all;
the next window's is forecast from it (`stats.forecast`). Nothing is promised that the record itself denies: in all it
must meet the objectives. How a description varies nobody knows: a stated reserve is kept, and no share of windows
promised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simlib.planning.plan import Case, Configuration
from simlib.planning.trials import FINE, Trials
from simlib.stats import intervals
from simlib.stats.forecast import Forecast, ahead


@dataclass(frozen=True)
class Allowed:
    """What a configuration may be given.

    Attributes
    ----------
    load : float
        Multiple of the demand's: 1 or more, and the promise holds for the demand.
    low, middle, high : float
        What the next window bears: 95 % of them between the ends, half of them more than the middle. Of a description,
        what steady traffic bears, with the interval of the mean.
    borne : ndarray, shape (n_windows,) or (n_draws,)
        Logarithm of what each window, or draw, bears.
    """

    load: float
    low: float
    middle: float
    high: float
    borne: np.ndarray

    @property
    def bounds(self) -> dict[str, float]:
        """For a machine."""
        return {"load": self.load, "low": self.low, "middle": self.middle, "high": self.high}


def allowed(
    trials: Trials,
    chosen: Configuration,
    seeds: Sequence[int],
    confidence: float,
    reserve: float,
    fine: float = FINE,
    start: float = 1.0,
) -> Allowed:
    """The load that a promise allows.

    Parameters
    ----------
    trials : Trials
    chosen : Configuration
    seeds : sequence of int
        Draws of what is not known: of a record the law and predictions, of a description the requests, too.
    confidence : float
        Share of windows to come in which all objectives are met; of a description, that the mean is as large.
    reserve : float
        Of a description: so much more load is to be borne, as a share.
    fine : float
        How near to each other the loads are between which a root is interpolated, as a logarithm.
    start : float
        The load that is tried first.
    """
    borne = []
    for seed in seeds:
        borne.append(trials.borne(Case(chosen, seed, start), fine))
        start = math.exp(float(np.median(borne[-1])))
    if trials.demand.promises:
        *series, whole = np.median(borne, axis=0)
        forecasts = [ahead(each[:-1], trials.demand.windows.steps) for each in borne]
        mixed = Forecast(np.sort(np.concatenate([each.values for each in forecasts])), len(series))
        load = min(mixed.quantile(1 - confidence), whole)
        low, middle, high = (mixed.quantile(share) for share in (0.025, 0.5, 0.975))
        return Allowed(*map(math.exp, (load, low, middle, high)), np.array(series))
    each = np.concatenate(borne)
    mean = intervals.mean_interval(each)
    sure = intervals.mean_interval(each, 2 * confidence - 1)
    ends = [mean.mean if end is None else end for end in (sure.ci_low, mean.ci_low, mean.mean, mean.ci_high)]
    ends[0] -= math.log1p(reserve)
    return Allowed(*map(math.exp, ends), each)
