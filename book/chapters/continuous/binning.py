"""When does binning pay under continuous batching? Orders of admission and dedicated GPUs against first come.

Reads `capacity` for the rates, `bounds` for what no order can be better than: every run is held against it. Three
kinds of traffic, predictions from perfect to poor, and engines that run out of places or of memory, without and with
padding. Steady-state: requests are scored by arrival, behind a warm-up and with arrivals going on; all policies face
the same requests.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.continuous.bounds import Bound, bound_of, needs_of
from simlib.checks import check_choice, check_each, check_integer, check_number, check_probability
from simlib.continuous import serve
from simlib.continuous.classes import assign
from simlib.continuous.settings import Continuous
from simlib.latency import presets
from simlib.latency.steps import StepLaw
from simlib.planning.carried.capacity import SCORED, Search
from simlib.policies.dynamic import MultiBinDynamic
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.requests import predictors, workload
from simlib.requests.azure import azure_like
from simlib.requests.burstgpt import burstgpt_like
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable
from simlib.runs import metrics
from simlib.runs.engine_run import EngineRun
from simlib.simulation import simulate
from simlib.stats.replications import replicate
from simlib.theory import steps

if TYPE_CHECKING:
    import pandas as pd


PRESET = "h100x8-splitwise-llama2-70b"
SEATS, GPUS, K_BINS, CLASSES = 64, 4, 4, 2
AGEING_S = 0.02  # seconds of waiting that outweigh a predicted token
BASE = ("fcfs", "routed")  # that read no predictions
INFORMED = ("bins", "shortest", "aged", "dedicated")
DIVIDED = ("bins", "shortest", "dedicated")  # whose gains are divided into parts
ORDERS = ("fcfs", "bins", "shortest")  # of one line; ageing means nothing to requests that came together
SIZING = 20_000  # requests whose mean sets the size of the cache


def _answered(n: int, seed: int) -> RequestTable:
    """Conversations that have an answer."""
    table = burstgpt_like(n + n // 8 + 100, seed, traffic="conversations")
    return table.rows(np.flatnonzero(table.output_tokens > 0)[:n])


TRAFFIC: dict[str, Callable[[int, int], RequestTable]] = {
    "poisson": workload.original,
    "burstgpt": _answered,
    "azure": azure_like,
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What limits a step: places alone, or memory as well; and whether contexts of unequal length cost.

    Parameters
    ----------
    memory_share : float or None
        The cache over what a GPU's places would fill on average, > 0; None: without limit.
    padding : float
        The law's h over its d, >= 0: 0 where a step's attention takes the time of its tokens, 1 where every sequence
        takes that of the longest.
    """

    memory_share: float | None = 0.75
    padding: float = 0.0

    def __post_init__(self) -> None:
        if self.memory_share is not None:
            check_number("memory_share", self.memory_share, 0.0, 1e3, open_low=True)
        check_number("padding", self.padding, 0.0, 1e3)

    @property
    def law(self) -> StepLaw:
        """The preset's law of steps with this padding."""
        return replace(_law(), h_s=self.padding * _law().d_s)

    def settings(self, traffic: str) -> Continuous:
        """The engine's settings, with a cache for this traffic."""
        share = self.memory_share
        return Continuous(max_seqs=SEATS, kv_tokens=None if share is None else int(share * _full_tokens(traffic)))


@functools.cache
def _law() -> StepLaw:
    return replace(presets.load(PRESET).step_law(), trust=None)  # the page says where it was measured


MEMORY, PLACES, PADDED = Machine(), Machine(None), Machine(padding=0.25)


@functools.lru_cache(maxsize=64)
def draw(traffic: str, n: int, seed: int, rank_correlation: float = 1.0) -> RequestTable:
    """Requests with predictions of a given rank correlation to the true lengths, which differ in nothing else."""
    table = TRAFFIC[check_choice("traffic", traffic, TRAFFIC)](n, seed)
    rng = stream(f"binning {traffic}", seed, "prediction")
    predicted = predictors.LatentScore(rank_correlation).predict(table.prompt_tokens, table.output_tokens, rng)
    return RequestTable(table.arrival_s, table.prompt_tokens, table.output_tokens, predicted)


