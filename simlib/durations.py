"""How a limit on a time is written: ``500ms``, ``0.5s``; without a unit it is seconds, as far as that can be meant."""

from __future__ import annotations

import math
import re
from typing import Any

from simlib.checks import InputError, check_number, number_in, shown

# What a unit is, as seconds times and divided by: whole numbers, so that 70ms is 0.07 to the last bit.
UNITS = {"ns": (1, 10**9), "us": (1, 10**6), "µs": (1, 10**6), "μs": (1, 10**6), "ms": (1, 1000)}
UNITS |= {"s": (1, 1), "min": (60, 1), "h": (3600, 1)}
# The largest limit that is believed to be in seconds when nobody says so; some benchmarks write milliseconds.
MOST_S = {"ttft": 60.0, "tpot": 5.0, "latency": 3600.0}
WHAT = {"ttft": "to a first token", "tpot": "a token", "latency": "a request"}


class Seconds(float):
    """Seconds whose unit somebody has said: believed whatever their size."""


def limit_s(name: str, given: Any, metric: str = "latency") -> float:
    """An upper limit in seconds, from text such as ``500ms`` or from a number of seconds.

    Parameters
    ----------
    name : str
        What is limited, as the user spells it.
    given : str or float
        A number without a unit is refused above `MOST_S`, where it is more likely in milliseconds.
    metric : {"ttft", "tpot", "latency"}
        Whose limit it is: of the time to a first token, between two tokens, of a request.

    Raises
    ------
    InputError
        If it is no time > 0, or a number that is more likely in milliseconds.

    Examples
    --------
    >>> limit_s("ttft_p99", "500ms", "ttft"), limit_s("d_sla", 0.5), limit_s("d_sla", "2h")
    (0.5, 0.5, 7200.0)
    """
    given = _read(name, given)
    seconds = check_number(name, given, 0.0, open_low=True)
    if isinstance(given, Seconds):
        return given
    if seconds > MOST_S[metric]:
        bare = f"{seconds:.16g}"
        raise InputError(
            f"{name}: {bare} is {bare} seconds {WHAT[metric]} "
            f"(expected at most {MOST_S[metric]:,.0f} without a unit; write {bare}ms or {bare}s)"
        )
    return seconds


def wait_s(name: str, given: Any) -> float:
    """A time in seconds that may be none, from text such as ``500ms`` or from a number of seconds.

    Raises
    ------
    InputError
        If it is no time >= 0.

    Examples
    --------
    >>> wait_s("think", "2min"), wait_s("think", 0)
    (120.0, 0.0)
    """
    return check_number(name, _read(name, given), 0.0)


def _read(name: str, given: Any) -> Any:
    """A text as seconds, those with a unit as `Seconds`; anything else as it is."""
    if not isinstance(given, str):
        return given
    match = re.fullmatch(r"(.*?)\s*([a-zµμ]*)", given.strip())
    number, unit = (number_in(match[1]), match[2]) if match else (math.nan, "")
    if math.isnan(number) or (unit and unit not in UNITS):
        raise InputError(f"{name}: {shown(given)} (expected a time such as 0.5s, 500ms or 2min; bare: seconds)")
    if not unit:
        return number
    times, by = UNITS[unit]
    return Seconds(number * times / by)
