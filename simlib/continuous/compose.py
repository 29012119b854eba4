"""What goes into a step of continuous batching: whose blocks grow, who loses its memory, whose prompt is prefilled."""

from __future__ import annotations

import math
from collections.abc import Callable

from simlib.continuous import columns as at
from simlib.continuous.prefix import fill, free, occupy, seek
from simlib.continuous.priority import hold, least_urgent, needs, oldest, pause, unqueue
from simlib.continuous.router import withdraw
from simlib.continuous.state import (
    CHUNKED,
    FIRST,
    MIXED,
    PREFIX_COST,
    REQUEST_MASK,
    SHARED,
    Ask,
    Lines,
    State,
    StepRules,
    ending,
    give_back,
    held,
    kept,
    leave,
    lent,
    over,
    own,
    routed,
    take,
    unlink,
)
from simlib.engine.batches import BAD_DECISION
from simlib.engine.borrowed import borrowed
from simlib.engine.chains import answered
from simlib.engine.shapes import (
    CHUNKS,
    CONTEXT,
    LONGEST,
    N_DECODES,
    PREFILL,
    PREFILL_CONTEXT,
    SQUARES,
    Request,
    Waiting,
)


def release(request: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Take the memory of a sequence of which all steps are composed, where the last of them is in flight."""
    n = state.numbers[gpu]
    unlink(request, n, state)
    if ending(request, n, state):  # others have ended, and given theirs back
        total = ask.prompt_tokens[request] + max(ask.output_tokens[request] - 1, 0)
        blocks, shared = held(request, total, ask, rules), lent(request, ask, rules)
        known = total - ((-1 - state.done[request]) & 1)  # a decode's token is not known yet
        if rules.cache:
            free(request, total, known, gpu, ask, state, rules)
        else:
            give_back(blocks, max((known >> rules.bits) - shared, 0), n, rules)
        n[at.LATER_BLOCKS] -= blocks
        n[at.LATER_FULL] -= (total >> rules.bits) - shared
        n[at.PREEMPTIONS] += 1


def preempt(request: int, took: int, gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> None:
    """Take the memory of a sequence; it waits at the head of its GPU's line, to be computed again.

    With a block for the next step already (`took`) the token before it is known to have been in that step.
    """
    n = state.numbers[gpu]
    tokens = known = n[at.COMPUTED]
    if request == n[at.PARTIAL]:
        n[at.PARTIAL] = -1
    else:
        heap, place = state.heap[gpu], 0
        while heap[place] & REQUEST_MASK != request:
            place += 1
        key = heap[place] >> 32
        take(heap, n[at.DECODES], place)
        state.done[request] = ask.output_tokens[request] - (key - n[at.STEP])
        tokens = known = ask.prompt_tokens[request] + state.done[request] - 1
        if rules.two and state.completion_s[request] <= now_s:  # it decodes in the step in flight, of unknown token
            known -= 1 - took if not rules.priority or n[at.STEPS] - state.paused[request] > 2 else 0
        offset = tokens - n[at.STEP]
        n[at.DECODES] -= 1
        n[at.OFFSETS] -= offset
        n[at.FRESH] = max(n[at.FRESH] - 1, 0)
        if not rules.reserve:
            state.growth[gpu, -offset & ((1 << rules.bits) - 1)] -= 1
        state.completion_s[request] = now_s + state.times[gpu, at.PENDING]  # its last token, until there is a later one
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
    n[at.SEATS] -= 1
    n[at.PREEMPTIONS] += 1
    n[at.RECOMPUTED] += tokens
    unlink(request, n, state)
    if rules.priority:
        pause(request, n, ask, state)
    else:
        state.follows[request] = n[at.RESUMED]
        n[at.RESUMED] = request


def grow(gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> bool:
    """Take the blocks that the next decode step needs, from the newest sequences if none are left; whether so."""
    n, need, enough = state.numbers[gpu], state.growth[gpu], True
    place = n[at.STEP] & ((1 << rules.bits) - 1)
    if rules.priority and need[place] > rules.blocks - n[at.USED]:
        contend(gpu, now_s, ask, state, rules)
        return True
    while need[place] > rules.blocks - n[at.USED]:
        enough = False
        if over(n[at.NEWEST], state):
            release(n[at.NEWEST], gpu, ask, state, rules)
        else:
            preempt(n[at.NEWEST], 0, gpu, now_s, ask, state, rules)
    n[at.USED] += need[place]
    return not enough


def contend(gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> None:
    """Give the blocks of the next decode step to one after the other, from the least urgent one if none are left."""
    n = state.numbers[gpu]
    request = oldest(n, state)
    while request >= 0:
        if needs(request, n, ask, state, rules):
            after = state.follows[request]
            while n[at.USED] == rules.blocks:
                victim = least_urgent(gpu, ask, state)
                before, took = state.precedes[request], 0
                while before >= 0 and took == 0:  # those before have their block already
                    took = int(before == victim and needs(victim, n, ask, state, rules))
                    before = state.precedes[before]
                strip(victim, took, gpu, now_s, ask, state, rules)
                if victim == request:
                    hold(after, gpu, ask, state, rules)
                    return
            n[at.USED] += 1
        request = state.follows[request]


def strip(victim: int, took: int, gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> None:
    """Take a sequence's memory, with the block that it was given for this step already."""
    state.numbers[gpu, at.USED] -= took
    if over(victim, state):
        release(victim, gpu, ask, state, rules)
    else:
        preempt(victim, took, gpu, now_s, ask, state, rules)


def expire(gpu: int, now_s: float, ask: Ask, lines: Lines, state: State, rules: StepRules) -> None:
    """Strike out who has waited for longer than a client does."""
    n, row = state.numbers[gpu], own(gpu, rules)
    for line in range(rules.lines):
        while lines.head[row, line] < lines.tail[row, line]:
            request = lines.order[lines.head[row, line]]
            if now_s - ask.arrival_s[request] <= rules.timeout_s:
                break
            n[at.ABANDONED] += 1
            drop(row, line, 1, now_s, ask, lines, state, rules)


def drop(row: int, line: int, count: int, now_s: float, ask: Ask, lines: Lines, state: State, rules: StepRules) -> None:
    """Let the oldest of a line go without service."""
    for place in range(lines.head[row, line], lines.head[row, line] + count):
        if rules.closed:
            answered(lines.order[place], now_s, ask)
        if rules.routing != SHARED:
            state.numbers[row, at.REQUESTS] -= 1
            state.numbers[row, at.TOKENS] -= routed(lines.order[place], ask)
        if rules.cache and rules.routing == PREFIX_COST:
            withdraw(lines.order[place], row, ask, state, rules)
    leave(row, line, count, lines, state)


def consult(
    gpu: int, now_s: float, ask: Ask, lines: Lines, state: State, rules: StepRules, decide: Callable
) -> tuple[int, int]:
    """Ask the policy's rule: from which line, and how many are admitted; 0: none now, below 0: so many are gone."""
    n, row = state.numbers[gpu], own(gpu, rules)
    memory, saved = lines.memory[row], lines.saved
    if n[at.REFUSED] == state.numbers[row, at.EVENTS]:  # nothing has happened since it said so
        return 0, 0
    for i in range(len(saved)):
        for j in range(saved.shape[1]):
            saved[i, j] = memory[i, j]
    for column in range(len(lines.note)):
        lines.note[column] = 0.0
    lines.asked_s[0] = now_s
    head, tail, columns = lines.head[row], lines.tail[row], (ask.arrival_s, ask.prompt_tokens, ask.predicted_tokens)
    seen = borrowed(Waiting(head, tail, lines.end[row], lines.order, *columns))
    line, size = decide(now_s, gpu, seen, lines.params, memory, lines.note)
    if line < 0 or line >= rules.lines or (size < 0 and tail[line] == head[line]):
        lines.answer[0], lines.answer[1], lines.answer[2] = line, size, BAD_DECISION
        return 0, 0
    size = min(size, tail[line] - head[line])
    if size == 0:
        unsay(row, lines)
        n[at.REFUSED] = state.numbers[row, at.EVENTS]
    elif size < 0:
        size = max(size, head[line] - tail[line])
        drop(row, line, -size, now_s, ask, lines, state, rules)
    return line, size


def unsay(row: int, lines: Lines) -> None:
    """A decision that nobody could follow never was: the rule remembers what it did before it was asked."""
    memory, saved = lines.memory[row], lines.saved
    for i in range(len(saved)):
        for j in range(saved.shape[1]):
            memory[i, j] = saved[i, j]


def lowest(row: int, line: int, now_s: float, ask: Ask, lines: Lines, key: Callable) -> int:
    """The place in a line of the request with the least key, of equal ones that of the oldest."""
    best, least = lines.head[row, line], math.inf
    for place in range(lines.head[row, line], lines.tail[row, line]):
        request = lines.order[place]
        predicted = ask.predicted_tokens[request] if len(ask.predicted_tokens) > 0 else 0
        record = Request(request, ask.arrival_s[request], ask.prompt_tokens[request], predicted)
        given = lines.given[row, ask.client_of[request]]
        value = key(now_s, record, given, lines.params, lines.memory[row])
        if value < least:
            best, least = place, value
    return best


def start(request: int, gpu: int, state: State) -> None:
    """Give a request a seat."""
    n = state.numbers[gpu]
    state.follows[request] = -1
    state.precedes[request] = n[at.NEWEST]
    if n[at.NEWEST] >= 0:
        state.follows[n[at.NEWEST]] = request
    n[at.NEWEST] = request
    n[at.SEATS] += 1


def chunk(request: int, gpu: int, computed: int, tokens: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Add the next tokens of a prompt to the step's shape; the last one alone, if it was sampled, is a decode."""
    shape = state.shape
    if tokens == 1 and state.done[request] > 0 and computed + 1 == ask.prompt_tokens[request] + state.done[request]:
        shape[N_DECODES] += 1.0  # an engine cannot tell it from one
        state.numbers[gpu, at.SUM_DECODES] += 1
        shape[CONTEXT] += computed + 1
        if rules.spread:
            shape[LONGEST] = max(shape[LONGEST], computed + 1.0)
        return
    shape[PREFILL] += tokens
    shape[CHUNKS] += 1.0
    shape[SQUARES] += float(tokens) * tokens
    shape[PREFILL_CONTEXT] += float(tokens) * computed


def fitting(
    request: int, resumed: bool, gpu: int, budget: int, ask: Ask, state: State, rules: StepRules
) -> tuple[int, int, int]:
    """An admission: tokens that are computed already, and now (-1: it does not fit); blocks that are found again."""
    n = state.numbers[gpu]
    total = ask.prompt_tokens[request] + state.done[request]
    computed = ask.cached_tokens[request] if len(ask.cached_tokens) > 0 else 0
    again = kept(request, gpu, state, rules) if resumed and rules.reuse else 0
    if again > 0:
        computed = max(computed, (again + lent(request, ask, rules)) << rules.bits)
    used = 0
    if rules.cache:
        again, used = seek(request, total, gpu, ask, state, rules)
        computed = again << rules.bits
    tokens = total - computed
    if tokens > budget:
        if rules.prefill == CHUNKED:
            tokens = budget
        elif state.shape[CHUNKS] > 0.0 or (rules.prefill == MIXED and n[at.DECODES] > 0):
            return computed, -1, again  # a prompt longer than the budget goes alone
    wanted = held(request, total if rules.whole else computed + tokens, ask, rules) - used
    if n[at.SEATS] > 0:
        wanted += rules.watermark
    return computed, tokens if wanted <= rules.blocks - n[at.USED] else -1, again


def admit(
    row: int, line: int, place: int, gpu: int, now_s: float, ask: Ask, lines: Lines, state: State, rules: StepRules
) -> None:
    """Take a request out of its line."""
    request, first = lines.order[place], lines.head[row, line]
    for later in range(place, first, -1):  # those before it keep their order
        lines.order[later] = lines.order[later - 1]
    lines.order[first] = request
    if rules.keyed:
        predicted = ask.predicted_tokens[request] if len(ask.predicted_tokens) > 0 else 0
        lines.given[row, ask.client_of[request]] += ask.prompt_tokens[request] + predicted
    if rules.priority:
        unqueue(row, line, ask, lines, state)
    else:
        leave(row, line, 1, lines, state)
    state.start_s[request] = now_s
    state.gpu[request] = gpu
    if rules.routing == SHARED:
        state.numbers[gpu, at.REQUESTS] += 1


def prefill(
    gpu: int,
    now_s: float,
    decodes: int,
    admits: bool,
    ask: Ask,
    lines: Lines,
    state: State,
    rules: StepRules,
    decide: Callable[..., tuple[int, int]],
    key: Callable[..., float],
) -> int:
    """Fill the step with prompts: the one begun, then those that wait; how many are complete (`joined`)."""
    n, complete = state.numbers[gpu], 0
    budget = n[at.ROOM] - decodes
    if n[at.PARTIAL] >= 0 and budget > 0 and not (rules.priority and n[at.STOPPED]):
        request, computed = n[at.PARTIAL], n[at.COMPUTED]
        total = ask.prompt_tokens[request] + state.done[request]
        tokens = min(total - computed, budget)
        more = held(request, computed + tokens, ask, rules) - held(request, computed, ask, rules)
        while more > rules.blocks - n[at.USED]:
            victim = least_urgent(gpu, ask, state) if rules.priority else request
            took = int(rules.priority and needs(victim, n, ask, state, rules))
            strip(victim, took, gpu, now_s, ask, state, rules)
            if victim == request:
                return complete
            budget, admits = budget + 1, False
        n[at.USED] += more
        if rules.cache:
            fill(request, computed, tokens, gpu, ask, state, rules)
        chunk(request, gpu, computed, tokens, ask, state, rules)
        budget -= tokens
        n[at.COMPUTED] += tokens
        if n[at.COMPUTED] == total:
            n[at.PARTIAL] = -1
            state.joined[complete] = request
            complete += 1
    row, line, place, left = own(gpu, rules), 0, 0, 0  # `left` of those that the rule's last answer admits
    known = rules.lines == 1 and rules.keyed == 0  # who is first, so that one who does not fit is not asked about
    while admits and budget > 0 and n[at.SEATS] < n[at.CAP] and n[at.PARTIAL] < 0:
        request, asked = n[at.RESUMED], False
        resumed = request >= 0
        if rules.priority and resumed and state.numbers[row, at.WAITING] > 0:
            resumed = ask.urgency[request] < ask.urgency[lines.order[lines.head[row, 0]]]
        if not resumed:
            if rules.timeout_s < math.inf:
                expire(gpu, now_s, ask, lines, state, rules)
            if state.numbers[row, at.WAITING] == 0:
                break
            if rules.asks and left == 0:
                if known and fitting(lines.order[lines.head[row, 0]], False, gpu, budget, ask, state, rules)[1] < 0:
                    break
                line, left = consult(gpu, now_s, ask, lines, state, rules, decide)
                if left < 0:
                    left = 0
                    continue
                if left == 0:
                    break
                asked = True
            place = lowest(row, line, now_s, ask, lines, key) if rules.keyed else lines.head[row, line]
            request = lines.order[place]
        computed, tokens, again = fitting(request, resumed, gpu, budget, ask, state, rules)
        if tokens < 0:
            if asked:
                unsay(row, lines)
            break
        if resumed:
            n[at.RESUMED] = state.follows[request]
            if rules.reuse:  # they leave the middle of the line
                n[at.FREED] -= again
                n[at.HOLDING] -= again
            n[at.RECOMPUTED] -= computed
        else:
            admit(row, line, place, gpu, now_s, ask, lines, state, rules)
            left -= rules.asks
        start(request, gpu, state)
        if rules.cache:
            n[at.USED] -= occupy(request, again, gpu, ask, state)
            state.hits[request] += 0 if resumed else computed
        n[at.USED] += held(request, computed + tokens, ask, rules)
        if rules.cache:
            fill(request, computed, tokens, gpu, ask, state, rules)
        chunk(request, gpu, computed, tokens, ask, state, rules)
        budget -= tokens
        if computed + tokens < ask.prompt_tokens[request] + state.done[request]:
            n[at.PARTIAL], n[at.COMPUTED] = request, computed + tokens
        else:
            state.joined[complete] = request
            complete += 1
    return complete


def compose(
    gpu: int,
    ask: Ask,
    lines: Lines,
    state: State,
    rules: StepRules,
    decide: Callable[..., tuple[int, int]],
    key: Callable[..., float],
) -> tuple[int, int, int]:
    """Compose a GPU's next step in `shape`; how many decode in it, prompts end in it, lost their memory for it."""
    n, shape, now_s = state.numbers[gpu], state.shape, state.times[gpu, at.NOW]
    before = n[at.PREEMPTIONS]
    for column in range(len(shape)):
        shape[column] = 0.0
    if rules.priority:
        n[at.HELD] = n[at.HELD_CONTEXT] = n[at.STOPPED] = 0
    preempted, first, decodes = False, rules.prefill == FIRST, 0
    if not first:
        preempted = grow(gpu, now_s, ask, state, rules)
        decodes = n[at.DECODES] - (n[at.HELD] if rules.priority else 0)
    joins = prefill(gpu, now_s, decodes, not preempted, ask, lines, state, rules, decide, key)
    if first and shape[CHUNKS] == 0.0 and joins == 0:
        grow(gpu, now_s, ask, state, rules)
        decodes = n[at.DECODES]
    if rules.priority:  # a prompt may have taken the memory of one that decodes
        decodes = n[at.DECODES] - n[at.HELD]
    shape[N_DECODES] += decodes
    if decodes > 0:
        held_tokens = n[at.HELD_CONTEXT] if rules.priority else 0
        shape[CONTEXT] += n[at.OFFSETS] + n[at.DECODES] * (n[at.STEP] + 1) - held_tokens
    return decodes, joins, n[at.PREEMPTIONS] - before


for _rare in (release, preempt, contend, strip, expire):
    _rare.inlined = False
