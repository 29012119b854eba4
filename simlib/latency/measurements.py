"""Measured batch times: the CSV that holds them, read and checked, a template of one, and its rows as arrays.

Written by `measure` or by hand; what is read here is fitted by `fit` and interpolated by `interpolated`. A file
opens with lines ``# key: value`` that say what was measured and with what; rows count from 0, these and the column
names left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simlib import reading
from simlib.checks import InputError, check_frame, check_type
from simlib.lazy import pd

POINT = ("batch_size", "prompt_tokens", "output_tokens")
TIMED, PHASES = (*POINT, "total_s"), ("prefill_s", "decode_s")
MAY_BE_ZERO = ("prompt_tokens", "output_tokens", "decode_s")
KEYS = (*POINT, "repetition")
COLUMNS = (*KEYS, *PHASES, "total_s", "status")
OPTIONAL = {"repetition": "0", "prefill_s": None, "decode_s": None, "status": "ok"}
MISSING = ("", "NA", "NaN", "nan", "None", "null")
STATUSES = ("ok", "out_of_memory", "interrupted")
GRID_COLUMNS = ("batch_size", "max_seq_len", "mean_latency_sec")
GRID_EXTRAS = ("std_latency_sec", "num_trials")

# Seconds a token beyond which times are more likely in another unit: output tokens, and tokens of any kind in a grid.
STEP_S = (2e-5, 1.0)
GRID_STEP_S = (5e-7, 0.02)
SLOWEST_STEP_S = 1.0  # beyond it they are not believed, unless the file says so
SUM_TOLERANCE = 0.01  # of total_s against prefill_s + decode_s, relative: rounding
DISAGREEMENT = 10.0  # between times of one grid point, as a ratio

TEMPLATE = """\
# clock: which one, and what it waits for (such as time.perf_counter after device synchronisation)
# device: the accelerator's or processor's name
# power_limit: in watts, or threads: a count
# versions: of framework, driver, library
# model: its name and number of parameters
# dtype: such as bfloat16
# date: 2026-01-31
# batch_size, prompt_tokens, output_tokens: integers >= 1, tokens of each sequence in the batch (padded to the longest)
# repetition: an integer >= 0, optional; each has a row of its own, never a mean of several
# prefill_s: seconds from the start to the first token; leave this and decode_s empty if only the total is known
# decode_s: seconds from the first to the last token
# total_s: seconds, prefill_s + decode_s
# status: ok, out_of_memory or interrupted (the last two without times), optional
# example: the rows below are to be replaced; measure prompts and outputs crossed, not only equal
batch_size,prompt_tokens,output_tokens,repetition,prefill_s,decode_s,total_s,status
1,128,1,0,0.021,0,0.021,ok
1,128,128,0,0.021,1.905,1.926,ok
1,1024,128,0,0.094,1.931,2.025,ok
8,128,128,0,0.089,2.019,2.108,ok
8,1024,128,0,0.701,2.226,2.927,ok
64,1024,128,0,,,,out_of_memory
"""


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured, and with what.

    Attributes
    ----------
    source : str
        The file, for messages.
    header : mapping of str to str
        Its lines ``# key: value``.
    frame : DataFrame
        The rows that have times: `COLUMNS` (times of phases are NaN where only the total is known), or `GRID_COLUMNS`
        for a grid in the original's form. Seconds and tokens; indexed by row of the file.
    failed : DataFrame
        The rows without times (status ``out_of_memory`` or ``interrupted``), in the same columns.
    """

    source: str
    header: Mapping[str, str]
    frame: pd.DataFrame
    failed: pd.DataFrame

    def summary(self) -> pd.DataFrame:
        """One row a grid point: repetitions, median of each time and its spread (largest less smallest), seconds.

        Examples
        --------
        >>> parse(TEMPLATE, "template").summary()[["repetitions", "total_s", "total_spread_s"]].iloc[0].tolist()
        [1.0, 0.021, 0.0]
        """
        times = [name for name in ("prefill_s", "decode_s", "total_s", "mean_latency_sec") if name in self.frame]
        groups = self.frame.groupby([name for name in (*POINT, "max_seq_len") if name in self.frame])
        columns = {"repetitions": groups.size()}
        for name in times:
            spread = "mean_latency_spread_sec" if name == "mean_latency_sec" else name.replace("_s", "_spread_s")
            columns |= {name: groups[name].median(), spread: groups[name].max() - groups[name].min()}
        return pd.DataFrame(columns).reset_index()


