"""Requests like given ones: blocks of consecutive rows, gaps and lengths together, drawn with replacement."""

from __future__ import annotations

import numpy as np

from simlib.requests.streams import stream
from simlib.requests.table import RequestTable

BLOCK_ROWS = 50  # rows that stay together, so that their bursts and runs of like requests do; longer ones are broken up
NAMES = ("prompt_tokens", "output_tokens", "predicted_output_tokens", "cached_prompt_tokens")


def redrawn(table: RequestTable, rows: int, seed: int) -> RequestTable:
    """So many requests like those of a table, over whose rows time passes; the mean rate is the table's.

    Parameters
    ----------
    table : RequestTable
        Of at least two blocks of rows, none of which waits for another's answer.
    rows, seed : int

    Examples
    --------
    >>> table = RequestTable(np.arange(100.0), np.arange(100), np.ones(100, int))
    >>> redrawn(table, 70, seed=1).prompt_tokens[:50].tolist() == list(range(34, 84))
    False
    """
    gaps_s, picked = np.diff(table.arrival_s), blocks(len(table), rows, seed)
    times_s = np.cumsum(gaps_s[picked - 1])
    return of_rows(table, picked, times_s - times_s[0])


def blocks(rows: int, requests: int, seed: int, first: int = 1, block: int = BLOCK_ROWS) -> np.ndarray:
    """Rows in blocks that begin anywhere from the first."""
    starts = stream("demand", seed, "arrivals").integers(first, rows - block, size=-(-requests // block), endpoint=True)
    return (starts[:, None] + np.arange(block)).ravel()[:requests]


def of_rows(table: RequestTable, rows: np.ndarray, arrival_s: np.ndarray) -> RequestTable:
    """The lengths of some rows, in any order, at other times."""
    columns = {name: getattr(table, name) for name in NAMES}
    return RequestTable(arrival_s, **{name: column[rows] for name, column in columns.items() if column is not None})
