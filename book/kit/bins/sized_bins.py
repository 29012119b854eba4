"""Bins with batch sizes of their own: what is asked of them, and what they are worth.

What `joint_bins` and `phase_bins` share. A server spends c_i = E[T of a batch of b_i] / b_i on a request of bin i, so
that G servers which never lack a full batch carry G / sum_i p_i c_i requests per second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from simlib.checks import MAX_GPUS, InputError, check_integer, check_number
from simlib.policies import bins
from simlib.policies.optimal_bins import sizes_of

MOST_BATCH = 1024


class Terms(NamedTuple):
    """What is asked: the largest batch, servers, the share of batches that keep the deadline, seconds for service."""

    max_batch: int
    gpus: int
    share: float
    deadline_s: float
    allowance_s: float

    @classmethod
    def of(cls, max_batch: Any, gpus: Any, quantile: Any, deadline_s: Any, waiting_budget_s: Any) -> Terms:
        """Check what a user gives; the waiting budget is taken off the deadline."""
        deadline_s = check_number("deadline_s", deadline_s, 0.0, open_low=True)
        return cls(
            check_integer("max_batch", max_batch, 1, MOST_BATCH),
            check_integer("gpus", gpus, 1, MAX_GPUS),
            check_number("quantile", quantile, 0.0, 1.0, open_low=True, open_high=True),
            deadline_s,
            deadline_s - check_number("waiting_budget_s", waiting_budget_s, 0.0, deadline_s),
        )

    def missed(self, expected: str) -> InputError:
        """That requests miss the deadline even alone; `expected` says what would do."""
        waiting = f"{self.deadline_s:g}, of which {self.deadline_s - self.allowance_s:g} s for waiting"
        return InputError(f"deadline_s: {waiting} (expected {expected})")


@dataclass(frozen=True, slots=True)
class JointBins:
    """Bins with their batch sizes, and what they are worth under a law of service and a deadline.

    Attributes
    ----------
    edges : ndarray of float, shape (bins - 1,)
        Inner edges, tokens of the binned length.
    batch_sizes : ndarray of int, shape (bins,)
    capacity_rps : float
        Requests per second of servers that never lack a full batch.
    shares : ndarray of float, shape (bins,)
        Share p_i of the requests in each bin.
    costs_s : ndarray of float, shape (bins,)
        c_i, seconds of a server a request; 0 where a bin is empty.
    late_shares : ndarray of float, shape (bins,)
        Share of a bin's batches that take longer than the deadline less the waiting budget. It is above one less the
        quantile only where requests are served one by one, as nothing serves them sooner.
    late_share : float
        The same of all requests: sum_i p_i late_shares_i.
    """

    edges: np.ndarray
    batch_sizes: np.ndarray
    capacity_rps: float
    shares: np.ndarray
    costs_s: np.ndarray
    late_shares: np.ndarray
    late_share: float

    @classmethod
    def of(cls, edges: np.ndarray, sizes: np.ndarray, worth: np.ndarray, gpus: int) -> JointBins:
        """What so many servers are worth; `worth` has rows of shares, costs and late shares, a column a bin."""
        shares, costs_s, late_shares = worth
        work_s = float(shares @ costs_s)
        if not work_s > 0:
            raise InputError("latency: no batch takes any time (expected a law with seconds > 0)")
        return cls(edges, sizes, gpus / work_s, shares, costs_s, late_shares, float(shares @ late_shares))


def check_bins(edges: Any, batch_sizes: Any, lengths_tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inner edges and the batch size of each bin."""
    if isinstance(edges, str) or not hasattr(edges, "__len__"):
        raise InputError(f"edges: {edges!r} (expected ascending edges in tokens)")
    inner = bins.edges(edges, lengths_tokens, len(edges) + 1)
    return inner, np.array(sizes_of(batch_sizes, len(inner) + 1, "batch_sizes"))
