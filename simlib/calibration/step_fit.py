"""The law of a step fitted to the steps that an engine made, and how far to trust it.

Takes steps as `engine_benchmarks` rebuilds them, hands a `StepLaw` with its `Trust` to whoever simulates, and the same
as a file (`latency.law_file`) or as a card.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simlib.checks import InputError, check_frame, check_number
from simlib.latency import law_file
from simlib.latency.law_file import NAMES, TERMS, WAY_IN
from simlib.latency.steps import StepLaw
from simlib.latency.trust import GOOD_MAPE, WORDS, Trust
from simlib.lazy import pd

C = 1 + TERMS.index("prefill_tokens")  # column of the design, behind that of the steps' fixed time
BLOCKS = 10  # stretches of time that are left out in turn
ILL_CONDITIONED = 300.0  # of the scaled columns: beyond it, terms rise and fall together
CONFIDENCE = 0.95
ROUNDS = 4  # of weighting by what the last round expects
PART, NOISES = 0.7, 5.0  # a prompt that took less than this part of what others take, beyond so many deviations
SLOW = 0.25  # a step without a prompt that takes so much longer than its like
CHUNKS = 0.25  # so many such steps a prompt are chunks of it
FEW, SOME = 0.02, 0.1  # share of the steps, of such as are seldom and of such as are less so, that say nothing
TRIMS = 20  # how often a fit is repeated without those that it leaves out
NORMAL = 1.4826  # times the median of a normal's absolute deviations is its standard deviation

ASSUMPTIONS = (
    "every gap between two tokens of a request is one step (no speculation, no preemption, one token a message)",
    "a prompt is worked on in the step that ends with its first token, whole (no chunks)",
    "a request that has the engine to itself gets its first token after one step of its prompt",
    "what the client sees is the engine's clock: the way to it costs the same for all tokens",
)
UNCACHED = "no token of a prompt is in the prefix cache (what was cached makes c too small)"


@dataclass(frozen=True, slots=True)
class EngineLaw:
    """tau = a + b decodes + c prefill tokens + d context tokens, in seconds a step, with how far to trust it.

    Attributes
    ----------
    law : StepLaw
        What `simulate` takes; its `trust` has the fit, the ranges and the assumptions.
    intervals : mapping of str to (float, float)
        95 % of each coefficient, by leaving out each of ten stretches of time, or as the law's draws have it; without
        end where the steps cannot tell. Of the way in, where it was looked for.
    steps : int
        Observations: a gap between two tokens of one request, or a first token that was alone.
    starts : str
        How it is known when requests started.
    notes : tuple of str
        What else the card says: what coefficients mean, and which loads would tell them apart.
    """

    law: StepLaw
    intervals: Mapping[str, tuple[float, float]]
    steps: int
    starts: str
    notes: tuple[str, ...] = ()

    @property
    def mape(self) -> float:
        """Of steps predicted from the other nine stretches."""
        return self.law.trust.mape

    @property
    def r2(self) -> float:
        """As `mape`."""
        return self.law.trust.r2

    @property
    def unidentified(self) -> tuple[str, ...]:
        """Coefficients that the benchmark cannot tell: from others, or from 0."""
        return self.law.trust.unidentified

    def table(self) -> pd.DataFrame:
        """One row a coefficient: value, interval, and whether the benchmark can tell it."""
        names = [name for name in (*NAMES, WAY_IN) if name in self.intervals]
        low, high = zip(*(self.intervals[name] for name in names), strict=True)
        values = [*self.law.params[: len(NAMES)], self.law.way_in_s][: len(names)]
        known = [name not in self.unidentified for name in names]
        return pd.DataFrame(
            {"coefficient": names, "value": values, "ci_low": low, "ci_high": high, "identified": known}
        )

    def text(self) -> str:
        """The law as a file that ``--latency`` reads."""
        return law_file.text_of(self.table(), self.law.trust)

    def card(self) -> str:
        """What was fitted, to what, and on which assumptions, as text (Markdown)."""
        trust = self.law.trust
        rows = [
            f"| `{row.coefficient}` | {row.value:.4g} | {row.ci_low:.4g} to "
            f"{'any' if math.isinf(row.ci_high) else f'{row.ci_high:.4g}'} | {'yes' if row.identified else 'no'} |"
            for row in self.table().itertuples()
        ]
        seen = ", ".join(f"{WORDS[name]} {low:g} to {high:g}" for name, (low, high) in trust.ranges.items())
        bad = f": a bad fit{trust.misfit[trust.misfit.index(' (') :]}" if trust.misfit else ""
        return "\n".join(
            [
                f"### Step law of {trust.source}",
                "",
                "τ = a + b · decodes + c · prefill tokens + d · context tokens, in seconds, no coefficient below zero",
                "",
                "| coefficient | value | 95 % interval | identified |",
                "|---|---|---|---|",
                *rows,
                "",
                f"- {self.steps} steps; held out by stretches of time: MAPE {100 * self.mape:.1f} %, "
                f"R² {self.r2:.4f}{bad}",
                f"- valid for {seen}",
                f"- start of requests: {self.starts}",
                *(f"- {text}" for text in self.notes),
                *(f"- its own benchmark is not given back: {text}" for text in trust.unlike),
                *(f"- assumed: {text}" for text in trust.assumes),
            ]
        )


def fit_steps(
    steps: pd.DataFrame, source: str = "steps", starts: str = "given", assumes: tuple[str, ...] = (UNCACHED,)
) -> EngineLaw:
    """Fit the step law by non-negative least squares of relative errors.

    Parameters
    ----------
    steps : DataFrame
        As `engine_benchmarks.steps_of` leaves them; rows in order of time.
    source, starts : str
        For the card.
    assumes : tuple of str
        What was assumed in making them, for the card, beside `ASSUMPTIONS`.

    Raises
    ------
    InputError
        If there are too few steps, or one takes no time.

    Warns
    -----
    UserWarning
        Naming the coefficients that these steps cannot tell; of prompts that look cached, or computed in chunks; of a
        bad fit.

    Notes
    -----
    Intervals are the delete-a-group jackknife's over ten stretches of time (steps in a row resemble each other), with
    Student's t on nine degrees of freedom, of least squares without a bound: at the bound an estimate does not move,
    which is no certainty. A coefficient whose interval reaches 0 is not identified.

    Where more than one in fifty steps with a prompt took much less time a token than the others, they are taken for
    prompts of which part was cached, said with their number, and left out of the fit, if the others agree.

    Examples
    --------
    >>> n = np.arange(1.0, 41.0)
    >>> terms = {"decodes": n % 7, "prefill_tokens": 50 * (n % 3), "context_tokens": 100 * (n % 11)}
    >>> tau_s = 0.01 + 1e-4 * terms["decodes"] + 1e-5 * terms["prefill_tokens"] + 1e-7 * terms["context_tokens"]
    >>> found = fit_steps(pd.DataFrame({"step_s": tau_s, **terms, "weight": 1.0}))
    >>> round(found.law.a_s, 9), round(found.law.c_s, 9)
    (0.01, 1e-05)
    """
    check_frame("steps", steps, ("step_s", *TERMS, "weight"))
    if len(steps) < 2 * BLOCKS:
        raise InputError(f"{source}: {len(steps)} steps (expected at least {2 * BLOCKS}, in the gaps between tokens)")
    check_number(f"{source}, shortest step_s", float(steps["step_s"].min()), 0.0, open_low=True)
    data = Steps(
        np.column_stack([np.ones(len(steps)), steps[list(TERMS)].to_numpy(float)]),
        steps["step_s"].to_numpy(float),
        steps["weight"].to_numpy(float),
    )
    cached, told = uncommon(data)
    whole = data if len(steps) - cached.sum() < 2 * BLOCKS else data.rows(~cached)
    found = _fit(whole)
    if len(whole.step_s) < len(steps) and found.mape <= GOOD_MAPE:
        told += "; they are left out of the fit"
    elif len(whole.step_s) < len(steps):
        found = _fit(whole := data)
    unknown = confounded(whole)
    value, intervals = found.value.tolist(), {}
    for name, middle, reach in zip(NAMES, value, found.reach.tolist(), strict=True):
        known = name not in unknown
        intervals[name] = (max(0.0, middle - reach), middle + reach) if known else (0.0, math.inf)
    unidentified = tuple(name for name in NAMES if intervals[name][0] <= 0)
    assumes = (*ASSUMPTIONS, *assumes, *filter(None, [told]))
    ranges = {name: (float(steps[name].min()), float(steps[name].max())) for name in TERMS}
    trust = Trust(Path(source).name, ranges, found.mape, found.r2, assumes, unidentified)
    expected = "expected a benchmark with prompts of several lengths, arriving while others decode, at several loads"
    doubts = [
        f"{', '.join(unknown)} cannot be told from these steps ({expected})" if unknown else "",
        told,
        trust.misfit and f"the law fits badly: {trust.misfit}",
    ]
    for doubt in filter(None, doubts):
        warnings.warn(f"{source}: {doubt}", stacklevel=3)
    return EngineLaw(StepLaw(*value, trust=trust), intervals, len(whole.step_s), starts)


class Steps(NamedTuple):
    """What each coefficient is multiplied by, the time of each step in seconds, and how much it counts."""

    design: np.ndarray
    step_s: np.ndarray
    weight: np.ndarray

    def rows(self, kept: np.ndarray) -> Steps:
        return Steps(*(column[kept] for column in self))

    def count(self, some: np.ndarray) -> int:
        """How many steps those observations are of."""
        return round(float(self.weight[some].sum()))


class _Found(NamedTuple):
    """Coefficients, half their intervals, and errors held out."""

    value: np.ndarray
    reach: np.ndarray
    mape: float
    r2: float


def _fit(data: Steps) -> _Found:
    from scipy.stats import t

    step_s, weight = data.step_s, data.weight
    block = np.arange(len(step_s)) * BLOCKS // len(step_s)
    without = [data.rows(block != k) for k in range(BLOCKS)]
    free = np.array([solve(part, bounded=False) for part in without])
    held_out = np.einsum("ij,ij->i", data.design, np.array([solve(part) for part in without])[block])
    error = np.sqrt((BLOCKS - 1) / BLOCKS * ((free - free.mean(axis=0)) ** 2).sum(axis=0))
    spread = np.average((step_s - np.average(step_s, weights=weight)) ** 2, weights=weight)
    return _Found(
        solve(data),
        t.ppf(0.5 + CONFIDENCE / 2, BLOCKS - 1) * error,
        float(np.average(np.abs(held_out / step_s - 1), weights=weight)),
        float(1 - np.average((step_s - held_out) ** 2, weights=weight) / spread) if spread else math.nan,
    )


def solve(data: Steps, bounded: bool = True) -> np.ndarray:
    """Least squares of errors relative to the law's own step: to the one measured, noise would bias it."""
    from scipy.optimize import nnls

    design, step_s, weight = data.design, data.step_s, np.sqrt(data.weight)
    scale = np.maximum(np.abs(design).max(axis=0), 1e-300)
    expected_s = step_s
    for _ in range(ROUNDS):
        # Those of the triangular factor are those of the whole, at four rows instead of a million.
        q, r = np.linalg.qr(design / scale * (weight / expected_s)[:, None])
        target = q.T @ (step_s * weight / expected_s)
        value = (nnls(r, target)[0] if bounded else np.linalg.lstsq(r, target, rcond=None)[0]) / scale
        expected_s = np.maximum(design @ value, step_s.min())
    return value


