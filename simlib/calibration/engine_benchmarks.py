"""What a serving engine's step takes, from its own benchmark: per-request token times, and no log of steps.

Reads the detailed result of vLLM's or SGLang's serving benchmark, rebuilds which requests were in each step, and fits
the step's time to them. `measure` measures static batches instead, which no engine runs.
"""

from __future__ import annotations

import heapq
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simlib.checks import InputError, check_frame, check_number
from simlib.latency.steps import StepLaw
from simlib.lazy import pd
from simlib.requests.trace_formats import json_objects

ARRAYS = ("input_lens", "output_lens", "ttfts", "itls")
TERMS = ("decodes", "prefill_tokens", "context_tokens")
NAMES = ("a_s", "b_s_per_decode", "c_s_per_prefill_token", "d_s_per_context_token")
BLOCKS = 10  # stretches of time that are left out in turn
JITTER = 0.25  # of the median gap: two tokens nearer to each other than this came with one step
ILL_CONDITIONED = 300.0  # of the scaled columns: beyond it, terms rise and fall together
CONFIDENCE = 0.95
SEVERAL = 0.1  # share of the tokens that may come in one message with another before it is said
ROUNDS = 4  # of weighting by what the last round expects

ASSUMPTIONS = (
    "every gap between two tokens of a request is one step (no speculation, no preemption, one token a message)",
    "a prompt is worked on in the step that ends with its first token, whole (no chunks)",
    "a request that has the engine to itself gets its first token after one step of its prompt",
    "what the client sees is the engine's clock: the way to it costs the same for all tokens",
)


@dataclass(frozen=True, slots=True)
class EngineLaw:
    """tau = a + b decodes + c prefill tokens + d context tokens, in seconds a step, with how far to trust it.

    Attributes
    ----------
    law : StepLaw
        What `simulate` takes.
    intervals : mapping of str to (float, float)
        95 % of each coefficient, by leaving out each of ten stretches of time.
    steps : int
        Observations: a gap between two tokens of one request, or a first token that was alone.
    mape, r2 : float
        Of steps predicted from the other nine stretches.
    ranges : mapping of str to (float, float)
        Least and most decodes, prefill tokens and context tokens seen in a step.
    unidentified : tuple of str
        Coefficients that the benchmark cannot tell: their column never changes, or only with another one.
    source : str
        The file.
    starts : str
        How it is known when requests started.
    """

    law: StepLaw
    intervals: Mapping[str, tuple[float, float]]
    steps: int
    mape: float
    r2: float
    ranges: Mapping[str, tuple[float, float]]
    unidentified: tuple[str, ...]
    source: str
    starts: str

    def table(self) -> pd.DataFrame:
        """One row a coefficient: value, interval, and whether the benchmark can tell it."""
        low, high = zip(*(self.intervals[name] for name in NAMES), strict=True)
        values = self.law.params[: len(NAMES)]
        known = [name not in self.unidentified for name in NAMES]
        return pd.DataFrame(
            {"coefficient": NAMES, "value": values, "ci_low": low, "ci_high": high, "identified": known}
        )

    def card(self) -> str:
        """What was fitted, to what, and on which assumptions, as text (Markdown)."""
        rows = [
            f"| `{row.coefficient}` | {row.value:.4g} | {row.ci_low:.4g} to {row.ci_high:.4g} | "
            f"{'yes' if row.identified else 'no'} |"
            for row in self.table().itertuples()
        ]
        seen = ", ".join(f"{name.replace('_', ' ')} {low:g} to {high:g}" for name, (low, high) in self.ranges.items())
        return "\n".join(
            [
                f"### Step law of {Path(self.source).name}",
                "",
                "τ = a + b · decodes + c · prefill tokens + d · context tokens, in seconds, no coefficient below zero",
                "",
                "| coefficient | value | 95 % interval | identified |",
                "|---|---|---|---|",
                *rows,
                "",
                f"- {self.steps} steps; held out by stretches of time: MAPE {100 * self.mape:.1f} %, R² {self.r2:.4f}",
                f"- valid for {seen}",
                f"- start of requests: {self.starts}",
                *(f"- assumed: {text}" for text in ASSUMPTIONS),
            ]
        )


