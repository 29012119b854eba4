"""Bins with batch sizes of their own under a deadline: held out, with predictors that err, and simulated.

Over `joint_bins`: requests are binned by their prompt, which is known, plus their predicted answer; a batch takes the
time that its law says of its size and its longest total. What is judged by formula is of servers that never lack a full
batch (steady state), what is simulated says so.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from book.chapters.traffic_bins import held_out
from book.kit import arms
from book.kit.bins import joint_bins
from book.kit.bins.phase_bins import CUTS
from simlib.checks import InputError, check_choice, check_each, check_integer, check_number
from simlib.durations import Seconds
from simlib.planning.carried import capacity
from simlib.policies import bins
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import MultiBinDynamic
from simlib.policies.full_batches import MultiBinFixed
from simlib.policies.optimal_bins import BATCHES_A_BIN, partition, starts_of
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.estimates import as_row, ratio
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


CHOICES = ("one_bin", "equal_mass", "joint")
SIZES = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128])
FINENESS = 400  # lengths are told apart by this share of their 99th percentile
PICKED, PICKED_SEED = 3, 10_000  # replications to pick on, and what is added to the seed: none of them is judged
UNSTEERED_S = Seconds(1e6)  # a deadline that no controller shrinks a batch for


class Plan(NamedTuple):
    """Inner edges on predicted totals, tokens, and each bin's batch size."""

    edges: np.ndarray
    sizes: np.ndarray


def totals(rows: held_out.Rows, predictor: str = "oracle", seed: int = 42) -> tuple[np.ndarray, np.ndarray]:
    """Prompt plus answer, and prompt plus predicted answer, of each request, tokens."""
    predicted = held_out.predicted_tokens(rows, predictor, seed)
    return rows.prompt_tokens + rows.output_tokens, rows.prompt_tokens + predicted


def choose(
    lengths: np.ndarray,
    predicted: np.ndarray,
    choice: str,
    k_bins: int,
    latency: Any,
    deadline_s: float,
    *,
    waiting_budget_s: float = 0.0,
    late_share: float = 0.1,
    max_batch: int = 128,
) -> Plan:
    """Bins and batch sizes from rows of which truth and prediction are known.

    Parameters
    ----------
    lengths, predicted : ndarray of int, shape (n,)
        True and predicted totals, tokens. Where they are equal, `joint_bins.joint_optimum` chooses, exactly.
    choice : {"one_bin", "equal_mass", "joint"}
        No bins, bins of equal mass, or the best ones; each with the best batch sizes.
    k_bins, latency, deadline_s, waiting_budget_s, max_batch
        As for `joint_bins.joint_optimum`.
    late_share : float
        Share of a bin's batches that may take longer than the deadline less the budget.

    Raises
    ------
    InputError
        If an argument is bad, or the deadline cannot be met (by the oracle's requests in batches of one).

    Notes
    -----
    With predictions that err a bin's batch has the true lengths of those predicted into it. Edges are then chosen among
    `phase_bins.CUTS` (quantiles of the predictions, finer in the tail), sizes among `SIZES`, by the same programme.

    Examples
    --------
    >>> lengths = np.array([100] * 80 + [1400] * 4)
    >>> plan = choose(lengths, lengths, "joint", 2, "original-synthetic", 0.3, max_batch=8)
    >>> plan.edges.tolist(), plan.sizes.tolist()
    ([752.0], [8, 1])
    """
    check_choice("choice", choice, CHOICES)
    share = check_number("late_share", late_share, 0.0, 1.0, open_low=True, open_high=True)
    rounded, bounds = coarse(lengths), "optimal" if choice == "joint" else "equal_mass"
    exact = functools.partial(joint_bins.joint_optimum, rounded, latency=latency, deadline_s=deadline_s)
    exact = functools.partial(exact, waiting_budget_s=waiting_budget_s, quantile=1 - share, bounds=bounds)
    if choice == "one_bin" or np.array_equal(lengths, predicted):
        k_bins = 1 if choice == "one_bin" else min(k_bins, len(np.unique(rounded)))
        found = exact(k_bins=k_bins, max_batch=max_batch)
        return Plan(found.edges, found.batch_sizes)
    exact(k_bins=1, max_batch=1)  # refuses what no batch of one meets
    if bounds == "equal_mass":
        edges = np.unique(bins.equal_mass(predicted, k_bins))
    else:
        edges = np.unique(np.quantile(predicted, CUTS))
    cost = _intervals(rounded, predicted, edges, latency, deadline_s - waiting_budget_s, 1 - share, max_batch)
    cells = len(edges) + 1
    if bounds == "equal_mass":
        starts = np.arange(cells + 1)
    else:
        best, origin = partition(k_bins, lambda first: cost(first)[0], cells)
        starts = starts_of(origin, 1 + int(np.argmin(best[1:, -1])))
    return Plan(edges[starts[1:-1] - 1], np.array([int(cost(first)[1][last]) for first, last in pairwise(starts)]))


