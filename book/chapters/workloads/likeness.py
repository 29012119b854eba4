"""Is generated traffic like the real one? The same figures of both, of rows and totals that nothing was fitted to.

Of `burstgpt`. What is real stands in ``data/burstgpt_held_out.csv`` (``benchmarks/fit_population.py`` computes it
from the trace's slices with the functions below); what is generated is drawn here. A figure fits where the real value
lies inside the central 95 % of the draws: with so many figures, one in twenty would not even if the model were true.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from simlib import datasets
from simlib.checks import InputError, check_integer
from simlib.requests.burstgpt import DAY_S, Population
from simlib.requests.table import RequestTable

if TYPE_CHECKING:
    import pandas as pd


# The 400 rows end at 37,274 s: 31 whole blocks of 20 minutes, by turns for fitting and for checking.
BLOCK_S, HEAD_BLOCKS = 1200, 31
HEAD_END_S = BLOCK_S * HEAD_BLOCKS
WEEK_S, TRACE_DAYS, QUIET_REQUESTS = 7 * DAY_S, 61, 4500
BURST = 120
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def held_out() -> pd.DataFrame:
    """The real values: ``source, figure, value``, one row a figure."""
    import pandas as pd

    return pd.read_csv(datasets.shipped("burstgpt_held_out.csv"))


def fitting_rows(arrival_s: np.ndarray) -> np.ndarray:
    """Which of the head rows the coefficients are fitted to: every other block of 20 minutes, from the first."""
    return (np.asarray(arrival_s) // BLOCK_S) % 2 == 0


def rows(table: RequestTable) -> dict[str, float]:
    """Figures of a day's first rows, in the blocks that are not for fitting; times cut to whole seconds as the trace's.

    Parameters
    ----------
    table : RequestTable
        Arrivals in seconds from midnight; what comes after `HEAD_END_S` is left out.

    Returns
    -------
    dict of str to float
        ``dispersion_1s, dispersion_60s, dispersion_600s`` (variance over mean of the number of arrivals),
        ``gap_cv`` (gaps inside a block), ``failed_share``, quantiles of prompts and answers that did not fail, in
        tokens, and their ``rank_correlation``.
    """
    from scipy.stats import spearmanr

    time_s = np.floor(table.arrival_s)
    kept = (time_s < HEAD_END_S) & ~fitting_rows(time_s)
    time_s, prompt, output = time_s[kept], table.prompt_tokens[kept], table.output_tokens[kept]
    figures = {"requests": float(len(time_s))}
    for window_s in (1, 60, 600):
        counts = np.bincount((time_s // window_s).astype(int), minlength=HEAD_END_S // window_s)
        counts = counts[fitting_rows(np.arange(len(counts)) * window_s) == 0]
        figures[f"dispersion_{window_s}s"] = float(np.var(counts, ddof=1) / np.mean(counts))
    gaps = np.diff(time_s)[np.diff(time_s // BLOCK_S) == 0]
    figures["gap_cv"] = float(np.std(gaps, ddof=1) / np.mean(gaps))
    figures["failed_share"] = float(np.mean(output == 0))
    served = output > 0
    for name, lengths in (("prompt", prompt[served]), ("output", output[served])):
        for q, value in zip(QUANTILES, np.quantile(lengths, QUANTILES), strict=True):
            figures[f"{name}_p{round(100 * q):02d}_tokens"] = float(value)
    return figures | {"rank_correlation": float(spearmanr(prompt[served], output[served]).statistic)}


def minutes(tokens: np.ndarray) -> dict[str, float]:
    """Figures of a week of tokens by the minute, shape (10080,): how many minutes are not empty, and variability."""
    figures = {"minutes_with_traffic": float(np.mean(tokens > 0))}
    for window_s in (60, 600, 3600):
        sums = tokens.reshape(-1, window_s // 60).sum(axis=1)
        figures[f"tokens_cv_{window_s}s"] = float(np.std(sums) / np.mean(sums))
    return figures


def daily(requests: np.ndarray, tokens: np.ndarray) -> dict[str, float]:
    """Figures of the days in every other week, from the second on, that no coefficient was fitted to.

    Parameters
    ----------
    requests, tokens : ndarray, shape (61,)
        Totals of each day from the trace's first on.
    """
    held = (np.arange(len(requests)) // 7) % 2 == 1
    followed = held[1:] & held[:-1]
    log_requests = np.log(np.maximum(requests, 1))
    mean_tokens = tokens[held] / requests[held]
    return {
        "requests_a_day_median": float(np.median(requests[held])),
        "requests_a_day_max": float(np.max(requests[held])),
        "quiet_days": float(np.sum(requests[held] < QUIET_REQUESTS)),
        "next_day_correlation": float(np.corrcoef(log_requests[:-1][followed], log_requests[1:][followed])[0, 1]),
        "tokens_a_request_median": float(np.median(mean_tokens)),
        "tokens_a_request_log_sd": float(np.std(np.log(mean_tokens), ddof=1)),
    }


def burst(table: RequestTable) -> dict[str, float]:
    """The densest 120 requests in a row that did not fail: how long they take, in whole seconds, and their lengths."""
    served = np.flatnonzero(table.output_tokens > 0)
    time_s = np.floor(table.arrival_s[served])
    took_s = time_s[BURST - 1 :] - time_s[: 1 - BURST]
    first = int(np.argmin(took_s))
    where = served[first : first + BURST]
    prompt, output = table.prompt_tokens[where], table.output_tokens[where]
    return {
        "burst_s": float(took_s[first]),
        "burst_prompt_median_tokens": float(np.median(prompt)),
        "burst_prompt_cv": float(np.std(prompt, ddof=1) / np.mean(prompt)),
        "burst_output_median_tokens": float(np.median(output)),
    }


def generated(population: Population, replications: int = 200, days_replications: int = 40) -> pd.DataFrame:
    """Draw the same figures from a population.

    Parameters
    ----------
    population : Population
    replications : int
        Draws of a week of conversations, at least 20: for figures of rows and minutes.
    days_replications : int
        Draws of 61 days of all traffic (1.4 million requests each), at least 20: for figures of days and bursts.

    Returns
    -------
    pandas.DataFrame
        ``source, figure, replication, value``.
    """
    import pandas as pd

    check_integer("replications", replications, 20)
    check_integer("days_replications", days_replications, 20)
    drawn: list[tuple[str, int, Mapping[str, float]]] = []
    for replication in range(replications):
        week = population.sample_days(7, replication, traffic="conversations", family="likeness")
        total = (week.prompt_tokens + week.output_tokens).astype(float)
        tokens = np.bincount((week.arrival_s // 60).astype(int), total, minlength=round(WEEK_S / 60))
        span = {"thousand_rows_h": week.arrival_s[999] / 3600.0}
        drawn += [("head", replication, rows(week)), ("minutes", replication, minutes(tokens))]
        drawn += [("claims", replication, span)]
    for replication in range(days_replications):
        trace = population.sample_days(TRACE_DAYS, replication, family="likeness")
        day = (trace.arrival_s // DAY_S).astype(int)
        total = (trace.prompt_tokens + trace.output_tokens).astype(float)
        counts, sums = np.bincount(day, minlength=TRACE_DAYS), np.bincount(day, total, minlength=TRACE_DAYS)
        drawn += [("days", replication, daily(counts, sums)), ("burst", replication, burst(trace))]
    return pd.DataFrame(
        [(source, figure, r, value) for source, r, figures in drawn for figure, value in figures.items()],
        columns=["source", "figure", "replication", "value"],
    )


def compared(real: pd.DataFrame, draws: pd.DataFrame) -> pd.DataFrame:
    """Each real value beside the central 95 % of the draws.

    Returns
    -------
    pandas.DataFrame
        ``source, figure, real, mean, low, high, replications, fits``, in the order of `real`.

    Raises
    ------
    InputError
        If a figure was not drawn.
    """
    import pandas as pd

    grouped, table = dict(iter(draws.groupby(["source", "figure"])["value"])), []
    for row in real.itertuples():
        if (row.source, row.figure) not in grouped:
            raise InputError(f"draws: no {row.figure} of {row.source} (expected every figure of the real values)")
        values = grouped[row.source, row.figure].to_numpy()
        low, high = np.percentile(values, [2.5, 97.5])
        table.append(
            {"source": row.source, "figure": row.figure, "real": row.value, "mean": values.mean()}
            | {"low": low, "high": high, "replications": len(values), "fits": bool(low <= row.value <= high)}
        )
    return pd.DataFrame(table)
