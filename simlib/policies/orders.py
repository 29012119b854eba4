"""Who is next: the orders in which waiting requests are taken, for both engines."""

from __future__ import annotations

import math

import numpy as np

from simlib.engine.shapes import Waiting

ROUND_ROBIN, LONGEST, OLDEST = range(3)


def select(waiting: Waiting, selection: float, memory: np.ndarray) -> int:
    """Kernel: the bin to serve. Somebody waits, or the engine would not ask."""
    queues, last = len(waiting.head), len(memory) - 1
    queue = int(memory[last, 0]) if selection == ROUND_ROBIN else 0
    best = -1
    for _ in range(queues):
        if waiting.tail[queue] > waiting.head[queue]:
            if selection == ROUND_ROBIN:
                memory[last, 0] = queue + 1 if queue + 1 < queues else 0
                return queue
            if best < 0 or precedes(waiting, queue, best, selection):
                best = queue
        queue = queue + 1 if queue + 1 < queues else 0
    return best


def precedes(waiting: Waiting, queue: int, best: int, selection: float) -> bool:
    """Kernel: whether a bin comes before another one of lower index; ties keep the lower index."""
    if selection == LONGEST:
        return waiting.tail[queue] - waiting.head[queue] > waiting.tail[best] - waiting.head[best]
    return waiting.order[waiting.head[queue]] < waiting.order[waiting.head[best]]


def aged_key_s(arrival_s: float, predicted_tokens: int, seconds_per_token: float) -> float:
    """Kernel: what the least of is served first; with infinite seconds a token, tokens."""
    if seconds_per_token == math.inf:
        return float(predicted_tokens)
    return arrival_s + seconds_per_token * predicted_tokens


NEXT_BIN, LONGEST_BIN, OLDEST_BIN, SHORTEST, FAIR = range(5)
