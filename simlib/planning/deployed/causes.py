"""Which assumption broke: the plan's own window served again, with each measured number in place of the assumed one.

One number is swapped at a time, then all together. What a step takes is no number that an engine tells: it is how much
slower the law must be for a simulation of the very traffic to have the measured time between two tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simlib.latency.steps import StepLaw
from simlib.planning import objectives
from simlib.planning.deployed.classes import mixed
from simlib.planning.deployed.promise import (
    CACHED,
    FAILED,
    KEPT,
    OUTPUTS,
    PACE,
    PROMPTS,
    RATE,
    Assumed,
    Promise,
    rate_rps,
)
from simlib.planning.deployed.window import ITL, KV, Observed
from simlib.planning.objectives import Objective
from simlib.policies.dynamic import MultiBinDynamic
from simlib.policies.priority import PriorityFirst
from simlib.requests.table import RequestTable
from simlib.runs import metrics
from simlib.simulation import simulate

BURSTS = "gap_cv"
SLOWEST = 4.0  # times the law's, and as much faster: paces that are looked for
PRECISE = 0.005
LESS = 0.01  # of a cache's tokens may be missing


@dataclass(frozen=True)
class Cause:
    """One assumption: what was measured, what was promised, and what the objective is with it.

    Attributes
    ----------
    name : str
        Of those that a promise assumes (`promise.Promise`), `window.KV` or `BURSTS`.
    measured : float or None
        None: the result does not say.
    promised : Assumed
    inside : bool or None
        None where it was not measured, or nothing is promised of it.
    value_s : float or None
        The objective in the plan's window with this alone as measured; None without a simulation.
    """

    name: str
    measured: float | None
    promised: Assumed
    inside: bool | None
    value_s: float | None = None

    @property
    def beyond(self) -> float:
        """By how many half-widths of its range it lies outside; 0 inside."""
        if self.inside is not False:
            return 0.0
        end = self.promised.high if self.measured > self.promised.high else self.promised.low
        width = abs(end - self.promised.mean)
        return abs(self.measured - end) / width if width else math.inf


@dataclass(frozen=True)
class Causes:
    """All assumptions of a window, those that explain most first.

    Attributes
    ----------
    objective : Objective
    window : Observed
    rows : tuple of Cause
    planned_s : float or None
        The objective in the plan's window as it was assumed; None: nothing could be simulated, and causes stand by how
        far outside their ranges they are.
    together_s : float or None
        With everything as measured.
    """

    objective: Objective
    window: Observed
    rows: tuple[Cause, ...]
    planned_s: float | None = None
    together_s: float | None = None

    @property
    def broken(self) -> list[Cause]:
        """Those that were measured outside their ranges."""
        return [one for one in self.rows if one.inside is False]


def causes(promise: Promise, window: Observed, objective: Objective) -> Causes:
    """What of a window is unlike what was assumed, and what each does to an objective.

    Parameters
    ----------
    promise : Promise
        Without a typical window or a law of steps nothing is simulated.
    window : Observed
    objective : Objective
    """
    known = {name: window.known.get(name) for name in promise.assumed}
    promised = dict(promise.assumed)
    if KV in window.known:
        planned = promise.setup.kv_tokens
        known[KV], promised[KV] = window.known[KV], Assumed(planned, (1 - LESS) * planned, math.inf)
    if promise.typical is None or promise.setup.law is None:
        rows = [_cause(name, known[name], promised[name]) for name in known]
        return Causes(objective, window, tuple(sorted(rows, key=lambda one: -one.beyond)))
    replay = Replay(promise, objective)
    whole = _everything(promise.typical, window)
    known[PACE] = replay.pace(whole, window.known.get(ITL), known.get(KV))
    swaps = _swaps(promise.typical, window, promise.by)
    if window.table is not None and len(window.table) > 2:
        known[BURSTS], promised[BURSTS] = _gap_cv(window.table), Assumed(_gap_cv(promise.typical))
    planned_s = replay.value_s(promise.typical)
    rows = []
    for name, measured in known.items():
        value_s = None
        if measured is not None:
            value_s = replay.value_s(
                swaps[name]() if name in swaps else promise.typical,
                measured if name == PACE else 1.0,
                measured if name == KV else None,
                measured if name == FAILED else 0.0,
            )
        rows.append(_cause(name, measured, promised[name], value_s))
    together_s = replay.value_s(whole, known[PACE] or 1.0, known.get(KV), known[FAILED] or 0.0)
    rows.sort(key=lambda one: (one.inside is not False, math.inf if one.value_s is None else -one.value_s))
    return Causes(objective, window, tuple(rows), planned_s, together_s)


def _cause(name: str, measured: float | None, promised: Assumed, value_s: float | None = None) -> Cause:
    return Cause(name, measured, promised, None if measured is None else promised.holds(measured), value_s)


@dataclass(frozen=True)
class Replay:
    """The plan's configuration, simulated again."""

    promise: Promise
    objective: Objective

    def run(self, table: RequestTable, pace: float = 1.0, kv_tokens: float | None = None) -> Any:
        """A table served by what the plan deploys, its steps so much slower than the law's."""
        setup = self.promise.setup
        policy = PriorityFirst() if setup.order == "priority" and table.priority is not None else "fcfs"
        if setup.k_bins > 1:
            policy = MultiBinDynamic(setup.k_bins)
            if table.predicted_output_tokens is None:
                table = table.with_predictions(table.output_tokens)
        settings = setup.continuous(None if kv_tokens is None else max(int(kv_tokens), 1))
        slower = {name: pace * getattr(setup.law, name) for name in ("a_s", "b_s", "c_s", "d_s", "h_s")}
        law = StepLaw(**slower, way_in_s=setup.law.way_in_s)
        return simulate(table, policy, law, setup.replicas, settings, oversize="reject")

    def value_s(
        self, table: RequestTable, pace: float = 1.0, kv_tokens: float | None = None, failed_share: float = 0.0
    ) -> float:
        """The objective, of requests of which a share is never answered beside those of the table."""
        run, one = self.run(table, pace, kv_tokens), self.objective
        if not failed_share or one.quantile is None:
            return objectives.values_s(run, [one])[one.name]
        of_served = one.quantile / max(1 - failed_share, one.quantile)
        if of_served >= 1:
            return math.inf
        later = replace(one, quantile=of_served)
        return objectives.values_s(run, [later])[later.name]

    def itl_s(self, table: RequestTable, pace: float, kv_tokens: float | None) -> float:
        """Mean time between two tokens."""
        run = self.run(table, pace, kv_tokens)
        times, gaps = metrics.request_times(run), run.table.output_tokens - 1.0
        served = (gaps > 0) & ~np.isnan(times["tpot"])
        return float((times["tpot"] * gaps)[served].sum() / gaps[served].sum()) if served.any() else math.nan

    def pace(self, table: RequestTable, itl_s: float | None, kv_tokens: float | None) -> float | None:
        """How much slower than the law's the steps are, for so long between two tokens; None where nobody knows."""
        from scipy.optimize import brentq

        if not itl_s or not self.itl_s(table, 1.0, kv_tokens) > 0:
            return None

        def excess(log_pace: float) -> float:
            return math.log(self.itl_s(table, math.exp(log_pace), kv_tokens) / itl_s)

        ends = -math.log(SLOWEST), math.log(SLOWEST)
        low, high = map(excess, ends)
        if not low < 0 < high:
            return SLOWEST if high <= 0 else 1 / SLOWEST if low >= 0 else None
        return math.exp(brentq(excess, *ends, xtol=PRECISE))


