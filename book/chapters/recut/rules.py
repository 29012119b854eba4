"""Rules that cut the queue anew at every decision, policies of the library's own engine.

*Windows* are runs of the queue sorted by predicted output: that around the oldest request, or that with most predicted
tokens a second, waiting counted; each a `Custom` policy. *One edge* has no lower end: `most_in_time`. The same choice
among bins of fixed edges shows what the edges do. The rules know the law of a batch's time and predictions, never true
lengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simlib.checks import check_choice, check_integer, check_number, keep
from simlib.engine.shapes import Waiting
from simlib.latency.phases import Phases, padded_law
from simlib.policies.batch_size import MAX_BATCH
from simlib.policies.custom import Custom
from simlib.policies.deadline.most_in_time import CHOSEN, ROOM, SHAPE, WORTH, MostInTime, chosen_first, padded
from simlib.requests.table import RequestTable

OLDEST, WORK, IN_TIME, FIXED = "around the oldest", "most work", "most in time", "bins, most in time"
KINDS = (OLDEST, WORK, IN_TIME, FIXED)
# What the windows' kernel reads: which rule, cap, patience, the law.
RULE, CAP, PATIENCE_S, LAW = range(4)
LINE, COUNTS = 0, 4  # of what it keeps, beside `CHOSEN`, `WORTH` and `SHAPE`: the sorted line, counts


@dataclass(frozen=True, slots=True)
class Window:
    """A run of the sorted queue is the next batch.

    Parameters
    ----------
    kind : str
        Which run: `OLDEST` or `WORK`.
    cap : int
        Requests of a batch, at most.
    patience_s : float
        By so much waiting a request's work counts twice; around the oldest it counts for nothing.

    Examples
    --------
    >>> import simlib
    >>> requests = simlib.RequestTable([0.0, 1.0, 2.0, 3.0], [1] * 4, [9, 8, 2, 3], [9, 8, 2, 3])
    >>> law = simlib.Phases(1.0, 0.0, 1.0, 0.0)  # as many seconds as its longest has tokens
    >>> run = simlib.simulate(requests, Window(OLDEST, 2).policy(requests, law), law)
    >>> run.times.start_s.tolist()  # at 9 s the oldest goes with the nearest in length
    [0.0, 9.0, 17.0, 9.0]
    """

    kind: str
    cap: int
    patience_s: float = 1.0

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, (OLDEST, WORK))
        keep(self, cap=check_integer("cap", self.cap, 1, MAX_BATCH))
        keep(self, patience_s=check_number("patience_s", self.patience_s, 0.0, open_low=True))

    def policy(self, table: RequestTable, law: Phases) -> Custom:
        """The policy for a table, as it has room for so many requests; `law` is what it takes batches to take."""
        params = KINDS.index(self.kind), self.cap, self.patience_s, *law.params
        return Custom(self.kind, window, key=chosen_first, params=params, memory=np.zeros((5, max(len(table), ROOM))))


def window(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel: of all runs of the sorted queue the one that is worth most a second."""
    line, chosen, worth, cap = memory[LINE], memory[CHOSEN], memory[WORTH], int(params[CAP])
    count = sort_in(waiting, memory)
    first_come, oldest = params[RULE] == 0.0, waiting.order[waiting.head[0]]
    for place in range(count):
        request = int(line[place])
        chosen[request], worth[request] = 0.0, 1.0
        if not first_come:
            wait_s = now_s - waiting.arrival_s[request]
            worth[request] = (1.0 + wait_s / params[PATIENCE_S]) * float(waiting.predicted_output_tokens[request])
    best, first, last = -1.0, 0, 0
    for top in range(count):
        output, prompt, value, held = float(waiting.predicted_output_tokens[int(line[top])]), 0.0, 0.0, False
        for size in range(1, min(cap, top + 1) + 1):
            request = int(line[top - size + 1])
            prompt = max(prompt, float(waiting.prompt_tokens[request]))
            value += worth[request]
            held = held or request == oldest
            rate = value / padded_law(padded(float(size), prompt, output, memory[SHAPE]), params[LAW:])
            if rate > best and (held or not first_come):
                best, first, last = rate, top - size + 1, top + 1
    for place in range(first, last):
        chosen[int(line[place])] = 1.0
    for place in range(first, count + first - last):
        line[place] = line[place + last - first]
    memory[COUNTS, 0] = count + first - last
    return 0, last - first


def sort_in(waiting: Waiting, memory: np.ndarray) -> int:
    """Kernel: put those that came since the last decision into the sorted line; how many stand there."""
    line, count = memory[LINE], int(memory[COUNTS, 0])
    for place in range(int(memory[COUNTS, 1]), waiting.tail[0]):
        new, at = waiting.order[place], count
        length = waiting.predicted_output_tokens[new]
        while at > 0 and waiting.predicted_output_tokens[int(line[at - 1])] > length:
            line[at] = line[at - 1]
            at -= 1
        line[at] = new
        count += 1
    memory[COUNTS, 1] = waiting.tail[0]
    return count


def variants(kind: str, d_sla: float, law: Phases) -> dict[str, Window | MostInTime]:
    """The settings of a rule that are tried, by what is written in a table."""
    caps = (16, 32)
    if kind == OLDEST:
        return {f"{cap}": Window(kind, cap) for cap in caps}
    if kind == WORK:
        return {f"{cap}, {p:g}": Window(kind, cap, p * d_sla) for cap in caps for p in (0.25, 1.0)}
    if kind == FIXED:
        return {f"{k} bins, {cap}": MostInTime(d_sla, law, cap, k_bins=k) for k in (2, 4, 8) for cap in caps}
    return {f"{cap}, {margin:g}": MostInTime(d_sla, law, cap, margin=margin) for cap in caps for margin in (1.0, 1.5)}
