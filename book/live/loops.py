"""An engine in the page under a controller, or fed by clients who wait for their answers, as a kernel of its own.

The library's step loop once more, first come, first served on one GPU: what `steps` runs has neither of them, and
is faster for it.
"""

from __future__ import annotations

import math

import numpy as np

from book.live.batches import copied
from book.live.steps import DECISION, begun
from simlib.continuous import columns as at
from simlib.continuous.control import KEPT
from simlib.continuous.loop import loop as whole_loop
from simlib.continuous.state import (
    CHUNKED,
    IN_TURN,
    NEEDED,
    Ask,
    Lines,
    StepRules,
)
from simlib.engine import shapes
from simlib.engine.batches import MORE, no_key
from simlib.engine.specialised import specialised
from simlib.latency.steps import linear_law

loop = specialised(
    whole_loop, "rules", **{name: 0 for name in StepRules._fields[NEEDED:] if name != "closed"}, asks=0, keyed=0,
    spread=0, reuse=0, share=0, two=0, reserve=0, whole=1, linear=1, lines=1, watermark=0, classes=1, prefill=CHUNKED,
    routing=IN_TURN, timeout_s=math.inf,
)  # fmt: skip


def nobody(
    now_s: float, gpu: int, waiting: shapes.Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel where no rule is asked."""
    return 0, 0


def engine(
    numbers: np.ndarray,
    law: np.ndarray,
    controller: np.ndarray,
    control_rules: np.ndarray,
    given_s: np.ndarray,
    prompt_tokens: np.ndarray,
    output_tokens: np.ndarray,
    previous: np.ndarray,
    think_s: np.ndarray,
    arrival_s: np.ndarray,
    start_s: np.ndarray,
    first_token_s: np.ndarray,
    completion_s: np.ndarray,
    decided: np.ndarray,
    sampled: np.ndarray,
    counted: np.ndarray,
) -> None:
    """Kernel: serve requests of which each fits into the cache, in order of arrival.

    `numbers` are sequences that run at once, tokens of a step, blocks of the cache and the bits of a block's tokens.
    `controller` and `control_rules` are `StepControl.arrays`' rows, empty without one; `previous` and `think_s` the
    table's, empty where nobody waits for answers. Filled are `arrival_s` as it came to be, times, rows of `DECIDED`
    and of samples (time, running, waiting, blocks), and how it ended, with how many of either there are.
    """
    count, bits = len(given_s), int(numbers[3])
    seats, closed, controlled = int(min(min(numbers[0], numbers[1]), count)), len(previous) > 0, len(controller) > 0
    rules = StepRules(
        seats, int(numbers[2]), bits, 0, int(numbers[1]), CHUNKED, 0, 0, 1, IN_TURN, 1, 0, 0, 1, 0, int(controlled),
        1, 0, 0, math.inf, 1.0, 0, 0, int(closed), 0, 0, 0, 0, 0,
    )  # fmt: skip
    copied(given_s, arrival_s)
    waiting_for = count if closed else 0
    follower, sibling = np.full(waiting_for, -1).astype(np.int32), np.full(waiting_for, -1).astype(np.int32)
    opening, opened = np.empty(waiting_for, np.int32), 0
    for place in range(waiting_for):
        row = waiting_for - 1 - place
        if previous[row] >= 0:
            sibling[row], follower[previous[row]] = follower[previous[row]], row
        if previous[place] < 0:
            opening[opened] = place
            opened += 1
    due, due_s, came = np.empty(waiting_for, np.int32), np.empty(waiting_for), np.empty(waiting_for, np.int32)
    none, links, nothing = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.bool_)
    known = np.zeros(4, np.int64)
    known[2] = count
    ask = Ask(
        arrival_s, prompt_tokens, output_tokens, output_tokens, none, none, links, links, links, none, none, none,
        links, np.zeros(0, np.uint32), follower, sibling, think_s, opening[:opened], due, due_s, came, known, nothing,
        none, np.zeros(0), none,
    )  # fmt: skip
    state = begun(ask, rules, 1, controller, control_rules)
    waiting = lines_of(count)
    outcome = MORE
    while outcome == MORE:
        outcome = loop(ask, waiting, state, rules, linear_law, law, nobody, no_key)
    copied(state.start_s, start_s)
    copied(state.first_token_s, first_token_s)
    copied(state.completion_s, completion_s)
    counted[0], counted[1] = outcome, int(state.control[0, KEPT]) if controlled else 0
    counted[2] = min(len(state.series[0]), state.numbers[0, at.SAMPLED])
    for row in range(counted[1]):
        for column in range(DECISION):
            decided[row * DECISION + column] = state.decisions[0, row, column]
    for row in range(counted[2]):
        for column in range(4):
            sampled[row * 4 + column] = state.series[0, row, column]


def lines_of(count: int) -> Lines:
    """Kernel: one line, in which nobody waits yet."""
    start, end, grid = np.zeros((1, 1), np.int64), np.full((1, 1), count), np.zeros((0, 0), np.int64)
    return Lines(
        start, start.copy(), end, end.copy(), np.arange(count), grid, grid, np.zeros(0), np.zeros((1, 0, 0)),
        np.zeros((0, 0)), np.zeros(0), np.zeros((1, 0)), np.zeros(3, np.int64), np.zeros(1),
    )  # fmt: skip