@functools.cache
def _full_tokens(traffic: str) -> float:
    """Tokens in memory, in blocks, if all places are taken: the mean over the steps of a request, not over requests."""
    table = draw(traffic, SIZING, 0)
    block_steps = steps.residency(table.prompt_tokens, table.output_tokens)
    return float(SEATS * 16 * block_steps.sum() / table.output_tokens.sum())


def limit_rps(table: RequestTable, engine: Machine, settings: Continuous, classes: int = 1) -> float:
    """The largest rate at which any order without recomputation can serve such requests for long, per second.

    With steps at their floor, and no padding: `theory.steps`. Of GPUs dedicated to `classes` it is the rate at which
    the first class is full: one class may run out of places while another runs out of memory, and neither can lend.
    """
    law, class_of = engine.law, np.zeros(len(table), int)
    if classes > 1:
        rules = serve.rules_of(replace(settings, routing="by_class", classes=classes), law, GPUS)
        class_of = assign(table, law, rules, GPUS)
    limits = []
    for place in np.unique(class_of):
        lengths = table.prompt_tokens[class_of == place], table.output_tokens[class_of == place]
        shares = steps.floors(
            *lengths, settings.max_seqs, settings.blocks, settings.block_tokens, settings.token_budget
        )
        least = max(float(share.sum()) for share in shares.values())
        busy_s = law.a_s * least + float(np.dot((law.b_s, law.c_s, law.d_s), steps.work(*lengths)))
        gpus = (place + 1) * GPUS // classes - place * GPUS // classes
        limits.append(gpus * len(table) / busy_s)
    return min(limits)


class Checked(Search):
    """A search whose every run is held against the floor of its steps."""

    def run(self, name: str, table: RequestTable, rate_rps: float) -> EngineRun:
        """Serve one replication's requests; raises RuntimeError if the run breaks the proposition."""
        run = super().run(name, table, rate_rps)
        bound_of(run, table.kept(("needs", run.rules), lambda: needs_of(run)))
        return run


def _policies(names: Iterable[str], settings: Continuous) -> tuple[dict[str, Any], dict[str, Continuous]]:
    """Policies and engines by name."""
    known: dict[str, tuple[Any, Continuous]] = {
        "fcfs": ("fcfs", settings),
        "routed": ("fcfs", replace(settings, routing="least_requests")),
        "bins": (MultiBinDynamic(K_BINS), settings),
        "shortest": (ShortestPredictedFirst(None), settings),
        "aged": (ShortestPredictedFirst(AGEING_S), settings),
        "dedicated": ("fcfs", replace(settings, routing="by_class", classes=CLASSES)),
    }
    return {name: known[name][0] for name in names}, {name: known[name][1] for name in names}


def _search(
    traffic: str, engine: Machine, rank: float, names: Iterable[str], sla: str, late_share: float, requests: int
) -> Search:
    settings = engine.settings(traffic)
    policies, ways = _policies(names, settings)
    drawn = functools.partial(_drawn, traffic, rank)
    return Checked(policies, drawn, engine.law, GPUS, sla, late_share, requests, ways)


def _drawn(traffic: str, rank: float, n: int, seed: int) -> RequestTable:
    return draw(traffic, n, seed, rank)


