"""The request table: what arrives when, how long its prompt and its answer are, and what was predicted.

The workload and trace modules make it, every policy reads it, nobody changes it: a run adds columns of its own.
It is validated once, here, and is a struct of arrays (one row a request, in order of arrival).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer, check_number, check_type, number_in
from simlib.lazy import pd
from simlib.requests.loops.chains import in_order
from simlib.requests.sequences import Sequences

TOKEN_COLUMNS = ("prompt_tokens", "output_tokens", "predicted_output_tokens", "cached_prompt_tokens")
MORE = ("priority", "prefix_group", "prefix_tokens", "previous")
COLUMNS = ("arrival_s", *TOKEN_COLUMNS, *MORE, "think_s", "block_ids", "max_tokens", "cancel_s")
REQUIRED = ("arrival_s", "prompt_tokens", "output_tokens")
LABELS = ("request_id", "client", "model", "log_type")
MAX_TOKENS = 2**31
KEPT = 8
# No clock of a simulated run reaches three years, no trace is thinner than four requests an hour.
UNIX_CLOCK_S, UNIX_CLOCK_MS, SPARSE_GAP_S = 1e8, 1e11, 1000.0


@dataclass(frozen=True, slots=True)
class RequestTable:
    """Requests in order of arrival, as columns of equal length.

    Attributes
    ----------
    arrival_s : ndarray of float, shape (n_requests,)
        Arrival times in seconds, ascending.
    prompt_tokens, output_tokens : ndarray of int, shape (n_requests,)
        Lengths, >= 0. An output of 0 is a failed request, simulated as given.
    predicted_output_tokens : ndarray of int, shape (n_requests,), optional
        Needed by policies that bin or order by predicted length.
    cached_prompt_tokens : ndarray of int, shape (n_requests,), optional
        Prompt tokens already in the prefix cache.
    priority : ndarray of int, shape (n_requests,), optional
        Who is served first where the policy is ``"priority"``: lower ones.
    prefix_group, prefix_tokens : ndarray of int, shape (n_requests,), optional
        Requests of one group have the first tokens of their prompts in common, so many of each.
    block_ids : sequences.Sequences, or a sequence of integers a request, optional
        What each full block of a prompt contains, in the engine's `block_tokens`: integers >= 0. They may go on over
        the blocks that prompt and output fill together: a conversation's next turn finds what was generated, too.
    previous : ndarray of int, shape (n_requests,), optional
        The row whose answer a request waits for, one above its own; -1: none, it arrives at `arrival_s`.
    think_s : ndarray of float, shape (n_requests,), optional
        How long after that answer it is sent, seconds; 0 where there is none. Its `arrival_s` is then the earliest that
        it could arrive, if answers took no time.
    max_tokens : ndarray of int, shape (n_requests,), optional
        Output tokens that a client asks for at most, >= `output_tokens`.
    cancel_s : ndarray of float, shape (n_requests,), optional
        When the client is gone, wherever its request is, seconds, at its arrival or later; NaN: never.
    labels : dict of str to ndarray
        Any of ``request_id, client, model, log_type``, or by other names.
    index : pandas.Index, optional
        The index of the data frame that the table came from.

    Raises
    ------
    InputError
        Naming the column, the first bad row and its value.

    Examples
    --------
    >>> table = RequestTable(arrival_s=[0.0, 0.5], prompt_tokens=[10, 20], output_tokens=[5, 7])
    >>> len(table)
    2
    """

    arrival_s: np.ndarray
    prompt_tokens: np.ndarray
    output_tokens: np.ndarray
    predicted_output_tokens: np.ndarray | None = None
    cached_prompt_tokens: np.ndarray | None = None
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    index: Any = None
    priority: np.ndarray | None = None
    prefix_group: np.ndarray | None = None
    prefix_tokens: np.ndarray | None = None
    block_ids: Sequences | None = None
    previous: np.ndarray | None = None
    think_s: np.ndarray | None = None
    max_tokens: np.ndarray | None = None
    cancel_s: np.ndarray | None = None
    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "arrival_s", _arrivals(self.arrival_s, thinks=self.previous is not None))
        for column in TOKEN_COLUMNS:
            values = getattr(self, column)
            if values is not None or column in REQUIRED:
                put(self, column, token_column(column, values, len(self)))
        for column in MORE:
            if getattr(self, column) is not None:
                put(self, column, _integers(column, getattr(self, column), len(self)))
        self._check_prefixes()
        if self.block_ids is not None:
            put(self, "block_ids", Sequences.of("block_ids", self.block_ids, len(self)))
        self._check_previous()
        if self.max_tokens is not None:
            put(self, "max_tokens", token_column("max_tokens", self.max_tokens, len(self)))
            low = self.max_tokens < self.output_tokens
            _refuse_first("max_tokens", self.max_tokens, low, "expected at least the row's output_tokens")
        if self.cancel_s is not None:
            put(self, "cancel_s", _cancellations(self.cancel_s, self.arrival_s))
        check_type("labels", self.labels, Mapping, "a mapping of name to values")
        put(self, "labels", {name: _one_dimensional(name, values) for name, values in self.labels.items()})
        for name, values in self.labels.items():
            self._check_length(name, values)
        if self.index is not None:
            check_type("index", self.index, Sized, "one label a request")
            self._check_length("index", self.index)
        if self.cached_prompt_tokens is not None:
            _refuse_first(
                "cached_prompt_tokens",
                self.cached_prompt_tokens,
                self.cached_prompt_tokens > self.prompt_tokens,
                "expected at most the row's prompt_tokens",
            )

    def _check_prefixes(self) -> None:
        if (self.prefix_group is None) != (self.prefix_tokens is None):
            missing = "prefix_group" if self.prefix_group is None else "prefix_tokens"
            raise InputError(f"{missing}: missing column (expected both prefix_group and prefix_tokens, or neither)")
        if self.prefix_tokens is not None:
            bad = (self.prefix_tokens < 0) | (self.prefix_tokens > self.prompt_tokens)
            _refuse_first("prefix_tokens", self.prefix_tokens, bad, "expected 0 to the row's prompt_tokens")
            if self.block_ids is not None:
                raise InputError("block_ids: given beside prefix_group (expected one of them: both say what is shared)")

    def _check_previous(self) -> None:
        """Rows that wait for the answer of one above; without a time to think it is 0."""
        if self.previous is None:
            if self.think_s is not None:
                raise InputError("previous: missing column (expected it beside think_s: after which answer that is)")
            return
        bad = (self.previous < -1) | (self.previous >= np.arange(len(self)))
        _refuse_first("previous", self.previous, bad, "expected a row above its own, or -1 for none")
        think_s = (
            np.zeros(len(self))
            if self.think_s is None
            else _numbers("think_s", _one_dimensional("think_s", self.think_s))
        )
        self._check_length("think_s", think_s)
        _refuse_first("think_s", think_s, think_s < 0, "expected seconds >= 0")
        alone = (self.previous < 0) & (think_s > 0)
        _refuse_first("think_s", think_s, alone, "expected 0, as the row waits for no answer")
        object.__setattr__(self, "think_s", think_s)

    def _check_length(self, column: str, values: Any) -> None:
        if len(values) != len(self):
            raise InputError(f"{column}: {len(values)} rows (expected {len(self)}, as in arrival_s)")

    def __len__(self) -> int:
        return len(self.arrival_s)

    @classmethod
    def of(cls, requests: RequestTable | pd.DataFrame | Mapping[str, Any], labels: Sequence[str] = ()) -> RequestTable:
        """Take a table, a data frame or a mapping of columns; of columns that are not the table's only these `labels`.

        Raises
        ------
        InputError
            If a required column is missing or a value is bad (column, row and value named).
        """
        if isinstance(requests, RequestTable):
            return requests
        if not (hasattr(requests, "keys") and hasattr(requests, "__getitem__")):
            raise InputError(f"requests: {type(requests).__name__} (expected a request table or a data frame)")
        names = list(requests.keys())
        missing = [column for column in REQUIRED if column not in names]
        if missing:
            hint = "; arrival_ms must be divided by 1000" if "arrival_ms" in names else ""
            raise InputError(f"{missing[0]}: missing column (found {', '.join(map(str, names)) or 'none'}{hint})")
        own = getattr(requests, "attrs", {}).get("labels", [])  # of a frame that was a table
        named = dict.fromkeys((*LABELS, *(name for name in (*own, *labels) if name not in COLUMNS)))
        twice = [column for column in (*COLUMNS, *named) if names.count(column) > 1]
        if twice:
            raise InputError(f"{twice[0]}: {names.count(twice[0])} columns of that name (expected one)")
        columns = {c: requests[c] for c in COLUMNS if c in names}
        return cls(
            **columns, labels={c: requests[c] for c in named if c in names}, index=getattr(requests, "index", None)
        )

    def kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` makes of this table, made once: a table never changes. The last few are kept, by key."""
        if key not in self._kept:
            if len(self._kept) == KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = make()
        return self._kept[key]

    def frame(self) -> pd.DataFrame:
        """The table as a pandas data frame, with the index that it came with."""
        columns = {c: getattr(self, c) for c in COLUMNS if getattr(self, c) is not None}
        if self.block_ids is not None:
            columns["block_ids"] = self.block_ids.column()
        frame = pd.DataFrame({**self.labels, **columns}, index=self.index)
        frame.attrs["labels"] = [*self.labels]
        return frame

    def head(self, rows: int) -> RequestTable:
        """The first `rows` requests, or all if there are fewer."""
        return self.rows(slice(0, check_integer("rows", rows, 1)))

    def rows(self, which: slice | np.ndarray) -> RequestTable:
        """The requests that a slice, a mask or an ascending array of positions selects.

        Of those that wait for an answer the row is counted anew; one that is not selected is waited for no longer.

        Raises
        ------
        InputError
            If it selects nothing, a row that does not exist, or rows out of order.
        """
        try:
            which = which if isinstance(which, slice) else np.asarray(which)
            selected = np.arange(len(self))[which]
        except (IndexError, TypeError, ValueError):
            selected = None
        if selected is None or selected.ndim != 1 or (np.diff(selected) <= 0).any():
            what = f"expected a slice, {len(self)} booleans, or ascending positions below {len(self)}"
            raise InputError(f"rows: {which!r} ({what})")
        which = selected
        columns = {c: None if getattr(self, c) is None else getattr(self, c)[which] for c in COLUMNS[1:]}
        if self.previous is not None:
            place = np.full(len(self) + 1, -1)  # the last one stands for no row
            place[which] = np.arange(len(which))
            columns["previous"] = place[columns["previous"]]
            columns["think_s"] = np.where(columns["previous"] < 0, 0.0, columns["think_s"])
        return RequestTable(
            arrival_s=self.arrival_s[which],
            labels={name: values[which] for name, values in self.labels.items()},
            index=None if self.index is None else self.index[which],
            **columns,
        )

    @property
    def closed(self) -> bool:
        """Whether any request waits for the answer of another, so that arrivals depend on how they are served."""
        return self.kept("closed", lambda: self.previous is not None and bool((self.previous >= 0).any()))

    def as_arrived(self, rows: np.ndarray, arrival_s: np.ndarray) -> RequestTable:
        """The table in the order in which its requests have arrived.

        Parameters
        ----------
        rows : ndarray of int, shape (n_requests,)
            The row of each in this table, in order of arrival; of those of one instant in this table's order.
        arrival_s : ndarray of float, shape (n_requests,)
            When each row arrived.
        """
        return self._reordered(rows, arrival_s[rows])

    def as_given(self, given_row: np.ndarray) -> RequestTable:
        """The table again that was asked for `as_arrived`; the arrivals of those that wait are new, but in order."""
        rows = np.argsort(given_row)
        return self._reordered(rows, np.maximum.accumulate(np.where(self.previous < 0, self.arrival_s, 0.0)[rows]))

    def _reordered(self, rows: np.ndarray, arrival_s: np.ndarray) -> RequestTable:
        """The requests in another order, with other arrival times."""
        rows = rows.astype(np.intp)  # once, not for each column
        other, place = self._but("arrival_s", arrival_s), np.full(len(rows) + 1, -1)  # the last one stands for no row
        place[rows] = np.arange(len(rows))
        columns = {c: getattr(self, c)[rows] for c in COLUMNS[1:] if getattr(self, c) is not None}
        labels = {name: values[rows] for name, values in self.labels.items()}
        index = rows if self.index is None else self.index[rows]
        columns |= {"previous": place[columns["previous"]], "labels": labels, "index": index}
        for name, values in columns.items():
            object.__setattr__(other, name, values)
        return other

    def with_predictions(self, predicted_output_tokens: np.ndarray | None) -> RequestTable:
        """The same requests with other predictions (integers >= 0, one a request), or without any."""
        column, values = "predicted_output_tokens", predicted_output_tokens
        return self._but(column, None if values is None else token_column(column, values, len(self)))

    def at_rate(self, factor: float) -> RequestTable:
        """The same requests with every arrival time divided by `factor` > 0 (2 doubles the rate).

        Of those that wait for an answer the time to think stays as it is, so that rows may change places.
        """
        check_number("factor", factor, 0.0, open_low=True)
        if self.closed:
            order, arrival_s, _ = in_order(self.arrival_s / factor, self.previous, self.think_s)
            return self._reordered(order, arrival_s)
        other = self._but("arrival_s", _arrivals(self.arrival_s / factor))
        if self.cancel_s is not None:  # a client is no more patient than before
            other = other._but("cancel_s", other.arrival_s + (self.cancel_s - self.arrival_s))
        return other

    def sent_later(self, way_s: float) -> RequestTable:
        """The same requests by the clock of a queue that is `way_s` late, as far from its clients as they are from it.

        By that clock each arrives when it is sent; only who waits for an answer comes so much later after it.
        """
        if not way_s or not self.closed:
            return self
        return self._but("think_s", self.think_s + np.where(self.previous < 0, 0.0, way_s))

    def _but(self, column: str, values: np.ndarray | None) -> RequestTable:
        """The same table with one column, checked already, in the place of another: the rest is shared."""
        other = copy.copy(self)
        object.__setattr__(other, column, values)
        object.__setattr__(other, "_kept", {})
        return other


