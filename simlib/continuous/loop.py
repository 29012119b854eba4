"""Iteration-level batches on G GPUs: the step loop.

A GPU works in steps. Between two of them the next one is composed: running sequences decode a token each, prompts
are prefilled whole or in chunks, the newest sequences lose their memory when it is full. Nothing is counted down: a
sequence ends at a decode step known when it joins (a heap of absolute numbers), and steps that nothing can change are
taken at once, in closed form. Everything here is a kernel, run compiled or interpreted, equal to the last bit.

With two steps in flight a step is composed when the last but one ends, so that it starts without a pause; what ends
in a step holds its memory until then. At equal times: what ends, then what arrives, then the next step.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from simlib.continuous.compose import compose
from simlib.continuous.control import finish, tick, watch
from simlib.continuous.state import (
    ACTIVE,
    BAD_TIME,
    BUSY,
    BY_CLASS,
    CAP,
    DECODES,
    DONE,
    DUE_BLOCKS,
    DUE_SEATS,
    DUE_TOKENS,
    FIRST,
    FRESH,
    LATER_BLOCKS,
    LATER_SEATS,
    LATER_TOKENS,
    LEAST_TOKENS,
    NEWEST,
    NOW,
    OFFSETS,
    PEAK,
    PENDING,
    REQUEST_MASK,
    REQUESTS,
    RESUMED,
    ROUND_ROBIN,
    SAMPLE,
    SAMPLE_GAP,
    SAMPLED,
    SEAT_TIME,
    SEATS,
    SHARED,
    SINCE,
    SPREAD,
    STEP,
    STEPS,
    STORED,
    SUM_CONTEXT,
    SUM_DECODES,
    SUM_PREFILL,
    TICK,
    TOKENS,
    USED,
    Ask,
    State,
    StepRules,
    add_gaps,
    append,
    held,
    lift,
    push,
    routed,
    settle,
    take,
    unlink,
)
from simlib.engine.borrowed import uncounted
from simlib.engine.compiled import MORE, one_at_a_time
from simlib.engine.shapes import CHUNKS, CONTEXT, CONTEXT_SLOPE, LONGEST, PREFILL
from simlib.latency.steps import linear_law
from simlib.policies.orders import FAIR

WORK, COMPOSED = 2**22, 16  # after which the loop comes back, some milliseconds: places looked at, 16 to compose a step


def longest(gpu: int, ask: Ask, state: State) -> int:
    """Tokens of the longest sequence that decodes, counted from decode step 0."""
    most, heap = -(1 << 62), state.heap[gpu]
    for place in range(state.numbers[gpu, DECODES]):
        request = heap[place] & REQUEST_MASK
        most = max(most, ask.prompt_tokens[request] + ask.output_tokens[request] - 1 - (heap[place] >> 32))
    return most


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
    block, free = 1 << rules.bits, rules.blocks - n[USED]
    if n[DECODES] * ((most >> rules.bits) + 1) <= free:
        return most
    cycles = free // n[DECODES]
    steps, free = 1 + cycles * block, free - cycles * n[DECODES]
    while steps < most:
        need = growth[(n[STEP] + steps) & (block - 1)]
        if need > free:
            break
        free -= need
        steps += 1
    return min(steps, most)


def stretch(gpu: int, step_s: float, slope_s: float, horizon_s: float, state: State, rules: StepRules) -> int:
    """Decode steps that nothing changes, this one included; their blocks are taken."""
    n, growth, block = state.numbers[gpu], state.growth[gpu], 1 << rules.bits
    most = (state.heap[gpu, 0] >> 32) - n[STEP]
    if rules.control:
        most = min(most, n[TICK] - n[STEP])
    if most <= 1 or (rules.two and n[LATER_SEATS] > 0):
        return 1
    if not rules.reserve:
        most = affordable(n, growth, most, rules)
    now_s, composed = state.times[gpu, NOW], 1
    if rules.two:  # the second is composed when the pending step ends, the third when the first one does
        now_s += state.times[gpu, PENDING]
        composed = 2
    if now_s >= horizon_s:
        return 1
    if most > composed:
        most = composed + steps_within(horizon_s - now_s, step_s, slope_s, most - composed)
    if not rules.reserve:
        n[USED] += n[DECODES] * ((most - 1) >> rules.bits)
        for step in range((most - 1) & (block - 1)):
            n[USED] += growth[(n[STEP] + 1 + step) & (block - 1)]
    return most


def horizon(gpu: int, horizon_s: float, state: State, rules: StepRules) -> float:
    """Until when nothing that arrives can change the steps of a GPU that has just composed one without a prompt."""
    n = state.numbers[gpu]
    waiting = n[RESUMED] >= 0
    base = 0 if rules.routing == SHARED else gpu * rules.bins
    for line in range(base, base + rules.bins):
        waiting = waiting or state.length[line] > 0
    if not waiting:
        return horizon_s
    if rules.timeout_s < math.inf:
        return -math.inf
    if n[SEATS] >= n[CAP] or n[RESUMED] >= 0:
        return math.inf
    if rules.routing == SHARED:  # another GPU may take the head, and the next one may fit
        return -math.inf
    return math.inf if rules.bins == 1 else horizon_s


def complete(gpu: int, complete_s: float, joins: int, ask: Ask, state: State, rules: StepRules) -> tuple[int, int, int]:
    """End what ends in the step that was composed, let complete prompts decode from the next; seats, blocks, tokens."""
    n, heap, growth, mask = state.numbers[gpu], state.heap[gpu], state.growth[gpu], (1 << rules.bits) - 1
    seats = blocks = tokens = 0
    while n[DECODES] > 0 and heap[0] >> 32 == n[STEP]:
        request = heap[0] & REQUEST_MASK
        take(heap, n[DECODES], 0)
        total = ask.prompt_tokens[request] + ask.output_tokens[request] - 1
        n[DECODES] -= 1
        n[OFFSETS] -= total - n[STEP]
        if not rules.reserve:
            growth[(n[STEP] - total) & mask] -= 1
        unlink(request, n, state)
        state.completion_s[request] = complete_s
        if rules.control:
            finish(request, gpu, complete_s, ask, state)
        seats += 1
        blocks += held(request, total, ask, rules)
        tokens += routed(request, ask) if rules.routing == LEAST_TOKENS else 0
    for place in range(joins):
        request = int(state.joined[place])
        total = ask.prompt_tokens[request] + state.done[request]
        if state.done[request] == 0:
            state.first_token_s[request] = complete_s
        else:
            add_gaps(complete_s - state.completion_s[request], 0.0, 1, 1, state)
        left = ask.output_tokens[request] - state.done[request] - 1
        state.completion_s[request] = complete_s
        if left <= 0:
            unlink(request, n, state)
            if rules.control:
                finish(request, gpu, complete_s, ask, state)
            seats += 1
            blocks += held(request, total, ask, rules)
            tokens += routed(request, ask) if rules.routing == LEAST_TOKENS else 0
            continue
        push(heap, n[DECODES], (n[STEP] + left) << 32 | request)
        n[DECODES] += 1
        n[OFFSETS] += total - n[STEP]
        n[FRESH] += 1
        if not rules.reserve:
            growth[(n[STEP] - total) & mask] += 1
    return seats, blocks, tokens


def count_gaps(
    gpu: int, step_s: float, slope_s: float, steps: int, decodes: int, state: State, rules: StepRules
) -> None:
    """Count the times between tokens of steps that are composed."""
    n, t = state.numbers[gpu], state.times[gpu]
    if rules.prefill == FIRST:  # steps of prompts alone may have come between, for each sequence as many as it has seen
        first_s = t[NOW] + t[PENDING] + step_s
        request = n[NEWEST]
        for _ in range(n[FRESH]):
            add_gaps(first_s - state.completion_s[request], 0.0, 1, 1, state)
            request = state.precedes[request]
        add_gaps(first_s - t[SINCE], 0.0, 1 if decodes > n[FRESH] else 0, decodes - n[FRESH], state)
        add_gaps(step_s + slope_s, slope_s, steps - 1, decodes, state)
    else:
        add_gaps(step_s, slope_s, steps, decodes, state)
    n[FRESH] = 0


def note(gpu: int, steps: int, start_s: float, total_s: float, state: State, rules: StepRules) -> None:
    """Note how full the GPU is, now and then; each step, while there is room."""
    n, t, series, shape = state.numbers[gpu], state.times[gpu], state.series[gpu], state.shape
    n[PEAK] = max(n[PEAK], n[USED])
    if n[STORED] < state.steps.shape[1]:
        row = state.steps[gpu, n[STORED]]
        row[0], row[1], row[2], row[3], row[4] = start_s, total_s, steps, n[USED], n[SEATS]
        for column in range(len(shape)):
            row[5 + column] = shape[column]
        n[STORED] += 1
    if start_s < t[SAMPLE]:
        return
    if n[SAMPLED] == len(series):  # every other one, from now on at twice the distance
        for place in range(len(series) // 2):
            for column in range(series.shape[1]):
                series[place, column] = series[2 * place, column]
        n[SAMPLED] = len(series) // 2
        t[SAMPLE_GAP] *= 2.0
    row = series[n[SAMPLED]]
    base, waiting = 0 if rules.routing == SHARED else gpu * rules.bins, 0
    for line in range(base, base + rules.bins):
        waiting += state.length[line]
    row[0], row[1], row[2], row[3] = start_s, n[SEATS], waiting, n[USED]
    n[SAMPLED] += 1
    t[SAMPLE] = start_s + t[SAMPLE_GAP]


def rest(n: np.ndarray, t: np.ndarray) -> None:
    """Nothing to compose: wait for the step in flight, or for an arrival."""
    if t[PENDING] > 0.0 or n[LATER_SEATS] > 0:
        t[SEAT_TIME] += n[SEATS] * t[PENDING]
        t[NOW] += t[PENDING]
        t[PENDING] = 0.0
        n[DUE_SEATS], n[DUE_BLOCKS], n[DUE_TOKENS] = n[LATER_SEATS], n[LATER_BLOCKS], n[LATER_TOKENS]
        n[LATER_SEATS] = n[LATER_BLOCKS] = n[LATER_TOKENS] = 0
    else:
        n[ACTIVE] = 0


def move(
    gpu: int,
    decodes: int,
    joins: int,
    preempted: int,
    until_s: float,
    ask: Ask,
    state: State,
    rules: StepRules,
    law: Callable[..., float],
    params: np.ndarray,
) -> int:
    """Take the step that was composed, and all that follow before something may change or a time has come."""
    n, t, shape = state.numbers[gpu], state.times[gpu], state.shape
    if rules.spread and decodes > 0:
        shape[LONGEST] = longest(gpu, ask, state) + n[STEP] + 1
    step_s, slope_s, steps = linear_law(shape, params) if rules.linear else law(shape, params), 0.0, 1
    if not 0.0 <= step_s < math.inf:
        return BAD_TIME
    # Whoever has just lost its memory may be back at the next boundary.
    if rules.linear and shape[CHUNKS] == 0.0 and preempted == 0:
        slope_s = params[CONTEXT_SLOPE] * decodes
        steps = stretch(gpu, step_s, slope_s, horizon(gpu, until_s, state, rules), state, rules)
    total_s = steps * step_s + slope_s * (steps * (steps - 1) // 2)
    last_s = step_s + slope_s * (steps - 1)
    start_s = t[NOW] + t[PENDING]
    note(gpu, steps, start_s, total_s, state, rules)
    if rules.control:
        watch(gpu, step_s, slope_s, steps, decodes, state)
    n[STEPS] += steps
    n[SUM_DECODES] += steps * decodes
    n[SUM_PREFILL] += int(shape[PREFILL])
    n[SUM_CONTEXT] += steps * int(shape[CONTEXT]) + decodes * (steps * (steps - 1) // 2)
    if rules.spread:
        t[SPREAD] += steps * (decodes * shape[LONGEST] - shape[CONTEXT])
    t[BUSY] += total_s
    if decodes > 0:
        count_gaps(gpu, step_s, slope_s, steps, decodes, state, rules)
        n[STEP] += steps
        t[SINCE] = start_s + total_s
    before_s = t[NOW]
    seats, blocks, tokens = complete(gpu, start_s + total_s, joins, ask, state, rules)
    if rules.two:
        t[NOW], t[PENDING] = start_s + (total_s - last_s), last_s
        n[DUE_SEATS], n[DUE_BLOCKS], n[DUE_TOKENS] = n[LATER_SEATS], n[LATER_BLOCKS], n[LATER_TOKENS]
        n[LATER_SEATS], n[LATER_BLOCKS], n[LATER_TOKENS] = seats, blocks, tokens
    else:
        t[NOW] = start_s + total_s
        n[DUE_SEATS], n[DUE_BLOCKS], n[DUE_TOKENS] = seats, blocks, tokens
    t[SEAT_TIME] += n[SEATS] * (t[NOW] - before_s)  # what ends in the step leaves at the next boundary
    return DONE


def arrive(request: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Let a request wait for a GPU, or for any (-1)."""
    line = ask.bin_of[request] % rules.bins if len(ask.bin_of) > 0 else 0
    if gpu >= 0:
        n = state.numbers[gpu]
        n[REQUESTS] += 1
        n[TOKENS] += routed(request, ask)
        line += gpu * rules.bins
    if rules.selection == FAIR and state.length[line] == 0:
        lift(line, max(gpu, 0) * rules.bins, rules.bins, state)
    append(line, request, state)


