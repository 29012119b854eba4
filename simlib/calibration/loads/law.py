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
from simlib.calibration.loads.limits import regression
from simlib.calibration.loads.load import Load
from simlib.calibration.step_fit import BLOCKS, UNCACHED, EngineLaw, Steps, confounded, solve, uncommon
from simlib.checks import InputError
from simlib.continuous.settings import Continuous
from simlib.latency.law_file import NAMES, TERMS, WAY_IN
from simlib.latency.steps import StepLaw
from simlib.latency.trust import Trust
from simlib.lazy import pd

DRAWS = 200
ALONG = 0.9  # of a term's variation that goes along with the others, from which on it is said
MEANING = f"{WAY_IN}: from the client to the queue and back, tokenising and streaming; no step takes it"
ENDS = 2.5, 97.5  # percentiles of an interval
TOLD_APART = 0.5  # of a load's own drift that must be left when the law is fitted to it, too
MOST_DRIFT = 1.0  # of the logarithm of a step's time
ASSUMPTIONS = (
    "every gap between two tokens of a request is one step (no speculation, no preemption, one token a message)",
    "a step's time is the device's and the host's together, which a benchmark cannot tell apart: so are a, b, c and d",
    UNCACHED,
)
ONE = "one load: how the machine drifts between two is not in the intervals"
NOT_APART = "drift of the machine between these loads cannot be told from what the loads do: it is not in the intervals"


