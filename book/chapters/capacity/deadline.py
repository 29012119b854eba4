"""How many bins on how many GPUs: capacity under an end-to-end deadline, every arm with the sizes that suit it best.

Bins are held against the best that is done without them. What an arm may choose (the cap of its batches, lines, where
bins are cut) is chosen by the same programme for all: the largest mean capacity on requests of other seeds than those
that are judged. Reads `executions` for preset, deadline and engine, `capacity` for the roots. Steady-state: requests
are scored by arrival, behind a warm-up and with arrivals going on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.capacity import sized
from book.chapters.capacity.sized import CAPS, NO_BINS, Arm
from book.chapters.continuous.executions import BATCHES, STEPS, Contest, saturated_rps_of
from book.kit.bins.phase_bins import joint_optimum
from simlib.checks import check_choice, check_each, check_integer, check_probability
from simlib.planning.carried import capacity
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import MultiBinDynamic
from simlib.requests import predictors, workload
from simlib.requests.table import RequestTable
from simlib.stats import intervals
from simlib.stats.estimates import as_row, ratio
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


K_BINS = (2, 4, 8)
BINS = ("multi_bin_dynamic", "joint_optimum")
STEERED = ("dynamic_no_bins", *BINS)  # what the papers compare, with no other cap than what was measured
OPEN, CHOSEN = "open", "chosen"  # sizes: up to what was measured, or what other seeds chose
PREDICTORS: Mapping[str, Any] = {
    "original": None,
    "noise 0.5": predictors.MultiplicativeNoise(0.5),
    "perfect": predictors.Oracle(),
}
REFERENCE = 3200  # requests whose batches of eight set the deadline
KNOWN = 4000  # requests that are known to what is fitted
KNOWN_SEED = 100_000  # added to the seed: what is fitted serves none of them
LATER_S = 35.3  # the deadline of `policies` under this traffic
LONGER = 4  # runs that show what is sustained, in runs that are judged
PLACE = ["deadline_s", "predictor", "gpus", "late_share"]
KEYS = [*PLACE, "execution", "scheduler", "k_bins", "sizes"]
TOLD = ["at_most", "best", "sustained_rps"]


def requests_of(requests: int, seed: int, predictor: str = "original") -> RequestTable:
    """The original's synthetic requests, with its predictions or those of another of the `PREDICTORS`."""
    check_choice("predictor", predictor, PREDICTORS)
    table, other = workload.original(requests, seed), PREDICTORS[predictor]
    return table if other is None else predictors.predict(table, other, family="deadline", replication=seed)


def candidates(
    given: Contest,
    known: RequestTable,
    k_bins: Iterable[int] = K_BINS,
    late_share: float = 0.05,
    caps: Iterable[int] = CAPS,
) -> dict[Arm, list[Any]]:
    """What each arm may be, by scheduler and number of bins (no bins are one bin); the last is as large as measured.

    Parameters
    ----------
    given : executions.Contest
        Its deadline, its law of time, and the largest batch that was measured.
    known : RequestTable
        Requests that bins with batch sizes of their own are cut for, none of which is served.
    k_bins : iterable of int
        At least 2 each; with batch sizes of their own, at most.
    late_share : float
        Share of each bin's batches that may take longer than the deadline, where bins have batch sizes of their own.
        Nothing of the deadline is kept for waiting.
    caps : iterable of int
        Batch sizes that all arms choose from, those below the largest that was measured; and that one.
    """
    k_bins, d_sla, most = tuple(k_bins), given.d_sla, int(given.model.measured.batch_size[1])
    caps = [*(cap for cap in caps if cap < most), most]

    def own_sizes(k: int, cap: int) -> MultiBinDynamic:
        found = joint_optimum(known, k, given.model, d_sla, quantile=1 - late_share, max_batch=cap)
        sizes, bounds = tuple(found.batch_sizes.tolist()), tuple(found.edges.tolist())
        return MultiBinDynamic(len(sizes), d_sla, bounds=bounds, variant=Rules(b_max=most), batch_sizes=sizes)

    arms = sized.candidates(known, d_sla, caps, k_bins)
    for k in k_bins:
        each_once = dict.fromkeys(own_sizes(k, cap) for cap in reversed(caps))
        arms["joint_optimum", k] = list(each_once)[::-1]
    return arms


