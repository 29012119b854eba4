"""What the step loop of continuous batching works on: records of arrays, and the small kernels that keep them.

A binary heap, a histogram of gaps, waiting lines and the list of those that run, as links between requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simlib.engine.shapes import SHAPE

if TYPE_CHECKING:
    from simlib.requests.table import RequestTable


class Ask(NamedTuple):
    """What is asked: the table's columns, and the bin of each request.

    `expected_tokens` are the outputs that a router reckons with; no `cached_tokens` and no `bin_of`: all are 0. Where
    GPUs are dedicated to classes, `bin_of` is ``class * bins + bin``.
    """

    arrival_s: np.ndarray
    prompt_tokens: np.ndarray
    output_tokens: np.ndarray
    expected_tokens: np.ndarray
    cached_tokens: np.ndarray
    bin_of: np.ndarray


class StepRules(NamedTuple):
    """The settings of `settings.Continuous` as the loop reads them; memory in blocks of ``1 << bits`` tokens."""

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
    control: int
    classes: int
    reuse: int
    share: int
    timeout_s: float
    seconds_per_token: float = 0.0
    output_weight: float = 0.0


FIRST, MIXED, CHUNKED = range(3)
SHARED, ROUND_ROBIN, LEAST_TOKENS, LEAST_REQUESTS, BY_CLASS = range(5)


class State(NamedTuple):
    """Where the run stands: a row a GPU of whole numbers, times and notes; a row a request of times and links.

    `follows` links the requests of a waiting list and, with `precedes`, those that run, by admission. `heap` holds
    ``decode step of the end << 32 | request``. `growth[gpu, r]` counts sequences that need a block at the decode
    steps r modulo a block. `gaps` is a histogram of the times between tokens; `real` and `bits` are one number, as a
    float and as its bits. `place` and `filled` are of sequences that lost their memory, where blocks are used again:
    see `kept`. `counters` has the tokens that each waiting list was given, where shares are fair; the next
    three are `control`'s. `progress` counts the requests that have arrived.
    """

    numbers: np.ndarray
    times: np.ndarray
    heap: np.ndarray
    growth: np.ndarray
    joined: np.ndarray
    shape: np.ndarray
    gaps: np.ndarray
    real: np.ndarray
    bits: np.ndarray
    series: np.ndarray
    steps: np.ndarray
    first: np.ndarray
    last: np.ndarray
    length: np.ndarray
    follows: np.ndarray
    precedes: np.ndarray
    done: np.ndarray
    place: np.ndarray
    filled: np.ndarray
    gpu: np.ndarray
    start_s: np.ndarray
    first_token_s: np.ndarray
    completion_s: np.ndarray
    counters: np.ndarray
    control: np.ndarray
    control_rules: np.ndarray
    decisions: np.ndarray
    progress: np.ndarray


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
    "cap",
    "room",
    "tick",
    "freed",
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
    CAP,
    ROOM,
    TICK,
    FREED,
) = range(len(NUMBERS))
TIMES = ("now_s", "pending_s", "since_s", "busy_s", "seat_s", "spread_tokens", "sample_s", "sample_gap_s")
NOW, PENDING, SINCE, BUSY, SEAT_TIME, SPREAD, SAMPLE, SAMPLE_GAP = range(len(TIMES))
LOGGED = ("start_s", "time_s", "steps", "blocks", "seats", *SHAPE)  # the shape of the first one of a row's steps

REQUEST_MASK = (1 << 32) - 1
GAP_BITS, GAP_LOW, GAP_OCTAVES = 9, -20, 32
GAP_BINS = 1 << GAP_BITS  # an octave, from 2 ** (GAP_LOW - 1) s
GAP_SHIFT = 52 - GAP_BITS  # a float: sign, 11 bits of exponent, 52 of fraction
GAP_FIRST = (1022 + GAP_LOW) << GAP_BITS
DONE, BAD_TIME = range(2)


def blocks_of(tokens: int, bits: int) -> int:
    """Blocks that hold these tokens."""
    return (tokens + (1 << bits) - 1) >> bits


def lent(request: int, ask: Ask, rules: StepRules) -> int:
    """Blocks at the beginning of a prompt that others hold for it."""
    return ask.cached_tokens[request] >> rules.bits if rules.share else 0


def own_prompt_tokens(table: RequestTable, bits: int, share: int) -> np.ndarray:
    """Prompt tokens for which each request of a table needs blocks of its own: all but those of `lent`."""
    if not share or table.cached_prompt_tokens is None:
        return table.prompt_tokens
    return table.prompt_tokens - ((table.cached_prompt_tokens >> bits) << bits)


def held(request: int, tokens: int, ask: Ask, rules: StepRules) -> int:
    """Blocks of a sequence with these tokens in memory; with all of its tokens' from the start, if reserved."""
    if rules.reserve:
        tokens = ask.prompt_tokens[request] + max(ask.output_tokens[request] - 1, 0)
    return blocks_of(tokens, rules.bits) - lent(request, ask, rules)


