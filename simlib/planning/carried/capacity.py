"""How much load a policy carries: the largest rate at which at most a given share of the requests is late.

The rate is a root, found for each replication by itself on one table of
requests whose arrivals are drawn together or apart (retrospective approximation); so all rates and all policies face
the same requests, and two capacities are compared by the ratio of their roots. A steady-state question, asked of finite
runs: `study` says whether the answer hangs on their length, `curve` whether there is one root only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_number, check_type
from simlib.lazy import pd
from simlib.named import policy_of
from simlib.requests.arrivals import LOWEST_RATE_RPS
from simlib.requests.table import RequestTable
from simlib.runs import metrics
from simlib.runs.run import Run
from simlib.runs.sla import SLA
from simlib.simulation import simulate
from simlib.stats import intervals, steady
from simlib.stats.estimates import as_row, ratio
from simlib.stats.replications import replicate

FEWEST_LATE = 20  # late requests among those scored, at the capacity: with fewer, a root is a matter of chance
SCORED = 0.1, 0.9  # what arrives between these shares of a run counts: after the warm-up, and with arrivals behind it
STEP, TOLERANCE = math.log(1.5), math.log(1.001)
LOWEST_SHARE = 1e-3  # of the rate at which requests leave a full system: below it, none waits
SAME = math.log(1.02)  # capacities that differ by less are taken for the same


@dataclass(frozen=True)
class Search:
    """What is asked: whose capacity, on which requests, for which deadline.

    Attributes
    ----------
    policies : mapping of str to policy
        By name; at least one.
    draw : callable
        Given a number of requests and a seed, returns a request table; its rate does not matter, as it is changed.
    latency, gpus
        As for `simulate`.
    sla : SLA or float or str
        The deadline.
    late_share : float
        Share of late requests that is allowed, in (0, 1).
    execution : str or simlib.Continuous or mapping
        As for `simulate`; or one a policy's name, the others run to completion.
    requests : int
        Requests in a run. A tenth of them warms up, another goes on behind; those between are scored by arrival.

    Raises
    ------
    InputError
        If a field is bad, or a run so short that fewer than `FEWEST_LATE` of its requests may be late.

    Examples
    --------
    >>> import simlib
    >>> search = Search({"static": simlib.StaticFIFO(8)}, simlib.workload.original, gpus=2, requests=2000)
    >>> 35 < search(seed=42)["static"] < 55
    True
    """

    policies: Mapping[str, Any]
    draw: Callable[[int, int], RequestTable]
    latency: Any = "original-synthetic"
    gpus: int = 1
    sla: Any = 1.0
    late_share: float = 0.05
    requests: int = 10_000
    execution: Any = "run_to_completion"
    scored: slice = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_type("policies", self.policies, Mapping, "policies by name")
        check_integer("number of policies", len(self.policies), 1)
        check_type("draw", self.draw, Callable, "a function of a number of requests and a seed")
        share = check_number("late_share", self.late_share, 0.0, 1.0, open_low=True, open_high=True)
        fewest = math.ceil(FEWEST_LATE / (share * (SCORED[1] - SCORED[0])))
        check_integer("requests", self.requests, 1)
        if self.requests < fewest:
            late = f"at a share of {share:g} fewer than {FEWEST_LATE} of those scored could be late"
            raise InputError(f"requests: {self.requests} (expected at least {fewest}: {late})")
        put = object.__setattr__
        ways = self.execution
        if isinstance(ways, Mapping):
            for name in ways:
                check_choice("execution", name, self.policies)
            ways = {name: ways.get(name, "run_to_completion") for name in self.policies}
        else:
            ways = dict.fromkeys(self.policies, ways)
        put(self, "execution", ways)
        put(self, "policies", {name: policy_of(policy, ways[name]) for name, policy in self.policies.items()})
        put(self, "sla", SLA.of(self.sla))
        put(self, "scored", slice(*(round(part * self.requests) for part in SCORED)))

    def __call__(self, seed: int) -> dict[str, float]:
        """The root of each policy in one replication, requests per second: a function for `replications.replicate`."""
        table = self.table(seed)
        return {name: self.root(name, table) for name in self.policies}

    def table(self, seed: int) -> RequestTable:
        """One replication's requests, at a rate of one per second."""
        table = self.draw(self.requests, seed)
        span_s = float(table.arrival_s[-1] - table.arrival_s[0])
        if len(table) != self.requests or span_s == 0:
            raise InputError(f"draw: {len(table)} requests in {span_s:g} s (expected {self.requests}, over some time)")
        return replace(table, arrival_s=(table.arrival_s - table.arrival_s[0]) * ((len(table) - 1) / span_s))

    def share(self, name: str, table: RequestTable, rate_rps: float) -> float:
        """Share of late requests among those scored, under one policy at one rate."""
        return float(np.mean(metrics.violations(self.run(name, table, rate_rps))[self.scored]))

    def run(self, name: str, table: RequestTable, rate_rps: float) -> Run:
        """Serve one replication's requests under one policy at one rate."""
        way = self.execution[name]
        return simulate(table.at_rate(rate_rps), self.policies[name], self.latency, self.gpus, way, self.sla)

    def root(self, name: str, table: RequestTable) -> float:
        """The largest rate, searched for from above, at which a policy meets the deadline often enough.

        Raises
        ------
        InputError
            If the deadline is met at any rate (the run is too short), or missed at any.
        """
        from scipy.optimize import bisect

        @functools.cache
        def excess(log_rate: float) -> float:
            return self.share(name, table, math.exp(log_rate)) - self.late_share

        # All at once tells at which rate requests leave; a controller that shrinks its batches may be faster than so.
        at_once = self.run(name, table, 1e9)
        leave_rps = len(table) / float(np.max(at_once.times.completion_s))
        high = math.log(1.1 * leave_rps)
        for _ in range(20):
            if excess(high) > 0:
                break
            high += STEP
        else:
            raise InputError(f"requests: {self.requests} (expected more: {name} serves them all in time at any rate)")
        low = high - STEP
        while excess(low) > 0:
            low, high = low - STEP, low
            if math.exp(low) < max(LOWEST_SHARE * leave_rps, 2 * LOWEST_RATE_RPS):
                share = f"{excess(high) + self.late_share:.3g} of the requests are late even at {math.exp(high):.3g}/s"
                raise InputError(f"late_share: {self.late_share} (expected more, or a later deadline: {name}, {share})")
        return math.exp(bisect(excess, low, high, xtol=TOLERANCE))


