"""What servers carry in the Multi-Bin paper's model when requests never run out: errors of prediction, other times.

Beside `throughput`, whose units it shares: a token is a millisecond, but for the LLM-like service, where it is a token.
All requests are there from the start; full batches count alone, less the first tenth, so that each number is of a
steady state and can be held against the exact integrals of `theory`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.multi_bin import throughput
from book.chapters.multi_bin.throughput import (
    HIGH_S,
    LOW_S,
    MILLISECONDS,
    TOKENS_PER_S,
    UNIFORM,
    equal_width,
    paper,
)
from simlib.checks import check_choice, check_each, check_integer, check_probability
from simlib.latency.models import Affine
from simlib.policies import optimal_bins
from simlib.policies.full_batches import MultiBinFixed
from simlib.requests import arrivals, lengths, predictors, workload
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats.estimates import estimates
from simlib.stats.replications import replicate
from simlib.theory import bins, maxima

if TYPE_CHECKING:
    import pandas as pd


P_ERRORS = (0.0, 0.01, *(round(0.05 * step, 2) for step in range(1, 11)))
EXPONENTIAL_RULES = ("equal_mass", "lemma_a1", "optimal")
MEAN_S, QUANTILES, ROUNDED_S = 10.0, 1_000_000, 0.02
FIG_6_SERVERS, FIG_6_BATCH = 8, 8
Counts = dict[Any, float]


def prediction_errors(
    *,
    k_values: Iterable[int] = (2, 4, 8),
    p_errors: Iterable[float] = P_ERRORS,
    batch_sizes: Iterable[int] = (8, 128),
    requests: int = 128_000,
    replications: int = 10,
    seed: int = 42,
    workers: int = 2,
) -> pd.DataFrame:
    """Fig. 8: a request goes to each neighbouring bin with probability p_e; times uniform from 1 to 20 s, one server.

    Returns
    -------
    pandas.DataFrame
        ``k, p_e, batch_size, throughput_rps, ci_low, ci_high, theory_rps``: means over replications, which share
        their times and errors; the exact integral (`maxima.binned_throughput_rps`).

    Raises
    ------
    InputError
        If an argument is out of range, or a run has fewer than ten full batches.
    """
    k_values = check_each("k_values", k_values, lambda k: check_integer("k_bins", k, 2, 256))
    p_errors = check_each("p_errors", p_errors, lambda p: check_probability("p_e", p))
    matrices = {(k, p): predictors.symmetric_confusion(k, p) for k in k_values for p in p_errors}
    runs = _confused(matrices, batch_sizes, requests, replications, seed, workers)
    table = estimates(runs, ["k", "p_e", "batch_size"], "throughput_rps")
    exact = [_exact_rps(matrices[row.k, row.p_e], row.batch_size) for row in table.itertuples()]
    return table.assign(theory_rps=exact)


def measured_errors(
    *,
    k_values: Iterable[int] = (2, 4, 8),
    batch_sizes: Iterable[int] = (8, 128),
    requests: int = 128_000,
    replications: int = 10,
    seed: int = 42,
    workers: int = 2,
) -> pd.DataFrame:
    """The same with the confusion matrices that the paper measured (App. C.1), and without any error.

    Returns
    -------
    pandas.DataFrame
        One row a number of bins and batch size: ``k, batch_size, accuracy_share, throughput_rps, ci_low, ci_high,
        theory_rps, oracle_rps``, and of the gain that an oracle has over one bin the share that is left, by pairs of
        runs on the same requests: ``kept_share, kept_ci_low, kept_ci_high, kept_theory_share``.
    """
    k_values = check_each("k_values", k_values, lambda k: check_integer("k_bins", k, 1))
    measured = {(k, "measured"): predictors.measured_confusion(k) for k in k_values}
    matrices = measured | {(k, "oracle"): np.eye(k) for k in k_values} | {(1, "oracle"): np.eye(1)}
    runs = _confused(matrices, batch_sizes, requests, replications, seed, workers)
    rows = estimates(runs, ["k", "errors", "batch_size"], "throughput_rps")
    table = rows[rows["errors"] == "measured"].drop(columns="errors").reset_index(drop=True)
    cells = [(row.k, row.batch_size) for row in table.itertuples()]
    shares = {(k, b): kept(runs[k, "measured", b], runs[k, "oracle", b], runs[1, "oracle", b]) for k, b in cells}
    share = estimates(shares, ["k", "batch_size"], "kept_share")
    exact = {key: _exact_rps(matrices[key[:2]], key[2]) for key in runs}
    right = {k: float(np.trace(matrix) / np.sum(matrix)) for (k, _), matrix in measured.items()}
    return table.assign(
        theory_rps=[exact[k, "measured", b] for k, b in cells],
        accuracy_share=[right[k] for k, _ in cells],
        oracle_rps=[runs[k, "oracle", b].mean() for k, b in cells],
        kept_share=share["kept_share"],
        kept_ci_low=share["ci_low"],
        kept_ci_high=share["ci_high"],
        kept_theory_share=[
            kept(*(exact[c] for c in ((k, "measured", b), (k, "oracle", b), (1, "oracle", b)))) for k, b in cells
        ],
    )


def kept(with_errors: Any, oracle: Any, one_bin: Any) -> Any:
    """Share of an oracle's gain over one bin that errors leave, for throughputs in any unit.

    Examples
    --------
    >>> kept(7.0, 8.0, 6.0)
    0.5
    """
    return (with_errors - one_bin) / (oracle - one_bin)


def _confused(
    matrices: dict[Any, np.ndarray],
    batch_sizes: Iterable[int],
    requests: int,
    replications: int,
    seed: int,
    workers: int,
) -> pd.DataFrame:
    """Throughput of one server by confusion matrix and batch size, one row a replication."""
    batch_sizes = check_each("batch_sizes", batch_sizes, lambda size: check_integer("batch_size", size, 1))
    family = throughput.family(seed)

    def one(replication: int) -> Counts:
        table, found = _all_at_once(UNIFORM, requests, seed, replication), {}
        for key, matrix in matrices.items():
            k = len(matrix)
            bounds = [UNIFORM.low, *(round(edge) for edge in equal_width(k)), UNIFORM.high + 1]
            guess = predictors.Confusion(matrix, bounds)
            guessed = predictors.predict(table, guess, family=family, replication=replication)
            for size in batch_sizes:
                run = simulate(guessed, MultiBinFixed(size, k, bounds[1:-1]), MILLISECONDS)
                found[*key, size] = throughput.throughput_rps(run, size, "warm_up_removed")
        return found

    return replicate(one, replications, seed=0, workers=workers)


def _exact_rps(matrix: np.ndarray, batch_size: int) -> float:
    """The exact integral for equal-width bins of times from 1 to 20 s."""
    from scipy.stats import uniform

    edges_s = np.array(equal_width(len(matrix))) / TOKENS_PER_S
    return maxima.binned_throughput_rps(uniform(LOW_S, HIGH_S - LOW_S), edges_s, int(batch_size), matrix)


def exponential_edges_s(rule: str, k_bins: int, batch_size: int) -> np.ndarray:
    """Inner edges for exponential times of mean 10 s by a rule of `EXPONENTIAL_RULES`, in seconds.

    ``optimal`` cuts the law itself: a million of its quantiles, rounded to 20 ms so that few are distinct.

    Examples
    --------
    >>> exponential_edges_s("lemma_a1", 2, 200).round(3).tolist()
    [17.712]
    """
    from scipy.stats import expon

    check_choice("rule", rule, EXPONENTIAL_RULES)
    k_bins = check_integer("k_bins", k_bins, 1, 256)
    if k_bins == 1:
        return np.zeros(0)
    if rule == "equal_mass":
        return -MEAN_S * np.log1p(-np.arange(1, k_bins) / k_bins)
    if rule == "lemma_a1":
        return bins.exponential_edges_s(MEAN_S, k_bins, batch_size)
    quantiles_s = expon(scale=MEAN_S).ppf((np.arange(QUANTILES) + 0.5) / QUANTILES)
    return ROUNDED_S * optimal_bins.cut(np.rint(quantiles_s / ROUNDED_S), k_bins, batch_size)


def exponential_bins(
    *,
    k_values: Iterable[int] = range(1, 6),
    batch_size: int = 200,
    requests: int = 1_000_000,
    replications: int = 10,
    seed: int = 42,
    workers: int = 2,
) -> pd.DataFrame:
    """Fig. 9: exponential times of mean 10 s, one server, three rules for the bins' edges.

    Returns
    -------
    pandas.DataFrame
        ``k, rule, throughput_rps, ci_low, ci_high, theory_rps``, on the same requests in each replication; the exact
        integral.
    """
    from scipy.stats import expon

    k_values = check_each("k_values", k_values, lambda k: check_integer("k_bins", k, 1, 256))
    edges_s = {(k, rule): exponential_edges_s(rule, k, batch_size) for k in k_values for rule in EXPONENTIAL_RULES}

    def one(replication: int) -> Counts:
        table, found = _all_at_once(lengths.Exponential(MEAN_S * TOKENS_PER_S), requests, seed, replication), {}
        for (k, rule), edges in edges_s.items():
            run = simulate(table, MultiBinFixed(batch_size, k, edges * TOKENS_PER_S), MILLISECONDS)
            found[k, rule] = throughput.throughput_rps(run, batch_size, "warm_up_removed")
        return found

    table = estimates(replicate(one, replications, seed=0, workers=workers), ["k", "rule"], "throughput_rps")
    law = expon(scale=MEAN_S)
    exact = [maxima.binned_throughput_rps(law, edges_s[row.k, row.rule], batch_size) for row in table.itertuples()]
    return table.assign(theory_rps=exact)


def answer_lengths() -> lengths.Mixture:
    """Output lengths like those of Fig. 5, in tokens: uniform between its percentiles, which are 5 points apart.

    Examples
    --------
    >>> round(answer_lengths().mean_tokens, 1)
    233.7
    """
    percentiles = paper("5", "output_tokens")["value"].astype(int).tolist()
    parts = [lengths.Uniform(low, high) for low, high in itertools.pairwise(percentiles)]
    return lengths.Mixture(parts, [1] * len(parts))


def llm_like_runs(
    *,
    k_values: Iterable[int] = (1, 2, 4, 8, 16, 32),
    requests: int = 64_000,
    replications: int = 10,
    seed: int = 42,
    workers: int = 2,
) -> pd.DataFrame:
    """Fig. 6: answers of `answer_lengths` at the printed time per token, batches of 8 on 8 servers, known lengths.

    Returns
    -------
    pandas.DataFrame
        Throughput in requests per second, one row a replication, one column a number of equiprobable bins.
    """
    k_values = check_each("k_values", k_values, lambda k: check_integer("k_bins", k, 1, 256))
    law, answers = Affine(0.0, _s_per_token(), 0.0), answer_lengths()

    def one(replication: int) -> Counts:
        table, found = _all_at_once(answers, requests, seed, replication), {}
        for k in k_values:
            run = simulate(table, MultiBinFixed(FIG_6_BATCH, k, _equiprobable(k)), law, FIG_6_SERVERS)
            found[k] = throughput.throughput_rps(run, FIG_6_BATCH, "warm_up_removed")
        return found

    return replicate(one, replications, seed=0, workers=workers)


def llm_like_service(runs: pd.DataFrame) -> pd.DataFrame:
    """Throughput of `llm_like_runs`, beside theory and the paper's thresholds, requests per second.

    ``k, throughput_rps, ci_low, ci_high, theory_rps, paper_rps, implied_s_per_token``: the last is the time per token
    at which our throughput would be the paper's.
    """
    table = estimates(runs, ["k"], "throughput_rps")
    read, s_per_token = paper("5", "output_tokens"), _s_per_token()
    tokens, shares = read["value"].to_numpy(float), read["percentile"].to_numpy() / 100
    law = (lambda time_s: float(np.interp(time_s / s_per_token, tokens, shares)), *(tokens[[0, -1]] * s_per_token))

    def exact_rps(k: int) -> float:
        edges_s = _equiprobable(k) * s_per_token
        return FIG_6_SERVERS * maxima.binned_throughput_rps(law, edges_s, FIG_6_BATCH)

    thresholds = table["k"].map(paper("6", "threshold_rps").set_index("k")["value"])
    return table.assign(
        theory_rps=[exact_rps(k) for k in table["k"]],
        paper_rps=thresholds,
        implied_s_per_token=s_per_token * table["throughput_rps"] / thresholds,
    )


def llm_like_ratios(runs: pd.DataFrame) -> pd.DataFrame:
    """How many times one bin's throughput each number of bins has: ``k, ratio, ci_low, ci_high``, by pairs."""
    return estimates({k: values / runs[1] for k, values in runs.items()}, ["k"], "ratio")


