"""Run-to-completion batches on G GPUs: the event loop.

A GPU takes a batch and is busy until its longest request ends. The engine owns the clock and the order of events; what
forms a batch is asked of the policy (`decide`, `learn`), how long it takes of the latency model (`law`). Everything
here is a kernel: plain functions over arrays, run compiled, or interpreted to read and debug, equal to the last bit.

At equal times: all completions of the instant (lowest GPU first), then all its arrivals in table order, then every
idle GPU is asked, lowest first: once, and once more whenever the policy has turned requests away.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from simlib.engine import chains
from simlib.engine.borrowed import borrowed, pointer_to
from simlib.engine.chains import answered, come, coming
from simlib.engine.compiled import MORE, bound, called, compiled, is_own, one_at_a_time, until_done
from simlib.engine.shapes import BATCH_COLUMNS, BLOCK_BITS, BLOCK_TOKENS, Request, Waiting

SIZE, MAX_PROMPT, SUM_PROMPT, MAX_OUTPUT, SUM_OUTPUT, MAX_TOTAL, SQUARES, BLOCKS, GIVEN, NUMBER, GPU, SERVICE = range(
    12
)


class Job(NamedTuple):
    """What is to be served: lengths, each request's queue and (where a key is asked) client, a GPU's token capacity.

    `priority` is the table's, for a key; it may be empty. Then the columns of `chains.Chains`; `end` is where each
    queue will end, whatever a policy is told of it.
    """

    prompt_tokens: np.ndarray
    output_tokens: np.ndarray
    given_s: np.ndarray
    queue_of: np.ndarray
    client_of: np.ndarray
    capacity_tokens: np.ndarray
    priority: np.ndarray
    end: np.ndarray
    arrival_s: np.ndarray
    follower: np.ndarray
    sibling: np.ndarray
    think_s: np.ndarray
    opening: np.ndarray
    due: np.ndarray
    due_s: np.ndarray
    came: np.ndarray
    known: np.ndarray
    refused: np.ndarray


class Batches(NamedTuple):
    """What was served: one row a batch in order of start, the batch of each request, the policy's notes."""

    start_s: np.ndarray
    service_s: np.ndarray
    size: np.ndarray
    gpu: np.ndarray
    queue: np.ndarray
    max_prompt_tokens: np.ndarray
    sum_prompt_tokens: np.ndarray
    notes: np.ndarray
    batch_of: np.ndarray

    def of_rows(self, rows: np.ndarray) -> Batches:
        """The same, with the requests in another order."""
        return self._replace(batch_of=self.batch_of[rows])


class State(NamedTuple):
    """Where the run stands: the clock, when each GPU ends (inf: idle), the batch that each one runs or ran last.

    `note` is what the policy notes at the decision at hand, `answer` a decision out of range. `given` counts the tokens
    of each client's requests that were taken, where a key is asked; `members` has a batch's that are of several queues,
    where it may have such; `progress` counts the requests that have arrived and that were taken, and the batches.
    """

    now_s: np.ndarray
    end_s: np.ndarray
    running: np.ndarray
    note: np.ndarray
    answer: np.ndarray
    given: np.ndarray
    members: np.ndarray
    progress: np.ndarray


DONE, STUCK, BAD_DECISION, BAD_TIME, ENDLESS = range(5)
ARRIVED, TAKEN, STARTED = range(3)
MOST_TOKENS = 2**62  # stands for a memory without limit
WORK = 2**19  # after which the loop comes back: GPUs looked at and requests taken, a few milliseconds


def take(
    first: int,
    last: int,
    number: int,
    capacity_tokens: int,
    order: np.ndarray,
    prompts: np.ndarray,
    outputs: np.ndarray,
    given_s: np.ndarray,
    batch_of: np.ndarray,
    batch: np.ndarray,
) -> int:
    """Take the requests at these places of `order`, as many as fit the token capacity, and describe the batch."""
    size = tokens = max_prompt = sum_prompt = max_output = sum_output = max_total = blocks = squares = 0
    longest_s = 0.0
    for place in range(first, last):
        request = order[place]
        prompt, output = prompts[request], outputs[request]
        total = prompt + output
        tokens += total
        if tokens > capacity_tokens:
            break
        batch_of[request] = number
        size += 1
        max_prompt = max(max_prompt, prompt)
        sum_prompt += prompt
        max_output = max(max_output, output)
        sum_output += output
        max_total = max(max_total, total)
        squares += prompt * prompt + output * output
        blocks += (total + BLOCK_TOKENS - 1) >> BLOCK_BITS
        if len(given_s) > 0:
            longest_s = max(longest_s, given_s[request])
    batch[SIZE], batch[NUMBER], batch[MAX_TOTAL] = size, number, max_total
    batch[MAX_PROMPT], batch[SUM_PROMPT], batch[MAX_OUTPUT], batch[SUM_OUTPUT] = (
        max_prompt,
        sum_prompt,
        max_output,
        sum_output,
    )
    batch[SQUARES], batch[BLOCKS], batch[GIVEN] = squares, blocks, longest_s
    return size


