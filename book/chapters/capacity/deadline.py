"""How much load fits under an end-to-end deadline: schedulers, bins and numbers of GPUs, in both execution models.

Reads `executions` for the preset and the deadline that both models share, `capacity` for the roots. Steady-state:
requests are scored by arrival, behind a warm-up and with arrivals going on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.continuous.executions import BATCHES, STEPS, Contest
from simlib.checks import check_each, check_integer, check_probability
from simlib.planning import capacity
from simlib.planning.phase_bins import joint_optimum
from simlib.policies.dynamic import MultiBinDynamic
from simlib.requests import workload
from simlib.stats import intervals
from simlib.stats.estimates import as_row
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


K_BINS = (2, 4, 8)
KNOWN, KNOWN_SEED = 4000, 100_000
KEYS = ["gpus", "late_share", "execution", "scheduler", "k_bins"]


def systems(
    given: Contest, k_bins: Iterable[int] = K_BINS, late_share: float = 0.05, seed: int = 42
) -> dict[tuple[str, str, int], tuple[Any, Any]]:
    """What is compared: policy and execution by (execution, scheduler, bins); no bins are one bin.

    Parameters
    ----------
    given : executions.Contest
        Its systems, with every number of bins in the place of its own, cut to equal mass and, as ``joint_optimum``,
        with batch sizes (`phase_bins.joint_optimum`).
    k_bins : iterable of int
        At least 2 each; the joint optimum's at most.
    late_share : float
        Share of each bin's batches that the joint optimum lets take longer than the deadline. Nothing of the deadline
        is kept for waiting.
    seed : int
        The joint optimum knows requests of this one and `KNOWN_SEED`, none of which is served.
    """
    k_bins = check_each("k_bins", k_bins, lambda k: check_integer("k_bins", k, 2))
    known, most = workload.original(KNOWN, seed + KNOWN_SEED), int(given.model.measured.batch_size[1])
    joint = {
        k: joint_optimum(known, k, given.model, given.d_sla, quantile=1 - late_share, max_batch=most) for k in k_bins
    }
    found: dict[tuple[str, str, int], tuple[Any, Any]] = {}
    for (execution, scheduler), (policy, how) in given.systems.items():
        if not isinstance(policy, MultiBinDynamic):
            found[execution, scheduler, 1] = (policy, how)
            continue
        found |= {(execution, scheduler, k): (replace(policy, k_bins=k), how) for k in k_bins}
        for k, best in joint.items():
            sizes = best.batch_sizes.tolist()
            own = replace(policy, k_bins=len(sizes), bounds=best.edges.tolist(), batch_sizes=sizes)
            found[execution, "joint_optimum", k] = (own, how)
    return found


def roots_of(
    given: Contest,
    requests: int,
    *,
    gpus: Iterable[int] = (1, 2, 4, 8),
    late_shares: Iterable[float] = (0.01, 0.05),
    k_bins: Iterable[int] = K_BINS,
    seed: int = 42,
    replications: int = 10,
    workers: int = 1,
) -> pd.DataFrame:
    """The largest rate of each system in each replication, on the same requests.

    Parameters
    ----------
    requests : int
        In a run; as many as `capacity.Search` asks for.
    late_shares : iterable of float
        Shares of late requests that are allowed, in (0, 1).

    Returns
    -------
    pandas.DataFrame
        One row a replication and system: ``gpus, late_share, execution, scheduler, k_bins, replication,
        capacity_rps``.

    Raises
    ------
    InputError
        If an argument is bad, or the deadline is met at any rate or missed at any.
    """
    import pandas as pd

    gpus = check_each("gpus", gpus, lambda count: check_integer("gpus", count, 1))
    shares = check_each("late_shares", late_shares, lambda share: check_probability("late_shares", share))
    rows = []
    for share in shares:
        compared = {str(key): (key, *system) for key, system in systems(given, k_bins, share, seed).items()}
        for count in gpus:
            search = capacity.Search(
                {name: policy for name, (_, policy, _) in compared.items()},
                workload.original,
                given.model,
                count,
                given.d_sla,
                share,
                requests,
                execution={name: how for name, (_, _, how) in compared.items()},
            )
            found = replicate(search, replications, seed=seed, workers=workers, progress=False)
            for name, (key, _, _) in compared.items():
                place = dict(zip(KEYS, (count, share, *key), strict=True))
                rows += [
                    place | {"replication": replication, "capacity_rps": root}
                    for replication, root in enumerate(found[name])
                ]
    return pd.DataFrame(rows)


def capacities(roots: pd.DataFrame) -> pd.DataFrame:
    """Means of `roots_of` with 95 % intervals, one row a system; ``per_gpu_rps`` is the mean over the GPUs."""
    import pandas as pd

    rows = []
    for key, group in roots.groupby(KEYS, sort=False):
        mean = intervals.mean_interval(group["capacity_rps"])
        row = dict(zip(KEYS, key, strict=True)) | as_row(mean, "capacity_rps")
        rows.append(row | {"per_gpu_rps": mean.mean / key[0], "replications": mean.replications})
    return pd.DataFrame(rows)


def ratios_of(roots: pd.DataFrame) -> pd.DataFrame:
    """Paired ratios of capacities, one row a comparison; ``p_holm`` over the whole table.

    In each execution model every number of bins over none, and the engine over its counterpart among the schedulers.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for (gpus, share), group in roots.groupby(KEYS[:2], sort=False):
        found = {
            key: rows.set_index("replication")["capacity_rps"] for key, rows in group.groupby(KEYS[2:], sort=False)
        }
        none = {BATCHES: (BATCHES, "dynamic_no_bins", 1), STEPS: (STEPS, "fcfs", 1)}
        pairs = [(key, none[key[0]]) for key in found if key[2] > 1]
        pairs += [((STEPS, "static_fifo", 1), (BATCHES, "static_fifo", 1)), (none[STEPS], none[BATCHES])]
        for a, b in pairs:
            pair = intervals.paired_difference(np.log(found[a]), np.log(found[b]))
            rows.append(
                {"gpus": gpus, "late_share": share}
                | dict(zip(("execution", "scheduler", "k_bins"), a, strict=True))
                | dict(zip(("over_execution", "over_scheduler", "over_k_bins"), b, strict=True))
                | {name: float(np.exp(value)) for name, value in as_row(pair, "ratio").items()}
                | {"correlation": pair.correlation, "p_holm": pair.p_value, "replications": pair.replications}
            )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=intervals.holm(table["p_holm"]))
