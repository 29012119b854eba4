"""What traffic looks like: arrivals by hour, burstiness, lengths.

Reads a request table, knows no policy. A Poisson stream of the same length and rate is the yardstick: its dispersion
index is 1 in every window, its gaps have a coefficient of variation of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.checks import InputError, check_integer, check_number, check_type
from simlib.streams import stream
from simlib.table import RequestTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["arrivals_by_hour", "burstiness", "dispersion_index", "gap_variation", "length_table"]

HOUR_S = 3600.0


def dispersion_index(arrival_s: np.ndarray, window_s: float) -> float:
    """Variance over mean of the number of arrivals in a window; 1 for a Poisson stream, more when it is bursty.

    Parameters
    ----------
    arrival_s : ndarray, shape (n_requests,)
        Arrival times in seconds, ascending.
    window_s : float
        Length of the window; at least two whole windows must fit between the first and the last arrival.

    Examples
    --------
    >>> dispersion_index(np.arange(100.0), 10.0)
    0.0
    """
    check_number("window_s", window_s, 0.0, open_low=True)
    arrival_s = _times(arrival_s)
    windows = int((arrival_s[-1] - arrival_s[0]) / window_s) if len(arrival_s) else 0
    if windows < 2:
        raise InputError(f"window_s: {window_s} (expected at most half the span of the arrivals)")
    number = ((arrival_s - arrival_s[0]) / window_s).astype(int)
    counts = np.bincount(number[number < windows], minlength=windows)
    return float(np.var(counts, ddof=1) / np.mean(counts))


def gap_variation(arrival_s: np.ndarray) -> float:
    """Coefficient of variation of the gaps between arrivals; 1 for a Poisson stream."""
    gaps = np.diff(_times(arrival_s))
    if len(gaps) < 2 or gaps.sum() == 0:
        raise InputError(f"arrival_s: {len(gaps)} gaps (expected at least 2, not all zero)")
    return float(np.std(gaps, ddof=1) / np.mean(gaps))


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

    check_integer("replications", replications, 20)
    table = RequestTable.of(table)
    span_s, n = table.arrival_s[-1] - table.arrival_s[0], len(table)
    rows = []
    for window_s in windows_s:
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

    table = RequestTable.of(table)
    clock_s = table.arrival_s + check_number("offset_s", offset_s)
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


def length_table(tables: Mapping[str, RequestTable], quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> pd.DataFrame:
    """Prompt and output lengths of several workloads: mean, standard deviation and quantiles, in tokens."""
    import pandas as pd

    rows = []
    for name, requests in check_type("tables", tables, Mapping, "request tables by name").items():
        table = RequestTable.of(requests)
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


def _times(arrival_s: Any) -> np.ndarray:
    try:
        times = np.asarray(arrival_s, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        times = np.zeros(())
    if times.ndim != 1 or not np.isfinite(times).all():
        raise InputError(f"arrival_s: {arrival_s!r:.80} (expected times in seconds)")
    return times
