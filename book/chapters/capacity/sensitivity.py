"""What drives the result: a designed experiment over eight conditions at once, by Sobol's indices.

Bins against the best without them on the same requests, and the level of late requests, over the whole box of
deadline, load, bins, prediction error, length variability, burstiness, GPUs and the price of company. At each point
both sides choose what suits them, on requests of other seeds. Loads and deadlines are relative to what static batches
of 8 do at the point, as in `levels.matched`: no other factor moves them by the way. Points are rows of a `sweep`; SALib
makes the design and the indices. Terminating.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from book.kit import arms
from book.kit.bins.joint_bins import capacity
from simlib.checks import InputError, check_frame, check_integer
from simlib.latency.models import Affine
from simlib.stats import intervals
from simlib.stats.estimates import as_row
from simlib.sweep import run
from simlib.sweep.grid import Grid

if TYPE_CHECKING:
    import pandas as pd


class Factor(NamedTuple):
    """One condition of the experiment: its range, whether it is uniform or its logarithm is, whether it is whole."""

    label: str
    low: float
    high: float
    log: bool = False
    whole: bool = False


FACTORS: Mapping[str, Factor] = {
    "slack": Factor("deadline (× a batch of 8)", 1.0, 6.0, log=True),
    "load": Factor("load (× static batches of 8)", 0.3, 1.5),
    "k_bins": Factor("bins K", 2, 16, log=True, whole=True),
    "error": Factor("prediction error (σ of its logarithm)", 0.0, 1.5),
    "length_sigma": Factor("length variability (σ of its logarithm)", 0.2, 1.4),
    "burstiness": Factor("burstiness (CV of the gaps)", 0.5, 4.0, log=True),
    "gpus": Factor("GPUs", 1, 8, log=True, whole=True),
    "gamma": Factor("γ, what company costs", 0.0, 1.0),
}
PER_GPU = "bins_per_gpu"
OUTCOMES = {
    "difference": "bins minus the best without",
    "level": "bins alone",
}
MEAN_OUTPUT_TOKENS, PROMPT_TOKENS = 200.0, 100  # the mean stays where it is as the spread varies
ALPHA_S, BETA_S_PER_TOKEN = 0.01, 0.0002
BLOCK = len(FACTORS) + 2  # rows of the design that differ from each other in one factor each, or in all
STATIC, QUANTILES = 8, 2000
CAPS, LINES = (4, 8, 16, 32), 2  # of what each side chooses from; lines of shortest predicted first
UNSTEERED = "1000000s"  # a deadline that no controller shrinks a batch for
RESAMPLES = 200


def design(points: int = 256, seed: int = 42) -> pd.DataFrame:
    """Saltelli's design on Sobol's sequence: ``points * (factors + 2)`` rows, one column a factor of `FACTORS`.

    Parameters
    ----------
    points : int
        A power of two, >= 4: rows of each of the two base samples.
    seed : int
        Of the sequence's scrambling.

    Raises
    ------
    InputError
        If an argument is out of range, or the points are no power of two.
    """
    import pandas as pd
    from SALib.sample import sobol

    points, seed = check_integer("points", points, 4, 2**16), check_integer("seed", seed, 0, 2**31)
    if points & (points - 1):
        raise InputError(f"points: {points} (expected a power of two)")
    unit = sobol.sample(_problem(), points, calc_second_order=False, seed=seed)
    return pd.DataFrame({name: _scaled(unit[:, i], factor) for i, (name, factor) in enumerate(FACTORS.items())})


def _problem() -> dict[str, Any]:
    return {"num_vars": len(FACTORS), "names": list(FACTORS), "bounds": [[0.0, 1.0]] * len(FACTORS)}


def _scaled(unit: np.ndarray, factor: Factor) -> np.ndarray:
    """From [0, 1) to a factor's range; of whole numbers each has its own part of it."""
    low, high = (factor.low, factor.high + 1) if factor.whole else (factor.low, factor.high)
    values = low * (high / low) ** unit if factor.log else low + (high - low) * unit
    return np.minimum(np.floor(values), factor.high).astype(int) if factor.whole else values


