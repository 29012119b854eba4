"""A saved run's file, of any kind: a row a request, and in the metadata what is said of the whole."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from simlib import writing
from simlib.checks import InputError, check_format, check_path
from simlib.requests.table import RequestTable
from simlib.runs import sealed

# What reading a file may meet that is no saved run, beside Arrow's own errors.
UNREADABLE = (OSError, LookupError, TypeError, ValueError, AttributeError, OverflowError, BadZipFile, zlib.error)
LARGEST = float(np.finfo(np.float64).max)
KEY, FORMAT = b"simlib.run", 4


def write(path: str | Path, table: RequestTable, columns: dict[str, np.ndarray], about: dict[str, Any]) -> Path:
    """Write a run's table, its columns (those shorter than the table are empty below) and what is said of the whole."""
    import pyarrow as pa

    path = check_path(path)
    # Of an index of dates or durations Parquet keeps the values alone: their step is said by pandas' name.
    about = {"format": FORMAT, "index_freq": getattr(table.index, "freqstr", None)} | about
    try:
        stored = pa.Table.from_pandas(table.frame(), preserve_index=True)
        for name, values in columns.items():
            rows = np.arange(len(table)) >= len(values)
            padded = np.append(values, np.zeros(len(rows) - len(values), values.dtype))
            stored = stored.append_column(f"run:{name}", pa.array(padded, mask=rows))
        metadata = {**(stored.schema.metadata or {}), KEY: json.dumps(about).encode()}
        data = sealed.packed(stored.replace_schema_metadata(metadata))
    except (ValueError, TypeError, pa.ArrowException) as problem:
        raise InputError(f"{path}: the run cannot be saved ({problem})") from None
    return writing.write(path, data)


def read(path: str | Path, make: Callable[[RequestTable, dict[str, Any], dict[str, Any]], Any]) -> Any:
    """What `make` makes of a file's table, columns and words; a file of another version is refused."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = check_path(path)
    try:
        data = sealed.contents(path)
        if not sealed.is_whole(data):  # one of another version has no seal, or another one
            about = json.loads(pq.read_schema(pa.BufferReader(data)).metadata[KEY])
            check_format(f"{path}: a run", about.get("format", 1), FORMAT)
        stored = sealed.unpacked(data)
        about = json.loads(stored.schema.metadata[KEY])
        check_format(f"{path}: a run", about.get("format", 1), FORMAT)
        own = [name for name in stored.column_names if name.startswith("run:")]
        columns = {name.removeprefix("run:"): stored[name] for name in own}
        frame = stored.drop_columns(own).to_pandas()
        if about["index_freq"]:
            with contextlib.suppress(AttributeError, ValueError):  # periods know theirs; holidays are in no name
                frame.index.freq = about["index_freq"]
        return make(RequestTable.of(frame), columns, about)
    except sealed.Damaged as problem:
        raise InputError(f"{path}: not a saved run ({problem})") from None
    except InputError:
        raise
    except (*UNREADABLE, pa.ArrowException) as problem:
        raise InputError(f"{path}: not a saved run ({problem})") from None


def checked(name: str, values: np.ndarray, kind: str, low: float, high: float, *, missing: bool = False) -> np.ndarray:
    """The values of a file if they are of a kind (``i`` whole numbers, ``f`` floats) and a range; NaN if `missing`.

    Raises
    ------
    ValueError
        If one is not: `read` says of which file.
    """
    good = (values >= low) & (values <= high)
    if missing:
        good |= np.isnan(values)
    if values.dtype.kind != kind or not good.all():
        found = values[np.argmin(good)] if len(values) else "none"
        raise ValueError(f"{name}: {found} as {values.dtype} (expected {kind}8 from {low:g} to {high:g})")
    return values
