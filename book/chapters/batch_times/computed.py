"""Whether a grid of batch times was computed from a formula, not measured: means or spreads too regular for a clock."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import chi2

from simlib.calibration.fit import fit
from simlib.checks import check_frame
from simlib.latency.measurements import TIMED

EXACT = 1e-9  # relative: no clock and no GPU agrees with a formula so well


def evidence(points: pd.DataFrame, form: str = "affine") -> dict[str, float]:
    """What speaks for a grid that was computed from a formula, not measured.

    Parameters
    ----------
    points : pandas.DataFrame
        As for `fit`, with several repetitions of each point; or one row a point whose columns ``std_s, repetitions``
        say how they spread.
    form : str
        The formula that is suspected.

    Returns
    -------
    dict
        ``largest_residual``, relative, of the means from the fitted formula. ``residual_p``: probability of means this
        near to any formula of that form, were the spread real (lower tail of chi-squared). ``spread_variation``:
        coefficient of variation of the ratio of standard deviation to mean over the points. ``spread_p``: probability
        that it is no larger, were the repetitions normal with the same relative spread at each point, the case in
        which it is least (lower tail of the variance of log s², of 2,000 draws, seed 0). NaN without repetitions.

    Examples
    --------
    >>> grid = pd.MultiIndex.from_product([(1, 2, 8), (64, 256, 512), (0,)], names=TIMED[:3]).to_frame(index=False)
    >>> mean_s = 0.015 + 0.0003 * grid["prompt_tokens"]
    >>> found = evidence(grid.assign(total_s=mean_s, std_s=0.05 * mean_s, repetitions=3))
    >>> found["residual_p"] < 1e-9, found["spread_p"] < 0.01
    (True, True)
    """
    check_frame("points", points, TIMED)
    if "std_s" in points:
        means = points
    else:
        grouped = points.groupby(list(TIMED[:3]))["total_s"]
        means = pd.DataFrame({"total_s": grouped.mean(), "std_s": grouped.std(), "repetitions": grouped.size()})
        means = means.reset_index()
    fitted = fit(means, form)
    residual = fitted.predict(*(means[name] for name in TIMED[:3])) / means["total_s"].to_numpy() - 1
    largest = {"largest_residual": float(np.abs(residual).max())}
    means = means.assign(residual=residual)[(means["repetitions"] > 1) & (means["std_s"] > 0)]
    if len(means) < 3:
        return largest | dict.fromkeys(("residual_p", "spread_variation", "spread_p"), np.nan)
    repetitions = means["repetitions"].to_numpy(float)
    ratio = (means["std_s"] / means["total_s"]).to_numpy(float)
    distance = float(np.sum(repetitions * (means["residual"] / ratio) ** 2))
    freedom = max(len(means) - len(fitted.coefficients), 1)
    draws = np.random.default_rng(0).chisquare(repetitions - 1, (2000, len(means))) / (repetitions - 1)
    chance = np.var(np.log(draws), axis=1) <= np.var(np.log(ratio**2))
    return largest | {
        "residual_p": float(chi2.cdf(distance, freedom)),
        "spread_variation": float(ratio.std() / ratio.mean()),
        "spread_p": float((1 + chance.sum()) / (1 + len(draws))),
    }


def computed(found: Mapping[str, float], level: float = 1e-3) -> bool:
    """Whether `evidence` shows a computed grid: means or spreads too regular to have been measured.

    Without repetitions only means that follow the formula to nine digits count: a clock has none of these.

    Examples
    --------
    >>> computed({"largest_residual": 0.02, "residual_p": 1.0, "spread_p": 0.4})
    False
    """
    return found["largest_residual"] < EXACT or found["residual_p"] < level or found["spread_p"] < level
