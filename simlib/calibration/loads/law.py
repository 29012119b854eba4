"""The law of an engine's steps from several loads, and what they leave open of it: the way in, drift, noise, draws.

The steps of all loads are one regression, no coefficient below zero. What the requests of a run take beside their steps
is what clients measured to their first tokens less what a simulation of the same arrivals has: the way in. Draws say
what else the law may be: blocks of time are drawn anew within each load (steps in a row resemble each other), loads are
slower or faster by as much as they are seen to be, and so is the run that is to come.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simlib.calibration import own_times
from simlib.calibration.loads import limits
from simlib.calibration.loads.blocks import BLOCKS, Blocks
from simlib.calibration.loads.load import MeasuredLoad
from simlib.calibration.step_fit import UNCACHED, EngineLaw, Steps, confounded, solve, uncommon
from simlib.checks import InputError
from simlib.continuous.settings import Continuous
from simlib.latency.law_file import NAMES, TERMS, WAY_IN
from simlib.latency.steps import StepLaw
from simlib.latency.trust import DRAWS, ENDS, Trust
from simlib.lazy import pd

ALONG = 0.9  # of a term's variation that goes along with the others, from which on it is said
MEANING = f"{WAY_IN}: from the client to the queue and back, tokenising and streaming; no step takes it"
FREEDOM = 2  # degrees of it at least, of a drift: of one, nothing could be said
MOST_DRIFT = 1.0  # of the logarithm of a step's time
ASSUMPTIONS = (
    "every gap between two tokens of a request is one step (no speculation, no preemption, one token a message)",
    "a step's time is the device's and the host's together, which a benchmark cannot tell apart: so are a, b, c and d",
    UNCACHED,
)
ONE = "one load: how the machine drifts between two is not in the intervals"


def fit(loads: Sequence[MeasuredLoad], settings: Continuous, assumed: str = "", seed: int = 0) -> EngineLaw:
    """Fit the law of an engine to loads that it was put under.

    Parameters
    ----------
    loads : sequence of MeasuredLoad
        Of one engine, one model, one set of options.
    settings : Continuous
        The engine's limits.
    assumed : str
        What was assumed of them.
    seed : int
        Of the draws.

    Returns
    -------
    EngineLaw
        With the way in, and draws in its law's `Trust`.

    Raises
    ------
    InputError
        If there are too few steps, or more requests at once than the engine's limits allow.
    """
    _check_limits(loads, settings)
    steps, data = limits.regression(loads, settings, limits.way_in_s(loads, settings))
    for load, count in zip(loads, np.bincount(steps["load"], minlength=len(loads)), strict=True):
        if count < 2 * BLOCKS:
            raise InputError(f"{load.name}: {count} steps (expected at least {2 * BLOCKS}, in the gaps between tokens)")
    steps, data, cached = _usual(steps, data)
    value = solve(data)
    blocks = Blocks(data, steps["load"].to_numpy(), value)
    drift, step_noise = blocks.drift(), _of_a_step(data, value)
    value = blocks.solve(blocks.once, drift)
    draws, scale = _drawn(loads, settings, blocks, drift, seed)
    intervals = _intervals(draws, confounded(data._replace(design=data.design[:, : len(NAMES)])))
    way_in_s = float(np.median(draws[:, -1]))
    draws[:, : len(NAMES)] *= scale[:, None]
    mape, r2 = blocks.held_out(data, drift)
    trust = Trust(
        " and ".join(load.name for load in loads) if len(loads) < 3 else f"{loads[0].name} and {len(loads) - 1} others",
        {name: (float(steps[name].min()), float(steps[name].max())) for name in TERMS},
        mape,
        r2,
        (*ASSUMPTIONS, *filter(None, [assumed, cached, ONE if len(loads) == 1 else ""])),
        tuple(name for name in NAMES if intervals[name][0] <= 0),
        draws=tuple(map(tuple, draws.tolist())),
        noise=math.sqrt(max(0.0, blocks.noise**2 - step_noise**2 * np.average(data.step_s, weights=data.weight))),
        step_noise=step_noise,
        fitted=tuple(load.mark for load in loads),
    )
    law = StepLaw(*value[: len(NAMES)].tolist(), way_in_s=way_in_s, trust=trust)
    unlike = own_times.unlike(law, [load.requests for load in loads], settings)
    for load in loads:
        if load.repeats:
            warnings.warn(f"{load.name}: {load.repeats}", stacklevel=3)
    for doubt in filter(None, [cached, trust.misfit and f"the law fits badly: {trust.misfit}"]):
        warnings.warn(f"{trust.source}: {doubt}", stacklevel=3)
    if unlike:
        warnings.warn(f"{trust.source}: the law does not give back {'; '.join(unlike)}", stacklevel=3)
        law = replace(law, trust=replace(trust, unlike=unlike))
    return EngineLaw(
        law, intervals, len(steps), "recorded", (MEANING, *_along(data, steps), *_differ(blocks.noise, drift))
    )


def _check_limits(loads: Sequence[MeasuredLoad], settings: Continuous) -> None:
    for load in loads:
        if load.most_at_once > min(settings.max_seqs, settings.token_budget):
            raise InputError(
                f"max_seqs: {settings.max_seqs}, and token_budget: {settings.token_budget} (expected at least "
                f"{load.most_at_once}: so many requests had tokens at once in {load.name})"
            )


def _drawn(
    loads: Sequence[MeasuredLoad], settings: Continuous, blocks: Blocks, drift: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The law and the way in as they may be, shape (`DRAWS`, 5), and how slow the run that is to come, by each."""
    rng = np.random.default_rng(seed)
    draws, scale, freedom = np.empty((DRAWS, len(NAMES) + 1)), np.empty(DRAWS), max(len(loads) - 1, FREEDOM)
    for draw in range(DRAWS):
        width = drift * np.sqrt(freedom / rng.chisquare(freedom))
        own = np.clip(width * rng.standard_normal(len(loads) + 1), -MOST_DRIFT, MOST_DRIFT)
        draws[draw], scale[draw] = blocks.solve(blocks.drawn(rng), drift, np.exp(own[:-1])), np.exp(own[-1])
    paces = blocks.paces(draws)
    served = [_ttft(load, settings, draws * pace[:, None], rng) for load, pace in zip(loads, paces.T, strict=True)]
    draws[:, -1] = _way_in(served)
    return draws, scale