def wake(gpu: int, now_s: float, state: State) -> None:
    """An idle GPU looks at what has arrived."""
    if not state.numbers[gpu, ACTIVE]:
        state.numbers[gpu, ACTIVE] = 1
        state.times[gpu, NOW] = now_s


def least(state: State, column: int, first: int, end: int) -> int:
    """The GPU with the least of something among those from `first` to before `end`, the first one of several."""
    best = first
    for gpu in range(first + 1, end):
        if state.numbers[gpu, column] < state.numbers[best, column]:
            best = gpu
    return best


def route(request: int, idle: int, ask: Ask, state: State, rules: StepRules) -> None:
    """A request arrives: for any GPU, and the first idle one looks; or for the one that the router finds."""
    now_s, gpu = ask.arrival_s[request], 0
    if rules.routing == SHARED:
        arrive(request, -1, ask, state, rules)
        if idle >= 0:
            wake(idle, now_s, state)
        return
    if rules.routing == ROUND_ROBIN:
        gpu = request % len(state.numbers) if len(state.numbers) > 1 else 0
    else:
        for other in range(len(state.numbers)):
            if state.times[other, NOW] <= now_s:
                settle(state.numbers[other])
        first, end = 0, len(state.numbers)
        if rules.routing == BY_CLASS:
            length_class = ask.bin_of[request] // rules.bins
            first, end = length_class * end // rules.classes, (length_class + 1) * end // rules.classes
        gpu = least(state, TOKENS if rules.routing == LEAST_TOKENS else REQUESTS, first, end)
    arrive(request, gpu, ask, state, rules)
    wake(gpu, now_s, state)