def _arrivals(given: Any, thinks: bool = False) -> np.ndarray:
    """A column of times; somebody who thinks may do so for hours, so that wide gaps say nothing of the unit."""
    values = _one_dimensional("arrival_s", given)
    if len(values) == 0:
        raise InputError("arrival_s: the table has no rows (expected at least 1)")
    if values.dtype.kind == "M" or (values.dtype.kind in "OUS" and _is_date(values[0])):
        raise InputError(f"arrival_s, row 0: {values[0]} (expected seconds, this is a date)")
    times = _numbers("arrival_s", values)
    _refuse_first("arrival_s", times, times < 0, "expected seconds >= 0")
    if times[-1] >= UNIX_CLOCK_S:
        unit = "milliseconds" if times[-1] >= UNIX_CLOCK_MS else "seconds"
        what = f"expected seconds from the start; this looks like a clock in {unit} since 1970"
        raise InputError(f"arrival_s, row {len(times) - 1}: {times[-1]:.16g} ({what})")
    falls = np.zeros(len(times), dtype=bool)
    falls[1:] = times[1:] < times[:-1]
    _refuse_first("arrival_s", times, falls, "expected times in ascending order")
    if not thinks and len(times) >= 10 and (times[-1] - times[0]) / (len(times) - 1) >= SPARSE_GAP_S:
        gap = (times[-1] - times[0]) / (len(times) - 1)
        raise InputError(f"arrival_s: mean gap {gap:.6g} s (expected seconds; these look like milliseconds)")
    return times


