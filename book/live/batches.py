"""One run of batches in the page, as a kernel: bins, the library's own event loop, each request's times."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simlib.engine.batches import (
    MAX_PROMPT,
    MORE,
    SIZE,
    STARTED,
    Batches,
    Job,
    State,
    loop,
    no_key,
)
from simlib.engine.shapes import BATCH_COLUMNS, Waiting
from simlib.latency.models import affine_law
from simlib.latency.phases import padded_law
from simlib.policies.batch_size import B_LEAST, DEADLINE, NOTES, PARAMS, observe, target
from simlib.policies.full_batches import decide_fixed
from simlib.policies.orders import in_turn, longest_queue, oldest_head, shortest

STATIC, DYNAMIC, FIXED, SHORTEST = range(4)
IN_TURN, LONGEST, OLDEST = range(3)
AFFINE, PHASES = range(2)
BUSY, IDLE, SIZE_MEAN, COLLAPSED, GAP_P99 = range(5)  # of `Answered.totals`
COLUMNS, ABOUT = len(BATCH_COLUMNS), len(NOTES)
B_SLA, MEAN_S = NOTES.index("b_sla"), NOTES.index("service_mean_s")


class Requests(NamedTuple):
    """The columns of a table, in order of arrival."""

    arrival_s: np.ndarray
    prompt_tokens: np.ndarray
    output_tokens: np.ndarray
    predicted_tokens: np.ndarray


class Lines(NamedTuple):
    """Who will stand in which queue, as `bins.Queues`."""

    of: np.ndarray
    order: np.ndarray
    start: np.ndarray
    end: np.ndarray


class Answered(NamedTuple):
    """What became of each request (NaN: rejected), then of each batch, as many as fit; `counted` says how many.

    `counted` is the outcome, the batches, and the bins that somebody stands in; `totals` what GPUs did in all.
    """

    start_s: np.ndarray
    first_token_s: np.ndarray
    completion_s: np.ndarray
    batch_start_s: np.ndarray
    batch_end_s: np.ndarray
    batch_size: np.ndarray
    batch_gpu: np.ndarray
    notes: np.ndarray
    counted: np.ndarray
    totals: np.ndarray


def copied(source: np.ndarray, to: np.ndarray) -> None:
    """Kernel: the first numbers of an array are another's: what a slice does, without a sentence where they differ."""
    for place in range(len(source)):
        to[place] = source[place]


def places_of(values: np.ndarray) -> np.ndarray:
    """Kernel: where values stand in ascending order, equal ones as they came: runs of 1, 2, 4, … are merged."""
    count, width = len(values), 1
    places, merged = np.arange(count), np.empty(count, np.int64)
    while width < count:
        for start in range(0, count, 2 * width):
            middle, end = min(start + width, count), min(start + 2 * width, count)
            left, right = start, middle
            for place in range(start, end):
                if right == end or (left < middle and values[places[left]] <= values[places[right]]):
                    merged[place] = places[left]
                    left += 1
                else:
                    merged[place] = places[right]
                    right += 1
        places, merged = merged, places
        width *= 2
    return places


def edges_of(lengths: np.ndarray, bins: int, whole: bool) -> np.ndarray:
    """Kernel: `bins.equal_mass`, or its edges cut to integers."""
    ordered, edges, last = lengths[places_of(lengths)], np.zeros(bins - 1), len(lengths) - 1
    for edge in range(1, bins):
        place = float(edge) / bins * last
        low = math.floor(place)
        below, above, part = float(ordered[int(low)]), float(ordered[min(int(low) + 1, last)]), place - low
        value = below + (above - below) * part if part < 0.5 else above - (above - below) * (1.0 - part)
        edges[edge - 1] = math.floor(value) if whole else value
    return edges


def lines_of(lengths: np.ndarray, edges: np.ndarray, rows: np.ndarray) -> Lines:
    """Kernel: `bins.assign` and `bins.queues` of some rows, which are numbered anew."""
    bins = len(edges) + 1
    of, order = np.zeros(len(rows), np.int64), np.empty(len(rows), np.int64)
    start, end = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    for place in range(len(rows)):
        while of[place] < bins - 1 and edges[of[place]] <= lengths[rows[place]]:
            of[place] += 1
        end[of[place]] += 1
    for line in range(1, bins):
        start[line] = start[line - 1] + end[line - 1]
    for line in range(bins):
        end[line] = start[line]
    for place in range(len(rows)):
        order[end[of[place]]] = place
        end[of[place]] += 1
    return Lines(of, order, start, end)


