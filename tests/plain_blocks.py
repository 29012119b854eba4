"""Continuous batching block by block: the plain version of `Continuous(reuse=True)`, to compare with.

Every block has a number and what was written into it; free ones wait in a line, and whoever needs one takes the first.
One GPU, chunked prompts, first come, first served. No counters of `step_state` and none of its rules for them.
"""

from collections import deque
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


class Cache:
    """Numbered blocks; `written` says which block of which request a free or taken one holds, if it is complete."""

    def __init__(self, blocks, size):
        self.size, self.free = size, deque(range(blocks))
        self.written, self.tables = {}, {}

    def need(self, request, tokens):
        return -(-tokens // self.size) - len(self.tables.get(request, ()))

    def take(self, request, count):
        table = self.tables.setdefault(request, [])
        for _ in range(count):
            block = self.free.popleft()
            self.written.pop(block, None)
            table.append(block)

    def write(self, request, tokens):
        """Note what the blocks hold that these tokens fill; without a token that is being made."""
        for place in range(tokens // self.size):
            self.written[self.tables[request][place]] = (request, place)

    def give_back(self, request):
        """The last block first, so that it is also the first to be taken; before all others what holds nothing."""
        blocks = self.tables.pop(request)[::-1]
        empty = [block for block in blocks if block not in self.written]
        self.free.extendleft(reversed(empty))
        self.free.extend(block for block in blocks if block in self.written)

    def find_again(self, request):
        """Take the blocks of a request's beginning that still hold it; how many tokens those are."""
        holds = {what: block for block, what in self.written.items()}
        found = []
        while (request, len(found)) in holds:
            found.append(holds[request, len(found)])
            self.free.remove(found[-1])
        self.tables[request] = found
        return len(found) * self.size


def serve(table, law, settings):
    """Serve a table of which every request fits."""
    n, prompt, output = len(table), table.prompt_tokens, np.maximum(table.output_tokens, 1)
    cache = Cache(settings.blocks, settings.block_tokens)
    # Of each request: tokens whose place is filled or being filled, tokens there are, tokens that a step is making.
    computed, known, making = np.zeros(n, int), prompt.copy(), np.zeros(n, int)
    start_s, first_s, last_s = (np.full(n, np.nan) for _ in range(3))
    running, waiting, flight = [], deque(), deque()
    arrived = ended = steps = prefill = preemptions = 0
    now_s = free_s = 0.0

    def ends(request):
        return known[request] + making[request] >= prompt[request] + output[request]

    def compose():
        nonlocal preemptions
        room, chosen, lost = settings.token_budget, [], False
        for request in list(running):
            if request not in running or ends(request):
                continue
            tokens = min(known[request] + making[request] - computed[request], room)
            if tokens == 0:
                continue
            while request in running and cache.need(request, computed[request] + tokens) > len(cache.free):
                victim = running.pop()  # also one of which the last step runs
                cache.give_back(victim)
                waiting.appendleft(victim)
                lost, preemptions = True, preemptions + 1
            if request in running:
                cache.take(request, cache.need(request, computed[request] + tokens))
                chosen.append((request, tokens))
                room -= tokens
        while waiting and not lost and room > 0 and len(running) < settings.max_seqs:
            request = waiting[0]
            if -(-known[request] // cache.size) > len(cache.free):
                break
            computed[request] = cache.find_again(request)
            tokens = min(known[request] - computed[request], room)
            cache.take(request, cache.need(request, computed[request] + tokens))
            running.append(waiting.popleft())
            chosen.append((request, tokens))
            room -= tokens
            start_s[request] = now_s if np.isnan(start_s[request]) else start_s[request]
        return chosen

    while ended < n:
        while arrived < n and table.arrival_s[arrived] <= now_s:
            waiting.append(arrived)
            arrived += 1
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
                cache.write(request, min(computed[request], known[request]))
            free_s = max(now_s, free_s) + law.params[0] + law.params[1:4] @ shape
            flight.append((free_s, makes))
            steps, prefill = steps + 1, prefill + int(shape[1])
        elif not flight:
            now_s = table.arrival_s[arrived]
        if flight and (not chosen or len(flight) == settings.steps_in_flight):
            now_s, makes = flight.popleft()
            for request in makes:
                known[request] += 1
                making[request] -= 1
                first_s[request] = now_s if known[request] == prompt[request] + 1 else first_s[request]
                last_s[request] = now_s
                if request in running:
                    cache.write(request, computed[request] - making[request])
                if known[request] == prompt[request] + output[request]:
                    ended += 1
                    if request in running:
                        running.remove(request)
                        cache.give_back(request)
                    else:
                        waiting.remove(request)
    return Blocks(start_s, first_s, last_s, steps, prefill, preemptions)
