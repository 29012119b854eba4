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
from typing import NamedTuple

import numpy as np

from simlib.compiled import uncounted

__all__ = ["NUMBERS", "SHAPE", "TIMES", "Ask", "Rules", "State", "loop", "signatures"]


class Ask(NamedTuple):
    """What is asked: the table's columns, and the bin of each request.

    `expected_tokens` are the outputs that a router reckons with; no `cached_tokens` and no `bin_of`: all are 0.
    """

    arrival_s: np.ndarray
    prompt_tokens: np.ndarray
    output_tokens: np.ndarray
    expected_tokens: np.ndarray
    cached_tokens: np.ndarray
    bin_of: np.ndarray


class Rules(NamedTuple):
    """The settings of `continuous.Continuous` as the loop reads them; memory in blocks of ``1 << bits`` tokens."""

    seats: int
    blocks: int
    bits: int
    watermark: int
    budget: int
    prefill: int
    two: int
    reserve: int
    whole: int
    routing: int
    bins: int
    selection: int
    linear: int
    spread: int
    timeout_s: float


FIRST, MIXED, CHUNKED = range(3)
SHARED, ROUND_ROBIN, LEAST_TOKENS, LEAST_REQUESTS = range(4)
NEXT_BIN, LONGEST_BIN, OLDEST_BIN = range(3)


class State(NamedTuple):
    """Where the run stands: a row a GPU of whole numbers, times and notes; a row a request of times and links.

    `follows` links the requests of a waiting list and, with `precedes`, those that run, by admission. `heap` holds
    ``decode step of the end << 32 | request``. `growth[gpu, r]` counts sequences that need a block at the decode
    steps r modulo a block. `gaps` is a histogram of the times between tokens.
    """

    numbers: np.ndarray
    times: np.ndarray
    heap: np.ndarray
    growth: np.ndarray
    joined: np.ndarray
    shape: np.ndarray
    gaps: np.ndarray
    series: np.ndarray
    steps: np.ndarray
    first: np.ndarray
    last: np.ndarray
    length: np.ndarray
    follows: np.ndarray
    precedes: np.ndarray
    done: np.ndarray
    gpu: np.ndarray
    start_s: np.ndarray
    first_token_s: np.ndarray
    completion_s: np.ndarray


NUMBERS = (
    "decodes",
    "offsets",
    "step",
    "seats",
    "used",
    "partial",
    "computed",
    "newest",
    "resumed",
    "due_seats",
    "due_blocks",
    "due_tokens",
    "later_seats",
    "later_blocks",
    "later_tokens",
    "requests",
    "tokens",
    "last_bin",
    "fresh",
    "active",
    "sampled",
    "stored",
    "steps",
    "sum_decodes",
    "sum_prefill",
    "sum_context",
    "preemptions",
    "recomputed",
    "peak",
    "abandoned",
)
(
    DECODES,
    OFFSETS,
    STEP,
    SEATS,
    USED,
    PARTIAL,
    COMPUTED,
    NEWEST,
    RESUMED,
    DUE_SEATS,
    DUE_BLOCKS,
    DUE_TOKENS,
    LATER_SEATS,
    LATER_BLOCKS,
    LATER_TOKENS,
    REQUESTS,
    TOKENS,
    LAST_BIN,
    FRESH,
    ACTIVE,
    SAMPLED,
    STORED,
    STEPS,
    SUM_DECODES,
    SUM_PREFILL,
    SUM_CONTEXT,
    PREEMPTIONS,
    RECOMPUTED,
    PEAK,
    ABANDONED,
) = range(len(NUMBERS))
TIMES = ("now_s", "pending_s", "since_s", "busy_s", "seat_s", "spread_tokens", "sample_s", "sample_gap_s")
NOW, PENDING, SINCE, BUSY, SEAT_TIME, SPREAD, SAMPLE, SAMPLE_GAP = range(len(TIMES))
SHAPE = ("decodes", "context_tokens", "longest_tokens", "prefill_tokens", "chunks", "squares", "prefill_context")
LOGGED = ("start_s", "time_s", "steps", "blocks", "seats", *SHAPE)  # the shape of the first one of a row's steps
N_DECODES, CONTEXT, LONGEST, PREFILL, CHUNKS, SQUARES, PREFILL_CONTEXT = range(len(SHAPE))
CONTEXT_SLOPE = 3  # where a linear law keeps the time that a token of context takes

