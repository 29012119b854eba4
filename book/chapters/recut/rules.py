"""Rules that cut the queue anew at every decision, each a `Custom` policy of the library's own engine.

*Windows* are runs of the queue sorted by predicted output: that around the oldest request, or that with most predicted
tokens a second, waiting counted. *One edge* has no lower end: a length is chosen, and of all that are no longer the
oldest that can still be in time are taken. The same choice among bins of fixed edges shows what the edges do.

The rules know the law of a batch's time (`Phases`) and predictions, never true lengths. As a member shorter than the
longest costs a batch nothing more than a seat, one edge is enough where a seat's worth does not hang on its length: any
batch with a lower edge is worth no more a second than the one, as large and as long, without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simlib.checks import check_choice, check_integer, check_number, keep
from simlib.engine.shapes import Request, Waiting
from simlib.latency.phases import Phases
from simlib.policies import bins
from simlib.policies.batch_size import MAX_BATCH
from simlib.policies.custom import Custom
from simlib.requests.table import RequestTable

OLDEST, WORK, IN_TIME, FIXED = "around the oldest", "most work", "most in time", "bins, most in time"
KINDS = (OLDEST, WORK, IN_TIME, FIXED)
LATE_CREDIT = 0.1  # of who can be in time no longer, at least, where one that has to go now counts 1
ROOM = 300  # requests, at least; of more than a thousand numbers a run that notes its policy notes few
LOOKED_AT = 16  # lengths of those that wait, at most, that are tried as the edge
# What the kernels read: which rule, cap, patience, deadline, margin on predicted times, the law, then inner edges.
RULE, CAP, PATIENCE_S, LIMIT_S, MARGIN, LAW, EDGES = 0, 1, 2, 3, 4, 5, 10
# What they keep: counts, the sorted line (or lengths that are tried), who is in the next batch, what each is worth.
COUNTS, LINE, CHOSEN, WORTH = range(4)


@dataclass(frozen=True, slots=True)
class Rule:
    """Which requests form the next batch, from all that wait.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    cap : int
        Requests of a batch, at most.
    d_sla : float
        Deadline, seconds; only those that count who is in time read it.
    patience : float
        Deadlines: by so much waiting a request's work counts twice (most work), or by so much more slack a request's
        urgency falls to 1/e (most in time).
    margin : float
        By what factor a predicted batch time is taken to be exceeded, where it is asked who is in time.
    k_bins : int
        Bins of equal mass, of the rule that has fixed ones.

    Examples
    --------
    >>> import simlib
    >>> requests = simlib.RequestTable([0.0, 1.0, 1.0, 1.0], [1] * 4, [9, 2, 9, 2], [9, 2, 9, 2])
    >>> rule = Rule("most in time", cap=2, d_sla=12.0)
    >>> law = simlib.Phases(1.0, 0.0, 1.0, 0.0)  # as many seconds as its longest has tokens
    >>> run = simlib.simulate(requests, rule.policy(requests, law), law)
    >>> run.times.start_s.tolist()  # the other long one can no longer be in time, the two short ones can
    [0.0, 9.0, 11.0, 9.0]
    """

    kind: str
    cap: int
    d_sla: float
    patience: float = 1.0
    margin: float = 1.0
    k_bins: int = 1

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        keep(self, cap=check_integer("cap", self.cap, 1, MAX_BATCH))
        keep(self, k_bins=check_integer("k_bins", self.k_bins, 1, bins.MAX_BINS))
        for name in ("d_sla", "patience", "margin"):
            keep(self, **{name: check_number(name, getattr(self, name), 0.0, open_low=True)})

    def policy(self, table: RequestTable, law: Phases) -> Custom:
        """The policy for a table, as it has room for so many requests; `law` is what it takes batches to take."""
        edges = bins.equal_mass(table.predicted_output_tokens, self.k_bins) if self.kind == FIXED else np.zeros(0)
        numbers = law.a_s, law.c1_s_per_token, law.d0_s_per_token, law.d1_s_per_token, law.d2_s_per_token2
        own = KINDS.index(self.kind), self.cap, self.patience * self.d_sla, self.d_sla, self.margin
        decide = window if self.kind in (OLDEST, WORK) else in_time
        memory = np.zeros((4, max(len(table), ROOM)))
        return Custom(self.kind, decide, key=chosen_first, params=(*own, *numbers, *edges), memory=memory)


def seconds(size: float, prompt: float, output: float, params: np.ndarray) -> float:
    """Kernel: what a batch takes by padded `Phases`."""
    step_s = params[LAW + 2] + size * (params[LAW + 3] + params[LAW + 4] * (prompt + 0.5 * output))
    return params[LAW] + params[LAW + 1] * size * prompt + max(output - 1.0, 0.0) * step_s


def tried(size: int) -> int:
    """Kernel: the next larger batch that is looked at."""
    return size + 1 if size < 4 else size + 4


def chosen_first(
    now_s: float, request: Request, given_to_client: float, params: np.ndarray, memory: np.ndarray
) -> float:
    """Kernel, a key: those that were chosen come before all others."""
    return 1.0 - memory[CHOSEN, request.index]


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
            rate = value / seconds(float(size), prompt, output, params)
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


def in_time(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel: of all lengths, or bins, and sizes the batch in which most are urgent and yet in time, a second.

    Members are the oldest of that length that will be in time, then, on seats that are left, the last to have missed
    it. `worth` is urgency but for the batch's time, which is common to all.
    """
    head, tail, worth = waiting.head[0], waiting.tail[0], memory[WORTH]
    for place in range(head, tail):
        request = waiting.order[place]
        slack_s = params[LIMIT_S] - (now_s - waiting.arrival_s[request])
        worth[request] = math.exp(-max(slack_s, 0.0) / params[PATIENCE_S])
    ranges, fixed = lengths_tried(waiting, memory), len(params) - EDGES
    if params[RULE] == 3.0:
        ranges = fixed + 1
    best, many, least, most, since_s = -1.0, 0, 0.0, 0.0, 0.0
    for number in range(ranges):
        low, high, output = 0.0, memory[LINE, number] + 1.0, memory[LINE, number]
        if params[RULE] == 3.0:
            low = params[EDGES + number - 1] if number > 0 else 0.0
            high = params[EDGES + number] if number < fixed else math.inf
            output = 0.0
            for place in range(head, tail):
                length = float(waiting.predicted_output_tokens[waiting.order[place]])
                output = max(output, length) if low <= length < high else output
        size, before, prompt = 1, 0, 0.0  # of the batch before, as its longest prompt is known
        while size <= min(int(params[CAP]), tail - head):
            time_s = params[MARGIN] * seconds(float(size), prompt, output, params)
            after_s = now_s + time_s - params[LIMIT_S]
            value, prompt, got, late = 0.0, 0.0, 0, 0
            for place in range(head, tail):
                request = waiting.order[place]
                length = float(waiting.predicted_output_tokens[request])
                if waiting.arrival_s[request] >= after_s and low <= length < high:
                    got, value = got + 1, value + worth[request]
                    prompt = max(prompt, float(waiting.prompt_tokens[request]))
                    if got == size:
                        break
            place = tail - 1
            while got + late < size and place >= head:
                request = waiting.order[place]
                length = float(waiting.predicted_output_tokens[request])
                if waiting.arrival_s[request] < after_s and low <= length < high:
                    late += 1
                    prompt = max(prompt, float(waiting.prompt_tokens[request]))
                place -= 1
            if got + late <= before:
                break
            if got + late < size:
                size = got + late
                continue
            value = value * math.exp(time_s / params[PATIENCE_S]) + LATE_CREDIT * late
            value /= seconds(float(size), prompt, output, params)
            if value > best:
                best, many, least, most, since_s = value, size, low, high, after_s
            before, size = size, tried(size)
    mark(many, least, most, since_s, waiting, memory)
    return 0, many


