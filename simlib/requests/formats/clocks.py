"""In which unit a clock counts: by its name, its format, the size, the spacing and the fractions of its values.

No unit is guessed: where what speaks for one is thin, or speaks against another, the answer is a sentence that names
the option. What was decided, and why, stands in the account of what was read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from simlib.checks import InputError, check_choice
from simlib.lazy import pd

TICKS_PER_S = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "date": 1e9}
UNITS = ("s", "ms", "us", "ns")
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "date": "dates"}
SUFFIX = re.compile(  # a group for each of the units
    r"(?:_|\b)(?:(s|secs?|seconds)|(ms|msecs?|millis(?:econds)?)|(us|micros(?:econds)?)|(ns|nanos(?:econds)?))[)\]]?$"
)
EPOCH_S = (1e9, 4.2e9)  # since 1970: the years 2001 to 2103
GAP_S = (2e-3, 60.0)  # mean gap of a service with users: at most 500 requests a second, at least one a minute
SLOWEST_GAP_S = 1000.0  # no format's own unit is believed of slower ones
FASTEST_GAP_S = 1e-6  # nor of faster ones, where it is a fine one
FRACTIONS = 0.05  # share of values that are no whole numbers
FEW = 3  # rows that may speak against a format
EXACT = 2**53  # whole numbers that a float holds


@dataclass(frozen=True, slots=True)
class Clock:
    """The unit of a clock, and how it is known.

    Attributes
    ----------
    unit : {"s", "ms", "us", "ns", "date"}
        Dates are read as nanoseconds since 1970.
    why : str
        What it was told by.
    epoch : bool
        Whether it counts from 1970.
    doubt : str
        What speaks against it, for a warning; empty where nothing does.
    """

    unit: str
    why: str
    epoch: bool = False
    doubt: str = ""

    @property
    def ticks_per_s(self) -> float:
        """Ticks in a second."""
        return TICKS_PER_S[self.unit]

    def __str__(self) -> str:
        return f"{NAMES[self.unit]}{' since 1970' if self.epoch else ''} ({self.why})"


def told(place: str, ticks: np.ndarray, convention: str | None, sure: bool, given: str | None = None) -> Clock:
    """The unit of a clock's values.

    Parameters
    ----------
    place : str
        File and column, for messages; a name such as ``arrival_time_ns`` says its unit.
    ticks : ndarray, shape (n_requests,)
        Values of the clock, finite, in any order.
    convention : {"s", "ms", "us", "ns"}, optional
        What the format counts in.
    sure : bool
        Whether nobody else writes the format's columns with another unit.
    given : str, optional
        What the user says; it is taken.

    Raises
    ------
    InputError
        If name, format, size, spacing and fractions speak for different units, or for none; names the option.

    Examples
    --------
    >>> str(told("log.csv, arrival_time", np.array([1.788e12, 1.788e12 + 140.0]), "s", sure=False))
    'milliseconds since 1970 (by their size)'
    >>> str(told("log.jsonl, timestamp", np.array([0.3, 0.9, 1.5, 2.1]), "ms", sure=False))
    'seconds (by spacing and fractions)'
    """
    if given is not None:
        unit = check_choice("time_unit", given, UNITS)
        low, high = (bound * TICKS_PER_S[unit] for bound in EPOCH_S)
        return Clock(unit, "as asked for", bool(((ticks >= low) & (ticks <= high)).all()))
    seen, since = _Seen.of(ticks), _epoch(place, ticks)
    named = _named(place.rpartition(", ")[2])
    if named is not None:
        if since not in (None, named):
            raise _unclear(
                place, seen, f"{ticks[0]:.16g}, {NAMES[named]} by the name, {NAMES[since]} since 1970 by size"
            )
        if _is_absurd(seen, named):
            raise _unclear(place, seen, f"{NAMES[named]} by the name, and not by the spacing")
        return Clock(named, "by its name", since == named)
    if since is not None:
        finer = UNITS[min(UNITS.index(since) + 1, 3)]
        if since != convention and seen.gap_s(since) > GAP_S[1] and seen.fits(finer):
            raise _unclear(place, seen, f"{NAMES[since]} since 1970 by size, {NAMES[finer]} by spacing")
        against = "" if convention in (None, since) else f"the format counts in {NAMES[convention]}"
        return Clock(since, "by their size", True, against)
    if seen.gap is None:  # all at one instant, whatever the unit
        return Clock(convention or "s", "the format's" if convention else "all at one instant")
    if sure and convention is not None:
        if _is_absurd(seen, convention):
            raise _unclear(place, seen, f"the format counts in {NAMES[convention]}")
        return Clock(convention, "the format's")
    return _by_spacing(place, seen, convention)


def exact(given: pd.Series, ticks: np.ndarray) -> np.ndarray:
    """The same values as 64-bit whole numbers, where they are whole and too large for floats to hold each."""
    if not (len(ticks) and ticks.max() > EXACT):
        return ticks
    try:
        return np.array([int(value) for value in given], dtype=np.int64)
    except (ValueError, OverflowError):  # spelled with a point or an exponent, or larger still
        return ticks


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the values of a clock show: mean gap, median of the gaps that are none, rows, and fractions."""

    gap: float | None
    middle: float
    rows: int
    has_fractions: bool

    @classmethod
    def of(cls, ticks: np.ndarray) -> _Seen:
        gaps = np.diff(np.sort(ticks))
        gaps = gaps[gaps > 0].astype(np.float64)
        gap = float(gaps.sum()) / (len(ticks) - 1) if len(gaps) else None
        fractions = bool(len(ticks)) and float(np.mean(ticks != np.floor(ticks))) > FRACTIONS
        return cls(gap, float(np.median(gaps)) if len(gaps) else 0.0, len(ticks), fractions)

    def gap_s(self, unit: str) -> float:
        """Mean gap in seconds, if they count in this unit; what every unit fits, where all are at one instant."""
        return GAP_S[1] if self.gap is None else self.gap / TICKS_PER_S[unit]

    def fits(self, unit: str) -> bool:
        """Whether the mean gap is a service's in this unit."""
        return GAP_S[0] <= self.gap_s(unit) <= GAP_S[1]

    def rates(self, *units: str) -> str:
        """What rates the mean gap would be."""
        if self.gap is None:
            return "all are at one instant"
        rates = {unit: 1 / self.gap_s(unit) for unit in units}
        within = [unit for unit in units if 1e-4 <= rates[unit] <= 1e4] or units
        return ", ".join(f"{rates[unit]:.3g}/s if {NAMES[unit]}" for unit in within)

    def rivals(self, convention: str | None) -> list[str]:
        """The other units that all of this speaks for."""
        # One gap that makes up the span (a clock that is missing, and written as 0) speaks for none.
        return [
            unit for unit in UNITS
            if unit != convention and self.fits(unit) and self.middle / TICKS_PER_S[unit] >= FASTEST_GAP_S
            and not (self.has_fractions and unit != "s")
        ]  # fmt: skip