def _swaps(typical: RequestTable, window: Observed, by: str) -> dict[str, Callable[[], RequestTable]]:
    """Given a name, the plan's window with that alone as measured."""
    known, rows = window.known, window.table
    swaps = {}
    if known.get(RATE):
        swaps[RATE] = lambda: typical.at_rate(known[RATE] / rate_rps(typical))
    for name in (PROMPTS, OUTPUTS):
        if name in known:
            swaps[name] = lambda name=name: _replaced(typical, **{name: _lengths(typical, window, name)})
    if CACHED in known:
        swaps[CACHED] = lambda: _cached(typical, known[CACHED])
    if rows is not None and len(rows) > 2:
        swaps[BURSTS] = lambda: _replaced(typical, arrival_s=_pattern(typical, rows))
    if rows is not None and by:
        swaps |= {name: lambda: mixed(typical, rows, by) for name in known if name.startswith(f"{by}=")}
    return swaps


def _everything(typical: RequestTable, window: Observed) -> RequestTable:
    """The measured requests themselves; where they are not known one by one, the plan's window with all as measured."""
    known, found = window.known, window.table
    if found is None:
        found = typical.at_rate(known[RATE] / rate_rps(typical)) if known.get(RATE) else typical
        lengths = {name: _lengths(typical, window, name) for name in (PROMPTS, OUTPUTS) if name in known}
        found = _replaced(found, **lengths)
    if CACHED in known and found.cached_prompt_tokens is None:
        found = _cached(found, known[CACHED])
    return found


def _lengths(typical: RequestTable, window: Observed, name: str) -> np.ndarray:
    """Lengths in the plan's order, distributed as measured; of a mean alone, all longer by the same factor."""
    planned = getattr(typical, name)
    if window.table is not None:
        measured = getattr(window.table, name)
        rank = np.argsort(np.argsort(planned, kind="stable"), kind="stable")
        found = np.quantile(measured, (rank + 0.5) / len(planned))
    else:
        found = planned * (window.known[name] / planned.mean())
    return np.maximum(np.rint(found), 1).astype(np.int64)


def _cached(table: RequestTable, share: float) -> RequestTable:
    """With such a share of the prompt tokens cached: of each request as much more or less, of all alike if of none."""
    cached, prompts = table.cached_prompt_tokens, table.prompt_tokens
    found = prompts * share if cached is None or not cached.any() else cached * (share * prompts.sum() / cached.sum())
    return _replaced(table, cached_prompt_tokens=np.rint(found).astype(np.int64))


def _pattern(typical: RequestTable, rows: RequestTable) -> np.ndarray:
    """Arrivals with the plan's number and span, in the measured ones' bursts."""
    share = np.interp(np.linspace(0, len(rows) - 1, len(typical)), np.arange(len(rows)), rows.arrival_s)
    whole_s = float(rows.arrival_s[-1]) or 1.0
    return np.maximum.accumulate(share / whole_s) * float(typical.arrival_s[-1] - typical.arrival_s[0])


def _replaced(table: RequestTable, **columns: np.ndarray) -> RequestTable:
    """The requests with other columns; a prompt has no more cached tokens than before, and no more than it has."""
    found = {name: getattr(table, name) for name in ("arrival_s", *KEPT) if getattr(table, name) is not None} | columns
    if "cached_prompt_tokens" in found:
        found["cached_prompt_tokens"] = np.minimum(found["cached_prompt_tokens"], found["prompt_tokens"])
    return RequestTable(labels=table.labels, **found)


def _gap_cv(table: RequestTable) -> float:
    """Coefficient of variation of the gaps between arrivals: 1 of a Poisson process."""
    gaps_s = np.diff(table.arrival_s)
    return float(gaps_s.std() / gaps_s.mean()) if len(gaps_s) and gaps_s.mean() > 0 else math.nan
