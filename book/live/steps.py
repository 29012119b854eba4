"""One run of continuous batching in the page, as a kernel: the library's own step loop over fresh arrays."""

from __future__ import annotations

import math

import numpy as np

from book.live.batches import (
    BUSY,
    GAP_P99,
    IDLE,
    SHORTEST,
    SIZE_MEAN,
    STATIC,
    Answered,
    Requests,
    copied,
    edges_by,
    lines_of,
    occupied,
    order,
)
from simlib.continuous import columns as at
from simlib.continuous.control import DECIDED, DECISIONS
from simlib.continuous.loop import kernel
from simlib.continuous.serve import SAMPLES
from simlib.continuous.state import (
    CHUNKED,
    GAP_BINS,
    GAP_LOW,
    GAP_OCTAVES,
    IN_TURN,
    LOGGED,
    NEEDED,
    SHARED,
    Ask,
    State,
    StepRules,
)
from simlib.continuous.state import Lines as Waiting
from simlib.engine import shapes
from simlib.engine.batches import DONE, MORE, no_key
from simlib.latency.steps import linear_law
from simlib.policies.orders import shortest

NUMBERS, TIMES, SHAPE, LOG = len(at.NUMBERS), len(at.TIMES), len(shapes.SHAPE), len(LOGGED)
DECISION = len(DECIDED)
NOTHING_SPECIAL = StepRules(*(0,) * NEEDED)
loop = kernel(NOTHING_SPECIAL)
GAPS = GAP_BINS * GAP_OCTAVES


