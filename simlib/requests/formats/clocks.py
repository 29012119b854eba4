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
EPOCH_S = (1.5e9, 2.6e9)  # since 1970: the years 2017 to 2052, in which language models were served
GAP_S = (2e-3, 60.0)  # mean gap of a service with users: at most 500 requests a second, at least one a minute
USUAL_GAP_S = (1e-2, 10.0)  # outside of it, another unit whose gap lies inside is looked at
SLOWEST_GAP_S = 1000.0  # since 1970, in the unit of a format that nobody else writes
THINNEST_GAP_S = 1e4  # such a format's seconds, which whoever uses them must scale
LONGEST_S = 1e8  # three years that a machine is up
FASTEST_GAP_S = 1e-6  # nor any unit of faster ones
FRACTIONS = 0.05  # share of values that are no whole numbers
FEW, ENOUGH = 3, 8  # rows whose spacing may speak against a format, and rows of which it says something
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


def told(
    place: str,
    ticks: np.ndarray,
    convention: str | None,
    sure: bool,
    given: str | None = None,
    other: str | None = None,
) -> Clock:
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
    other : str, optional
        What another format counts in that has the same name for its clock.

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
    seen, named = _Seen.of(ticks), _named(place.rpartition(", ")[2])
    own = named or (convention if sure else None)
    since = _epoch(place, ticks, own)
    if named is not None and since not in (None, named):
        raise _unclear(place, seen, f"{ticks[0]:.16g}, {NAMES[named]} by the name, {NAMES[since]} since 1970 by size")
    why = "by its name" if named else "the format's" if convention else "all at one instant"
    if seen.gap is None:  # whatever the unit
        coarse = "all are at one instant: too coarse for their gaps, unless all were sent at once"
        return Clock(since or own or convention or "s", why, since is not None, coarse if seen.rows > 1 else "")
    if since is not None:
        if convention not in (None, since) and seen.rows >= FEW and seen.fits(convention):
            raise _unclear(place, seen, f"the format counts in {NAMES[convention]}, {NAMES[since]} since 1970 by size")
        against = "" if convention in (None, since) else f"the format counts in {NAMES[convention]}"
        return Clock(since, why if named else "by their size", True, against)
    if own is None:
        return _by_spacing(place, seen, convention, other)
    gap_s = seen.gap_s(own)
    if seen.rows < FEW or seen.fits(own) or (own == "s" and gap_s < GAP_S[0]):
        return Clock(own, why)
    if own == "s" and gap_s <= THINNEST_GAP_S and seen.rows >= ENOUGH:
        return Clock(own, why, doubt=f"these are rare rates: {seen.rates('s', 'ms')}")
    by = f"{NAMES[own]} by the name, and not by the spacing" if named else f"the format counts in {NAMES[own]}"
    raise _unclear(place, seen, by)


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
    """What the values of a clock show: mean gap, median of the gaps that are some, largest, rows, and fractions."""

    gap: float | None
    middle: float
    most: float
    rows: int
    has_fractions: bool

    @classmethod
    def of(cls, ticks: np.ndarray) -> _Seen:
        gaps = np.diff(np.sort(ticks))
        gaps = gaps[gaps > 0].astype(np.float64)
        gap = float(gaps.sum()) / (len(ticks) - 1) if len(gaps) else None
        fractions = bool(len(ticks)) and float(np.mean(ticks != np.floor(ticks))) > FRACTIONS
        return cls(
            gap, float(np.median(gaps)) if len(gaps) else 0.0, float(ticks.max(initial=0)), len(ticks), fractions
        )

    def gap_s(self, unit: str) -> float:
        """Mean gap in seconds, if they count in this unit; there must be one."""
        return self.gap / TICKS_PER_S[unit]

    def fits(self, unit: str) -> bool:
        """Whether the mean gap is a service's in this unit, and no clock has run for years without an origin."""
        began_s = self.most / TICKS_PER_S[unit]
        return GAP_S[0] <= self.gap_s(unit) <= GAP_S[1] and (began_s < LONGEST_S or began_s > EPOCH_S[0])

    def is_usual(self, unit: str) -> bool:
        """Whether the mean gap is in the middle of what services have, in this unit."""
        return USUAL_GAP_S[0] <= self.gap_s(unit) <= USUAL_GAP_S[1]

    def rates(self, *units: str) -> str:
        """What rates the mean gap would be."""
        if self.gap is None:
            return "all are at one instant"
        rates = {unit: 1 / self.gap_s(unit) for unit in units}
        within = [unit for unit in units if 1e-4 <= rates[unit] <= 1e4] or units
        return ", ".join(f"{rates[unit]:.3g}/s if {NAMES[unit]}" for unit in within)

    def rivals(self, convention: str | None) -> list[str]:
        """The other units that the spacing speaks for."""
        # One gap that makes up the span (a clock that is missing, and written as 0) speaks for none.
        return [
            unit for unit in UNITS
            if unit != convention and self.fits(unit) and self.middle / TICKS_PER_S[unit] >= FASTEST_GAP_S
        ]  # fmt: skip


