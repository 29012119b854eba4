"""The Multi-Bin paper's claims (arXiv 2412.04504v1), one by one, beside what the chapters on it found.

Enumerated by this rule: each theorem and lemma that gives a number, each quantity of a figure, each percentage of the
text; at however many points it is given, it is one claim. Reads the chapters' tables and `theory`; simulates the four
requests of Figure 1b.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.multi_bin import throughput
from book.kit.evidence import Claim, Derived, Repeated, Unfounded, ledger
from simlib.latency.models import GivenTimes
from simlib.policies.full_batches import MultiBinFixed
from simlib.requests.predictors import measured_confusion
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.theory import maxima
from simlib.theory.bins import (
    bins_needed,
    exponential_bound_s,
    exponential_edges_s,
    multi_bin_throughput_limit_rps,
    multi_bin_throughput_rps,
)

if TYPE_CHECKING:
    import pandas as pd


SOURCE = "Multi-Bin paper"
LOW_S, HIGH_S, BATCH = 1.0, 20.0, 128
READ = 0.002  # of a value read off a vector drawing, relative
NEEDS_GPU = "an inference run on a GPU whose number of requests is not stated"
BASE = 1.0  # of a ratio: no gain


def table_of(results: Path) -> pd.DataFrame:
    """The ledger, from the tables that the chapters wrote into a folder."""
    return ledger(claims_of(results))


def claims_of(results: Path) -> Iterator[Claim]:
    """Every claim, in the paper's order."""
    yield from _figure_1b()
    yield from _theorems(results)
    yield from _figure_3(results)
    yield from _figure_4(results)
    yield from _figure_6(results)
    yield from _figure_7()
    yield from _figure_8(results)
    yield from _figure_9(results)
    yield from _predictor()


def _table(results: Path, name: str) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(Path(results) / f"{name}.csv")


def _estimate(
    chapter: str,
    section: str,
    claim: str,
    claimed: float,
    slack: float,
    row: pd.Series,
    column: str,
    base: float = math.nan,
    part_of: str = "",
) -> Claim:
    """A mean of as many runs as ours: it has an interval of its own, as wide as ours, though the paper shows none."""
    own = (math.sqrt(2) - 1) * (row["ci_high"] - row["ci_low"]) / 2
    found = Repeated(row[column], row["ci_low"], row["ci_high"], int(row.get("replications", 0)), base)
    return Claim(SOURCE, section, claim, claimed, slack + own, found, chapter, part_of=part_of)


def _bins(k: float) -> str:
    return "1 bin" if k == 1 else f"{k:.0f} bins"


def _exact(
    section: str, claim: str, claimed: float, slack: float, ours: float, strict: bool = True, part_of: str = ""
) -> Claim:
    found = Derived(ours, strict)
    return Claim(SOURCE, section, claim, claimed, slack, found, "multi_bin_claims", part_of=part_of)


def _untestable(section: str, claim: str, claimed: float, slack: float, part_of: str = "") -> Claim:
    return Claim(SOURCE, section, claim, claimed, slack, Unfounded(NEEDS_GPU), part_of=part_of)


def _figure_1b() -> Iterator[Claim]:
    times_s = np.array([1.0, 5.0, 2.0, 6.0])
    tokens = times_s.astype(int)
    table = RequestTable(np.zeros(4), np.zeros(4, int), tokens, tokens)
    for k, claimed in zip((1, 2), throughput.paper("1b", "makespan_s")["value"], strict=True):
        run = simulate(table, MultiBinFixed(2, k, bounds=[3.5][: k - 1]), GivenTimes(times_s), 1)
        one = "four requests of 1, 5, 2 and 6 s in batches of two: all done after, s"
        ours = float(run.times.completion_s.max())
        yield _exact("Figure 1b", f"{one}, {_bins(k)}", claimed, 0.0, ours, part_of=one)