def roots_of(
    given: Contest,
    requests: int,
    *,
    gpus: Iterable[int] = (1, 2, 4, 8),
    late_shares: Iterable[float] = (0.01, 0.05),
    k_bins: Iterable[int] = K_BINS,
    predictor: str = "original",
    caps: Iterable[int] = CAPS,
    engine: bool = True,
    seed: int = 42,
    replications: int = 12,
    workers: int = 1,
) -> pd.DataFrame:
    """The largest rate of each arm in each replication, on the same requests.

    Parameters
    ----------
    requests : int
        In a run, of those that choose too; as many as `capacity.Search` asks for.
    late_shares : iterable of float
        Shares of late requests that are allowed, in (0, 1).
    engine : bool
        Whether an engine that batches continuously is judged too: in order of arrival, and bins in turn.

    Returns
    -------
    pandas.DataFrame
        One row a replication and arm: `KEYS` (``sizes`` "chosen", or "open": up to what was measured), ``at_most``,
        ``best``: whether other seeds chose it among those with, or without, bins; ``sustained_rps``: what it serves of
        requests that all wait, ``replication, capacity_rps``.

    Raises
    ------
    InputError
        If an argument is bad, or the deadline is met at any rate or missed at any.
    """
    import pandas as pd

    gpus = check_each("gpus", gpus, lambda count: check_integer("gpus", count, 1))
    shares = check_each("late_shares", late_shares, lambda share: check_probability("late_shares", share))
    draw = functools.partial(requests_of, predictor=predictor)
    known, found = draw(KNOWN, seed + KNOWN_SEED), []
    for share in shares:
        arms = candidates(given, known, k_bins, share, caps)
        for count in gpus:
            search = functools.partial(
                capacity.Search,
                draw=draw,
                latency=given.model,
                gpus=count,
                sla=given.d_sla,
                late_share=share,
                requests=requests,
            )
            best = sized.best_of(arms, search, seed, replications, workers)
            judged = _judged(arms, best, given.engine if engine else None)
            roots = _judge(judged, search, seed, replications, workers)
            place = {"deadline_s": given.d_sla, "predictor": predictor, "gpus": count, "late_share": share}
            found.append(roots.assign(**place))
    return pd.concat(found, ignore_index=True)[[*KEYS, *TOLD, "replication", "capacity_rps"]]


def _judged(
    arms: Mapping[Arm, list[Any]], best: Mapping[Arm, tuple[Any, float]], engine: Any
) -> list[tuple[dict[str, Any], Any, Any]]:
    """What is judged: how it is called, its policy, its execution."""
    first = [sized.first_of(best, family) for family in (NO_BINS, BINS)]
    judged = [(BATCHES, arm, CHOSEN, policy) for arm, (policy, _) in best.items()]
    judged += [(BATCHES, arm, OPEN, found[-1]) for arm, found in arms.items() if arm[0] in STEERED]
    if engine is not None:
        judged.append((STEPS, ("fcfs", 1), OPEN, "fcfs"))
        judged += [(STEPS, arm, OPEN, found[-1]) for arm, found in arms.items() if arm[0] == "multi_bin_dynamic"]
    rows = []
    for execution, arm, sizes, policy in judged:
        told = sized.at_most(policy) if execution == BATCHES else str(engine.max_seqs)
        called = {"execution": execution, "scheduler": arm[0], "k_bins": arm[1], "sizes": sizes, "at_most": told}
        called["best"] = execution == BATCHES and sizes == CHOSEN and arm in first
        rows.append((called, policy, BATCHES if execution == BATCHES else engine))
    return rows


