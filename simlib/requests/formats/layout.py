"""What is understood of a file, and the reader of all formats that are rows with columns.

Every cell is checked here, where file, row and column can still be named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_type
from simlib.lazy import pd
from simlib.requests.formats.blocks import check_counts, tokens_of
from simlib.requests.formats.clocks import NAMES, TICKS_PER_S, UNITS, Clock, exact, told
from simlib.requests.formats.document import Document
from simlib.requests.table import LABELS, MAX_TOKENS, TOKEN_COLUMNS, UNIX_CLOCK_S, number_of
from simlib.text import of_cell

DATES = {"format": "ISO8601", "utc": True, "errors": "coerce"}
NUMERAL = re.compile(r"[-+]?[.\d]|[-+]?(nan|inf)", re.IGNORECASE)  # a table's cell that is meant as a number
LONGEST_TICKS = 1e18  # of a measured time: thirty years in nanoseconds
TIMES = ("ttft_s", "itl_s", "tpot_s", "latency_s")  # what a result measured of a request
OWN = ("clock", "hash_ids", "failed", "moved", "session", "delay_s", "run", "pieces", *TIMES)  # a log's own columns


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user says about a file, where the file does not: see `traces.read`."""

    time_unit: str | None = None
    block_tokens: int | None = None
    run: int | None = None
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in check_type("labels", self.labels, (list, tuple), "names of columns"):
            check_type("labels", name, str, "a column's name")
        if self.time_unit is not None:
            check_choice("time_unit", self.time_unit, UNITS)
        for name, low in (("block_tokens", 1), ("run", 0)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_integer(name, getattr(self, name), low))


@dataclass(frozen=True, slots=True)
class Log:
    """A file that was read and found well formed.

    Attributes
    ----------
    source, format, version : str
        Name of the file, without its folder; key of `known.FORMATS`; which of its forms, empty where there is one.
    frame : DataFrame
        One row a request in the file's order. ``prompt_tokens``, ``output_tokens``; ``clock`` in ticks, where the file
        says when requests came; the other token columns and labels of a request table; ``hash_ids``; ``ttft_s``,
        ``itl_s`` (arrays of gaps between tokens), ``tpot_s`` (their mean, where single gaps are not known),
        ``latency_s``; ``pieces``, names of what a prompt contains (`results.contents`); ``failed``; ``session`` and
        ``delay_s`` of a turn that waits for the one before it; ``run``, the number of the load in `runs`, where there
        are several.
    columns : mapping of str to str
        The file's columns that were read, and what each was taken for.
    clock : Clock, optional
        Unit of ``clock``.
    arrival : str
        The file's name of the clock.
    starts_at_0 : bool
        Whether the first request is taken to arrive at 0.
    block_tokens : int, optional
        Tokens of a block of ``hash_ids``.
    unused : tuple of str
        Columns that were not read.
    warnings : tuple of str
        What a user should know before she believes the rest.
    starts : str
        How it is known when requests came.
    dropped : mapping of str to int
        Rows that are not among those of the frame, by what they are.
    runs : tuple of str
        What the loads are called that were read, where a file has several; each has a clock of its own.
    """

    source: str
    format: str
    frame: pd.DataFrame
    columns: Mapping[str, str]
    clock: Clock | None = None
    arrival: str = ""
    version: str = ""
    starts_at_0: bool = True
    block_tokens: int | None = None
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    starts: str = "recorded"
    dropped: Mapping[str, int] = field(default_factory=dict)
    runs: tuple[str, ...] = ()

    @property
    def several(self) -> str:
        """Why these are not the requests of one load; empty where they are."""
        if len(self.runs) < 2:
            return ""
        return f"{self.source}: {len(self.runs)} loads in one file ({listed(self.runs)}; expected the option --run)"

    def knowing(self, columns: Mapping[str, str], block_tokens: int | None = None, **values: Any) -> Log:
        """The same with more of its columns understood: what each was taken for, and columns of the frame."""
        unused = tuple(name for name in self.unused if name not in columns)
        frame, size = self.frame.assign(**values), block_tokens or self.block_tokens
        return replace(self, frame=frame, columns={**self.columns, **columns}, unused=unused, block_tokens=size)

    def warned(self, *warnings: str) -> Log:
        """The same with more to know before its numbers are believed."""
        return replace(self, warnings=(*self.warnings, *warnings))

    def seconds(self, ticks: np.ndarray) -> np.ndarray:
        """Arrival times in seconds, of some of the frame's rows."""
        # The shift comes before the division: it is exact in the clock's own ticks.
        return (ticks - ticks[0] if self.starts_at_0 else ticks) / (self.clock.ticks_per_s if self.clock else 1.0)