def bring_forward(
    queue: int, size: int, now_s: float, seen: Waiting, job: Job, state: State, key: Any, params: Any, memory: Any
) -> int:
    """Let those with the least keys, of equal ones the oldest, be first in a queue: up to where they fit."""
    tokens, head, order = 0, seen.head[queue], seen.order
    last = min(head + size, seen.tail[queue])
    for first in range(head, last):
        best, least = first, math.inf
        for place in range(first, seen.tail[queue]):
            request = order[place]
            predicted = seen.predicted_output_tokens[request] if len(seen.predicted_output_tokens) > 0 else 0
            priority = job.priority[request] if len(job.priority) > 0 else 0
            record = Request(request, seen.arrival_s[request], seen.prompt_tokens[request], predicted, priority)
            value = key(now_s, record, state.given[job.client_of[request]], params, memory)
            if value < least:
                best, least = place, value
        request = order[best]
        tokens += job.prompt_tokens[request] + job.output_tokens[request]
        if tokens > job.capacity_tokens[0]:
            return first
        for place in range(best, first, -1):  # those before it keep their order
            order[place] = order[place - 1]
        order[first] = request
        predicted = seen.predicted_output_tokens[request] if len(seen.predicted_output_tokens) > 0 else 0
        state.given[job.client_of[request]] += seen.prompt_tokens[request] + predicted
    return last


def gather(queue: int, size: int, seen: Waiting, members: np.ndarray) -> int:
    """Line the first of a queue and of those behind it up, so many if they are there; how many they are."""
    count = 0
    while queue < len(seen.head) and count < size:
        for place in range(seen.head[queue], min(seen.tail[queue], seen.head[queue] + size - count)):
            members[count] = seen.order[place]
            count += 1
        queue += 1
    return count


def leave(queue: int, size: int, seen: Waiting) -> None:
    """Take so many that were gathered out of their queues."""
    while size > 0:
        gone = min(size, seen.tail[queue] - seen.head[queue])
        seen.head[queue] += gone
        size -= gone
        queue += 1


def no_key(now_s: float, request: Request, given_to_client: float, params: np.ndarray, memory: np.ndarray) -> float:
    """Kernel where none is asked."""
    return 0.0


def next_instant(end_s: np.ndarray, arrival_s: float) -> float:
    """When the next batch ends or, if a GPU is idle to notice, the next request arrives; inf for neither."""
    now_s, idle = math.inf, False
    for gpu in range(len(end_s)):
        now_s = min(now_s, end_s[gpu])
        idle = idle or end_s[gpu] == math.inf
    return min(now_s, arrival_s) if idle else now_s


def close(end: np.ndarray, tail: np.ndarray) -> None:
    """Say of each queue that it ends there."""
    for queue in range(len(end)):
        end[queue] = tail[queue]


