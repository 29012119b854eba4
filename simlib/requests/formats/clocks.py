"""In which unit a clock counts: by its name, its format, the size, the spacing and the fractions of its values.

No unit is guessed: where what speaks for one is thin, or speaks against another, the answer is a sentence that names
the option. What was decided, and why, stands in the account of what was read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simlib.checks import InputError, check_choice

TICKS_PER_S = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "date": 1e9}
UNITS = ("s", "ms", "us", "ns")
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "date": "dates"}
SUFFIXES = {"_s": "s", "_sec": "s", "_seconds": "s", "_ms": "ms", "_us": "us", "_ns": "ns"}
EPOCH_S = (1e9, 4.2e9)  # since 1970: the years 2001 to 2103
GAP_S = (2e-3, 60.0)  # of a service with users: no more than 500 requests a second, one a minute at least
SHORTEST_GAP_S = 1e-4  # for a format that says which unit it counts in
FRACTIONS = 0.05  # share of values that are no whole numbers


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
    ticks : ndarray of float, shape (n_requests,)
        Values of the clock, finite.
    convention : {"s", "ms", "us", "ns"}, optional
        What the format counts in.
    sure : bool
        Whether nobody else writes the format's columns with another unit.
    given : str, optional
        What the user says; it is taken.

    Raises
    ------
    InputError
        If the values speak against the convention and for no other unit alone, or for none; names the option.

    Examples
    --------
    >>> str(told("log.csv, arrival_time", np.array([1.788e12, 1.788e12 + 140.0]), "s", sure=False))
    'milliseconds since 1970 (by their size)'
    """
    if given is not None:
        unit = check_choice("time_unit", given, UNITS)
        return Clock(unit, "as asked for", _epoch(ticks) == unit)
    name = place.rpartition(", ")[2]
    named = next((unit for end, unit in SUFFIXES.items() if name.endswith(end)), None)
    since = _epoch(ticks)
    if named is not None:
        if since is not None and since != named:
            raise InputError(
                f"{place}: {ticks[0]:.16g} (expected {NAMES[named]}, as the name says; by their size these are "
                f"{NAMES[since]} since 1970; the option --time-unit says which)"
            )
        return Clock(named, "by its name", since == named)
    if since is not None:
        doubt = "" if convention in (None, since) else f"the format counts in {NAMES[convention]}"
        return Clock(since, "by their size", True, doubt)
    gap = _gap(ticks)
    if convention is not None and (gap is None or sure or _fits(convention, gap, ticks, GAP_S)):
        if gap is not None and gap / TICKS_PER_S[convention] < SHORTEST_GAP_S:
            return _only_other(place, gap, ticks, convention)
        return Clock(convention, "the format's")
    if gap is None:
        raise InputError(f"{place}: no unit is known of it (expected the option --time-unit: {', '.join(UNITS)})")
    return _only_other(place, gap, ticks, convention)


def _epoch(ticks: np.ndarray) -> str | None:
    """The unit in which all values are of our time since 1970."""
    for unit in UNITS:
        low, high = (bound * TICKS_PER_S[unit] for bound in EPOCH_S)
        if len(ticks) and ticks.min() >= low and ticks.max() <= high:
            return unit
    return None


def _gap(ticks: np.ndarray) -> float | None:
    span = float(ticks.max() - ticks.min()) if len(ticks) > 1 else 0.0
    return span / (len(ticks) - 1) if span > 0.0 else None


def _fits(unit: str, gap: float, ticks: np.ndarray, between: tuple[float, float]) -> bool:
    """Whether gaps are a service's in this unit, and the values as fine as it asks for."""
    fractions = np.mean(ticks != np.floor(ticks)) > FRACTIONS
    return between[0] <= gap / TICKS_PER_S[unit] <= between[1] and not (fractions and unit != "s")


def _only_other(place: str, gap: float, ticks: np.ndarray, convention: str | None) -> Clock:
    """The one unit other than the convention that the values speak for."""
    others = [unit for unit in UNITS if unit != convention and _fits(unit, gap, ticks, GAP_S)]
    rates = ", ".join(f"{TICKS_PER_S[unit] / gap:.3g}/s if {NAMES[unit]}" for unit in UNITS[:2])
    if len(others) == 1:
        against = (
            f"the format counts in {NAMES[convention]}: {TICKS_PER_S[convention] / gap:.3g}/s" if convention else ""
        )
        return Clock(others[0], "by spacing and fractions", doubt=against)
    raise InputError(
        f"{place}: a mean gap of {gap:.4g} ticks ({rates}: expected the option --time-unit to say "
        f"{', '.join(UNITS)}, as the values do not)"
    )
