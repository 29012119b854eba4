"""In which order the schedulers come: the ranking of one replication, and how often each occurs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pandas as pd

from simlib.checks import check_choice
from simlib.levels import RUN_METRICS, SCHEDULERS, STUDY, check_runs


def ranking(values: Mapping[str, float]) -> str:
    """The schedulers from the least value to the largest, joined by < or =.

    Examples
    --------
    >>> ranking({"static_fifo": 0.2, "dynamic_no_bins": 0.1, "multi_bin_dynamic": 0.1})
    'dynamic_no_bins = multi_bin_dynamic < static_fifo'
    """
    ordered = sorted(values, key=lambda name: (values[name], SCHEDULERS.index(name)))
    signs = [" = " if values[a] == values[b] else " < " for a, b in pairwise(ordered)]
    return ordered[0] + "".join(sign + name for sign, name in zip(signs, ordered[1:], strict=True))


def rankings(runs: pd.DataFrame, metric: str = "sla_violation_share") -> pd.DataFrame:
    """How often each ranking of the schedulers occurs over the replications, best first; ties share a place."""
    check_runs(runs)
    check_choice("metric", metric, RUN_METRICS)
    rows = []
    for (level, source), group in runs.groupby(STUDY, sort=False):
        wide = group.pivot_table(index="replication", columns="scheduler", values=metric)[list(SCHEDULERS)]
        ordered = pd.Series([ranking(row) for row in wide.to_dict("records")])
        for order, count in ordered.value_counts().items():
            row = {"level": level, "ranking": order, "share": count / len(wide), "replications": len(wide)}
            rows.append(row | {"requests_from": source})
    return pd.DataFrame(rows)