def lengths_tried(waiting: Waiting, memory: np.ndarray) -> int:
    """Kernel: predicted lengths of those that wait, at even distances in order of arrival; how many."""
    head, tail, count = waiting.head[0], waiting.tail[0], 0
    stride = 1 + (tail - head) // LOOKED_AT
    for place in range(head, tail, stride):
        memory[LINE, count] = float(waiting.predicted_output_tokens[waiting.order[place]])
        count += 1
    return count


def mark(many: int, low: float, high: float, since_s: float, waiting: Waiting, memory: np.ndarray) -> None:
    """Kernel: choose so many of these lengths, the oldest since an instant, then the last before it."""
    head, tail = waiting.head[0], waiting.tail[0]
    for place in range(head, tail):
        request = waiting.order[place]
        length = float(waiting.predicted_output_tokens[request])
        memory[CHOSEN, request] = 0.0
        if many > 0 and waiting.arrival_s[request] >= since_s and low <= length < high:
            memory[CHOSEN, request] = 1.0
            many -= 1
    for place in range(tail - 1, head - 1, -1):
        request = waiting.order[place]
        length = float(waiting.predicted_output_tokens[request])
        if many > 0 and waiting.arrival_s[request] < since_s and low <= length < high:
            memory[CHOSEN, request] = 1.0
            many -= 1


def variants(kind: str, d_sla: float) -> dict[str, Rule]:
    """The settings of a rule that are tried, by what is written in a table."""
    caps = (16, 32)
    if kind == OLDEST:
        return {f"{cap}": Rule(kind, cap, d_sla) for cap in caps}
    if kind == WORK:
        return {f"{cap}, {p:g}": Rule(kind, cap, d_sla, p) for cap in caps for p in (0.25, 1.0)}
    if kind == FIXED:
        return {f"{k} bins, {cap}": Rule(kind, cap, d_sla, 0.5, 1.0, k) for k in (2, 4, 8) for cap in caps}
    return {f"{cap}, {margin:g}": Rule(kind, cap, d_sla, 0.5, margin) for cap in caps for margin in (1.0, 1.5)}