def decide(
    now_s: float, gpu: int, waiting: shapes.Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel: who is admitted next; of `params` the first two are `shortest`'s, the others as for batches."""
    if params[len(params) - 1] == SHORTEST:
        return shortest(now_s, gpu, waiting, params, memory, note)
    return order(now_s, gpu, waiting, params, memory, note)


def serve(
    requests: Requests,
    policy: int,
    selects: int,
    bins: int,
    gpus: int,
    bounds: np.ndarray,
    engine: np.ndarray,
    numbers: np.ndarray,
    law_params: np.ndarray,
    answered: Answered,
) -> None:
    """Kernel: serve the requests that a GPU's cache can hold, in the order of a policy.

    `bounds` are a reader's own edges of bins, or none; `engine` is sequences that run at once, tokens of a step, blocks
    of the cache and the bits of a block's tokens; `numbers` are the policy's own: its batch size, and the seconds that
    outweigh a token.
    """
    count, kept, bits, blocks = len(requests.arrival_s), 0, int(engine[3]), int(engine[2])
    rows = np.empty(count, np.int64)
    for row in range(count):
        answered.start_s[row] = answered.first_token_s[row] = answered.completion_s[row] = math.nan
        tokens = requests.prompt_tokens[row] + max(requests.output_tokens[row] - 1, 0)
        if (tokens + (1 << bits) - 1) >> bits <= blocks:
            rows[kept] = row
            kept += 1
    rows = rows[:kept]
    lengths = requests.predicted_tokens
    edges = edges_by(policy, bins, bounds, lengths)
    everybody, lines = lines_of(lengths, edges, np.arange(count)), lines_of(lengths, edges, rows)
    answered.counted[0], answered.counted[1], answered.counted[2] = DONE, 0, occupied(everybody)
    if kept == 0:
        return
    many = len(edges) + 1
    at_once = int(min(engine[0], engine[1]))
    seats = min(at_once, int(numbers[0]), kept) if policy == STATIC else min(at_once, kept)
    routing = SHARED if gpus > 1 else IN_TURN
    rules = StepRules(
        seats, blocks, bits, 0, int(engine[1]), CHUNKED, 0, 0, 1, routing, many, int(many > 1), 0, 1, 0, 0, 1, 0, 0,
        math.inf, 1.0, 0, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    none, links, nobody, nothing = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.bool_)
    grid = np.zeros((0, 0), np.int64)
    arrival_s, prompts, outputs = requests.arrival_s[rows], requests.prompt_tokens[rows], requests.output_tokens[rows]
    predicted, known = lengths[rows], np.zeros(4, np.int64)
    known[2] = kept
    ask = Ask(
        arrival_s, prompts, outputs, predicted, predicted, none, lines.of.astype(np.int32) if many > 1 else links,
        links, links, none, none, none, links, np.zeros(0, np.uint32),
        links, links, nobody, links, links, nobody, links, known, nothing, none, nobody, none,
    )  # fmt: skip
    state = begun(ask, rules, gpus, nobody, nobody)
    params = np.zeros(4)
    params[0], params[1], params[2], params[3] = 1, numbers[1], selects, policy
    start, end = np.empty((1, many), np.int64), np.empty((1, many), np.int64)
    copied(lines.start, start[0])
    copied(lines.end, end[0])
    waiting = Waiting(
        start, start.copy(), end, end.copy(), lines.order, grid, grid, params, np.zeros((1, 1, 1)), np.zeros((1, 1)),
        nobody, np.zeros((1, 1)), np.zeros(3, np.int64), np.zeros(1),
    )  # fmt: skip
    outcome = MORE
    while outcome == MORE:
        outcome = loop(ask, waiting, state, rules, linear_law, law_params, decide, no_key)
    answered.counted[0] = outcome
    for place in range(kept):
        row = rows[place]
        answered.start_s[row], answered.first_token_s[row] = state.start_s[place], state.first_token_s[place]
        answered.completion_s[row] = state.completion_s[place]
    totals = answered.totals
    last_s, steps, decodes = arrival_s[0], 0, 0
    for place in range(kept):
        last_s = max(last_s, state.completion_s[place])
    idle_s = gpus * (arrival_s[0] - requests.arrival_s[0])
    for gpu in range(gpus):
        totals[BUSY] += state.times[gpu, at.BUSY]
        idle_s += state.times[gpu, at.IDLE] + last_s - state.times[gpu, at.NOW]
        steps += state.numbers[gpu, at.STEP]
        decodes += state.numbers[gpu, at.SUM_DECODES]
    totals[IDLE], totals[SIZE_MEAN] = max(idle_s, 0.0), decodes / steps if steps else 0.0
    totals[GAP_P99] = gap_p99_s(state.gaps)
    sampled(state, gpus, answered)


def begun(ask: Ask, rules: StepRules, gpus: int, controller: np.ndarray, control_rules: np.ndarray) -> State:
    """Kernel: `serve`'s state of GPUs on which nothing has happened yet.

    `controller` and `control_rules` are `StepControl.arrays`' rows of one GPU, empty without one.
    """
    count, decisions = len(ask.arrival_s), DECISIONS if len(controller) > 0 else 1
    whole, times = np.zeros((gpus, NUMBERS), np.int64), np.zeros((gpus, TIMES))
    for column in (at.PARTIAL, at.NEWEST, at.RESUMED, at.REFUSED, at.SPARE, at.NEWS):
        whole[:, column] = -1
    whole[:, at.CAP], whole[:, at.ROOM] = rules.seats, rules.budget
    times[:, at.NOW] = ask.arrival_s[0]
    times[:, at.SAMPLE] = -math.inf
    times[:, at.SAMPLE_GAP] = max((ask.arrival_s[count - 1] - ask.arrival_s[0]) / SAMPLES, 1e-3)
    control, settings = np.zeros((1, max(len(controller), 1))), np.zeros((2, max(len(control_rules) // 2, 1)))
    copied(controller, control[0])
    for place in range(len(control_rules)):
        settings[place // settings.shape[1], place % settings.shape[1]] = control_rules[place]
    real, progress = np.zeros(1), np.zeros(6, np.int64)
    progress[4] = progress[5] = -1
    none, links, many = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros((0, 0), np.int32)
    counts, records = np.zeros((gpus, 0), np.int32), np.zeros((gpus, 0, 1), np.int32)
    return State(
        whole, times, np.empty((gpus, rules.seats + 1), np.int64), np.zeros((gpus, 1 << rules.bits), np.int64),
        np.empty(rules.seats + 1, np.int64), np.zeros(SHAPE), np.zeros(GAPS, np.int64), real, real.view(np.int64),
        np.zeros((gpus, max(16, min(SAMPLES, 65536 // gpus)), 4)), np.zeros((gpus, 0, LOG)),
        np.empty(count, np.int32), np.empty(count, np.int32), np.zeros(count, np.int32), none, links, none, links,
        links, counts, counts, many, records, counts, np.zeros((gpus, 2, 1), np.int32),
        np.full(count, -1).astype(np.int32), np.full(count, math.nan), np.full(count, math.nan),
        np.full(count, math.nan), control, settings, np.zeros((1, decisions, DECISION)), progress,
        many, links, links, links, np.zeros((gpus, 0), np.int64), np.zeros((gpus, 0), np.int64), np.zeros(1, np.int64),
    )  # fmt: skip


def gap_p99_s(gaps: np.ndarray) -> float:
    """Kernel: `EngineRun.itl_s` of 0.99."""
    wanted, below, place = 0.99 * gaps.sum(), 0, 0
    if wanted == 0.0:
        return math.nan
    while below + gaps[place] < wanted or gaps[place] == 0:
        below += gaps[place]
        place += 1
    octave, inside = place // GAP_BINS, place % GAP_BINS
    time_s = 0.5 + 0.5 * (inside + (wanted - below) / gaps[place]) / GAP_BINS
    for _ in range(octave + GAP_LOW):
        time_s *= 2.0
    for _ in range(-octave - GAP_LOW):
        time_s *= 0.5
    return time_s


def sampled(state: State, gpus: int, answered: Answered) -> None:
    """Kernel: how many ran on each GPU from one sample to its next, in place of batches."""
    rows = 0
    for gpu in range(gpus):
        samples = min(len(state.series[gpu]), state.numbers[gpu, at.SAMPLED])
        for sample in range(samples):
            if rows < len(answered.batch_start_s):
                last = sample + 1 == samples
                answered.batch_start_s[rows] = state.series[gpu, sample, 0]
                answered.batch_end_s[rows] = state.series[gpu, sample if last else sample + 1, 0]
                answered.batch_size[rows], answered.batch_gpu[rows] = int(state.series[gpu, sample, 1]), gpu
                rows += 1
    answered.counted[1] = rows