def _judge(
    judged: list[tuple[dict[str, Any], Any, Any]],
    search_of: Callable[..., capacity.Search],
    seed: int,
    replications: int,
    workers: int,
) -> pd.DataFrame:
    """The roots of what is judged, and what each sustains: requests that all wait, in a run `LONGER`."""
    import pandas as pd

    names = {pair: str(place) for place, pair in enumerate(dict.fromkeys((policy, how) for _, policy, how in judged))}
    search = search_of(
        {name: policy for (policy, _), name in names.items()}, execution={name: how for (_, how), name in names.items()}
    )
    roots = replicate(search, replications, seed=seed, workers=workers, progress=False)
    waiting = replace(search, requests=LONGER * search.requests).table(seed)
    sustained_rps = {name: saturated_rps_of(search.run(name, waiting, 1e9)) for name in names.values()}
    rows = []
    for called, *pair in judged:  # what is chosen and what is open may be the same
        name = names[tuple(pair)]
        own = called | {"sustained_rps": sustained_rps[name]}
        rows += [own | {"replication": r, "capacity_rps": root} for r, root in enumerate(roots[name])]
    return pd.DataFrame(rows)


def capacities(roots: pd.DataFrame) -> pd.DataFrame:
    """Means of `roots_of` with 95 % intervals, one row an arm; ``beyond``: more than it sustains in a long run."""
    import pandas as pd

    rows, names = [], [*KEYS, *TOLD]
    for key, group in roots.groupby(names, sort=False):
        mean, called = intervals.mean_interval(group["capacity_rps"]), dict(zip(names, key, strict=True))
        beyond = {"beyond": mean.mean > called["sustained_rps"], "replications": mean.replications}
        rows.append(called | as_row(mean, "capacity_rps") | beyond)
    return pd.DataFrame(rows)


def ratios_of(roots: pd.DataFrame) -> pd.DataFrame:
    """Paired ratios of capacities, one row a comparison; ``p_holm`` over the whole table.

    Over the best without bins (``over`` "best"): every number of bins, and the engine. Over dynamic batching up to what
    was measured ("dynamic"), as the papers compare: bins likewise, and the best without bins. On the engine, bins over
    first come, first served ("fcfs").
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    plain, fcfs = (BATCHES, "dynamic_no_bins", 1, OPEN), (STEPS, "fcfs", 1, OPEN)
    for place, group in roots.groupby(PLACE, sort=False):
        found = {key: own.set_index("replication") for key, own in group.groupby(KEYS[len(PLACE) :], sort=False)}
        (best,) = (key for key, own in found.items() if own["best"].all() and key[1] in NO_BINS)
        of_bins = [key for key in found if key[0] == BATCHES and key[1] in BINS]
        pairs = [(key, "best", best) for key in of_bins if key[3] == CHOSEN]
        pairs += [(key, "dynamic", plain) for key in (*of_bins, best) if key[3] == OPEN or key == best]
        if fcfs in found:
            pairs += [(key, "fcfs", fcfs) for key in found if key[0] == STEPS and key != fcfs]
            pairs.append((fcfs, "best", best))
        for key, over, other in pairs:
            own, others = found[key], found[other]
            pair = intervals.paired_difference(np.log(own["capacity_rps"]), np.log(others["capacity_rps"]))
            rows.append(
                dict(zip(KEYS, (*place, *key), strict=True))
                | own.iloc[0][["at_most", "best"]].to_dict()
                | {"over": over, "over_scheduler": other[1], "over_at_most": others["at_most"].iloc[0]}
                | as_row(ratio(pair), "ratio")
                | {"correlation": pair.correlation, "p_holm": pair.p_value, "replications": pair.replications}
            )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=intervals.holm(table["p_holm"]))


def conditions(
    given: Contest,
    requests: int,
    deadlines_s: Iterable[float],
    names: Iterable[str] = tuple(PREDICTORS),
    *,
    gpus: Iterable[int] = (2, 8),
    k_bins: Iterable[int] = (2, 4),
    **ways: Any,
) -> pd.DataFrame:
    """`ratios_of` under other deadlines and predictors, of batches alone, with 5 % late.

    Parameters
    ----------
    deadlines_s : iterable of float
        What is scored, and what controllers aim at.
    names : iterable of str
        Of `PREDICTORS`.
    gpus, k_bins, ways
        As for `roots_of`.
    """
    import pandas as pd

    ways |= {"gpus": gpus, "k_bins": k_bins, "late_shares": (0.05,), "engine": False}
    roots = [
        roots_of(replace(given, d_sla=d_sla), requests, predictor=name, **ways)
        for d_sla in deadlines_s
        for name in names
    ]
    return ratios_of(pd.concat(roots, ignore_index=True))