def uncommon(data: Steps) -> tuple[np.ndarray, str]:
    """Steps whose prompt looks cached, and what the steps that differ from most others look like."""
    prefill = data.design[:, C]
    prompts = prefill > 0
    number, rest = data.count(prompts), data.count(~prompts)
    slow = data.count(_slow(data, ~prompts))
    if slow > max(CHUNKS * number, FEW * rest):
        return np.zeros(len(prompts), bool), (
            f"{slow} of {rest} steps in which no prompt ended took over {100 * SLOW:.0f} % longer than the others: it "
            "looks as if prompts were computed in chunks, and the law takes each for whole in the step that ends it"
        )
    short = before = np.zeros(len(prompts), bool)
    for _ in range(TRIMS):
        value = solve(data.rows(~short))
        expected_s, own_s = data.design @ value, value[C] * prefill
        off_s = data.step_s - expected_s
        noise_s = NOISES * NORMAL * np.median(np.abs(off_s / expected_s)[~short]) * expected_s
        before, short = short, prompts & (off_s < -np.maximum((1 - PART) * own_s, noise_s))
        if np.array_equal(before, short):
            break
    long = prompts & (off_s > np.maximum((1 / PART - 1) * own_s, noise_s))
    for unlike, share, told in (
        (short, FEW, f"less than {100 * PART:.0f} %"),
        (long, SOME, f"over {100 / PART:.0f} %"),
    ):
        if data.count(unlike) > share * number:
            return short & unlike, (
                f"{data.count(unlike)} of {number} steps with a prompt took {told} of the time a token that the others "
                "did: it looks as if prompts were in the prefix cache, and the law takes all for uncached"
            )
    return np.zeros(len(prompts), bool), ""


