"""What goes into a step of continuous batching: whose blocks grow, who loses its memory, whose prompt is prefilled."""

from __future__ import annotations

import math

import numpy as np

from simlib.continuous.state import (
    ABANDONED,
    CAP,
    CHUNKED,
    COMPUTED,
    DECODES,
    FIRST,
    FREED,
    FRESH,
    LAST_BIN,
    NEWEST,
    NOW,
    OFFSETS,
    PARTIAL,
    PENDING,
    PREEMPTIONS,
    RECOMPUTED,
    REQUEST_MASK,
    REQUESTS,
    RESUMED,
    ROOM,
    SEATS,
    SHARED,
    STEP,
    TOKENS,
    USED,
    Ask,
    State,
    StepRules,
    held,
    kept,
    leave,
    lent,
    routed,
    take,
    unlink,
)
from simlib.engine.shapes import CHUNKS, CONTEXT, N_DECODES, PREFILL, PREFILL_CONTEXT, SQUARES
from simlib.policies.orders import FAIR, LONGEST_BIN, NEXT_BIN, SHORTEST, aged_key_s


def preempt(request: int, gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> None:
    """Take the memory of the newest sequence; it waits at the head of its GPU's line, to be computed again."""
    n = state.numbers[gpu]
    tokens = known = n[COMPUTED]
    if request == n[PARTIAL]:
        n[PARTIAL] = -1
    else:
        heap, place = state.heap[gpu], 0
        while heap[place] & REQUEST_MASK != request:
            place += 1
        key = heap[place] >> 32
        take(heap, n[DECODES], place)
        state.done[request] = ask.output_tokens[request] - (key - n[STEP])
        tokens = known = ask.prompt_tokens[request] + state.done[request] - 1
        if n[FRESH] == 0:  # it decodes in the step in flight, whose token is not known yet
            known -= rules.two
        offset = tokens - n[STEP]
        n[DECODES] -= 1
        n[OFFSETS] -= offset
        n[FRESH] = max(n[FRESH] - 1, 0)
        if not rules.reserve:
            state.growth[gpu, -offset & ((1 << rules.bits) - 1)] -= 1
        state.completion_s[request] = now_s + state.times[gpu, PENDING]  # its last token, until there is a later one
    blocks = held(request, tokens, ask, rules)
    n[USED] -= blocks
    n[FREED] += blocks
    if rules.reuse:
        state.place[request] = n[FREED] + rules.blocks
        state.filled[request] = max((known >> rules.bits) - lent(request, ask, rules), 0)
    n[SEATS] -= 1
    n[PREEMPTIONS] += 1
    n[RECOMPUTED] += tokens
    unlink(request, n, state)
    state.follows[request] = n[RESUMED]
    n[RESUMED] = request


def grow(gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> bool:
    """Take the blocks that the next decode step needs, from the newest sequences if none are left; whether so."""
    n, need, enough = state.numbers[gpu], state.growth[gpu], True
    place = n[STEP] & ((1 << rules.bits) - 1)
    while need[place] > rules.blocks - n[USED]:
        enough = False
        preempt(n[NEWEST], gpu, now_s, ask, state, rules)
    n[USED] += need[place]
    return not enough


def expire(line: int, gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> None:
    """Strike out who has waited for longer than a client does."""
    while state.length[line] > 0 and now_s - ask.arrival_s[state.first[line]] > rules.timeout_s:
        n = state.numbers[gpu]
        request = state.first[line]
        n[ABANDONED] += 1
        if rules.routing != SHARED:
            n[REQUESTS] -= 1
            n[TOKENS] -= routed(request, ask)
        leave(line, state)


def choose(gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> int:
    """The line whose first request is next: -1 for those to be resumed, -2 for none."""
    n = state.numbers[gpu]
    if n[RESUMED] >= 0:
        return -1
    base = 0 if rules.routing == SHARED else gpu * rules.bins
    best, bin, least = -2, state.numbers[0 if rules.routing == SHARED else gpu, LAST_BIN], math.inf
    for _ in range(rules.bins):
        bin = bin + 1 if bin + 1 < rules.bins else 0
        line = base + bin
        if rules.timeout_s < math.inf:
            expire(line, gpu, now_s, ask, state, rules)
        if state.length[line] == 0:
            continue
        if rules.selection == NEXT_BIN:
            return line
        if rules.selection == FAIR:
            better = best < 0 or (state.counters[line], line) < (state.counters[best], best)
        elif rules.selection == LONGEST_BIN:
            better = best < 0 or (state.length[line], -line) > (state.length[best], -best)
        elif rules.selection == SHORTEST:
            head = state.first[line]
            key = aged_key_s(ask.arrival_s[head], ask.expected_tokens[head], rules.seconds_per_token)
            better = best < 0 or key < least or (key == least and head < state.first[best])
            least = key if better else least
        else:
            better = best < 0 or state.first[line] < state.first[best]
        if better:
            best = line
    return best


def start(line: int, gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> int:
    """Give the first request of a line a seat."""
    n = state.numbers[gpu]
    if line < 0:
        request = n[RESUMED]
        n[RESUMED] = state.follows[request]
    else:
        request = state.first[line]
        leave(line, state)
        if rules.selection == FAIR:
            state.counters[line] += ask.prompt_tokens[request] + rules.output_weight * ask.expected_tokens[request]
            state.counters[len(state.counters) - 1] = state.counters[line]
        if rules.routing == SHARED:
            state.numbers[0, LAST_BIN] = line
            n[REQUESTS] += 1
        else:
            n[LAST_BIN] = line - gpu * rules.bins
        state.start_s[request] = now_s
        state.gpu[request] = gpu
    state.follows[request] = -1
    state.precedes[request] = n[NEWEST]
    if n[NEWEST] >= 0:
        state.follows[n[NEWEST]] = request
    n[NEWEST] = request
    n[SEATS] += 1
    return request


def chunk(computed: int, tokens: int, shape: np.ndarray) -> None:
    """Add the next tokens of a prompt to the step's shape."""
    shape[PREFILL] += tokens
    shape[CHUNKS] += 1.0
    shape[SQUARES] += float(tokens) * tokens
    shape[PREFILL_CONTEXT] += float(tokens) * computed


def prefill(gpu: int, now_s: float, decodes: int, admit: bool, ask: Ask, state: State, rules: StepRules) -> int:
    """Fill the step with prompts: the one begun, then those that wait; how many are complete (`joined`)."""
    n, shape, complete = state.numbers[gpu], state.shape, 0
    budget = n[ROOM] - decodes
    if n[PARTIAL] >= 0 and budget > 0:
        request, computed = n[PARTIAL], n[COMPUTED]
        total = ask.prompt_tokens[request] + state.done[request]
        tokens = min(total - computed, budget)
        more = held(request, computed + tokens, ask, rules) - held(request, computed, ask, rules)
        if more > rules.blocks - n[USED]:
            preempt(request, gpu, now_s, ask, state, rules)
            return complete
        n[USED] += more
        chunk(computed, tokens, shape)
        budget -= tokens
        n[COMPUTED] += tokens
        if n[COMPUTED] == total:
            n[PARTIAL] = -1
            state.joined[complete] = request
            complete += 1
    while admit and budget > 0 and n[SEATS] < n[CAP] and n[PARTIAL] < 0:
        line = choose(gpu, now_s, ask, state, rules)
        if line == -2:
            break
        request = n[RESUMED] if line < 0 else state.first[line]
        total = ask.prompt_tokens[request] + state.done[request]
        cached = ask.cached_tokens[request] if len(ask.cached_tokens) > 0 else 0
        again = kept(request, gpu, state, rules) if line < 0 and rules.reuse else 0
        computed = max(cached, (again + lent(request, ask, rules)) << rules.bits) if again > 0 else cached
        tokens = total - computed
        if tokens > budget:
            if rules.prefill == CHUNKED:
                tokens = budget
            elif shape[CHUNKS] > 0.0:  # a prompt longer than the budget goes alone
                break
        take_now = held(request, computed + tokens, ask, rules)
        wanted = held(request, total, ask, rules) if rules.whole else take_now
        if n[SEATS] > 0:
            wanted += rules.watermark
        if wanted > rules.blocks - n[USED]:
            break
        start(line, gpu, now_s, ask, state, rules)
        n[USED] += take_now
        n[FREED] -= again  # they leave the middle of the line
        n[RECOMPUTED] -= computed if line < 0 else 0
        chunk(computed, tokens, shape)
        budget -= tokens
        if computed + tokens < total:
            n[PARTIAL], n[COMPUTED] = request, computed + tokens
        else:
            state.joined[complete] = request
            complete += 1
    return complete


def compose(gpu: int, ask: Ask, state: State, rules: StepRules) -> tuple[int, int, int]:
    """Compose a GPU's next step in `shape`; how many decode in it, prompts end in it, lost their memory for it."""
    n, shape, now_s = state.numbers[gpu], state.shape, state.times[gpu, NOW]
    before = n[PREEMPTIONS]
    for column in range(len(shape)):
        shape[column] = 0.0
    preempted, first, decodes = False, rules.prefill == FIRST, 0
    if not first:
        preempted = grow(gpu, now_s, ask, state, rules)
        decodes = n[DECODES]
    joins = prefill(gpu, now_s, decodes, not preempted, ask, state, rules)
    if first and shape[CHUNKS] == 0.0:
        grow(gpu, now_s, ask, state, rules)
        decodes = n[DECODES]
    shape[N_DECODES] = decodes
    shape[CONTEXT] = n[OFFSETS] + decodes * (n[STEP] + 1) if decodes > 0 else 0
    return decodes, joins, n[PREEMPTIONS] - before


for _rare in (preempt, expire):
    _rare.inlined = False