def occupied(lines: Lines) -> int:
    """Kernel: how many of the lines are not empty."""
    count = 0
    for line in range(len(lines.end)):
        count += int(lines.end[line] > lines.start[line])
    return count


def shortest_lines(lengths: np.ndarray, most: int) -> np.ndarray:
    """Kernel: the edges of `ShortestPredictedFirst`: a line a length or, of too many, equally filled ones."""
    ordered = lengths[places_of(lengths)]
    different = np.empty(len(lengths), np.int64)
    count = 0
    for place in range(len(ordered)):
        if place == 0 or ordered[place] != ordered[place - 1]:
            different[count] = ordered[place]
            count += 1
    if count <= most:
        return different[1:count].astype(np.float64)
    masses, edges, found = edges_of(lengths, most, False), np.zeros(most), 0
    place, last = 0, 0
    for edge in range(len(masses)):
        while place < count and different[place] < masses[edge]:
            place += 1
        if place > last:
            edges[found], last = float(different[place]), place
            found += 1
    return edges[:found]


def edges_by(policy: int, bins: int, bounds: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Kernel: the edges of a policy's bins, those that are given or such that bins are equal; none of one line."""
    if len(bounds) > 0:
        return bounds
    if policy == SHORTEST:
        return shortest_lines(lengths, bins)
    return edges_of(lengths, bins, policy == DYNAMIC) if policy != STATIC and bins > 1 else np.zeros(0)


def order(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel: which line is next, as the last number but one of `params` says."""
    how = params[len(params) - 2]
    if how == LONGEST:
        return longest_queue(now_s, gpu, waiting, params, memory, note)
    if how == OLDEST:
        return oldest_head(now_s, gpu, waiting, params, memory, note)
    return in_turn(now_s, gpu, waiting, params, memory, note)


def decide(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel: what the policy decides that the last of `params` names; its own numbers stand before."""
    policy = params[len(params) - 1]
    if policy == STATIC:
        return 0, int(params[0])
    if policy == FIXED:
        return decide_fixed(now_s, gpu, waiting, params, memory, note)
    if policy == SHORTEST:
        return shortest(now_s, gpu, waiting, params, memory, note)
    queue, _ = order(now_s, gpu, waiting, params, memory, note)
    return queue, min(target(memory[0], params, note), int(params[PARAMS + queue]))


def learn(now_s: float, gpu: int, batch: np.ndarray, params: np.ndarray, memory: np.ndarray) -> None:
    """Kernel: a dynamic policy's controller, which all GPUs share, sees the finished batch."""
    if params[len(params) - 1] == DYNAMIC:
        observe(memory[0], batch, params)


def law(batch: np.ndarray, params: np.ndarray) -> float:
    """Kernel: how long a batch takes, by the law that the last of `params` names."""
    return padded_law(batch, params) if params[len(params) - 1] == PHASES else affine_law(batch, params)


def first_token_s(batch: np.ndarray, params: np.ndarray) -> float:
    """Kernel: how long the same batch takes to its first token."""
    if params[len(params) - 1] == PHASES:
        return params[0] + params[1] * (batch[SIZE] * batch[MAX_PROMPT])
    company = 1.0 + params[2] * (batch[SIZE] - 1.0) / batch[SIZE]
    return max(params[3], params[0] + params[1] * (batch[MAX_PROMPT] + 1.0) * company)


def serve(
    requests: Requests,
    policy: int,
    selects: int,
    bins: int,
    gpus: int,
    bounds: np.ndarray,
    sizes: np.ndarray,
    controller: np.ndarray,
    law_params: np.ndarray,
    capacity_tokens: float,
    answered: Answered,
) -> None:
    """Kernel: serve the requests that a GPU's memory can hold.

    `bounds` are a reader's own edges of bins, or none; `sizes` are the policy's own numbers: what `Plan.params` begins
    with; `controller` is its memory at the start.
    """
    count, kept = len(requests.arrival_s), 0
    rows = np.empty(count, np.int64)
    for row in range(count):
        answered.start_s[row] = answered.first_token_s[row] = answered.completion_s[row] = math.nan
        if policy != DYNAMIC or requests.prompt_tokens[row] + requests.output_tokens[row] <= capacity_tokens:
            rows[kept] = row
            kept += 1
    rows = rows[:kept]
    lengths = requests.predicted_tokens
    edges = edges_by(policy, bins, bounds, lengths)
    everybody = lines_of(lengths, edges, np.arange(count))
    lines = lines_of(lengths, edges, rows)
    answered.counted[0], answered.counted[1], answered.counted[2] = 0, 0, occupied(everybody)
    if kept == 0:
        return
    own = len(sizes)
    params = np.zeros(own + len(edges) + 3)
    copied(sizes, params)
    if policy in (DYNAMIC, FIXED):  # the last of the numbers is that of every line
        params[own : own + len(edges)] = sizes[own - 1]
    params[len(params) - 2], params[len(params) - 1] = selects, policy
    memory = np.zeros((2, len(controller)))
    copied(controller, memory[0])
    arrival_s, prompts, outputs = requests.arrival_s[rows], requests.prompt_tokens[rows], requests.output_tokens[rows]
    none, links, nobody, nothing = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.bool_)
    known = np.zeros(4, np.int64)
    known[2] = kept
    capacity = np.full(1, 2**62)
    if policy == DYNAMIC:
        capacity[0] = int(min(capacity_tokens, 2.0**62))
    waiting = Waiting(lines.start.copy(), lines.start.copy(), lines.end, lines.order, arrival_s, prompts, lengths[rows])
    job = Job(
        prompts, outputs, nobody, lines.of, links, capacity, none, lines.end,
        arrival_s, links, links, nobody, links, links, nobody, links, known, nothing,
    )  # fmt: skip
    notes = ABOUT if policy == DYNAMIC else 0
    state = State(
        np.full(1, -math.inf), np.full(gpus, math.inf), np.zeros((gpus, COLUMNS)), np.zeros(notes),
        np.zeros(2, np.int64), np.zeros(0), np.zeros(0, np.int64), np.zeros(3, np.int64),
    )  # fmt: skip
    batches = Batches(
        np.empty(kept), np.empty(kept), np.empty(kept, np.int64), np.empty(kept, np.int64), np.empty(kept, np.int64),
        np.empty(kept), np.empty(kept), np.empty((kept, notes)), np.full(kept, -1),
    )  # fmt: skip
    outcome = MORE
    while outcome == MORE:
        outcome = loop(state, waiting, job, batches, decide, no_key, learn, law, params, memory, law_params)
    answered.counted[0], answered.counted[1] = outcome, state.progress[STARTED]
    batch = np.zeros(COLUMNS)
    after_s = np.zeros(kept)
    for number in range(answered.counted[1]):
        batch[SIZE], batch[MAX_PROMPT] = batches.size[number], batches.max_prompt_tokens[number]
        after_s[number] = first_token_s(batch, law_params)
        answered.batch_start_s[number] = batches.start_s[number]
        answered.batch_end_s[number] = batches.start_s[number] + batches.service_s[number]
        answered.batch_size[number], answered.batch_gpu[number] = batches.size[number], batches.gpu[number]
        if notes > 0:
            copied(batches.notes[number], answered.notes[number])
    for place in range(kept):
        number, row = batches.batch_of[place], rows[place]
        if number >= 0:
            start_s, end_s = batches.start_s[number], answered.batch_end_s[number]
            answered.start_s[row], answered.completion_s[row] = start_s, end_s
            answered.first_token_s[row] = min(end_s, start_s + after_s[number])
    sum_up(arrival_s, batches, gpus, requests.arrival_s[0], sizes, answered)


def sum_up(
    came_s: np.ndarray, batches: Batches, gpus: int, first_s: float, sizes: np.ndarray, answered: Answered
) -> None:
    """Kernel: how long GPUs were busy and idle, mean batches, and how far a controller has collapsed."""
    last_s = spent_s = collapsed_s = 0.0
    came = taken = 0
    totals, controlled = answered.totals, batches.notes.shape[1] > 0
    for number in range(answered.counted[1]):
        start_s, service_s = batches.start_s[number], batches.service_s[number]
        last_s = max(last_s, start_s + service_s)
        spent_s += start_s + service_s - start_s
        totals[BUSY] += service_s
        taken += batches.size[number]
        while came < len(came_s) and came_s[came] <= start_s:
            came += 1
        least = controlled and batches.notes[number, B_SLA] <= sizes[B_LEAST] and came > taken
        if least and batches.notes[number, MEAN_S] > sizes[DEADLINE]:
            collapsed_s += service_s
    totals[IDLE] = max(gpus * (last_s - first_s) - spent_s, 0.0)
    totals[SIZE_MEAN] = taken / max(answered.counted[1], 1)
    totals[COLLAPSED] = min(collapsed_s / totals[BUSY], 1.0) if totals[BUSY] > 0.0 else 0.0
