"""Most in time: the batch by which most urgent requests will be in time, for the time that it takes.

A batch takes as long as its longest member, so a length is chosen; of all that are no longer the oldest that can still
be in time are taken. One edge is enough: as long as a seat is worth the same whatever its length, a batch with a lower
edge is worth no more a second than the one, as large and as long, without it. That is exact where padded prompts are
alike. `book.chapters.recut` compares it with fixed bins, with shortest first and with a floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simlib.checks import InputError, check_integer, check_number, check_type, keep
from simlib.durations import limit_s
from simlib.engine import batches as at
from simlib.engine.compiled import bound, is_own
from simlib.engine.shapes import BATCH_COLUMNS, Request, Waiting
from simlib.latency.models import LatencyModel, affine_law
from simlib.policies import bins
from simlib.policies.batch_size import MAX_BATCH
from simlib.policies.custom import Custom
from simlib.policies.plan import Plan
from simlib.requests.table import RequestTable

LATE_CREDIT = 0.1  # of who can be in time no longer, at least, where one that has to go now counts 1
LOOKED_AT = 16  # lengths of those that wait, at most, that are tried as the edge
# What the kernels read: cap, patience, deadline, margin on predicted times, bins; then inner edges, the law's numbers.
CAP, PATIENCE_S, LIMIT_S, MARGIN, BINS, EDGES = range(6)
# What they keep: lengths that are tried, who is in the next batch, what each is worth, the shape of a batch.
TRIED, CHOSEN, WORTH, SHAPE = range(4)
ROOM = 300  # requests, at least; of more than a thousand numbers a run that notes its policy notes few


def chosen_first(
    now_s: float, request: Request, given_to_client: float, params: np.ndarray, memory: np.ndarray
) -> float:
    """Kernel, a key: those that were chosen come before all others."""
    return 1.0 - memory[CHOSEN, request.index]


def in_time(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel of `MostInTime`: of all lengths, or bins, and sizes the batch with most urgency in time a second.

    Members are the oldest of that length that will be in time, then, on seats that are left, the last to have missed
    it. `worth` is urgency but for the batch's time, which is common to all.
    """
    head, tail, worth = waiting.head[0], waiting.tail[0], memory[WORTH]
    for place in range(head, tail):
        request = waiting.order[place]
        slack_s = params[LIMIT_S] - (now_s - waiting.arrival_s[request])
        worth[request] = math.exp(-max(slack_s, 0.0) / params[PATIENCE_S])
    fixed = int(params[BINS])
    numbers = params[EDGES + max(fixed - 1, 0) :]
    ranges = fixed if fixed > 0 else lengths_tried(waiting, memory)
    best, many, least, most, since_s = -1.0, 0, 0.0, 0.0, 0.0
    for number in range(ranges):
        low, high, output = 0.0, memory[TRIED, number] + 1.0, memory[TRIED, number]
        if fixed > 0:
            low = params[EDGES + number - 1] if number > 0 else 0.0
            high = params[EDGES + number] if number < fixed - 1 else math.inf
            output = longest(low, high, waiting)
        size, before, prompt = 1, 0, 0.0  # of the batch before, as its longest prompt is known
        while size <= min(int(params[CAP]), tail - head):
            batch_s = affine_law(padded(float(size), prompt, output, memory[SHAPE]), numbers)
            time_s = params[MARGIN] * batch_s
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
            value /= affine_law(padded(float(size), prompt, output, memory[SHAPE]), numbers)
            if value > best:
                best, many, least, most, since_s = value, size, low, high, after_s
            before, size = size, size + 1 if size < 4 else size + 4
    mark(many, least, most, since_s, waiting, memory)
    return 0, many


def padded(size: float, prompt: float, output: float, batch: np.ndarray) -> np.ndarray:
    """Kernel: the shape of a batch whose members are all as long as its longest."""
    batch[at.SIZE], batch[at.MAX_PROMPT], batch[at.MAX_OUTPUT] = size, prompt, output
    batch[at.SUM_PROMPT], batch[at.SUM_OUTPUT], batch[at.MAX_TOTAL] = size * prompt, size * output, prompt + output
    return batch


