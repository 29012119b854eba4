"""The line of free blocks that hold what may be found: a record for each sequence that gave its blocks back.

A sequence's blocks are given out from its last to its first: those that only it can find, and then those that the table
says the contents of. Who finds a block takes it without looking for the record, which passes over it later.
"""

from __future__ import annotations

import numpy as np

from simlib.continuous import columns as at
from simlib.continuous.running.copies import SEVERAL, find_next, freed_with, remove, used_by
from simlib.continuous.state import Ask, State, StepRules

RECORD = 4
REQUEST, NUMBER, OWN, LISTED = range(RECORD)  # blocks of its own, in a record that is not its last; others to pass yet


def evict(gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Forget what the blocks held that were given out since somebody looked last."""
    n = state.numbers[gpu]
    if n[at.HOLDING] > rules.blocks - n[at.USED]:
        give_out(n[at.HOLDING] - rules.blocks + n[at.USED], gpu, ask, state)


def give_out(excess: int, gpu: int, ask: Ask, state: State) -> None:
    """Forget so many blocks, from the beginning of the line."""
    n, mask, users, mark = state.numbers[gpu], state.line.shape[1] - 1, state.users[gpu], state.mark[gpu]
    while excess > 0:
        record = state.line[gpu, n[at.OLDEST] & mask]
        request, number = record[REQUEST], record[NUMBER]
        if state.place[request] == number:
            lost = min(state.filled[request], excess)
            state.filled[request] -= lost
        else:
            lost = min(record[OWN], excess)
            record[OWN] -= lost
        n[at.HOLDING] -= lost
        excess -= lost
        row, place = ask.contents[ask.first[request] :], record[LISTED]
        while excess > 0 and place > 0:
            place -= 1
            content = row[place]
            if mark[content] == number or users[content] >= SEVERAL:  # else somebody has found it since
                excess -= forget(content, number, gpu, state)
        record[LISTED] = place
        if excess > 0:
            n[at.OLDEST] += 1


def forget(content: int, number: int, gpu: int, state: State) -> int:
    """Forget a block that became free with a sequence: 1; 0 if somebody has found it since."""
    users = state.users[gpu, content]
    if used_by(users) == 0 and state.mark[gpu, content] == number:
        if users >= SEVERAL:
            find_next(content, gpu, state)
        else:
            state.users[gpu, content] = -1
    elif users >= SEVERAL:
        copy = freed_with(number, content, gpu, state)
        if copy < 0:
            return 0
        remove(copy, gpu, state)
    else:
        return 0
    state.numbers[gpu, at.HOLDING] -= 1
    return 1


def line_up(request: int, own: int, listed: int, gpu: int, ask: Ask, state: State) -> None:
    """Let a sequence's free blocks join the end of the line: so many of its own, and of the others."""
    n = state.numbers[gpu]
    if n[at.LATEST] - n[at.OLDEST] == state.line.shape[1]:
        close_up(gpu, ask, state)
    if own > 0:
        if state.filled[request] > 0:  # some are where it left them before
            leave_behind(request, gpu, state)
        state.place[request], state.filled[request] = n[at.FREED], own
        n[at.HOLDING] += own
    record = state.line[gpu, n[at.LATEST] & (state.line.shape[1] - 1)]
    record[REQUEST], record[NUMBER], record[OWN], record[LISTED] = request, n[at.FREED], 0, listed
    n[at.LATEST] += 1
    n[at.FREED] += 1


def leave_behind(request: int, gpu: int, state: State) -> None:
    """Note in the record of a sequence's own blocks how many of them are left: it has another one from now on."""
    n, mask, number = state.numbers[gpu], state.line.shape[1] - 1, state.place[request]
    low, high = n[at.OLDEST], n[at.LATEST] - 1
    while low < high:
        middle = (low + high) >> 1
        if state.line[gpu, middle & mask, NUMBER] < number:
            low = middle + 1
        else:
            high = middle
    state.line[gpu, low & mask, OWN] = state.filled[request]


def close_up(gpu: int, ask: Ask, state: State) -> None:
    """Strike out the records of which nothing is left: at least every other one, as there are two for each block."""
    n, mask, kept = state.numbers[gpu], state.line.shape[1] - 1, state.numbers[gpu, at.OLDEST]
    for place in range(n[at.OLDEST], n[at.LATEST]):
        record, to = state.line[gpu, place & mask], state.line[gpu, kept & mask]
        if is_left(record, gpu, ask, state):
            for column in range(RECORD):
                to[column] = record[column]
            kept += 1
    n[at.LATEST] = kept


def is_left(record: np.ndarray, gpu: int, ask: Ask, state: State) -> bool:
    """Whether a record has a block that is free yet."""
    request, number = record[REQUEST], record[NUMBER]
    if record[OWN] > 0 or (state.place[request] == number and state.filled[request] > 0):
        return True
    for place in range(record[LISTED]):
        content = ask.contents[ask.first[request] + place]
        users = state.users[gpu, content]
        if used_by(users) == 0 and state.mark[gpu, content] == number:
            return True
        if users >= SEVERAL and freed_with(number, content, gpu, state) >= 0:
            return True
    return False


for _long in (give_out, forget, leave_behind, close_up, is_left):
    _long.inlined = False
