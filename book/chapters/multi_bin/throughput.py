"""The Multi-Bin paper's experiments (arXiv 2412.04504): the setting of each figure, simulated with intervals.

Recipes, which stand between `simulate` or `sweep` and a chapter; `theory` has what they are
held against. A service time is a number of output tokens, one a millisecond, and a batch takes its longest member's.
Where requests never run out (`overloaded`) results are of a steady state, otherwise of a run of so many requests.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib import datasets
from simlib.checks import InputError, check_choice, check_each, check_integer, check_type
from simlib.latency.models import Affine
from simlib.policies.full_batches import MultiBinFixed
from simlib.requests import workload
from simlib.requests.arrivals import Poisson, check_rate
from simlib.requests.lengths import Fixed, Uniform
from simlib.requests.predictors import Oracle
from simlib.runs.batch_run import BatchRun
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.replications import replicate
from simlib.sweep import run as sweep_run
from simlib.sweep.grid import Grid
from simlib.theory import queues
from simlib.theory.bins import multi_bin_batch_s, multi_bin_latency_s, multi_bin_throughput_rps

if TYPE_CHECKING:
    import pandas as pd


LOW_S, HIGH_S, TOKENS_PER_S = 1.0, 20.0, 1000
RATES_RPS = tuple(round(4.0 + 0.2 * step, 1) for step in range(41))
PLATEAU_RPS = 11.0  # the paper's plateaus are means over the rates from here on
OVERLOAD_RPS = 24.0  # twice what any number of bins can carry
# What a throughput counts: all requests until the last is complete; the full batches alone; full batches, less the
# first tenth, from one start to another.
COUNTED = ("with_flush", "without_flush", "warm_up_removed")
WARM_UP, FEWEST_BATCHES = 0.1, 10
MILLISECONDS = Affine(alpha_s=0.0, beta_s_per_token=1.0 / TOKENS_PER_S, gamma=0.0)
UNIFORM = Uniform(int(LOW_S * TOKENS_PER_S), int(HIGH_S * TOKENS_PER_S))


def paper(figure: str, quantity: str) -> pd.DataFrame:
    """What the paper shows or prints: rows of ``data/multi_bin_paper.csv``.

    Parameters
    ----------
    figure, quantity : str
        As in the file, for example ``"3"`` and ``"plateau_rps"``.

    Returns
    -------
    pandas.DataFrame
        ``k, rate_rps, p_e, percentile, value, read``; `read` is ``printed`` or ``digitised`` (to some 3 digits).

    Raises
    ------
    InputError
        If there are no such rows.

    Examples
    --------
    >>> paper("3", "plateau_rps")["value"].tolist()
    [6.444, 8.413, 9.365, 9.918, 10.278]
    """
    import pandas as pd

    table = pd.read_csv(datasets.shipped("multi_bin_paper.csv"), dtype={"figure": str})
    check_choice("figure", figure, sorted(set(table["figure"])))
    check_choice("quantity", quantity, sorted(set(table.loc[table["figure"] == figure, "quantity"])))
    rows = table[(table["figure"] == figure) & (table["quantity"] == quantity)]
    return rows.drop(columns=["figure", "quantity"]).reset_index(drop=True)


def equal_width(k_bins: int) -> list[float]:
    """Inner edges of k bins of equal width for times from 1 to 20 s, in milliseconds: the best ones (Lemma 4.1).

    Examples
    --------
    >>> equal_width(4)
    [5750.0, 10500.0, 15250.0]
    """
    return np.linspace(UNIFORM.low, UNIFORM.high, check_integer("k_bins", k_bins, 1, 4096) + 1)[1:-1].tolist()


def by_rate(
    *,
    k_values: Iterable[int] = range(1, 6),
    rates_rps: Iterable[float] = RATES_RPS,
    batch_size: int = 128,
    gpus: int = 1,
    requests: int = 128_000,
    replications: int = 10,
    seed: int = 42,
    workers: int | None = None,
) -> pd.DataFrame:
    """Fig. 3 and 4: every rate with every number of bins, by the sweep engine, from an empty system (terminating).

    Parameters
    ----------
    k_values, rates_rps : iterable
        Numbers of bins; arrival rates, requests per second. In one replication all share their service times and
        unit-rate gaps.
    batch_size, gpus, requests, replications : int
        Requests B in every batch; servers; requests of a run; runs of each cell.
    seed : int
        Part of the streams' key.
    workers : int, optional
        As in `run.run`.

    Returns
    -------
    pandas.DataFrame
        One row a run: ``k, rate_rps, replication, throughput_rps, latency_mean_s``.

    Raises
    ------
    InputError
        If an argument is out of range, or there are fewer requests than a batch has.
    """
    k_values, sizes = _k_values(k_values), _sizes(batch_size, requests)
    rates_rps = check_each("rates_rps", rates_rps, lambda rate: check_rate("rate_rps", rate))
    grid = Grid(
        {"workload.arrivals.rate_rps": rates_rps, "policy": [_policy(batch_size, k) for k in k_values]},
        replications=replications,
        workload={
            "kind": "synthetic",
            "family": family(seed),
            "requests": sizes[1],
            "arrivals": "poisson",
            "prompt": {"kind": "fixed", "tokens": 0},
            "output": {"kind": "uniform", "low": UNIFORM.low, "high": UNIFORM.high},
            "predictor": "oracle",
        },
        latency={"alpha_s": MILLISECONDS.alpha_s, "beta_s_per_token": MILLISECONDS.beta_s_per_token, "gamma": 0.0},
        gpus=gpus,
    )
    columns = ["cell", "replication", "throughput_rps", "latency_mean_s", "error"]
    with tempfile.TemporaryDirectory() as folder:
        runs = sweep_run.run(grid, folder, workers=workers).frame(columns)
    for problem in runs["error"].dropna():
        raise InputError(problem)
    rates = np.array(rates_rps)[runs["cell"] // len(k_values)]
    bins = np.array(k_values)[runs["cell"] % len(k_values)]
    return runs.assign(k=bins, rate_rps=rates)[["k", "rate_rps", "replication", "throughput_rps", "latency_mean_s"]]


def throughputs(runs: pd.DataFrame, batch_size: int = 128) -> pd.DataFrame:
    """Fig. 3 from `by_rate`'s runs: ``k, rate_rps, throughput_rps, ci_low, ci_high, theory_rps, replications``.

    Theory is the lesser of the rate and Theorem 4.2's c_k, requests per second.
    """
    table = _by_cell(runs, "throughput_rps")
    limit = [_limit_rps(batch_size, k) for k in table["k"]]
    return _with_theory(table, "theory_rps", np.minimum(table["rate_rps"], limit))


def plateaus(runs: pd.DataFrame, batch_size: int = 128) -> pd.DataFrame:
    """Each replication's mean throughput over the rates from 11 per second on, beside the paper's.

    ``k, throughput_rps, ci_low, ci_high, theory_rps, paper_rps``, requests per second; the paper's are digitised, and
    missing for numbers of bins that it does not show.
    """
    flat = runs[runs["rate_rps"] >= PLATEAU_RPS].groupby(["k", "replication"], as_index=False)["throughput_rps"].mean()
    table = estimates(flat.pivot_table("throughput_rps", "replication", "k"), ["k"], "throughput_rps")
    table["theory_rps"] = [_limit_rps(batch_size, k) for k in table["k"]]
    return table.assign(paper_rps=table["k"].map(paper("3", "plateau_rps").set_index("k")["value"]))


def latencies(runs: pd.DataFrame, batch_size: int = 128) -> pd.DataFrame:
    """Fig. 4 from `by_rate`'s runs: ``k, rate_rps, latency_mean_s, ci_low, ci_high, lemma_s, replications``.

    The lemma is 5.1: infinitely many servers. Beyond c_k the mean latency in seconds grows with the length of the run.
    """
    table = _by_cell(runs, "latency_mean_s")
    lemma = [multi_bin_latency_s(row.rate_rps, LOW_S, HIGH_S, batch_size, int(row.k)) for row in table.itertuples()]
    return _with_theory(table, "lemma_s", lemma)


def throughput_rps(run: BatchRun, batch_size: int, counted: str) -> float:
    """Throughput of a run of `MultiBinFixed`, requests per second.

    Parameters
    ----------
    run : batch_run.BatchRun
    batch_size : int
        What makes a batch a full one.
    counted : {"with_flush", "without_flush", "warm_up_removed"}
        All requests, until the last one is complete; the full batches alone, until the last of them ends, without
        the part-filled ones that are flushed behind it; of the full batches all but the first tenth, from the start
        of the first of these to the start of the last. The first two count time from the first arrival.

    Raises
    ------
    InputError
        If the run has fewer than ten full batches.

    Examples
    --------
    >>> import simlib
    >>> table = simlib.RequestTable(np.arange(21) * 0.1, [0] * 21, [1000] * 21, [1000] * 21)
    >>> run = simlib.simulate(table, MultiBinFixed(batch_size=2, k_bins=1), MILLISECONDS)
    >>> [round(throughput_rps(run, 2, way), 3) for way in COUNTED]
    [1.892, 1.98, 2.0]
    """
    check_choice("counted", counted, COUNTED)
    served, first_s = (
        check_type("run", run, BatchRun, "a run of batches, as simulate returns it").served,
        run.table.arrival_s[0],
    )
    end_s = served.start_s + served.service_s
    if counted == "with_flush":
        return float(len(run.table) / (end_s.max() - first_s))
    full = served.size == batch_size
    if (batches := int(full.sum())) < FEWEST_BATCHES:
        raise InputError(f"run: {batches} full batches of {batch_size} (expected at least {FEWEST_BATCHES})")
    if counted == "without_flush":
        return float(batches * batch_size / (end_s[full].max() - first_s))
    starts_s = served.start_s[full][int(WARM_UP * batches) :]
    return float((len(starts_s) - 1) * batch_size / (starts_s[-1] - starts_s[0]))


def overloaded(
    *,
    k_values: Iterable[int] = range(1, 6),
    counted: Iterable[str] = COUNTED,
    rate_rps: float = OVERLOAD_RPS,
    batch_size: int = 128,
    requests: int = 128_000,
    replications: int = 10,
    seed: int = 42,
    workers: int = 2,
) -> pd.DataFrame:
    """Throughput of one server that has more to do than it can, in each way of counting (`throughput_rps`).

    Parameters are those of `by_rate`; `workers` are threads. Without the warm-up it is a steady state.

    Returns
    -------
    pandas.DataFrame
        One row a replication, one column a pair of number of bins and way of counting; requests per second.
    """
    k_values, counted = _k_values(k_values), check_each("counted", counted, lambda way: way)
    sizes = _sizes(batch_size, requests)

    def one(replication: int) -> dict[Any, float]:
        table = _requests(sizes[1], rate_rps, seed, replication)
        runs = {k: simulate(table, MultiBinFixed(batch_size, k, equal_width(k)), MILLISECONDS) for k in k_values}
        return {(k, way): throughput_rps(run, batch_size, way) for k, run in runs.items() for way in counted}

    return replicate(one, replications, seed=0, workers=workers)


def carried(runs: pd.DataFrame, batch_size: int = 128) -> pd.DataFrame:
    """What `overloaded`'s server carries: ``k, counted, throughput_rps, ci_low, ci_high, theory_rps``.

    Theory is Theorem 4.2's c_k, requests per second.
    """
    table = estimates(runs, ["k", "counted"], "throughput_rps")
    return table.assign(theory_rps=[_limit_rps(batch_size, k) for k in table["k"]])


def costs(runs: pd.DataFrame, batch_size: int = 128) -> pd.DataFrame:
    """What flushing the last batches and filling the first ones cost `overloaded`'s runs: ``k, cost, share, ci_low``…

    Shares of c_k, from the differences between two ways of counting the same run.
    """
    pairs = {"flush": ("without_flush", "with_flush"), "fill": ("warm_up_removed", "without_flush")}
    lost = {
        (k, cost): (runs[k, more] - runs[k, less]) / _limit_rps(batch_size, k)
        for k in dict.fromkeys(k for k, _ in runs)
        for cost, (more, less) in pairs.items()
    }
    return estimates(lost, ["k", "cost"], "share")


def parts_s(run: BatchRun) -> dict[str, float]:
    """What the mean latency of `MultiBinFixed` is made of, in seconds: ``formation_s, waiting_s, service_s``.

    Until the batch is formed (when its last member arrives, or, of what is flushed, when no request will come any
    more), from then until a server takes it, and its time there.
    """
    served, arrival_s = (
        check_type("run", run, BatchRun, "a run of batches, as simulate returns it").served,
        run.table.arrival_s,
    )
    formed_s = np.empty(len(served.size))
    formed_s[served.batch_of] = arrival_s  # in order of arrival: the last member's stays
    formed_s[served.size < served.size.max()] = arrival_s[-1]
    of_s = formed_s, served.start_s, served.start_s + served.service_s
    formed_s, start_s, end_s = (times[served.batch_of].mean() for times in of_s)
    return {
        "formation_s": float(formed_s - arrival_s.mean()),
        "waiting_s": float(start_s - formed_s),
        "service_s": float(end_s - start_s),
    }


def latency_parts(
    *,
    k_values: Iterable[int] = (1, 2, 3),
    rates_rps: Iterable[float] = (4.0, 5.0, 6.0, 7.0, 8.0, 9.0),
    gpus: Iterable[int] = (1, 16),
    batch_size: int = 128,
    requests: int = 128_000,
    replications: int = 10,
    seed: int = 42,
    workers: int = 2,
) -> pd.DataFrame:
    """Mean latency of Fig. 4 by its parts, with few and with many servers, on `by_rate`'s requests.

    Returns
    -------
    pandas.DataFrame
        ``k, rate_rps, gpus, part, mean_s, ci_low, ci_high, lemma_s``: parts are those of `parts_s` and ``latency_s``,
        their sum; the lemma's term of each, with no waiting. Rates from c_k on are left out.
    """
    k_values, sizes = _k_values(k_values), _sizes(batch_size, requests)
    rates_rps = check_each("rates_rps", rates_rps, lambda rate: check_rate("rate_rps", rate))
    gpus = check_each("gpus", gpus, lambda number: check_integer("gpus", number, 1, 64))
    limit = {k: _limit_rps(batch_size, k) for k in k_values}

    def one(replication: int) -> dict[Any, float]:
        found: dict[Any, float] = {}
        for rate in rates_rps:
            table = _requests(sizes[1], rate, seed, replication)
            for k in (k for k in k_values if rate < limit[k]):
                for servers in gpus:
                    run = simulate(table, MultiBinFixed(batch_size, k, equal_width(k)), MILLISECONDS, servers)
                    parts = parts_s(run)
                    parts["latency_s"] = sum(parts.values())
                    found |= {(k, rate, servers, part): value for part, value in parts.items()}
        return found

    table = estimates(
        replicate(one, replications, seed=0, workers=workers), ["k", "rate_rps", "gpus", "part"], "mean_s"
    )

    def lemma_s(row: Any) -> float:
        service_s = multi_bin_batch_s(LOW_S, HIGH_S, batch_size, int(row.k))
        formation_s = queues.formation_delay_s(batch_size, int(row.k), row.rate_rps)
        terms = {"formation_s": formation_s, "waiting_s": 0.0, "service_s": service_s}
        return (terms | {"latency_s": formation_s + service_s})[row.part]

    return table.assign(lemma_s=[lemma_s(row) for row in table.itertuples()])


def _requests(requests: int, rate_rps: float, seed: int, replication: int) -> Any:
    """One replication's requests with times from 1 to 20 s, known beforehand."""
    arrivals = Poisson(rate_rps)
    return workload.generate(
        requests, arrivals, Fixed(0), UNIFORM, Oracle(), family=family(seed), replication=replication
    )