@dataclass(frozen=True, slots=True)
class Study:
    """What `study` finds.

    Attributes
    ----------
    roots : pandas.DataFrame
        One row a replication, one column a policy, requests per second.
    table : pandas.DataFrame
        ``policy, capacity_rps, ci_low, ci_high, replications, requests``: mean root with Student's t interval;
        ``warmup_requests``: how many MSER-5 would cut at that rate, missing where it finds the runs too short; and
        ``doubled_ratio, doubled_ci_low, doubled_ci_high, verdict``: capacity in runs twice as long over it, by pairs.
        ``stable`` where that interval lies within 2 % of 1, ``moves`` where it leaves out 1 and is not stable, else
        ``unclear``: more replications are needed to tell.
    ratios : pandas.DataFrame
        As `ratios` gives them.
    """

    roots: pd.DataFrame
    table: pd.DataFrame
    ratios: pd.DataFrame


def study(search: Search, replications: int, *, seed: int, workers: int = 1) -> Study:
    """Capacities, their ratios, and whether they stay as they are when runs are twice as long.

    Parameters
    ----------
    search : Search
    replications : int
        At least 2, and as many again of the long runs, from the same seeds: draws that begin alike narrow the interval.
    seed, workers : int
        As in `replications.replicate`.
    """
    check_integer("replications", replications, 2)
    ways = {"seed": seed, "workers": workers}
    roots = replicate(search, replications, **ways)
    long = replace(search, requests=2 * search.requests)
    longer = replicate(long, replications, **ways)
    tables = [search.table(seed + replication) for replication in range(replications)]
    rows = []
    for name in search.policies:
        mean = intervals.mean_interval(roots[name])
        change = intervals.paired_difference(np.log(longer[name]), np.log(roots[name]))
        verdict = "unclear"
        if change.ci_low > -SAME and change.ci_high < SAME:
            verdict = "stable"
        elif not change.ci_low <= 0 <= change.ci_high:
            verdict = "moves"
        rows.append(
            {"policy": name}
            | as_row(mean, "capacity_rps")
            | {"replications": replications, "requests": search.requests}
            | {"warmup_requests": _warm_up(search, name, mean.mean, tables)}
            | as_row(ratio(change), "doubled_ratio", "doubled_")
            | {"verdict": verdict}
        )
    apart = functools.partial(replicate, search, replications, **ways | {"seed": seed + replications})
    return Study(roots, pd.DataFrame(rows), ratios(roots, apart))


