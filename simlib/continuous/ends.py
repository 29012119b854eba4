"""When no more requests will come, for good or for now: what a rule is told, and who waits for ever."""

from __future__ import annotations

import math

import numpy as np

from simlib.continuous import columns as at
from simlib.continuous.compose import expire
from simlib.continuous.state import CALLED, TOLD, Ask, Lines, State, StepRules
from simlib.engine.batches import DONE, STUCK


def wake(gpu: int, now_s: float, state: State) -> None:
    """An idle GPU looks at what has arrived."""
    n, t = state.numbers[gpu], state.times[gpu]
    if not n[at.ACTIVE]:
        n[at.ACTIVE] = 1
        t[at.IDLE] += now_s - t[at.NOW]
        t[at.NOW] = now_s


def rouse(now_s: float, events: int, state: State) -> None:
    """Somebody still waits: idle GPUs that share the lines, and were not asked since something happened, look."""
    for gpu in range(len(state.numbers)):
        if state.numbers[gpu, at.REFUSED] != events:
            wake(gpu, now_s, state)


def close(now_s: float, lines: Lines, state: State) -> None:
    """The last request has arrived: no line will have another, and a rule that waited for one is asked once more."""
    tell(lines.tail, lines)
    for gpu in range(len(state.numbers)):
        state.numbers[gpu, at.EVENTS] += 1
        wake(gpu, now_s, state)


def tell(end: np.ndarray, lines: Lines) -> None:
    """Say of each line that it ends there."""
    for row in range(len(end)):
        for line in range(end.shape[1]):
            lines.end[row, line] = end[row, line]


def last_call(arrived: int, lines: Lines, state: State) -> bool:
    """Nobody runs or is on the way: until somebody is served no more will come. Whether that is new to the rule."""
    taken, now_s = arrived, -math.inf
    for row in range(len(lines.head)):
        taken -= state.numbers[row, at.WAITING]
    if taken == arrived or taken == state.progress[CALLED]:  # nobody waits, or nobody was taken since
        return False
    for gpu in range(len(state.numbers)):
        now_s = max(now_s, state.times[gpu, at.NOW])
    state.progress[TOLD], state.progress[CALLED] = len(state.numbers), taken
    close(now_s, lines, state)
    return True


def heard(gpus: int, lines: Lines, state: State) -> None:
    """So many GPUs were asked after a last call; once all were, or somebody comes, more may come again."""
    if state.progress[TOLD] > 0:
        state.progress[TOLD] = max(state.progress[TOLD] - gpus, 0)
        if state.progress[TOLD] == 0:
            tell(lines.true_end, lines)


def left_over(ask: Ask, lines: Lines, state: State, rules: StepRules) -> int:
    """Nothing will happen any more: clients go, but whoever would wait for ever is the rule's fault."""
    for gpu in range(len(lines.head)):
        if rules.timeout_s < math.inf:
            expire(gpu, math.inf, ask, lines, state, rules)
        if state.numbers[gpu, at.WAITING] > 0:
            return STUCK
    return DONE
