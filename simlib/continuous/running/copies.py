"""Copies of a block: of several that contain the same the oldest is found (`State.users`); the later ones are here.

They come about where two sequences compute the same at the same time, and where a prompt is found as a whole: its last
token is computed. They are linked by content, the oldest first, in a few lists that each have several contents.
"""

from __future__ import annotations

from simlib.continuous import columns as at
from simlib.continuous.state import State

SEVERAL = 1 << 30  # among the users of a block that is found: it has copies
OLD = -(1 << 31)  # the birth of a block that had been forgotten by its maker: before all others
COPY = 6  # columns of a copy: `FREED` is the number of the sequence that it became free with
CONTENT, USERS, BORN, FREED, MAKER, NEXT = range(COPY)
LISTS = 1024


def used_by(users: int) -> int:
    """How many use a block that is found."""
    return users & (SEVERAL - 1)


def add(content: int, born: int, maker: int, gpu: int, state: State) -> None:
    """One more copy of what a block contains, used by whoever made it; the oldest one is found."""
    n, copies, users, mark = state.numbers[gpu], state.copies[gpu], state.users[gpu], state.mark[gpu]
    alone = len(state.maker) > 0 and state.maker[gpu, content] >= 0 and used_by(users[content]) == 1
    if alone and mark[content] > born:  # it was made later, and only its maker knows
        born, mark[content] = mark[content], born
        maker, state.maker[gpu, content] = state.maker[gpu, content], maker
    copy = n[at.SPARE]
    if copy >= 0:
        n[at.SPARE] = copies[copy, NEXT]
    else:
        copy = n[at.COPIES]
        n[at.COPIES] += 1
    before, after = -1, state.lists[gpu, content % LISTS]
    while after >= 0 and (copies[after, CONTENT] != content or copies[after, BORN] <= born):
        before, after = after, copies[after, NEXT]
    copies[copy, CONTENT], copies[copy, USERS], copies[copy, BORN] = content, 1, born
    copies[copy, MAKER], copies[copy, NEXT] = maker, after
    if before < 0:
        state.lists[gpu, content % LISTS] = copy
    else:
        copies[before, NEXT] = copy
    users[content] |= SEVERAL


def made_by(request: int, content: int, gpu: int, state: State) -> int:
    """The copy that a sequence made and uses; -1: it uses the one that is found."""
    copies = state.copies[gpu]
    copy = state.lists[gpu, content % LISTS]
    while copy >= 0 and (copies[copy, CONTENT] != content or copies[copy, MAKER] != request):
        copy = copies[copy, NEXT]
    return copy


def freed_with(number: int, content: int, gpu: int, state: State) -> int:
    """The copy that became free with a sequence; -1: none did, or somebody uses it again."""
    copies = state.copies[gpu]
    copy = state.lists[gpu, content % LISTS]
    while copy >= 0:
        if copies[copy, CONTENT] == content and copies[copy, USERS] == 0 and copies[copy, FREED] == number:
            break
        copy = copies[copy, NEXT]
    return copy


def remove(copy: int, gpu: int, state: State) -> None:
    """Take a copy away."""
    n, copies = state.numbers[gpu], state.copies[gpu]
    content = copies[copy, CONTENT]
    before, other, several = -1, state.lists[gpu, content % LISTS], 0
    while other >= 0:
        if copies[other, NEXT] == copy:
            before = other
        several |= int(other != copy and copies[other, CONTENT] == content)
        other = copies[other, NEXT]
    if before < 0:
        state.lists[gpu, content % LISTS] = copies[copy, NEXT]
    else:
        copies[before, NEXT] = copies[copy, NEXT]
    copies[copy, NEXT] = n[at.SPARE]
    n[at.SPARE] = copy
    if not several:
        state.users[gpu, content] = used_by(state.users[gpu, content])


def find_next(content: int, gpu: int, state: State) -> None:
    """The block that is found is forgotten: the oldest of its copies is found from now on."""
    copies, copy = state.copies[gpu], state.lists[gpu, content % LISTS]
    while copies[copy, CONTENT] != content:
        copy = copies[copy, NEXT]
    remove(copy, gpu, state)
    used = copies[copy, USERS]
    state.users[gpu, content] = used | (state.users[gpu, content] & SEVERAL)
    state.mark[gpu, content] = copies[copy, BORN] if used > 0 else copies[copy, FREED]
    if len(state.maker) > 0:
        state.maker[gpu, content] = copies[copy, MAKER]


for _rare in (add, made_by, freed_with, remove, find_next):
    _rare.inlined = False