def llm_like_latency(
    service: pd.DataFrame, *, requests: int = 64_000, replications: int = 10, seed: int = 42, workers: int = 2
) -> pd.DataFrame:
    """Mean latencies of Fig. 6 (seconds), at the time per token that gives the printed throughputs.

    Parameters
    ----------
    service : pandas.DataFrame
        Of `llm_like_service`: its ``implied_s_per_token`` of each number of bins.
    requests, replications, seed, workers : int
        As in `llm_like_runs`.

    Returns
    -------
    pandas.DataFrame
        ``k, rate_rps, latency_mean_s, ci_low, ci_high, replications, paper_s``.
    """
    printed, s_per_token = paper("6", "latency_s"), service.set_index("k")["implied_s_per_token"]
    printed = printed[printed["k"].isin(s_per_token.index)].astype({"k": int})
    answers, source = answer_lengths(), predictors.Oracle()

    def one(replication: int) -> Counts:
        found = {}
        for row in printed.itertuples():
            parts = (arrivals.Poisson(row.rate_rps), lengths.Fixed(0), answers, source)
            table = workload.generate(requests, *parts, family=throughput.family(seed), replication=replication)
            policy = MultiBinFixed(FIG_6_BATCH, row.k, _equiprobable(row.k))
            run = simulate(table, policy, Affine(0.0, s_per_token[row.k], 0.0), FIG_6_SERVERS)
            found[row.k, row.rate_rps] = run.summary()["latency_mean_s"]
        return found

    table = estimates(replicate(one, replications, seed=0, workers=workers), ["k", "rate_rps"], "latency_mean_s")
    values = printed.set_index(["k", "rate_rps"])["value"]
    read_s = [values[pair] for pair in zip(table["k"], table["rate_rps"], strict=True)]
    return table.assign(replications=replications, paper_s=read_s)


def _s_per_token() -> float:
    return float(paper("5", "time_s_per_token")["value"].iloc[0])


def _equiprobable(k_bins: int) -> np.ndarray:
    """Inner edges of bins with equal shares of `answer_lengths`, tokens."""
    read = paper("5", "output_tokens")
    return np.interp(np.arange(1, k_bins) / k_bins, read["percentile"] / 100, read["value"])


def _all_at_once(output: lengths.LengthDistribution, requests: int, seed: int, replication: int) -> RequestTable:
    """One replication's requests, all there from the start, with known lengths."""
    parts = (arrivals.AllAtOnce(), lengths.Fixed(0), output, predictors.Oracle())
    return workload.generate(requests, *parts, family=throughput.family(seed), replication=replication)