def loop(
    state: State,
    waiting: Waiting,
    job: Job,
    batches: Batches,
    decide: Callable[..., tuple[int, int]],
    key: Callable[..., float],
    learn: Callable[..., None],
    law: Callable[..., float],
    params: np.ndarray,
    memory: np.ndarray,
    law_params: np.ndarray,
) -> int:
    """The event loop: learn, let arrive, ask, take, time, start. `DONE`, `MORE` to go on, or what went wrong."""
    seen = borrowed(waiting)
    arrival_s, head, tail, order = seen.arrival_s, seen.head, seen.tail, seen.order
    end_s, running, note, progress = state.end_s, state.running, state.note, state.progress
    places = order.view(np.uint64)  # unsigned: no check, at every look-up, whether to count from the end
    work, prompts, outputs, given_s = borrowed(job), job.prompt_tokens, job.output_tokens, job.given_s
    queue_of, capacity_tokens, closed, last_call = job.queue_of, job.capacity_tokens, len(job.follower) > 0, False
    before = 0
    start_s, service_s, sizes, gpus, queues, max_prompt, sum_prompt, notes, batch_of = batches
    arrived, taken, started = int(progress[ARRIVED]), int(progress[TAKEN]), int(progress[STARTED])
    pause, members = taken + WORK, state.members.view(np.uint64)
    while True:
        row = coming(work) if closed else arrived if arrived < len(arrival_s) else -1
        now_s = next_instant(end_s, arrival_s[row] if row >= 0 else math.inf)
        if now_s == math.inf:
            if taken == len(places) or not closed:
                return DONE if taken == len(places) else STUCK
            now_s, last_call = state.now_s[0], True  # until somebody is served, no more will come
            close(seen.end, tail)
            before = taken
        state.now_s[0] = now_s
        for gpu in range(len(end_s)):
            if end_s[gpu] <= now_s:
                end_s[gpu] = math.inf
                learn(now_s, gpu, running[gpu], params, memory)
        while row >= 0 and arrival_s[row] <= now_s:
            if closed:
                come(row, work)
                order[tail[queue_of[row]]] = row
            tail[queue_of[row]] += 1
            arrived += 1
            row = coming(work) if closed else arrived if arrived < len(arrival_s) else -1
        for gpu in range(len(end_s)):
            while end_s[gpu] == math.inf and arrived > taken:
                for column in range(len(note)):
                    note[column] = 0.0
                queue, size = decide(now_s, gpu, seen, params, memory, note)
                if queue < 0 or queue >= len(head) or (size < 0 and tail[queue] == head[queue]):
                    state.answer[0], state.answer[1] = queue, size
                    return BAD_DECISION
                if size == 0 or tail[queue] == head[queue]:
                    break
                first, last = head[queue], min(tail[queue], head[queue] + abs(size))
                if size < 0:  # turned away: in no batch
                    for place in range(first, last):
                        batch_of[places[place]] = -1
                        if closed:
                            answered(order[place], now_s, work)
                    head[queue] = last
                    taken += last - first
                    continue
                if len(state.given) > 0:
                    last = bring_forward(queue, size, now_s, seen, job, state, key, params, memory)
                chosen, spills = places, len(members) > 0 and last - first < min(size, arrived - taken)
                if spills:
                    first, last, chosen = 0, gather(queue, size, seen, state.members), members
                batch = running[gpu]
                batch[GPU] = gpu
                size = take(
                    first, last, started, capacity_tokens[0], chosen, prompts, outputs, given_s, batch_of, batch
                )
                time_s = law(batch, law_params)
                if not (time_s >= 0.0 and now_s + time_s < math.inf):
                    return BAD_TIME
                batch[SERVICE] = time_s
                for column in range(len(note)):
                    notes[started, column] = note[column]
                start_s[started], service_s[started], sizes[started] = now_s, time_s, size
                gpus[started], queues[started] = gpu, queue
                max_prompt[started], sum_prompt[started] = batch[MAX_PROMPT], batch[SUM_PROMPT]
                end_s[gpu] = now_s + time_s
                if closed:
                    for place in range(first, first + size):
                        answered(state.members[place] if spills else order[place], end_s[gpu], work)
                if spills:
                    leave(queue, size, seen)
                else:
                    head[queue] += size
                taken += size
                started += 1
                progress[STARTED] = started
        if last_call:
            close(seen.end, work.end)
            last_call = False
            if taken == before:
                return STUCK
        pause -= len(end_s)
        if taken > pause:
            progress[ARRIVED], progress[TAKEN] = arrived, taken
            return MORE


for _rare in (bring_forward, gather, leave):
    _rare.inlined = False

decide: Any = None  # a policy's kernels and a law, bound to `loop_of` when it is compiled
key: Any = None
learn: Any = None
law: Any = None


def loop_of(
    state: State,
    waiting: Waiting,
    job: Job,
    batches: Batches,
    params: np.ndarray,
    memory: np.ndarray,
    law_params: np.ndarray,
) -> int:
    """Kernel: the event loop with one policy and one law compiled into it, in two thirds of the time."""
    return loop(state, waiting, job, batches, decide, key, learn, law, params, memory, law_params)


def interpreted(
    state: State, waiting: Waiting, job: Job, batches: Batches, plan: Any, law: Any, law_params: Any
) -> int:
    """Run the loop as it stands, in plain Python."""
    kernels, numbers = (plan.decide, plan.key, plan.learn, law), (plan.params, plan.memory, law_params)
    return until_done(loop, state, waiting, job, batches, *kernels, *numbers)


def all_compiled(
    state: State, waiting: Waiting, job: Job, batches: Batches, plan: Any, law: Any, law_params: Any
) -> int:
    """Run the loop, the policy and the law compiled: the package's own into the loop, a user's beside it."""
    kinds, arrays = signatures(), (state, waiting, job, batches)
    numbers = (_floats(plan.params, 1), _floats(plan.memory, 2), _floats(law_params, 1))
    kernels = {"decide": plan.decide, "key": plan.key or no_key, "learn": plan.learn, "law": law}
    if all(map(is_own, kernels.values())):
        return until_done(called(bound(loop_of, **kernels), kinds.loop_of), *arrays, *numbers)
    passed = (compiled(kernel, getattr(kinds, name)) for name, kernel in kernels.items())
    return until_done(called(loop, kinds.loop), *arrays, *passed, *numbers)


