"""Bad input, refused at the border: one error class, and the checks that name place, value and expectation.

Every public function checks its arguments here before any work starts, so that no later line has to.
"""

from __future__ import annotations

import difflib
import math
import numbers
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

MAX_GPUS = MAX_BINS = 4096  # of a simulation; bins are lines of requests, and so are clients

NEAREST = 3  # names that may be meant, in a message


class InputError(ValueError):
    """Input that cannot be used; the message names the place, the value and what was expected."""


def number_in(text: str) -> float:
    """The finite number that a text writes with the digits 0 to 9, a point and an exponent; NaN where it writes none.

    Python reads more than a person writes: ``1_0``, digits of other scripts, ``infinity``.

    Examples
    --------
    >>> number_in("1e3"), number_in("1_000"), number_in("٣")
    (1000.0, nan, nan)
    """
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def shown(value: Any, say: Callable[[Any], str] = repr) -> str:
    """A value as a message has it: no longer than a line."""
    try:
        text = say(value)
    except ValueError:  # Python writes out no integer of thousands of digits
        return f"an integer of {int(value).bit_length()} bits"
    return text if len(text) <= 100 else f"{text[:97]}…"


def check_number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return `value` as a float if it is a finite number in the range, else raise `InputError`.

    Parameters
    ----------
    name : str
        What the number is, as the user spells it (``d_sla``, ``gpus``).
    value : object
        What was given.
    low, high : float
        Smallest and largest value allowed.
    open_low, open_high : bool
        Whether that bound is itself excluded.

    Raises
    ------
    InputError
        If `value` is not a number (booleans are not), not finite, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputError(f"{name}: {shown(value)} (expected a number{_interval(low, high, open_low, open_high)})")
    number = _as_float(value)
    below = number <= low if open_low else number < low
    above = number >= high if open_high else number > high
    if not math.isfinite(number) or below or above:
        raise InputError(
            f"{name}: {shown(value, str)} (expected a finite number{_interval(low, high, open_low, open_high)})"
        )
    return number


def check_probability(name: str, value: Any) -> float:
    """Return `value` as a float if it is a share in [0, 1], else raise `InputError`."""
    return check_number(name, value, 0.0, 1.0)


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return `value` as an int if it is a whole number in [low, high], else raise `InputError`."""
    wanted = f">= {low}" if high is None else f"from {low} to {high}"
    whole = not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(_as_float(value))
    if not whole or int(value) != value or value < low or (high is not None and value > high):
        raise InputError(f"{name}: {shown(value)} (expected an integer {wanted})")
    return int(value)


def keep(record: Any, **checked: Any) -> None:
    """Put checked values into a frozen record: what was checked is what is used, a float's 2.0 as the integer 2."""
    for name, value in checked.items():
        object.__setattr__(record, name, value)


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Return `value` if it is one of `choices`, else raise `InputError` with those that may be meant."""
    if isinstance(value, str) and value in choices:
        return value
    near = " or ".join(map(repr, nearest(value, choices)[:NEAREST]))
    hint = f"; did you mean {near}?" if near else ""
    raise InputError(f"{name}: {value!r} (expected one of {', '.join(choices)}{hint})")


def nearest(value: Any, choices: Collection[str]) -> list[str]:
    """What a word may mean: the choices with its parts in any order, or that hold it; else the nearest in spelling.

    Parameters
    ----------
    value : object
        What was given; looked at as text, without regard to capitals and to what stands between letters and digits.
    choices : collection of str
        Names, whose order is kept among those that are as near.

    Examples
    --------
    >>> nearest("p99_ttft", ["ttft_p99", "tpot_p99"]), nearest("multibin", ["static_fifo", "multi_bin_fixed"])
    (['ttft_p99'], ['multi_bin_fixed'])
    """
    parts = _parts(value)
    found = [choice for choice in choices if set(parts) == set(_parts(choice))]
    found = found or [choice for choice in choices if set(parts) <= set(_parts(choice))] if parts else []
    if not found and len(word := "".join(parts)) > 2:
        found = [choice for choice in choices if word in "".join(_parts(choice))]
    if found:
        return found
    texts = {str(choice).lower(): choice for choice in choices}
    return [texts[text] for text in difflib.get_close_matches(str(value).lower(), list(texts), n=1)]


def _parts(value: Any) -> list[str]:
    return re.findall("[a-z0-9]+", str(value).lower())


def check_type(name: str, value: Any, kind: type | tuple[type, ...], expected: str) -> Any:
    """Return `value` if it is a `kind`, else raise `InputError` that says what was `expected`."""
    if isinstance(value, type) or not isinstance(value, kind):  # a class has its instances' members, and would pass
        raise InputError(f"{name}: {shown(value)} (expected {expected})")
    return value


def check_path(path: Any) -> Path:
    """Return the path of a file, else raise `InputError`."""
    if not isinstance(path, (str, Path)) or not Path(path).name or "\0" in str(path):
        raise InputError(f"path: {path!r} (expected the path of a file)")
    return Path(path)


def check_format(name: str, found: Any, expected: int) -> None:
    """Raise `InputError` if something stored has not the format that is read here."""
    if found != expected:
        age = "a later" if isinstance(found, int) and found > expected else "an earlier"
        raise InputError(f"{name} of {age} version (format {found!r}; expected {expected})")


def check_frame(name: str, frame: Any, columns: Collection[str]) -> Any:
    """Return `frame` if it is a data frame that has these columns, if any, and a row, else raise `InputError`."""
    import pandas as pd

    check_type(name, frame, pd.DataFrame, "a data frame")
    missing = [column for column in columns if column not in frame]
    if missing:
        raise InputError(f"{name}, {missing[0]}: missing column (found {', '.join(map(str, frame)) or 'none'})")
    if columns and not len(frame):
        raise InputError(f"{name}: no rows (expected at least 1)")
    return frame


def check_each(name: str, values: Any, check: Callable[[Any], Any]) -> list[Any]:
    """Return what `check` makes of each of the values; raise `InputError` if they are none, or no collection."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"{name}: {values!r} (expected several values)")
    checked = [check(value) for value in values]
    if not checked:
        raise InputError(f"{name}: none (expected at least one value)")
    return checked


def _as_float(value: numbers.Real) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf


def _interval(low: float, high: float, open_low: bool, open_high: bool) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f" {'>' if open_low else '>='} {low:g}"
    if math.isinf(low):
        return f" {'<' if open_high else '<='} {high:g}"
    return f" in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
