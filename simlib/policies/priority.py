"""The most urgent first: a policy for both executions, by the table's column `priority`.

An engine that batches continuously lets priorities decide, too, who loses its memory when it runs out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simlib.checks import InputError
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import DynamicNoBins
from simlib.policies.plan import Order, Plan
from simlib.requests.table import RequestTable

TIES = 32  # bits of `urgency` for the order among requests of one priority and arrival


@dataclass(frozen=True, slots=True)
class PriorityFirst:
    """Lower `priority` first, then in order of arrival; whoever is served stays until it is done.

    A batch that runs to completion takes the most urgent of all that wait, whatever their classes, as many as
    ``min(b_mem, b_sla)`` allows: Algorithms 1 and 2, as in `DynamicNoBins`; ``variant=Rules(b_min=8, b_max=8)`` makes
    it batches of up to a fixed size. Continuous batching admits in this order while there is room, has places of its
    own, and preempts the least urgent where its memory is full.

    Parameters
    ----------
    d_sla : float or str
        What the controller steers its batches' service time to, seconds, > 0, or text such as ``500ms``. Each class may
        have limits of its own, to be judged by: `sla.SLA`.
    variant : str or Rules
        As in `DynamicNoBins`.

    Notes
    -----
    Nothing ages: under a lasting load of urgent requests the others wait for ever.

    Examples
    --------
    >>> import simlib
    >>> requests = simlib.RequestTable([0, 1, 1, 2], [5] * 4, [9] * 4, priority=[1, 1, 0, 0])
    >>> policy = PriorityFirst(variant=simlib.Rules(b_max=1))
    >>> simlib.simulate(requests, policy, simlib.GivenTimes([3, 1, 1, 1])).times.start_s.tolist()
    [0.0, 5.0, 3.0, 4.0]
    """

    d_sla: float = 1.0
    variant: str | Rules = "original"
    name: ClassVar[str] = "priority"
    work_conserving: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "d_sla", self._base().d_sla)

    def _base(self) -> DynamicNoBins:
        return DynamicNoBins(self.d_sla, self.variant)

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run; `InputError` if the table has no priorities."""
        if table.priority is None:
            raise InputError("priority: missing column (expected an integer a request, for policy 'priority')")
        return self._base().plan(table, gpus)._replace(urgency=urgency(table), order=Order(priority=True))


def urgency(table: RequestTable) -> np.ndarray:
    """Rank of each request by priority (lower first), then by arrival, then by its number as text, as engines do."""
    return table.kept("urgency", lambda: _ranks(table))


def _ranks(table: RequestTable) -> np.ndarray:
    order = np.lexsort((table.arrival_s, table.priority))
    tied = (np.diff(table.priority[order]) == 0) & (np.diff(table.arrival_s[order]) == 0)
    rank = np.empty(len(table), np.int64)
    rank[order] = np.append(0, np.cumsum(~tied)) << TIES
    rows = np.sort(order[np.append(tied, False) | np.append(False, tied)])
    rank[rows[np.argsort(rows.astype(str))]] |= np.arange(len(rows))
    return rank
