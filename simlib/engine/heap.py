"""A queue by rank: kernels over a binary heap of requests, the one of the lowest rank first."""

from __future__ import annotations

import numpy as np


def push(heap: np.ndarray, size: int, request: int, rank: np.ndarray) -> None:
    """Kernel: let a request join the heap of `size` others."""
    place = size
    while place > 0:
        above = (place - 1) >> 1
        if rank[heap[above]] <= rank[request]:
            break
        heap[place] = heap[above]
        place = above
    heap[place] = request


def pop(heap: np.ndarray, size: int, rank: np.ndarray) -> int:
    """Kernel: take the request of the lowest rank out of the heap of `size`, at least one."""
    found, last, place, size = heap[0], heap[size - 1], 0, size - 1
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and rank[heap[child + 1]] < rank[heap[child]]:
            child += 1
        if rank[heap[child]] >= rank[last]:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = last
    return found
