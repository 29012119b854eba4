"""What goes into a step of continuous batching: whose blocks grow, who loses its memory, whose prompt is prefilled."""

from __future__ import annotations

import math
from collections.abc import Callable

from simlib.continuous import columns as at
from simlib.continuous.prefix import fill, occupy, remember, seek
from simlib.continuous.priority import unqueue
from simlib.continuous.router import withdraw
from simlib.continuous.running.chunks import begin, forget, several
from simlib.continuous.running.victims import grow, preempt
from simlib.continuous.state import (
    CHUNKED,
    FIRST,
    MIXED,
    NEVER,
    PREFIX_COST,
    SHARED,
    Ask,
    Lines,
    State,
    StepRules,
    held,
    kept,
    leave,
    lent,
    own,
    routed,
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
    """Let the first ones of a line go without service."""
    for place in range(lines.head[row, line], lines.head[row, line] + count):
        if rules.closed:
            answered(lines.order[place], now_s, ask)
        if rules.routing != SHARED:
            state.numbers[row, at.REQUESTS] -= 1
            state.numbers[row, at.TOKENS] -= routed(lines.order[place], ask)
        if rules.cache and rules.routing == PREFIX_COST:
            withdraw(lines.order[place], row, ask, state, rules)
    if rules.priority:  # one at a time
        unqueue(row, line, ask, lines, state)
    else:
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
        priority = ask.priority[request] if len(ask.priority) > 0 else 0
        record = Request(request, ask.arrival_s[request], ask.prompt_tokens[request], predicted, priority)
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
) -> tuple[int, int, int, int]:
    """An admission: tokens computed already, and now (-1: it does not fit); blocks found, how many of them are used."""
    n = state.numbers[gpu]
    total = ask.prompt_tokens[request] + state.done[request]
    computed = ask.cached_tokens[request] if len(ask.cached_tokens) > 0 else 0
    again = kept(request, gpu, state, rules) if resumed and rules.reuse else 0
    if again > 0:
        computed = max(computed, (again + lent(request, ask, rules)) << rules.bits)
    used = 0
    if rules.answers:
        remember(0, gpu, ask, state, rules)
    if rules.cache:
        again, used = seek(request, total, gpu, ask, state, rules)
        computed = again << rules.bits
    tokens = total - computed
    if rules.long:
        tokens = min(tokens, n[at.CUT])
    if tokens > budget:
        if rules.prefill == CHUNKED:
            tokens = budget
        elif state.shape[CHUNKS] > 0.0 or (rules.prefill == MIXED and n[at.DECODES] > 0):
            return computed, -1, again, used  # a prompt longer than the budget goes alone
    wanted = held(request, total if rules.whole else computed + tokens, ask, rules) - used
    if n[at.SEATS] > 0:
        wanted += rules.watermark
    return computed, tokens if wanted <= rules.blocks - n[at.USED] else -1, again, used


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
    if rules.several:
        place = 0
        while place < n[at.BEGUN]:
            request, tokens = state.begun[gpu, place], state.portion[gpu, place]
            if tokens > 0:
                chunk(request, gpu, state.computed[request] - tokens, tokens, ask, state, rules)
                budget -= tokens
            if state.computed[request] == ask.prompt_tokens[request] + state.done[request]:
                forget(place, gpu, state)
                state.joined[complete] = request
                complete += 1
            else:
                place += 1
    elif n[at.PARTIAL] >= 0 and budget > 0:
        request, computed = n[at.PARTIAL], n[at.COMPUTED]
        total = ask.prompt_tokens[request] + state.done[request]
        tokens = min(total - computed, budget)
        more = held(request, computed + tokens, ask, rules) - held(request, computed, ask, rules)
        if more > rules.blocks - n[at.USED]:
            preempt(request, 0, gpu, now_s, ask, state, rules)
            return complete
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
        if rules.priority and rules.timeout_s < math.inf:  # whoever has gone is not more urgent
            expire(gpu, now_s, ask, lines, state, rules)
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
        computed, tokens, again, used = fitting(request, resumed, gpu, budget, ask, state, rules)
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
            occupy(request, again, used, gpu, ask, state)
            n[at.USED] -= used
            state.hits[request] += 0 if resumed else computed
        n[at.USED] += held(request, computed + tokens, ask, rules)
        if rules.cache:
            fill(request, computed, tokens, gpu, ask, state, rules)
        if rules.answers:
            state.ends[request] = NEVER  # until it decodes
        chunk(request, gpu, computed, tokens, ask, state, rules)
        budget -= tokens
        if computed + tokens < ask.prompt_tokens[request] + state.done[request]:
            if rules.several:
                begin(request, computed + tokens, gpu, state)
            else:
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
        n[at.HELD] = n[at.HELD_CONTEXT] = 0
    if rules.several:
        alone = rules.long == 0 or not several(gpu, state.numbers[own(gpu, rules), at.WAITING], state)
        n[at.CUT] = rules.budget if alone else rules.long
    preempted, first, decodes = False, rules.prefill == FIRST, 0
    if not first:
        preempted = grow(gpu, now_s, ask, state, rules)
        decodes = n[at.DECODES] - (n[at.HELD] if rules.priority else 0)
    joins = prefill(gpu, now_s, decodes, not preempted, ask, lines, state, rules, decide, key)
    if first and shape[CHUNKS] == 0.0 and joins == 0:
        grow(gpu, now_s, ask, state, rules)
        decodes = n[at.DECODES]
    shape[N_DECODES] += decodes
    if decodes > 0:
        held_tokens = n[at.HELD_CONTEXT] if rules.priority else 0
        shape[CONTEXT] += n[at.OFFSETS] + n[at.DECODES] * (n[at.STEP] + 1) - held_tokens
    return decodes, joins, n[at.PREEMPTIONS] - before


for _rare in (expire,):
    _rare.inlined = False
