"""Capacity under a memory limit: what a request holds over its life, and the cycle that evictions may fall into.

A sequence's cache grows by a token a step until it ends and gives all of it back. So memory has two rates: the one at
which it serves if those that run are spread over their lives (`spread_per_step`), and the one if they all began
together (`together_per_step`), when all are large at once. Evictions that begin an answer anew lead from the first to
the second (`restarted`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from simlib.checks import InputError, check_integer, check_number
from simlib.stats.intervals import check_numbers


class Restarted(NamedTuple):
    """A run of `restarted`, step by step: ``running, completed, evicted`` sequences (ndarray of float)."""

    running: np.ndarray
    completed: np.ndarray
    evicted: np.ndarray


def lifetime_tokens(prompt_tokens: Any, output_tokens: Any, chunk_tokens: int | None = None) -> np.ndarray:
    """What each request holds, summed over the steps of its life: tokens times steps.

    Parameters
    ----------
    prompt_tokens, output_tokens : array of int, shape (n_requests,)
    chunk_tokens : int, optional
        A prompt is computed in chunks of so many tokens, a step each; by default in one step.

    Notes
    -----
    After each chunk it holds what was computed so far, then one token more at each step, up to prompt + output. This
    counts a step for the prompt and one for each token of the output; an engine whose last chunk gives the first token
    needs one fewer (`steps.residency`).

    Examples
    --------
    >>> lifetime_tokens([10], [3]).tolist(), lifetime_tokens([10], [3], chunk_tokens=4).tolist()  # 4 + 8 + 10 + 36
    ([46.0], [58.0])
    """
    prompt = check_numbers("prompt_tokens", prompt_tokens, "request", 0.0)
    output = check_numbers("output_tokens", output_tokens, "request", 0.0)
    if len(prompt) != len(output):
        raise InputError(f"output_tokens: {len(output)} of them (expected {len(prompt)}, as prompt_tokens)")
    whole = np.zeros(len(prompt))
    if chunk_tokens is not None:
        chunk = check_integer("chunk_tokens", chunk_tokens, 1)
        full = np.maximum(np.ceil(prompt / chunk) - 1.0, 0.0)  # chunks before the last one
        whole = chunk * full * (full + 1.0) / 2.0
    return whole + prompt * (output + 1.0) + output * (output + 1.0) / 2.0


def service_rate_rps(
    prompt_tokens: Any, output_tokens: Any, memory_tokens: float, step_s: float, chunk_tokens: int | None = None
) -> float:
    """Requests a second that a memory can serve if it is always full: M over step time and mean `lifetime_tokens`.

    Examples
    --------
    >>> service_rate_rps([10], [3], memory_tokens=460, step_s=0.5)
    20.0
    """
    memory = check_number("memory_tokens", memory_tokens, 0.0, open_low=True)
    step_s = check_number("step_s", step_s, 0.0, open_low=True)
    return memory / (step_s * float(lifetime_tokens(prompt_tokens, output_tokens, chunk_tokens).mean()))


def spread_per_step(prompt_tokens: int, output_tokens: int, memory_tokens: float) -> float:
    """Completions a step of equal requests, as many of them at each token of their output, in a full memory.

    A request holds ``prompt + 1, ..., prompt + output`` tokens, a step each.

    Examples
    --------
    >>> spread_per_step(1, 2, 6.0)  # at most 1.2 at each of two tokens: 1.2 times 2 + 3
    1.2
    """
    prompt, output, memory = _equal(prompt_tokens, output_tokens, memory_tokens)
    return memory / (output * prompt + output * (output + 1) / 2)


def together_per_step(prompt_tokens: int, output_tokens: int, memory_tokens: float) -> float:
    """Completions a step of equal requests that all begin and end together: as many as fit when they are longest.

    Just so many complete, too, if memory for prompt and output is reserved for each.

    Examples
    --------
    >>> together_per_step(1, 2, 6.0)  # two of three tokens, every other step
    1.0
    """
    prompt, output, memory = _equal(prompt_tokens, output_tokens, memory_tokens)
    return memory / (prompt + output) / output


def restarted(prompt_tokens: int, output_tokens: Any, memory_tokens: float, steps: int, share: Any = None) -> Restarted:
    """A saturated engine whose evicted sequences lose their answers and begin anew: amounts of sequences, step by step.

    Parameters
    ----------
    prompt_tokens : int
        Of every request.
    output_tokens : int or sequence of int
        Of the classes of requests; nobody knows a request's class before it ends.
    memory_tokens : float
    steps : int
    share : sequence of float, optional
        Of each class among those who arrive; by default all the same.

    Notes
    -----
    At each step all that run grow by a token. If that does not fit, the newest lose their place until it does, and
    nobody is admitted; else as many are admitted as fit, who were evicted first. Amounts are real numbers, so that
    nothing is lost to rounding. From empty: all begin together.

    Examples
    --------
    >>> run = restarted(1, 2, 6.0, steps=4)  # three are admitted, two are left, and these complete
    >>> run.running.tolist(), run.completed.tolist(), run.evicted.tolist()
    ([3.0, 2.0, 3.0, 2.0], [0.0, 2.0, 0.0, 2.0], [0.0, 1.0, 0.0, 1.0])
    """
    outputs = np.atleast_1d(np.asarray(output_tokens, dtype=np.int64))
    prompt, _, memory = _equal(prompt_tokens, int(outputs.min(initial=1)), memory_tokens)
    steps = check_integer("steps", steps, 1)
    part = np.ones(len(outputs)) if share is None else check_numbers("share", share, "class", 0.0)
    if len(part) != len(outputs) or not part.sum() > 0:
        raise InputError(f"share: {part.tolist()} (expected one a class, {len(outputs)} of them, not all 0)")
    part = part / part.sum()
    needs = prompt + 1.0 + np.arange(outputs.max())
    alive = np.arange(outputs.max()) < outputs[:, None]
    state, back = np.zeros(alive.shape), np.zeros(len(outputs))
    found = np.zeros((3, steps))
    for step in range(steps):
        state, back, found[2, step] = _grown(state, back, needs, memory, part)
        found[0, step] = state.sum()
        found[1, step] = state[np.arange(len(outputs)), outputs - 1].sum()
        state = np.roll(state, 1, axis=1)
        state[:, 0] = 0.0
        state *= alive
    return Restarted(*found)


def _grown(
    state: np.ndarray, back: np.ndarray, needs: np.ndarray, memory: float, part: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Who runs in a step, by class and tokens made; who waits to begin anew; how many were evicted."""
    held = state.sum(axis=0) * needs
    from_oldest = np.cumsum(held[::-1])[::-1] - held  # of those further on
    fits = np.clip(np.divide(memory - from_oldest, held, out=np.ones_like(held), where=held > 0), 0.0, 1.0)
    if fits.min() < 1.0 - 1e-12:
        kept = state * fits
        return kept, back + (state - kept).sum(axis=1), float((state - kept).sum())
    room = (memory - held.sum()) / needs[0]
    again = back * min(1.0, room / back.sum()) if back.sum() > 0 else back
    admitted = again + part * (room - again.sum())
    return state + np.eye(1, state.shape[1]) * admitted[:, None], back - again, 0.0


def _equal(prompt_tokens: Any, output_tokens: Any, memory_tokens: Any) -> tuple[int, int, float]:
    prompt = check_integer("prompt_tokens", prompt_tokens, 0)
    output = check_integer("output_tokens", output_tokens, 1)
    return prompt, output, check_number("memory_tokens", memory_tokens, float(prompt + output))