def _intervals(draws: np.ndarray, unknown: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Of each coefficient and the way in; of what the loads cannot tell, all."""
    low, high = np.percentile(draws, ENDS, axis=0)
    return {
        name: (0.0, np.inf) if name in unknown else (float(least), float(most))
        for name, least, most in zip((*NAMES, WAY_IN), low, high, strict=True)
    }


def _usual(steps: pd.DataFrame, data: Steps) -> tuple[pd.DataFrame, Steps, str]:
    """The steps without those whose prompt looks cached, and what these look like."""
    terms = data._replace(design=data.design[:, : len(NAMES)]).rows(~steps["alone"].to_numpy(bool))
    unlike, told = uncommon(terms)
    kept = np.ones(len(steps), bool)
    kept[np.flatnonzero(~steps["alone"])[unlike]] = False
    return steps[kept].reset_index(drop=True), data.rows(kept), told


def _along(data: Steps, steps: pd.DataFrame) -> list[str]:
    """Of which terms most of the variation goes along with the others', so that these loads hardly tell them apart."""
    found, root = [], np.sqrt(data.weight)[:, None]
    terms = steps[list(TERMS)].to_numpy(float)
    centred = (terms - np.average(terms, axis=0, weights=data.weight)) * root
    for place, (name, own) in enumerate(zip(NAMES[1:], centred.T, strict=True)):
        others = np.delete(centred, place, axis=1)
        if (size := own @ own) <= 0:
            found.append(f"{name}: its term never changes in these loads")
            continue
        rest = own - others @ np.linalg.lstsq(others, own, rcond=None)[0]
        if (share := 1 - rest @ rest / size) > ALONG:
            others = "along with the others', which these loads hardly tell from it (prompts of unlike lengths would)"
            found.append(f"{name}: {share:.0%} of its term's variation goes {others}")
    return found


def _differ(noise: float, drift: float) -> list[str]:
    said = f"noise: one second's steps take what the law says within {noise:.1%}, one standard deviation"
    return [said, *([f"drift: a load's steps do so within {drift:.1%} beside that"] if drift else [])]


def _of_a_step(data: Steps, value: np.ndarray) -> float:
    """Standard deviation of the logarithm of a step's time, seen from a client, over what the law says."""
    beyond = np.log(data.step_s / np.maximum(data.design @ value, data.step_s.min()))
    return math.sqrt(np.average((beyond - np.average(beyond, weights=data.weight)) ** 2, weights=data.weight))


def _ttft(
    load: MeasuredLoad, settings: Continuous, draws: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What first tokens took beyond their simulated time: means by law, of blocks drawn anew, and their variances."""
    table, block = load.table, np.arange(len(load.requests)) * BLOCKS // max(len(load.requests), BLOCKS)
    counts = np.bincount(block)
    means, spread = np.empty(len(draws)), np.empty(len(draws))
    for draw, law in enumerate(draws):
        found = load.served(StepLaw(*law[: len(NAMES)]), settings, table)
        beyond_s = load.ttft_s - (found.first_token_s - table.arrival_s)
        sums, drawn = np.bincount(block, beyond_s), rng.integers(len(counts), size=max(len(counts) - 1, 1))
        means[draw], spread[draw] = sums[drawn].sum() / counts[drawn].sum(), beyond_s.var() / len(beyond_s)
    return means, spread


def _way_in(served: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The way in by draw: loads count by how well they tell it, which one that waits in a queue hardly does."""
    means, weights = zip(*((means, 1 / np.median(spread)) for means, spread in served), strict=True)
    return np.maximum(np.average(means, axis=0, weights=weights), 0.0)
