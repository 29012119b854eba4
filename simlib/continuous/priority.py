"""Priorities: the most urgent request is admitted first, the least urgent one that runs loses its memory.

A line is a binary heap by `Ask.urgency` then. Running sequences are given their blocks in the order in which they were
admitted; whoever is the victim of its own need ends the step's composition: those behind it pause for a step.
"""

from __future__ import annotations

import numpy as np

from simlib.checks import InputError
from simlib.continuous import columns as at
from simlib.continuous.running.retire import retire
from simlib.continuous.state import (
    INSTANTS,
    LAST,
    REQUEST_MASK,
    Ask,
    Lines,
    State,
    StepRules,
    cached,
    ending,
    extra,
    join,
    over,
    push,
    stored,
    take,
)
from simlib.requests.table import RequestTable

PAUSED = -2  # less the number of the step: `State.computed` of a sequence that pauses in it
TIES = 32  # bits of `urgency` for the order among requests of one priority and arrival


def urgency(table: RequestTable) -> np.ndarray:
    """Rank of each request by priority (lower first), then by arrival, then by its number as text, as engines do."""
    order = np.lexsort((table.arrival_s, table.priority))
    tied = (np.diff(table.priority[order]) == 0) & (np.diff(table.arrival_s[order]) == 0)
    rank = np.empty(len(table), np.int64)
    rank[order] = np.append(0, np.cumsum(~tied)) << TIES
    rows = np.sort(order[np.append(tied, False) | np.append(False, tied)])
    rank[rows[np.argsort(rows.astype(str))]] |= np.arange(len(rows))
    return rank


def levels_of(table: RequestTable) -> np.ndarray:
    """`urgency` of requests of which nobody knows when they arrive: `note_instant` adds it.

    Raises
    ------
    InputError
        If there are too many priorities for one number a request.
    """
    levels, priority = np.unique(table.priority, return_inverse=True)
    bits = len(table).bit_length()
    if len(levels) > 1 << (63 - TIES - bits):
        most = 1 << (63 - TIES - bits)
        raise InputError(
            f"priority: {len(levels)} different ones (expected at most {most} where requests wait for answers)"
        )
    rank = np.empty(len(table), np.int64)
    rank[np.argsort(np.arange(len(table)).astype(str))] = np.arange(len(table))
    return (priority.reshape(-1).astype(np.int64) << (TIES + bits)) | rank


def note_instant(request: int, ask: Ask, state: State) -> None:
    """Let a request that arrives come after those of its priority that came before."""
    last = state.progress[LAST]
    if last < 0 or ask.arrival_s[last] < ask.arrival_s[request]:
        state.progress[INSTANTS] += 1
    state.progress[LAST] = request
    ask.urgency[request] += (state.progress[INSTANTS] - 1) << TIES


def queue(row: int, line: int, request: int, ask: Ask, lines: Lines, state: State, rules: StepRules) -> None:
    """Let a request join a line by its urgency."""
    if rules.closed:
        note_instant(request, ask, state)
    join(row, line, request, lines, state, rules)
    order, head, place = lines.order, lines.head[row, line], lines.tail[row, line] - 1
    while place > head:
        above = head + ((place - head - 1) >> 1)
        if ask.urgency[order[above]] <= ask.urgency[request]:
            break
        order[place] = order[above]
        place = above
    order[place] = request


def unqueue(row: int, line: int, ask: Ask, lines: Lines, state: State) -> None:
    """Take the most urgent request out of a line."""
    lines.tail[row, line] -= 1
    state.numbers[row, at.WAITING] -= 1
    order, head, size = lines.order, lines.head[row, line], lines.tail[row, line] - lines.head[row, line]
    last, place = order[head + size], 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and ask.urgency[order[head + child + 1]] < ask.urgency[order[head + child]]:
            child += 1
        if ask.urgency[order[head + child]] >= ask.urgency[last]:
            break
        order[head + place] = order[head + child]
        place = child
    order[head + place] = last


