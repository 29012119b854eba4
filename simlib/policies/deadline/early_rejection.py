"""Early rejection: dynamic batches that do not serve whoever is late already.

A request whose wait and expected service together exceed the
deadline is turned away: it would be late anyhow, and its time goes to those that can be in time. It counts as late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simlib.checks import check_number, keep
from simlib.durations import limit_s
from simlib.engine.batches import MAX_TOTAL, SERVICE
from simlib.engine.compiled import bound
from simlib.engine.shapes import Waiting
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import MultiBinDynamic, decide_dynamic, learn_dynamic
from simlib.policies.plan import Plan
from simlib.requests.table import RequestTable

DEADLINE, MARGIN, COMPANY = -3, -2, -1  # behind the dynamic policies' numbers
PACE, BATCH = 1, 2  # in the last row of memory, behind the round robin's pointer: seconds a token, and a batch, of late
WEIGHT = 0.2  # of the latest batch in these two


def decide_early(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel of `EarlyRejection`: as the dynamic policies, but first turn away the oldest that cannot be in time."""
    queue, size = decide_dynamic(now_s, gpu, waiting, params, memory, note)
    row, deadline_s = memory[len(memory) - 1], params[len(params) + DEADLINE]
    pace = params[len(params) + MARGIN] * row[PACE]
    company_s = min(row[BATCH], params[len(params) + COMPANY] * deadline_s)
    place = waiting.head[queue]
    while place < waiting.tail[queue]:
        request = waiting.order[place]
        tokens = waiting.prompt_tokens[request] + waiting.predicted_output_tokens[request]
        if now_s + max(pace * tokens, company_s) <= waiting.arrival_s[request] + deadline_s:
            break
        place += 1
    gone = place - waiting.head[queue]
    return queue, -gone if gone > 0 else size


def learn_early(now_s: float, gpu: int, batch: np.ndarray, params: np.ndarray, memory: np.ndarray) -> None:
    """Kernel of `EarlyRejection`: how long a token of the longest member takes, and a batch, smoothed."""
    learn_dynamic(now_s, gpu, batch, params, memory)
    row = memory[len(memory) - 1]
    pace = batch[SERVICE] / max(batch[MAX_TOTAL], 1.0)
    row[PACE] = pace if row[PACE] == 0.0 else (1.0 - WEIGHT) * row[PACE] + WEIGHT * pace
    row[BATCH] = batch[SERVICE] if row[BATCH] == 0.0 else (1.0 - WEIGHT) * row[BATCH] + WEIGHT * batch[SERVICE]


@dataclass(frozen=True, slots=True)
class EarlyRejection:
    """`DynamicNoBins`, or `MultiBinDynamic`, which turns away the oldest requests that cannot meet the deadline.

    Parameters
    ----------
    d_sla : float
        Deadline of end-to-end latency, seconds, > 0; also what the controllers aim at.
    margin : float
        Expected service is at least this times what the request's own tokens take at the pace of recent batches, >= 0.
    company : float
        It is also at least what recent batches took, as a request is in service until its batch ends; but no more than
        this share of the deadline, in [0, 1], or one long batch would turn everybody away for good. With 0 own tokens
        alone count, and only who cannot be in time in any company is turned away.
    k_bins : int
        Number of bins, the oldest head's is served next; 1: none.
    variant : str or Rules
        As in `DynamicNoBins`.

    Notes
    -----
    Own tokens are the prompt's and the predicted output's, as if the request were the longest of its batch. Before the
    first batch has ended nobody is turned away who is not late already. In a queue only the oldest can be turned away,
    so that whoever stands behind one that can be in time stays.

    Examples
    --------
    >>> import simlib
    >>> requests = simlib.RequestTable([0, 0.1, 0.1], [5, 5, 5], [95, 95, 5], [95, 95, 5])
    >>> policy = EarlyRejection(d_sla=1.0, company=0.0, variant=simlib.policies.batch_size.Rules(b_max=1))
    >>> run = simlib.simulate(requests, policy, simlib.GivenTimes([0.8, 0.8, 0.1]))
    >>> run.served.batch_of.tolist()  # at 0.8 s the second has 0.3 s left and needs 0.8 s
    [0, -1, 1]
    """

    d_sla: float = 1.0
    margin: float = 1.0
    company: float = 0.5
    k_bins: int = 1
    variant: str | Rules = "original"
    name: ClassVar[str] = "early_rejection"
    work_conserving: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        keep(self, d_sla=limit_s("d_sla", self.d_sla))
        check_number("margin", self.margin, 0.0, 1e6)
        check_number("company", self.company, 0.0, 1.0)
        keep(self, k_bins=self._base().k_bins)

    def _base(self) -> MultiBinDynamic:
        return MultiBinDynamic(self.k_bins, self.d_sla, "oldest_head", variant=self.variant)

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run."""
        plan = self._base().plan(table, gpus)
        params = np.append(plan.params, [self.d_sla, self.margin, self.company])
        decide = bound(decide_early, decide_dynamic=plan.decide)
        # No order: under continuous batching clients leave by themselves, `settings.Continuous.timeout_s`.
        return plan._replace(decide=decide, learn=learn_early, params=params, order=None)