def _theorems(results: Path) -> Iterator[Claim]:
    setting = (LOW_S, HIGH_S, BATCH)
    widths = np.linspace(LOW_S, HIGH_S, 5)[1:-1]
    yield _exact(
        "Lemma 4.1", "uniform times: cost of equal-width bins over the least of any four bins", 1.0, 1e-6, _best(widths)
    )
    runs, printed = _table(results, "multi_bin_long_run"), throughput.paper("3", "plateau_rps")["k"]
    for row in runs[runs["k"].isin(printed)].itertuples():
        claimed, one = multi_bin_throughput_rps(*setting, row.k), "throughput with K bins, requests/s"
        text = f"throughput with {_bins(row.k)}, requests/s"
        # The discrete clock of a millisecond, and what is left of a warm-up, are within a tenth of the 0.2 % asked for.
        found = Repeated(row.throughput_rps, row.ci_low, row.ci_high)
        yield Claim(SOURCE, "Theorem 4.2", text, claimed, 2e-4 * claimed, found, "bins_and_throughput", part_of=one)
    for shortfall in (1.0, 0.5, 0.1):
        limit = multi_bin_throughput_limit_rps(*setting)
        counted = next(k for k in range(1, 1000) if multi_bin_throughput_rps(*setting, k) >= limit - shortfall)
        one = "fewest bins for a shortfall"
        text = f"fewest bins for at most {shortfall:g} requests/s less than the limit"
        yield _exact("Theorem 4.3", text, bins_needed(*setting, shortfall), 0.0, counted, part_of=one)
    (printed,) = throughput.paper("3", "limit_rps")["value"]
    limit = multi_bin_throughput_limit_rps(*setting)
    yield _exact("Section 4", "throughput with ever more bins, requests/s, as printed", printed, 0.05, limit)
    share = multi_bin_throughput_rps(*setting, 5) / limit
    yield _exact("Section 4", "five bins approach that limit: share of it (taken as 1, within 5 %)", 1.0, 0.05, share)


def _best(edges_s: np.ndarray) -> float:
    """Expected batch time with these edges, over the least that a search from elsewhere finds."""
    from scipy.optimize import minimize
    from scipy.stats import uniform

    times = uniform(LOW_S, HIGH_S - LOW_S)

    def cost(edges: np.ndarray) -> float:
        inside = np.sort(np.clip(edges, LOW_S + 1e-6, HIGH_S - 1e-6))
        return maxima.binned_batch_s(times, inside + 1e-9 * np.arange(len(inside)), BATCH)

    found = minimize(cost, edges_s * 0.8, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10})
    return cost(edges_s) / found.fun


def _figure_3(results: Path) -> Iterator[Claim]:
    by_rate, runs = _table(results, "multi_bin_throughput"), _table(results, "multi_bin_finite_run")
    flushed = runs[runs["counted"] == "with_flush"].set_index("k")
    for paper in throughput.paper("3", "plateau_rps").itertuples():
        text, one = f"plateau with {_bins(paper.k)}, requests/s", "plateaus, requests/s"
        row, slack = flushed.loc[paper.k], READ * paper.value
        yield _estimate("bins_and_throughput", "Figure 3", text, paper.value, slack, row, "throughput_rps", part_of=one)
    for paper in throughput.paper("3", "knee_rps").itertuples():
        rows = by_rate[by_rate["k"] == paper.k]
        reached = rows.loc[rows["throughput_rps"] >= 0.995 * flushed.loc[paper.k, "throughput_rps"], "rate_rps"]
        one = "first rate on the plateau, requests/s (in steps of 0.2)"
        text = f"first rate on the plateau with {_bins(paper.k)}, requests/s (in steps of 0.2)"
        yield _exact("Figure 3", text, paper.value, 0.1, reached.min(), strict=False, part_of=one)


def _figure_4(results: Path) -> Iterator[Claim]:
    latencies, parts = _table(results, "multi_bin_latency"), _table(results, "multi_bin_latency_parts")
    for paper in throughput.paper("4", "latency_s").itertuples():
        (row,) = latencies[(latencies["k"] == paper.k) & np.isclose(latencies["rate_rps"], paper.rate_rps)].index
        text = f"mean latency with {_bins(paper.k)} at {paper.rate_rps:g} requests/s, s"
        found, slack, one = latencies.loc[row], READ * paper.value, "mean latency, s"
        yield _estimate("bins_and_latency", "Figure 4", text, paper.value, slack, found, "latency_mean_s", part_of=one)
    free = parts[(parts["gpus"] == parts["gpus"].max()) & (parts["part"] == "latency_s")]
    for row in free.itertuples():
        text = f"mean latency with {_bins(row.k)} at {row.rate_rps:g} requests/s and a server for every batch, s"
        found, one = Repeated(row.mean_s, row.ci_low, row.ci_high), "mean latency with a server for every batch, s"
        yield Claim(SOURCE, "Lemma 5.1", text, row.lemma_s, 5e-4 * row.lemma_s, found, "bins_and_latency", part_of=one)