def loop(ask: Ask, state: State, rules: StepRules, law: Callable[..., float], params: np.ndarray) -> int:
    """Serve everything: the next arrival, or the GPU whose next boundary is first.

    Returns `DONE`, `MORE` to go on, or `BAD_TIME` if a step's time is negative or not finite.
    """
    ask, state, params = uncounted(ask), uncounted(state), uncounted(params)
    arrival_s, gpus, arrived = ask.arrival_s, len(state.numbers), int(state.progress[0])
    each, left = gpus + rules.bins + (1 << rules.bits) + COMPOSED, WORK
    while left > 0:
        left -= each
        gpu, idle, now_s = -1, -1, math.inf
        for other in range(gpus):
            if not state.numbers[other, ACTIVE]:
                idle = other if idle < 0 else idle
            elif state.times[other, NOW] < now_s:
                gpu, now_s = other, state.times[other, NOW]
        until_s = arrival_s[arrived] if arrived < len(arrival_s) else math.inf
        if until_s <= now_s and until_s < math.inf:
            route(arrived, idle, ask, state, rules)
            arrived += 1
            continue
        if gpu < 0:
            return DONE
        if rules.routing == ROUND_ROBIN and gpus > 1:  # the others' arrivals do not matter
            own = arrived + (gpu - arrived) % gpus
            until_s = arrival_s[own] if own < len(arrival_s) else math.inf
        settle(state.numbers[gpu])
        if rules.control and state.numbers[gpu, STEP] >= state.numbers[gpu, TICK]:
            tick(gpu, state, rules)
        decodes, joins, preempted = compose(gpu, ask, state, rules)
        if rules.spread:
            left -= decodes
        if decodes == 0 and state.shape[CHUNKS] == 0.0:
            rest(state.numbers[gpu], state.times[gpu])
        elif move(gpu, decodes, joins, preempted, until_s, ask, state, rules, law, params) != DONE:
            return BAD_TIME
    state.progress[0] = arrived
    return MORE


for _rare in (longest, steps_within):
    _rare.inlined = False


@one_at_a_time
@functools.cache
def signatures() -> SimpleNamespace:
    """Numba types of everything that crosses into the loop."""
    from numba import types

    ints, floats, links = types.int64[::1], types.float64[::1], types.int32[::1]
    table, cube = types.float64[:, ::1], types.float64[:, :, ::1]
    grid = types.int64[:, ::1]
    ask = types.NamedTuple([floats, ints, ints, ints, ints, links], Ask)
    rules = types.NamedTuple([types.int64] * (len(StepRules._fields) - 3) + [types.float64] * 3, StepRules)
    state = types.NamedTuple(
        [grid, table, grid, grid, ints, floats, ints, floats, ints, cube, cube, ints, ints, ints]
        + [links, links, links, ints, links, links]
        + [floats] * 4
        + [table, table, cube, ints],
        State,
    )
    law = types.float64(floats, floats)
    return SimpleNamespace(law=law, loop=types.int64(ask, state, rules, types.FunctionType(law), floats))
