"""Times between tokens, counted where nothing but the step's own time may have passed, and where more has."""

from __future__ import annotations

from simlib.continuous import columns as at
from simlib.continuous.priority import PAUSED
from simlib.continuous.state import FIRST, REQUEST_MASK, Ask, State, StepRules, add_gaps, extra, over


def in_vain(gpu: int, step: int, ask: Ask, state: State, rules: StepRules) -> int:
    """Sequences that decode in a step once more, after their end."""
    n, heap, count = state.numbers[gpu], state.heap[gpu], 0
    if n[at.DECODES] > 0 and heap[0] >> 32 == step:
        for place in range(n[at.DECODES]):
            count += int(heap[place] >> 32 == step) & extra(heap[place] & REQUEST_MASK, ask, rules)
    return count


def after_pause(gpu: int, start_s: float, step_s: float, step: int, state: State) -> None:
    """Count the longer times between tokens of those that paused in the step before this one, for the step's own."""
    n = state.numbers[gpu]
    request = n[at.NEWEST]
    while request >= 0:
        if state.computed[request] == PAUSED - (step - 1):
            add_gaps(step_s, 0.0, 1, -1, state)
            add_gaps(start_s + step_s - state.completion_s[request], 0.0, 1, 1, state)
        request = state.precedes[request]


def count_gaps(
    gpu: int, step_s: float, slope_s: float, steps: int, decodes: int, ask: Ask, state: State, rules: StepRules
) -> None:
    """Count the times between tokens of steps that are composed."""
    n, t = state.numbers[gpu], state.times[gpu]
    if rules.prefill == FIRST:  # steps of prompts alone may have come between, for each sequence as many as it has seen
        first_s = t[at.NOW] + t[at.PENDING] + step_s
        request = n[at.NEWEST]
        for _ in range(n[at.FRESH]):
            while over(request, state):
                request = state.precedes[request]
            add_gaps(first_s - state.completion_s[request], 0.0, 1, 1, state)
            request = state.precedes[request]
        add_gaps(first_s - t[at.SINCE], 0.0, 1 if decodes > n[at.FRESH] else 0, decodes - n[at.FRESH], state)
        add_gaps(step_s + slope_s, slope_s, steps - 1, decodes, state)
    elif rules.unknown or rules.priority:
        last_s = step_s + slope_s * (steps - 1)
        add_gaps(step_s, slope_s, steps - 1, decodes, state)
        add_gaps(last_s, 0.0, 1, decodes - in_vain(gpu, n[at.STEP] + steps, ask, state, rules), state)
        if n[at.PAUSES] > 0:
            after_pause(gpu, t[at.NOW] + t[at.PENDING], step_s, n[at.STEPS] - steps, state)
        n[at.PAUSES] = 0
    else:
        add_gaps(step_s, slope_s, steps, decodes, state)
    n[at.FRESH] = 0


for _rare in (in_vain, after_pause):
    _rare.inlined = False
