"""A saved run's file, of any kind: a row a request, and in the metadata what is said of the whole."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simlib.checks import InputError, check_format, check_path
from simlib.requests.table import RequestTable

KEY, FORMAT = b"simlib.run", 2


def write(path: str | Path, table: RequestTable, columns: dict[str, np.ndarray], about: dict[str, Any]) -> Path:
    """Write a run's table, its columns (those shorter than the table are empty below) and what is said of the whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = check_path(path)
    # Of an index of dates or durations Parquet keeps the values alone: their step is said by pandas' name.
    about = {"format": FORMAT, "index_freq": getattr(table.index, "freqstr", None)} | about
    aside = path.with_name(path.name + ".part")
    try:
        stored = pa.Table.from_pandas(table.frame(), preserve_index=True)
        for name, values in columns.items():
            rows = np.arange(len(table)) >= len(values)
            padded = np.append(values, np.zeros(len(rows) - len(values), values.dtype))
            stored = stored.append_column(f"run:{name}", pa.array(padded, mask=rows))
        metadata = {**(stored.schema.metadata or {}), KEY: json.dumps(about).encode()}
        pq.write_table(stored.replace_schema_metadata(metadata), aside)
        os.replace(aside, path)
    except (OSError, ValueError, TypeError, pa.ArrowException) as problem:
        raise InputError(f"{path}: the run cannot be saved ({problem})") from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
    return path


def read(path: str | Path, make: Callable[[RequestTable, dict[str, Any], dict[str, Any]], Any]) -> Any:
    """What `make` makes of a file's table, columns and words; a file of another version is refused."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = check_path(path)
    try:
        stored = pq.read_table(path)
        about = json.loads(stored.schema.metadata[KEY])
        check_format(f"{path}: a run", about.get("format", 1), FORMAT)
        own = [name for name in stored.column_names if name.startswith("run:")]
        columns = {name.removeprefix("run:"): stored[name] for name in own}
        frame = stored.drop_columns(own).to_pandas()
        if about["index_freq"]:
            with contextlib.suppress(AttributeError, ValueError):  # periods know theirs; holidays are in no name
                frame.index.freq = about["index_freq"]
        return make(RequestTable.of(frame), columns, about)
    except InputError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as problem:
        raise InputError(f"{path}: not a saved run ({problem})") from None