def runs_of(
    points: pd.DataFrame, *, requests: int = 500, seed: int = 42, replications: int = 2, workers: int | None = None
) -> pd.DataFrame:
    """Simulate both sides at every point, on the same requests: each with what had fewest late on others.

    Parameters
    ----------
    points : pandas.DataFrame
        From `design`.
    requests, replications : int
        Of each run, and of each point.
    seed : int
        Each block of the design has streams of its own, which its points share: common random numbers where points are
        subtracted, and fresh ones from block to block, so that a bootstrap over blocks takes in what chance does.
    workers : int, optional
        Processes, as for `run.run`.

    Returns
    -------
    pandas.DataFrame
        One row a replication and point: ``replication, point`` and the `OUTCOMES`.
    """
    import pandas as pd

    check_frame("points", points, tuple(FACTORS))
    requests, seed = check_integer("requests", requests, 16, 10**6), check_integer("seed", seed, 0, 2**31)
    rows = [point | _scale_of(point) for point in points.to_dict("records")]
    sides = [(without_bins(point), with_bins(point)) for point in rows]
    tried = _late(
        rows, [[*without, *bins] for without, bins in sides], f"sensitivity {seed}, choice", requests, 1, workers
    )
    chosen = []
    for (without, bins), shares in zip(sides, tried[0], strict=True):
        first, second = shares[: len(without)], shares[len(without) :]
        chosen.append([without[int(np.argmin(first))], bins[int(np.argmin(second))]])
    shares = _late(rows, chosen, f"sensitivity {seed}", requests, replications, workers)
    place = pd.MultiIndex.from_product([range(len(shares)), range(len(points))], names=["replication", "point"])
    outcomes = {"difference": (shares[..., 1] - shares[..., 0]).ravel(), "level": shares[..., 1].ravel()}
    return pd.DataFrame(outcomes, index=place).reset_index()


