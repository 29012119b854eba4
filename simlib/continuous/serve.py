"""Serve a request table with an engine that batches continuously."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from simlib.checks import InputError, check_integer
from simlib.continuous import loop
from simlib.continuous.control import StepControl
from simlib.continuous.settings import PREFILL, ROUTING, Continuous, needed_blocks
from simlib.continuous.state import (
    CAP,
    DONE,
    GAP_BINS,
    GAP_OCTAVES,
    LAST_BIN,
    LOGGED,
    NEWEST,
    NOW,
    NUMBERS,
    PARTIAL,
    RESUMED,
    ROOM,
    SAMPLE,
    SAMPLE_GAP,
    TIMES,
    Ask,
    State,
    StepRules,
)
from simlib.engine import shapes
from simlib.engine.compiled import compiled, is_compilable, is_worthwhile, until_done
from simlib.policies import orders
from simlib.requests.table import RequestTable

SAMPLES = 1024  # at most, of each GPU's memory


def serve(
    table: RequestTable, law: Any, settings: Continuous, gpus: int = 1, backend: str = "compiled", log_steps: int = 0
) -> Served:
    """The step loop alone, first come, first served, for tables of which every request fits; it logs so many steps."""
    rules = rules_of(settings, law, gpus)
    return served(table, law, gpus, rules, np.zeros(0, np.int32), backend, settings.control, log_steps)


def backend_of(backend: str, law: Any, requests: int) -> str:
    if backend == "stepped":
        raise InputError("backend: 'stepped' (expected 'auto', 'compiled' or 'interpreted' for continuous batching)")
    if backend == "interpreted" or (backend == "auto" and not is_worthwhile(requests)):
        return "interpreted"
    possible, why = is_compilable(law.law, loop.signatures().law)
    if not possible and backend == "compiled":
        raise InputError(f"backend: 'compiled' (the step law cannot be compiled: {why}; expected 'auto')")
    return "compiled" if possible else "interpreted"


def rules_of(
    settings: Continuous,
    law: Any,
    gpus: int,
    bins: int = 1,
    selection: int = orders.OLDEST_BIN,
    seats: int | None = None,
    seconds_per_token: float = 0.0,
    output_weight: float = 0.0,
) -> StepRules:
    """The settings as the loop reads them."""
    if settings.control is not None:
        settings.control.check(law, settings.max_seqs, settings.token_budget, settings.kv_tokens)
    return StepRules(
        seats=int(min(settings.max_seqs, settings.token_budget, settings.max_seqs if seats is None else seats)),
        blocks=settings.blocks,
        bits=settings.bits,
        watermark=int(settings.watermark * settings.blocks),
        budget=settings.token_budget,
        prefill=PREFILL.index(settings.prefill),
        two=int(settings.steps_in_flight == 2),
        reserve=int(settings.reserve),
        whole=int(settings.whole_prompt or settings.reserve),
        routing=ROUTING.index(settings.routing if gpus > 1 else "round_robin"),
        bins=bins,
        selection=selection,
        linear=int(law.linear),
        spread=int(law.spread),
        control=int(settings.control is not None),
        classes=_classes(settings, gpus),
        reuse=int(settings.reuse),
        share=int(settings.share_cached),
        timeout_s=math.inf if settings.timeout_s is None else settings.timeout_s,
        seconds_per_token=seconds_per_token,
        output_weight=output_weight,
    )


def _classes(settings: Continuous, gpus: int) -> int:
    if settings.routing != "by_class":
        return 1
    return gpus if settings.classes is None else check_integer("classes", settings.classes, 1, gpus)


def served(
    table: RequestTable,
    law: Any,
    gpus: int,
    rules: StepRules,
    bin_of: np.ndarray,
    backend: str,
    control: StepControl | None = None,
    log_steps: int = 0,
) -> Served:
    """Serve all requests that a GPU's cache can hold."""
    fits = needed_blocks(table, rules.bits, rules.share) <= rules.blocks
    keep = None if fits.all() else np.flatnonzero(fits)
    kept = table if keep is None or len(keep) == 0 else table.rows(keep)
    predicted, cached = kept.predicted_output_tokens, kept.cached_prompt_tokens
    rules = rules._replace(seats=min(rules.seats, len(kept)), share=int(rules.share and cached is not None))
    none = np.zeros(0, np.int64)
    ask = Ask(
        arrival_s=kept.arrival_s,
        prompt_tokens=kept.prompt_tokens,
        output_tokens=kept.output_tokens,
        expected_tokens=kept.output_tokens if predicted is None else predicted,
        cached_tokens=none if cached is None else cached,
        bin_of=bin_of if keep is None or len(bin_of) == 0 else bin_of[keep],
    )
    state = _state(ask, rules, gpus, log_steps, control)
    run = loop.loop
    kernel = law.law
    if backend == "compiled":
        kinds = loop.signatures()
        run, kernel = compiled(run, kinds.loop), compiled(kernel, kinds.law)
    if keep is None or len(keep) > 0:
        outcome = until_done(run, ask, state, rules, kernel, law.params)
        if outcome != DONE:
            raise InputError("latency: a step's time is negative or not finite (expected seconds >= 0)")
    columns = (state.start_s, state.first_token_s, state.completion_s, state.gpu)
    if keep is not None:
        columns = tuple(_spread(column, keep, len(table)) for column in columns)
    return Served(
        *columns, state.numbers, state.times, state.gaps, state.series, state.steps, state.control, state.decisions
    )