def _cells(ranks: list[float], paddings: list[float]) -> list[tuple[Machine, float, tuple[str, ...]]]:
    """Machine, rank correlation, policies: what the tables compare, and no more."""
    cells = [(MEMORY, 1.0, BASE), *((MEMORY, rank, INFORMED) for rank in ranks)]
    cells += [(PLACES, 1.0, BASE), (PLACES, 0.0, DIVIDED), (PLACES, 1.0, DIVIDED), (PADDED, 1.0, ("fcfs", *DIVIDED))]
    more = [
        Machine(None, PADDED.padding),
        *(Machine(share, h) for h in paddings for share in (MEMORY.memory_share, None)),
    ]
    return cells + [(engine, 1.0, ("fcfs", "dedicated")) for engine in more]


def capacities(
    requests: int,
    *,
    traffic: Iterable[str] = tuple(TRAFFIC),
    ranks: Iterable[float] = (1.0, 0.7, 0.4),
    paddings: Iterable[float] = (1.0,),
    sla: str = "ttft<=2",
    late_share: float = 0.05,
    seed: int = 42,
    replications: int = 10,
    times: int = 3,
    workers: int = 1,
) -> pd.DataFrame:
    """The largest rate of each policy in each replication, on the same requests.

    Parameters
    ----------
    requests : int
        In a run; as many as `capacity.Search` asks for.
    ranks : iterable of float
        Rank correlations of predictions with the true lengths, in [0, 1]; 1 is the oracle.
    paddings : iterable of float
        Further values of `Machine.padding` than that of `PADDED`, for first come and dedicated GPUs with the oracle.
    late_share : float
        Share of requests that may miss the deadline `sla`, in (0, 1).
    times : int
        First come and bins, where memory is scarce, have as many times the replications: to show that nothing is gained
        takes more than to show a gain.

    Returns
    -------
    pandas.DataFrame
        One row a root: ``traffic, memory, padding, rank_correlation, policy, replication, capacity_rps, limit_rps``;
        `memory` says whether the cache is limited, `limit_rps` is the function's.
    """
    import pandas as pd

    traffic = check_each("traffic", traffic, lambda name: check_choice("traffic", name, TRAFFIC))
    ranks = check_each("ranks", ranks, lambda rank: check_probability("rank_correlation", rank))
    paddings = check_each("paddings", paddings, lambda padding: check_number("padding", padding, 0.0))
    check_integer("replications", replications, 2)
    times = check_integer("times", times, 1, 1000)
    cells, bins = _cells(ranks, paddings), [(MEMORY, 1.0, ("fcfs",)), *((MEMORY, rank, ("bins",)) for rank in ranks)]
    rows: list[dict[str, Any]] = []
    for name in traffic:
        for first, last, these in ((0, replications, cells), (replications, times * replications, bins)):
            searches = [_search(name, *cell, sla, late_share, requests) for cell in these]
            one = functools.partial(_roots, name, searches, [engine for engine, _, _ in these])
            if last > first:
                found = replicate(one, last - first, seed=seed + first, workers=workers)
                rows += _rows(name, these, found, first)
    return pd.DataFrame(rows)


def _roots(traffic: str, searches: list[Search], engines: list[Machine], seed: int) -> dict[str, float]:
    """Every root of one replication, and the limits beside them, by place and name."""
    found = {}
    for place, (search, engine) in enumerate(zip(searches, engines, strict=True)):
        found |= {f"{place} {policy}": root for policy, root in search(seed).items()}
        table, settings = search.table(seed), engine.settings(traffic)
        found[f"{place} limit"] = limit_rps(table, engine, settings)
        if "dedicated" in search.policies:
            found[f"{place} limit of classes"] = limit_rps(table, engine, settings, CLASSES)
    return found


def _rows(
    traffic: str, cells: list[tuple[Machine, float, tuple[str, ...]]], found: pd.DataFrame, first: int
) -> list[dict[str, Any]]:
    rows = []
    for place, (engine, rank, policies) in enumerate(cells):
        where = {"traffic": traffic, "memory": engine.memory_share is not None, "padding": engine.padding}
        for policy in policies:
            known = where | {"rank_correlation": np.nan if policy in BASE else rank, "policy": policy}
            limits = found[f"{place} limit of classes" if policy == "dedicated" else f"{place} limit"]
            for replication, root, limit in zip(found.index, found[f"{place} {policy}"], limits, strict=True):
                last = {"replication": first + replication, "capacity_rps": root, "limit_rps": limit}
                rows.append(known | last)
    return rows