def lengths_tried(waiting: Waiting, memory: np.ndarray) -> int:
    """Kernel: predicted lengths of those that wait, at even distances in order of arrival; how many."""
    head, tail, count = waiting.head[0], waiting.tail[0], 0
    stride = 1 + (tail - head) // LOOKED_AT
    for place in range(head, tail, stride):
        memory[TRIED, count] = float(waiting.predicted_output_tokens[waiting.order[place]])
        count += 1
    return count


def longest(low: float, high: float, waiting: Waiting) -> float:
    """Kernel: the largest predicted length of those that wait between two edges; 0 where nobody does."""
    output = 0.0
    for place in range(waiting.head[0], waiting.tail[0]):
        length = float(waiting.predicted_output_tokens[waiting.order[place]])
        output = max(output, length) if low <= length < high else output
    return output


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


@dataclass(frozen=True, slots=True)
class MostInTime:
    """The batch by which most requests will be in time, weighed by urgency, for the time that it takes.

    Parameters
    ----------
    d_sla : float
        Deadline of end-to-end latency, seconds, > 0.
    law : LatencyModel
        What batches are taken to take, such as `Phases`, or a fitted one; of simlib, with times for single requests
        refused. Batches are thought of as padded to their longest member.
    batch_size : int
        Requests of a batch, at most.
    patience : float
        Deadlines, > 0: by so much more slack a request's urgency falls to 1/e.
    margin : float
        By what factor, > 0, a predicted batch time is taken to be exceeded, where it is asked who is in time.
    k_bins : int, optional
        The same choice among bins of equal mass; by default among the lengths that wait.

    Notes
    -----
    Who can no longer be in time gets the seats that are left, the last to have missed it first: nobody is turned away,
    and on busy GPUs such requests wait long. Up to `LOOKED_AT` lengths are tried at each decision, and batches of 1 to
    4, 8, 12, ...; a decision takes longer the more wait.

    Examples
    --------
    >>> import simlib
    >>> requests = simlib.RequestTable([0.0, 1.0, 1.0, 1.0], [1] * 4, [9, 2, 9, 2], [9, 2, 9, 2])
    >>> law = simlib.Phases(1.0, 0.0, 1.0, 0.0)  # as many seconds as its longest has tokens
    >>> run = simlib.simulate(requests, MostInTime(12.0, law, batch_size=2), law)
    >>> run.times.start_s.tolist()  # the other long one can no longer be in time, the two short ones can
    [0.0, 9.0, 11.0, 9.0]
    """

    d_sla: float
    law: LatencyModel
    batch_size: int = 32
    patience: float = 0.5
    margin: float = 1.0
    k_bins: int | None = None
    name: ClassVar[str] = "most_in_time"
    work_conserving: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        keep(self, d_sla=limit_s("d_sla", self.d_sla))
        keep(self, batch_size=check_integer("batch_size", self.batch_size, 1, MAX_BATCH))
        for name in ("patience", "margin"):
            keep(self, **{name: check_number(name, getattr(self, name), 0.0, 1e6, open_low=True)})
        if self.k_bins is not None:
            keep(self, k_bins=check_integer("k_bins", self.k_bins, 1, bins.MAX_BINS))
        law = check_type("law", self.law, LatencyModel, "a latency model, such as latency.presets.load gives")
        shape = padded(1.0, 1.0, 1.0, np.zeros(len(BATCH_COLUMNS)))
        if not is_own(law.law) or len(law.given_s(1)) or not law.law(shape, law.params) > 0.0:
            raise InputError(f"law: {law!r:.80} (expected a model of simlib that gives a batch of one its time)")

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run."""
        edges = np.zeros(0) if self.k_bins is None else bins.equal_mass(table.predicted_output_tokens, self.k_bins)
        own = self.batch_size, self.patience * self.d_sla, self.d_sla, self.margin, self.k_bins or 0
        decide, memory = bound(in_time, affine_law=self.law.law), np.zeros((4, max(len(table), ROOM)))
        params = (*own, *edges, *self.law.params)
        plan = Custom(self.name, decide, key=chosen_first, params=params, memory=memory).plan(table, gpus)
        return plan._replace(order=None)  # an engine of steps has no batch to choose