def chosen_runs(source: str, names: Sequence[str], run: int | None) -> list[int]:
    """Which of a file's loads are read: the one that is asked for, counted from 0, or all."""
    if run is None:
        return list(range(len(names)))
    if run not in range(len(names)):
        raise InputError(f"run: {run} (expected one of the {len(names)} in {source}, {listed(names)})")
    return [run]


def listed(names: Sequence[str]) -> str:
    """Loads with their numbers, as far as a line has room."""
    return "; ".join(f"{number}: {name}" for number, name in enumerate(names[:8])) + ("; …" if len(names) > 8 else "")


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file: how it is known, and how it is read.

    Attributes
    ----------
    name, about : str
        Its key, and what writes it, in a line.
    marks : tuple of tuples of str
        Columns (keys) that make a file this format; any one of the sets, all of its names.
    read : callable
        From a `Document` and what is `Asked` to a `Log`; raises `InputError`.
    """

    name: str
    about: str
    marks: tuple[tuple[str, ...], ...]
    read: Callable[[Document, Asked], Log]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a format of rows calls the arrival, the prompt and the output, and in which unit its clock counts.

    Attributes
    ----------
    format : str
        Key of the format.
    arrival, prompt, output : str
        Names of the columns; the arrival may be absent where `may_lack_arrivals`.
    unit : {"s", "ms", "us", "ns", "date"}
        What its clock counts in, by its makers.
    sure : bool
        Whether nobody else writes these columns with another unit.
    other_unit : str, optional
        What another format counts in that has the same name for its clock.
    labels : mapping of str to str
        The request table's labels, and the names of the columns that hold them; each column may be absent.
    tokens, times_s : mapping of str to str
        Other token columns of the table, and measured times in seconds (`TIMES`), likewise.
    starts_at_0 : bool
        Whether arrivals are shifted so that the first request arrives at 0.
    hashes : str, optional
        The column of block names, and the usual tokens of a block.
    """

    format: str
    arrival: str
    prompt: str
    output: str
    unit: str = "s"
    sure: bool = True
    other_unit: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)
    times_s: Mapping[str, str] = field(default_factory=dict)
    starts_at_0: bool = True
    hashes: str | None = None
    block_tokens: int | None = None
    may_lack_arrivals: bool = False

    def read(
        self,
        document: Document,
        asked: Asked,
        version: str = "",
        warnings: Iterable[str] = (),
        waits: np.ndarray | None = None,
    ) -> Log:
        """The rows of a document, every cell checked; `InputError` names file, row, column and value.

        `waits` marks the rows that arrive after an answer, and whose arrival is in no file.
        """
        source, present = document.source, document.columns
        tokens = {"prompt_tokens": self.prompt, "output_tokens": self.output}
        tokens |= {ours: theirs for ours, theirs in self.tokens.items() if theirs in present}
        frame, columns, clock, warned = {}, {}, None, list(warnings)
        for name in tokens.values():
            check_column(document, name, self.format)
        if self.arrival in present or not self.may_lack_arrivals:
            check_column(document, self.arrival, self.format)
            frame["clock"], clock = self._clock(document, asked, waits)
            columns[self.arrival] = f"arrival, {clock}"
            warned += [f"{self.arrival}: taken for {clock}, though {clock.doubt}"] if clock.doubt else []
        for ours, theirs in tokens.items():
            frame[ours] = token_counts(source, theirs, document.column(theirs))
            columns[theirs] = ours.replace("_tokens", ", tokens").replace("_", " ")
        if "cached_prompt_tokens" in frame:
            over = frame["cached_prompt_tokens"] > frame["prompt_tokens"]
            theirs = tokens["cached_prompt_tokens"]
            refuse_first(source, theirs, document.column(theirs), over, "expected at most the row's prompt tokens")
        # A label of the user's own is called as the file calls it.
        more = {name: name for name in asked.labels if name in present and name not in (*frame, *OWN)}
        for ours, theirs in {**more, **self.labels}.items():
            if theirs in present:
                given = document.column(theirs)
                frame[ours], absent = label(source, ours, theirs, given), int(given.isna().sum())
                none = f"none in {absent:,} of {len(given):,} rows" if absent else ""
                columns[theirs] = f"{ours}, {none}" if none else ours
                # A table's blank cell was meant, a record's missing key may not be.
                warned += [f"{theirs}: {none}"] if none and document.records and absent < len(given) else []
        for ours, theirs in self.times_s.items():
            if theirs in present:
                frame[ours] = seconds(source, theirs, document.column(theirs))
                columns[theirs] = f"{ours.removesuffix('_s')}, seconds"
        block_tokens = None
        if self.hashes in present:
            frame["hash_ids"] = hash_ids(source, self.hashes, document.column(self.hashes))
            counts = np.array([len(ids) for ids in frame["hash_ids"]])
            if asked.block_tokens is None:
                block_tokens = tokens_of(source, counts, frame["prompt_tokens"], self.block_tokens)
            else:
                block_tokens = asked.block_tokens
                check_counts(source, counts, frame["prompt_tokens"], block_tokens)
            twice = sum(len(set(ids)) < len(ids) for ids in frame["hash_ids"])
            again = f"{self.hashes}: {twice:,} prompts name a block twice (equal names are of equal prefixes)"
            warned += [again] if twice else []
            columns[self.hashes] = f"blocks of the prompt, {block_tokens} tokens each"
        unused = tuple(name for name in present if name not in columns)
        starts_at_0 = self.starts_at_0 or (clock is not None and clock.epoch)
        return Log(
            source, self.format, pd.DataFrame(frame), columns, clock, self.arrival, version, starts_at_0,
            block_tokens, unused, tuple(warned),
        )  # fmt: skip

    def _clock(self, document: Document, asked: Asked, waits: np.ndarray | None) -> tuple[np.ndarray, Clock]:
        """The arrival column as ticks of its unit, not yet shifted; dates become whole nanoseconds since 1970."""
        source, given = document.source, document.column(self.arrival)
        if self.unit == "date":
            return dates(source, self.arrival, given), Clock("date", "the format's", True)
        if waits is not None:
            given = given[~waits]
        ticks = numbers(given)
        wanted = f"expected {NAMES[self.unit]} >= 0"
        refuse_first(source, self.arrival, given, ~(np.isfinite(ticks) & (ticks >= 0)), wanted)
        if not self.starts_at_0 and asked.time_unit is None:
            since_1970 = (
                f"expected {NAMES[self.unit]} from the start; this looks like a clock since 1970, which the option "
                "--time-unit, time_unit= in Python, takes"
            )
            refuse_first(source, self.arrival, given, ticks >= UNIX_CLOCK_S * TICKS_PER_S[self.unit], since_1970)
        ticks = exact(given, ticks)
        clock = told(f"{source}, {self.arrival}", ticks, self.unit, self.sure, asked.time_unit, self.other_unit)
        if waits is not None:
            ticks, known = np.full(len(waits), np.nan), ticks
            ticks[~waits] = known
        return ticks, clock


