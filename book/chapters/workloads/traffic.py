"""What traffic looks like: arrivals by hour, burstiness, lengths.

Reads a request table, knows no policy. A Poisson stream of the same length and rate is the yardstick: its dispersion
index is 1 in every window, its gaps have a coefficient of variation of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from simlib import levels
from simlib.checks import check_each, check_integer, check_number, check_probability, check_type
from simlib.named import latency_of
from simlib.policies import bins
from simlib.requests.arrivals import dispersion_index
from simlib.requests.arrivals import gap_variation as gap_variation
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable

if TYPE_CHECKING:
    import pandas as pd


HOUR_S = 3600.0


def burstiness(
    table: RequestTable, windows_s: Sequence[float] = (1.0, 10.0, 60.0, 600.0), replications: int = 200
) -> pd.DataFrame:
    """Dispersion index in each window, beside the range that Poisson streams of that length and rate cover.

    Returns
    -------
    pandas.DataFrame
        One row a window: ``window_s, dispersion_index, poisson_low, poisson_high, replications`` (2.5th and 97.5th
        percentile over the Poisson replications).
    """
    import pandas as pd

    check_type("table", table, RequestTable, "a request table")
    check_integer("replications", replications, 20, 100_000)
    span_s, n = table.arrival_s[-1] - table.arrival_s[0], len(table)
    rows = []
    for window_s in check_each("windows_s", windows_s, lambda window_s: check_number("window_s", window_s)):
        poisson = [
            dispersion_index(np.sort(stream("burstiness", r, "arrivals").uniform(0.0, span_s, n)), window_s)
            for r in range(replications)
        ]
        low, high = np.percentile(poisson, [2.5, 97.5])
        rows.append(
            {"window_s": window_s, "dispersion_index": dispersion_index(table.arrival_s, window_s)}
            | {"poisson_low": low, "poisson_high": high, "replications": replications}
        )
    return pd.DataFrame(rows)


def arrivals_by_hour(table: RequestTable, offset_s: float = 0.0) -> pd.DataFrame:
    """Requests in each hour covered, with the 95 % range of a Poisson count with the table's mean hourly rate.

    ``hour, requests, covered_share, poisson_low, poisson_high``; `offset_s` is the clock time of second 0, and
    `covered_share` the part of the hour that lies between the first and the last arrival.
    """
    import pandas as pd
    from scipy.stats import poisson

    check_type("table", table, RequestTable, "a request table")
    clock_s = table.arrival_s + check_number("offset_s", offset_s, -1e9, 1e9)
    first, last = clock_s[0], clock_s[-1]
    rows = []
    for hour in range(int(first // HOUR_S), int(last // HOUR_S) + 1):
        start, end = max(first, hour * HOUR_S), min(last, (hour + 1) * HOUR_S)
        expected = len(table) * (end - start) / (last - first) if last > first else float(len(table))
        low, high = poisson.ppf([0.025, 0.975], expected)
        inside = (clock_s >= hour * HOUR_S) & (clock_s < (hour + 1) * HOUR_S)
        rows.append(
            {"hour": hour, "requests": int(inside.sum()), "covered_share": (end - start) / HOUR_S}
            | {"poisson_low": low, "poisson_high": high}
        )
    return pd.DataFrame(rows)


def length_table(tables: dict[str, RequestTable], quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> pd.DataFrame:
    """Prompt and output lengths of several workloads: mean, standard deviation and quantiles, in tokens."""
    import pandas as pd

    quantiles = check_each("quantiles", quantiles, lambda share: check_probability("quantiles", share))
    rows = []
    for name, table in check_type("tables", tables, Mapping, "request tables by name").items():
        check_type(f"tables, {name}", table, RequestTable, "a request table")
        for part in ("prompt_tokens", "output_tokens"):
            lengths = getattr(table, part)
            row = {"workload": name, "part": part, "requests": len(lengths), "mean_tokens": np.mean(lengths)}
            row["sd_tokens"] = np.std(lengths, ddof=1) if len(lengths) > 1 else 0.0
            row |= {
                f"p{round(100 * q):02d}_tokens": v
                for q, v in zip(quantiles, np.quantile(lengths, quantiles), strict=True)
            }
            rows.append(row)
    return pd.DataFrame(rows)


def late_alone(rps_scale: float, d_sla: float, seed: int, requests: int, rate_rps: float) -> pd.DataFrame:
    """Share of requests that are late even alone in a batch: a floor under every scheduler's violations.

    ``level, requests, mean_s, max_s, late_alone_share`` of the service time in a batch of one, at each level.
    """
    import pandas as pd

    check_number("d_sla", d_sla, 0.0, open_low=True)
    rows = []
    for number, level in levels.LEVELS.items():
        table, _ = levels.requests_of(number, requests, seed, rate_rps, rps_scale)
        alone_s = latency_of(level.latency).batch_time_s(1, table.prompt_tokens + table.output_tokens)
        rows.append(
            {"level": number, "requests": len(table), "mean_s": alone_s.mean(), "max_s": alone_s.max()}
            | {"late_alone_share": float(np.mean(alone_s > d_sla))}
        )
    return pd.DataFrame(rows)


def bin_edges(k_bins: int, seed: int, requests: int, rate_rps: float) -> pd.DataFrame:
    """Where equal-mass bins cut the predictions of each workload, and how well the predictions order the lengths.

    ``workload, edges_tokens, distinct_bins, rank_correlation`` (Spearman's, between prediction and true output).
    """
    import pandas as pd
    from scipy.stats import spearmanr

    rows = []
    for name, level in (("synthetic recipe", 1), ("BurstGPT", 2)):
        table, _ = levels.requests_of(level, requests, seed, rate_rps)
        predicted = table.predicted_output_tokens
        edges = bins.edges("equal_mass_integer", predicted, k_bins)
        rows.append(
            {"workload": name, "edges_tokens": ", ".join(f"{edge:g}" for edge in edges)}
            | {"distinct_bins": len(np.unique(bins.assign(predicted, edges)))}
            | {"rank_correlation": float(spearmanr(predicted, table.output_tokens).statistic)}
        )
    return pd.DataFrame(rows)
