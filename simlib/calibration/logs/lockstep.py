"""Engines that make their steps together, as where each has a part of a model's experts: the slowest makes all wait.

One more way to execute the step loop (`continuous.serve`), for replays: each engine composes its own step, all begin
at once, and all last as long as a law of all their shapes says. An engine with nothing to do waits along.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from simlib.continuous import columns as at
from simlib.continuous import loop, serve
from simlib.continuous.compose import compose
from simlib.continuous.settings import Continuous
from simlib.continuous.state import ARRIVED, Ask, Lines, State, StepRules, settle
from simlib.engine.batches import BAD_TIME, DONE
from simlib.engine.shapes import CHUNKS, N_DECODES
from simlib.policies.plan import Order
from simlib.requests.table import RequestTable

NO_SHAPES = np.zeros(1)


def together(table: RequestTable, law: Any, settings: Continuous, engines: int, log_steps: int) -> serve.Served:
    """Serve requests by engines whose steps begin and end together; `serve.serve` otherwise, which see.

    Parameters
    ----------
    law : object
        A step law; its ``together_s(shapes)``, where it has that, says how long a step takes that engines make
        together, otherwise it is asked about what all of them do.
    """
    rules = serve.rules_of(settings, law, engines)._replace(linear=0)
    serve.WAYS["together"] = _in_step
    outcome, found, _ = serve.served(table, law, engines, rules, serve.FIRST_COME, "together", log_steps=log_steps)
    if outcome != DONE:
        raise ValueError("step law: a step's time is negative or not finite (expected seconds >= 0)")
    return found


def _in_step(ask: Ask, lines: Lines, state: State, rules: StepRules, law: Any, order: Order) -> int:
    """The loop: the next arrival, or the next boundary, at which every engine composes its step."""
    engines, arrived = range(len(state.numbers)), 0
    awake, now_s, pending_s = False, math.inf, 0.0
    while arrived < len(ask.arrival_s) or awake:
        if arrived < len(ask.arrival_s) and (not awake or ask.arrival_s[arrived] <= now_s):
            if not awake:
                awake, now_s, pending_s = True, ask.arrival_s[arrived], 0.0
            loop.route(arrived, arrived, -1, ask, lines, state, rules)
            arrived += 1
            continue
        steps = [_composed(engine, now_s, pending_s, ask, lines, state, rules, order) for engine in engines]
        busy = [shape for shape, *_ in steps if shape[N_DECODES] + shape[CHUNKS] > 0]
        if not busy and pending_s == 0.0:  # who has lost its memory may be back at once
            awake = bool(state.numbers[:, at.LATER_SEATS].any()) or any(preempted for *_, (*_, preempted) in steps)
        step_s = _time_s(law, busy) if busy else 0.0
        if not 0.0 <= step_s < math.inf:
            return BAD_TIME
        for engine, (shape, joined, counts) in zip(engines, steps, strict=True):
            if shape[N_DECODES] + shape[CHUNKS] == 0:
                loop.rest(state.numbers[engine], state.times[engine], rules)
                continue
            state.shape[:], state.joined[: len(joined)] = shape, joined
            loop.move(engine, *counts, math.inf, ask, state, rules, lambda *_: step_s, NO_SHAPES)  # noqa: B023
        now_s, pending_s = (now_s + pending_s, step_s) if rules.two else (now_s + step_s, 0.0)
    state.progress[ARRIVED] = arrived
    return DONE


def _composed(
    engine: int, now_s: float, pending_s: float, ask: Ask, lines: Lines, state: State, rules: StepRules, order: Order
) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int]]:
    """An engine's next step: its shape, whose prompts end in it, what `compose` counts; its clock is that of all."""
    numbers, times = state.numbers[engine], state.times[engine]
    times[at.NOW], times[at.PENDING], numbers[at.ACTIVE] = now_s, pending_s, 1
    settle(numbers, numbers, rules)
    counts = compose(engine, ask, lines, state, rules, order.decide, order.key)
    return state.shape.copy(), state.joined[: counts[1]].copy(), counts


def _time_s(law: Any, shapes: list[np.ndarray]) -> float:
    if hasattr(law, "together_s"):
        return law.together_s(shapes)
    return law.law(np.sum(shapes, axis=0), law.params)
