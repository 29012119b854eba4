"""What a serving engine's step takes, from its own benchmark: per-request token times, and no log of steps.

Takes what a benchmark measured of each request, vLLM's, SGLang's or another's, and rebuilds who was in each step;
`step_fit` fits the step's time to them. `measure` measures static batches instead, which no engine runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from simlib.calibration import own_times
from simlib.calibration.step_fit import UNCACHED, EngineLaw, fit_steps
from simlib.checks import InputError, check_frame
from simlib.lazy import pd
from simlib.requests.formats import known
from simlib.requests.formats.aggregates.summary import Summary
from simlib.requests.formats.layout import Log
from simlib.requests.traces import failures_of

TIMES = {"ttft_s": "time to the first token", "itl_s": "gaps between tokens"}
RECORDED = (
    "vLLM records them with --save-result --save-detailed, SGLang with --output-details, and AIPerf and inference-perf "
    "of each request that is streamed"
)
JITTER = 0.25  # of the median gap: two tokens nearer to each other than this came with one step
MOST_TOKENS = {"prompt_tokens": 10_000_000, "output_tokens": 1_000_000}  # more than any model reads, or writes
SEVERAL = 0.1  # share of the tokens that may come in one message with another before it is said
ROUNDED = 0.2  # the same where gaps are rounded, and some equal each other by chance
COARSE = 5e-4  # of the median gap: no two gaps are nearer to each other than this where they were rounded


def from_bench(path: str | Path) -> EngineLaw:
    """Fit the step law to the detailed result of a serving benchmark.

    Parameters
    ----------
    path : str or Path
        What vLLM's ``bench serve --save-result --save-detailed`` or SGLang's ``bench_serving --output-details`` wrote,
        one result or several; or another's file that has the times of each request's tokens (`known.FORMATS`).

    Raises
    ------
    InputError
        Naming what is missing, and the option that records it.

    Notes
    -----
    Without ``start_times``, all requests start at 0 where the rate is infinite, or when one before them ends where
    only so many may be in flight; of a finite rate nothing is known.
    """
    return from_log(known.parse(path), str(path))


def from_log(log: Log | Summary, source: str) -> EngineLaw:
    """Fit the step law to what a benchmark measured of each request, as `known.parse` reads it; see `from_bench`."""
    loads = loads_of(log)
    asked, served = len(log.frame), sum(map(len, loads))
    known = "prompt tokens that the file says were cached are not counted as prefilled"
    assumed = [known if "cached_prompt_tokens" in log.frame else UNCACHED]
    if served < asked:
        assumed.append(f"{asked - served} of {asked} requests failed: left out, as if the engine had not had them")
    assumed += [
        f"{count} requests {what}: left out, as if the engine had not had them" for what, count in log.dropped.items()
    ]
    steps = pd.concat(map(steps_of, loads), ignore_index=True)
    found = fit_steps(steps, source, log.starts, tuple(assumed))
    told = own_times.unlike(found.law, loads)
    if not told:
        return found
    warnings.warn(f"{source}: the law does not give back {'; '.join(told)}", stacklevel=2)
    return replace(found, law=replace(found.law, trust=replace(found.law.trust, unlike=told)))


def steps_of(requests: pd.DataFrame, chunks: tuple[np.ndarray, np.ndarray] | None = None) -> pd.DataFrame:
    """Rebuild the steps of an engine from the times of its tokens.

    Parameters
    ----------
    requests : DataFrame
        One row a request: ``start_s, prompt_tokens, ttft_s`` and ``itl_s``, an array of the gaps between its tokens;
        ``cached_prompt_tokens``, which no step computes, where they are known.
    chunks : (ndarray, ndarray), optional
        When steps ended that computed prompts, and how many tokens of them; by default whole prompts, each when its
        first token came.

    Returns
    -------
    DataFrame
        One row an observation, in order of time: ``end_s, step_s``, the terms ``decodes, prefill_tokens,
        context_tokens`` of the step, ``weight``, by which the observations of one step count as one, and ``alone``:
        whether it is a request's whole way from its start to its first token.

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
    computed = prompt - (
        requests["cached_prompt_tokens"].to_numpy(float) if "cached_prompt_tokens" in requests else 0.0
    )
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
    prefilled = _Sum([first_s], [computed]) if chunks is None else _Sum(*([part] for part in chunks))
    decodes = in_decode.until(middle_s)
    shared = pd.DataFrame(
        {
            "end_s": end_s,
            "step_s": gap_s,
            "decodes": decodes,
            "prefill_tokens": prefilled.until(end_s + jitter_s) - prefilled.until(end_s - gap_s + jitter_s),
            "context_tokens": context.until(middle_s),
            "weight": 1.0 / np.maximum(decodes, 1.0),
            "alone": False,
        }
    )
    # Alone from its start to its first token: no other had started by then, or was still there.
    present = np.searchsorted(np.sort(start_s), first_s) - np.searchsorted(np.sort(last_s), start_s, "right")
    alone = pd.DataFrame({"end_s": first_s, "step_s": first_s - start_s, "decodes": 0.0, "prefill_tokens": computed})
    alone = alone[present == 1].assign(context_tokens=0.0, weight=1.0, alone=True)
    return pd.concat([shared, alone]).sort_values("end_s", kind="stable", ignore_index=True)