def family(seed: int) -> str:
    """The name of this paper's workloads, by seed: all figures with uniform times share their service times."""
    return f"multi_bin {check_integer('seed', seed, 0)}"


def _limit_rps(batch_size: int, k_bins: int) -> float:
    """Theorem 4.2's c_k."""
    return multi_bin_throughput_rps(LOW_S, HIGH_S, batch_size, int(k_bins))


def _policy(batch_size: int, k_bins: int) -> dict[str, Any]:
    return {"kind": "multi_bin_fixed", "batch_size": batch_size, "k_bins": k_bins, "bounds": equal_width(k_bins)}


def _k_values(k_values: Iterable[int]) -> list[int]:
    return check_each("k_values", k_values, lambda k: check_integer("k_bins", k, 1, 256))


def _sizes(batch_size: int, requests: int) -> tuple[int, int]:
    """B and the number of requests, which fills at least one batch."""
    batch_size = check_integer("batch_size", batch_size, 1)
    return batch_size, check_integer("requests", requests, batch_size)


def _by_cell(runs: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Mean with interval of each number of bins and rate."""
    wide = runs.pivot_table(quantity, "replication", ["k", "rate_rps"])
    return estimates(wide, ["k", "rate_rps"], quantity).assign(replications=len(wide))


def estimates(runs: pd.DataFrame | Mapping[Any, Any], names: Sequence[str], quantity: str) -> pd.DataFrame:
    """One row a column of replications: its name's parts, mean and interval."""
    import pandas as pd

    rows = []
    for key, values in runs.items():
        mean = intervals.mean_interval(values)
        place = dict(zip(names, key if isinstance(key, tuple) else (key,), strict=True))
        rows.append(place | {quantity: mean.mean, "ci_low": mean.ci_low, "ci_high": mean.ci_high})
    return pd.DataFrame(rows)


def _with_theory(table: pd.DataFrame, name: str, values: Any) -> pd.DataFrame:
    """The table with a column of theory before the number of replications."""
    table.insert(list(table).index("replications"), name, np.asarray(values, float))
    return table