def _spread(column: np.ndarray, keep: np.ndarray, rows: int) -> np.ndarray:
    """A column of some requests as one of all, which lack what was not served."""
    spread = np.full(rows, -1 if column.dtype.kind == "i" else np.nan, column.dtype)
    spread[keep] = column[: len(keep)]
    return spread


def _state(ask: Ask, rules: StepRules, gpus: int, log_steps: int, control: StepControl | None) -> State:
    requests, lines = len(ask.arrival_s), rules.bins * gpus
    numbers = np.zeros((gpus, len(NUMBERS)), np.int64)
    for column in (PARTIAL, NEWEST, RESUMED, LAST_BIN):
        numbers[:, column] = -1
    numbers[:, CAP], numbers[:, ROOM] = rules.seats, rules.budget
    none = np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1, 1))
    controllers = none if control is None else control.arrays(rules, gpus)
    times = np.zeros((gpus, len(TIMES)))
    times[:, NOW] = -math.inf
    times[:, SAMPLE] = -math.inf
    times[:, SAMPLE_GAP] = max((ask.arrival_s[-1] - ask.arrival_s[0]) / SAMPLES, 1e-3)
    real = np.zeros(1)
    return State(
        numbers=numbers,
        times=times,
        heap=np.empty((gpus, rules.seats + 1), np.int64),
        growth=np.zeros((gpus, 1 << rules.bits), np.int64),
        joined=np.empty(rules.seats + 1, np.int64),
        shape=np.zeros(len(shapes.SHAPE)),
        gaps=np.zeros(GAP_BINS * GAP_OCTAVES, np.int64),
        real=real,
        bits=real.view(np.int64),
        series=np.zeros((gpus, max(16, min(SAMPLES, 2**16 // gpus)), 4)),
        steps=np.zeros((gpus, log_steps, len(LOGGED))),
        first=np.zeros(lines, np.int64),
        last=np.zeros(lines, np.int64),
        length=np.zeros(lines, np.int64),
        follows=np.empty(requests, np.int32),
        precedes=np.empty(requests, np.int32),
        done=np.zeros(requests, np.int32),
        place=np.zeros(requests if rules.reuse else 0, np.int64),
        filled=np.zeros(requests if rules.reuse else 0, np.int32),
        gpu=np.full(requests, -1, np.int32),
        start_s=np.full(requests, np.nan),
        first_token_s=np.full(requests, np.nan),
        completion_s=np.full(requests, np.nan),
        counters=np.zeros(lines + 1),
        control=controllers[0],
        control_rules=controllers[1],
        decisions=controllers[2],
        progress=np.zeros(1, np.int64),
    )


class Served(NamedTuple):
    """Times and GPU of each request (NaN and -1: not served), each GPU's totals, gaps, series, steps, controller."""

    start_s: np.ndarray
    first_token_s: np.ndarray
    completion_s: np.ndarray
    gpu: np.ndarray
    numbers: np.ndarray
    totals_s: np.ndarray
    gaps: np.ndarray
    series: np.ndarray
    steps: np.ndarray
    control: np.ndarray
    decisions: np.ndarray