REQUEST_MASK = (1 << 32) - 1
GAP_BINS, GAP_LOW, GAP_OCTAVES = 512, -20, 32  # bins an octave, from 2 ** -20 s
DONE, BAD_TIME = range(2)


def blocks_of(tokens: int, bits: int) -> int:
    """Blocks that hold these tokens."""
    return (tokens + (1 << bits) - 1) >> bits


def held(request: int, tokens: int, ask: Ask, rules: Rules) -> int:
    """Blocks of a sequence with these tokens in memory; with all of its tokens' from the start, if reserved."""
    if rules.reserve:
        tokens = ask.prompt_tokens[request] + max(ask.output_tokens[request] - 1, 0)
    return blocks_of(tokens, rules.bits)


def routed(request: int, ask: Ask) -> int:
    """Tokens of a request as a router counts them."""
    return ask.prompt_tokens[request] + ask.expected_tokens[request]


def push(heap: np.ndarray, size: int, value: int) -> None:
    """Add a value to a binary heap of `size` values."""
    place = size
    while place > 0 and heap[(place - 1) >> 1] > value:
        heap[place] = heap[(place - 1) >> 1]
        place = (place - 1) >> 1
    heap[place] = value


def take(heap: np.ndarray, size: int, place: int) -> None:
    """Remove the value at a place of a binary heap of `size` values."""
    value = heap[size - 1]
    while place > 0 and heap[(place - 1) >> 1] > value:
        heap[place] = heap[(place - 1) >> 1]
        place = (place - 1) >> 1
    child = 2 * place + 1
    while child < size - 1:
        if child + 1 < size - 1 and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place, child = child, 2 * child + 1
    heap[place] = value


def add_gaps(gaps: np.ndarray, gap_s: float, slope_s: float, count: int, weight: int) -> None:
    """Count gaps of ``gap_s, gap_s + slope_s, …`` between tokens, `weight` times each."""
    while count > 0:
        part, octave = math.frexp(gap_s)
        place = (octave - GAP_LOW) * GAP_BINS + int((2.0 * part - 1.0) * GAP_BINS)
        inside = count
        if slope_s > 0.0:
            upper_s = math.ldexp(0.5 + 0.5 * (int((2.0 * part - 1.0) * GAP_BINS) + 1) / GAP_BINS, octave)
            inside = int(min(float(count), (upper_s - gap_s) / slope_s + 1.0))
        gaps[min(max(place, 0), len(gaps) - 1)] += inside * weight
        gap_s += inside * slope_s
        count -= inside


def unlink(request: int, n: np.ndarray, state: State) -> None:
    """Take a request out of the list of those that run."""
    before, after = state.precedes[request], state.follows[request]
    if before >= 0:
        state.follows[before] = after
    if after >= 0:
        state.precedes[after] = before
    else:
        n[NEWEST] = before


def append(line: int, request: int, state: State) -> None:
    """Let a request join the end of a waiting list."""
    state.follows[request] = -1
    if state.length[line] == 0:
        state.first[line] = request
    else:
        state.follows[state.last[line]] = request
    state.last[line] = request
    state.length[line] += 1


def leave(line: int, state: State) -> None:
    """Take the first request of a waiting list away."""
    state.first[line] = state.follows[state.first[line]]
    state.length[line] -= 1


def settle(n: np.ndarray) -> None:
    """What has ended leaves its seat and its memory."""
    n[SEATS] -= n[DUE_SEATS]
    n[REQUESTS] -= n[DUE_SEATS]
    n[USED] -= n[DUE_BLOCKS]
    n[TOKENS] -= n[DUE_TOKENS]
    n[DUE_SEATS] = n[DUE_BLOCKS] = n[DUE_TOKENS] = 0


