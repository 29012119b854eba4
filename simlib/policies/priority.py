"""The most urgent first: a policy for both executions, by the table's column `priority`.

An engine that batches continuously lets priorities decide, too, who loses its memory when it runs out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simlib.checks import InputError, keep
from simlib.policies import bins
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import DynamicNoBins, dynamic_plan
from simlib.policies.orders import foremost
from simlib.policies.plan import Order, Plan
from simlib.requests.clients import levels
from simlib.requests.table import RequestTable


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
    Nothing ages: under a lasting load of urgent requests the others wait for ever. Of one class and one instant whoever
    has the lower number as text is first, 10 before 9, as in engines.

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
    needs_priorities: ClassVar[bool] = True

    def __post_init__(self) -> None:
        keep(self, d_sla=DynamicNoBins(self.d_sla, self.variant).d_sla)

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run: a queue a class, into the next of which a batch goes on."""
        if table.priority is None:
            raise InputError("priority: missing column (expected an integer a request, for policy 'priority')")
        queues = table.kept("by priority", lambda: _queues(table))
        return dynamic_plan(self, queues, gpus, foremost)._replace(spills=True, order=Order(priority=True))


def _queues(table: RequestTable) -> bins.Queues:
    """A queue a class, the most urgent first; in it by arrival, at one instant by number as text."""
    codes, values = levels(table.priority)
    queues = bins.queues(codes, len(values))
    order = queues.order
    same = (np.diff(codes[order]) == 0) & (np.diff(table.arrival_s[order]) == 0)
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    instant = np.append(0, np.cumsum(~same))[tied]
    order[tied] = order[tied][np.lexsort((order[tied].astype(str), instant))]
    return queues
