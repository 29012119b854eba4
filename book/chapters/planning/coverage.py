"""Does a plan hold? Planned on the past of a record, replayed on its next window, from origin to origin.

Judged is the load that one configuration may be given (`simlib.planning.allowed`): a multiple of the recorded traffic,
by compressing time, so that no rounding to whole GPUs hides an error. Each load is served once, over the whole record:
what a window sees does not hang on what comes after it, but for the last requests of a window, among which the next
window's first ones are served.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from book.chapters.planning.traffic import Record
from simlib.planning import objectives
from simlib.planning.demand import of_table
from simlib.planning.objectives import Objective
from simlib.planning.plan import Case, Configuration
from simlib.planning.trials import Trials
from simlib.planning.windows import LABEL
from simlib.stats.forecast import ahead
from simlib.stats.intervals import t_quantile

LOADS = np.exp(np.arange(np.log(0.25), np.log(4.0), 0.06))  # among which a plan looks (`planning.trials`)
ENDS = 0.025, 0.975
LONG = 19  # windows: from there on they support 95 % without a model


@dataclass(frozen=True)
class Served:
    """What the windows of a record bear, as logarithms of multiples of it; the ends of `LOADS` stand for all beyond.

    Attributes
    ----------
    borne : ndarray, shape (n_windows,)
    whole : ndarray, shape (n_windows,)
        What the record bears up to the end of each window, all its requests judged together.
    steps : ndarray of int, shape (n_windows,)
    """

    borne: np.ndarray
    whole: np.ndarray
    steps: np.ndarray


def served(record: Record, chosen: Configuration, wanted: str, workers: int = 2) -> Served:
    """Serve a record at `LOADS`, the least first, until each window has missed its objectives at one of them."""
    demand = of_table(record.table, record.name, record.window_s)
    trials = Trials(demand, objectives.parse(wanted), 0.4)
    count = len(demand.windows)

    def at(load: float) -> tuple[np.ndarray, np.ndarray]:
        run = trials.run(Case(chosen, 0, load))
        number = run.table.labels[LABEL]
        windows = objectives.by_window(run, trials.objectives, number, count)
        each = objectives.strain(windows, trials.objectives)
        return each, _so_far(run, trials.objectives, number, count)

    trials.requests(0)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    with ThreadPoolExecutor(workers) as pool:
        while len(found) < len(LOADS):
            found += pool.map(at, LOADS[len(found) :][:workers])
            parts = [np.array(part) for part in zip(*found, strict=True)]
            if all((part > 1).any(axis=0).all() for part in parts):
                break
    return Served(*(_first_crossing(np.log(np.maximum(part, 1e-9))) for part in parts), demand.windows.steps)


def _so_far(run: object, wanted: Sequence[Objective], number: np.ndarray, count: int) -> np.ndarray:
    """The strain of all requests up to the end of each window."""
    ends = [int(np.flatnonzero(number == window)[-1]) + 1 for window in range(count)]
    return np.array([objectives.strain(objectives.values_s(run, wanted, slice(0, end)), wanted) for end in ends])


def _first_crossing(strains: np.ndarray) -> np.ndarray:
    """The logarithm of the first load at which a strain exceeds 1, interpolated; of shape (n_loads, n) each column."""
    logs, above = np.log(LOADS[: len(strains)]), strains > 0
    first = np.where(above.any(axis=0), above.argmax(axis=0), len(strains) - 1)
    before, columns = np.maximum(first - 1, 0), np.arange(strains.shape[1])
    low, high = strains[before, columns], strains[first, columns]
    part = np.where((first > before) & (high > low), np.clip(-low / np.where(high > low, high - low, 1), 0, 1), 0)
    return logs[before] + part * (logs[first] - logs[before])


def origins(found: Served, confidence: float = 0.95, least: int = 2) -> pd.DataFrame:
    """Plans of one record at each origin, and what its next window bears.

    ``windows, forecast, guard, allowed, low, middle, high, plain_low, plain_high, next``.

    All are logarithms of loads: what the forecast allows and what the record does, the least of both; the interval of
    the next window's, and a plain rule's, the last window give or take the past's standard deviation; what it bears.
    """
    rows = []
    for count in range(least, len(found.borne)):
        past = found.borne[:count]
        forecast = ahead(past, found.steps[:count])
        guard = found.whole[count - 1]
        spread = 1.96 * past.std(ddof=1)
        bound = forecast.quantile(1 - confidence)
        rows.append(
            {
                "windows": count,
                "forecast": bound,
                "guard": guard,
                "allowed": min(bound, guard),
                "low": forecast.quantile(ENDS[0]),
                "middle": forecast.quantile(0.5),
                "high": forecast.quantile(ENDS[1]),
                "plain_low": past[-1] - spread,
                "plain_high": past[-1] + spread,
                "next": found.borne[count],
            }
        )
    return pd.DataFrame(rows)


def judged(each: pd.DataFrame, by: Sequence[str], confidence: float = 0.95) -> pd.DataFrame:
    """How often plans held, how good their intervals were, and what they cost over hindsight.

    No plan is made where not even the least of `LOADS` is allowed. Hindsight is told twice: as the *one load* of a
    record that keeps the same promise, which as many of the windows bear as was promised; and *window by window* the
    load that each bears, which no promise for all of them can reach.

    Parameters
    ----------
    each : pandas.DataFrame
        As `origins` gives them, with ``series``: rows of one record are not independent of each other.
    by : sequence of str
        Columns whose values are judged apart.
    confidence : float
        What was promised.

    Returns
    -------
    pandas.DataFrame
        ``pairs, records, no_plan, held, ci_low, ci_high``: plans and origins without one; the share of next windows
        that bear what was allowed, with its interval, clustered by record (missing for one); ``forecast_held``: by what
        the forecast alone allows; ``score_ratio``: mean interval score (Gneiting and Raftery, 2007) over the plain
        rule's, on logarithms, of all origins. GPU-hours are in proportion to one over the load: ``over_one, over_low,
        over_high``, those of plans over the one load's, with an interval as above; ``over_one_all``, with the origins
        that have no plan at the least load; ``over_one_long``, of plans made from at least `LONG` windows;
        ``promise``, the one load's over those of each window; ``over_each``, those of plans over these: ``over_one``
        times ``promise``.
    """
    rows, least = [], np.log(LOADS[0])
    for name, part in each.groupby(list(by), sort=False):
        made = part[part["allowed"] > least]
        held = (made["next"] >= made["allowed"]).groupby(made["series"])
        share, low, high = clustered(held.sum().to_numpy(), held.size().to_numpy())
        ours, plain = (_score(part, *ends) for ends in (("low", "high"), ("plain_low", "plain_high")))
        one, one_all = (_one_load(some, confidence) for some in (made, part))
        long = made["windows"] >= LONG
        hours, best = _hours(made["allowed"]), _hours(made["next"])
        rows.append(
            dict(zip(by, name, strict=True))
            | {"pairs": len(made), "records": held.ngroups, "no_plan": len(part) - len(made)}
            | {"held": share, "ci_low": low, "ci_high": high}
            | {"forecast_held": float((made["next"] >= made["forecast"]).mean()), "score_ratio": ours / plain}
            | dict(zip(("over_one", "over_low", "over_high"), _over_one(made, one), strict=True))
            | {"over_one_all": ratio(_hours(part["allowed"].clip(lower=least)), _hours(one_all))}
            | {"over_one_long": ratio(_hours(made["allowed"][long]), _hours(one[long]))}
            | {"promise": ratio(_hours(one), best), "over_each": ratio(hours, best)}
        )
    return pd.DataFrame(rows)


def _over_one(made: pd.DataFrame, one: pd.Series) -> tuple[float, float, float]:
    """Hours of plans over those of the one load, with the interval by records."""
    sums = (np.exp(-loads).groupby(made["series"]).sum().to_numpy() for loads in (made["allowed"], one))
    return over(*sums)


def _hours(loads: pd.Series) -> float:
    """GPU-hours that loads take, given their logarithms: a fleet that bears half as much has to be twice as large."""
    return float(np.exp(-loads).sum())


def _one_load(part: pd.DataFrame, confidence: float) -> pd.Series:
    """Of each record the load that, in hindsight, as many of its next windows bear as was promised."""
    return part.groupby("series")["next"].transform(lambda borne: borne.quantile(1 - confidence))


def ratio(part: float, whole: float) -> float:
    """Of two sums; missing where there is nothing to compare with."""
    return float(part / whole) if whole else np.nan


def clustered(held: np.ndarray, pairs: np.ndarray) -> tuple[float, float, float]:
    """A share with its 95 % interval, by clusters of pairs; the interval is missing for one."""
    share, low, high = over(held, pairs)
    return share, max(low, 0.0), min(high, 1.0)


def over(some: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """The ratio of two sums, one of each a cluster, with its 95 % interval; the interval is missing for one cluster."""
    found, groups = ratio(some.sum(), others.sum()), len(some)
    if groups < 2:
        return found, np.nan, np.nan
    error = np.sqrt(groups / (groups - 1) * np.sum((some - found * others) ** 2)) / others.sum()
    reach = t_quantile(groups - 1, 0.95) * float(error)
    return found, found - reach, found + reach


def _score(part: pd.DataFrame, low: str, high: str, alpha: float = 0.05) -> float:
    below, above = (part[low] - part["next"]).clip(lower=0), (part["next"] - part[high]).clip(lower=0)
    return float((part[high] - part[low] + 2 / alpha * (below + above)).mean())
