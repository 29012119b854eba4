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
from typing import get_type_hints

import numpy as np

from simlib.continuous import columns as at
from simlib.continuous.compose import compose
from simlib.continuous.control import finish, tick, watch
from simlib.continuous.ends import close, heard, last_call, left_over, rouse, wake
from simlib.continuous.prefix import free_ended
from simlib.continuous.priority import queue
from simlib.continuous.router import informed, tell
from simlib.continuous.running.cancel import cancel, next_s
from simlib.continuous.running.gaps import count_gaps
from simlib.continuous.running.retire import retire
from simlib.continuous.running.stretch import first_end, horizon, stretch
from simlib.continuous.running.victims import endless
from simlib.continuous.state import (
    ARRIVED,
    BY_CLASS,
    IN_TURN,
    LEAST_TOKENS,
    NEEDED,
    PREFIX,
    PREFIX_COST,
    REQUEST_MASK,
    SHARED,
    Ask,
    Lines,
    State,
    StepRules,
    add_gaps,
    extra,
    held,
    join,
    lent,
    mark_over,
    own,
    push,
    routed,
    settle,
    stored,
    take,
    unlink,
)
from simlib.engine import batches, chains
from simlib.engine.batches import BAD_DECISION, BAD_TIME, DONE, ENDLESS
from simlib.engine.borrowed import borrowed
from simlib.engine.chains import SERVED, answered, come, coming
from simlib.engine.compiled import MORE, one_at_a_time
from simlib.engine.shapes import CHUNKS, CONTEXT, CONTEXT_SLOPE, LONGEST, N_DECODES, PREFILL
from simlib.engine.specialised import specialised
from simlib.latency.steps import linear_law

WORK, COMPOSED = 2**22, 16  # after which the loop comes back, some milliseconds: places looked at, 16 to compose a step


def longest(gpu: int, ask: Ask, state: State, rules: StepRules) -> int:
    """Tokens of the longest sequence that decodes, counted from decode step 0."""
    most, heap = -(1 << 62), state.heap[gpu]
    for place in range(state.numbers[gpu, at.DECODES]):
        request = heap[place] & REQUEST_MASK
        most = max(most, stored(request, ask) + extra(request, ask, rules) - (heap[place] >> 32))
    return most


def end(request: int, decoded: int, n: np.ndarray, state: State, rules: StepRules) -> None:
    """All steps of a sequence are composed. With two in flight the next one may take its memory while the last runs."""
    if rules.two or rules.cache:
        mark_over(request, decoded, n[at.STEPS], state)
        if rules.cache:
            n[at.ENDED] = request
    else:
        unlink(request, n, state)
        if rules.cancel:
            mark_over(request, decoded, n[at.STEPS], state)