def read(path: str | Path) -> Measurements:
    """Read and check a CSV of measurements.

    Parameters
    ----------
    path : str or Path
        A file with the columns of `COLUMNS` (`TEMPLATE` explains them; those of `OPTIONAL` may be absent), or of
        `GRID_COLUMNS`, the original's grid: one mean time for each batch size and largest prompt + output.

    Returns
    -------
    Measurements
        Header lines, rows with times, and rows without.

    Raises
    ------
    InputError
        Naming file, row, column and value: a column is missing, a count is no integer >= 1, a time is not above zero
        (prefill, total) or below it (decode), total is not the sum of its phases; if all batch sizes are equal; or if
        a token takes seconds, and no line ``# unit: s`` says so.

    Warns
    -----
    UserWarning
        On columns that are not read, times that look like another unit, and repetitions that disagree tenfold.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.csv"
    >>> _ = path.write_text(TEMPLATE)
    >>> read(path).failed["status"].tolist()
    ['out_of_memory']
    """
    check_type("latency file", path, (str, Path), "a path")
    return parse(_text(path), str(path))


def read_header(path: str | Path) -> dict[str, str]:
    """The lines ``# key: value`` of a file, without a look at its rows."""
    return _header(_text(path))


def read_rows(path: str | Path) -> pd.DataFrame:
    """All rows of `COLUMNS`, with and without times, each checked; whether they make a grid is not asked.

    A last row without a line's end, of a measurement that was cut off, is left out.
    """
    text = _text(path)
    place = f"latency file {path}"
    return _phases(_rows(text[: text.rfind("\n") + 1], place), place)


def parse(text: str, source: str) -> Measurements:
    """The same as `read`, of a file's text; `source` is its name in messages."""
    place = f"latency file {source}"
    rows = _rows(text, place)
    phases = "mean_latency_sec" not in rows and ("total_s" in rows or "max_seq_len" not in rows)
    frame = _phases(rows, place) if phases else _grid(rows, place)
    timed = frame["status"] == "ok" if phases else pd.Series(True, frame.index)
    kept = frame[timed]
    if kept["batch_size"].nunique() < 2:
        sizes = ", ".join(f"{size:g}" for size in kept["batch_size"].unique()) or "none"
        raise InputError(
            f"{place}: too few batch sizes or lengths (batch_size with times: {sizes}; expected at least 2 of each)"
        )
    _check_units(kept, place, phases, _header(text).get("unit") == "s")
    _warn_of_disagreement(kept, place, phases)
    return Measurements(source, _header(text), kept, frame[~timed])


def _text(path: str | Path) -> str:
    return reading.text(path, "a CSV of measurements", f"latency file {path}")[1]


