"""Who is next: the orders in which waiting requests are taken.

Kernels ``order(now_s, gpu, waiting, params, memory, note) -> (queue, size)``: from which line, and how many. Both
engines ask them while somebody waits: of a batch a policy's `decide` says the size, continuous batching admits one by
one. FIFO within a line; ties go to the lower line, if nothing else is said.
"""

from __future__ import annotations

import math

import numpy as np

from simlib.engine.shapes import Waiting


def earlier(request: int, other: int, waiting: Waiting) -> bool:
    """Whether a request came before another one, at one instant whether it is higher in the table; -1: nobody."""
    if other < 0 or waiting.arrival_s[request] != waiting.arrival_s[other]:
        return other < 0 or waiting.arrival_s[request] < waiting.arrival_s[other]
    return request < other


def in_turn(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel: the next line in which somebody waits, behind the last one served; `memory` ends with where to look."""
    queues, last = len(waiting.head), len(memory) - 1
    queue = int(memory[last, 0])
    for _ in range(queues):
        after = queue + 1 if queue + 1 < queues else 0
        if waiting.tail[queue] > waiting.head[queue]:
            memory[last, 0] = after
            return queue, 1
        queue = after
    return 0, 0


def longest_queue(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel: the line in which most wait."""
    best = 0
    for queue in range(1, len(waiting.head)):
        if waiting.tail[queue] - waiting.head[queue] > waiting.tail[best] - waiting.head[best]:
            best = queue
    return best, 1


def oldest_head(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel: the line whose first request came first, of several at one instant whoever stands first in the table."""
    best, best_head = 0, -1
    for queue in range(len(waiting.head)):
        if waiting.tail[queue] > waiting.head[queue] and earlier(
            waiting.order[waiting.head[queue]], best_head, waiting
        ):
            best, best_head = queue, waiting.order[waiting.head[queue]]
    return best, 1


def shortest(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel: the line whose head has the least key, of equal ones who came first; `params` is size, seconds a token.

    The key is ``arrival + seconds a token * predicted tokens`` or, with infinite seconds, the predicted tokens.
    """
    best, best_head, best_key = 0, -1, math.inf
    for queue in range(len(waiting.head)):
        if waiting.tail[queue] > waiting.head[queue]:
            head = waiting.order[waiting.head[queue]]
            key = float(waiting.predicted_output_tokens[head])
            if params[1] < math.inf:
                key = waiting.arrival_s[head] + params[1] * key
            if best_head < 0 or key < best_key or (key == best_key and earlier(head, best_head, waiting)):
                best, best_head, best_key = queue, head, key
    return best, int(params[0])


def foremost(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel: the first line in which somebody waits."""
    queue = 0
    while queue < len(waiting.head) - 1 and waiting.tail[queue] == waiting.head[queue]:
        queue += 1
    return queue, 1


COUNTER, SEEN = 0, 1  # columns of a client's row; the row behind the last one has the counter of whom was served last
SIZE, OUTPUT_WEIGHT, BY_ARRIVAL = 0, 1, 2


def fair(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel, a line a client: lift who is back, serve the least counter of those that wait, and charge it.

    `params` is size, weight of a token of output, and whether those who came when nobody waited are lifted in turn.
    """
    clients = len(waiting.head)
    level = least_counter(waiting, params, memory)
    chosen = -1
    for client in range(clients):
        row, waits = memory[client], waiting.tail[client] > waiting.head[client]
        if waits and row[SEEN] == 0.0:
            row[COUNTER] = max(row[COUNTER], level)
        row[SEEN] = 1.0 if waits else 0.0
        if waits and (chosen < 0 or row[COUNTER] < memory[chosen, COUNTER]):
            chosen = client
    first = waiting.head[chosen]
    last = min(waiting.tail[chosen], first + int(params[SIZE]))
    for place in range(first, last):
        request = waiting.order[place]
        service = waiting.prompt_tokens[request] + params[OUTPUT_WEIGHT] * waiting.predicted_output_tokens[request]
        memory[chosen, COUNTER] += service
    if last == waiting.tail[chosen]:
        memory[chosen, SEEN] = 0.0
    memory[clients, COUNTER] = memory[chosen, COUNTER]
    return chosen, last - first


def least_counter(waiting: Waiting, params: np.ndarray, memory: np.ndarray) -> float:
    """Kernel: the least counter of those that waited before and still do.

    If nobody does, that of who was served last; in turn, who came first has at least that, and the others at least what
    it has.
    """
    level, first, found = 0.0, -1, False
    for client in range(len(waiting.head)):
        if waiting.tail[client] > waiting.head[client]:
            head = waiting.order[waiting.head[client]]
            if memory[client, SEEN] > 0.0:
                level = min(level, memory[client, COUNTER]) if found else memory[client, COUNTER]
                found = True
            elif not found and params[BY_ARRIVAL] > 0.0 and earlier(head, first, waiting):
                first, level = head, memory[client, COUNTER]
    return level if found else max(level, memory[len(waiting.head), COUNTER])


BY_NAME = {"round_robin": in_turn, "longest_queue": longest_queue, "oldest_head": oldest_head}