def from_bench(path: str | Path) -> EngineLaw:
    """Fit the step law to the detailed result of a serving benchmark.

    Parameters
    ----------
    path : str or Path
        What vLLM's ``bench serve --save-result --save-detailed`` or SGLang's ``bench_serving --output-details`` wrote:
        one JSON object, or one a line, with the arrays ``input_lens, output_lens, ttfts, itls`` (seconds).

    Raises
    ------
    InputError
        Naming what is missing, and the option that records it.

    Notes
    -----
    Without ``start_times``, all requests start at 0 where the rate is infinite, or when one before them ends where
    only so many may be in flight; of a finite rate nothing is known.
    """
    frames, starts = [], ""
    for result in json_objects(path):
        requests, starts = _requests(str(path), result)
        frames.append(steps_of(requests))
    return fit_steps(pd.concat(frames, ignore_index=True), str(path), starts)


def steps_of(requests: pd.DataFrame) -> pd.DataFrame:
    """Rebuild the steps of an engine from the times of its tokens.

    Parameters
    ----------
    requests : DataFrame
        One row a request: ``start_s, prompt_tokens, ttft_s`` and ``itl_s``, an array of the gaps between its tokens.

    Returns
    -------
    DataFrame
        One row an observation, in order of time: ``end_s, step_s``, the terms ``decodes, prefill_tokens,
        context_tokens`` of the step, and ``weight``, by which the observations of one step count as one.

    Notes
    -----
    A step that k sequences decode in shows k times, as a gap of each: who was there is read off at the middle of the
    gap, and prompts are those whose first token came with the gap's end, within a quarter of the median gap. Shorter
    gaps are tokens that came together, and are left out.

    Examples
    --------
    >>> one = pd.DataFrame({"start_s": [0.0], "prompt_tokens": [100], "ttft_s": [0.5], "itl_s": [[0.1, 0.1]]})
    >>> steps_of(one)[["step_s", "decodes", "prefill_tokens", "context_tokens"]].round(9).to_numpy().tolist()
    [[0.5, 0.0, 100.0, 0.0], [0.1, 1.0, 0.0, 101.0], [0.1, 1.0, 0.0, 102.0]]
    """
    check_frame("requests", requests, ("start_s", "prompt_tokens", "ttft_s", "itl_s"))
    start_s, prompt = requests["start_s"].to_numpy(float), requests["prompt_tokens"].to_numpy(float)
    gaps = [np.asarray(gap, dtype=float) for gap in requests["itl_s"]]
    first_s = start_s + requests["ttft_s"].to_numpy(float)
    token_s = [first + np.concatenate([[0.0], gap.cumsum()]) for first, gap in zip(first_s, gaps, strict=True)]
    last_s = np.array([times[-1] for times in token_s])
    gap_s, end_s = np.concatenate(gaps), np.concatenate([times[1:] for times in token_s])
    jitter_s = JITTER * np.median(gap_s) if len(gap_s) else 0.0
    kept = gap_s > jitter_s
    gap_s, end_s = gap_s[kept], end_s[kept]
    middle_s = end_s - gap_s / 2

    in_decode = _Sum([first_s, last_s], [np.ones_like(first_s), -np.ones_like(last_s)])
    # A sequence's cache grows by its prompt and first token, then by one a token, and is gone with the last.
    cached = [prompt + 1.0, np.ones(sum(map(len, gaps))), -(prompt + [len(times) for times in token_s])]
    context = _Sum([first_s, np.concatenate([times[1:] for times in token_s]), last_s], cached)
    prefilled = _Sum([first_s], [prompt])
    decodes = in_decode.until(middle_s)
    shared = pd.DataFrame(
        {
            "end_s": end_s,
            "step_s": gap_s,
            "decodes": decodes,
            "prefill_tokens": prefilled.until(end_s + jitter_s) - prefilled.until(end_s - gap_s + jitter_s),
            "context_tokens": context.until(middle_s),
            "weight": 1.0 / np.maximum(decodes, 1.0),
        }
    )
    # Alone from its start to its first token: no other had started by then, or was still there.
    present = np.searchsorted(np.sort(start_s), first_s) - np.searchsorted(np.sort(last_s), start_s, "right")
    alone = pd.DataFrame({"end_s": first_s, "step_s": first_s - start_s, "decodes": 0.0, "prefill_tokens": prompt})
    alone = alone[present == 1].assign(context_tokens=0.0, weight=1.0)
    return pd.concat([shared, alone]).sort_values("end_s", kind="stable", ignore_index=True)


