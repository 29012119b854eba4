"""Where bins help and where they hurt: by deadline, load, GPUs and predictor, against the best that no bins can do.

Batches that run to completion under the measured law of `study`, Poisson traffic. Both arms are picked by the same rule
on requests of no replication (`sizes.scores`): bins with their number and caps, of equal mass or with sizes of their
own; the rival is static batches, dynamic batching or shortest predicted first with the same predictor, whichever does
best there, with its cap. Terminating.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.continuous import executions
from book.chapters.policies import sizes, study
from book.kit.bins import phase_bins
from simlib import levels
from simlib.checks import InputError, check_choice, check_each, check_frame, check_integer, check_number
from simlib.latency import presets
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import MultiBinDynamic
from simlib.requests.table import RequestTable
from simlib.stats import intervals
from simlib.stats.estimates import as_row

if TYPE_CHECKING:
    import pandas as pd


DEADLINES_S = (10.0, 15.0, 22.4, 35.3, 60.0)
LOADS = (0.35, 0.5, 0.65, 0.8, 0.95, 1.2)
GPUS = (1, 2, 4, 8)
BEYOND = 0.5  # where more than this share is late under either, neither is a service
ARMS = ("bins", "rival", "first")
CELL = ["gpus", "predictor", "deadline_s", "load"]


def runs_of(
    *,
    deadlines_s: Iterable[float] = DEADLINES_S,
    loads: Iterable[float] = LOADS,
    gpus: Iterable[int] = GPUS,
    predictors: Iterable[str] = tuple(study.PREDICTORS),
    k_bins: int = 4,
    requests: int = 500,
    seed: int = 42,
    replications: int = 20,
) -> pd.DataFrame:
    """Late shares of the arms in each cell and replication.

    Parameters
    ----------
    deadlines_s, loads : iterable of float
        Deadlines, seconds; rates over what batches of `sizes.CAPS`' last carry of requests that all wait.
    gpus : iterable of int
    predictors : iterable of str
        Names in `study.PREDICTORS`.
    k_bins : int
        Bins are two or so many.
    requests : int
        A GPU.
    seed, replications : int
        Replication r has the requests of seed + r, the same for all arms and in all cells of as many GPUs.

    Returns
    -------
    pandas.DataFrame
        ``gpus, predictor, deadline_s, load, rate_rps, replication`` and the `ARMS`: what was picked, and in
        ``bins_late`` and so on its late shares; `first` is the best in order of arrival.
    """
    import pandas as pd

    deadlines_s = check_each("deadlines_s", deadlines_s, lambda d: check_number("deadline_s", d, 0.0, open_low=True))
    loads = check_each("loads", loads, lambda load: check_number("load", load, 0.0, open_low=True))
    gpus = check_each("gpus", gpus, lambda count: check_integer("gpus", count, 1, 64))
    predictors = check_each("predictors", predictors, lambda name: check_choice("predictor", name, study.PREDICTORS))
    replications = check_integer("replications", replications, 2, levels.MOST_REPLICATIONS)
    model, rows = presets.load(executions.PRESET), []
    for count, predictor in itertools.product(gpus, predictors):
        known = [
            study.requests_of("poisson", requests * count, seed + sizes.FITTED + draw, predictor)
            for draw in range(min(sizes.DRAWS, replications))
        ]
        served = [
            study.requests_of("poisson", requests * count, seed + replication, predictor)
            for replication in levels.progress(replications, f"{count} GPUs, {predictor}")
        ]
        full_rps = study.carried_rps(known[0], model, count)
        in_bins = {d_sla: bins_of(known[0], model, d_sla, {2, k_bins}) for d_sla in deadlines_s}
        first = {d_sla: sizes.static() | sizes.dynamic(d_sla) for d_sla in deadlines_s}
        shortest = {d: sizes.shortest(known[0], d, (2, k_bins)) for d in deadlines_s}
        for load, d_sla in itertools.product(loads, deadlines_s):
            rate_rps = load * full_rps
            given = [[sizes.at_rate(table, rate_rps) for table in tables] for tables in (known, served)]
            variants = in_bins[d_sla] | first[d_sla] | shortest[d_sla]
            found = sizes.scores(variants, given[0], model, count, d_sla)
            cell = dict(zip(CELL, (count, predictor, d_sla, load), strict=True)) | {"rate_rps": rate_rps}
            late = {}
            without = first[d_sla] | shortest[d_sla]
            for arm, names in zip(ARMS, (in_bins[d_sla], without, first[d_sla]), strict=True):
                cell[arm] = min(names, key=found.get)
                policy, _ = variants[cell[arm]]
                runs = (sizes.run_of(table, policy, model, count) for table in given[1])
                late[f"{arm}_late"] = [float(np.mean(~(sizes.latencies_s(run) <= d_sla))) for run in runs]
            rows.append(pd.DataFrame(late).rename_axis("replication").reset_index().assign(**cell))
    return pd.concat(rows, ignore_index=True)[[*CELL, "rate_rps", "replication", *ARMS, *late]]


def bins_of(known: RequestTable, model: Any, d_sla: float, k_values: Iterable[int]) -> sizes.Variants:
    """Bins of equal mass, each number with each cap, and those whose edges and batch sizes are chosen together.

    The latter (`phase_bins.joint_optimum`) let a tenth of a bin's batches take longer than the deadline; where more
    requests do so alone, there are none.
    """
    found = dict(sizes.bins(d_sla, k_values))
    most = int(model.measured.batch_size[1])
    for k, most_batch in itertools.product(sorted(set(k_values)), (most // 4, most)):
        try:
            plan = phase_bins.joint_optimum(known, k, model, d_sla, quantile=0.9, max_batch=most_batch)
        except InputError:
            continue
        chosen = plan.batch_sizes.tolist()
        policy = MultiBinDynamic(len(chosen), d_sla, "round_robin", plan.edges.tolist(), Rules(b_max=most), chosen)
        found[f"{len(chosen)} bins, {' and '.join(map(str, chosen))}"] = (policy, sizes.BATCHES)
    return found


def table_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean late shares and paired differences, one row a cell; ``p_holm`` over the map.

    ``difference`` and what belongs to it are of bins minus rival, ``first_difference`` and so on of bins minus the best
    in order of arrival.
    """
    import pandas as pd

    late = [f"{arm}_late" for arm in ARMS]
    check_frame("runs", runs, (*CELL, "rate_rps", "replication", *ARMS, *late))
    rows = []
    for key, cell in runs.groupby([*CELL, "rate_rps", *ARMS], sort=False):
        row = dict(zip([*CELL, "rate_rps", *ARMS], key, strict=True)) | {name: cell[name].mean() for name in late}
        for other, prefix in ((ARMS[1], ""), (ARMS[2], "first_")):
            pair = intervals.paired_difference(cell[late[0]], cell[f"{other}_late"])
            row |= as_row(pair, f"{prefix}difference", f"{prefix}difference_") | {f"{prefix}p_holm": pair.p_value}
        rows.append(row | {"replications": len(cell)})
    table = pd.DataFrame(rows)
    return table.assign(**{name: intervals.holm(table[name]) for name in ("p_holm", "first_p_holm")})
