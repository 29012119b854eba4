"""Fit the population of BurstGPT-like traffic: `python -m benchmarks.fit_population`, with ``SIMLIB_DATA_DIR`` set.

Writes ``data/burstgpt_population.json`` (coefficients) and ``data/burstgpt_held_out.csv`` (figures of what was not used
for them). Used: every other block of 20 minutes of the 400 head rows (lengths, rates by window); daily totals of every
other week from the first on; mean requests by hour of all days; one of the two dense slices (API calls within a day);
and what the BurstGPT paper publishes (hours of conversations, gaps of API calls, failures). Not used: the other blocks,
the other weeks' days, tokens by the minute of week 1, the densest slice, and the throughput that the original document
claims at level 2, which tells how long the first 1,000 rows take.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster.vq import kmeans2
from scipy.special import logsumexp, ndtri
from scipy.stats import multivariate_normal, rankdata

from book.chapters.workloads import likeness
from simlib import datasets, levels
from simlib.requests.burstgpt import WEEKEND, ApiCalls, Conversations, Population
from simlib.requests.table import RequestTable

DATA = Path(__file__).resolve().parents[1] / "data"
# Wang et al., KDD 2025, read off the figures. Conversations with ChatGPT by hour of the day: quartiles of the requests.
HOURLY_QUARTILES = (
    *((37, 56), (16, 39), (7, 28), (4, 15), (2, 10), (2, 8), (3, 8), (2, 8), (15, 27), (83, 136), (141, 195)),
    *((137, 182), (51, 76), (80, 118), (127, 173), (168, 214), (159, 213), (114, 156), (61, 105), (75, 124)),
    *((88, 133), (92, 130), (79, 106), (55, 97)),
)
# Gamma fits to the gaps of API calls in 54 windows of 20 minutes: median shape, least and largest scale in seconds.
API_GAP_SHAPE, API_GAP_SCALES_S, API_WINDOWS = 0.41, (1.6, 297.0), 54
# Median share of failed conversations, ChatGPT and GPT-4 weighted by their numbers; all rows of the file, with and
# without failures (the data's own page).
CONVERSATIONS_FAILED = (0.30 * 0.0553 + 0.16 * 0.0388) / 0.46
ALL_ROWS, ROWS_SERVED = 1_429_700, 1_404_300
# Mean range of 54 independent standard normal values.
NORMAL_RANGE_54 = 4.57
API_LONGEST_TOKENS = (4096, 4096)  # the context of the service's smaller model; no API call that long is in a slice
WINDOW_S, API_WINDOW_S = 300.0, 1200.0
QUIET_CALLS = 1000  # a day with fewer API calls cannot be told from one without
VARIANCE_FLOOR = 0.02  # of a component of log lengths: short answers repeat, and would draw it to a point


def fit() -> tuple[Population, pd.DataFrame]:
    """The coefficients, and the real values of the figures held out."""
    head, days = _slice("head400"), pd.read_csv(datasets.locate("burstgpt/BurstGPT_1_daily.csv"))
    conversations = _conversations(head, days)
    return Population(conversations, _api_calls(conversations, _slice("t822291_120"), days)), _held_out(head, days)


def _slice(name: str) -> RequestTable:
    """Rows of the trace, on its own clock."""
    frame = pd.read_csv(datasets.locate(f"burstgpt/BurstGPT_1_{name}.csv"))
    return RequestTable(frame["Timestamp"], frame["Request tokens"], frame["Response tokens"])


def _conversations(head: RequestTable, days: pd.DataFrame) -> Conversations:
    """Levels from the first week, which has hardly an API call; windows and lengths from the head's fitting blocks."""
    hour_share = np.mean(HOURLY_QUARTILES, axis=1) / np.mean(HOURLY_QUARTILES, axis=1).sum()
    week = days["requests"].to_numpy()[:7]
    weekend = np.isin(np.arange(7), WEEKEND)
    residuals = [np.log(part) - np.log(part).mean() for part in (week[~weekend], week[weekend])]
    rows = head.rows(likeness.fitting_rows(head.arrival_s) & (head.arrival_s < likeness.HEAD_END_S))
    served = rows.output_tokens > 0
    weights, means, covariances = _mixture(np.log(np.c_[rows.prompt_tokens, rows.output_tokens][served]))
    return Conversations(
        workday_requests=week[~weekend].mean(),
        weekend_requests=week[weekend].mean(),
        day_log_sd=math.sqrt(np.sum(np.concatenate(residuals) ** 2) / (7 - 2)),
        hour_share=hour_share.tolist(),
        window_s=WINDOW_S,
        window_log_sd=_window_log_sd(rows.arrival_s, hour_share),
        failed_share=CONVERSATIONS_FAILED,
        weights=weights.tolist(),
        log_means=means.tolist(),
        log_covariances=covariances.tolist(),
        # The service cuts a conversation's history: prompts end sharply there, and answers hardly reach further.
        longest_tokens=(int(rows.prompt_tokens.max()), int(rows.output_tokens.max())),
    )


