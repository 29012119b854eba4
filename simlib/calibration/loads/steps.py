"""The steps of an engine whose limits are known, rebuilt from when its tokens came.

A prompt that is longer than what decodes leave of a step's tokens is computed in chunks, in steps that show in the gaps
of whoever decodes meanwhile; alone it shows in nothing but its first token.
"""

from __future__ import annotations

import numpy as np

from simlib.calibration import engine_benchmarks
from simlib.calibration.engine_benchmarks import JITTER
from simlib.continuous.settings import Continuous
from simlib.lazy import pd


def rebuilt(requests: pd.DataFrame, settings: Continuous, way_in_s: float = 0.0) -> pd.DataFrame:
    """The steps of a load, by the engine's limits.

    Parameters
    ----------
    requests : DataFrame
        As of `engine_benchmarks.steps_of`, in order of their starts.
    settings : Continuous
        The tokens of a step, and how many are in flight.
    way_in_s : float
        How long after its start a request is in the queue, seconds.

    Returns
    -------
    DataFrame
        As of `engine_benchmarks.steps_of`, and ``steps``: how many an observation is of, more than one where a prompt
        had the engine to itself and its chunks show in nothing else.

    Examples
    --------
    >>> two = pd.DataFrame({"start_s": [0.0, 0.25], "prompt_tokens": [50, 150], "ttft_s": [0.1, 0.25],
    ...                     "itl_s": [[0.1] * 6, []]})
    >>> rows = rebuilt(two, Continuous(token_budget=101))
    >>> rows[["step_s", "prefill_tokens"]].round(9).to_numpy().tolist()[2:5]
    [[0.1, 0.0], [0.1, 100.0], [0.1, 50.0]]
    """
    rows = engine_benchmarks.steps_of(requests, chunks(requests, settings, way_in_s))
    alone = rows["prefill_tokens"].where(rows["alone"], 0.0)
    return rows.assign(steps=np.maximum(np.ceil(alone / settings.token_budget), 1.0))


def chunks(requests: pd.DataFrame, settings: Continuous, way_in_s: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """When steps ended that computed a part of a prompt, seconds, and how many tokens of it.

    Prompts are computed in the order of their starts, each from the first step that was composed after its start and
    has tokens left; one that would then have been done before its first token came began as late as it could.
    """
    end_s, decodes, first_of = ends(requests)
    left = np.maximum(settings.token_budget - decodes, 1)
    # The first step ends when it ends; before it the engine may have been idle.
    composed_s = np.concatenate([[-np.inf] * settings.steps_in_flight, end_s[: -settings.steps_in_flight]])
    prompts = requests["prompt_tokens"].to_numpy() - (
        requests["cached_prompt_tokens"].to_numpy() if "cached_prompt_tokens" in requests else 0
    )
    found_s, found = [], []
    for start_s, tokens, last in zip(requests["start_s"] + way_in_s, prompts, first_of, strict=True):
        first = min(int(np.searchsorted(composed_s, start_s)), last)
        begun = np.minimum(np.cumsum(left[first:last]), tokens)  # by each step before the last, at the most
        steps = np.arange(first, last + 1)
        parts = np.diff(begun, prepend=0, append=tokens)
        if (
            parts[-1] == 0 or parts[-1] > left[last]
        ):  # done too soon, or too much for the last step: as late as could be
            taken = np.minimum(np.cumsum(left[first : last + 1][::-1]), tokens)
            parts = np.diff(taken, prepend=0)[::-1]
            parts[-1] += tokens - taken[-1]
        left[first : last + 1] -= parts.astype(left.dtype)
        np.maximum(left, 0, out=left)
        kept = parts > 0
        found_s.append(end_s[steps[kept]])
        found.append(parts[kept])
    return np.concatenate(found_s), np.concatenate(found).astype(float)


def ends(requests: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """When steps ended, as tokens that came together tell; how many decoded in each; with which each prompt ended."""
    first_s = (requests["start_s"] + requests["ttft_s"]).to_numpy(float)
    gaps = [np.asarray(each, float) for each in requests["itl_s"]]
    later = [first + each.cumsum() for first, each in zip(first_s, gaps, strict=True)]
    time_s, is_first = np.concatenate([first_s, *later]), np.repeat([True, False], [len(first_s), sum(map(len, gaps))])
    order = np.argsort(time_s, kind="stable")
    middle = np.median(np.concatenate(gaps)) if any(map(len, gaps)) else np.inf
    step = np.concatenate([[0], np.cumsum(np.diff(time_s[order]) > JITTER * middle)])
    of = np.empty(len(order), int)
    of[order] = step
    end_s = time_s[order][np.searchsorted(step, np.arange(step[-1] + 1))]
    return end_s, np.bincount(of[~is_first], minlength=len(end_s)), of[: len(first_s)]