def token_column(column: str, given: Any, rows: int, *, copy: bool = True) -> np.ndarray:
    """A column of lengths by the table's rules, or `InputError`; whoever only reads it needs no `copy`."""
    values = _one_dimensional(column, given)
    if len(values) != rows:
        raise InputError(f"{column}: {len(values)} rows (expected {rows}, as in arrival_s)")
    if values.dtype.kind in "iu" and len(values) and values.min() >= 0 and values.max() <= MAX_TOKENS:
        # The common case: nothing to look for row by row.
        return np.array(values, dtype=np.int64) if copy else np.asarray(values, dtype=np.int64)
    numbers = _numbers(column, values)
    bad = (numbers < 0) | (numbers != np.floor(numbers)) | (numbers > MAX_TOKENS)
    _refuse_first(column, numbers, bad, "expected an integer >= 0")
    return np.ascontiguousarray(numbers, dtype=np.int64)


def _cancellations(given: Any, arrival_s: np.ndarray) -> np.ndarray:
    values = _one_dimensional("cancel_s", given)
    if len(values) != len(arrival_s):
        raise InputError(f"cancel_s: {len(values)} rows (expected {len(arrival_s)}, as in arrival_s)")
    times = np.array([np.nan if value is None else number_of(value) for value in values], dtype=np.float64)
    bad = np.isinf(times) | (times < arrival_s)
    _refuse_first("cancel_s", times, bad, "expected seconds at the row's arrival_s or later, or NaN for never")
    return times