def _is_absurd(seen: _Seen, unit: str) -> bool:
    """Whether no trace has such gaps in a fine unit; of seconds, whoever uses the trace says when they are too rare."""
    return unit != "s" and seen.rows >= FEW and not FASTEST_GAP_S <= seen.gap_s(unit) <= SLOWEST_GAP_S


def _by_spacing(place: str, seen: _Seen, convention: str | None) -> Clock:
    """The unit of a clock that a format's makers are not alone in writing, or that has no format."""
    rivals = seen.rivals(convention)
    enough = len(rivals) == 1 and seen.rows >= FEW
    if convention is None:
        if enough:
            return Clock(rivals[0], "by spacing and fractions")
        raise _unclear(place, seen, "nothing but the values says what it counts in")
    by = f"the format counts in {NAMES[convention]}"
    gap_s = seen.gap_s(convention)
    slow = gap_s > GAP_S[1]
    if seen.fits(convention):
        # Only seconds and milliseconds are taken for one another so often that one asks.
        rivals = [unit for unit in rivals if {unit, convention} == {"s", "ms"}]
        if not rivals:
            return Clock(convention, "the format's")
        if not seen.has_fractions:
            return Clock(convention, "the format's", doubt=f"{NAMES[rivals[0]]} are possible: {seen.rates(convention)}")
        raise _unclear(place, seen, by)
    if not slow if convention == "s" else slow and gap_s <= SLOWEST_GAP_S:
        return Clock(convention, "the format's", doubt=f"{1 / gap_s:.3g}/s is no usual rate")
    # Too slow for the format's unit, they are finer ticks, which are whole; too fast, coarser ones, which are not.
    if enough and slow != seen.has_fractions:
        return Clock(rivals[0], "by spacing and fractions", doubt=f"{by}: {seen.rates(convention)}")
    raise _unclear(place, seen, by)


def _epoch(place: str, ticks: np.ndarray) -> str | None:
    """The unit in which the values are of our time since 1970; `InputError` where most are and some are not."""
    for unit in UNITS:
        low, high = (bound * TICKS_PER_S[unit] for bound in EPOCH_S)
        inside = (ticks >= low) & (ticks <= high)
        if inside.any() and 2 * inside.sum() > len(ticks):
            if not inside.all():
                source, _, name = place.rpartition(", ")
                row = int(np.argmin(inside))
                where = f"{source}, row {row}, {name}".removeprefix(", ")
                raise InputError(
                    f"{where}: {ticks[row]:.16g} (expected {NAMES[unit]} since 1970, as in most other rows)"
                )
            return unit
    return None


def _named(name: str) -> str | None:
    """The unit that a column's name ends in."""
    found = SUFFIX.search(name.lower())
    return None if found is None else UNITS[found.lastindex - 1]


def _unclear(place: str, seen: _Seen, by: str) -> InputError:
    return InputError(
        f"{place}: {by}; {seen.rates(*UNITS)} (expected the option --time-unit, time_unit= in Python, to say "
        f"which of {', '.join(UNITS)}, as the values do not)"
    )
