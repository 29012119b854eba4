"""What the step loop of continuous batching works on: records of arrays, and the small kernels that keep them.

A binary heap, a histogram of gaps, waiting lines, and the list of those that run as links between requests.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simlib.continuous import columns as at
from simlib.engine.shapes import SHAPE
from simlib.requests.table import RequestTable


class Ask(NamedTuple):
    """What is asked: the table's columns, and where each request stands.

    `expected_tokens` are the outputs that a router reckons with, the true ones without predictions; no
    `predicted_tokens`, `cached_tokens`, `line_of`, `class_of`, `client_of` or `priority`: all are 0. From `follower` to
    `refused`, and `arrival_s`: `chains.Chains`. `leaving` are those whose clients are gone at some time, in order of
    these times.
    """

    arrival_s: np.ndarray
    prompt_tokens: np.ndarray
    output_tokens: np.ndarray
    expected_tokens: np.ndarray
    predicted_tokens: np.ndarray
    cached_tokens: np.ndarray
    line_of: np.ndarray
    class_of: np.ndarray
    client_of: np.ndarray
    priority: np.ndarray
    urgency: np.ndarray
    first: np.ndarray
    listed: np.ndarray
    contents: np.ndarray
    follower: np.ndarray
    sibling: np.ndarray
    think_s: np.ndarray
    opening: np.ndarray
    due: np.ndarray
    due_s: np.ndarray
    came: np.ndarray
    known: np.ndarray
    refused: np.ndarray
    max_tokens: np.ndarray
    cancel_s: np.ndarray
    leaving: np.ndarray


class StepRules(NamedTuple):
    """The settings of `settings.Continuous` as the loop reads them; memory in blocks of ``1 << bits`` tokens.

    `lines` is how many a GPU has, or all GPUs together; `asks` and `keyed`: whether there is a rule to ask, and a key.
    `several`: whether more than one prompt may be begun, `long` the tokens to which a chunk is cut (0: none);
    `unknown`: whether a sequence may end of which that is not known before (`extra`); `cancel`: whether clients leave;
    `answers`: whether what a sequence generates may be found while it runs.
    What has a default costs nothing where it is off, in loops that are compiled for what is often on: `loop.OFTEN`.
    """

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
    lines: int
    asks: int
    keyed: int
    linear: int
    spread: int
    control: int
    classes: int
    reuse: int
    share: int
    timeout_s: float
    overlap_score_weight: float
    priority: int = 0
    cache: int = 0
    closed: int = 0
    several: int = 0
    long: int = 0
    unknown: int = 0
    cancel: int = 0
    answers: int = 0


NEEDED = len(StepRules._fields) - len(StepRules._field_defaults)


FIRST, MIXED, CHUNKED = range(3)
NEVER = 1 << 40  # a decode step that is never reached
SHARED, IN_TURN, LEAST_TOKENS, LEAST_REQUESTS, BY_CLASS, PREFIX, PREFIX_COST = range(7)


class Lines(NamedTuple):
    """Who waits where, a row a GPU or one for all that share their lines, and what the policy's rule reads and keeps.

    As in `shapes.Waiting`, line q of a row holds ``order[head[q]:tail[q]]``, oldest first. A line of which nobody knows
    who will join it, because a router deals, has the room ``order[start[q]:room[q]]`` (`more_room`). `true_end` is the
    end of each line, whatever a rule is told of it for want of others (`Waiting`). `saved` is the
    memory before the rule was asked, `given` the tokens of each client's requests that were admitted, `asked_s` when it
    was asked last, `answer` what it said out of range, and `BAD_DECISION`.
    """

    head: np.ndarray
    tail: np.ndarray
    end: np.ndarray
    true_end: np.ndarray
    order: np.ndarray
    start: np.ndarray
    room: np.ndarray
    params: np.ndarray
    memory: np.ndarray
    saved: np.ndarray
    note: np.ndarray
    given: np.ndarray
    answer: np.ndarray
    asked_s: np.ndarray


class State(NamedTuple):
    """Where the run stands: a row a GPU of whole numbers, times and notes; a row a request of times and links.

    `precedes` and `follows` link those that run, by admission; `follows` links those that wait to be resumed. `heap`
    holds ``decode step of the end << 32 | request``. `growth[gpu, r]` counts sequences that need a block at the decode
    steps r modulo a block. `gaps` is a histogram of the times between tokens; `real` and `bits` are one number, as a
    float and as its bits. `place` and `filled` are of sequences that lost their memory, where blocks are used again:
    see `kept`; with a cache, the number of its record in `line` and its blocks there (`running.line`), of which `shown`
    counts those of a running sequence that others may find. `users`, `mark` and `maker` are of contents: how many use
    each (-1: it is not there), the half step of its birth or, if nobody does, the sequence with which it became free,
    and who made it; `copies` and `lists` are `running.copies`'. `ends` is, where several prompts may be begun, the
    decode step of the end of those that decode; `computed`, `begun` and `portion` are `chunks`', `gone` counts clients
    of `Ask.leaving`. `control`, `control_rules` and `decisions` are `control`'s. `progress` counts the requests that
    have arrived, the places of `Lines.order` that are given out and, with priorities, the instants of arrivals; it says
    how many GPUs are still to be asked after a `ends.last_call`, how many requests had been taken by then, and who
    arrived last. `asked`, `to_prefill` and `news` are `router`'s: requests on each GPU by content, tokens of each that
    are to be computed, links between what it will hear.
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
    follows: np.ndarray
    precedes: np.ndarray
    done: np.ndarray
    place: np.ndarray
    filled: np.ndarray
    ends: np.ndarray
    shown: np.ndarray
    hits: np.ndarray
    users: np.ndarray
    mark: np.ndarray
    maker: np.ndarray
    copies: np.ndarray
    lists: np.ndarray
    line: np.ndarray
    gpu: np.ndarray
    start_s: np.ndarray
    first_token_s: np.ndarray
    completion_s: np.ndarray
    control: np.ndarray
    control_rules: np.ndarray
    decisions: np.ndarray
    progress: np.ndarray
    asked: np.ndarray
    to_prefill: np.ndarray
    news: np.ndarray
    computed: np.ndarray
    begun: np.ndarray
    portion: np.ndarray
    gone: np.ndarray