def _integers(column: str, given: Any, rows: int) -> np.ndarray:
    values = _one_dimensional(column, given)
    if len(values) != rows:
        raise InputError(f"{column}: {len(values)} rows (expected {rows}, as in arrival_s)")
    numbers = _numbers(column, values)
    bad = (numbers != np.floor(numbers)) | (abs(numbers) > MAX_TOKENS)
    _refuse_first(column, numbers, bad, "expected an integer")
    return numbers.astype(np.int64)


def _one_dimensional(column: str, given: Any) -> np.ndarray:
    try:
        values = np.asarray(given)
    except ValueError:
        raise InputError(f"{column}: rows of unequal length (expected one value a request)") from None
    if values.ndim != 1:
        raise InputError(f"{column}: {values.ndim} dimensions (expected one value a request)")
    return values


def _numbers(column: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iuf":
        numbers = np.array(values, dtype=np.float64)  # its own copy: nobody changes a table from outside
    else:
        numbers = np.array([number_of(value) for value in values], dtype=np.float64)
    bad = ~np.isfinite(numbers)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{column}, row {row}: {values[row]} (expected a finite number)")
    return numbers


def number_of(value: Any) -> float:
    """A cell as a float; NaN where it is no number (`checks.number_in`)."""
    if isinstance(value, str):
        return number_in(value)
    if isinstance(value, (bool, np.bool_, complex, np.complexfloating)):  # numpy's complex numbers would lose a part
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def _is_date(value: Any) -> bool:
    if hasattr(value, "isoformat"):
        return True
    try:
        np.datetime64(str(value).strip().replace("/", "-")[:19].replace(" ", "T"))
    except ValueError:
        return False
    return any(mark in str(value).strip()[1:] for mark in "-/")  # a leading one is a sign


def _refuse_first(column: str, values: np.ndarray, bad: np.ndarray, expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{column}, row {row}: {values[row]:.16g} ({expected})")