def complete(
    gpu: int, last_s: float, complete_s: float, joins: int, ask: Ask, state: State, rules: StepRules
) -> tuple[int, int, int, int]:
    """End what ends in the step that was composed, or ends before it; let complete prompts decode from the next.

    Seats, blocks, and full ones among them, and tokens of what ends.
    """
    n, heap, growth, mask = state.numbers[gpu], state.heap[gpu], state.growth[gpu], (1 << rules.bits) - 1
    seats = blocks = full = tokens = 0
    while n[at.DECODES] > 0 and heap[0] >> 32 == n[at.STEP]:
        request = heap[0] & REQUEST_MASK
        take(heap, n[at.DECODES], 0)
        more = extra(request, ask, rules)
        total = stored(request, ask) + more
        n[at.DECODES] -= 1
        n[at.OFFSETS] -= total - n[at.STEP]
        if not rules.reserve:
            growth[(n[at.STEP] - total) & mask] -= 1
        state.completion_s[request] = last_s if more else complete_s
        if rules.control:
            finish(request, gpu, state.completion_s[request], ask, state)
        if more:
            retire(request, total, total - 1, gpu, ask, state, rules)
            if not rules.cache:
                unlink(request, n, state)
            continue
        end(request, 1, n, state, rules)
        if rules.closed:
            answered(request, complete_s, ask)
        if rules.cache and rules.routing == PREFIX_COST:
            tell(request, 1, n, state)
        seats += 1
        blocks += held(request, total, ask, rules)
        full += (total >> rules.bits) - lent(request, ask, rules) if rules.reuse else 0
        tokens += routed(request, ask) if rules.routing == LEAST_TOKENS else 0
    for place in range(joins):
        request = int(state.joined[place])
        total = ask.prompt_tokens[request] + state.done[request]
        if state.done[request] == 0:
            state.first_token_s[request] = complete_s
            if rules.cache and rules.routing == PREFIX_COST:
                tell(request, 0, n, state)
        else:
            add_gaps(complete_s - state.completion_s[request], 0.0, 1, 1, state)
        left = max(ask.output_tokens[request] - state.done[request] - 1, 0) + extra(request, ask, rules)
        state.completion_s[request] = complete_s
        if left == 0:
            end(request, 0, n, state, rules)
            if rules.closed:
                answered(request, complete_s, ask)
            if rules.cache and rules.routing == PREFIX_COST:
                tell(request, 1, n, state)
            if rules.control:
                finish(request, gpu, complete_s, ask, state)
            seats += 1
            blocks += held(request, total, ask, rules)
            full += (total >> rules.bits) - lent(request, ask, rules) if rules.reuse else 0
            tokens += routed(request, ask) if rules.routing == LEAST_TOKENS else 0
            continue
        push(heap, n[at.DECODES], (n[at.STEP] + left) << 32 | request)
        if rules.several or rules.answers:
            state.ends[request] = n[at.STEP] + left
        n[at.DECODES] += 1
        n[at.OFFSETS] += total - n[at.STEP]
        n[at.FRESH] += 1
        if not rules.reserve:
            growth[(n[at.STEP] - total) & mask] += 1
    return seats, blocks, full, tokens


