"""What policies and laws see of an engine: who waits, and the shape of a batch or of a step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Waiting(NamedTuple):
    """What a policy may look at: who waits in which queue.

    Queue q holds the requests ``order[head[q]:tail[q]]``, oldest first; ``tail[q] - head[q]`` wait. Once
    ``tail[q] == end[q]`` no more will ever arrive in it; where a router looks at what GPUs have to do, that is known
    with the last arrival. Where requests wait for answers it also says so when nobody runs or is on the way: no more
    will come then until somebody is served. Columns are indexed by request; without predictions
    `predicted_output_tokens` is empty. True output lengths are not among them.
    """

    head: np.ndarray
    tail: np.ndarray
    end: np.ndarray
    order: np.ndarray
    arrival_s: np.ndarray
    prompt_tokens: np.ndarray
    predicted_output_tokens: np.ndarray


class Request(NamedTuple):
    """What a policy's `key` may look at of a request; without predictions `predicted_output_tokens` is 0."""

    index: int
    arrival_s: float
    prompt_tokens: int
    predicted_output_tokens: int


# A batch as the law and the policy's `learn` see it: one row of floats, by these columns. `given_s` is the largest
# time given for a member (`models.GivenTimes`), `number` counts batches by start, `square_tokens` sums the squares
# of prompt and output, `kv_blocks` counts blocks of 16 tokens.
BATCH_COLUMNS = (
    *("size", "max_prompt_tokens", "sum_prompt_tokens", "max_output_tokens", "sum_output_tokens", "max_total_tokens"),
    *("square_tokens", "kv_blocks", "given_s", "number", "gpu", "service_s"),
)
BLOCK_BITS = 4
BLOCK_TOKENS = 1 << BLOCK_BITS
SHAPE = ("decodes", "context_tokens", "longest_tokens", "prefill_tokens", "chunks", "squares", "prefill_context")
N_DECODES, CONTEXT, LONGEST, PREFILL, CHUNKS, SQUARES, PREFILL_CONTEXT = range(len(SHAPE))
CONTEXT_SLOPE = 3  # where a linear law keeps the time that a token of context takes