def delays(
    roots: pd.DataFrame,
    requests: int,
    *,
    loads: Iterable[float] = (0.5, 0.8, 0.95),
    ranks: Iterable[float] = (1.0,),
    seed: int = 42,
    workers: int = 1,
) -> pd.DataFrame:
    """Mean time to first token and mean latency of each policy at shares of the capacity of first come.

    Parameters
    ----------
    roots : pandas.DataFrame
        As `capacities` gives them; its traffic and replications are simulated, with limited memory and no padding.

    Returns
    -------
    pandas.DataFrame
        ``traffic, load, rank_correlation, policy, replication, ttft_mean_s, latency_mean_s``.
    """
    import pandas as pd

    loads = check_each("loads", loads, lambda load: check_number("load", load, 0.0, open_low=True))
    ranks = check_each("ranks", ranks, lambda rank: check_probability("rank_correlation", rank))
    first = roots[(roots["policy"] == "fcfs") & roots["memory"] & (roots["padding"] == 0.0)]
    scored, rows = slice(*(round(part * requests) for part in SCORED)), []
    shared = int(roots.groupby("policy")["replication"].nunique().min())  # those that every policy has
    for name, group in first.groupby("traffic", sort=False):
        rate_rps = float(group["capacity_rps"].mean())
        cells = [(load, rank, policy) for load in loads for rank in ranks for policy in (*BASE, *INFORMED)]

        def one(seed: int, name: str = str(name), rate_rps: float = rate_rps, cells: list = cells) -> dict[str, float]:
            found = {}
            for place, (load, rank, policy) in enumerate(cells):
                search = _search(name, MEMORY, rank, (policy,), "ttft<=2", 0.05, requests)
                run = search.run(policy, search.table(seed), load * rate_rps)
                for metric, times in (("ttft", run.times.first_token_s), ("latency", run.times.completion_s)):
                    found[f"{place} {metric}"] = float((times - run.table.arrival_s)[scored].mean())
            return found

        found = replicate(one, shared, seed=seed, workers=workers)
        for place, (load, rank, policy) in enumerate(cells):
            known = {"traffic": name, "load": load, "rank_correlation": rank, "policy": policy}
            for replication, row in found.iterrows():
                means = {f"{m}_mean_s": row[f"{place} {m}"] for m in ("ttft", "latency")}
                rows.append(known | {"replication": replication} | means)
    return pd.DataFrame(rows)


def late(roots: pd.DataFrame, requests: int, *, longest: float = 0.1, seed: int = 42) -> pd.DataFrame:
    """Who is late at capacity: of first come and of shortest predicted first with perfect predictions.

    Parameters
    ----------
    roots : pandas.DataFrame
        As `capacities` gives them, of the same seed; each run is at its own root, with limited memory and no padding.
    longest : float
        Share of the requests, by output, that are called long, in (0, 1).

    Returns
    -------
    pandas.DataFrame
        ``traffic, policy, replication, late_share, of_longest``: the last is the share of those that are late which
        belongs to the longest.
    """
    import pandas as pd

    check_number("longest", longest, 0.0, 1.0, open_low=True, open_high=True)
    shared, rows = int(roots.groupby("policy")["replication"].nunique().min()), []
    chosen = roots["memory"] & (roots["padding"] == 0.0) & ~(roots["rank_correlation"] < 1.0)
    chosen &= roots["policy"].isin(("fcfs", "shortest")) & (roots["replication"] < shared)
    for row in roots[chosen].itertuples():
        search = _search(row.traffic, MEMORY, 1.0, (row.policy,), "ttft<=2", 0.05, requests)
        table = search.table(seed + row.replication)
        missed = metrics.violations(search.run(row.policy, table, row.capacity_rps))[search.scored]
        long = (table.output_tokens > np.quantile(table.output_tokens, 1.0 - longest))[search.scored]
        known = {"traffic": row.traffic, "policy": row.policy, "replication": row.replication}
        of_longest = float((missed & long).sum() / max(missed.sum(), 1))
        rows.append(known | {"late_share": float(missed.mean()), "of_longest": of_longest})
    return pd.DataFrame(rows)


