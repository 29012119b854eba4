"""A live prefix cache: blocks are found by what they hold, shared while they are used, evicted by the engine's load.

A cell stands for a block that others may find, or for a run of blocks that only one request can: what it generated, and
the part of its prompt that has no content of its own. Free cells form a line, those of a sequence from its last block
to its first; blocks that hold nothing are given out before all of them. Nothing is evicted before somebody looks: what
was taken meanwhile came from the line's beginning.
"""

from __future__ import annotations

import numpy as np

from simlib.checks import InputError
from simlib.continuous import columns as at
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

CELL = 6  # columns of a cell
CONTENT, COUNT, BEFORE, AFTER, COPY, BORN = range(CELL)  # below 0 a request's run; users, or blocks of the run; links


def contents(table: RequestTable, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each request's blocks begin in the second array, which holds what each of them contains, from 0."""
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
        return found.first, found.flat
    if table.prefix_tokens is not None:
        blocks = table.prefix_tokens >> bits
        first, group = (
            np.append(0, np.cumsum(blocks)),
            np.unique(table.prefix_group, return_inverse=True)[1].reshape(-1),
        )
        most = np.zeros(len(table), np.int64)
        np.maximum.at(most, group, blocks)
        return first, np.arange(first[-1]) + np.repeat((np.cumsum(most) - most)[group] - first[:-1], blocks)
    return np.zeros(len(table) + 1, np.int64), np.zeros(0, np.int64)


def are_met(first: np.ndarray, content: np.ndarray, prompt_blocks: np.ndarray) -> bool:
    """Whether an answer has a block that another request may look for while it is generated."""
    generated = np.arange(len(content)) - np.repeat(first[:-1], np.diff(first)) >= np.repeat(
        prompt_blocks, np.diff(first)
    )
    return bool(generated.any() and (np.bincount(content)[content[generated]] > 1).any())


def listed(request: int, ask: Ask) -> int:
    """Blocks at the beginning of a sequence that others may find."""
    return ask.first[request + 1] - ask.first[request]


def find(request: int, place: int, gpu: int, ask: Ask, state: State) -> int:
    """The cell that holds what a block of a prompt contains, the oldest of several; -1: none."""
    return state.where[gpu, ask.contents[ask.first[request] + place]]


def seek(request: int, total: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> tuple[int, int]:
    """Blocks of a sequence that are found, from the first; how many of them others use. Its last token is computed."""
    evict(gpu, state, rules)
    most, found, used = (total - 1) >> rules.bits, 0, 0
    while found < min(listed(request, ask), most):
        cell = find(request, found, gpu, ask, state)
        if cell < 0:
            break
        used += int(state.cells[cell, COUNT] > 0)
        found += 1
    if found == listed(request, ask) and state.place[request] >= 0:
        found += min(state.cells[state.place[request], COUNT], most - found)
    return found, used


def occupy(request: int, found: int, gpu: int, ask: Ask, state: State) -> int:
    """Give a sequence the blocks that were found: free ones leave the line; how many others use already."""
    used = 0
    n, cells, shared = state.numbers[gpu], state.cells, min(found, listed(request, ask))
    for place in range(shared):
        cell = find(request, place, gpu, ask, state)
        if cells[cell, COUNT] == 0:
            leave(cell, n, cells)
        else:
            used += 1
        cells[cell, COUNT] += 1
        state.holds[ask.first[request] + place] = cell
    if found > shared:
        n[at.HOLDING] -= found - shared
        shorten(request, found - shared, n, state)
    return used


def fill(request: int, computed: int, tokens: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """The blocks that these tokens complete can be found from now on."""
    if computed + tokens >> rules.bits == computed >> rules.bits:
        return
    evict(gpu, state, rules)
    for place in range(computed >> rules.bits, min((computed + tokens) >> rules.bits, listed(request, ask))):
        show(ask.first[request] + place, 2 * state.numbers[gpu, at.STEPS] + 1, gpu, ask, state)


def show(place: int, born: int, gpu: int, ask: Ask, state: State) -> None:
    """Let a block of a sequence be found by what it contains; of several that contain the same the first one is found.

    `born`: when it was complete, in half steps; what a prompt completes in a step comes after all else.
    """
    content = ask.contents[place]
    cell = new(content, 1, state.numbers[gpu], state.cells)
    state.holds[place], state.cells[cell, BORN] = cell, born
    before, after = -1, state.where[gpu, content]
    while after >= 0 and state.cells[after, BORN] <= born:
        before, after = after, state.cells[after, COPY]
    state.cells[cell, COPY] = after
    if before < 0:
        state.where[gpu, content] = cell
    else:
        state.cells[before, COPY] = cell


def remember(ago: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """What running sequences have generated can be found, as far as tokens are known in the step composed, or `ago`."""
    n = state.numbers[gpu]
    evict(gpu, state, rules)
    request = oldest(n, state) if n[at.NEWEST] >= 0 else -1
    while request >= 0:
        if over(request, state):
            decoded = int(ending(request, n, state)) * ((-1 - state.done[request]) & 1)
            known = stored(request, ask) - decoded * (1 - extra(request, ask, rules))
        else:  # below 0 where it does not decode
            known = min(cached(request, n, ask, state, rules) + 1 - ago - rules.two, stored(request, ask))
        first, last = ask.first[request], ask.first[request] + min(known >> rules.bits, listed(request, ask))
        place = last
        while place > first and state.holds[place - 1] < 0:
            place -= 1
        while place < last:
            age = known - ((place - first + 1) << rules.bits)
            show(place, 2 * (n[at.STEPS] - ago - age), gpu, ask, state)
            place += 1
        request = state.follows[request]


def free(request: int, tokens: int, known: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Take a sequence's blocks: those that nobody else uses are free, the last one first in the line.

    What it generated can be found from now on, where the table says what that is.
    """
    evict(gpu, state, rules)
    n, cells, full = state.numbers[gpu], state.cells, known >> rules.bits
    shared = min(listed(request, ask), full)
    n[at.USED] -= blocks_of(tokens, rules.bits) - shared
    if full > shared:
        state.place[request] = new(-1 - request, full - shared, n, cells)
        join(state.place[request], n, cells)
        n[at.HOLDING] += full - shared
    for place in range(ask.first[request] + shared - 1, ask.first[request] - 1, -1):
        if state.holds[place] < 0:
            show(place, 2 * n[at.STEPS] - 2, gpu, ask, state)
        cell = state.holds[place]
        state.holds[place] = -1
        cells[cell, COUNT] -= 1
        if cells[cell, COUNT] == 0:
            join(cell, n, cells)
            n[at.HOLDING] += 1
            n[at.USED] -= 1


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


def evict(gpu: int, state: State, rules: StepRules) -> None:
    """Forget what the blocks held that were given out since somebody looked last."""
    n, cells = state.numbers[gpu], state.cells
    excess = n[at.HOLDING] - rules.blocks + n[at.USED]
    while excess > 0:
        cell = n[at.OLDEST]
        content, lost = cells[cell, CONTENT], 1
        if content < 0:
            lost = min(cells[cell, COUNT], excess)
            n[at.HOLDING] -= lost
            if state.place[-1 - content] == cell:
                shorten(-1 - content, lost, n, state)
            else:  # it has another one since
                cells[cell, COUNT] -= lost
                if cells[cell, COUNT] == 0:
                    drop(cell, n, cells)
        else:
            leave(cell, n, cells)
            before = state.where[gpu, content]
            if before == cell:
                state.where[gpu, content] = cells[cell, COPY]
            else:
                while cells[before, COPY] != cell:
                    before = cells[before, COPY]
                cells[before, COPY] = cells[cell, COPY]
            spare(cell, n, cells)
        excess -= lost


def shorten(request: int, blocks: int, n: np.ndarray, state: State) -> None:
    """Take so many blocks from a request's run."""
    cell = state.place[request]
    state.cells[cell, COUNT] -= blocks
    if state.cells[cell, COUNT] == 0:
        state.place[request] = -1
        drop(cell, n, state.cells)


def new(content: int, count: int, n: np.ndarray, cells: np.ndarray) -> int:
    """A cell that was not in use."""
    cell = n[at.SPARE]
    n[at.SPARE] = cells[cell, AFTER]
    cells[cell, CONTENT], cells[cell, COUNT], cells[cell, COPY] = content, count, -1
    return cell


def spare(cell: int, n: np.ndarray, cells: np.ndarray) -> None:
    """A cell is no longer in use."""
    cells[cell, AFTER] = n[at.SPARE]
    n[at.SPARE] = cell


def join(cell: int, n: np.ndarray, cells: np.ndarray) -> None:
    """Let a cell join the end of the line of those that are free."""
    cells[cell, BEFORE], cells[cell, AFTER] = n[at.LATEST], -1
    if n[at.LATEST] >= 0:
        cells[n[at.LATEST], AFTER] = cell
    else:
        n[at.OLDEST] = cell
    n[at.LATEST] = cell


def unline(cell: int, n: np.ndarray, cells: np.ndarray) -> None:
    """Take a cell out of the line."""
    before, after = cells[cell, BEFORE], cells[cell, AFTER]
    if before >= 0:
        cells[before, AFTER] = after
    else:
        n[at.OLDEST] = after
    if after >= 0:
        cells[after, BEFORE] = before
    else:
        n[at.LATEST] = before


def leave(cell: int, n: np.ndarray, cells: np.ndarray) -> None:
    """Take a block that can be found out of the line."""
    unline(cell, n, cells)
    n[at.HOLDING] -= 1


def drop(cell: int, n: np.ndarray, cells: np.ndarray) -> None:
    """Take an empty run out of the line."""
    unline(cell, n, cells)
    spare(cell, n, cells)


for _long in (seek, occupy, fill, show, remember, free, free_ended, evict):
    _long.inlined = False