class _Sum:
    """The running sum of what happens at given times."""

    def __init__(self, times_s: Sequence[np.ndarray], amounts: Sequence[np.ndarray]) -> None:
        order = np.argsort(times := np.concatenate(times_s), kind="stable")
        self.times_s = times[order]
        self.sums = np.concatenate([[0.0], np.concatenate(amounts)[order].cumsum()])

    def until(self, time_s: np.ndarray) -> np.ndarray:
        return self.sums[np.searchsorted(self.times_s, time_s, "right")]


def loads_of(log: Log | Summary) -> list[pd.DataFrame]:
    """The served requests of each load, with starts in seconds."""
    if isinstance(log, Summary):
        raise InputError(f"benchmark file {log.refusal}")
    place, frame = f"benchmark file {log.source}", log.frame
    missing = [what for name, what in TIMES.items() if name not in frame]
    if missing:
        raise InputError(f"{place}: no {' and no '.join(missing)} of each request (expected both: {RECORDED})")
    if "clock" not in frame:
        raise InputError(log.several or f"{place}, {log.starts} (expected the start of each request)")
    served = ~failures_of(frame) & (frame["ttft_s"] > 0)
    if not served.any():
        raise InputError(f"{place}: no request was served, with a time to its first token (expected at least 1)")
    for name, most in MOST_TOKENS.items():
        if (above := served & (frame[name] > most)).any():
            row = int(np.argmax(above))
            raise InputError(f"{place}, request {row}, {name}: {frame[name].iloc[row]:,} (expected at most {most:,})")
    itls = [np.asarray(times, dtype=float) for times in frame["itl_s"][served]]
    _check_messages(place, itls, (frame["output_tokens"][served] - 1).to_numpy())
    loads, runs = [], frame["run"] if "run" in frame else pd.Series(0, frame.index)
    for _, load in frame[served].groupby(runs[served]):
        start_s = log.seconds(load["clock"].to_numpy())
        loads.append(load.assign(start_s=start_s - start_s.min()).reset_index(drop=True))
    return loads


def _check_messages(place: str, itls: Sequence[np.ndarray], tokens: np.ndarray) -> None:
    """Refuse requests without gaps, whose steps nobody knows; warn where messages carried several tokens.

    vLLM then records fewer gaps, SGLang cuts one into equal parts, others write a gap of 0.
    """
    gaps, silent = (
        sum(map(len, itls)),
        sum(not len(times) for times, more in zip(itls, tokens, strict=True) if more > 0),
    )
    asked = int(np.count_nonzero(tokens > 0))
    if silent > SEVERAL * asked:
        raise InputError(
            f"{place}: {silent} of {asked} requests with several tokens have no {TIMES['itl_s']} (expected them of "
            f"each: {RECORDED})"
        )
    if not gaps:
        return
    parts, by_chance = _equal(itls, 1), _by_chance(itls)
    all_s = np.concatenate(itls)
    together = int(np.count_nonzero(all_s < JITTER * all_s.mean()))
    told = [f"{parts} equal the one before"] if parts - by_chance > (ROUNDED if by_chance else SEVERAL) * gaps else []
    told += [f"{together} next to nothing"] if together > SEVERAL * gaps else []
    told += [f"for {tokens.sum():.0f} tokens after the first"] if gaps < (1 - SEVERAL) * tokens.sum() else []
    if told:
        warnings.warn(
            f"{place}, itls: {gaps} gaps, {', '.join(told)}: several tokens came in one message, and a gap is not a "
            "step (expected one token a message: no speculation, SGLang's --stream-interval 1)",
            stacklevel=4,
        )


def _equal(itls: Sequence[np.ndarray], apart: int) -> int:
    """How many gaps equal the one so many before."""
    return sum(int((times[apart:] == times[:-apart]).sum()) for times in itls)


def _by_chance(itls: Sequence[np.ndarray]) -> float:
    """How many would equal the one before without any message, where a clock is so coarse that gaps repeat."""
    gaps = np.concatenate(itls) if itls else np.zeros(0)
    values = np.unique(gaps)
    if len(values) > 1 and np.diff(values).min() < COARSE * np.median(gaps):
        return 0.0
    counts = (np.unique(times, return_counts=True)[1] for times in itls if len(times))
    shuffled = sum(float((count * (count - 1)).sum() / count.sum()) for count in counts)
    return max(shuffled, _equal(itls, 2))  # steps near to each other resemble each other, too
