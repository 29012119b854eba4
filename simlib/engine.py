"""Run-to-completion batches on G GPUs: the event loop.

A GPU takes a batch and is busy until its longest request ends. The engine owns the clock and the order of events; what
forms a batch is asked of the policy (`decide`, `learn`), how long it takes of the latency model (`law`). Everything
here is a kernel: plain functions over arrays, run compiled, or interpreted to read and debug, equal to the last bit.

At equal times: all completions of the instant (lowest GPU first), then all its arrivals in table order, then every
idle GPU is asked once, lowest first.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from simlib.compiled import compiled

__all__ = [
    "BATCH_COLUMNS",
    "Batches",
    "Job",
    "Waiting",
    "all_compiled",
    "interpreted",
    "nothing_served",
    "serve",
    "signatures",
]


class Waiting(NamedTuple):
    """What a policy may look at: who waits in which queue.

    Queue q holds the requests ``order[head[q]:tail[q]]``, oldest first; ``tail[q] - head[q]`` wait. Once
    ``tail[q] == end[q]`` no more will ever arrive in it. Columns are indexed by request; true output lengths are not
    among them.
    """

    head: np.ndarray
    tail: np.ndarray
    end: np.ndarray
    order: np.ndarray
    arrival_s: np.ndarray
    prompt_tokens: np.ndarray
    predicted_output_tokens: np.ndarray


# A batch as the law and the policy's `learn` see it: one row of floats, by these columns. `given_s` is the largest
# time given for a member (`latency.GivenTimes`), `number` counts batches by start, `square_tokens` sums the squares
# of prompt and output, `kv_blocks` counts blocks of 16 tokens.
BATCH_COLUMNS = (
    "size",
    "max_prompt_tokens",
    "sum_prompt_tokens",
    "max_output_tokens",
    "sum_output_tokens",
    "max_total_tokens",
    "square_tokens",
    "kv_blocks",
    "given_s",
    "number",
    "gpu",
    "service_s",
)
SIZE, MAX_PROMPT, SUM_PROMPT, MAX_OUTPUT, SUM_OUTPUT, MAX_TOTAL, SQUARES, BLOCKS, GIVEN, NUMBER, GPU, SERVICE = range(
    12
)
BLOCK_TOKENS = 16


class Job(NamedTuple):
    """What is to be served: the table's lengths, the queue of each request, the token capacity of a GPU."""

    prompt_tokens: np.ndarray
    output_tokens: np.ndarray
    given_s: np.ndarray
    queue_of: np.ndarray
    capacity_tokens: np.ndarray


class Batches(NamedTuple):
    """What was served: one row a batch in order of start, the batch of each request, the policy's notes."""

    start_s: np.ndarray
    service_s: np.ndarray
    size: np.ndarray
    gpu: np.ndarray
    queue: np.ndarray
    notes: np.ndarray
    batch_of: np.ndarray


class State(NamedTuple):
    """Where the run stands: the clock, the counters below, when each GPU ends (inf: idle), what each one runs."""

    now_s: np.ndarray
    counts: np.ndarray
    end_s: np.ndarray
    running: np.ndarray


ARRIVED, TAKEN, STARTED, ASKED = range(4)  # requests arrived and taken, batches started, GPUs asked at this instant
DONE, DECIDE, LEARN, STUCK, BAD_DECISION, BAD_TIME = range(6)


def advance(state: State, waiting: Waiting, job: Job) -> tuple[int, int]:
    """Go on to the next thing to do; return what (`DECIDE`, `LEARN`, `DONE`, `STUCK`) and on which GPU."""
    counts, end_s = state.counts, state.end_s
    gpus, requests = len(end_s), len(waiting.arrival_s)
    while True:
        now_s = state.now_s[0]
        if counts[ASKED] == 0:
            for gpu in range(gpus):
                if end_s[gpu] <= now_s:
                    end_s[gpu] = math.inf
                    return LEARN, gpu
            while counts[ARRIVED] < requests and waiting.arrival_s[counts[ARRIVED]] <= now_s:
                waiting.tail[job.queue_of[counts[ARRIVED]]] += 1
                counts[ARRIVED] += 1
        if counts[ARRIVED] > counts[TAKEN]:
            for gpu in range(counts[ASKED], gpus):
                if end_s[gpu] == math.inf:
                    counts[ASKED] = gpu + 1
                    return DECIDE, gpu
        next_s, idle = math.inf, False
        for gpu in range(gpus):
            next_s = min(next_s, end_s[gpu])
            idle = idle or end_s[gpu] == math.inf
        if idle and counts[ARRIVED] < requests:
            next_s = min(next_s, waiting.arrival_s[counts[ARRIVED]])
        if next_s == math.inf:
            return (DONE if counts[TAKEN] == requests else STUCK), 0
        state.now_s[0] = next_s
        counts[ASKED] = 0


def take(gpu: int, queue: int, size: int, state: State, waiting: Waiting, job: Job, batches: Batches) -> None:
    """Take the oldest requests of a queue, at most `size` and within the token capacity, and describe the batch."""
    batch, number, tokens = state.running[gpu], state.counts[STARTED], 0
    for column in range(len(batch)):
        batch[column] = 0.0
    batch[GPU], batch[NUMBER] = gpu, number
    last = min(waiting.tail[queue], waiting.head[queue] + size)
    for place in range(waiting.head[queue], last):
        request = waiting.order[place]
        prompt, output = job.prompt_tokens[request], job.output_tokens[request]
        tokens += prompt + output
        if tokens > job.capacity_tokens[0]:
            break
        batches.batch_of[request] = number
        batch[SIZE] += 1.0
        batch[MAX_PROMPT] = max(batch[MAX_PROMPT], prompt)
        batch[SUM_PROMPT] += prompt
        batch[MAX_OUTPUT] = max(batch[MAX_OUTPUT], output)
        batch[SUM_OUTPUT] += output
        batch[MAX_TOTAL] = max(batch[MAX_TOTAL], prompt + output)
        batch[SQUARES] += float(prompt) * prompt + float(output) * output
        batch[BLOCKS] += (prompt + output + BLOCK_TOKENS - 1) // BLOCK_TOKENS
        batch[GIVEN] = max(batch[GIVEN], job.given_s[request % len(job.given_s)])
    waiting.head[queue] += int(batch[SIZE])