def _by_spacing(place: str, seen: _Seen, convention: str | None, other: str | None) -> Clock:
    """The unit of a clock that a format's makers are not alone in writing, or that has no format."""
    rivals = seen.rivals(convention) if seen.rows >= FEW else []
    if convention is None:
        if len(rivals) == 1:
            return Clock(rivals[0], "by spacing and fractions")
        raise _unclear(place, seen, "nothing but the values says what it counts in")
    by = f"the format counts in {NAMES[convention]}"
    fast = seen.gap_s(convention) < GAP_S[0]
    torn = seen.has_fractions and convention != "s" and "s" in rivals
    usual = [unit for unit in rivals if seen.is_usual(unit)]
    if seen.fits(convention) and not torn:
        doubtful = usual and not seen.is_usual(convention)
        # A service of hundreds of requests a second is rarer than a log in another unit than its format's.
        if not doubtful or seen.gap_s(convention) > USUAL_GAP_S[1] or seen.rows < ENOUGH:
            doubt = f"these are unusual rates: {seen.rates(convention, *usual)}" if doubtful else ""
            return Clock(convention, "the format's", doubt=doubt)
    if fast and convention == "s":  # there is no coarser unit
        return Clock(convention, "the format's", doubt=f"{seen.rates('s')} is no usual rate")
    # Too fast for the format's unit, and with fractions, they are seconds; too slow, they may simply be slow.
    fitting = "s" if fast and seen.has_fractions else other if not fast and not seen.has_fractions else None
    if rivals == [fitting]:
        return Clock(fitting, "by spacing and fractions", doubt=f"{by}: {seen.rates(convention)}")
    raise _unclear(place, seen, by)


def _epoch(place: str, ticks: np.ndarray, own: str | None) -> str | None:
    """The unit in which the values are of our time since 1970, at gaps that can be believed of it.

    `InputError` where most are and some are not.
    """
    for unit in UNITS:
        low, high = (bound * TICKS_PER_S[unit] for bound in EPOCH_S)
        inside = (ticks >= low) & (ticks <= high)
        if 2 * inside.sum() <= len(ticks):
            continue
        seen = _Seen.of(ticks[inside])
        if seen.gap is not None and seen.gap_s(unit) > (SLOWEST_GAP_S if unit == own else GAP_S[1]):
            if own is None and seen.gap_s(unit) <= THINNEST_GAP_S:
                raise _unclear(place, seen, f"{NAMES[unit]} since 1970 by size, and not by the spacing")
            return None  # large, and spread over years: a finer clock that began anywhere
        if not inside.all():
            source, _, name = place.rpartition(", ")
            row = int(np.argmin(inside))
            where = f"{source}, row {row}, {name}".removeprefix(", ")
            raise InputError(f"{where}: {ticks[row]:.16g} (expected {NAMES[unit]} since 1970, as in most other rows)")
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
