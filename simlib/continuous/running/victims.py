"""Who loses its memory: the newest of those that run, or the least urgent one, for the next step of those before it."""

from __future__ import annotations

from simlib.continuous import columns as at
from simlib.continuous.prefix import free, remember
from simlib.continuous.priority import PAUSED, hold, least_urgent, needs, pause, paused
from simlib.continuous.running.chunks import advance, advance_all, blocks_for, forget, needed, place_of, portion
from simlib.continuous.running.line import evict
from simlib.continuous.running.retire import retire
from simlib.continuous.state import (
    REQUEST_MASK,
    Ask,
    State,
    StepRules,
    ending,
    extra,
    give_back,
    held,
    lent,
    oldest,
    over,
    settled,
    stored,
    take,
    unlink,
)

MOST_PREEMPTIONS = 1_000_000


def release(request: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> bool:
    """Take the memory of a sequence if all of its steps are composed: of one that still ends; whether so."""
    n = state.numbers[gpu]
    if not over(request, state):
        return False
    unlink(request, n, state)
    if ending(request, n, state):  # others have ended, and given theirs back
        total = stored(request, ask)
        blocks, shared = held(request, total, ask, rules), lent(request, ask, rules)
        known = total - ((-1 - state.done[request]) & 1)  # a decode's token is not known yet
        if rules.cache:
            free(request, total, known, gpu, ask, state, rules)
        else:
            give_back(blocks, max((known >> rules.bits) - shared, 0), n, rules)
        n[at.LATER_BLOCKS] -= blocks
        n[at.LATER_FULL] -= (total >> rules.bits) - shared
        n[at.PREEMPTIONS] += 1
    return True


def preempt(request: int, served: int, gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> None:
    """Take the memory of a sequence; it waits at the head of its GPU's line, to be computed again.

    `served`: whether one that decodes has its block for the next step already, where what it writes could be found.
    """
    n = state.numbers[gpu]
    n[at.PREEMPTIONS] += 1
    tokens = vacate(request, served, False, gpu, now_s, ask, state, rules)
    if tokens < 0:  # its last token comes with the step in flight
        retire(request, 0, 0, gpu, ask, state, rules)
        return
    n[at.RECOMPUTED] += tokens
    n[at.SEATS] -= 1
    if rules.priority:
        pause(request, n, ask, state)
    else:
        state.follows[request] = n[at.RESUMED]
        n[at.RESUMED] = request


def vacate(
    request: int, served: int, leaves: bool, gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules
) -> int:
    """Take a sequence that runs from its place, and its memory: tokens that it had; below 0: all of them are composed.

    `leaves`: between two steps, not because another one has no room.
    """
    n, in_vain, dropped = state.numbers[gpu], False, 0
    if rules.answers:
        remember(1, gpu, ask, state, rules)
    tokens = known = n[at.COMPUTED]
    if rules.several and state.computed[request] >= 0:
        tokens = known = state.computed[request]
        place = place_of(request, gpu, state)
        dropped = state.portion[gpu, place]  # it will not be computed
        forget(place, gpu, state)
        served = 0
    elif request == n[at.PARTIAL]:
        n[at.PARTIAL] = -1
    else:
        heap, place = state.heap[gpu], 0
        while heap[place] & REQUEST_MASK != request:
            place += 1
        key = heap[place] >> 32
        take(heap, n[at.DECODES], place)
        more = extra(request, ask, rules)
        state.done[request] = max(ask.output_tokens[request], 1) - (key - n[at.STEP] - more)
        in_vain = more == key - n[at.STEP]
        tokens = known = ask.prompt_tokens[request] + state.done[request] - 1
        stays = rules.several and paused(request, n, state)
        pending_s = 0.0 if stays else state.times[gpu, at.PENDING]
        if rules.two and pending_s > 0.0 and state.completion_s[request] <= now_s:
            rested = rules.several and state.computed[request] == PAUSED - (n[at.STEPS] - 2)
            known -= int(served == 1 or not rested)  # it decodes in the step in flight, of a token that is unknown yet
        offset = tokens - n[at.STEP]
        n[at.DECODES] -= 1
        n[at.OFFSETS] -= offset
        n[at.FRESH] = max(n[at.FRESH] - 1, 0)
        if not rules.reserve:
            state.growth[gpu, -offset & ((1 << rules.bits) - 1)] -= 1
        if (rules.reuse or rules.cache) and not rules.several and not leaves:
            outlive(gpu, ask, state, rules)
        if not stays:
            state.completion_s[request] = now_s + pending_s  # its last token, until there is a later one
    computed = -1 if in_vain else tokens - dropped
    if rules.several:
        tokens, known = tokens + served, known + served
    blocks = held(request, tokens, ask, rules)
    filled = 0
    if rules.reuse:
        filled = max((known >> rules.bits) - lent(request, ask, rules), 0)
        state.filled[request] = filled
        state.place[request] = n[at.FREED] + filled
    if rules.cache:
        free(request, tokens, known, gpu, ask, state, rules)
    else:
        give_back(blocks, filled, n, rules)
    unlink(request, n, state)
    return computed


def endless(state: State) -> bool:
    """Whether on a GPU sequences take each other's memory, a million times since somebody has come or ended."""
    found, events = False, 0
    for gpu in range(len(state.numbers)):
        events += state.numbers[gpu, at.EVENTS]
    for gpu in range(len(state.numbers)):
        n = state.numbers[gpu]
        if n[at.LAST_EVENTS] != events:
            n[at.LAST_EVENTS], n[at.LAST_PREEMPTIONS] = events, n[at.PREEMPTIONS]
        found |= n[at.PREEMPTIONS] - n[at.LAST_PREEMPTIONS] > MOST_PREEMPTIONS
    return found


def outlive(gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """If all but the newest have room, it is its own victim: they have taken their blocks before it gives its own."""
    n = state.numbers[gpu]
    ahead = state.growth[gpu, n[at.STEP] & ((1 << rules.bits) - 1)]
    if ahead <= rules.blocks - n[at.USED]:
        n[at.USED] += ahead
        if rules.reuse:
            settled(n, rules)
        else:
            evict(gpu, ask, state, rules)
        n[at.USED] -= ahead


def grow(gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> bool:
    """Take the blocks that the next decode step needs, from the newest sequences if none are left; whether so."""
    n, need, enough = state.numbers[gpu], state.growth[gpu], True
    place = n[at.STEP] & ((1 << rules.bits) - 1)
    if rules.several:
        budget = n[at.ROOM] - n[at.DECODES]
        if need[place] + needed(gpu, budget, ask, state, rules) > rules.blocks - n[at.USED]:
            contend(gpu, now_s, ask, state, rules)
            return True
        advance_all(gpu, budget, ask, state, rules)
    while need[place] > rules.blocks - n[at.USED]:
        enough = False
        if not release(n[at.NEWEST], gpu, ask, state, rules):
            preempt(n[at.NEWEST], 0, gpu, now_s, ask, state, rules)
    n[at.USED] += need[place]
    return not enough


def contend(gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> None:
    """Give the blocks of the next step to one after the other, from the newest or least urgent one if none are left."""
    n = state.numbers[gpu]
    budget = n[at.ROOM]
    for place in range(n[at.BEGUN]):
        state.portion[gpu, place] = 0
    request = oldest(n, state)
    while request >= 0:
        tokens, blocks = int(not over(request, state)), int(needs(request, n, ask, state, rules))
        if state.computed[request] >= 0:
            tokens = portion(request, budget, n, ask, state)
            blocks = blocks_for(request, tokens, ask, state, rules)
        while blocks > rules.blocks - n[at.USED]:
            victim, after = n[at.NEWEST], state.follows[request]
            if rules.priority:
                victim = least_urgent(gpu, ask, state)
            budget += strip(victim, int(precedes(victim, request, state)), gpu, now_s, ask, state, rules)
            if victim == request:
                hold(after, gpu, ask, state, rules)
                return
        if state.computed[request] >= 0:
            advance(request, tokens, gpu, ask, state, rules)
        else:
            n[at.USED] += blocks
        budget -= tokens
        request = state.follows[request]


def precedes(request: int, other: int, state: State) -> bool:
    """Whether a sequence was admitted before another one of those that run."""
    other = state.precedes[other]
    while other >= 0 and other != request:
        other = state.precedes[other]
    return other >= 0


def strip(victim: int, served: int, gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> int:
    """Take a sequence's memory, and what it was given for this step already, if it was: the tokens of that."""
    tokens = served
    if served and state.computed[victim] >= 0:
        tokens = state.portion[gpu, place_of(victim, gpu, state)]
    if release(victim, gpu, ask, state, rules):
        return 0
    preempt(victim, served, gpu, now_s, ask, state, rules)
    return tokens


for _rare in (release, preempt, vacate, endless, outlive, contend, precedes, strip):
    _rare.inlined = False