def _header(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        key, colon, value = line.lstrip("# ").partition(":")
        if colon:
            found[key.strip()] = value.strip()
    return found


def _rows(text: str, place: str) -> pd.DataFrame:
    """All cells as the file spells them."""
    body = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    rows = reading.delimited(place, body.encode(), least=0)
    return rows.where(~rows.isin(MISSING))


def _phases(rows: pd.DataFrame, place: str) -> pd.DataFrame:
    _check_columns(rows, place, [name for name in COLUMNS if name not in OPTIONAL], COLUMNS)
    rows = rows.assign(**{name: rows.get(name, pd.Series(value, rows.index, str)) for name, value in OPTIONAL.items()})
    rows["status"] = rows["status"].fillna("ok")
    _refuse(rows, "status", ~rows["status"].isin(STATUSES), place, f"one of {', '.join(STATUSES)}")
    frame = {name: _counts(rows, name, 0 if name == "repetition" else 1, place) for name in KEYS}
    timed = rows["status"] == "ok"
    times = rows[["prefill_s", "decode_s", "total_s"]].apply(pd.to_numeric, errors="coerce").astype(float)
    for name in times:
        given = rows[name].notna() if name != "total_s" else timed
        late = name != "decode_s"  # the first token takes time; a decode of one token takes none
        good = np.isfinite(times[name]) & ((times[name] > 0) if late else (times[name] >= 0))
        _refuse(rows, name, timed & given & ~good, place, f"seconds {'>' if late else '>='} 0")
        _refuse(rows, name, ~timed & rows[name].notna(), place, "no time beside a status that is not ok")
    both = times[["prefill_s", "decode_s"]].notna()
    for name, other in (("prefill_s", "decode_s"), ("decode_s", "prefill_s")):
        _refuse(rows, name, ~both[name] & both[other], place, f"a time, as {other} has one")
    total = times["prefill_s"] + times["decode_s"]
    off = both.all(axis=1) & ((total - times["total_s"]).abs() > SUM_TOLERANCE * times["total_s"])
    _refuse(rows, "total_s", off, place, "prefill_s + decode_s, all in seconds")
    return pd.DataFrame({**frame, **times, "status": rows["status"]})


def _grid(rows: pd.DataFrame, place: str) -> pd.DataFrame:
    _check_columns(rows, place, GRID_COLUMNS, (*GRID_COLUMNS, *GRID_EXTRAS))
    frame = rows[list(GRID_COLUMNS)].apply(pd.to_numeric, errors="coerce").astype(float)
    for name in GRID_COLUMNS:
        _refuse(rows, name, ~(np.isfinite(frame[name]) & (frame[name] > 0)), place, "a number > 0")
    return frame


def _check_columns(rows: pd.DataFrame, place: str, needed: tuple[str, ...] | list[str], known: tuple[str, ...]) -> None:
    for column in needed:
        if column not in rows:
            raise InputError(
                f"{place}: no column {column} (found {', '.join(map(str, rows))}; expected {', '.join(needed)}; "
                "`simlib calibrate --template` writes an example)"
            )
    extra = [column for column in rows if column not in known]
    if extra:
        warnings.warn(f"{place}: column {', '.join(map(str, extra))} is not read", stacklevel=5)


def _counts(rows: pd.DataFrame, name: str, low: int, place: str) -> pd.Series:
    numbers = pd.to_numeric(rows[name], errors="coerce").astype(float)
    good = np.isfinite(numbers) & (numbers >= low) & (numbers == np.floor(numbers)) & (numbers < 2**53)
    _refuse(rows, name, ~good, place, f"an integer >= {low}")
    return numbers.astype(np.int64)


def _refuse(rows: pd.DataFrame, name: str, bad: pd.Series, place: str, expected: str) -> None:
    if bad.any():
        row = bad.idxmax()
        raise InputError(f"{place}, row {row}, {name}: {rows[name][row]} (expected {expected})")


def _check_units(frame: pd.DataFrame, place: str, phases: bool, sure: bool) -> None:
    """Warn where the median time a token is out of all proportion, naming the row that is nearest to it.

    Refused above `SLOWEST_STEP_S`, unless the header says ``# unit: s``: days of milliseconds would be simulated.
    """
    time, tokens, (low, high) = (
        ("total_s", "output_tokens", STEP_S) if phases else ("mean_latency_sec", "max_seq_len", GRID_STEP_S)
    )
    a_token = frame[time] / frame[tokens]
    if phases and (decoded := frame["decode_s"] > 0).any():
        a_token = (frame["decode_s"] / (frame["output_tokens"] - 1))[decoded]
    middle = a_token.median()
    if low <= middle <= high or (sure and middle > high):
        return
    row = (a_token - middle).abs().idxmin()
    looks = "milliseconds" if middle > high else "kiloseconds"
    expected = f"expected {low:g} to {high:g} s a token"
    seen = f"{frame[time][row]:g} for {tokens} {frame[tokens][row]:g}"
    said = f"{place}, row {row}, {time}: {seen}: seconds look like {looks}"
    if middle > SLOWEST_STEP_S:
        raise InputError(f"{said} ({expected}; a line `# unit: s` at the file's head says that they are seconds)")
    warnings.warn(f"{said} ({expected})", stacklevel=4)


def _warn_of_disagreement(frame: pd.DataFrame, place: str, phases: bool) -> None:
    keys, time = (list(POINT), "total_s") if phases else (["batch_size", "max_seq_len"], "mean_latency_sec")
    for point, times in frame.groupby(keys)[time]:
        if times.max() >= DISAGREEMENT * times.min():
            named = ", ".join(f"{key} {value:g}" for key, value in zip(keys, point, strict=True))
            warnings.warn(
                f"{place}, rows {times.idxmin()} and {times.idxmax()}, {time}: {times.min():g} and {times.max():g} s "
                f"at {named} (expected repetitions within a factor of {DISAGREEMENT:g})",
                stacklevel=4,
            )


class Points(NamedTuple):
    """Measurements as arrays of floats, and the grid point that each one repeats."""

    b: np.ndarray
    p: np.ndarray
    o: np.ndarray
    total_s: np.ndarray
    phases_s: np.ndarray | None  # prefill and decode, shape (n, 2)
    point: np.ndarray

    def rows(self, kept: np.ndarray) -> Points:
        return Points(*(None if column is None else column[kept] for column in self))


def points_of(frame: Any) -> Points:
    """Check measurements and take them as arrays."""
    check_frame("measurements", frame, TIMED)
    phases = [name for name in PHASES if name in frame and frame[name].notna().all()]
    columns = {}
    for name in (*TIMED, *phases):
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(float)
        bad = ~(np.isfinite(values) & (values >= 0 if name in MAY_BE_ZERO else values > 0))
        if bad.any():
            row = int(np.argmax(bad))
            wanted = f"a number {'>=' if name in MAY_BE_ZERO else '>'} 0"
            raise InputError(f"measurements, row {row}, {name}: {frame[name].iloc[row]} (expected {wanted})")
        columns[name] = values
    b, p, o, total_s = (columns[name] for name in TIMED)
    point = pd.MultiIndex.from_arrays([b, p, o])
    point = pd.factorize(point, sort=True)[0]
    both = np.column_stack([columns[name] for name in PHASES]) if len(phases) == 2 else None
    return Points(b, p, o, total_s, both, point)
