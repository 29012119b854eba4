"""File formats of traces and of serving-benchmark logs: from a file to a frame under the request table's names.

Below `traces`, which selects and scales what is read here. A format is the names of its three columns, the unit of its
clock and its labels; the container (CSV, JSON lines or one JSON object of arrays, gzipped or not) is told by its
content. Every cell is checked here, where file, row and column can still be named; rows count from 0, header left out.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import re
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simlib.checks import InputError, check_choice, check_type
from simlib.lazy import pd
from simlib.requests.table import LABELS, MAX_TOKENS, TOKEN_COLUMNS, UNIX_CLOCK_S, number_of

TICKS_PER_S = {"s": 1.0, "ms": 1e3, "date": 1e9}
CLOCKS = {"s": "seconds >= 0", "ms": "milliseconds >= 0", "date": "a date and time such as 2023-11-16 18:15:46.68059"}
DATES = {"format": "ISO8601", "utc": True, "errors": "coerce"}
JSON_STARTS = (b"{", b"[")
GZIP_START = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Format:
    """What a format calls the arrival, the prompt and the output, and in which unit its clock counts.

    Attributes
    ----------
    arrival, prompt, output : str
        Names of the columns (or arrays) that it must have.
    unit : {"s", "ms", "date"}
        Unit of the arrival column.
    labels : mapping of str to str
        The request table's labels, and the names of the columns that hold them; each column may be absent.
    starts_at_0 : bool
        Whether arrivals are shifted so that the first request arrives at 0.
    arrays : bool
        Whether the file is one JSON object of arrays, not one row a request.
    """

    arrival: str
    prompt: str
    output: str
    unit: str = "s"
    labels: Mapping[str, str] = field(default_factory=dict)
    starts_at_0: bool = True
    arrays: bool = False

    @property
    def required(self) -> tuple[str, str, str]:
        """The three columns that make a file this format."""
        return self.arrival, self.prompt, self.output

    @property
    def ticks_per_s(self) -> float:
        """Ticks of the clock in a second; a date's are nanoseconds."""
        return TICKS_PER_S[self.unit]


FORMATS = {
    # Six columns in the first files, eight (Session ID, Elapsed time) in the later ones.
    "burstgpt": Format(
        "Timestamp",
        "Request tokens",
        "Response tokens",
        labels={"client": "Session ID", "model": "Model", "log_type": "Log Type"},
    ),
    "azure": Format("TIMESTAMP", "ContextTokens", "GeneratedTokens", unit="date"),
    "mooncake": Format("timestamp", "input_length", "output_length", unit="ms"),
    "vidur": Format("arrived_at", "num_prefill_tokens", "num_decode_tokens"),
    "vllm_log": Format("arrival_time", "input_toks", "output_toks", labels={"request_id": "request_id"}),
    "vllm_result": Format("start_times", "input_lens", "output_lens", arrays=True),
    # The table's own names: its clock is kept, as it may have been measured from an origin of its own.
    "plain": Format(
        "arrival_s", "prompt_tokens", "output_tokens", labels={name: name for name in LABELS}, starts_at_0=False
    ),
}


@dataclass(frozen=True, slots=True)
class Log:
    """A file that was read and found well formed.

    Attributes
    ----------
    source, format : str
        Name of the file, without its folder; the key of `FORMATS`.
    frame : pandas.DataFrame
        One row a request in the file's order: ``clock`` (in ticks), ``prompt_tokens``, ``output_tokens``, and where
        the file has them the other token columns, labels and ``hash_ids``.
    """

    source: str
    format: str
    frame: pd.DataFrame

    @property
    def layout(self) -> Format:
        """What the file calls its clock, and in which unit it counts."""
        return FORMATS[self.format]

    def seconds(self, clock: np.ndarray) -> np.ndarray:
        """Arrival times in seconds, of some of the frame's rows."""
        # The shift comes before the division: it is exact in the clock's own ticks.
        return (clock - clock[0] if self.layout.starts_at_0 else clock) / self.layout.ticks_per_s


def parse(path: str | os.PathLike[str], format: str = "auto") -> Log:
    """Read a file into a frame under the request table's names, every cell checked.

    Parameters
    ----------
    path : str or path-like
        A CSV, JSON lines or JSON file, gzipped or not (told by content, not by name).
    format : str
        A key of `FORMATS`, or ``"auto"``: the format whose columns the file has.

    Raises
    ------
    InputError
        Naming the file and, where there are any, the row, the column, the value and what was expected.
    """
    check_choice("format", format, ("auto", *FORMATS))
    source, data = _contents(path)
    if data[:1000].lstrip()[:1] in JSON_STARTS:
        records = _records(source, data)
        name = _format_of(source, list(records[0]), format)
        columns = _arrays(source, records) if FORMATS[name].arrays else _transposed(source, records)
    else:
        columns = _csv_columns(source, data, format)
        name = _format_of(source, list(columns), format)
        if FORMATS[name].arrays:
            raise InputError(f"{source}: a CSV (expected a JSON object of arrays; format {name})")
    return Log(source, name, _frame(source, FORMATS[name], columns))


