"""Two positions of the explorer: how many more requests are late at B than at A, with an interval or why there is none.

Both come as `replications`. Where A and B face the same requests, replication by replication, the interval is of the
paired differences. Where they do not, A is served again on requests of seeds that B has not, as an interval of two
independent samples holds for independent samples alone.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np

from book.explorer.replications import Replications, replicated
from book.explorer.state import Position
from simlib.requests.table import RequestTable
from simlib.stats import intervals, shares
from simlib.stats.intervals import Estimate


class Kept:
    """The position A, and its replications once they were served."""

    def __init__(self, position: Position) -> None:
        self.position = position
        self._served: dict[tuple[int, int], Replications] = {}

    def replicated(self, count: int, first: int = 0) -> Generator[None, None, Replications]:
        """As `replications.replicated`, served once."""
        if (count, first) not in self._served:
            self._served[count, first] = yield from replicated(self.position, count, first)
        return self._served[count, first]


def compared(kept: Kept, b: Replications, count: int) -> Generator[None, None, dict[str, Any]]:
    """What B has late beyond A, a scheduler that both have.

    Parameters
    ----------
    kept : Kept
        A.
    b : Replications
        Of B, `count` of them or, where nothing is random, one.
    count : int
        Replications of A, where it is random.

    Yields
    ------
    None
        After each piece of work.

    Returns
    -------
    dict
        ``method``: ``paired``, ``independent`` or ``exact`` (nothing is left to chance); ``replications``;
        ``conditional``, on a fixed trace; ``differences``: ``scheduler, mean, low, high, reason``, B minus A, shares.
    """
    a = yield from kept.replicated(count)
    same = _same(a.tables, b.tables)
    if not (a.position.is_random or b.position.is_random):
        method, of = "exact", _exact if same else _exact_of_others
    elif same and a.position.seed == b.position.seed:  # else predictions may be shared across the pairs
        method, of = "paired", _paired
    else:
        overlap = abs(a.position.seed - b.position.seed) < count  # then seeds beyond both are taken
        a = yield from kept.replicated(count, 2 * count if overlap else 0)
        method, of = "independent", _independent
    common = [name for name in b.position.schedulers if name in a.late]
    return {
        "method": method,
        "replications": max(len(a.tables), len(b.tables)),
        "conditional": a.position.is_conditional or b.position.is_conditional,
        "differences": [{"scheduler": name} | of(a, b, name) for name in common],
    }


def _same(a: list[RequestTable], b: list[RequestTable]) -> bool:
    """Whether replications are of the same requests, whatever is predicted of them."""
    columns = ("arrival_s", "prompt_tokens", "output_tokens")
    pairs = zip(*_alike(a, b), strict=True)
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for one, other in pairs for name in columns)


def _alike(a: list[Any], b: list[Any]) -> tuple[list[Any], list[Any]]:
    """Two lists of one length: what is not random stands once, and is the same in each replication."""
    most = max(len(a), len(b))
    return (a * most if len(a) == 1 else a), (b * most if len(b) == 1 else b)


def _exact(a: Replications, b: Replications, scheduler: str) -> dict[str, Any]:
    difference = float(b.shares(scheduler)[0] - a.shares(scheduler)[0])
    return {"mean": difference, "low": None, "high": None, "reason": "nothing is left to chance"}


def _exact_of_others(a: Replications, b: Replications, scheduler: str) -> dict[str, Any]:
    return _exact(a, b, scheduler) | {"reason": "nothing is left to chance, but A and B have other requests"}


def _paired(a: Replications, b: Replications, scheduler: str) -> dict[str, Any]:
    pair = intervals.paired_difference(*_alike(list(b.shares(scheduler)), list(a.shares(scheduler))))
    unlike = round((1 - pair.share_equal) * pair.replications)
    if unlike < shares.FEWEST_CLUSTERS:
        needs = f"an interval needs {shares.FEWEST_CLUSTERS}"
        reason = f"they differ in {unlike} of {pair.replications} replications; {needs}"
        return {"mean": pair.mean, "low": None, "high": None, "reason": reason}
    return {"mean": pair.mean, "low": pair.ci_low, "high": pair.ci_high, "reason": ""}


def _independent(a: Replications, b: Replications, scheduler: str) -> dict[str, Any]:
    """The interval from those of both shares, as Zou and Donner (2008) make it of independent samples."""
    of_a, of_b = (_estimate(one, scheduler) for one in (a, b))
    mean = of_b.value - of_a.value
    for label, one in (("A", of_a), ("B", of_b)):
        if one.ci_low is None:
            return {"mean": mean, "low": None, "high": None, "reason": f"of {label}, {one.reason}"}
    low = mean - math.hypot(of_b.value - of_b.ci_low, of_a.ci_high - of_a.value)
    high = mean + math.hypot(of_b.ci_high - of_b.value, of_a.value - of_a.ci_low)
    return {"mean": mean, "low": low, "high": high, "reason": ""}


def _estimate(one: Replications, scheduler: str) -> Estimate:
    if one.position.is_random:
        return shares.share_interval(one.late[scheduler], one.trials)
    share = float(one.shares(scheduler)[0])
    return Estimate(share, share, share, "constant", 1)