def launch(gpu: int, queue: int, service_s: float, state: State, batches: Batches) -> None:
    """Start the batch now."""
    batch, number = state.running[gpu], state.counts[STARTED]
    batch[SERVICE] = service_s
    batches.start_s[number] = state.now_s[0]
    batches.service_s[number] = service_s
    batches.size[number] = int(batch[SIZE])
    batches.gpu[number] = gpu
    batches.queue[number] = queue
    state.end_s[gpu] = state.now_s[0] + service_s
    state.counts[STARTED] += 1
    state.counts[TAKEN] += int(batch[SIZE])


def loop(
    state: State,
    waiting: Waiting,
    job: Job,
    batches: Batches,
    decide: Callable[..., tuple[int, int]],
    learn: Callable[..., None],
    law: Callable[..., float],
    params: np.ndarray,
    memory: np.ndarray,
    law_params: np.ndarray,
) -> int:
    """The event loop: ask, take, time, start, learn, until nothing is left. Returns `DONE` or what went wrong."""
    while True:
        what, gpu = advance(state, waiting, job)
        if what == LEARN:
            learn(state.now_s[0], gpu, state.running[gpu], params, memory)
        elif what == DECIDE:
            note = batches.notes[state.counts[STARTED]]
            queue, size = decide(state.now_s[0], gpu, waiting, params, memory, note)
            if queue < 0 or queue >= len(waiting.head) or size < 0:
                return BAD_DECISION
            if size > 0 and waiting.tail[queue] > waiting.head[queue]:
                take(gpu, queue, size, state, waiting, job, batches)
                service_s = law(state.running[gpu], law_params)
                if not (service_s >= 0.0 and state.now_s[0] + service_s < math.inf):
                    return BAD_TIME
                launch(gpu, queue, service_s, state, batches)
        else:
            return what


def interpreted(
    state: State, waiting: Waiting, job: Job, batches: Batches, plan: Any, law: Any, law_params: Any
) -> int:
    """Run the loop as it stands, in plain Python."""
    return loop(state, waiting, job, batches, plan.decide, plan.learn, law, plan.params, plan.memory, law_params)


def all_compiled(
    state: State, waiting: Waiting, job: Job, batches: Batches, plan: Any, law: Any, law_params: Any
) -> int:
    """Run the loop, the policy and the law compiled."""
    kinds = signatures()
    kernels = (compiled(plan.decide, kinds.decide), compiled(plan.learn, kinds.learn), compiled(law, kinds.law))
    arrays = (state, waiting, job, batches)
    return compiled(loop, kinds.loop)(*arrays, *kernels, plan.params, plan.memory, law_params)


def serve(
    waiting: Waiting, job: Job, gpus: int, plan: Any, law: Any, law_params: np.ndarray, way: Callable[..., int]
) -> tuple[int, Batches, State]:
    """Run the loop over a fresh state.

    Parameters
    ----------
    plan : schedulers.Plan
        `decide`, `learn`, `params`, `memory` and the names of the notes.
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
    requests = len(waiting.arrival_s)
    state = State(
        now_s=np.full(1, -math.inf),
        counts=np.zeros(4, np.int64),
        end_s=np.full(gpus, math.inf),
        running=np.zeros((gpus, len(BATCH_COLUMNS))),
    )
    batches = Batches(
        start_s=np.empty(requests),
        service_s=np.empty(requests),
        size=np.empty(requests, np.int64),
        gpu=np.empty(requests, np.int64),
        queue=np.empty(requests, np.int64),
        notes=np.zeros((requests + 1, len(plan.notes))),  # one row more: asked, and answered with "wait"
        batch_of=np.full(requests, -1, np.int64),
    )
    outcome = way(state, waiting, job, batches, plan, law, law_params)
    started = state.counts[STARTED]
    return outcome, Batches(*(c if c is batches.batch_of else c[:started] for c in batches)), state


def nothing_served(requests: int, notes: int) -> Batches:
    """The batches of a run of which every request was rejected."""
    none = np.zeros(0, np.int64)
    return Batches(np.zeros(0), np.zeros(0), none, none, none, np.zeros((0, notes)), np.full(requests, -1, np.int64))


@functools.cache
def signatures() -> SimpleNamespace:
    """Numba types of everything that crosses between the engine, a policy and a law."""
    from numba import types

    ints, floats, table = types.int64[::1], types.float64[::1], types.float64[:, ::1]
    waiting = types.NamedTuple([ints] * 4 + [floats] + [ints] * 2, Waiting)
    job = types.NamedTuple([ints, ints, floats, ints, floats], Job)
    batches = types.NamedTuple([floats, floats, ints, ints, ints, table, ints], Batches)
    state = types.NamedTuple([floats, ints, floats, table], State)
    decide = types.UniTuple(types.int64, 2)(types.float64, types.int64, waiting, floats, table, floats)
    learn = types.void(types.float64, types.int64, floats, floats, table)
    law = types.float64(floats, floats)
    first_class = [types.FunctionType(s) for s in (decide, learn, law)]
    return SimpleNamespace(
        decide=decide,
        learn=learn,
        law=law,
        loop=types.int64(state, waiting, job, batches, *first_class, floats, table, floats),
    )