def _warm_up(search: Search, name: str, rate_rps: float, tables: list[RequestTable]) -> float:
    """How many requests MSER-5 would cut, for the mean of the replications at one rate; NaN if runs are too short."""
    runs = (search.run(name, table, rate_rps) for table in tables)
    try:
        return float(steady.truncation([run.times.completion_s - run.table.arrival_s for run in runs]))
    except InputError:
        return math.nan


def ratios(roots: pd.DataFrame, apart: Callable[[], pd.DataFrame] | None = None) -> pd.DataFrame:
    """How many times the load of another policy each carries: each later column of `roots` over each earlier one.

    Parameters
    ----------
    roots : pandas.DataFrame
        One row a replication, one column a policy, as `replications.replicate` of a `Search` gives them.
    apart : callable, optional
        Gives roots of other seeds, for pairs whose roots are not positively correlated (see `intervals.difference`).

    Returns
    -------
    pandas.DataFrame
        ``policy, over, ratio, ci_low, ci_high, correlation, method, p_holm, replications``: the geometric mean of the
        ratios of roots, with the t interval of their logarithm.
    """
    again, rows = None if apart is None else functools.cache(apart), []
    for over, name in combinations(roots.columns, 2):
        other = None if again is None else functools.partial(lambda column: np.log(again()[column]), over)
        pair = intervals.difference(np.log(roots[name]), np.log(roots[over]), other)
        rows.append(
            {"policy": name, "over": over}
            | as_row(ratio(pair), "ratio")
            | {"correlation": pair.correlation, "method": pair.method, "p_holm": pair.p_value}
            | {"replications": pair.replications}
        )
    table = pd.DataFrame(rows)
    if len(table):  # one replication has no limits
        table = table.astype({"ci_low": float, "ci_high": float})
    if len(table) and table["p_holm"].notna().all():
        table["p_holm"] = intervals.holm(table["p_holm"])
    return table


def curve(
    search: Search, rates_rps: Iterable[float], replications: int, *, seed: int, workers: int = 1
) -> pd.DataFrame:
    """Share of late requests by rate, with its interval; and whether it ever falls as the rate grows.

    Returns
    -------
    pandas.DataFrame
        ``policy, rate_rps, late_share, ci_low, ci_high, falls, replications``. `falls` where the share is less than at
        the rate before, by pairs, one-sided at 5 % after Holm's correction over the policy's rates: below such a rate
        there may be another root.
    """
    rates_rps = [check_number("rates_rps", rate_rps, 0.0, open_low=True) for rate_rps in rates_rps]
    if sorted(set(rates_rps)) != rates_rps:
        raise InputError(f"rates_rps: {rates_rps!r:.80} (expected ascending rates)")

    def shares(seed: int) -> dict[str, float]:
        table = search.table(seed)
        return {
            f"{i} {name}": search.share(name, table, r) for name in search.policies for i, r in enumerate(rates_rps)
        }

    found, rows = replicate(shares, replications, seed=seed, workers=workers), []
    for name in search.policies:
        columns = [found[f"{i} {name}"].to_numpy() for i in range(len(rates_rps))]
        steps = [intervals.paired_difference(after, before) for before, after in pairwise(columns)]
        p_falls = [1.0 if s.p_value is None or s.mean >= 0 else s.p_value / 2 for s in steps]
        falls = [False, *(intervals.holm(p_falls) <= 0.05)] if steps else [False]
        for rate_rps, values, fall in zip(rates_rps, columns, falls, strict=True):
            mean = intervals.mean_interval(values)
            rows.append(
                {"policy": name, "rate_rps": rate_rps}
                | as_row(mean, "late_share")
                | {"falls": bool(fall), "replications": mean.replications}
            )
    return pd.DataFrame(rows)
