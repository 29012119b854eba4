"""A user's rule, or a law of steps, in plain Python, called from the compiled step loop.

The bridges are those of `engine.stepped`; here is what they call back.
"""

from __future__ import annotations

import functools
from typing import Any

from simlib.continuous.loop import kernel, signatures
from simlib.continuous.state import Ask, Lines, State, StepRules, own
from simlib.engine.compiled import compiled, is_own, one_at_a_time, until_done
from simlib.engine.shapes import Waiting
from simlib.engine.stepped import Session, bridges, measure
from simlib.policies.plan import Order


@one_at_a_time
@functools.cache
def law_bridge() -> Any:
    """The compiled bridge to a law of steps; made once a process."""
    from numba import njit, objmode

    def step_law(shape, params):
        with objmode(step_s="float64"):
            step_s = measure(0)
        return step_s

    return njit(signatures().law)(step_law)


def stepped(ask: Ask, lines: Lines, state: State, rules: StepRules, law: Any, order: Order) -> int:
    """Run the loop compiled, the rule and the law in plain Python between its steps."""
    bridge, kinds, params = bridges(), signatures(), lines.params
    times = compiled(law.law, kinds.law) if is_own(law.law) else law_bridge()
    asked = [0]  # a key is of the GPU that was asked last

    def decide(now_s: float, gpu: int) -> tuple[int, int]:
        row = asked[0] = own(gpu, rules)
        columns = ask.arrival_s, ask.prompt_tokens, ask.predicted_tokens
        waiting = Waiting(lines.head[row], lines.tail[row], lines.end[row], lines.order, *columns)
        return order.decide(now_s, gpu, waiting, params, lines.memory[row], lines.note)

    def key(now_s: float, request: Any, given: float) -> float:
        return order.key(now_s, request, given, params, lines.memory[asked[0]])

    with Session(decide=decide, key=key, law=lambda _: law.law(state.shape, law.params)):
        step = compiled(kernel(rules), kinds.loop)
        return until_done(step, ask, lines, state, rules, times, law.params, bridge.decide, bridge.key)
