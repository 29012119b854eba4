"""The request table's own names; its clock may be in another unit than seconds, if it is named after it.

Turns of conversations are told by ``session_id``; one that waits has no arrival but a ``delay_s`` (``delay_ms``, …, as
the clock), after the answer before it. Or by the table's own ``previous, think_s``, as it writes them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simlib.requests.formats.clocks import UNITS
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import (
    PLAIN_LABELS,
    PLAIN_TOKENS,
    Asked,
    Format,
    Log,
    Rows,
    numbers,
    refuse_first,
    seconds,
)
from simlib.requests.formats.sessions import read_turns

# Its clock is kept, as it may have been measured from an origin of its own.
LAYOUT = Rows(
    "plain", "arrival_s", "prompt_tokens", "output_tokens",
    labels=PLAIN_LABELS, tokens=PLAIN_TOKENS, starts_at_0=False,
)  # fmt: skip


def read(document: Document, asked: Asked) -> Log:
    """The requests, by the first of ``arrival_s, arrival_ms, arrival_us, arrival_ns`` that is there."""
    unit = next((unit for unit in UNITS if f"arrival_{unit}" in document.columns), "s")
    layout, present = replace(LAYOUT, arrival=f"arrival_{unit}", unit=unit), document.columns
    if "session_id" in present and f"delay_{unit}" in present:
        return read_turns(layout, document, asked, "session_id", f"delay_{unit}", "conversations")
    log = layout.read(document, asked)
    if "previous" not in present:
        return log
    given = document.column("previous")
    rows = numbers(given)
    bad = ~((rows >= -1) & (rows < np.arange(len(rows))) & (rows == np.floor(rows)))
    refuse_first(log.source, "previous", given, bad, "expected the number of a row above, from 0, or -1 for none")
    think_s, columns = np.zeros(len(rows)), {"previous": "row whose answer is waited for"}
    if "think_s" in present:
        think_s = np.nan_to_num(seconds(log.source, "think_s", document.column("think_s")))
        columns["think_s"] = "wait after that answer, seconds"
    return log.knowing(columns, previous=rows.astype(np.int64), think_s=np.where(rows < 0, 0.0, think_s))


FORMAT = Format(
    "plain",
    "a request table",
    tuple((f"arrival_{unit}", "prompt_tokens", "output_tokens") for unit in UNITS),
    read,
)