def note(gpu: int, steps: int, start_s: float, total_s: float, state: State, rules: StepRules) -> None:
    """Note how full the GPU is, now and then; each step, while there is room."""
    n, t, series, shape = state.numbers[gpu], state.times[gpu], state.series[gpu], state.shape
    n[at.PEAK] = max(n[at.PEAK], n[at.USED])
    if n[at.STORED] < state.steps.shape[1]:
        row = state.steps[gpu, n[at.STORED]]
        row[0], row[1], row[2], row[3], row[4] = start_s, total_s, steps, n[at.USED], n[at.SEATS]
        for column in range(len(shape)):
            row[5 + column] = shape[column]
        n[at.STORED] += 1
    if start_s < t[at.SAMPLE]:
        return
    if n[at.SAMPLED] == len(series):  # every other one, from now on at twice the distance
        for place in range(len(series) // 2):
            for column in range(series.shape[1]):
                series[place, column] = series[2 * place, column]
        n[at.SAMPLED] = len(series) // 2
        t[at.SAMPLE_GAP] *= 2.0
    row = series[n[at.SAMPLED]]
    row[0], row[1], row[2], row[3] = start_s, n[at.SEATS], state.numbers[own(gpu, rules), at.WAITING], n[at.USED]
    n[at.SAMPLED] += 1
    t[at.SAMPLE] = start_s + t[at.SAMPLE_GAP]


def rest(n: np.ndarray, t: np.ndarray, rules: StepRules) -> None:
    """Nothing to compose: wait for the step in flight, or for an arrival."""
    if t[at.PENDING] > 0.0 or n[at.LATER_SEATS] > 0:
        t[at.SEAT_TIME] += n[at.SEATS] * t[at.PENDING]
        t[at.NOW] += t[at.PENDING]
        t[at.PENDING] = 0.0
        n[at.DUE_SEATS], n[at.DUE_BLOCKS], n[at.DUE_TOKENS] = n[at.LATER_SEATS], n[at.LATER_BLOCKS], n[at.LATER_TOKENS]
        n[at.LATER_SEATS] = n[at.LATER_BLOCKS] = n[at.LATER_TOKENS] = 0
        if rules.reuse:
            n[at.DUE_FULL], n[at.LATER_FULL] = n[at.LATER_FULL], 0
    else:
        n[at.ACTIVE] = 0


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
        shape[LONGEST] = max(shape[LONGEST], longest(gpu, ask, state, rules) + n[at.STEP] + 1)
    step_s, slope_s, steps = linear_law(shape, params) if rules.linear else law(shape, params), 0.0, 1
    if not 0.0 <= step_s < math.inf:
        return BAD_TIME
    # Whoever has just lost its memory may be back at the next boundary.
    if rules.linear and shape[CHUNKS] == 0.0 and joins == 0 and preempted == 0:
        slope_s = params[CONTEXT_SLOPE] * decodes
        horizon_s = horizon(gpu, until_s, state, rules)
        if rules.cancel:  # whoever runs may be gone
            horizon_s = min(horizon_s, until_s)
        steps = stretch(gpu, step_s, slope_s, horizon_s, state, rules)
    total_s = steps * step_s + slope_s * (steps * (steps - 1) // 2)
    last_s = step_s + slope_s * (steps - 1)
    start_s = t[at.NOW] + t[at.PENDING]
    note(gpu, steps, start_s, total_s, state, rules)
    if rules.control:
        watch(gpu, step_s, slope_s, steps, decodes, state)
    n[at.STEPS] += steps
    n[at.SUM_DECODES] += steps * decodes  # but for `compose.chunk`
    n[at.SUM_PREFILL] += int(shape[PREFILL])
    n[at.SUM_CONTEXT] += steps * int(shape[CONTEXT]) + decodes * (steps * (steps - 1) // 2)
    if rules.spread:
        t[at.SPREAD] += steps * (shape[N_DECODES] * shape[LONGEST] - shape[CONTEXT])
    t[at.BUSY] += total_s
    if decodes > 0:
        count_gaps(gpu, step_s, slope_s, steps, decodes, ask, state, rules)
        n[at.STEP] += steps
        t[at.SINCE] = start_s + total_s
    if rules.priority:
        n[at.PAUSES] = n[at.HELD]
    before_s = t[at.NOW]
    begins_s = start_s + (total_s - last_s)
    seats, blocks, full, tokens = complete(gpu, begins_s, start_s + total_s, joins, ask, state, rules)
    if rules.two:
        t[at.NOW], t[at.PENDING] = begins_s, last_s
        n[at.DUE_SEATS], n[at.DUE_BLOCKS], n[at.DUE_TOKENS] = n[at.LATER_SEATS], n[at.LATER_BLOCKS], n[at.LATER_TOKENS]
        n[at.LATER_SEATS], n[at.LATER_BLOCKS], n[at.LATER_TOKENS] = seats, blocks, tokens
        if rules.reuse:
            n[at.DUE_FULL], n[at.LATER_FULL] = n[at.LATER_FULL], full
    else:
        t[at.NOW] = start_s + total_s
        n[at.DUE_SEATS], n[at.DUE_BLOCKS], n[at.DUE_TOKENS] = seats, blocks, tokens
        if rules.reuse:
            n[at.DUE_FULL] = full
    t[at.SEAT_TIME] += n[at.SEATS] * (t[at.NOW] - before_s)  # what ends in the step leaves at the next boundary
    if rules.closed and rules.linear and len(state.numbers) > 1:
        t[at.FIRST_END] = first_end(gpu, state, rules, params)
    return DONE


def arrive(request: int, gpu: int, ask: Ask, lines: Lines, state: State, rules: StepRules) -> None:
    """Let a request wait for a GPU, or for any of those that share their lines (-1)."""
    if gpu >= 0:
        n = state.numbers[gpu]
        n[at.REQUESTS] += 1
        n[at.TOKENS] += routed(request, ask)
        if rules.closed:
            state.times[gpu, at.FIRST_END] = min(state.times[gpu, at.FIRST_END], state.times[gpu, at.NOW])
    row, line = max(gpu, 0), ask.line_of[request] if len(ask.line_of) > 0 else 0
    if rules.priority:
        queue(row, line, request, ask, lines, state, rules)
    else:
        join(row, line, request, lines, state, rules)


def least(state: State, column: int, first: int, end: int) -> int:
    """The GPU with the least of something among those from `first` to before `end`, the first one of several."""
    best = first
    for gpu in range(first + 1, end):
        if state.numbers[gpu, column] < state.numbers[best, column]:
            best = gpu
    return best


def route(request: int, turn: int, idle: int, ask: Ask, lines: Lines, state: State, rules: StepRules) -> None:
    """A request arrives: for any GPU, and the first idle one looks; or for the one that the router finds."""
    now_s, gpu = ask.arrival_s[request], 0
    if rules.routing == SHARED:
        arrive(request, -1, ask, lines, state, rules)
        if idle >= 0:
            wake(idle, now_s, state)
        return
    if rules.routing == IN_TURN:
        gpu = turn % len(state.numbers) if len(state.numbers) > 1 else 0
    else:
        for other in range(len(state.numbers)):
            if state.times[other, at.NOW] <= now_s:
                if rules.cache and state.numbers[other, at.DUE_SEATS] > 0:
                    free_ended(other, ask, state, rules)
                settle(state.numbers[other], state.numbers[other], rules)
        first, end = 0, len(state.numbers)
        if rules.routing == BY_CLASS:
            length_class = ask.class_of[request]
            first, end = length_class * end // rules.classes, (length_class + 1) * end // rules.classes
        if rules.cache and rules.routing >= PREFIX:
            gpu = informed(request, now_s, ask, state, rules)
        else:
            gpu = least(state, at.TOKENS if rules.routing == LEAST_TOKENS else at.REQUESTS, first, end)
    arrive(request, gpu, ask, lines, state, rules)
    wake(gpu, now_s, state)


def loop(
    ask: Ask,
    lines: Lines,
    state: State,
    rules: StepRules,
    law: Callable[..., float],
    law_params: np.ndarray,
    decide: Callable[..., tuple[int, int]],
    key: Callable[..., float],
) -> int:
    """Serve everything: the next arrival, or the GPU whose next boundary is first.

    Returns `DONE`, `MORE` to go on, `BAD_TIME` if a step's time is negative or not finite, `BAD_DECISION` if the rule
    asks for what is not there, `STUCK` if it lets somebody wait for ever, `ENDLESS` if sequences only lose memory.
    """
    ask, lines, state, rules = borrowed(ask), borrowed(lines), borrowed(state), borrowed(rules)
    arrival_s, gpus, arrived = ask.arrival_s, len(state.numbers), int(state.progress[ARRIVED])
    each, left = gpus + rules.lines + (1 << rules.bits) + COMPOSED, WORK
    while left > 0:
        left -= each
        gpu, idle, now_s, ending, end_s, next_end_s = -1, -1, math.inf, -1, math.inf, math.inf
        for other in range(gpus):
            if not state.numbers[other, at.ACTIVE]:
                idle = other if idle < 0 else idle
            elif state.times[other, at.NOW] < now_s:
                gpu, now_s = other, state.times[other, at.NOW]
            if rules.closed and gpus > 1 and state.numbers[other, at.ACTIVE]:
                first_s = state.times[other, at.FIRST_END]
                if first_s < end_s:
                    ending, end_s, next_end_s = other, first_s, end_s
                else:
                    next_end_s = min(next_end_s, first_s)
        coming_row = coming(ask) if rules.closed else arrived if arrived < len(arrival_s) else -1
        until_s = arrival_s[coming_row] if coming_row >= 0 else math.inf
        leaves_s = next_s(ask, state) if rules.cancel else math.inf
        if rules.cancel and leaves_s < until_s and leaves_s <= now_s:
            cancel(ask, lines, state, rules)
            continue
        if until_s <= now_s and until_s < math.inf:
            if rules.closed:
                come(coming_row, ask)
                heard(gpus, lines, state)
            if rules.cancel and ask.cancel_s[coming_row] <= until_s:
                state.numbers[0, at.CANCELLED] += 1
            else:
                route(coming_row, arrived, idle, ask, lines, state, rules)
            arrived += 1
            if arrived == ask.known[SERVED] and len(lines.room) > 0 and rules.asks:
                close(until_s, lines, state)
            continue
        if gpu < 0:
            if rules.closed and rules.asks and last_call(arrived, lines, state):
                continue
            return left_over(ask, lines, state, rules)
        if rules.closed == 0 and rules.routing == IN_TURN and gpus > 1:  # the others' arrivals do not matter
            until = arrived + (gpu - arrived) % gpus
            until_s = arrival_s[until] if until < len(arrival_s) else math.inf
        until_s = min(until_s, leaves_s)
        n, owner = state.numbers[gpu], state.numbers[own(gpu, rules)]
        if rules.cache and n[at.DUE_SEATS] > 0:
            free_ended(gpu, ask, state, rules)
        settle(n, owner, rules)
        if rules.control and n[at.STEP] >= n[at.TICK]:
            tick(gpu, state, rules)
        decodes, joins, preempted = compose(gpu, ask, lines, state, rules, decide, key)
        if rules.closed:  # whose arrival is not known yet comes no sooner than another GPU gives an answer
            if rules.asks:
                coming_row = coming(ask)
                until_s = arrival_s[coming_row] if coming_row >= 0 else math.inf
            until_s = min(until_s, next_end_s if ending == gpu else end_s)
            if rules.priority and rules.routing == SHARED and owner[at.WAITING] > 0:
                until_s = -math.inf  # they may be short
            heard(1, lines, state)
        if rules.spread:
            left -= decodes
        if rules.asks:
            if lines.answer[2] != 0:
                return BAD_DECISION
            if rules.routing == SHARED and owner[at.WAITING] > 0:
                rouse(now_s, owner[at.EVENTS], state)
        if decodes == 0 and state.shape[N_DECODES] == 0.0 and state.shape[CHUNKS] == 0.0:
            # Who has taken memory looks once more: alone when the next request comes, which may be for another GPU.
            if preempted == 0 or (coming_row >= 0 and gpus == 1) or state.times[gpu, at.PENDING] > 0.0:
                rest(n, state.times[gpu], rules)
        elif move(gpu, decodes, joins, preempted, until_s, ask, state, rules, law, law_params) != DONE:
            return BAD_TIME
    state.progress[ARRIVED] = arrived
    return ENDLESS if endless(state) else MORE


def kernel(rules: StepRules) -> Callable[..., int]:
    """The loop to compile for these rules: what is used often has one of its own, all else the one with all rules."""
    options = {name: getattr(rules, name) for name in rules._fields[NEEDED:]}
    if {name for name, value in options.items() if value} not in OFTEN:
        return loop
    plain = all(getattr(rules, name) == off for name, off in PLAIN.items())
    return specialised(loop, "rules", **options, **(PLAIN if plain else {}))


OFTEN = (set(), {"closed"}, {"cache"}, {"cache", "closed"}, {"priority", "several"})
PLAIN = {"keyed": 0, "spread": 0, "control": 0, "reuse": 0, "share": 0, "timeout_s": math.inf}


for _rare in (longest,):
    _rare.inlined = False
loop.vectorised = False  # its loops go from event to event; to find that out takes the compiler half a second


@one_at_a_time
@functools.cache
def signatures() -> SimpleNamespace:
    """Numba types of everything that crosses into the loop; a rule and its key are those of `engine.batches`."""
    from numba import types

    kinds = batches.signatures()
    ints, floats, links = types.int64[::1], types.float64[::1], types.int32[::1]
    table, cube, grid = types.float64[:, ::1], types.float64[:, :, ::1], types.int64[:, ::1]
    counts, records = types.int32[:, ::1], types.int32[:, :, ::1]
    arrival_s, *of_chains = chains.kinds()
    of_table = [arrival_s] + [ints] * 5 + [links] * 3 + [ints] * 3 + [links, types.uint32[::1]]
    ask = types.NamedTuple(of_table + of_chains + [ints, floats, ints], Ask)
    lines = types.NamedTuple(
        [grid] * 4 + [ints] + [grid] * 2 + [floats, cube, table, floats, table, ints, floats], Lines
    )
    kinds_of_rules = [getattr(types, f"{kind.__name__}64") for kind in get_type_hints(StepRules).values()]
    rules = types.NamedTuple(kinds_of_rules, StepRules)
    first = [grid, table, grid, grid, ints, floats, ints, floats, ints, cube, cube]
    of_requests = [links] * 3 + [ints, links, ints, links, links] + [counts] * 3 + [records, counts, records, links]
    others = [table, table, cube, ints, counts, links, links, links, grid, grid, ints]
    state = types.NamedTuple(first + of_requests + [floats] * 3 + others, State)
    law = types.float64(floats, floats)
    functions = [types.FunctionType(kind) for kind in (law, kinds.decide, kinds.key)]
    loop = types.int64(ask, lines, state, rules, functions[0], floats, functions[1], functions[2])
    return SimpleNamespace(law=law, decide=kinds.decide, key=kinds.key, loop=loop)