def coarse(lengths: np.ndarray) -> np.ndarray:
    """Lengths rounded up, so that the programme has some hundreds of values and no batch seems shorter than it is."""
    step = max(1.0, math.floor(np.quantile(lengths, 0.99) / FINENESS))
    return np.ceil(lengths / step) * step


def _intervals(
    lengths: np.ndarray,
    predicted: np.ndarray,
    edges: np.ndarray,
    latency: Any,
    allowance_s: float,
    quantile: float,
    max_batch: int,
) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """From a first cell on, by the cell after the last: share times least cost a request, and its batch size."""
    values, place = np.unique(lengths, return_inverse=True)
    sizes = SIZES[max_batch >= SIZES]
    times_s, _ = joint_bins.times_of(latency, values, sizes, 0.0)
    fits = np.array([np.searchsorted(column, allowance_s, side="right") for column in times_s.T])
    rises_s = np.diff(times_s, axis=0)
    table = np.zeros((len(edges) + 1, len(values)))
    np.add.at(table, (np.searchsorted(edges, predicted, side="right"), place), 1)

    @functools.cache
    def cost(first: int) -> tuple[np.ndarray, np.ndarray]:
        up_to = np.cumsum(np.cumsum(table[first:], axis=0), axis=1)  # by last cell, requests up to each length
        mass = up_to[:, -1:]
        at_most = (up_to / np.maximum(mass, 1))[:, :, None] ** sizes
        seconds = times_s[-1] - np.einsum("cvs,vs->cs", at_most[:, :-1], rises_s)
        reached = np.take_along_axis(at_most, np.maximum(fits - 1, 0)[None, None, :], axis=1)[:, 0]
        in_time = np.where(fits > 0, reached, 0.0)
        allowed = (sizes == 1) | ((mass >= BATCHES_A_BIN * sizes) & (in_time >= quantile))
        each = np.where(allowed & (mass > 0), seconds / sizes, np.inf)
        costs, chosen = np.full(len(table) + 1, np.inf), np.ones(len(table) + 1, int)
        costs[first + 1 :] = np.where(mass[:, 0] > 0, mass[:, 0], 1.0) / len(lengths) * each.min(axis=1)
        chosen[first + 1 :] = sizes[each.argmin(axis=1)]
        return costs, chosen

    return cost