def fit(loads: Sequence[Load], settings: Continuous, assumed: str = "", seed: int = 0) -> EngineLaw:
    """Fit the law of an engine to loads that it was put under.

    Parameters
    ----------
    loads : sequence of Load
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
    for load in loads:
        if load.most_at_once > min(settings.max_seqs, settings.token_budget):
            raise InputError(
                f"benchmark file {load.name}: {load.most_at_once} requests had tokens at once (expected at most "
                f"{settings.max_seqs}, max_seqs: the limits of the engine that was measured)"
            )
    steps, data = regression(loads, settings)
    if len(steps) < 2 * BLOCKS:
        place = ", ".join(load.name for load in loads)
        raise InputError(f"{place}: {len(steps)} steps (expected at least {2 * BLOCKS}, in the gaps between tokens)")
    steps, data, cached = _usual(steps, data)
    value = solve(data)
    blocks = _Blocks(data, steps["load"].to_numpy(), value)
    rng = np.random.default_rng(seed)
    noise, drift, freedom, told = _apart(blocks, value)
    step_noise = _of_a_step(data, value)
    draws, scale = np.empty((DRAWS, len(value))), np.empty(DRAWS)
    for draw in range(DRAWS):
        width = drift * np.sqrt(freedom / rng.chisquare(freedom)) if drift else 0.0
        own = np.clip(width * rng.standard_normal(blocks.loads + 1), -MOST_DRIFT, MOST_DRIFT)
        draws[draw], scale[draw] = blocks.solve(blocks.drawn(rng), np.exp(own[:-1])), np.exp(own[-1])
    served = [_ttft(load, settings, draws, rng) for load in loads]
    draws[:, -1] = _way_in(served)
    way_in_s = float(np.median(draws[:, -1]))
    unknown = confounded(data._replace(design=data.design[:, : len(NAMES)]))
    low, high = np.percentile(draws, ENDS, axis=0)
    intervals = {
        name: (0.0, np.inf) if name in unknown else (float(least), float(most))
        for name, least, most in zip((*NAMES, WAY_IN), low, high, strict=True)
    }
    draws[:, : len(NAMES)] *= scale[:, None]
    mape, r2 = blocks.held_out(data)
    trust = Trust(
        " and ".join(load.name for load in loads) if len(loads) < 3 else f"{loads[0].name} and {len(loads) - 1} others",
        {name: (float(steps[name].min()), float(steps[name].max())) for name in TERMS},
        mape,
        r2,
        (*ASSUMPTIONS, *filter(None, [assumed, told, cached])),
        tuple(name for name in NAMES if intervals[name][0] <= 0),
        draws=tuple(map(tuple, draws.tolist())),
        noise=math.sqrt(max(0.0, noise**2 - step_noise**2 * np.average(data.step_s, weights=data.weight))),
        step_noise=step_noise,
        fitted=tuple(load.mark for load in loads),
    )
    law = StepLaw(*value[: len(NAMES)].tolist(), way_in_s=way_in_s, trust=trust)
    unlike = own_times.unlike(law, [load.requests for load in loads], settings)
    for doubt in filter(None, [cached, trust.misfit and f"the law fits badly: {trust.misfit}"]):
        warnings.warn(f"{trust.source}: {doubt}", stacklevel=3)
    if unlike:
        warnings.warn(f"{trust.source}: the law does not give back {'; '.join(unlike)}", stacklevel=3)
        law = replace(law, trust=replace(trust, unlike=unlike))
    return EngineLaw(law, intervals, len(steps), "recorded", (MEANING, *_along(data, steps), *_differ(noise, drift)))


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


def _blocks(rows: int) -> np.ndarray:
    return np.arange(rows) * BLOCKS // rows


class _Blocks:
    """Normal equations of each block of time of each load, at the weights of a law that is near."""

    def __init__(self, data: Steps, load: np.ndarray, value: np.ndarray) -> None:
        self.loads = int(load.max()) + 1
        block = np.concatenate([_blocks(count) for count in np.bincount(load)])
        self.scale = np.maximum(np.abs(data.design).max(axis=0), 1e-300)
        self.of = load * BLOCKS + block
        expected_s = np.maximum(data.design @ value, data.step_s.min())
        weight = data.weight / expected_s**2
        design, count = data.design / self.scale, self.loads * BLOCKS
        self.squares, self.products = np.zeros((count, *2 * value.shape)), np.zeros((count, len(value)))
        self.totals, self.observed_s = np.zeros(self.products.shape), np.zeros(count)
        for number in range(count):
            own = self.of == number
            self.squares[number] = design[own].T @ (design[own] * weight[own, None])
            self.products[number] = design[own].T @ (data.step_s[own] * weight[own])
            self.observed_s[number] = data.weight[own] @ data.step_s[own]
            self.totals[number] = data.weight[own] @ data.design[own]

    def solve(self, times: np.ndarray, slower: np.ndarray | float = 1.0) -> np.ndarray:
        """The law where blocks count so many times, shape (loads, blocks), and loads are so much slower."""
        from scipy.optimize import nnls

        squares = np.einsum("g,gij->ij", times.ravel(), self.squares)
        products = np.einsum("g,gi->i", (times * np.reshape(slower, (-1, 1))).ravel(), self.products)
        values, vectors = np.linalg.eigh(squares)
        root = np.sqrt(np.maximum(values, 1e-12 * values[-1]))
        return nnls((vectors * root).T, (vectors / root).T @ products)[0] / self.scale

    def drawn(self, rng: np.random.Generator) -> np.ndarray:
        """How often each block counts; one less than there are is drawn, by which the spread is that of the mean."""
        return rng.multinomial(BLOCKS - 1, np.full(BLOCKS, 1 / BLOCKS), self.loads) * BLOCKS / (BLOCKS - 1)

    def held_out(self, data: Steps) -> tuple[float, float]:
        """Relative error, and share of the variance explained, of blocks predicted from the others."""
        error_s = np.empty(len(data.step_s))
        for number in range(len(self.squares)):
            others, own = np.ones(len(self.squares)), self.of == number
            others[number] = 0
            error_s[own] = data.step_s[own] - data.design[own] @ self.solve(others.reshape(self.loads, BLOCKS))
        mean_s = np.average(data.step_s, weights=data.weight)
        spread = np.average((data.step_s - mean_s) ** 2, weights=data.weight)
        mape = np.average(np.abs(error_s / data.step_s), weights=data.weight)
        return float(mape), float(1 - np.average(error_s**2, weights=data.weight) / spread) if spread else np.nan


def _apart(blocks: _Blocks, value: np.ndarray) -> tuple[float, float, float, str]:
    """How steps differ from the law's: noise of a second, drift between runs with its degrees of freedom; or why not.

    Of the drift of a load the law takes a part over, the more, the fewer loads there are beside it: what remains is
    found by making one load slower after the other.
    """
    every = np.ones((blocks.loads, BLOCKS))
    observed_s, expected_s = (times_s.reshape(every.shape) for times_s in (blocks.observed_s, blocks.totals @ value))
    span_s = observed_s.sum(axis=1)
    noise_2 = float(np.mean(np.log(observed_s / expected_s).var(axis=1, ddof=1) * span_s / BLOCKS))
    if blocks.loads == 1:
        return math.sqrt(noise_2), 0.0, 1.0, ONE
    slower = np.log(span_s / expected_s.sum(axis=1))
    base, left, nudge = blocks.solve(every), np.eye(blocks.loads), 0.01
    for load, one in enumerate(np.eye(blocks.loads)):
        other = blocks.solve(every, 1 + nudge * one)
        taken = (blocks.totals @ np.transpose([base, other])).reshape(*every.shape, 2).sum(axis=1)
        left[:, load] -= (taken[:, 1] / taken[:, 0] - 1) / nudge
    kept = left @ left.T
    if np.trace(kept) < TOLD_APART:
        return math.sqrt(noise_2), 0.0, 1.0, NOT_APART
    own = np.trace(left @ np.diag(noise_2 / span_s) @ left.T)
    drift = np.sqrt(max(0.0, (slower @ slower - own) / np.trace(kept)))
    return math.sqrt(noise_2), float(drift), float(max(1.0, np.trace(kept) ** 2 / np.trace(kept @ kept))), ""


def _of_a_step(data: Steps, value: np.ndarray) -> float:
    """Standard deviation of the logarithm of a step's time, seen from a client, over what the law says."""
    beyond = np.log(data.step_s / np.maximum(data.design @ value, data.step_s.min()))
    return math.sqrt(np.average((beyond - np.average(beyond, weights=data.weight)) ** 2, weights=data.weight))


def _ttft(
    load: Load, settings: Continuous, draws: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What a load's first tokens took beyond their simulated time: means by draw, of blocks drawn, and their spread."""
    table, block = (
        load.table,
        _blocks(len(load.requests)) if len(load.requests) >= BLOCKS else np.arange(len(load.requests)),
    )
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