def without_bins(point: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What may be done without bins: static batches with a cap, dynamic batching, shortest predicted first."""
    ageing_s = arms.ageing_s(MEAN_OUTPUT_TOKENS, point["d_sla"])
    shortest = {"kind": "shortest_predicted_first", "seconds_per_token": ageing_s, "k_bins": LINES}
    return [*with_bins(point | {"k_bins": 1}), shortest | {"batch_size": 2 * STATIC}]


def with_bins(point: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What may be done with bins: each up to a cap, or steered to the deadline; one bin is none."""
    bins = {"kind": "multi_bin_dynamic", "k_bins": point["k_bins"]}
    capped = [bins | {"d_sla": UNSTEERED, "batch_sizes": cap} for cap in CAPS]
    return [*capped, bins | {"d_sla": point["d_sla"]}]


def _scale_of(point: Mapping[str, Any]) -> dict[str, float]:
    rate_rps, batch_s = static_service(point["length_sigma"], point["gamma"])
    return {"rate_rps": point["load"] * point["gpus"] * rate_rps, "d_sla": point["slack"] * batch_s}


def _late(
    rows: list[dict[str, Any]],
    policies: list[list[dict[str, Any]]],
    family: str,
    requests: int,
    replications: int,
    workers: int | None,
) -> np.ndarray:
    """Shares of late requests, shape (replications, points, policies of a point)."""
    cells: dict[str, list[Any]] = {name: [] for name in ("workload", "policy", "latency", "gpus", "sla")}
    for number, (point, tried) in enumerate(zip(rows, policies, strict=True)):
        for policy in tried:
            arrivals = {"rate_rps": point["rate_rps"], "cv": point["burstiness"]}
            cells["workload"].append(_workload(point, requests, f"{family}, {number // BLOCK}", arrivals))
            cells["policy"].append(policy)
            cells["latency"].append({"alpha_s": ALPHA_S, "beta_s_per_token": BETA_S_PER_TOKEN, "gamma": point["gamma"]})
            cells["gpus"].append(point["gpus"])
            cells["sla"].append(point["d_sla"])
    return _swept(Grid(cells, replications, rows=True), workers).reshape(-1, len(rows), len(policies[0]))


def static_service(sigma: float, gamma: float) -> tuple[float, float]:
    """What static batches of 8 serve on a GPU that never lacks them, per second, and how long they take on average."""
    from scipy.special import ndtri

    quantiles = ndtri((np.arange(QUANTILES) + 0.5) / QUANTILES)
    lengths = np.rint(_median(sigma) * np.exp(sigma * quantiles)).clip(1)
    found = capacity(lengths, [], STATIC, Affine(ALPHA_S, BETA_S_PER_TOKEN, gamma), prompt_tokens=PROMPT_TOKENS)
    return found.capacity_rps, STATIC / found.capacity_rps


def _median(sigma: float) -> float:
    return MEAN_OUTPUT_TOKENS * math.exp(-(sigma**2) / 2)


def _workload(point: Mapping[str, Any], requests: int, family: str, arrivals: dict[str, float]) -> dict[str, Any]:
    sigma = point["length_sigma"]
    return {
        "kind": "synthetic",
        "requests": requests,
        "family": family,
        "arrivals": {"kind": "gamma", **arrivals},
        "prompt": {"kind": "fixed", "tokens": PROMPT_TOKENS},
        "output": {"kind": "log_normal", "median_tokens": _median(sigma), "sigma": sigma},
        "predictor": {"kind": "noise", "sigma": point["error"]},
    }


def _swept(grid: Grid, workers: int | None) -> np.ndarray:
    """Shares of late requests in order of replication and cell; a cell that fails is an error."""
    with tempfile.TemporaryDirectory(prefix="simlib-") as folder:
        shards = run.run(grid, Path(folder) / "sweep", workers=workers, progress=False)
        frame = shards.frame(["replication", "cell", "sla_violation_share", "error"])
    failed = frame[frame["error"].notna()]
    if len(failed):
        raise RuntimeError(f"cell {failed['cell'].iloc[0]}: {failed['error'].iloc[0]}")
    return frame.sort_values(["replication", "cell"])["sla_violation_share"].to_numpy()


def outcomes_of(runs: pd.DataFrame, outcome: str) -> np.ndarray:
    """One outcome of `runs_of`, shape (replications, points)."""
    check_frame("runs", runs, ("replication", "point", outcome))
    return runs.pivot_table(index="replication", columns="point", values=outcome).to_numpy()


def indices(runs: pd.DataFrame, seed: int = 42) -> pd.DataFrame:
    """Sobol's indices: what share of an outcome's variance over the box goes with a factor.

    Parameters
    ----------
    runs : pandas.DataFrame
        From `runs_of` of a `design`.
    seed : int
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        ``outcome, factor, index, value, ci_low, ci_high, points, replications``. Index ``first``: alone; ``total``:
        with all interactions. One row an outcome has no factor: ``chance``, the share of the variance of single runs
        that is left when the point is given.

    Raises
    ------
    InputError
        If the table lacks a column, or an outcome is the same at every point.

    Notes
    -----
    Estimates are SALib's (Saltelli 2010, Jansen), of the means over replications, and so are the intervals: its
    bootstrap over the design's blocks, 95 %. As each block has random numbers of its own, chance is resampled too.
    """
    import pandas as pd
    from SALib.analyze import sobol

    rows: list[dict[str, Any]] = []
    for outcome in OUTCOMES:
        values = outcomes_of(runs, outcome)
        if np.ptp(values.mean(axis=0)) == 0:
            raise InputError(f"runs, {outcome}: {values[0, 0]} at every point (expected values that vary)")
        size = {"points": values.shape[1], "replications": len(values)}
        settings = {"calc_second_order": False, "num_resamples": RESAMPLES, "seed": seed}
        found = sobol.analyze(_problem(), values.mean(axis=0), **settings)
        for index, key in (("first", "S1"), ("total", "ST")):
            for factor, value, half in zip(FACTORS, found[key], found[f"{key}_conf"], strict=True):
                row = {"outcome": outcome, "factor": factor, "index": index, "value": float(value)}
                rows.append(row | {"ci_low": float(value - half), "ci_high": float(value + half)} | size)
        rows.append({"outcome": outcome, "factor": "", "index": "chance", **_chance(values, seed)} | size)
    return pd.DataFrame(rows)


def _chance(values: np.ndarray, seed: int) -> dict[str, float]:
    """Variance within points over that of single runs, with the bootstrap's 95 % over points."""
    within = values.var(axis=0, ddof=1)
    between = values.mean(axis=0)

    def share(chosen: np.ndarray) -> float:
        inside = within[chosen].mean()
        # Means of R runs vary by a part of what single runs do.
        across = between[chosen].var(ddof=1) - inside / len(values)
        return float(inside / max(inside + across, 1e-300))

    rng = np.random.default_rng(seed)
    drawn = [share(rng.integers(0, len(within), len(within))) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": share(np.arange(len(within))), "ci_low": float(low), "ci_high": float(high)}


def effects(points: pd.DataFrame, runs: pd.DataFrame, parts: int = 5) -> pd.DataFrame:
    """Which way a factor pulls: an outcome's mean over the rest of the box, by part of the factor's range.

    Parameters
    ----------
    parts : int
        Parts with equally many points; a whole number is never cut in two.

    Returns
    -------
    pandas.DataFrame
        ``outcome, factor, middle, value, ci_low, ci_high, negative, points``: `middle` is the factor's median in the
        part; limits are Student's t over the points of the two base samples, which are a sample of the box; `negative`
        is the share of these points below 0. The first row of an outcome has no factor: the whole box; the last ones
        have `PER_GPU`: the number of bins over that of GPUs.
    """
    import pandas as pd

    check_frame("points", points, tuple(FACTORS))
    parts = check_integer("parts", parts, 2, 100)
    base = np.sort(np.r_[0 : len(points) : BLOCK, BLOCK - 1 : len(points) : BLOCK])
    rows = []
    for outcome in OUTCOMES:
        values = outcomes_of(runs, outcome).mean(axis=0)[base]
        rows.append({"outcome": outcome, "factor": "", "middle": np.nan} | _mean(values))
        for factor in (*FACTORS, PER_GPU):
            given = (points["k_bins"] / points["gpus"] if factor == PER_GPU else points[factor]).to_numpy()[base]
            edges = np.unique(np.quantile(given, np.linspace(0, 1, parts + 1)[1:-1]))
            part = np.searchsorted(edges, given, side="right")
            for which in np.unique(part):
                middle = float(np.median(given[part == which]))
                rows.append({"outcome": outcome, "factor": factor, "middle": middle} | _mean(values[part == which]))
    return pd.DataFrame(rows)


def _mean(values: np.ndarray) -> dict[str, float]:
    mean = intervals.mean_interval(values)
    return as_row(mean, "value") | {"negative": float(np.mean(values < 0)), "points": mean.replications}
