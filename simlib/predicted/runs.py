"""The numbers of a simulated run with their intervals: of the law, and of traffic like that which was served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simlib.latency.steps import NoisyLaw
from simlib.latency.trust import DRAWS
from simlib.predicted.draws import Predicted, predicted
from simlib.requests.table import RequestTable
from simlib.requests.workload import BLOCK_ROWS, redrawn
from simlib.runs.run import Run

NUMBERS = tuple(f"{metric}_{name}_s" for metric in ("latency", "ttft", "tpot") for name in ("mean", "p99"))
NUMBERS += ("throughput_rps", "output_tokens_per_s", "sla_violation_share")
MOST_SERVED, FEWEST = 400_000, 40  # requests that are served for intervals; draws all the same


def intervals(
    run: Run, serve: Callable[[RequestTable, NoisyLaw], Run], within: bool = False, seed: int = 0
) -> dict[str, Predicted]:
    """The numbers of a run as another one may have them.

    Parameters
    ----------
    run : Run
        By a law that keeps draws of itself; of any other there are no intervals.
    serve : callable
        Serves a table by a law, all else as in the run.
    within : bool
        Of a closed loop: whether only the time counts in which all clients are at work.
    seed : int
        Of the draws.

    Returns
    -------
    dict
        Of `NUMBERS`; empty where the law keeps no draws. Where requests arrive by themselves they are drawn anew, too,
        in blocks of consecutive ones (`draws_traffic`).
    """
    law = getattr(run, "law", None)
    if not getattr(getattr(law, "trust", None), "draws", ()):
        return {}
    table = run.table if run.given_row is None else run.table.as_given(run.given_row)
    drawn_anew = draws_traffic(table)
    draws = min(DRAWS, max(FEWEST, MOST_SERVED // len(table)))

    def numbers(drawn: Any, draw: int) -> dict[str, float]:
        traffic = redrawn(table, len(table), seed + draw) if drawn_anew else table
        found = serve(traffic, drawn)
        summary = found.summary(within=found.at_work.checked() if within else None)
        return {name: float(summary[name]) for name in NUMBERS}

    span_s = max(float(run.summary()["makespan_s"]), 1e-9)
    return predicted(numbers, law, span_s, draws, seed)


def draws_traffic(table: RequestTable) -> bool:
    """Whether requests like those of a table can be drawn: enough of them, none of which waits for another's answer."""
    shared = (table.block_ids, table.prefix_group, table.cancel_s, table.priority, table.max_tokens)
    alike = not table.closed and all(column is None for column in shared)
    return alike and len(table) >= 2 * BLOCK_ROWS and table.arrival_s[-1] > table.arrival_s[0]