def check_column(document: Document, name: str, format: str) -> None:
    """Refuse a document without this column; a key that some records lack is refused where its values are read."""
    if name not in document.columns:
        found = ", ".join(map(shown, document.columns[:12])) or "none"
        raise InputError(f"{document.source}, {name}: missing column (found {found}; expected a {format} file's)")


def dates(source: str, column: str, given: pd.Series) -> np.ndarray:
    """Dates and times as whole nanoseconds since 1970."""
    expected = "expected a date and time such as 2023-11-16 18:15:46.68059"
    # Words such as "now" are dates to pandas, and bare numbers are years.
    dated = given.astype(str).str.match(r"\d{4}-\d\d-\d\d")
    times = pd.to_datetime(given.astype(str).where(dated), **DATES)
    # Whole nanoseconds in 64 bits reach to 2262.
    good = times.notna() & (times.dt.year >= 1970) & (times.dt.year < 2262)
    refuse_first(source, column, given, ~good.to_numpy(), expected)
    return times.dt.as_unit("ns").astype(np.int64).to_numpy()


def token_counts(source: str, column: str, given: Any) -> np.ndarray:
    """A column of lengths."""
    given = pd.Series(given)
    found = numbers(given)
    bad = ~((found >= 0) & (found <= MAX_TOKENS) & (found == np.floor(found)))
    refuse_first(source, column, given, bad, "expected an integer >= 0")
    return found.astype(np.int64)


