"""What options may be: numbers in the digits 0 to 9, with a point and an exponent; times; places; and none for nothing.

Python takes more (``1_000``, ``٣``, ``nan``, blanks), and what it takes is seldom what was meant.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from simlib.checks import InputError, number_in, shown
from simlib.durations import limit_s


def number(text: str) -> float:
    """A finite number: ``0.5``, ``1e-3``."""
    found = number_in(text)
    if found != found or text != text.strip():
        raise argparse.ArgumentTypeError(f"{shown(text)} (expected a number such as 0.5)")
    return found


def integer(text: str) -> int:
    """A whole number: ``1000``, ``1e3``."""
    found = number_in(text)
    if found != found or text != text.strip() or not found.is_integer():
        raise argparse.ArgumentTypeError(f"{shown(text)} (expected a whole number such as 1000)")
    return int(text) if text.lstrip("+-").isdigit() else int(found)


def numbers(text: str) -> list[float]:
    """Numbers with commas between: ``500,0.8``."""
    return [number(part) for part in text.split(",")]


def integers(text: str) -> list[int]:
    """Whole numbers with commas between: ``1,2,4``."""
    return [integer(part) for part in text.split(",")]


def deadline(text: str) -> float:
    """The longest that a request may take, seconds: ``500ms``, or a bare number of seconds."""
    try:
        return limit_s("", text)
    except InputError as problem:
        raise argparse.ArgumentTypeError(str(problem).removeprefix(": ")) from None


def place(text: str) -> Path:
    """The path of a file or folder that is to be written."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} (expected a path)")
    return Path(text)


def check_used(options: argparse.Namespace, why: str, *names: str) -> None:
    """Raise `InputError` on the first of these options that was given though it would be ignored, and say `why`."""
    for name in names:
        if name in options.given:
            raise InputError(f"{name}: given {why}")