ARRIVED, POOL, INSTANTS, TOLD, CALLED, LAST = range(6)
LOGGED = ("start_s", "time_s", "steps", "blocks", "seats", *SHAPE)  # the shape of the first one of a row's steps

REQUEST_MASK = (1 << 32) - 1
STEPS_MASK = (1 << 29) - 1
GAP_BITS, GAP_LOW, GAP_OCTAVES = 9, -20, 32
GAP_BINS = 1 << GAP_BITS  # an octave, from 2 ** (GAP_LOW - 1) s
GAP_SHIFT = 52 - GAP_BITS  # a float: sign, 11 bits of exponent, 52 of fraction
GAP_FIRST = (1022 + GAP_LOW) << GAP_BITS


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

    Free blocks that hold nothing are given out first, the others in the order in which they became free, a sequence's
    last block first. `FREED` counts those others, so that ``at.FREED - at.HOLDING`` is how far the giving out of them
    has come; its blocks end at `place`.
    """
    n = state.numbers[gpu]
    settled(n, rules)
    return min(max(state.place[request] - n[at.FREED] + n[at.HOLDING], 0), state.filled[request])


def settled(n: np.ndarray, rules: StepRules) -> None:
    """Bring `HOLDING` up to date, the free blocks in which something is found: what was taken last came from them."""
    n[at.HOLDING] = min(n[at.HOLDING], rules.blocks - n[at.USED])


def give_back(blocks: int, full: int, n: np.ndarray, rules: StepRules) -> None:
    """Blocks become free, of which so many are full, and hold what may be found again."""
    if rules.reuse:
        settled(n, rules)
        n[at.HOLDING] += full
        n[at.FREED] += full
    n[at.USED] -= blocks


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
        n[at.NEWEST] = before


def extra(request: int, ask: Ask, rules: StepRules) -> int:
    """Decode steps of a sequence after the one that samples its last token: that runs yet when the next is composed."""
    if rules.unknown == 0:
        return 0
    return int(len(ask.max_tokens) == 0 or ask.max_tokens[request] > max(ask.output_tokens[request], 1))


def stored(request: int, ask: Ask) -> int:
    """Tokens that a sequence holds at its end: the last one is never read."""
    return ask.prompt_tokens[request] + max(ask.output_tokens[request] - 1, 0)


def oldest(n: np.ndarray, state: State) -> int:
    """Who of those that run was admitted first."""
    request = n[at.NEWEST]
    while state.precedes[request] >= 0:
        request = state.precedes[request]
    return request


def cached(request: int, n: np.ndarray, ask: Ask, state: State, rules: StepRules) -> int:
    """Tokens in memory of a sequence that decodes."""
    return stored(request, ask) + extra(request, ask, rules) - (state.ends[request] - n[at.STEP])


def mark_over(request: int, decoded: int, step: int, state: State) -> None:
    """All steps of a sequence are composed: `done` says so below 0, in which step, and whether it decodes there."""
    state.done[request] = -1 - (2 * (step & STEPS_MASK) + decoded)


def over(request: int, state: State) -> bool:
    """Whether all steps of a sequence are composed. With two in flight it runs until the last of them has ended."""
    return state.done[request] < 0


def ending(request: int, n: np.ndarray, state: State) -> bool:
    """Whether the last step of a sequence is in flight."""
    return (
        over(request, state) and n[at.LATER_SEATS] > 0 and (-1 - state.done[request]) >> 1 == n[at.STEPS] & STEPS_MASK
    )


def own(gpu: int, rules: StepRules) -> int:
    """The row of `Lines` that a GPU takes from, and of the GPU that counts who waits there."""
    return 0 if rules.routing == SHARED else gpu


def join(row: int, line: int, request: int, lines: Lines, state: State, rules: StepRules) -> None:
    """Let a request join the end of a line."""
    if len(lines.room) > 0 or rules.closed:  # it may be any request
        if len(lines.room) > 0 and lines.tail[row, line] == lines.room[row, line]:
            more_room(row, line, lines.head, lines.tail, lines.order, lines.start, lines.room, state.progress)
        lines.order[lines.tail[row, line]] = request
    lines.tail[row, line] += 1
    state.numbers[row, at.WAITING] += 1
    state.numbers[row, at.EVENTS] += 1


def more_room(
    row: int,
    line: int,
    head: np.ndarray,
    tail: np.ndarray,
    order: np.ndarray,
    start: np.ndarray,
    room: np.ndarray,
    progress: np.ndarray,
) -> None:
    """Move a line to the beginning of its room or, if it fills half of that, into a new one, twice as large.

    A line of at most w has had rooms of less than 8 w places in all, and each place was paid for by an arrival.
    """
    first, waiting, places = head[row, line], tail[row, line] - head[row, line], room[row, line] - start[row, line]
    if 2 * waiting >= places:
        places = max(2 * places, 4)
        start[row, line] = progress[POOL]
        progress[POOL] += places
    for place in range(waiting):
        order[start[row, line] + place] = order[first + place]
    head[row, line], tail[row, line] = start[row, line], start[row, line] + waiting
    room[row, line] = start[row, line] + places


def leave(row: int, line: int, count: int, lines: Lines, state: State) -> None:
    """Take the first ones of a line away."""
    lines.head[row, line] += count
    state.numbers[row, at.WAITING] -= count


def settle(n: np.ndarray, owner: np.ndarray, rules: StepRules) -> None:
    """What has ended leaves its seat and its memory; an event to all that share its lines."""
    owner[at.EVENTS] += n[at.DUE_SEATS]
    n[at.SEATS] -= n[at.DUE_SEATS]
    n[at.REQUESTS] -= n[at.DUE_SEATS]
    n[at.TOKENS] -= n[at.DUE_TOKENS]
    if not rules.cache:  # with it, `prefix.free_ended` does
        give_back(n[at.DUE_BLOCKS], n[at.DUE_FULL], n, rules)
    n[at.DUE_SEATS] = n[at.DUE_BLOCKS] = n[at.DUE_TOKENS] = 0
    if rules.reuse:
        n[at.DUE_FULL] = 0


for _rare_or_long in (
    oldest,
    push,
    take,
    spread_gaps,
    more_room,
):  # copies would be compiled for minutes, and gain nothing
    _rare_or_long.inlined = False
