"""Turns of a conversation: the first arrives, each later one waits for the answer before it."""

from __future__ import annotations

import numpy as np

from simlib.lazy import pd
from simlib.requests.formats.clocks import NAMES, TICKS_PER_S
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Log, Rows, refuse_first, seconds


def read_turns(layout: Rows, document: Document, asked: Asked, session: str, delay: str, version: str = "") -> Log:
    """The rows of a document whose later turns may say how long they wait, and not when they arrive.

    Parameters
    ----------
    layout : Rows
        What the rows hold beside.
    document, asked : Document, Asked
        The file, and what the user says about it.
    session, delay : str
        Columns: the conversation, its turns in the order of the file, where a row without one is a conversation of its
        own; and the time from the end of the answer before it, in the unit of the clock.
    version : str
        Which of the format's forms this is.

    Returns
    -------
    Log
        With ``session``, and ``delay_s`` (NaN where a row arrives by the clock, which is NaN where it waits); without a
        clock, if no row has an arrival.

    Raises
    ------
    InputError
        If a conversation's first row has no arrival while others have; a later one has neither arrival nor delay; or as
        `Rows.read`.
    """
    source, present = document.source, document.columns
    names = document.column(session)
    alone = names.isna().to_numpy()
    nameless = ~alone & ~names.map(lambda name: type(name) in (str, int)).to_numpy(dtype=bool)
    refuse_first(source, session, names, nameless, "expected a name or a number")
    numbered = pd.Series([f"({place})" for place in names.index], index=names.index, dtype=object)
    names = names.where(~alone, numbered)
    later = names.duplicated().to_numpy()
    arrives = np.zeros(len(names), dtype=bool)
    if layout.arrival in present:
        arrives = document.column(layout.arrival).notna().to_numpy()
    waits = later & ~arrives
    log = layout.read(document, asked, version, waits=waits if arrives.any() else None)
    unit = log.clock.unit if log.clock else asked.time_unit or layout.unit
    delays = pd.Series(np.where(waits, 0.0, np.nan), index=names.index)
    warnings = []
    if delay in present:
        given = document.column(delay)
        refuse_first(source, delay, given, waits & given.isna(), f"expected a wait, or a {layout.arrival}")
        delays = given.where(waits, None)
        twice = int((later & arrives & given.notna()).sum())
        warnings += [f"{delay}: not used in {twice} rows that have a {layout.arrival} too"] if twice else []
    elif waits.any():
        warnings.append(f"{delay}: in no row, so that each of {int(waits.sum())} turns follows the answer at once")
    columns = {session: "session"}
    columns |= {delay: f"wait after the answer before it, {NAMES[unit]}"} if delay in present else {}
    delay_s = seconds(source, delay, delays, TICKS_PER_S[unit])
    log = log.knowing(columns, session=names.to_numpy(), delay_s=delay_s)
    return log.warned(*warnings)
