"""Streams of random numbers, each keyed by the workload it belongs to and by what it is for.

Workloads and predictors draw from them; the engines never do. Because the key knows neither policy nor latency, GPUs,
SLA or rate, all of these face the same requests: common random numbers without any bookkeeping.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, get_args

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_type

MOST_REQUESTS = 100_000_000

Purpose = Literal["arrivals", "lengths", "prediction", "service"]
PURPOSES: tuple[str, ...] = get_args(Purpose)


def stream(family: str, replication: int, purpose: Purpose) -> np.random.Generator:
    """Start the stream of one source of chance, from its beginning.

    Parameters
    ----------
    family : str
        The workload's name; any text. Workloads of one family share their random numbers.
    replication : int
        Which independent run, from 0 to 2**32 - 1.
    purpose : {"arrivals", "lengths", "prediction", "service"}
        What the numbers decide.

    Notes
    -----
    Equal for equal keys on every machine and in every process; `numpy.random.Generator.spawn` gives it sub-streams. The
    seed is the SHA-256 of the whole key, as Python's own ``hash`` of a text changes from process to process. The bit
    generator is PCG64DXSM: as fast as any here, and made for many streams at once.

    Examples
    --------
    >>> first, again = stream("chat", 0, "arrivals"), stream("chat", 0, "arrivals")
    >>> bool(first.random() == again.random())
    True
    """
    check_type("family", family, str, "a text that names the workload")
    if not family:
        raise InputError("family: '' (expected a text that names the workload)")
    replication = check_integer("replication", replication, 0, 2**32 - 1)
    check_choice("purpose", purpose, PURPOSES)
    # The free text comes last, so that no two keys can spell the same.
    key = f"{purpose}/{replication}/{family}".encode("utf-8", "surrogatepass")
    return np.random.Generator(np.random.PCG64DXSM(int.from_bytes(hashlib.sha256(key).digest(), "big")))


def check_draw(n: Any, rng: Any) -> int:
    """Return `n` as an int if it is a number of requests and `rng` a Generator, else raise `InputError`."""
    check_type("rng", rng, np.random.Generator, "a numpy random Generator")
    return check_integer("n", n, 1, MOST_REQUESTS)
