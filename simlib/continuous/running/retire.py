"""Who leaves with the step in flight, though its end was not known when that was composed."""

from __future__ import annotations

from simlib.continuous import columns as at
from simlib.continuous.router import tell
from simlib.continuous.state import (
    LEAST_TOKENS,
    PREFIX_COST,
    Ask,
    State,
    StepRules,
    held,
    lent,
    mark_over,
    routed,
)
from simlib.engine.chains import answered


def retire(request: int, tokens: int, known: int, gpu: int, ask: Ask, state: State, rules: StepRules) -> None:
    """Let a sequence leave with the step in flight, and its memory of so many tokens, whatever is composed after it."""
    n = state.numbers[gpu]
    n[at.LATER_SEATS] += 1
    n[at.LATER_TOKENS] += routed(request, ask) if rules.routing == LEAST_TOKENS else 0
    if tokens > 0:
        n[at.LATER_BLOCKS] += held(request, tokens, ask, rules)
        n[at.LATER_FULL] += (known >> rules.bits) - lent(request, ask, rules) if rules.reuse else 0
    mark_over(request, int(tokens > known), n[at.STEPS] - 1, state)
    if rules.closed:
        answered(request, state.completion_s[request], ask)
    if rules.cache and rules.routing == PREFIX_COST:
        tell(request, 1, n, state)


retire.inlined = False