def _window_log_sd(arrival_s: np.ndarray, hour_share: np.ndarray) -> float:
    """By moments: counts of windows vary as Poisson ones with a log-normal factor on the hour's rate."""
    counts = np.bincount((arrival_s // WINDOW_S).astype(int), minlength=round(likeness.HEAD_END_S / WINDOW_S))
    start_s = np.arange(len(counts)) * WINDOW_S
    fitted = likeness.fitting_rows(start_s)
    share = hour_share[(start_s // 3600).astype(int)][fitted]
    expected = share * counts[fitted].sum() / share.sum()
    surplus = np.sum((counts[fitted] - expected) ** 2 - expected * (1.0 - expected / expected.sum()))
    return math.sqrt(math.log1p(max(surplus, 0.0) / np.sum(expected**2)))


def _mixture(points: np.ndarray, most: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A mixture of normal distributions, shape (n, 2) points: as many as Bayes' information criterion wants."""
    fits = [_expectation_maximisation(points, k) for k in range(1, most + 1)]
    parameters = [k - 1 + 5 * k for k in range(1, most + 1)]
    criterion = [p * math.log(len(points)) - 2.0 * fit[0] for p, fit in zip(parameters, fits, strict=True)]
    return fits[int(np.argmin(criterion))][1:]


def _expectation_maximisation(
    points: np.ndarray, k: int, starts: int = 20, steps: int = 2000, gain: float = 1e-7
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihood, weights, means and covariances of the best of some starts (Dempster, Laird and Rubin 1977)."""
    best: tuple[float, np.ndarray, np.ndarray, np.ndarray] | None = None
    for start in range(starts):
        _, labels = kmeans2(points, k, minit="++", seed=start)
        belongs, likelihood = np.eye(k)[labels] * 0.9 + 0.1 / k, -math.inf
        for _ in range(steps):
            weights, totals = belongs.mean(axis=0), belongs.sum(axis=0)
            means = belongs.T @ points / totals[:, None]
            apart = points[None] - means[:, None]
            covariances = np.einsum("nk,kni,knj->kij", belongs, apart, apart) / totals[:, None, None]
            covariances += VARIANCE_FLOOR * np.eye(2)
            parts = zip(weights, means, covariances, strict=True)
            log_parts = np.stack([np.log(w) + multivariate_normal.logpdf(points, m, c) for w, m, c in parts], axis=1)
            log_density = logsumexp(log_parts, axis=1)
            belongs = np.exp(log_parts - log_density[:, None])
            before, likelihood = likelihood, float(log_density.sum())
            if likelihood - before < gain:
                break
        if best is None or likelihood > best[0]:
            best = likelihood, weights, means, covariances
    assert best is not None
    return best


def _api_calls(conversations: Conversations, other: RequestTable, days: pd.DataFrame) -> ApiCalls:
    """What is left of the days' and hours' totals without conversations; one slice for the lengths within a day."""
    day = days["day"].to_numpy()
    talk = np.where(np.isin(day % 7, WEEKEND), conversations.weekend_requests, conversations.workday_requests)
    rng = np.random.default_rng(0)
    talk_tokens = np.sum(conversations.lengths(np.zeros(1_000_000), 1, rng)) / 1e6 * (1.0 - CONVERSATIONS_FAILED)
    calls, fitted = days["requests"].to_numpy() - talk, (day // 7) % 2 == 0
    busy = fitted & (calls >= QUIET_CALLS)
    log_calls = np.log(calls[busy])
    log_tokens = np.log((days["total_tokens"].to_numpy() - talk * talk_tokens)[busy] / calls[busy])
    pairs = fitted[1:] & fitted[:-1]
    scores = np.zeros(len(calls))
    scores[fitted] = ndtri((rankdata(calls[fitted]) - 0.5) / fitted.sum())
    hours = pd.read_csv(datasets.locate("burstgpt/BurstGPT_1_hourly_mean.csv")).iloc[:, 1].to_numpy()
    by_hour = np.clip(hours - talk.mean() * np.asarray(conversations.hour_share), 0.0, None)
    failed = (ALL_ROWS - ROWS_SERVED) / ALL_ROWS * days["requests"].sum() - CONVERSATIONS_FAILED * talk.sum()
    prompt, output = np.log(other.prompt_tokens), np.log(other.output_tokens)
    return ApiCalls(
        quiet_share=1.0 - busy.sum() / fitted.sum(),
        day_log_mean=log_calls.mean(),
        day_log_sd=log_calls.std(ddof=1),
        day_correlation=float(np.corrcoef(scores[:-1][pairs], scores[1:][pairs])[0, 1]),
        hour_share=(by_hour / by_hour.sum()).tolist(),
        window_s=API_WINDOW_S,
        window_log_sd=math.log(API_GAP_SCALES_S[1] / API_GAP_SCALES_S[0]) / NORMAL_RANGE_54,
        clump_mean=(1.0 + 1.0 / API_GAP_SHAPE) / 2.0,  # geometric clumps of a Poisson stream: CV^2 = 2 mean - 1
        failed_share=failed / (days["requests"].sum() - talk.sum()),
        total_log_mean=log_tokens.mean(),
        total_log_sd=log_tokens.std(ddof=1),
        scatter_log_sd=prompt.std(ddof=1),
        response_share=other.output_tokens.sum() / (other.prompt_tokens.sum() + other.output_tokens.sum()),
        response_log_sd=output.std(ddof=1),
        longest_tokens=API_LONGEST_TOKENS,
    )


def _held_out(head: RequestTable, days: pd.DataFrame) -> pd.DataFrame:
    """The real values that `likeness` compares, in its order."""
    by_minute = pd.read_csv(datasets.locate("burstgpt/BurstGPT_1_week1_minute_tps.csv"))
    tokens = np.zeros(7 * 24 * 60)
    tokens[by_minute["minute"]] = 60.0 * by_minute["total_tokens_per_s"]
    claim = levels.claims().query("level == 2 and scheduler == 'static_fifo'")["throughput_rps"].item()
    span_h = levels.DOCUMENTED["requests"] / claim * levels.DOCUMENTED["rps_scale"] / 3600.0
    figures = {
        "head": likeness.rows(head),
        "minutes": likeness.minutes(tokens),
        "claims": {"thousand_rows_h": span_h},
        "days": likeness.daily(days["requests"].to_numpy(), days["total_tokens"].to_numpy()),
        "burst": likeness.burst(_slice("t3064252_dense120")),
    }
    rows = [(source, figure, value) for source, values in figures.items() for figure, value in values.items()]
    return pd.DataFrame(rows, columns=["source", "figure", "value"])


def main() -> None:
    """Write both files."""
    population, held_out = fit()
    document = {"about": __doc__.split("\n\n")[1].replace("\n", " ")} | population.document()
    (DATA / "burstgpt_population.json").write_text(json.dumps(_rounded(document), indent=2) + "\n")
    held_out.to_csv(datasets.shipped("burstgpt_held_out.csv"), index=False, float_format="%.6g")


def _rounded(value: Any) -> Any:
    """Six digits of each number: what is fitted is not known to more."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, (list, tuple)) else value


if __name__ == "__main__":
    main()
