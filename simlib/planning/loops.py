"""Closed loops that last so long, and how many clients a fleet bears."""

from __future__ import annotations

from collections.abc import Callable

from simlib.checks import InputError, check_number
from simlib.runs.clients import Window
from simlib.runs.run import Run

FIRST, MOST = 16, 2**24  # requests of each client that are tried


def lasting(serve: Callable[[int], Run], duration_s: float) -> tuple[Run, Window]:
    """A run in which all clients are at work for so long, and the time that counts, which ends then.

    Parameters
    ----------
    serve : callable
        Given how many requests each client sends, the run. What a client asks first must not depend on how many follow:
        then no answer before the end does.
    duration_s : float
        From the start, > 0: the last client must have begun.
    """
    duration_s = check_number("duration", duration_s, 0.0, open_low=True)
    requests = FIRST
    while True:
        run = serve(requests)
        window = run.at_work
        if window.start_s >= duration_s:
            raise InputError(f"duration: {duration_s:g} s (expected more: the last begins at {window.start_s:g} s)")
        if window.end_s >= duration_s:
            return run, window._replace(end_s=duration_s)
        if requests >= MOST:
            raise InputError(
                f"duration: {duration_s:g} s (expected less: {requests:,} requests each do not last so long)"
            )
        requests *= 2
