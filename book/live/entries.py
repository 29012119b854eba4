"""What the page calls: kernels over flat arrays and numbers, each with the signature that it is compiled for.

The same functions, compiled for this machine, are what the tests hold against the library.
"""

from __future__ import annotations

import numpy as np
from numba import types

from book.live.batches import Answered, Requests, copied
from book.live.batches import serve as serve_batches
from book.live.drawn import (
    AZURE,
    BURSTGPT,
    PREDICTION,
    Drawn,
    azure,
    burstgpt,
    original,
    predicted_as_original,
    predicted_with_noise,
)
from book.live.loops import engine
from book.live.loops import loop as loop_of_engine
from book.live.steps import loop
from book.live.steps import serve as serve_steps
from book.live.summary import difference, share_interval, summary
from simlib.policies.batch_size import NOTES

FORMULA, ORACLE, NOISE = range(3)


def draw(
    workload: int,
    seed: int,
    streams: np.ndarray,
    about: np.ndarray,
    arrival_s: np.ndarray,
    prompt_tokens: np.ndarray,
    output_tokens: np.ndarray,
) -> None:
    """Kernel: fill a table's columns; the first of `about` is the rate, or what it is multiplied by."""
    table = Drawn(arrival_s, prompt_tokens, output_tokens)
    if workload == BURSTGPT:
        burstgpt(streams, about[1:], about[0], table)
    elif workload == AZURE:
        azure(streams, about[1:], table)
    else:
        original(seed, about[0], table)


def predict(
    predictor: int,
    sigma: float,
    seed: int,
    streams: np.ndarray,
    prompt_tokens: np.ndarray,
    output_tokens: np.ndarray,
    predicted: np.ndarray,
) -> None:
    """Kernel: fill the predictions of a table."""
    if predictor == FORMULA:
        predicted_as_original(seed, prompt_tokens, predicted)
    elif predictor == NOISE:
        predicted_with_noise(sigma, streams[PREDICTION], output_tokens, predicted)
    else:
        copied(output_tokens, predicted)


def run(
    continuous: int,
    policy: int,
    selects: int,
    bins: int,
    gpus: int,
    bounds: np.ndarray,
    numbers: np.ndarray,
    controller: np.ndarray,
    engine: np.ndarray,
    law: np.ndarray,
    capacity_tokens: float,
    d_sla: float,
    arrival_s: np.ndarray,
    prompt_tokens: np.ndarray,
    output_tokens: np.ndarray,
    predicted: np.ndarray,
    start_s: np.ndarray,
    first_token_s: np.ndarray,
    completion_s: np.ndarray,
    batch_start_s: np.ndarray,
    batch_end_s: np.ndarray,
    batch_size: np.ndarray,
    batch_gpu: np.ndarray,
    notes: np.ndarray,
    counted: np.ndarray,
    totals: np.ndarray,
    found: np.ndarray,
) -> None:
    """Kernel: one run of a table under a policy; its summary is written into `found`, if that has places."""
    requests = Requests(arrival_s, prompt_tokens, output_tokens, predicted)
    answered = Answered(
        start_s, first_token_s, completion_s,
        batch_start_s, batch_end_s, batch_size, batch_gpu, notes, counted, totals,
    )  # fmt: skip
    totals[:] = 0.0
    if continuous:
        serve_steps(requests, policy, selects, bins, gpus, bounds, engine, numbers, law, answered)
    else:
        serve_batches(
            requests, policy, selects, bins, gpus, bounds, numbers, controller, law, capacity_tokens, answered
        )
    if len(found) > 0:
        summary(requests, d_sla, answered, not continuous, found)


for _rare in (
    serve_batches,
    serve_steps,
    summary,
    loop,
    loop_of_engine,
):  # each once: compiled faster
    _rare.inlined = False

_INT, _FLOAT, _INTS, _FLOATS = types.int64, types.float64, types.int64[::1], types.float64[::1]
_STREAMS, _NOTES, _BYTES = types.uint64[:, ::1], types.float64[:, ::1], types.uint8[::1]
# Each with how many of its parameters are read; those behind are filled.
ENTRIES = {
    draw: (types.void(_INT, _INT, _STREAMS, _FLOATS, _FLOATS, _INTS, _INTS), 4),
    predict: (types.void(_INT, _FLOAT, _INT, _STREAMS, _INTS, _INTS, _INTS), 6),
    run: (
        types.void(
            *[_INT] * 5, *[_FLOATS] * 5, _FLOAT, _FLOAT, _FLOATS, *[_INTS] * 3,
            *[_FLOATS] * 5, *[_INTS] * 2, _NOTES, _INTS, _FLOATS, _FLOATS,
        ),
        16,
    ),
    engine: (types.void(*[_FLOATS] * 5, *[_INTS] * 3, *[_FLOATS] * 7, _INTS), 9),
    share_interval: (types.void(_FLOATS, _FLOATS, _BYTES, _FLOATS), 3),
    difference: (types.void(_FLOATS, _FLOATS, _FLOATS), 2),
}  # fmt: skip
NOTED = len(NOTES)