def _floats(numbers: np.ndarray, dimensions: int) -> np.ndarray:
    """What a policy or a law brings along, as the compiled loop takes it: its caller has to see to that."""
    if not isinstance(numbers, np.ndarray) or numbers.dtype != np.float64 or numbers.ndim != dimensions:
        raise TypeError(f"{numbers!r:.80} (expected an array of floats, ndim {dimensions})")
    if not numbers.flags.c_contiguous:
        raise TypeError(f"{numbers!r:.80} (expected rows that lie one after the other in memory)")
    return numbers


def serve(
    waiting: Waiting, job: Job, gpus: int, plan: Any, law: Any, law_params: np.ndarray, way: Callable[..., int]
) -> tuple[int, Batches, State]:
    """Run the loop over a fresh state.

    Parameters
    ----------
    plan : policies.plan.Plan
        `decide`, `key`, `learn`, `params`, `memory`, `spills` and the names of the notes.
    way : callable
        `interpreted`, `all_compiled` or `stepped.stepped`: everything in plain Python; everything compiled; the loop
        compiled, policy and law in plain Python.

    Returns
    -------
    outcome : int
        `DONE`, `STUCK`, `BAD_DECISION` or `BAD_TIME`.
    batches : Batches
        Trimmed to the batches that were started.
    state : State
        Where the run ended.
    """
    requests, plan = len(waiting.arrival_s), plan._replace(memory=plan.memory.copy())
    state = State(
        now_s=np.full(1, -math.inf),
        end_s=np.full(gpus, math.inf),
        running=np.zeros((gpus, len(BATCH_COLUMNS))),
        note=np.zeros(len(plan.notes)),
        answer=np.zeros(2, np.int64),
        given=np.zeros(job.client_of.max(initial=-1) + 1),
        members=np.empty(requests if plan.spills else 0, np.int64),
        progress=np.zeros(3, np.int64),
    )
    batches = Batches(
        start_s=np.empty(requests),
        service_s=np.empty(requests),
        size=np.empty(requests, np.int64),
        gpu=np.empty(requests, np.int64),
        queue=np.empty(requests, np.int64),
        max_prompt_tokens=np.empty(requests),
        sum_prompt_tokens=np.empty(requests),
        notes=np.empty((requests, len(plan.notes))),
        batch_of=np.full(requests, -1, np.int64) if len(job.refused) else np.empty(requests, np.int64),
    )
    outcome = way(state, waiting, job, batches, plan, law, law_params)
    started = state.progress[STARTED]
    return outcome, Batches(*(c if c is batches.batch_of else c[:started] for c in batches)), state


def nothing_served(requests: int, notes: int) -> Batches:
    """The batches of a run of which every request was rejected."""
    none = np.zeros(0, np.int64)
    return Batches(
        *[np.zeros(0)] * 2, *[none] * 3, *[np.zeros(0)] * 2, np.zeros((0, notes)), np.full(requests, -1, np.int64)
    )


@one_at_a_time
@functools.cache
def signatures() -> SimpleNamespace:
    """Numba types of everything that crosses between the engine, a policy and a law."""
    from numba import types

    ints, floats, table = types.int64[::1], types.float64[::1], types.float64[:, ::1]
    waiting = types.NamedTuple([ints] * 4 + [floats] + [ints] * 2, Waiting)
    job = types.NamedTuple([ints, ints, floats, ints, types.int32[::1], ints, ints, ints, *chains.kinds()], Job)
    batches = types.NamedTuple([floats, floats, ints, ints, ints, floats, floats, table, ints], Batches)
    state = types.NamedTuple([floats, floats, table, floats, ints, floats, ints, ints], State)
    decide = types.UniTuple(types.int64, 2)(types.float64, types.int64, pointer_to(waiting), floats, table, floats)
    request = types.NamedTuple([types.int64, types.float64] + [types.int64] * 3, Request)
    key = types.float64(types.float64, request, types.float64, floats, table)
    learn = types.void(types.float64, types.int64, floats, floats, table)
    law = types.float64(floats, floats)
    kernels = (types.FunctionType(s) for s in (decide, key, learn, law))
    arrays, numbers = (state, waiting, job, batches), (floats, table, floats)
    return SimpleNamespace(
        decide=decide,
        key=key,
        learn=learn,
        law=law,
        loop=types.int64(*arrays, *kernels, *numbers),
        loop_of=types.int64(*arrays, *numbers),
    )