def by_deadline(
    rows: held_out.Rows,
    predictor: str = "oracle",
    *,
    k_values: Iterable[int] = (2, 4),
    deadlines_s: Iterable[float] = (0.3, 0.6, 1.2, 2.4),
    latency: Any = "original-synthetic",
    late_share: float = 0.1,
    seed: int = 42,
) -> pd.DataFrame:
    """What one GPU carries under each choice of bins, on lengths unseen.

    Parameters
    ----------
    rows : held_out.Rows
    predictor : str
        A name in `held_out.PREDICTORS`.
    k_values, deadlines_s : iterable
        Numbers of bins; limits on a batch's service, seconds.
    latency, late_share
        As for `choose`.
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``predictor, deadline_s, k_bins, choice, edges, batch_sizes`` (texts), ``last_share`` (of the requests, in the
        slowest bin) and ``capacity_rps``, of all rows as they were cut; ``held_out_rps, ci_low, ci_high`` and
        ``late_share`` (of requests in batches beyond the deadline), of halves unseen; ``ratio, ratio_low, ratio_high``:
        over one bin with its own best batch size, and ``over_equal, over_equal_low, over_equal_high``: over as many
        equal-mass bins, on the same resamples; ``refused``. G GPUs carry G times as much.
    """
    import pandas as pd

    lengths, predicted = totals(rows, predictor, seed)
    parts = held_out.halves(lengths, predicted, seed)
    k_values, found = check_each("k_values", k_values, lambda k: check_integer("k_bins", k, 2, 64)), []
    for deadline_s in check_each("deadlines_s", deadlines_s, lambda d: check_number("deadline_s", d, 0, open_low=True)):
        ways = {"latency": latency, "deadline_s": deadline_s, "late_share": late_share}
        settings = [(k_bins, choice) for k_bins in k_values for choice in ("equal_mass", "joint")]
        alone = same = np.nan
        for k_bins, choice in [(1, "one_bin"), *settings]:
            row = {"predictor": predictor, "deadline_s": deadline_s, "k_bins": k_bins, "choice": choice}
            try:
                plan = choose(lengths, predicted, choice, k_bins, **ways)
                plans = [choose(half.fitted, half.fitted_predicted, choice, k_bins, **ways) for half in parts]
            except InputError as problem:
                found.append(row | {"refused": str(problem)})
                continue
            judged = [_judged(half, one, latency, deadline_s) for half, one in zip(parts, plans, strict=True)]
            rate = 2 / (judged[0][0] + judged[1][0])
            alone, same = (
                rate if choice == name else kept for name, kept in (("one_bin", alone), ("equal_mass", same))
            )
            row |= _described(plan, lengths, predicted, latency, deadline_s)
            row |= held_out.band(rate, "held_out_rps", "ci_low", "ci_high")
            row |= {"late_share": float((judged[0][1] + judged[1][1])[0] / 2)}
            row |= held_out.band(rate / alone, "ratio", "ratio_low", "ratio_high")
            if choice == "joint":
                row |= held_out.band(rate / same, "over_equal", "over_equal_low", "over_equal_high")
            found.append(row | {"rows": len(lengths), "refused": ""})
    return pd.DataFrame(found)


def _described(plan: Plan, lengths: np.ndarray, predicted: np.ndarray, latency: Any, deadline_s: float) -> dict:
    return {
        "edges": " ".join(f"{edge:.0f}" for edge in plan.edges),
        "batch_sizes": " ".join(map(str, plan.sizes)),
        "last_share": float(np.mean(predicted >= plan.edges[-1])) if len(plan.edges) else 1.0,
        "capacity_rps": float(1 / _judged(_whole(lengths, predicted), plan, latency, deadline_s)[0][0]),
    }


def _whole(lengths: np.ndarray, predicted: np.ndarray) -> held_out.Half:
    order = np.argsort(lengths, kind="stable")
    return held_out.Half(lengths, predicted, lengths[order], predicted[order], np.ones((1, len(order)), int))


