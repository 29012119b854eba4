"""Requests like those of Azure's conversation service: one hour of 2023 in 266 numbers, as many draws as wanted.

First in the flow, beside `burstgpt`. Source: AzureLLMInferenceTrace_conv (Patel et al., Splitwise, ISCA 2024;
CC-BY-4.0), of which `data/azure_conversations.csv` has requests by the minute and quantiles of both lengths, no row.
"""

from __future__ import annotations

import functools

import numpy as np

from simlib import datasets
from simlib.checks import InputError, check_integer, check_type
from simlib.lazy import pd
from simlib.requests.streams import check_draw, stream
from simlib.requests.table import RequestTable

FILE = "azure_conversations.csv"
MINUTE_S = 60.0
PLACES = tuple(np.round([*np.arange(0.0, 0.991, 0.01), 0.995, 0.998, 0.999, 1.0], 3).tolist())
LENGTHS = ("prompt_tokens", "output_tokens")


def profile_of(table: RequestTable) -> pd.DataFrame:
    """What the shipped file has of a trace: requests of each whole minute, quantiles of prompts and outputs.

    Parameters
    ----------
    table : RequestTable
        At least a minute of requests.

    Returns
    -------
    pandas.DataFrame
        ``part, place, value``: ``requests`` by minute; ``prompt_tokens`` and ``output_tokens`` by the share of requests
        that have no more.

    Raises
    ------
    InputError
        If it covers less than a minute.
    """
    check_type("table", table, RequestTable, "a request table")
    minute = ((table.arrival_s - table.arrival_s[0]) // MINUTE_S).astype(int)
    whole = int((table.arrival_s[-1] - table.arrival_s[0]) // MINUTE_S)
    if whole < 1:
        raise InputError(f"table: {table.arrival_s[-1] - table.arrival_s[0]:.3g} s (expected a minute at least)")
    counts = np.bincount(minute, minlength=whole)[:whole]
    parts = [pd.DataFrame({"part": "requests", "place": np.arange(whole, dtype=float), "value": counts})]
    for part in LENGTHS:
        values = np.quantile(getattr(table, part), PLACES)
        parts.append(pd.DataFrame({"part": part, "place": PLACES, "value": values}))
    return pd.concat(parts, ignore_index=True).round(3)


@functools.cache
def _shipped() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    frame = pd.read_csv(datasets.shipped(FILE))
    return {part: (rows["place"].to_numpy(), rows["value"].to_numpy(float)) for part, rows in frame.groupby("part")}


def azure_like(n: int, replication: int = 0) -> RequestTable:
    """Draw `n` requests: arrivals at the rate of each minute, from a minute drawn at random on; the hour repeats.

    Parameters
    ----------
    n : int
        Number of requests, at least 1.
    replication : int
        Which independent draw.

    Returns
    -------
    RequestTable
        At the trace's mean rate of 5.5 a second, without predictions. Within a minute arrivals are Poisson (the
        trace's dispersion in windows of a second is 1.4). Prompt and output are independent: in the trace their rank
        correlation is 0.07.

    Examples
    --------
    >>> table = azure_like(20_000)
    >>> bool(1100 < table.prompt_tokens.mean() < 1200), bool(205 < table.output_tokens.mean() < 217)
    (True, True)
    """
    arrivals, lengths = stream("azure-like", replication, "arrivals"), stream("azure-like", replication, "lengths")
    n, shipped = check_draw(check_integer("n", n, 1), arrivals), _shipped()
    counts = np.roll(shipped["requests"][1], -int(arrivals.integers(len(shipped["requests"][1]))))
    expected = np.cumsum(arrivals.standard_exponential(n))  # requests expected up to each one
    hours, rest = np.divmod(expected, counts.sum())
    minutes = np.interp(rest, np.concatenate([[0.0], np.cumsum(counts)]), np.arange(len(counts) + 1.0))
    arrival_s = MINUTE_S * (hours * len(counts) + minutes)
    drawn = [np.interp(lengths.random(n), *shipped[part]) for part in LENGTHS]
    return RequestTable(arrival_s, *(np.maximum(np.rint(tokens), 1).astype(np.int64) for tokens in drawn))
