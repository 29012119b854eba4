"""How much load a policy carries: the largest rate at which at most a given share of the requests is late.

One replication's root is found on one table of requests whose arrivals are drawn together or apart (retrospective
approximation); so all rates and all policies face the same requests, and two policies are compared by the ratio of
their roots. The mean of such roots is no capacity: where the share of late requests varies much between runs, most
have less than the mean, and bear more. `study` therefore asks at which rate the *mean* share is the allowed one, as in
a run without end; it says whether the answer hangs on the length of the runs, `curve` whether there is one root only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import Any, ClassVar

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
NEAR = math.log(1.01)  # by so much the rate changes where the slope of the share is measured
FLAT, WIDEST = 0.1, 25.0  # least slope of the share, and what one replication says at most, both in logarithms


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
    whole: ClassVar[float] = 0.0  # the least change of the load that makes a difference

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

    def pace(self, seed: int) -> float:
        """At which rate one replication's requests come as they are drawn: next to the others' it is part of chance."""
        table = self.draw(self.requests, seed)
        return (len(table) - 1) / float(table.arrival_s[-1] - table.arrival_s[0])

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
        ``policy, capacity_rps, ci_low, ci_high, replications, requests``: the rate at which the mean share of late
        requests is the allowed one, with Student's t interval of its logarithm;
        ``warmup_requests``: how many MSER-5 would cut at that rate, missing where it finds the runs too short;
        ``memory_requests``: over how many requests latencies depend there (`steady.memory`); and
        ``doubled_ratio, doubled_ci_low, doubled_ci_high, verdict``: capacity in runs twice as long over it, by pairs.
        ``short`` where what is cut as warm-up is shorter than the memory; ``stable`` where the interval of that ratio
        lies within 2 % of 1, ``moves`` where it leaves out 1 and is not stable, else ``unclear``: more replications are
        needed to tell. Where runs are short the capacity has no limits.
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

    Notes
    -----
    What replication r says of the capacity's logarithm is a pseudo-value of the jackknife: how it changes without r,
    by the share of late requests at the capacity and the slope of its logarithm in that of the rate. The interval is
    Student's t of their mean. The arrivals of all replications are stretched by one factor: to give each run the same
    rate would hide that a run is now faster, now slower, and then more are late. What short runs may hide of the error
    is added (`steady.hidden`). Coverage of capacities that are known in closed form is measured in
    ``data/results/coverage_edge.csv``.
    """
    check_integer("replications", replications, 2)
    ways = {"seed": seed, "workers": workers}
    roots = replicate(search, replications, **ways)
    short, long = (
        _Runs(kind, replications, **ways) for kind in (search, replace(search, requests=2 * search.requests))
    )
    rows = []
    for name in search.policies:
        logs, slope = short.says(name, float(np.log(roots[name]).mean()))
        mean = intervals.mean_interval(logs)
        change = intervals.paired_difference(long.says(name, mean.mean)[0], logs)
        latency_s = short.latencies(name, mean.mean)
        memory = _found(steady.memory, latency_s)
        verdict = "unclear"
        if memory > search.scored.start:
            verdict = "short"
        elif change.ci_low > -SAME and change.ci_high < SAME:
            verdict = "stable"
        elif not change.ci_low <= 0 <= change.ci_high:
            verdict = "moves"
        memories = replications * (search.scored.stop - search.scored.start) / memory
        hidden = steady.hidden(math.sqrt(1 / search.late_share - 1) / slope, memories)
        more = 0.0 if math.isnan(hidden) else intervals.t_quantile(replications - 1, 0.95) * hidden
        half = math.nan if verdict == "short" else math.hypot(mean.ci_high - mean.mean, more)
        capacity_rps = ratio(replace(mean, ci_low=mean.mean - half, ci_high=mean.mean + half))
        rows.append(
            {"policy": name}
            | as_row(capacity_rps, "capacity_rps")
            | {"replications": replications, "requests": search.requests}
            | {"warmup_requests": _found(steady.truncation, latency_s), "memory_requests": memory}
            | as_row(ratio(change), "doubled_ratio", "doubled_")
            | {"verdict": verdict}
        )
    apart = functools.partial(replicate, search, replications, **ways | {"seed": seed + replications})
    return Study(roots, pd.DataFrame(rows), ratios(roots, apart))


class _Runs:
    """All replications of a search at one rate, each as much faster or slower as it was drawn."""

    def __init__(self, search: Search, replications: int, seed: int, workers: int) -> None:
        self.search, self.ways = search, {"seed": seed, "workers": workers, "progress": False}
        seeds = range(seed, seed + replications)
        self.tables = {each: search.table(each) for each in seeds}
        paces = np.array([search.pace(each) for each in seeds])
        self.gaps = 1 / paces / np.mean(1 / paces)  # of each, in those of all
        self.factors = dict(zip(seeds, 1 / self.gaps, strict=True))

    def shares(self, name: str, log_rate: float) -> np.ndarray:
        """Share of late requests in each replication."""
        late = lambda seed: {"late": self.search.share(name, self.tables[seed], self._rate(seed, log_rate))}  # noqa: E731
        return replicate(late, len(self.tables), **self.ways)["late"].to_numpy()

    def says(self, name: str, near: float) -> tuple[np.ndarray, float]:
        """What each replication says of the capacity's logarithm, searched for from one that is near; and the slope.

        That is how the logarithm of the mean share rises with that of the rate.
        """
        from scipy.optimize import brentq

        shares, allowed = functools.cache(functools.partial(self.shares, name)), self.search.late_share
        excess = lambda log_rate: float(shares(log_rate).mean()) - allowed  # noqa: E731
        low = high = near
        for step in NEAR * 2.0 ** np.arange(10):
            if excess(low) <= 0 < excess(high):
                break
            low, high = (low - step, low) if excess(low) > 0 else (high, high + step)
        else:
            raise InputError(f"requests: {self.search.requests} (expected more: {name} bears no rate, or any)")
        centre = brentq(excess, low, high, xtol=2 * TOLERANCE)
        step, rises = max(NEAR, self.search.whole / math.exp(centre)) / 2, np.zeros(1)
        while rises.sum() <= 0.8 * np.abs(rises).sum():  # falls in some runs, by a ninth or more in all: that is chance
            step *= 2
            rises = shares(centre + step) - shares(centre - step)
        late, count = shares(centre), len(self.gaps)
        slope = max(FLAT, rises.mean() / (2 * step) / late.mean())
        without = np.maximum((late.sum() - late) / (count - 1), allowed / self.search.requests)  # each left out in turn
        logs = count * math.log(late.mean() / allowed) - (count - 1) * np.log(without / allowed)
        return centre - np.clip(logs / slope, -WIDEST, WIDEST) - (self.gaps - 1), slope

    def latencies(self, name: str, log_rate: float) -> np.ndarray:
        """Latency of each request at one rate, seconds, shape (replications, n_requests)."""
        runs = (self.search.run(name, table, self._rate(seed, log_rate)) for seed, table in self.tables.items())
        return np.array([run.times.completion_s - run.table.arrival_s for run in runs])

    def _rate(self, seed: int, log_rate: float) -> float:
        return math.exp(log_rate) * self.factors[seed]


def _found(what: Callable[[np.ndarray], float], latency_s: np.ndarray) -> float:
    """What is found of the replications' latencies; NaN if runs are too short for it, or not all are served."""
    try:
        return float(what(latency_s))
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
