"""A column of sequences of whole numbers, in two arrays: all of them one after the other, and where each begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from simlib.checks import InputError, shown
from simlib.lazy import pd

NONE = np.zeros(0, np.int32)
EXPECTED = "expected a sequence of integers from 0 to 2**63 - 1"


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """As many sequences as there are rows, of any length; one row is an array, several are a column again.

    Attributes
    ----------
    first : ndarray of int, shape (n_rows + 1,)
        Where each row begins in `flat`, and where the last one ends.
    flat : ndarray of int32 or int64
        The numbers, >= 0.

    Examples
    --------
    >>> column = Sequences.of("block_ids", [[7, 8], [], "[7]"], 3)
    >>> column.first.tolist(), column.flat.tolist(), column[0].tolist()
    ([0, 2, 2, 3], [7, 8, 7], [7, 8])
    """

    first: np.ndarray
    flat: np.ndarray

    @classmethod
    def of(cls, name: str, given: Any, rows: int) -> Sequences:
        """Take a column: one of these, or a list, an array or a text such as ``[7, 8]`` a row.

        Raises
        ------
        InputError
            If there are not so many rows, or one is no sequence of integers >= 0 (the first is named).
        """
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise InputError(f"{name}: {shown(given)} (expected a sequence of integers a request)")
        found = given if isinstance(given, Sequences) else cls._joined(name, list(given))
        if len(found) != rows:
            raise InputError(f"{name}: {len(found)} rows (expected {rows}, as in arrival_s)")
        return found

    @classmethod
    def _joined(cls, name: str, values: list[Any]) -> Sequences:
        arrays = [_array(value) for value in values]
        bad = [row for row, array in enumerate(arrays) if array is None]
        flat = NONE if bad else np.concatenate([NONE, *arrays])
        if flat.min(initial=0) < 0:
            bad = [row for row, array in enumerate(arrays) if array.min(initial=0) < 0]
        if bad:
            raise InputError(f"{name}, row {bad[0]}: {shown(values[bad[0]])} ({EXPECTED})")
        lengths = np.fromiter(map(len, arrays), np.int64, len(arrays))
        return cls(np.append(0, np.cumsum(lengths)), narrow(flat))

    def __len__(self) -> int:
        return len(self.first) - 1

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, int | np.integer):
            row = range(len(self))[which]
            return self.flat[self.first[row] : self.first[row + 1]]
        rows = np.arange(len(self))[which]
        starts, lengths = self.first[rows], self.lengths[rows]
        if len(rows) and (np.diff(rows) == 1).all():  # next to each other: nothing is copied
            return Sequences(np.append(0, np.cumsum(lengths)), self.flat[starts[0] : starts[0] + lengths.sum()])
        return self._parts(starts, lengths)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        """How many numbers each row has."""
        return np.diff(self.first)

    def _parts(self, starts: np.ndarray, lengths: np.ndarray) -> Sequences:
        first = np.append(0, np.cumsum(lengths))
        return Sequences(first, self.flat[np.repeat(starts - first[:-1], lengths) + np.arange(first[-1])])

    def chained(self) -> Sequences:
        """Numbers from 0 that differ where anything before them in a row does, as an engine's hashes of blocks.

        Examples
        --------
        >>> Sequences.of("block_ids", [[7, 8, 9], [6, 8], [7, 8]], 3).chained().flat.tolist()
        [1, 3, 4, 0, 2, 1, 3]
        """
        codes = _codes(self.flat)
        before, one = np.append(codes[:1], codes[:-1]), np.empty(codes.max(initial=-1) + 1, codes.dtype)
        before[self.first[:-1][self.lengths > 0]] = -1
        one[codes] = before
        if (one[codes] == before).all():  # each number has always the same before it, as an engine's own
            return Sequences(self.first, codes.astype(np.int64))
        found, parent, known = np.empty(len(self.flat), np.int64), np.full(len(self), -1), 0
        rows, place = np.flatnonzero(self.lengths), 0
        while len(rows):
            here = self.first[rows] + place
            order = np.lexsort((self.flat[here], parent[rows]))
            rows, here = rows[order], here[order]
            new = np.append(True, (np.diff(self.flat[here]) != 0) | (np.diff(parent[rows]) != 0))
            parent[rows] = found[here] = known + np.cumsum(new) - 1
            known += int(new.sum())
            place += 1
            rows = rows[self.first[rows] + place < self.first[rows + 1]]
        return Sequences(self.first, found)

    def column(self) -> np.ndarray:
        """The rows as a data frame has them: an array of arrays, which are parts of `flat`."""
        found = np.empty(len(self), object)
        for row, numbers in enumerate(self):
            found[row] = numbers
        return found


def narrow(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers >= 0 in half the memory, where they are small enough."""
    return numbers.astype(np.int32 if numbers.max(initial=0) < 2**31 else np.int64, copy=False)


def _codes(numbers: np.ndarray) -> np.ndarray:
    """Numbers from 0 in the place of others."""
    most = numbers.max(initial=-1) + 1
    if most > 4 * len(numbers):
        return pd.factorize(numbers)[0]
    seen = np.zeros(most, bool)
    seen[numbers] = True
    return narrow(np.cumsum(seen) - 1)[numbers]


def _array(value: Any) -> np.ndarray | None:
    """A row as whole numbers; None where it is something else."""
    if isinstance(value, str):
        words = value.strip().removeprefix("[").removesuffix("]").replace(",", " ").split()
        value = [int(word) for word in words if word.isdecimal() and word.isascii() and len(word) < 20]
        value = value if len(value) == len(words) else None
    try:
        found = np.asarray(value if len(value) else NONE)
    except (TypeError, ValueError):
        return None
    if found.ndim != 1 or found.dtype.kind not in "iu" or (found.dtype == np.uint64 and found.max() >= 2**63):
        return None
    return found.astype(np.int64, copy=False) if found.dtype.kind == "u" else found