def _figure_6(results: Path) -> Iterator[Claim]:
    thresholds = throughput.paper("6", "threshold_rps").set_index("k")["value"]
    ratios = _table(results, "llm_like_ratios").set_index("k")
    for k, threshold in thresholds.iloc[1:].items():
        text, one = f"saturated throughput with {_bins(k)}, times that with one", "saturated throughput over one bin's"
        claimed = threshold / thresholds.iloc[0]
        slack = 0.01 / thresholds.iloc[0]
        yield _estimate("llm_like_service", "Figure 6", text, claimed, slack, ratios.loc[k], "ratio", BASE, one)
    implied = _table(results, "llm_like_service").set_index("k")["theory_rps"]
    for k, threshold in thresholds.items():
        one = "saturated throughput, requests/s, from the printed time per token and Figure 5's lengths"
        yield _exact("Figure 6", f"{one}, {_bins(k)}", threshold, 0.005, implied.loc[k], part_of=one)
    (per_token,) = throughput.paper("5", "time_s_per_token")["value"]
    for _, row in _table(results, "llm_like_latency").iterrows():
        one = "mean latency, s, at a time per token that gives the printed throughputs"
        text = f"{one}, {_bins(row.k)} at {row.rate_rps:g} requests/s"
        slack = READ * row.paper_s
        yield _estimate("llm_like_service", "Figure 6", text, row.paper_s, slack, row, "latency_mean_s", part_of=one)
    text = "time per generated token on one A100, s, by a fit of the points of Figure 5"
    yield _untestable("Figure 5", text, per_token, 5e-5)


def _figure_7() -> Iterator[Claim]:
    bars = throughput.paper("7", "throughput").set_index("k")["value"]
    for k, bar in bars.items():
        yield _untestable("Figure 7", f"measured throughput with {_bins(k)}", bar, READ * bar, "measured throughput")
    text = "the text's gain of about 70 % (to the nearest ten) at 32 bins, against the figure's own bars"
    yield _exact("Section 6.1", text, 1.70, 0.05, bars.loc[32] / bars.loc[1])


def _figure_8(results: Path) -> Iterator[Claim]:
    errors = _table(results, "prediction_errors")
    errors = errors[(errors["batch_size"] == BATCH) & errors["p_e"].notna()]
    for paper in throughput.paper("8", "throughput_rps").dropna(subset="p_e").itertuples():
        (row,) = errors[(errors["k"] == paper.k) & np.isclose(errors["p_e"], paper.p_e)].index
        one = "throughput with errors to each side, requests/s"
        text = f"throughput with {_bins(paper.k)}, errors of probability {paper.p_e:g} to each side, requests/s"
        found = errors.loc[row]
        yield _estimate(
            "prediction_errors", "Figure 8", text, paper.value, 1.5e-3, found, "throughput_rps", part_of=one
        )


def _figure_9(results: Path) -> Iterator[Claim]:
    bins = _table(results, "exponential_bins")
    for row in bins[bins["rule"] == "lemma_a1"].itertuples():
        edges_s = exponential_edges_s(10.0, row.k, 200)
        bound = 200 / exponential_bound_s(10.0, edges_s, 200)
        one = "Lemma A.1's bound is one from below: throughput over it (at least 1; within 2 %)"
        text = f"throughput with {_bins(row.k)} over Lemma A.1's bound"
        found = Repeated(row.throughput_rps / bound, row.ci_low / bound, row.ci_high / bound)
        yield Claim(SOURCE, "Lemma A.1", text, 1.0, 0.02, found, "exponential_bins", part_of=one)
    smallest = min(k - 1 - j for k in range(2, 6) for j in range(1, k))
    text = "Corollary A.1.1: smallest index m of the L_m that its printed sum needs (they begin at L_1)"
    yield _exact("Appendix A.4", text, 1.0, 0.0, smallest)


def _predictor() -> Iterator[Claim]:
    for paper in throughput.paper("C.1", "accuracy_share").itertuples():
        counts = measured_confusion(int(paper.k))
        text = f"share of predictions in the right one of {paper.k:.0f} bins, from the printed matrix (digits cut)"
        one = "share of predictions in the right bin"
        yield _exact("Appendix C.1", text, paper.value, 1e-4, float(np.trace(counts) / counts.sum()), part_of=one)
    for paper in throughput.paper("C.1", "near_share").itertuples():
        counts = measured_confusion(int(paper.k))
        near = sum(float(np.trace(counts, offset)) for offset in (-1, 0, 1)) / counts.sum()
        text = f"share of predictions at most one of {paper.k:.0f} bins away, from the printed matrix (digits cut)"
        yield _exact("Appendix C.1", text, paper.value, 1e-4, near, part_of="share at most one bin away")
    bars = throughput.paper("11", "throughput").set_index("k")["value"]
    for k, gain in ((2, 1.031), (4, 1.079)):
        text = f"the text's {100 * (gain - 1):.1f} % at {_bins(k)}, against the figure's own bars (read to 0.0005)"
        one, slack = "the text's gains, against the figure's own bars", 0.0005 + 0.001 / bars.loc[1]
        yield _exact("Figure 11", text, gain, slack, bars.loc[k] / bars.loc[1], part_of=one)
        one, text = "measured throughput over one bin's", f"measured throughput with {_bins(k)}, times that with one"
        yield _untestable("Figure 11", text, gain, 5e-4, one)
    yield _untestable("Appendix C.1", "throughput with four bins and true lengths, times that with one", 1.45, 0.005)