def preempt(request: int, gpu: int, now_s: float, ask: Ask, state: State, rules: Rules) -> None:
    """Take the memory of the newest sequence; it waits at the head of its GPU's line, to be computed again."""
    n = state.numbers[gpu]
    tokens = n[COMPUTED]
    if request == n[PARTIAL]:
        n[PARTIAL] = -1
    else:
        heap, place = state.heap[gpu], 0
        while heap[place] & REQUEST_MASK != request:
            place += 1
        key = heap[place] >> 32
        take(heap, n[DECODES], place)
        state.done[request] = ask.output_tokens[request] - (key - n[STEP])
        tokens = ask.prompt_tokens[request] + state.done[request] - 1
        offset = tokens - n[STEP]
        n[DECODES] -= 1
        n[OFFSETS] -= offset
        n[FRESH] = max(n[FRESH] - 1, 0)
        if not rules.reserve:
            state.growth[gpu, -offset & ((1 << rules.bits) - 1)] -= 1
        state.completion_s[request] = now_s + state.times[gpu, PENDING]  # its last token, until there is a later one
    n[USED] -= held(request, tokens, ask, rules)
    n[SEATS] -= 1
    n[PREEMPTIONS] += 1
    n[RECOMPUTED] += tokens
    unlink(request, n, state)
    state.follows[request] = n[RESUMED]
    n[RESUMED] = request


def grow(gpu: int, now_s: float, ask: Ask, state: State, rules: Rules) -> bool:
    """Take the blocks that the next decode step needs, from the newest sequences if none are left; whether so."""
    n, need, enough = state.numbers[gpu], state.growth[gpu], True
    place = n[STEP] & ((1 << rules.bits) - 1)
    while need[place] > rules.blocks - n[USED]:
        enough = False
        preempt(n[NEWEST], gpu, now_s, ask, state, rules)
    n[USED] += need[place]
    return not enough


def expire(line: int, gpu: int, now_s: float, ask: Ask, state: State, rules: Rules) -> None:
    """Strike out who has waited for longer than a client does."""
    while state.length[line] > 0 and now_s - ask.arrival_s[state.first[line]] > rules.timeout_s:
        n = state.numbers[gpu]
        request = state.first[line]
        n[ABANDONED] += 1
        if rules.routing != SHARED:
            n[REQUESTS] -= 1
            n[TOKENS] -= routed(request, ask)
        leave(line, state)


def choose(gpu: int, now_s: float, ask: Ask, state: State, rules: Rules) -> int:
    """The line whose first request is next: -1 for those to be resumed, -2 for none."""
    n = state.numbers[gpu]
    if n[RESUMED] >= 0:
        return -1
    base = 0 if rules.routing == SHARED else gpu * rules.bins
    best, bin = -2, state.numbers[0 if rules.routing == SHARED else gpu, LAST_BIN]
    for _ in range(rules.bins):
        bin = bin + 1 if bin + 1 < rules.bins else 0
        line = base + bin
        if rules.timeout_s < math.inf:
            expire(line, gpu, now_s, ask, state, rules)
        if state.length[line] == 0:
            continue
        if rules.selection == NEXT_BIN:
            return line
        if rules.selection == LONGEST_BIN:
            better = best < 0 or (state.length[line], -line) > (state.length[best], -best)
        else:
            better = best < 0 or state.first[line] < state.first[best]
        if better:
            best = line
    return best


def start(line: int, gpu: int, now_s: float, ask: Ask, state: State, rules: Rules) -> int:
    """Give the first request of a line a seat."""
    n = state.numbers[gpu]
    if line < 0:
        request = n[RESUMED]
        n[RESUMED] = state.follows[request]
    else:
        request = state.first[line]
        leave(line, state)
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


def prefill(gpu: int, now_s: float, decodes: int, admit: bool, ask: Ask, state: State, rules: Rules) -> int:
    """Fill the step with prompts: the one begun, then those that wait; how many are complete (`joined`)."""
    n, shape, complete = state.numbers[gpu], state.shape, 0
    budget = rules.budget - decodes
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
    while admit and budget > 0 and n[SEATS] < rules.seats and n[PARTIAL] < 0:
        line = choose(gpu, now_s, ask, state, rules)
        if line == -2:
            break
        request = n[RESUMED] if line < 0 else state.first[line]
        total = ask.prompt_tokens[request] + state.done[request]
        computed = ask.cached_tokens[request] if len(ask.cached_tokens) > 0 else 0
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
        chunk(computed, tokens, shape)
        budget -= tokens
        if computed + tokens < total:
            n[PARTIAL], n[COMPUTED] = request, computed + tokens
        else:
            state.joined[complete] = request
            complete += 1
    return complete


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


