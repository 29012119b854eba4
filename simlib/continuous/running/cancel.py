"""Clients that are gone: their requests leave their lines, or give back seat and memory at the next boundary.

As in an engine, between two steps: before those that end in the step that has just run, so that its tokens come too
late for whoever left while it ran. What is in flight is computed in vain.
"""

from __future__ import annotations

import math

from simlib.continuous import columns as at
from simlib.continuous.compose import drop
from simlib.continuous.prefix import free
from simlib.continuous.router import withdraw as forget
from simlib.continuous.running.victims import vacate
from simlib.continuous.state import (
    LEAST_TOKENS,
    PREFIX_COST,
    Ask,
    Lines,
    State,
    StepRules,
    ending,
    extra,
    give_back,
    held,
    lent,
    over,
    own,
    routed,
    stored,
    unlink,
)


def next_s(ask: Ask, state: State) -> float:
    """When the next client is gone."""
    return ask.cancel_s[ask.leaving[state.gone[0]]] if state.gone[0] < len(ask.leaving) else math.inf


def cancel(ask: Ask, lines: Lines, state: State, rules: StepRules) -> None:
    """The next client is gone."""
    request = ask.leaving[state.gone[0]]
    state.gone[0] += 1
    gone_s, gpu = ask.cancel_s[request], state.gpu[request]
    if gpu < 0:
        for row in range(len(lines.head)):
            if withdraw(row, request, ask, lines, state, rules):
                state.numbers[row, at.CANCELLED] += 1
                return
        return
    n = state.numbers[gpu]
    if over(request, state):
        if state.completion_s[request] <= gone_s:
            return
        if rules.two or rules.cache:
            recall(request, gpu, ask, state, rules)
    elif not forgotten(request, n, state):
        vacate(request, 0, True, gpu, state.times[gpu, at.NOW], ask, state, rules)
        n[at.SEATS] -= 1
        bury(request, gpu, ask, state, rules)
    else:
        bury(request, gpu, ask, state, rules)
    state.completion_s[request] = math.nan
    if state.first_token_s[request] > gone_s:
        state.first_token_s[request] = math.nan
    n[at.CANCELLED] += 1
    state.numbers[own(gpu, rules), at.EVENTS] += 1


def bury(request: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """A GPU has a request less."""
    state.numbers[gpu, at.REQUESTS] -= 1
    state.numbers[gpu, at.TOKENS] -= routed(request, ask)
    if rules.cache and rules.routing == PREFIX_COST and not over(request, state):  # else it hears of the end
        forget(request, gpu, ask, state, rules)


def withdraw(row: int, request: int, ask: Ask, lines: Lines, state: State, rules: StepRules) -> bool:
    """Take a request out of its line, if it waits in this row; whether so."""
    line, order = ask.line_of[request] if len(ask.line_of) > 0 else 0, lines.order
    head, place = lines.head[row, line], lines.head[row, line]
    while place < lines.tail[row, line] and order[place] != request:
        place += 1
    if place == lines.tail[row, line]:
        return False
    while place > head:  # to the head of the line
        above = head + ((place - head - 1) >> 1) if rules.priority else place - 1
        order[place] = order[above]
        place = above
    order[head] = request
    drop(row, line, 1, ask.cancel_s[request], ask, lines, state, rules)
    state.numbers[row, at.EVENTS] += 1
    return True


def forgotten(request: int, n: list[int], state: State) -> bool:
    """Take a request out of the line of those that lost their memory, if it is there; whether so."""
    before, other = -1, n[at.RESUMED]
    while other >= 0 and other != request:
        before, other = other, state.follows[other]
    if other < 0:
        return False
    if before < 0:
        n[at.RESUMED] = state.follows[request]
    else:
        state.follows[before] = state.follows[request]
    return True


def recall(request: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Take a sequence whose last step is composed, but did not end in time, from those that would leave with it."""
    n, later, more = state.numbers[gpu], ending(request, state.numbers[gpu], state), extra(request, ask, rules)
    decoded = (-1 - state.done[request]) & 1
    total = known = stored(request, ask)
    if more:
        total, known = total + decoded, known - int(decoded == 0)
    elif rules.two:
        known -= decoded
    linked = n[at.NEWEST]
    while linked >= 0 and linked != request:
        linked = state.precedes[linked]
    blocks, full = held(request, total, ask, rules), 0
    if rules.reuse:
        full = ((total - (more & decoded)) >> rules.bits) - lent(request, ask, rules)
    if linked < 0:  # it has lost its memory
        blocks = full = 0
    tokens = routed(request, ask) if rules.routing == LEAST_TOKENS else 0
    seats, due, fulls, due_tokens = at.DUE_SEATS, at.DUE_BLOCKS, at.DUE_FULL, at.DUE_TOKENS
    if later:
        seats, due, fulls, due_tokens = at.LATER_SEATS, at.LATER_BLOCKS, at.LATER_FULL, at.LATER_TOKENS
    n[seats] -= 1
    n[due] -= blocks
    n[fulls] -= full
    n[due_tokens] -= tokens
    n[at.SEATS] -= 1
    bury(request, gpu, ask, state, rules)
    if linked < 0:
        return
    unlink(request, n, state)
    if rules.cache:
        free(request, total, known, gpu, ask, state, rules)
    else:
        give_back(blocks, max((known >> rules.bits) - lent(request, ask, rules), 0), n, rules)


for _rare in (cancel, withdraw, forgotten, recall):
    _rare.inlined = False