def _judged(
    half: held_out.Half, plan: Plan, latency: Any, deadline_s: float, replace: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of a server a request, and share of requests in late batches, for each resample of the unseen rows."""
    bin_of = np.searchsorted(plan.edges, half.unseen_predicted, side="right")
    work_s = late = np.zeros(len(half.counts))
    for i in np.unique(bin_of):
        mine, size = bin_of == i, int(plan.sizes[i])
        counts = half.counts[:, mine]
        values, place = np.unique(half.unseen[mine], return_inverse=True)
        times_s = joint_bins.times_of(latency, values, np.array([size]), 0.0)[0][place, 0]
        share = counts.sum(axis=1) / half.counts.sum(axis=1)
        work_s = work_s + share * held_out.expected_of_longest(times_s, counts, size, replace) / size
        over = (times_s > deadline_s).astype(float)
        late = late + share * held_out.expected_of_longest(over, counts[:1], size)[0]
    return work_s, late


def draw(lengths: np.ndarray, predicted: np.ndarray) -> Callable[[int, int], RequestTable]:
    """Requests with these lengths, drawn with replacement, in Poisson arrivals of one a second: for `capacity.Search`.

    Examples
    --------
    >>> table = draw(np.array([5, 9]), np.array([5, 9]))(100, 1)
    >>> set(table.output_tokens.tolist()) == {5, 9}
    True
    """

    def drawn(requests: int, seed: int) -> RequestTable:
        family = "deadline bins"
        chosen = stream(family, seed, "lengths").integers(len(lengths), size=requests)
        arrival_s = np.cumsum(stream(family, seed, "arrivals").exponential(size=requests))
        return RequestTable(arrival_s, np.zeros(requests, int), lengths[chosen], predicted[chosen])

    return drawn


def policy(plan: Plan, kind: str = "fixed") -> Any:
    """A plan as a policy: ``fixed`` waits for full batches, ``greedy`` takes what waits, oldest bin first."""
    check_choice("kind", kind, ("fixed", "greedy"))
    sizes, edges = plan.sizes.tolist(), plan.edges.tolist()
    if kind == "fixed":
        return MultiBinFixed(sizes, len(sizes), edges)
    return MultiBinDynamic(len(sizes), UNSTEERED_S, "oldest_head", edges, Rules("paper", b_min=128), sizes)


def saturated(
    lengths: np.ndarray,
    predicted: np.ndarray,
    plans: Mapping[str, Plan],
    *,
    latency: Any = "original-synthetic",
    gpus: Iterable[int] = (1, 2, 4, 8),
    requests: int = 50_000,
    replications: int = 10,
    seed: int = 42,
) -> pd.DataFrame:
    """Throughput of servers that never lack a batch, over what the formula says of the same lengths.

    Returns
    -------
    pandas.DataFrame
        ``choice, gpus, throughput_rps, formula_rps, ratio, ci_low, ci_high, replications``, with Student's t interval.
        All requests wait from the start (terminating); what is left over in a bin is served too.
    """
    import pandas as pd

    found, drawn, whole = [], draw(lengths, predicted), _whole(lengths, predicted)
    for servers in check_each("gpus", gpus, lambda g: check_integer("gpus", g, 1, 64)):
        for choice, plan in plans.items():
            formula = servers / float(_judged(whole, plan, latency, math.inf, replace=True)[0][0])  # as they are drawn

            def one(seed: int, plan: Plan = plan, servers: int = servers) -> dict[str, float]:
                table = drawn(requests, seed).at_rate(1e9)
                run = simulate(table, policy(plan), latency, servers)
                return {"rps": requests / float(run.times.completion_s.max())}

            rates = replicate(one, replications, seed=seed)["rps"]
            found.append(
                {"choice": choice, "gpus": servers, "throughput_rps": rates.mean(), "formula_rps": formula}
                | as_row(intervals.mean_interval(rates / formula), "ratio")
                | {"replications": replications}
            )
    return pd.DataFrame(found)


def carried(
    rows: held_out.Rows,
    predictor: str = "oracle",
    *,
    deadline_s: float = 0.3,
    budgets: Iterable[float] = (0.0, 0.25, 0.5),
    k_bins: int = 2,
    latency: Any = "original-synthetic",
    late_share: float = 0.1,
    gpus: Iterable[int] = (1, 2, 4, 8),
    requests: int = 10_000,
    replications: int = 10,
    seed: int = 42,
    workers: int = 1,
) -> pd.DataFrame:
    """The largest rates at which requests, waiting included, keep the deadline: steady state, by simulation.

    Parameters
    ----------
    rows, predictor
        As for `by_deadline`. Plans are chosen on one half, requests drawn from the other.
    deadline_s : float
        From a request's arrival to its completion, seconds.
    budgets : iterable of float
        Shares of the deadline that plans may keep for waiting, each in [0, 1); what leaves no time for service is not
        tried.
    k_bins, latency, late_share
        As for `choose`.
    gpus, requests, replications, seed, workers
        Numbers of servers; as in `capacity.Search` and `replications.replicate`.

    Returns
    -------
    pandas.DataFrame
        ``predictor, deadline_s, gpus, choice, kind, policy, capacity_rps, ci_low, ci_high``; ``ratio, ratio_low,
        ratio_high, p_holm``: over the best without bins, and ``over_equal, over_equal_low, over_equal_high``: over
        equal-mass bins under the same kind of `policy`, by pairs of the logarithms; ``replications, refused``. A plan
        that misses the deadline at any rate has no capacity: its row says so.

    Notes
    -----
    The best without bins (choice ``no_bins``) is one of `without_bins`, a plan is one of those for a budget: each time
    what carries most of requests drawn from the half that plans are chosen on, with seeds that are not judged.
    """
    import pandas as pd

    budgets = check_each("budgets", budgets, lambda budget: check_number("budgets", budget, 0.0, 1.0, open_high=True))
    lengths, predicted = totals(rows, predictor, seed)
    half = held_out.halves(lengths, predicted, seed, resamples=0)[0]
    ways = [{"waiting_budget_s": budget * deadline_s, "late_share": late_share} for budget in budgets]
    plans = {choice: _possible(half, choice, k_bins, latency, deadline_s, ways) for choice in ("equal_mass", "joint")}
    tried = {("no_bins", "greedy"): without_bins(half.fitted, deadline_s)}
    for kind in ("greedy", "fixed"):
        for choice, several in plans.items():
            tried[choice, kind] = {_told(plan): policy(plan, kind) for plan in several}
    known, drawn, found = draw(half.fitted, half.fitted_predicted), draw(half.unseen, half.unseen_predicted), []
    for servers in check_each("gpus", gpus, lambda g: check_integer("gpus", g, 1, 64)):
        asked = (latency, servers, deadline_s, late_share, requests)
        roots: dict[tuple[str, str], np.ndarray] = {}
        for (choice, kind), policies in tried.items():
            search = capacity.Search(policies, known, *asked)
            told, _ = arms.picked(
                search, min(PICKED, replications), seed=seed + PICKED_SEED, workers=workers, progress=False
            )
            row = {"predictor": predictor, "deadline_s": deadline_s, "gpus": servers, "choice": choice, "kind": kind}
            row |= {"policy": told}
            try:
                search = capacity.Search({choice: policies[told]}, drawn, *asked)
                roots[choice, kind] = np.log(replicate(search, replications, seed=seed, workers=workers)[choice])
            except InputError as problem:
                found.append(row | {"refused": str(problem)})
                continue
            mine = roots[choice, kind]
            row |= as_row(intervals.mean_interval(np.exp(mine)), "capacity_rps")
            if choice != "no_bins":
                pair = intervals.paired_difference(mine, roots["no_bins", "greedy"])
                row |= _ratio(pair, "ratio") | {"p_holm": pair.p_value}
            if choice == "joint" and ("equal_mass", kind) in roots:
                row |= _ratio(intervals.paired_difference(mine, roots["equal_mass", kind]), "over_equal")
            found.append(row | {"replications": replications, "refused": ""})
    table = pd.DataFrame(found)
    tested = table["p_holm"].notna()
    table.loc[tested, "p_holm"] = intervals.holm(table.loc[tested, "p_holm"])
    return table


def _possible(
    half: held_out.Half, choice: str, k_bins: int, latency: Any, deadline_s: float, ways: Iterable[Mapping[str, float]]
) -> list[Plan]:
    """A plan for each budget that leaves time for service; refused where none does."""
    found, problem = [], None
    for way in ways:
        try:
            found.append(choose(half.fitted, half.fitted_predicted, choice, k_bins, latency, deadline_s, **way))
        except InputError as refusal:
            problem = refusal
    if problem and not found:
        raise problem
    return found


def without_bins(known: np.ndarray, deadline_s: float) -> arms.Policies:
    """What may be picked without bins: one bin of any size, and shortest predicted first in two or four lines."""
    ageing_s, sizes = arms.ageing_s(known, deadline_s), SIZES.tolist()
    several = arms.shortest(ageing_s, (2, 4), sizes[3:], "shortest first, {1} in {0} lines")
    return arms.static(sizes, "one bin, {}") | several


def _told(plan: Plan) -> str:
    sizes = "/".join(map(str, plan.sizes))
    return f"{sizes}, cut at {' '.join(f'{edge:.0f}' for edge in plan.edges)}" if len(plan.edges) else sizes


def _ratio(pair: Any, name: str) -> dict[str, float]:
    found = ratio(pair)
    return {name: found.mean, f"{name}_low": found.ci_low, f"{name}_high": found.ci_high}
