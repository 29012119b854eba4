"""Steps that nothing changes: how many there are, so that the loop takes them at once, in closed form."""

from __future__ import annotations

import math

import numpy as np

from simlib.continuous import columns as at
from simlib.continuous.state import PREFIX, SHARED, State, StepRules, own
from simlib.engine.shapes import CONTEXT_SLOPE

ROUNDING = 1e-9


def steps_within(time_s: float, step_s: float, slope_s: float, most: int) -> int:
    """The largest number of steps, up to `most`, that take less than a time; they take ``step_s, step_s + slope_s, …``.

    Root of the quadratic in its stable form, then put right by evaluating.
    """
    if most * step_s + slope_s * (most * (most - 1) // 2) < time_s:
        return most
    linear_s = step_s - 0.5 * slope_s
    root = 2.0 * time_s / (linear_s + math.sqrt(linear_s * linear_s + 2.0 * slope_s * time_s))
    steps = int(min(root, float(most)))
    while steps > 0 and steps * step_s + slope_s * (steps * (steps - 1) // 2) >= time_s:
        steps -= 1
    while steps < most and (steps + 1) * step_s + slope_s * (steps * (steps + 1) // 2) < time_s:
        steps += 1
    return steps


def affordable(n: np.ndarray, growth: np.ndarray, most: int, rules: StepRules) -> int:
    """Decode steps, up to `most`, for which the memory lasts; the first one has its blocks already."""
    block, free = 1 << rules.bits, rules.blocks - n[at.USED]
    if n[at.DECODES] * ((most >> rules.bits) + 1) <= free:
        return most
    cycles = free // n[at.DECODES]
    steps, free = 1 + cycles * block, free - cycles * n[at.DECODES]
    while steps < most:
        need = growth[(n[at.STEP] + steps) & (block - 1)]
        if need > free:
            break
        free -= need
        steps += 1
    return min(steps, most)


def stretch(gpu: int, step_s: float, slope_s: float, horizon_s: float, state: State, rules: StepRules) -> int:
    """Decode steps that nothing changes, this one included; their blocks are taken."""
    n, growth, block = state.numbers[gpu], state.growth[gpu], 1 << rules.bits
    most = (state.heap[gpu, 0] >> 32) - n[at.STEP]
    if rules.control:
        most = min(most, n[at.TICK] - n[at.STEP])
    if most <= 1 or (rules.two and n[at.LATER_SEATS] > 0):
        return 1
    if not rules.reserve:
        most = affordable(n, growth, most, rules)
    now_s, composed = state.times[gpu, at.NOW], 1
    if rules.two:  # the second is composed when the pending step ends, the third when the first one does
        now_s += state.times[gpu, at.PENDING]
        composed = 2
    if now_s >= horizon_s:
        return 1
    if most > composed:
        most = composed + steps_within(horizon_s - now_s, step_s, slope_s, most - composed)
    if not rules.reserve:
        n[at.USED] += n[at.DECODES] * ((most - 1) >> rules.bits)
        for step in range((most - 1) & (block - 1)):
            n[at.USED] += growth[(n[at.STEP] + 1 + step) & (block - 1)]
    return most


def horizon(gpu: int, horizon_s: float, state: State, rules: StepRules) -> float:
    """Until when nothing that arrives can change the steps of a GPU that has just composed one without a prompt."""
    n, owner = state.numbers[gpu], state.numbers[own(gpu, rules)]
    if n[at.RESUMED] < 0 and owner[at.WAITING] == 0:
        return horizon_s
    if rules.timeout_s < math.inf or rules.answers:  # what is generated meanwhile may be found
        return -math.inf
    if rules.cache and rules.routing >= PREFIX:  # the router looks at what its memory holds whenever somebody comes
        return horizon_s
    if n[at.SEATS] >= n[at.CAP] or (n[at.RESUMED] >= 0 and not rules.priority):
        return math.inf
    if rules.priority:  # who comes may be more urgent
        return horizon_s
    if rules.routing == SHARED:  # another GPU may take the head, and the next one may fit
        return -math.inf
    blocked = rules.lines == 1 and rules.keyed == 0 and n[at.REFUSED] != owner[at.EVENTS]
    return math.inf if blocked else horizon_s  # the first of an only line does not fit: so be whoever comes behind it


def first_end(gpu: int, state: State, rules: StepRules, params: np.ndarray) -> float:
    """Before when no sequence of a GPU ends that has not ended in what is composed, if nobody arrives.

    Each gives a token a step. While the memory lasts they are the same, with longer contexts; else a step takes at
    least what an empty one does. Who waits may be short.
    """
    n, decodes = state.numbers[gpu], state.numbers[gpu, at.DECODES]
    full = rules.control == 0 and n[at.SEATS] - n[at.DUE_SEATS] - n[at.LATER_SEATS] >= n[at.CAP]
    begun = n[at.PARTIAL] >= 0 or n[at.BEGUN] > 0
    if begun or n[at.RESUMED] >= 0 or (state.numbers[own(gpu, rules), at.WAITING] > 0 and not full):
        return state.times[gpu, at.NOW]
    if decodes == 0:
        return math.inf
    steps, step_s = (state.heap[gpu, 0] >> 32) - n[at.STEP] - rules.unknown, params[0]
    if rules.reserve or decodes * ((steps >> rules.bits) + 1) <= rules.blocks - n[at.USED]:
        step_s += params[1] * decodes
        step_s += params[CONTEXT_SLOPE] * (n[at.OFFSETS] + decodes * (n[at.STEP] + 1) + 0.5 * decodes * (steps - 1))
    return state.times[gpu, at.NOW] + state.times[gpu, at.PENDING] + steps * step_s * (1.0 - ROUNDING)


steps_within.inlined = False  # rare
