"""How many requests any order could have in time: a step takes its time whoever is in it.

The bound in one sentence: whatever the order, requests that are in time need no more of the engine's time, all
together, than there is between the first arrival and the last deadline. What a request needs is its part of the law,
and as much of a step's fixed time for each of its tokens as if all places were taken; evictions, half-empty steps and
who was served in vain come on top. Which requests these are the bound may choose, even parts of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from book.chapters.two_classes.study import (
    FIRST_REFUSES,
    LATENCY_S,
    PLACES,
    REFUSES,
    SHORTEST,
    TPOT_S,
    TTFT_S,
    Setting,
    drawn,
    law,
    middle,
    policy_of,
    serve,
)
from simlib.requests.table import RequestTable
from simlib.theory.steps import decodes

BOUNDED = (FIRST_REFUSES, REFUSES, f"{SHORTEST}, refuses")
BOUND_LOADS = (0.9, 1.1, 1.3, 1.6)


def needed_s(table: RequestTable, places: int = max(PLACES)) -> np.ndarray:
    """The least time of an engine that each request takes, seconds.

    Examples
    --------
    >>> one = RequestTable([0.0], [1000], [101])
    >>> alone_s = law().step_s(0, 1000) + 100 * law().step_s(1)  # its prompt's step, and one a token
    >>> round(float(needed_s(one)[0] / alone_s), 2)
    0.05
    """
    prompt, count, context = decodes(table.prompt_tokens, table.output_tokens)
    fixed_s = law().a_s * np.maximum(table.output_tokens, 1) / places
    return fixed_s + law().b_s * count + law().c_s * prompt + law().d_s * context


def most_in_time(table: RequestTable, tpot_s: float = TPOT_S, gpus: int = 1) -> dict[str, float]:
    """Bounds on goodput: of each class for itself, of both on average, and of jobs beside all interactive requests.

    Parameters
    ----------
    table : RequestTable
        Whose middle is scored.
    tpot_s : float
    gpus : int
    """
    scored = middle(len(table))
    job, needs_s = table.priority[scored] == 1, needed_s(table)[scored]
    came_s, tokens = table.arrival_s[scored], table.output_tokens[scored]
    last_s = came_s + np.where(job, LATENCY_S, TTFT_S + tpot_s * np.maximum(tokens - 1, 1))
    there_s = gpus * float(last_s.max() - came_s.min())
    worth = np.where(job, 0.5 / max(job.sum(), 1), 0.5 / max((~job).sum(), 1))
    return {
        "interactive": _filled(there_s, needs_s[~job]),
        "batch": _filled(there_s, needs_s[job]),
        "both": _filled(there_s, needs_s, worth),
        "jobs_beside": _filled(there_s - needs_s[~job].sum(), needs_s[job]),
    }


def _filled(there_s: float, needs_s: np.ndarray, worth: np.ndarray | None = None) -> float:
    """The most worth that fits into a time, parts of a request counted as such; each is worth as much by default."""
    worth = np.full(len(needs_s), 1 / max(len(needs_s), 1)) if worth is None else worth
    order = np.argsort(needs_s / worth)
    spent, gained = (np.append(0.0, np.cumsum(column[order])) for column in (needs_s, worth))
    return float(np.interp(there_s, spent, gained)) if there_s > 0 else 0.0


def bound_of(seed: int, count: int, own: Mapping[str, Setting]) -> list[dict]:
    """One replication: goodput of both classes on average, beside the bound on the same requests, by load."""
    rows = []
    for load in BOUND_LOADS:
        table = drawn(count, seed, load)
        most = most_in_time(table)
        for order in BOUNDED:
            shares = serve(table, policy_of(order), own[order]).shares()
            part = {
                "of_bound": shares["both"] / most["both"],
                "bound": most["both"],
                "jobs_beside": most["jobs_beside"],
            }
            rows.append({"load": load, "order": order} | shares | part)
    return rows
