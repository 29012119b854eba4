"""Routers that know prefixes: which GPU's cache holds most of a prompt, or where it costs least.

They see what is true at the instant of an arrival, as if engines told at once what their caches hold and forget. What
a GPU has to do they count themselves: a request from when it is given away to its first token, and to its end.
"""

from __future__ import annotations

import math

import numpy as np

from simlib.continuous import columns as at
from simlib.continuous.prefix import remember, seek
from simlib.continuous.state import PREFIX, Ask, State, StepRules, blocks_of


def informed(request: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> int:
    """The GPU with the most cached blocks of a prompt, of equals that of the fewest requests; or that of least cost."""
    best, least, load, there = 0, math.inf, 0, 0
    for gpu in range(len(state.numbers)):
        if rules.answers:
            remember(1, gpu, ask, state, rules)
        found = seek(request, ask.prompt_tokens[request], gpu, ask, state, rules)[0]
        if rules.routing == PREFIX:
            cost = -float(found)
        else:
            hear(gpu, now_s, ask, state, rules)
            cost = cost_of(request, found, gpu, ask, state, rules)
        if cost < least or (rules.routing == PREFIX and cost == least and state.numbers[gpu, at.REQUESTS] < load):
            best, least, load, there = gpu, cost, state.numbers[gpu, at.REQUESTS], found
    if rules.routing != PREFIX:
        deal(request, there, best, ask, state, rules)
    return best


def cost_of(request: int, found: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> float:
    """What a GPU would have to do with a request of which it finds so many blocks: see `settings.Continuous`."""
    n, tokens = state.numbers[gpu], ask.prompt_tokens[request]
    prefill = n[at.TO_PREFILL] + tokens - (found << rules.bits)
    blocks = n[at.ASKED] + blocks_of(tokens, rules.bits)
    for place in range(shared(request, ask, rules)):
        blocks -= int(state.asked[gpu, ask.contents[ask.first[request] + place]] > 0)
    return rules.overlap_score_weight * (prefill / (1 << rules.bits)) + blocks


def shared(request: int, ask: Ask, rules: StepRules) -> int:
    """Full blocks of a prompt that others may have in theirs."""
    return min(ask.listed[request], ask.prompt_tokens[request] >> rules.bits)


def deal(request: int, found: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Count a request where it goes: the tokens that it does not find there, and its blocks."""
    n = state.numbers[gpu]
    state.to_prefill[request] = ask.prompt_tokens[request] - (found << rules.bits)
    n[at.TO_PREFILL] += state.to_prefill[request]
    n[at.ASKED] += blocks_of(ask.prompt_tokens[request], rules.bits)
    for place in range(shared(request, ask, rules)):
        content = ask.contents[ask.first[request] + place]
        n[at.ASKED] -= int(state.asked[gpu, content] > 0)
        state.asked[gpu, content] += 1


def prefilled(request: int, n: np.ndarray, state: State) -> None:
    """A prompt is computed, or never will be."""
    n[at.TO_PREFILL] -= state.to_prefill[request]
    state.to_prefill[request] = 0


def withdraw(request: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Count a request no longer: it has ended, or is gone."""
    n = state.numbers[gpu]
    prefilled(request, n, state)
    n[at.ASKED] -= blocks_of(ask.prompt_tokens[request], rules.bits)
    for place in range(shared(request, ask, rules)):
        content = ask.contents[ask.first[request] + place]
        state.asked[gpu, content] -= 1
        n[at.ASKED] += int(state.asked[gpu, content] > 0)


def tell(request: int, ended: int, n: np.ndarray, state: State) -> None:
    """A step that was composed will give a request its first token, or end it: news when that step is over."""
    event = 2 * request + ended
    state.news[event] = -1
    if n[at.NEWS] < 0:
        n[at.NEWS] = event
    else:
        state.news[n[at.LAST_NEWS]] = event
    n[at.LAST_NEWS] = event


def hear(gpu: int, now_s: float, ask: Ask, state: State, rules: StepRules) -> None:
    """What a GPU has done until now."""
    n = state.numbers[gpu]
    while n[at.NEWS] >= 0:
        request, ended = n[at.NEWS] >> 1, n[at.NEWS] & 1
        if (state.completion_s[request] if ended else state.first_token_s[request]) > now_s:
            break
        n[at.NEWS] = state.news[n[at.NEWS]]
        if ended:
            withdraw(request, gpu, ask, state, rules)
        else:
            prefilled(request, n, state)


for _long in (informed, withdraw, tell, hear):
    _long.inlined = False
