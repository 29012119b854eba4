"""Continuous batching under a law that is linear in a step's totals: how few steps any order of admission needs.

A run's busy time is ``a steps + b decodes + c prefill + d context``. Without recomputation the last three sums are
those of the requests, whatever the order; what an order can save are steps, and these have a floor. While a request is
made, it has a place and its tokens' blocks, in one step for each of its tokens at least; a GPU has so many of both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from simlib.checks import InputError, check_integer
from simlib.stats.intervals import check_numbers


class Work(NamedTuple):
    """What requests need in any order, summed: ``decodes, prefill_tokens, context_tokens``, by `work`."""

    decodes: float
    prefill_tokens: float
    context_tokens: float


def work(prompt_tokens: Any, output_tokens: Any, cached_tokens: Any = 0) -> Work:
    """Decodes, prompt tokens and context tokens of all steps together, if nothing is computed twice.

    Parameters
    ----------
    prompt_tokens, output_tokens : array of int, shape (n_requests,)
        The first token of an output comes from the prompt; each other one from a decode, whose context is the prompt
        and the tokens up to its own.
    cached_tokens : array of int or 0
        Prompt tokens that need no prefill.

    Examples
    --------
    >>> work([10], [3])
    Work(decodes=2.0, prefill_tokens=10.0, context_tokens=23.0)
    """
    prompt, count, context = decodes(prompt_tokens, output_tokens)
    return Work(float(count.sum()), float((prompt - cached_tokens).sum()), float(context.sum()))


def decodes(prompt_tokens: Any, output_tokens: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prompts, decodes and the tokens of context that these read, request by request, as `work` sums them."""
    prompt, output = _lengths(prompt_tokens, output_tokens)
    count = np.maximum(output - 1.0, 0.0)
    return prompt, count, count * prompt + count * (count + 1.0) / 2.0


def residency(prompt_tokens: Any, output_tokens: Any, block_tokens: int = 16, reserve: bool = False) -> np.ndarray:
    """Blocks that each request holds, summed over the steps that make its tokens: the fewest possible.

    At the step that completes its prompt it holds the prompt's blocks, at each decode one token more; with `reserve`
    at each of these steps those of its end. Chunks of a prompt, steps that only prefill others, and what is computed
    again come on top.

    Examples
    --------
    >>> residency([15], [4]).tolist()  # of 15 and 16 tokens: one block; of 17 and 18: two
    [6.0]
    >>> residency([15], [4], reserve=True).tolist()
    [8.0]
    """
    prompt, output = _lengths(prompt_tokens, output_tokens)
    block = check_integer("block_tokens", block_tokens, 1)
    last = prompt + np.maximum(output - 1.0, 0.0)
    if reserve:
        return np.maximum(output, 1.0) * np.ceil(last / block)
    return _up_to(last, block) - _up_to(np.maximum(prompt - 1.0, 0.0), block)


def _up_to(tokens: np.ndarray, block: int) -> np.ndarray:
    """Sum of the blocks that hold 1, 2, …, `tokens` tokens."""
    full, rest = np.divmod(tokens, block)
    return block * full * (full + 1.0) / 2.0 + rest * (full + 1.0)


def floors(
    prompt_tokens: Any,
    output_tokens: Any,
    seats: int,
    blocks: int,
    block_tokens: int = 16,
    token_budget: int | None = None,
    reserve: bool = False,
) -> dict[str, np.ndarray]:
    """Each request's share of the steps that no order can do without, by resource; their sums are floors of the steps.

    Parameters
    ----------
    seats, blocks : int
        Sequences that run at once on a GPU, and blocks of its cache, at most.
    token_budget : int, optional
        Tokens of a step, decodes and prompts together, where prompts are cut to fit; no floor without.

    Returns
    -------
    dict of str to ndarray, shape (n_requests,)
        ``places``: its tokens over the places; ``memory``: its `residency` over the blocks; ``tokens``: all tokens that
        are computed over the budget.

    Notes
    -----
    Summed over GPUs that are alike the steps of all of them have the same floors.

    Examples
    --------
    >>> {name: float(share.sum()) for name, share in floors([15, 15], [4, 4], seats=2, blocks=8).items()}
    {'places': 4.0, 'memory': 1.5}
    """
    prompt, output = _lengths(prompt_tokens, output_tokens)
    found = {
        "places": np.maximum(output, 1.0) / check_integer("seats", seats, 1),
        "memory": residency(prompt, output, block_tokens, reserve) / check_integer("blocks", blocks, 1),
    }
    if token_budget is not None:
        found["tokens"] = (prompt + np.maximum(output - 1.0, 0.0)) / check_integer("token_budget", token_budget, 1)
    return found


def _lengths(prompt_tokens: Any, output_tokens: Any) -> tuple[np.ndarray, np.ndarray]:
    prompt = check_numbers("prompt_tokens", prompt_tokens, "request", 0.0)
    output = check_numbers("output_tokens", output_tokens, "request", 0.0)
    if len(prompt) != len(output):
        raise InputError(f"output_tokens: {len(output)} of them (expected {len(prompt)}, as prompt_tokens)")
    return prompt, output