def _slow(data: Steps, some: np.ndarray) -> np.ndarray:
    """Which of some steps take longer than their like, by a fit that leaves these out; none where all differ so."""
    slow = np.zeros(len(some), bool)
    for _ in range(TRIMS if some.any() else 0):
        off = data.step_s / (data.design @ solve(data.rows(some & ~slow))) - 1
        before, slow = slow, some & (off > SLOW)
        if np.array_equal(before, slow):
            break
    return slow & (NOISES * NORMAL * np.median(np.abs(off[some & ~slow])) < SLOW) if slow.any() else slow


def confounded(data: Steps) -> tuple[str, ...]:
    """Coefficients of columns that never change, that others make up, or that fewer steps have than there are parts."""
    design = data.design
    centred = design[:, 1:] - design[:, 1:].mean(axis=0)
    size = np.linalg.norm(centred, axis=0)
    still = size <= 1e-9 * np.maximum(np.linalg.norm(design[:, 1:], axis=0), 1e-300)
    seldom = np.array([data.count(column > 0) < BLOCKS for column in design[:, 1:].T])
    names = [name for name, unknown in zip(NAMES[1:], still | seldom, strict=True) if unknown]
    moving = np.flatnonzero(~still)
    if len(moving) > 1:
        _, singular, directions = np.linalg.svd(centred[:, moving] / size[moving], full_matrices=False)
        if singular[0] > ILL_CONDITIONED * singular[-1]:
            names += [NAMES[1 + k] for k, part in zip(moving, directions[-1], strict=True) if abs(part) > 0.1]
    return tuple(dict.fromkeys(names))