def routed(request: int, ask: Ask) -> int:
    """Tokens of a request as a router counts them."""
    return ask.prompt_tokens[request] + ask.expected_tokens[request]


def kept(request: int, gpu: int, state: State, rules: StepRules) -> int:
    """Blocks of its own, from the first, in which a sequence that lost its memory still finds what it wrote.

    Free blocks are given out in the order in which they became free, a sequence's last block first. `FREED` counts
    those that ever did, so that ``FREED + USED`` is how far the giving out has come; its blocks end at `place`.
    """
    n = state.numbers[gpu]
    return min(max(state.place[request] - n[FREED] - n[USED], 0), state.filled[request])


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
        child += int(heap[child + 1] < heap[child])  # beyond the last child lies the value itself
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place, child = child, 2 * child + 1
    heap[place] = value


def gap_bin(gap_s: float, state: State) -> int:
    """The histogram's bin of a gap: floats are ordered as their bits are, the first of which are octave and bin."""
    state.real[0] = gap_s
    return min(max((state.bits[0] >> GAP_SHIFT) - GAP_FIRST, 0), len(state.gaps) - 1)


def add_gaps(gap_s: float, slope_s: float, count: int, weight: int, state: State) -> None:
    """Count gaps of ``gap_s, gap_s + slope_s, …`` between tokens, `weight` times each."""
    if count <= 0:
        return
    first = gap_bin(gap_s, state)
    if slope_s == 0.0 or gap_bin(gap_s + slope_s * (count - 1), state) == first:
        state.gaps[first] += count * weight
    else:
        spread_gaps(gap_s, slope_s, count, weight, state.gaps, state.real, state.bits)


def spread_gaps(
    gap_s: float, slope_s: float, count: int, weight: int, gaps: np.ndarray, real: np.ndarray, bits: np.ndarray
) -> None:
    """The same for gaps of several bins."""
    while count > 0:
        real[0] = gap_s
        place = bits[0] >> GAP_SHIFT
        bits[0] = (place + 1) << GAP_SHIFT  # where the next bin begins
        inside = int(min(float(count), (real[0] - gap_s) / slope_s + 1.0))
        gaps[min(max(place - GAP_FIRST, 0), len(gaps) - 1)] += inside * weight
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


def lift(line: int, base: int, bins: int, state: State) -> None:
    """A client of whom nobody waits is back: no counter below the least of those that wait, or who was served last."""
    level, found = state.counters[len(state.counters) - 1], False
    for other in range(base, base + bins):
        if state.length[other] > 0:
            level = min(level, state.counters[other]) if found else state.counters[other]
            found = True
    state.counters[line] = max(state.counters[line], level)


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
    n[FREED] += n[DUE_BLOCKS]
    n[DUE_SEATS] = n[DUE_BLOCKS] = n[DUE_TOKENS] = 0


for _rare_or_long in (push, take, spread_gaps, lift):  # copies would be compiled for minutes, and gain nothing
    _rare_or_long.inlined = False
