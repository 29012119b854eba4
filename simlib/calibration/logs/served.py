"""A log's requests, served again: by one engine, by several that share them, or by some that step together.

Hands the step loop's record on, with what a log knows of it: when an engine saw a request, and which steps it took.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simlib.calibration.logs import lockstep
from simlib.calibration.logs.engine_log import EngineLog
from simlib.checks import InputError
from simlib.continuous import columns as at
from simlib.continuous import state
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.engine.compiled import is_worthwhile
from simlib.latency.parallel import ALONE, Parallel

STEPS_PER_TOKEN = 2  # at most
STEPS_A_REQUEST = 16  # about, of logs at hand; a step in plain Python takes as long as a request in a batch


def serve_log(log: EngineLog, law: Any, settings: Continuous, parallel: Parallel = ALONE) -> Any:
    """Serve the log's requests; their times and the steps, as `serve.serve` returns them.

    Parameters
    ----------
    law : object
        How long a step takes: a step law.
    settings : simlib.Continuous
        Of each engine; `routing` says which of several gets a request.
    parallel : Parallel
        How many engines there are, and whether they step together.
    """
    needed = settings.needed_blocks(log.table)
    if (needed > settings.blocks).any():
        row = int(np.argmax(needed > settings.blocks))
        raise InputError(f"log, row {row}: needs {needed[row]} blocks (expected at most kv-blocks, {settings.blocks})")
    most = STEPS_PER_TOKEN * int(log.table.output_tokens.sum()) + len(log.table)
    if parallel.together:
        return lockstep.together(log.table, law, settings, parallel.engines, most)
    backend = "compiled" if is_worthwhile(STEPS_A_REQUEST * len(log.table)) else "interpreted"
    return serve(log.table, law, settings, parallel.engines, backend, most)


def steps_of(served: Any, engine: int = 0) -> dict[str, np.ndarray]:
    """The logged steps of a replay's engine by column, `state.LOGGED`; RuntimeError if there was no room for all."""
    stored = served.numbers[engine, at.STORED]
    if stored == served.steps.shape[1]:
        raise RuntimeError(f"steps of a replay: {stored} rows are full (expected room for all)")
    return dict(zip(state.LOGGED, served.steps[engine, :stored].T, strict=True))


def steps_by_engine(served: Any, parallel: Parallel = ALONE) -> list[dict[str, np.ndarray]]:
    """The steps of each engine of a replay; of engines that step together the same ones, with what all of them did."""
    each = [steps_of(served, engine) for engine in range(len(served.steps))]
    if not parallel.together:
        return each
    whole = {name: np.concatenate([one[name] for one in each]) for name in state.LOGGED}
    start_s, at_once = np.unique(whole["start_s"], return_inverse=True)
    merged = {name: np.bincount(at_once, column) for name, column in whole.items()}
    engines = np.bincount(at_once)
    merged |= {"start_s": start_s, "steps": np.ones(len(start_s)), "time_s": merged["time_s"] / engines}
    return [merged] * parallel.engines


def totals(steps: dict[str, np.ndarray]) -> np.ndarray:
    """Steps, decodes, prefill and context tokens of each row of logged steps, shape (rows, 4)."""
    n, decodes = steps["steps"], steps["decodes"]
    context = n * steps["context_tokens"] + decodes * n * (n - 1) / 2
    return np.column_stack([n, n * decodes, steps["prefill_tokens"], context])


def queued_s(served: Any, arrival_s: np.ndarray, parallel: Parallel = ALONE) -> np.ndarray:
    """When the simulated engine sees who has arrived, as a real one's `queued_ts`: at the next step's start, seconds.

    Steps that share a row of the log are taken to be equally long.
    """
    seen_s = np.array(arrival_s, np.float64)
    for engine, steps in enumerate(steps_by_engine(served, parallel)):
        mine = served.gpu == engine
        seen_s[mine] = _seen_s(steps, arrival_s[mine])
    return seen_s


def _seen_s(steps: dict[str, np.ndarray], arrival_s: np.ndarray) -> np.ndarray:
    start_s, count = steps["start_s"], steps["steps"]
    following = np.searchsorted(start_s, arrival_s * (1 - 1e-12))
    next_s = np.append(start_s, np.inf)[following]
    row = np.maximum(following - 1, 0)  # in whose steps they arrive
    each_s = np.maximum(steps["time_s"] / count, 1e-300)[row]
    inside = np.ceil((arrival_s - start_s[row]) / each_s)
    return np.where((following > 0) & (inside < count[row]), start_s[row] + inside * each_s, next_s)
