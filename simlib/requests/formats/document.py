"""A file taken apart, before anybody knows what it is about: rows of a table, records of JSON, or plain text."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from simlib import reading
from simlib.checks import InputError
from simlib.lazy import pd

JSON_STARTS = (b"{", b"[")
# A line of a scrape: what a metric is, or a metric's value.
METRIC = re.compile(rb"\s*(# (HELP|TYPE) |[A-Za-z_:][\w:]*(\{[^\n]*\})? ([-+]?[.\d]|NaN|[-+]?Inf)\S*( \d+)?\s*\n)")
YAML = re.compile(rb"(---\s*\n|\s*#[^\n]*\n)*[A-Za-z_]\w*:( [^,;\t\n]*)?\r?\n")
# ServeGen's windows of one client have no head.
WINDOWS = ("window_start_s", "rate_req_per_s", "iat_cv", "iat_dist", "param1", "param2")
HEADLESS = re.compile(rb"\d+,[\d.]+,[\d.]*,[A-Z]?[a-z]*,[-+.\de]+,[-+.\de]+\r?\n")
NAMES = re.compile(r"^([A-Za-z_:][\w:]*)[{ ]", re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """What a file holds; a place in it is named by `source`, its row (from 0, heads left out) and its column.

    Attributes
    ----------
    source : str
        Name of the file, without its folder.
    frame : DataFrame, optional
        Cells as the file spells them, of a table with separators.
    records : list of dict, optional
        The objects of a JSON file: one, an array of them, or one a line.
    text : str, optional
        A scrape of metrics.
    places : tuple of str
        What messages call the rows, where these are not simply the file's, counted.
    """

    source: str
    frame: pd.DataFrame | None = None
    records: list[dict[str, Any]] | None = None
    text: str | None = None
    places: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns or metrics, or the keys of all records, in order of their first appearance."""
        if self.text is not None:
            return tuple(dict.fromkeys(NAMES.findall(self.text)))
        if self.records is None:
            return () if self.frame is None else tuple(self.frame)
        return tuple(dict.fromkeys(key for record in self.records for key in record))

    def __len__(self) -> int:
        return len(self.frame if self.frame is not None else self.records or ())

    def column(self, name: str) -> pd.Series:
        """A column's values, in order of rows; missing where a cell is blank, or a record has no such key."""
        if self.frame is not None:
            cells = self.frame[name]
            return cells.where(cells != "", None)
        values = np.empty(len(self), dtype=object)
        values[:] = [record.get(name) for record in self.records or ()]
        return pd.Series(values, index=self.places or None, dtype=object)


def document(path: str | os.PathLike[str]) -> Document:
    """Take a file apart.

    Parameters
    ----------
    path : str or path-like
        A table with commas, tabs or semicolons, JSON, JSON lines, or a scrape of metrics; gzipped, zstd or plain.

    Raises
    ------
    InputError
        If the file cannot be read, or is well-formed as none of these.
    """
    source, data = reading.contents(path, "a trace or a benchmark's result")
    start = data[:1000].lstrip()[:1]
    if YAML.match(data):
        header = data.startswith(b"trace_version:")
        what = "BLIS's header of a trace (expected the table" if header else "YAML (expected the JSON or the table"
        raise InputError(f"{source}: {what} that its writer puts beside it)")
    if METRIC.match(data):
        return Document(source, text=reading.decoded(source, data))
    if start in JSON_STARTS:
        return Document(source, records=reading.json_lines(reading.decoded(source, data), source))
    if HEADLESS.match(data):
        data = ",".join(WINDOWS).encode() + b"\n" + data
    return Document(source, frame=reading.delimited(source, data))