def fit_steps(steps: pd.DataFrame, source: str = "steps", starts: str = "given") -> EngineLaw:
    """Fit the step law by non-negative least squares of relative errors.

    Parameters
    ----------
    steps : DataFrame
        As `steps_of` leaves them; rows in order of time.
    source, starts : str
        For the card.

    Raises
    ------
    InputError
        If there are too few steps, or one takes no time.

    Warns
    -----
    UserWarning
        Naming the coefficients that these steps cannot tell.

    Notes
    -----
    Intervals are the delete-a-group jackknife's over ten stretches of time (steps in a row resemble each other), with
    Student's t on nine degrees of freedom.

    Examples
    --------
    >>> n = np.arange(1.0, 41.0)
    >>> terms = {"decodes": n % 7, "prefill_tokens": 50 * (n % 3), "context_tokens": 100 * (n % 11)}
    >>> tau_s = 0.01 + 1e-4 * terms["decodes"] + 1e-5 * terms["prefill_tokens"] + 1e-7 * terms["context_tokens"]
    >>> found = fit_steps(pd.DataFrame({"step_s": tau_s, **terms, "weight": 1.0}))
    >>> round(found.law.a_s, 9), round(found.law.c_s, 9)
    (0.01, 1e-05)
    """
    from scipy.stats import t

    check_frame("steps", steps, ("step_s", *TERMS, "weight"))
    if len(steps) < 2 * BLOCKS:
        raise InputError(f"{source}: {len(steps)} steps (expected at least {2 * BLOCKS}, in the gaps between tokens)")
    step_s = steps["step_s"].to_numpy(float)
    check_number(f"{source}, shortest step_s", float(step_s.min()), 0.0, open_low=True)
    design = np.column_stack([np.ones(len(steps)), steps[list(TERMS)].to_numpy(float)])
    weights = steps["weight"].to_numpy(float)
    block = np.arange(len(steps)) * BLOCKS // len(steps)
    value = _solve(design, step_s, np.sqrt(weights))
    without = np.array(
        [_solve(*(part[block != k] for part in (design, step_s, np.sqrt(weights)))) for k in range(BLOCKS)]
    )
    held_out = np.einsum("ij,ij->i", design, without[block])
    error = np.sqrt((BLOCKS - 1) / BLOCKS * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    reach = t.ppf(0.5 + CONFIDENCE / 2, BLOCKS - 1) * error
    unidentified = _unidentified(design)
    if unidentified:
        warnings.warn(
            f"{source}: {', '.join(unidentified)} cannot be told from these steps (expected a benchmark with prompts "
            "of several lengths, arriving while others decode, at several loads)",
            stacklevel=2,
        )
    spread = np.average((step_s - np.average(step_s, weights=weights)) ** 2, weights=weights)
    return EngineLaw(
        StepLaw(*value.tolist()),
        intervals={n: (max(0.0, v - r), v + r) for n, v, r in zip(NAMES, value.tolist(), reach.tolist(), strict=True)},
        steps=len(steps),
        mape=float(np.average(np.abs(held_out / step_s - 1), weights=weights)),
        r2=float(1 - np.average((step_s - held_out) ** 2, weights=weights) / spread) if spread else math.nan,
        ranges={name: (float(steps[name].min()), float(steps[name].max())) for name in TERMS},
        unidentified=unidentified,
        source=source,
        starts=starts,
    )


class _Sum:
    """The running sum of what happens at given times."""

    def __init__(self, times_s: Sequence[np.ndarray], amounts: Sequence[np.ndarray]) -> None:
        order = np.argsort(times := np.concatenate(times_s), kind="stable")
        self.times_s = times[order]
        self.sums = np.concatenate([[0.0], np.concatenate(amounts)[order].cumsum()])

    def until(self, time_s: np.ndarray) -> np.ndarray:
        return self.sums[np.searchsorted(self.times_s, time_s, "right")]


def _solve(design: np.ndarray, step_s: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Least squares of errors relative to the law's own step: to the one measured, noise would bias it."""
    from scipy.optimize import nnls

    scale = np.maximum(np.abs(design).max(axis=0), 1e-300)
    expected_s = step_s
    for _ in range(ROUNDS):
        # Those of the triangular factor are those of the whole, at four rows instead of a million.
        q, r = np.linalg.qr(design / scale * (weight / expected_s)[:, None])
        value = nnls(r, q.T @ (step_s * weight / expected_s))[0] / scale
        expected_s = np.maximum(design @ value, step_s.min())
    return value


def _unidentified(design: np.ndarray) -> tuple[str, ...]:
    """Coefficients of columns that never change, or that others make up."""
    centred = design[:, 1:] - design[:, 1:].mean(axis=0)
    size = np.linalg.norm(centred, axis=0)
    still = size <= 1e-9 * np.maximum(np.linalg.norm(design[:, 1:], axis=0), 1e-300)
    names = [name for name, constant in zip(NAMES[1:], still, strict=True) if constant]
    moving = np.flatnonzero(~still)
    if len(moving) > 1:
        _, singular, directions = np.linalg.svd(centred[:, moving] / size[moving], full_matrices=False)
        if singular[0] > ILL_CONDITIONED * singular[-1]:
            names += [NAMES[1 + k] for k, part in zip(moving, directions[-1], strict=True) if abs(part) > 0.1]
    return tuple(names)


def _requests(source: str, result: Mapping[str, Any]) -> tuple[pd.DataFrame, str]:
    """The served requests of a result, and how it is known when they started."""
    place = f"benchmark file {source}"
    missing = [name for name in ARRAYS if not isinstance(result.get(name), list)]
    if missing:
        raise InputError(
            f"{place}: no {', '.join(missing)} (expected arrays with one entry a request: vLLM records them with "
            "--save-result --save-detailed, SGLang with --output-details)"
        )
    rows = len(result["ttfts"])
    for name in ARRAYS:
        if len(result[name]) != rows:
            raise InputError(f"{place}, {name}: {len(result[name])} entries (expected {rows}, as in ttfts)")
    itls = [_numbers(place, "itls", row, gaps) for row, gaps in enumerate(result["itls"])]
    ttfts, prompts, outputs = (
        _numbers(place, name, None, result[name]) for name in ("ttfts", "input_lens", "output_lens")
    )
    served = (ttfts > 0) & (outputs > 0)
    latency_s = ttfts + [gaps.sum() for gaps in itls]
    start_s, starts = _starts(place, result, np.where(served, latency_s, 0.0))
    frame = pd.DataFrame({"start_s": start_s, "prompt_tokens": prompts, "ttft_s": ttfts, "itl_s": itls})
    if not served.any():
        raise InputError(f"{place}, ttfts: no request was served (expected times to the first token > 0)")
    _warn_of_messages(place, itls, np.maximum(outputs - 1, 0)[served].sum())
    return frame[served].reset_index(drop=True), starts


def _warn_of_messages(place: str, itls: Sequence[np.ndarray], tokens: float) -> None:
    """Warn where messages carried several tokens: vLLM then records fewer gaps, SGLang cuts one into equal parts."""
    gaps = sum(map(len, itls))
    parts = sum(int((np.diff(times) == 0.0).sum()) for times in itls)
    told = f"{parts} equal the one before" if parts > SEVERAL * gaps else f"for {tokens:.0f} tokens after the first"
    if gaps and (parts > SEVERAL * gaps or gaps < (1 - SEVERAL) * tokens):
        warnings.warn(
            f"{place}, itls: {gaps} gaps, {told}: several tokens came in one message, and a gap is not a step "
            "(expected one token a message: no speculation, SGLang's --stream-interval 1)",
            stacklevel=4,
        )


def _starts(place: str, result: Mapping[str, Any], latency_s: np.ndarray) -> tuple[np.ndarray, str]:
    if isinstance(result.get("start_times"), list):
        start_s = _numbers(place, "start_times", None, result["start_times"])
        if len(start_s) != len(latency_s):
            raise InputError(f"{place}, start_times: {len(start_s)} entries (expected {len(latency_s)}, as in ttfts)")
        return start_s - start_s.min(), "recorded"
    limit = result.get("max_concurrency")
    if str(result.get("request_rate", "inf")) not in ("inf", "Infinity"):
        raise InputError(
            f"{place}: no start_times, and request_rate {result['request_rate']} does not say when each request was "
            "sent (expected start_times, which newer vLLM records with --save-detailed; or --request-rate inf, with or "
            "without --max-concurrency)"
        )
    if limit is None:
        return np.zeros(len(latency_s)), "rebuilt: all were sent at once"
    free_s = [0.0] * int(check_number(f"{place}, max_concurrency", limit, 1.0))
    start_s = np.array([heapq.heapreplace(free_s, free_s[0] + time_s) for time_s in latency_s])
    return start_s, f"rebuilt: each when one of {limit} in flight had ended"


def _numbers(place: str, name: str, row: int | None, values: Any) -> np.ndarray:
    where = f"{place}, {name}" if row is None else f"{place}, {name}, request {row}"
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {str(values)[:60]} (expected numbers)") from None
    bad = ~(np.isfinite(numbers) & (numbers >= 0)) if numbers.ndim == 1 else np.array([True])
    if bad.any():
        first = int(np.argmax(bad))
        shown = numbers[first] if numbers.ndim == 1 else str(values)[:60]
        raise InputError(f"{where}, entry {first}: {shown} (expected seconds or tokens >= 0)")
    return numbers