def affordable(n: np.ndarray, growth: np.ndarray, most: int, rules: Rules) -> int:
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


def stretch(gpu: int, step_s: float, slope_s: float, horizon_s: float, state: State, rules: Rules) -> int:
    """Decode steps that nothing changes, this one included; their blocks are taken."""
    n, growth, block = state.numbers[gpu], state.growth[gpu], 1 << rules.bits
    most = (state.heap[gpu, 0] >> 32) - n[STEP]
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


def horizon(gpu: int, horizon_s: float, state: State, rules: Rules) -> float:
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
    if n[SEATS] >= rules.seats or n[RESUMED] >= 0:
        return math.inf
    if rules.routing == SHARED:  # another GPU may take the head, and the next one may fit
        return -math.inf
    return math.inf if rules.bins == 1 else horizon_s


def complete(gpu: int, complete_s: float, joins: int, ask: Ask, state: State, rules: Rules) -> tuple[int, int, int]:
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
        seats += 1
        blocks += held(request, total, ask, rules)
        tokens += routed(request, ask) if rules.routing == LEAST_TOKENS else 0
    for place in range(joins):
        request = int(state.joined[place])
        total = ask.prompt_tokens[request] + state.done[request]
        if state.done[request] == 0:
            state.first_token_s[request] = complete_s
        else:
            add_gaps(state.gaps, complete_s - state.completion_s[request], 0.0, 1, 1)
        left = ask.output_tokens[request] - state.done[request] - 1
        state.completion_s[request] = complete_s
        if left <= 0:
            unlink(request, n, state)
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


def count_gaps(gpu: int, step_s: float, slope_s: float, steps: int, decodes: int, state: State, rules: Rules) -> None:
    """Count the times between tokens of steps that are composed."""
    n, t = state.numbers[gpu], state.times[gpu]
    if rules.prefill == FIRST:  # steps of prompts alone may have come between, for each sequence as many as it has seen
        first_s = t[NOW] + t[PENDING] + step_s
        request = n[NEWEST]
        for _ in range(n[FRESH]):
            add_gaps(state.gaps, first_s - state.completion_s[request], 0.0, 1, 1)
            request = state.precedes[request]
        add_gaps(state.gaps, first_s - t[SINCE], 0.0, 1 if decodes > n[FRESH] else 0, decodes - n[FRESH])
        add_gaps(state.gaps, step_s + slope_s, slope_s, steps - 1, decodes)
    else:
        add_gaps(state.gaps, step_s, slope_s, steps, decodes)
    n[FRESH] = 0


def note(gpu: int, steps: int, start_s: float, total_s: float, state: State, rules: Rules) -> None:
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