def json_objects(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The objects of a JSON file, gzipped or not: one, an array of them, or one a line; `InputError` as of `parse`."""
    return _records(*_contents(path))


def _contents(path: str | os.PathLike[str]) -> tuple[str, bytes]:
    """The file's name and its bytes, unpacked."""
    check_type("path", path, (str, os.PathLike), "the path of a file")
    file = Path(path)
    # os.path answers False where pathlib raises: a name too long, a folder that may not be entered.
    if not os.path.isfile(file):
        what = "is a folder" if os.path.isdir(file) else "no such file"
        raise InputError(f"{file}: {what} (expected a trace as a CSV or JSON file, gzipped or not)")
    try:
        data = file.read_bytes()
        if data.startswith(GZIP_START):
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{file.name}: broken gzip file ({error}; expected a whole one)") from None
    except OSError as error:
        raise InputError(f"{file.name}: cannot be read ({error.strerror or error})") from None
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise InputError(f"{file.name}: the file is empty (expected a trace)")
    if b"\0" in data:
        raise InputError(f"{file.name}: a binary file (expected CSV or JSON as UTF-8 text, gzipped or not)")
    return file.name, data


def _csv_columns(source: str, data: bytes, format: str) -> dict[str, pd.Series]:
    try:
        header = next(csv.reader([data.partition(b"\n")[0].decode()], skipinitialspace=True))
        # A wrong file is known by its header, and called that before its rows are called broken.
        _format_of(source, header, format)
        doubled = [name for name in header if header.count(name) > 1]
        if doubled:
            raise InputError(f"{source}, {doubled[0]}: {header.count(doubled[0])} columns of that name (expected one)")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(io.BytesIO(data), index_col=False, low_memory=False, skipinitialspace=True)
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{source}: not UTF-8 text (expected CSV or JSON as UTF-8 text, gzipped or not)") from None
    except (ValueError, OverflowError, csv.Error, pd.errors.ParserWarning) as error:
        reason = str(error).strip().splitlines()[0].removeprefix("Error tokenizing data. C error: ")
        raise InputError(f"{source}: not a well-formed CSV ({reason})") from None
    if frame.empty:
        raise InputError(f"{source}: a header and no rows (expected at least 1 row)")
    return {name: frame[name] for name in frame}


def _records(source: str, data: bytes) -> list[dict[str, Any]]:
    """The objects of a JSON file: one, an array of them, or one a line."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InputError(f"{source}: not UTF-8 text (expected CSV or JSON as UTF-8 text, gzipped or not)") from None
    try:
        whole = json.loads(text)
        records = whole if isinstance(whole, list) else [whole]
    except (ValueError, RecursionError):
        records = [_json_line(source, row, line) for row, line in enumerate(filter(str.strip, text.splitlines()))]
    if not records:
        raise InputError(f"{source}: an empty array (expected at least 1 request)")
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            raise InputError(f"{source}, row {row}: {_shown(record)} (expected a JSON object)")
    return records


def _json_line(source: str, row: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"{source}, row {row}: {_shown(line)} (expected a line of JSON)") from None


def _transposed(source: str, records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [record.get(name) for record in records] for name in records[0]}


def _arrays(source: str, records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The arrays of one benchmark's result; start times that were not saved are found where they can be."""
    if len(records) > 1:
        raise InputError(f"{source}: {len(records)} results (expected the result of one benchmark)")
    result, layout = records[0], FORMATS["vllm_result"]
    if result.get(layout.arrival) is None and isinstance(result[layout.prompt], list):
        result = {**result, layout.arrival: _starts_at_once(source, result)}
    for name in (layout.prompt, layout.output, layout.arrival):
        if not isinstance(result.get(name), list):
            raise InputError(f"{source}, {name}: {_shown(result.get(name))} (expected an array, one number a request)")
    return {name: values for name, values in result.items() if isinstance(values, list)}


def _starts_at_once(source: str, result: Mapping[str, Any]) -> list[float]:
    """Start times of a result that has none: all 0 where every request was sent at once, else unknown."""
    rate, limit = result.get("request_rate"), result.get("max_concurrency")
    if rate in ("inf", np.inf) and limit is None:
        return [0.0] * len(result[FORMATS["vllm_result"].prompt])
    raise InputError(
        f"{source}, start_times: missing, and request_rate {_shown(rate)} with max_concurrency {_shown(limit)} does "
        "not say when each request was sent (expected start_times, which vLLM saves since January 2026)"
    )


def _format_of(source: str, names: Sequence[str], format: str) -> str:
    """The format that the columns are of: the given one, or the one with most of its columns there."""
    found = {name: sum(column in names for column in layout.required) for name, layout in FORMATS.items()}
    if format == "auto":
        format = max(found, key=lambda name: found[name])
    layout = FORMATS[format]
    shown = ", ".join(map(_shown, names[:12])) or "none"
    if found[format] < 2:
        known = "; ".join(f"{name}: {', '.join(layout.required)}" for name, layout in FORMATS.items())
        hint = "; a benchmark's result must be saved with --save-detailed" if "request_rate" in names else ""
        raise InputError(f"{source}: columns {shown} (expected those of one of the formats {known}{hint})")
    # A benchmark's start times may be missing: the arrays are told apart later.
    missing = [column for column in layout.required[layout.arrays :] if column not in names]
    if missing:
        raise InputError(f"{source}, {missing[0]}: missing column (found {shown}; expected a {format} file's)")
    return format


def _frame(source: str, layout: Format, columns: Mapping[str, Any]) -> pd.DataFrame:
    """The checked columns, under the request table's names."""
    tokens = {"prompt_tokens": layout.prompt, "output_tokens": layout.output}
    if not layout.starts_at_0:
        tokens |= {name: name for name in TOKEN_COLUMNS if name in columns}
    rows = len(columns[layout.prompt])
    for name in (layout.arrival, *tokens.values()):
        if len(columns[name]) != rows:
            raise InputError(f"{source}, {name}: {len(columns[name])} values (expected {rows}, as in {layout.prompt})")
    if rows == 0:
        raise InputError(f"{source}, {layout.prompt}: no values (expected at least 1 request)")
    frame = {"clock": _clock(source, layout, columns[layout.arrival])}
    frame |= {ours: _tokens(source, theirs, columns[theirs]) for ours, theirs in tokens.items()}
    if "cached_prompt_tokens" in frame:
        over = frame["cached_prompt_tokens"] > frame["prompt_tokens"]
        given = pd.Series(frame["cached_prompt_tokens"])
        _refuse_first(source, "cached_prompt_tokens", given, over, "expected at most the row's prompt_tokens")
    for ours, theirs in layout.labels.items():
        if theirs in columns:
            frame[ours] = _label(source, ours, theirs, columns[theirs])
    if "hash_ids" in columns and layout is FORMATS["mooncake"]:
        frame["hash_ids"] = _hash_ids(source, columns["hash_ids"])
    return pd.DataFrame(frame)


def _clock(source: str, layout: Format, values: Any) -> np.ndarray:
    """The arrival column as ticks of its unit, not yet shifted; dates become whole nanoseconds since 1970."""
    expected = f"expected {CLOCKS[layout.unit]}"
    given = pd.Series(values)
    if layout.unit != "date":
        ticks = _numbers(given)
        _refuse_first(source, layout.arrival, given, ~(np.isfinite(ticks) & (ticks >= 0)), expected)
        if not layout.starts_at_0:
            since_1970 = "expected seconds from the start; this looks like a clock since 1970"
            _refuse_first(source, layout.arrival, given, ticks >= UNIX_CLOCK_S, since_1970)
        return ticks
    # Words such as "now" are dates to pandas, and bare numbers are years.
    dated = given.astype(str).str.match(r"\d{4}-\d\d-\d\d")
    times = pd.to_datetime(given.astype(str).where(dated), **DATES)
    # Whole nanoseconds in 64 bits reach to 2262.
    good = times.notna() & (times.dt.year >= 1970) & (times.dt.year < 2262)
    _refuse_first(source, layout.arrival, given, ~good.to_numpy(), expected)
    return times.dt.as_unit("ns").astype(np.int64).to_numpy()


def _tokens(source: str, column: str, values: Any) -> np.ndarray:
    given = pd.Series(values)
    numbers = _numbers(given)
    bad = ~((numbers >= 0) & (numbers <= MAX_TOKENS) & (numbers == np.floor(numbers)))
    _refuse_first(source, column, given, bad, "expected an integer >= 0")
    return numbers.astype(np.int64)


def _label(source: str, ours: str, theirs: str, values: Any) -> pd.Series:
    given = pd.Series(values)
    absent = given.isna()
    if ours in ("model", "log_type"):
        # Filters read these two, and a row cut short shows as an empty last cell.
        _refuse_first(source, theirs, given, absent.to_numpy(), "expected a name")
        return given.astype(str).astype(object)
    return given.astype(object).where(~absent, "") if absent.any() else given


def _hash_ids(source: str, values: Sequence[Any]) -> pd.Series:
    bad = np.array([not isinstance(ids, list) or any(type(i) not in (int, str) for i in ids) for ids in values])
    _refuse_first(source, "hash_ids", pd.Series(values, dtype=object), bad, "expected an array of block numbers")
    return pd.Series(values, dtype=object)


def _numbers(given: pd.Series) -> np.ndarray:
    """The values as floats, NaN where one is not a number."""
    if given.dtype.kind in "iuf":
        return given.to_numpy(dtype=np.float64)
    return np.array([number_of(value) for value in given], dtype=np.float64)


def _refuse_first(source: str, column: str, given: pd.Series, bad: np.ndarray, expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{source}, row {row}, {column}: {_shown(given.iloc[row])} ({expected})")


def _shown(value: Any) -> str:
    """A value in a message: short, on one line, nothing where there is none."""
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA:
        return "nothing"
    text = repr(value) if isinstance(value, str) else str(value)
    text = re.sub(r"\s+", " ", text)
    return text if len(text) <= 60 else f"{text[:57]}..."
