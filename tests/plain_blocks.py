"""Continuous batching block by block: the plain version of blocks that are found again, and of priorities.

Every block has a number and what was written into it; free ones wait in a line, and whoever needs one takes the first.
One GPU, chunked prompts, first come, first served. No counters of `step_state` and none of its rules for them.
"""

from collections import Counter, deque
from itertools import takewhile
from typing import NamedTuple

import numpy as np


class Blocks(NamedTuple):
    """Times of each request, and totals."""

    start_s: np.ndarray
    first_token_s: np.ndarray
    completion_s: np.ndarray
    steps: int
    prefill: int
    preemptions: int
    gaps_s: list


class Cache:
    """Numbered blocks; `written` says what a free or taken one holds, if it is complete, the oldest first."""

    def __init__(self, blocks, size, content):
        self.size, self.free, self.content = size, deque(range(blocks)), content
        self.written, self.tables, self.users = {}, {}, Counter()

    def need(self, request, tokens):
        return -(-tokens // self.size) - len(self.tables.get(request, ()))

    def take(self, request, count):
        table = self.tables.setdefault(request, [])
        for _ in range(count):
            block = self.free.popleft()
            self.written.pop(block, None)
            self.users[block] = 1
            table.append(block)

    def write(self, request, tokens):
        """Note what the blocks hold that these tokens fill; without a token that is being made."""
        for place, block in enumerate(self.tables[request][: tokens // self.size]):
            if block not in self.written:
                self.written[block] = self.content(request, place)

    def give_back(self, request):
        """The last block first, so that it is also the first to be taken; before all others what holds nothing."""
        blocks = self.tables.pop(request)[::-1]
        self.users.subtract(blocks)
        unused = [block for block in blocks if self.users[block] == 0]
        self.free.extendleft(reversed([block for block in unused if block not in self.written]))
        self.free.extend(block for block in unused if block in self.written)

    def find(self, request, tokens):
        """The blocks of a request's beginning that hold it, of all but its last token."""
        holds = {what: block for block, what in reversed(self.written.items())}
        found = [holds.get(self.content(request, place)) for place in range((tokens - 1) // self.size)]
        return found[: found.index(None)] if None in found else found

    def use(self, request, found):
        """Take blocks that were found."""
        for block in found:
            if self.users[block] == 0:
                self.free.remove(block)
            self.users[block] += 1
        self.tables[request] = found


def serve(table, law, settings, priority=False, looks=()):
    """Serve a table of which every request fits.

    `looks`: times, and of what to count the first ones that are found then; the count takes the place of the contents.
    """
    finds = settings.reuse or settings.prefix_cache
    spare = int(settings.watermark * (settings.blocks + 1))  # with the one that an engine keeps for itself

    def content(request, place):
        if table.block_ids is not None:
            ids = table.block_ids[request][: place + 1]
            return tuple(ids) if len(ids) > place else (request, place, "alone")
        common = settings.prefix_cache and (place + 1) * settings.block_tokens <= table.prefix_tokens[request]
        return (table.prefix_group[request], place) if common else (request, place, "alone")

    def urgency(request):
        return table.priority[request], table.arrival_s[request]

    def wait(request):
        waiting.appendleft(request)
        if priority:
            waiting.extend(sorted([waiting.popleft() for _ in list(waiting)], key=lambda i: (*urgency(i), str(i))))

    knows = None if settings.known_ends else table.max_tokens
    if not settings.known_ends and knows is None:
        knows = np.maximum(table.output_tokens, 1) + 1
    cancel_s = np.full(len(table), np.nan) if table.cancel_s is None else table.cancel_s
    over = set()
    n, prompt, output = len(table), table.prompt_tokens, np.maximum(table.output_tokens, 1)
    cache = Cache(settings.blocks, settings.block_tokens, content)
    # Of each request: tokens whose place is filled or being filled, tokens there are, tokens that a step is making.
    computed, known, making = np.zeros(n, int), prompt.copy(), np.zeros(n, int)
    start_s, first_s, last_s = (np.full(n, np.nan) for _ in range(3))
    running, waiting, flight, gaps_s = [], deque(), deque(), []
    arrived = ended = steps = prefill = preemptions = looked = 0
    now_s = free_s = 0.0

    def ends(request):
        """Whether the engine knows that a sequence's last token is made or being made."""
        most = output[request] if knows is None else knows[request]
        return known[request] + making[request] >= prompt[request] + most

    def look(before_s):
        nonlocal looked
        held = set(cache.written.values())
        while looked < len(looks) and looks[looked][0] < before_s:
            looks[looked][1] = sum(1 for _ in takewhile(held.__contains__, looks[looked][1]))
            looked += 1

    def give(request, tokens, chosen):
        cache.take(request, cache.need(request, computed[request] + tokens))
        cache.write(request, min(computed[request] + tokens, known[request]))
        chosen.append((request, tokens))

    def abort(before_s):
        """Clients that were gone before an instant: with the first of them first."""
        nonlocal ended
        for request in np.argsort(cancel_s, kind="stable").tolist():
            if request < arrived and request not in over and cancel_s[request] < before_s:
                over.add(request)
                ended += 1
                if request in running:
                    running.remove(request)
                    cache.give_back(request)
                else:
                    waiting.remove(request)

    def compose():
        nonlocal preemptions
        room, chosen, lost = settings.token_budget, [], False
        cut = settings.long_prefill_tokens if len(running) + len(waiting) > 1 else 0
        cut = cut or room
        for request in list(running):
            if request not in running or ends(request):
                continue
            tokens = min(known[request] + making[request] - computed[request], cut, room)
            if tokens == 0:
                continue
            while request in running and cache.need(request, computed[request] + tokens) > len(cache.free):
                victim = max(running, key=urgency) if priority else running[-1]  # also one of which the last step runs
                running.remove(victim)
                cache.give_back(victim)
                wait(victim)
                room += sum(count for other, count in chosen if other == victim)
                chosen = [(other, count) for other, count in chosen if other != victim]
                lost, preemptions = True, preemptions + 1
            if request not in running:
                break
            give(request, tokens, chosen)
            room -= tokens
        while waiting and not lost and room > 0 and len(running) < settings.max_seqs:
            request = waiting[0]
            found = cache.find(request, known[request]) if finds else []
            used = sum(cache.users[block] > 0 for block in found)
            begins = len(found) * cache.size
            tokens = min(known[request] - begins, cut, room)
            whole = known[request] if settings.whole_prompt else begins + tokens
            if -(-whole // cache.size) - used + (spare if running else 0) > len(cache.free):
                break
            cache.use(request, found)
            computed[request] = begins
            running.append(waiting.popleft())
            give(request, tokens, chosen)
            room -= tokens
            start_s[request] = now_s if np.isnan(start_s[request]) else start_s[request]
        return chosen

    while ended < n:
        while arrived < n and table.arrival_s[arrived] <= now_s:
            if priority:
                wait(arrived)
            else:
                waiting.append(arrived)
            arrived += 1
        abort(np.nextafter(now_s, np.inf))
        look(np.nextafter(now_s, np.inf))
        chosen = compose()
        if chosen:
            shape, makes = np.zeros(3), []
            for request, tokens in chosen:
                computed[request] += tokens
                sampled = tokens == 1 and prompt[request] < computed[request] == known[request] + making[request]
                shape += (1, 0, computed[request]) if sampled else (0, tokens, 0)
                if computed[request] == known[request] + making[request]:
                    making[request] += 1
                    makes.append(request)
            free_s = max(now_s, free_s) + law.params[0] + law.params[1:4] @ shape
            flight.append((free_s, makes))
            steps, prefill = steps + 1, prefill + int(shape[1])
        elif not flight:
            now_s = table.arrival_s[arrived] if arrived < n else now_s  # all who ran may have lost their memory
        if flight and (not chosen or len(flight) == settings.steps_in_flight):
            look(flight[0][0])
            now_s, makes = flight.popleft()
            abort(now_s)
            for request in makes:
                if request in over:
                    continue  # in vain
                known[request] += 1
                making[request] -= 1
                first_s[request] = now_s if known[request] == prompt[request] + 1 else first_s[request]
                gaps_s += [] if np.isnan(last_s[request]) else [now_s - last_s[request]]
                last_s[request] = now_s
                if request in running:
                    cache.write(request, computed[request] - making[request])
                if known[request] == prompt[request] + output[request]:
                    ended += 1
                    over.add(request)
                    if request in running:
                        running.remove(request)
                        cache.give_back(request)
                    else:
                        waiting.remove(request)
    look(np.inf)
    last_s[known < prompt + output] = np.nan
    return Blocks(start_s, first_s, last_s, steps, prefill, preemptions, gaps_s)