def compose(gpu: int, ask: Ask, state: State, rules: Rules) -> tuple[int, int]:
    """Compose a GPU's next step in `shape`; how many sequences decode in it, how many prompts end in it."""
    n, shape, now_s = state.numbers[gpu], state.shape, state.times[gpu, NOW]
    for column in range(len(shape)):
        shape[column] = 0.0
    joins = decodes = 0
    if rules.prefill == FIRST:
        joins = prefill(gpu, now_s, 0, True, ask, state, rules)
    if shape[CHUNKS] == 0.0:
        preempted = n[DECODES] > 0 and grow(gpu, now_s, ask, state, rules)
        decodes = n[DECODES]
        if rules.prefill != FIRST:
            joins = prefill(gpu, now_s, decodes, not preempted, ask, state, rules)
    shape[N_DECODES] = decodes
    shape[CONTEXT] = n[OFFSETS] + decodes * (n[STEP] + 1) if decodes > 0 else 0
    return decodes, joins


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
    gpu: int, until_s: float, ask: Ask, state: State, rules: Rules, law: Callable[..., float], params: np.ndarray
) -> int:
    """Take a GPU to its next boundary at which something may change, at the latest to the first one at or after a time."""
    n, t, shape = state.numbers[gpu], state.times[gpu], state.shape
    settle(n)
    preempted = n[PREEMPTIONS]
    decodes, joins = compose(gpu, ask, state, rules)
    if decodes == 0 and shape[CHUNKS] == 0.0:
        rest(n, t)
        return DONE
    if rules.spread and decodes > 0:
        shape[LONGEST] = longest(gpu, ask, state) + n[STEP] + 1
    step_s, slope_s, steps = law(shape, params), 0.0, 1
    if not 0.0 <= step_s < math.inf:
        return BAD_TIME
    # Whoever has just lost its memory may be back at the next boundary.
    if rules.linear and shape[CHUNKS] == 0.0 and n[PREEMPTIONS] == preempted:
        slope_s = params[CONTEXT_SLOPE] * decodes
        steps = stretch(gpu, step_s, slope_s, horizon(gpu, until_s, state, rules), state, rules)
    total_s = steps * step_s + slope_s * (steps * (steps - 1) // 2)
    last_s = step_s + slope_s * (steps - 1)
    start_s = t[NOW] + t[PENDING]
    note(gpu, steps, start_s, total_s, state, rules)
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


def arrive(request: int, gpu: int, ask: Ask, state: State, rules: Rules) -> None:
    """Let a request wait for a GPU, or for any (-1)."""
    line = ask.bin_of[request] if len(ask.bin_of) > 0 else 0
    if gpu >= 0:
        n = state.numbers[gpu]
        n[REQUESTS] += 1
        n[TOKENS] += routed(request, ask)
        line += gpu * rules.bins
    append(line, request, state)


def wake(gpu: int, now_s: float, state: State) -> None:
    """An idle GPU looks at what has arrived."""
    if not state.numbers[gpu, ACTIVE]:
        state.numbers[gpu, ACTIVE] = 1
        state.times[gpu, NOW] = now_s


def least(state: State, column: int) -> int:
    """The GPU with the least of something, the first one of several."""
    best = 0
    for gpu in range(1, len(state.numbers)):
        if state.numbers[gpu, column] < state.numbers[best, column]:
            best = gpu
    return best


def route(request: int, idle: int, ask: Ask, state: State, rules: Rules) -> None:
    """A request arrives: for any GPU, and the first idle one looks; or for the one that the router finds."""
    now_s, gpu = ask.arrival_s[request], request % len(state.numbers)
    if rules.routing == SHARED:
        arrive(request, -1, ask, state, rules)
        if idle >= 0:
            wake(idle, now_s, state)
        return
    if rules.routing != ROUND_ROBIN:
        for other in range(len(state.numbers)):
            if state.times[other, NOW] <= now_s:
                settle(state.numbers[other])
        gpu = least(state, TOKENS if rules.routing == LEAST_TOKENS else REQUESTS)
    arrive(request, gpu, ask, state, rules)
    wake(gpu, now_s, state)


def loop(ask: Ask, state: State, rules: Rules, law: Callable[..., float], params: np.ndarray) -> int:
    """Serve everything: the next arrival, or the GPU whose next boundary is first.

    Returns `DONE`, or `BAD_TIME` if a step's time is negative or not finite.
    """
    ask, state, params = uncounted(ask), uncounted(state), uncounted(params)
    arrival_s, gpus, arrived = ask.arrival_s, len(state.numbers), 0
    while True:
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
        if move(gpu, until_s, ask, state, rules, law, params) != DONE:
            return BAD_TIME


@functools.cache
def signatures() -> SimpleNamespace:
    """Numba types of everything that crosses into the loop."""
    from numba import types

    ints, floats, links = types.int64[::1], types.float64[::1], types.int32[::1]
    table, cube = types.float64[:, ::1], types.float64[:, :, ::1]
    grid = types.int64[:, ::1]
    ask = types.NamedTuple([floats, ints, ints, ints, ints, links], Ask)
    rules = types.NamedTuple([types.int64] * (len(Rules._fields) - 1) + [types.float64], Rules)
    state = types.NamedTuple(
        [grid, table, grid, grid, ints, floats, ints, cube, cube, ints, ints, ints] + [links] * 4 + [floats] * 3,
        State,
    )
    law = types.float64(floats, floats)
    return SimpleNamespace(law=law, loop=types.int64(ask, state, rules, types.FunctionType(law), floats))
