"""Prompts that are begun: several at once, where chunks are cut, or where priorities may stop any of them.

In order of admission. As an engine gives tokens to those that run in that order, and whoever comes later gets what is
left, nobody ahead of a sequence ever takes more than before: only the last prompt's chunk is cut by the budget, and
those that decode have their token whether they are asked first or in turn.
"""

from __future__ import annotations

from simlib.continuous import columns as at
from simlib.continuous.prefix import fill
from simlib.continuous.state import Ask, State, StepRules, held


def several(gpu: int, waiting: int, state: State) -> bool:
    """Whether more than one sequence runs or waits: a chunk is cut for the sake of others."""
    n = state.numbers[gpu]
    count = n[at.SEATS] + waiting
    if n[at.RESUMED] >= 0:
        count += 1 + int(state.follows[n[at.RESUMED]] >= 0)
    return count > 1


def begin(request: int, computed: int, gpu: int, state: State) -> None:
    """Let a prompt of which so many tokens are computed be the last of those that are begun."""
    n = state.numbers[gpu]
    state.computed[request] = computed
    state.begun[gpu, n[at.BEGUN]] = request
    state.portion[gpu, n[at.BEGUN]] = 0
    n[at.BEGUN] += 1


def place_of(request: int, gpu: int, state: State) -> int:
    """Where a prompt stands among those that are begun."""
    place = 0
    while state.begun[gpu, place] != request:
        place += 1
    return place


def forget(place: int, gpu: int, state: State) -> None:
    """Take a prompt out of those that are begun."""
    n = state.numbers[gpu]
    state.computed[state.begun[gpu, place]] = -1
    n[at.BEGUN] -= 1
    for later in range(place, n[at.BEGUN]):
        state.begun[gpu, later] = state.begun[gpu, later + 1]
        state.portion[gpu, later] = state.portion[gpu, later + 1]


def portion(request: int, budget: int, n: list[int], ask: Ask, state: State) -> int:
    """Tokens of a begun prompt that the next step computes."""
    return min(ask.prompt_tokens[request] + state.done[request] - state.computed[request], budget, n[at.CUT])


def blocks_for(request: int, tokens: int, ask: Ask, state: State, rules: StepRules) -> int:
    """Blocks that the next tokens of a begun prompt take."""
    computed = state.computed[request]
    return held(request, computed + tokens, ask, rules) - held(request, computed, ask, rules)


def needed(gpu: int, budget: int, ask: Ask, state: State, rules: StepRules) -> int:
    """Blocks that the next chunks of all begun prompts take."""
    n, blocks = state.numbers[gpu], 0
    for place in range(n[at.BEGUN]):
        request = state.begun[gpu, place]
        tokens = portion(request, budget, n, ask, state)
        blocks += blocks_for(request, tokens, ask, state, rules)
        budget -= tokens
    return blocks


def advance(request: int, tokens: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Give the next tokens of a begun prompt their blocks."""
    state.numbers[gpu, at.USED] += blocks_for(request, tokens, ask, state, rules)
    if rules.cache and tokens > 0:
        fill(request, state.computed[request], tokens, gpu, ask, state, rules)
    state.computed[request] += tokens
    state.portion[gpu, place_of(request, gpu, state)] = tokens


def advance_all(gpu: int, budget: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Give all begun prompts their next chunks."""
    n = state.numbers[gpu]
    for place in range(n[at.BEGUN]):
        request = state.begun[gpu, place]
        tokens = portion(request, budget, n, ask, state)
        advance(request, tokens, gpu, ask, state, rules)
        budget -= tokens


for _rare in (several, begin, forget, needed, advance, advance_all):
    _rare.inlined = False