def savings(
    requests: int,
    *,
    traffic: Iterable[str] = tuple(TRAFFIC),
    seed: int = 42,
    replications: int = 10,
) -> pd.DataFrame:
    """Of requests that all wait for one GPU: the busy time that each order saves over first come, and any could.

    Parameters
    ----------
    requests : int
        All there at time 0, >= 1; predictions are perfect.

    Returns
    -------
    pandas.DataFrame
        ``traffic, memory, padding, policy, replication`` and, as shares of the busy time of first come: ``most`` (of
        the proposition), ``saved`` and its parts ``steps, recompute, spread``, which sum to it.

    Raises
    ------
    RuntimeError
        If an order saves more than the proposition allows.
    """
    import pandas as pd

    rows = []
    traffic = check_each("traffic", traffic, lambda name: check_choice("traffic", name, TRAFFIC))
    for name in traffic:
        for engine in (PLACES, MEMORY, PADDED):
            settings = engine.settings(name)
            policies, _ = _policies(ORDERS, settings)
            for replication in range(check_integer("replications", replications, 2)):
                table = draw(name, requests, seed + replication).at_rate(1e9)
                runs = {p: simulate(table, policy, engine.law, 1, settings) for p, policy in policies.items()}
                bounds = {policy: bound_of(run) for policy, run in runs.items()}
                where = {"traffic": name, "memory": engine.memory_share is not None, "padding": engine.padding}
                for policy, bound in bounds.items():
                    known = where | {"policy": policy, "replication": replication}
                    rows.append(known | saved_of(bounds["fcfs"], bound, engine.law.a_s))
    return pd.DataFrame(rows)


def saved_of(first: Bound, other: Bound, a_s: float) -> dict[str, float]:
    """Busy time that an order saves over the first one, in all and by part, as shares: no more than any order can."""
    parts = {
        "steps": a_s * (first.steps - other.steps),
        "recompute": first.recompute_s - other.recompute_s,
        "spread": first.spread_s - other.spread_s,
    }
    shares = {part: seconds / first.busy_s for part, seconds in parts.items()}
    saved = (first.busy_s - other.busy_s) / first.busy_s
    if saved > first.most_gain + 1e-9 or abs(saved - sum(shares.values())) > 1e-9:
        raise RuntimeError(f"an order saves {saved:.4%}, in parts {shares} (expected at most {first.most_gain:.4%})")
    return {"most": first.most_gain, "saved": saved, **shares}


def tails(share: float = 0.05) -> pd.DataFrame:
    """What the longest requests hold of an engine over their time in it.

    Parameters
    ----------
    share : float
        Of the requests, by output length, in (0, 1).

    Returns
    -------
    pandas.DataFrame
        ``traffic, share, places_share, memory_share``.
    """
    import pandas as pd

    check_number("share", share, 0.0, 1.0, open_low=True, open_high=True)
    rows = []
    for name in TRAFFIC:
        table = draw(name, SIZING, 0)
        longest = np.argsort(table.output_tokens, kind="stable")[-round(share * SIZING) :]
        held = {
            "places_share": table.output_tokens,
            "memory_share": steps.residency(table.prompt_tokens, table.output_tokens),
        }
        shares = {what: float(values[longest].sum() / values.sum()) for what, values in held.items()}
        rows.append({"traffic": name, "share": share} | shares)
    return pd.DataFrame(rows)