def whole_numbers(source: str, column: str, given: pd.Series) -> np.ndarray:
    """A column of integers."""
    found = numbers(given)
    refuse_first(source, column, given, ~(np.isfinite(found) & (found == np.floor(found))), "expected an integer")
    return found


def seconds(source: str, column: str, given: Any, ticks_per_s: float = 1.0) -> np.ndarray:
    """A column of measured times, >= 0, in seconds; NaN where nothing was measured."""
    given = pd.Series(given)
    found = numbers(given)
    good = given.isna().to_numpy() | ((found >= 0) & (found < LONGEST_TICKS))
    refuse_first(source, column, given, ~good, "expected a time >= 0 or nothing")
    return found / ticks_per_s


def label(source: str, ours: str, theirs: str, given: pd.Series) -> pd.Series:
    """A column of names; nothing is an empty name, but where filters read it."""
    absent = given.isna()
    if ours in ("model", "log_type"):
        # Filters read these two, and a row cut short shows as an empty last cell.
        refuse_first(source, theirs, given, absent.to_numpy(), "expected a name")
        names = given.astype(str).astype(object)
        return names.map(of_cell) if names.str.startswith("'").any() else names
    given = given.astype(object).where(~absent, "") if absent.any() else given
    # What our own tables write for a spreadsheet's sake.
    return given.map(lambda cell: of_cell(cell) if isinstance(cell, str) else cell)


def hash_ids(source: str, column: str, values: pd.Series) -> pd.Series:
    """A column of lists of block names."""
    bad = np.array([not isinstance(ids, list) or any(type(i) not in (int, str) for i in ids) for ids in values])
    refuse_first(source, column, values, bad, "expected an array of block numbers")
    return values


def numbers(given: pd.Series) -> np.ndarray:
    """The values as floats, NaN where one is not a number."""
    if given.dtype.kind in "iuf":
        return given.to_numpy(dtype=np.float64)
    is_text = isinstance(given.iloc[0], str) and all(isinstance(value, str) for value in given)
    found = pd.to_numeric(given, errors="coerce") if is_text else None
    if found is not None and found.notna().all():
        return found.to_numpy(dtype=np.float64)
    return np.array([number_of(value) for value in given], dtype=np.float64)


def refuse_first(source: str, column: str, given: Sequence[Any], bad: np.ndarray, expected: str) -> None:
    """Raise `InputError` at the first bad row, with its value."""
    if bad.any():
        row, values = int(np.argmax(bad)), pd.Series(given)
        raise InputError(f"{source}, row {values.index[row]}, {column}: {shown(values.iloc[row])} ({expected})")


def shown(value: Any) -> str:
    """A value in a message: short, on one line, nothing where there is none."""
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA:
        return "nothing"
    text = repr(value) if isinstance(value, str) and not NUMERAL.match(value) else str(value)
    text = re.sub(r"\s+", " ", text)
    return text if len(text) <= 60 else f"{text[:57]}..."


PLAIN_LABELS = {name: name for name in LABELS}
PLAIN_TOKENS = {name: name for name in TOKEN_COLUMNS[2:]}