def pause(request: int, n: np.ndarray, ask: Ask, state: State) -> None:
    """Let a sequence that lost its memory wait, the most urgent one first."""
    before, after = -1, n[at.RESUMED]
    while after >= 0 and ask.urgency[after] < ask.urgency[request]:
        before, after = after, state.follows[after]
    state.follows[request] = after
    if before < 0:
        n[at.RESUMED] = request
    else:
        state.follows[before] = request


def least_urgent(gpu: int, ask: Ask, state: State) -> int:
    """Who runs and has the last right to it: of lowest priority, of these who came last."""
    n = state.numbers[gpu]
    request = found = n[at.NEWEST]
    while request >= 0:
        ended = over(request, state) and not ending(request, n, state)
        if not ended and ask.urgency[request] >> TIES >= ask.urgency[found] >> TIES:
            found = request
        request = state.precedes[request]
    return found


def needs(request: int, n: np.ndarray, ask: Ask, state: State, rules: StepRules) -> bool:
    """Whether a sequence needs a block for its next token."""
    if state.computed[request] >= 0 or over(request, state) or rules.reserve:
        return False
    return cached(request, n, ask, state, rules) & ((1 << rules.bits) - 1) == 0


def spare(request: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """A sequence that would pause before its last token is known, which comes with the step in flight, has ended."""
    n, t, heap, place, total = state.numbers[gpu], state.times[gpu], state.heap[gpu], 0, stored(request, ask)
    while heap[place] & REQUEST_MASK != request:
        place += 1
    take(heap, n[at.DECODES], place)
    n[at.DECODES] -= 1
    n[at.OFFSETS] -= total - n[at.STEP]
    if not rules.reserve:
        state.growth[gpu, (n[at.STEP] - total) & ((1 << rules.bits) - 1)] -= 1
    n[at.HELD] -= 1
    n[at.HELD_CONTEXT] -= total
    state.completion_s[request] = t[at.NOW] + t[at.PENDING]
    retire(request, total, total, gpu, ask, state, rules)


def paused(request: int, n: np.ndarray, state: State) -> bool:
    """Whether a sequence pauses in the step that was composed last."""
    return state.computed[request] == PAUSED - (n[at.STEPS] - 1)


def hold(request: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Let this sequence and those admitted after it pause for a step: their last decode step is one later."""
    n, growth, mask = state.numbers[gpu], state.growth[gpu], (1 << rules.bits) - 1
    first = request
    while request >= 0:
        if state.computed[request] < 0 and not over(request, state):
            n[at.HELD] += 1
            n[at.HELD_CONTEXT] += cached(request, n, ask, state, rules)
            if not paused(request, n, state):  # its last token, until there is a later one
                state.completion_s[request] = state.times[gpu, at.NOW] + state.times[gpu, at.PENDING]
            state.computed[request] = PAUSED - n[at.STEPS]
            if extra(request, ask, rules) and state.ends[request] == n[at.STEP] + 1:
                spare(request, gpu, ask, state, rules)
        request = state.follows[request]
    request = first if n[at.HELD] < n[at.DECODES] else -1  # else there is no decode step
    while request >= 0:
        if state.computed[request] < 0 and not over(request, state):
            heap, place, offset = state.heap[gpu], 0, cached(request, n, ask, state, rules) - n[at.STEP]
            while heap[place] & REQUEST_MASK != request:
                place += 1
            take(heap, n[at.DECODES], place)
            state.ends[request] += 1
            push(heap, n[at.DECODES] - 1, state.ends[request] << 32 | request)
            n[at.OFFSETS] -= 1
            if not rules.reserve:
                growth[-offset & mask] -= 1
                growth[(1 - offset) & mask] += 1
        request = state.follows[request]


for _rare in (queue, unqueue, pause, least_urgent, needs, spare, paused, hold):
    _rare.inlined = False
