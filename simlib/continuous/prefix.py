"""A live prefix cache: blocks are found by what they hold, shared while they are used, evicted by the engine's load.

Of what can be found `State.users` counts who uses it. What a sequence has written that only it can find, what it
generated and the part of its prompt that has no content of its own, is counted. Blocks that hold nothing are given out
first, then those in the line of free ones (`running.line`). Nothing is evicted before somebody looks: what was taken
meanwhile came from the line's beginning.
"""

from __future__ import annotations

import numpy as np

from simlib.checks import InputError
from simlib.continuous import columns as at
from simlib.continuous.running.copies import FREED, MAKER, OLD, SEVERAL, USERS, add, made_by, used_by
from simlib.continuous.running.line import evict, line_up
from simlib.continuous.state import (
    Ask,
    State,
    StepRules,
    blocks_of,
    cached,
    ending,
    extra,
    oldest,
    over,
    stored,
    unlink,
)
from simlib.requests.table import RequestTable


def contents(table: RequestTable, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each request's blocks begin in the third array, which holds what each contains, from 0; how many it lists.

    What contains a prefix whose group others are in lies there once.
    """
    if table.block_ids is not None:
        given, blocks = table.block_ids.lengths, table.prompt_tokens >> bits
        whole = table.prompt_tokens + table.output_tokens >> bits
        wrong = (given != blocks) & (given != whole)
        if wrong.any():
            row = int(np.argmax(wrong))
            expected = f"{blocks[row]}, for full blocks of {1 << bits} of its {table.prompt_tokens[row]} prompt tokens"
            expected += f", or {whole[row]} with its answer" if whole[row] > blocks[row] else ""
            raise InputError(f"block_ids, row {row}: {given[row]} blocks (expected {expected})")
        found = table.block_ids.chained()
        return found.first[:-1], given.astype(np.int32), found.flat.astype(np.uint32)
    listed = np.zeros(len(table), np.int32)
    if table.prefix_tokens is None:
        return np.zeros(len(table), np.int64), listed, np.zeros(0, np.uint32)
    listed[:] = table.prefix_tokens >> bits
    group = np.unique(table.prefix_group, return_inverse=True)[1].reshape(-1)
    most = np.zeros(len(table), np.int64)
    np.maximum.at(most, group, listed)
    return (np.cumsum(most) - most)[group], listed, np.arange(most.sum(), dtype=np.uint32)


def generated(first: np.ndarray, listed: np.ndarray, content: np.ndarray, prompt_blocks: np.ndarray) -> np.ndarray:
    """What the blocks of answers contain, as far as a table says so."""
    answers = np.maximum(listed - prompt_blocks, 0)
    if not answers.any():
        return content[:0]
    begins = first + listed - answers
    return content[np.repeat(begins - np.cumsum(answers) + answers, answers) + np.arange(answers.sum())]


def are_met(content: np.ndarray, answers: np.ndarray) -> bool:
    """Whether an answer has a block that another request may look for while it is generated."""
    return bool(len(answers) and (np.bincount(content)[answers] > 1).any())


def seek(request: int, total: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> tuple[int, int]:
    """Blocks of a sequence that are found, from the first; how many of them others use. Its last token is computed."""
    evict(gpu, ask, state, rules)
    most, found, used = (total - 1) >> rules.bits, 0, 0
    if ask.listed[request] > 0:
        found, used = look(request, most, gpu, ask, state)
    if found == ask.listed[request]:
        found += min(state.filled[request], most - found)
    return found, used


def look(request: int, most: int, gpu: int, ask: Ask, state: State) -> tuple[int, int]:
    """The same of blocks that the table says the contents of."""
    row, users, found, used = ask.contents[ask.first[request] :], state.users[gpu], 0, 0
    most = min(most, ask.listed[request])
    while found < most and users[row[found]] >= 0:
        used += int(used_by(users[row[found]]) > 0)
        found += 1
    return found, used


def occupy(request: int, found: int, used: int, gpu: int, ask: Ask, state: State) -> None:
    """Give a sequence the blocks that were found: free ones leave the line."""
    if found > 0:
        shared = min(found, ask.listed[request])
        if shared > 0:
            take(request, shared, gpu, ask, state)
        state.numbers[gpu, at.HOLDING] -= found - used
        state.filled[request] -= found - shared
    state.shown[request] = min(found, ask.listed[request])


def take(request: int, shared: int, gpu: int, ask: Ask, state: State) -> None:
    """Use the first blocks of a sequence, which are there."""
    row, users, mark = ask.contents[ask.first[request] :], state.users[gpu], state.mark[gpu]
    for place in range(shared):
        content = row[place]
        if used_by(users[content]) == 0:
            mark[content] = OLD
        users[content] += 1


def fill(request: int, computed: int, tokens: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """The blocks that these tokens complete can be found from now on."""
    last = min((computed + tokens) >> rules.bits, ask.listed[request])
    if last > state.shown[request]:
        evict(gpu, ask, state, rules)
        show(request, last, gpu, ask, state)


def show(request: int, last: int, gpu: int, ask: Ask, state: State) -> None:
    """Let a sequence's blocks up to a place be found, which a prompt completes in this step: after all else."""
    for place in range(state.shown[request], last):
        appear(request, place, 2 * state.numbers[gpu, at.STEPS] + 1, gpu, ask, state)
    state.shown[request] = last


def appear(request: int, place: int, born: int, gpu: int, ask: Ask, state: State) -> None:
    """Let a block of a sequence be found by what it contains. `born`: when it was complete, in half steps."""
    content = ask.contents[ask.first[request] + place]
    if state.users[gpu, content] >= 0:
        add(content, born, request, gpu, state)
        return
    state.users[gpu, content], state.mark[gpu, content] = 1, born
    if len(state.maker) > 0:
        state.maker[gpu, content] = request


def remember(ago: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """What running sequences have generated can be found, as far as tokens are known in the step composed, or `ago`."""
    n = state.numbers[gpu]
    evict(gpu, ask, state, rules)
    request = oldest(n, state) if n[at.NEWEST] >= 0 else -1
    while request >= 0:
        if over(request, state):
            decoded = int(ending(request, n, state)) * ((-1 - state.done[request]) & 1)
            known = stored(request, ask) - decoded * (1 - extra(request, ask, rules))
        else:  # below 0 where it does not decode
            known = min(cached(request, n, ask, state, rules) + 1 - ago - rules.two, stored(request, ask))
        last = min(known >> rules.bits, ask.listed[request])
        for place in range(state.shown[request], last):
            age = known - ((place + 1) << rules.bits)
            appear(request, place, 2 * (n[at.STEPS] - ago - age), gpu, ask, state)
        state.shown[request] = max(state.shown[request], last)
        request = state.follows[request]


def free(request: int, tokens: int, known: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Take a sequence's blocks: those that nobody else uses are free, the last one first in the line.

    What it generated can be found from now on, where the table says what that is.
    """
    evict(gpu, ask, state, rules)
    n, full, users, mark = state.numbers[gpu], known >> rules.bits, state.users[gpu], state.mark[gpu]
    shared, number, row = min(ask.listed[request], full), n[at.FREED], ask.contents[ask.first[request] :]
    for place in range(state.shown[request], shared):
        appear(request, place, 2 * n[at.STEPS] - 2, gpu, ask, state)
    state.shown[request] = free = last = 0
    for place in range(shared):
        content = row[place]
        if users[content] >= SEVERAL or len(state.maker) > 0:
            unused = part(request, content, number, gpu, state)
        else:
            users[content] -= 1
            unused = int(users[content] == 0)
            mark[content] = number if unused else mark[content]
        free += unused
        last = place + 1 if unused else last
    n[at.HOLDING] += free
    n[at.USED] -= blocks_of(tokens, rules.bits) - shared + free
    if free > 0 or full > shared:
        line_up(request, full - shared, last, gpu, ask, state)


def part(request: int, content: int, number: int, gpu: int, state: State) -> int:
    """A sequence uses a block, or its own copy of it, no more: 1 if nobody does."""
    copy = made_by(request, content, gpu, state) if state.users[gpu, content] >= SEVERAL else -1
    if copy >= 0:
        mine = state.copies[gpu, copy]
        mine[USERS] -= 1
        mine[MAKER], mine[FREED] = -1, number
        return int(mine[USERS] == 0)
    if len(state.maker) > 0 and state.maker[gpu, content] == request:
        state.maker[gpu, content] = -1
    state.users[gpu, content] -= 1
    if used_by(state.users[gpu, content]) > 0:
        return 0
    state.mark[gpu, content] = number
    return 1


def free_ended(gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Take the blocks of all that have ended, in the order in which they were admitted."""
    n = state.numbers[gpu]
    if rules.answers:
        remember(1, gpu, ask, state, rules)
    request, left = n[at.NEWEST], n[at.DUE_SEATS]
    if left == 1 and rules.two == 0 and rules.cancel == 0:  # nobody can have gone since
        request = n[at.ENDED]
    while request >= 0:  # back to the oldest of them; who has lost its memory meanwhile is not there
        left -= int(over(request, state) and not ending(request, n, state))
        if left == 0 or state.precedes[request] < 0:
            break
        request = state.precedes[request]
    left = n[at.DUE_SEATS]
    while request >= 0 and left > 0:
        after = state.follows[request]
        if over(request, state) and not ending(request, n, state):
            left -= 1
            unlink(request, n, state)
            total = stored(request, ask)
            more = (-1 - state.done[request]) & extra(request, ask, rules)  # nobody finds what it wrote in vain
            free(request, total + more, total, gpu, ask, state, rules)
        request = after


for _long in (look, take, show, appear, remember, free, part, free_ended):
    _long.inlined = False
