"""The request table's own names; its clock may be in another unit than seconds, if it is named after it.

Turns of conversations are told by ``session_id``; one that waits has no arrival but a ``delay_s`` (``delay_ms``, …, as
the clock), after the answer before it. Or by the table's own ``previous, think_s``, as it writes them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simlib.checks import InputError
from simlib.requests.formats.clocks import UNITS
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import (
    PLAIN_LABELS,
    PLAIN_TOKENS,
    TIMES,
    Asked,
    Format,
    Log,
    Rows,
    check_column,
    numbers,
    refuse_first,
    seconds,
    whole_numbers,
)
from simlib.requests.formats.sessions import read_turns
from simlib.requests.sequences import Sequences

# Its clock is kept, as it may have been measured from an origin of its own.
LAYOUT = Rows(
    "plain", "arrival_s", "prompt_tokens", "output_tokens",
    labels=PLAIN_LABELS, tokens=PLAIN_TOKENS, times_s={name: name for name in TIMES if name != "itl_s"},
    starts_at_0=False,
)  # fmt: skip
TAKEN = {
    "priority": "priority, lower first",
    "prefix_group": "group whose prompts begin alike",
    "prefix_tokens": "prefix that its group shares, tokens",
}
CONTENTS = {"block_ids": "what the blocks of a prompt contain"}
BOTH = {"prefix_group": "prefix_tokens", "prefix_tokens": "prefix_group"}


def read(document: Document, asked: Asked) -> Log:
    """The requests, by the first of ``arrival_s, arrival_ms, arrival_us, arrival_ns`` that is there."""
    unit = next((unit for unit in UNITS if f"arrival_{unit}" in document.columns), "s")
    layout, present = replace(LAYOUT, arrival=f"arrival_{unit}", unit=unit), document.columns
    if "session_id" in present and f"delay_{unit}" in present:
        log = read_turns(layout, document, asked, "session_id", f"delay_{unit}", "conversations")
    else:
        log = _linked(layout.read(document, asked), document)
    source, found = document.source, {}
    for name in TAKEN:
        if name in present:
            check_column(document, BOTH.get(name, name), "plain")
            found[name] = whole_numbers(source, name, document.column(name))
    if "prefix_tokens" in found:
        good = (found["prefix_tokens"] >= 0) & (found["prefix_tokens"] <= log.frame["prompt_tokens"])
        given = document.column("prefix_tokens")
        refuse_first(source, "prefix_tokens", given, ~good.to_numpy(), "expected 0 to the row's prompt_tokens")
    if "block_ids" in present:
        given = document.column("block_ids")
        try:
            found["block_ids"] = Sequences.of("block_ids", given, len(given)).column()
        except InputError as error:
            raise InputError(f"{source}, {error}") from None
    return log.knowing({name: what for name, what in (TAKEN | CONTENTS).items() if name in found}, **found)


def _linked(log: Log, document: Document) -> Log:
    """The same with the rows whose answers are waited for, where a table says so."""
    if "previous" not in document.columns:
        return log
    given = document.column("previous")
    rows = numbers(given)
    bad = ~((rows >= -1) & (rows < np.arange(len(rows))) & (rows == np.floor(rows)))
    refuse_first(log.source, "previous", given, bad, "expected the number of a row above, from 0, or -1 for none")
    think_s, columns = np.zeros(len(rows)), {"previous": "row whose answer is waited for"}
    if "think_s" in document.columns:
        think_s = np.nan_to_num(seconds(log.source, "think_s", document.column("think_s")))
        columns["think_s"] = "wait after that answer, seconds"
    return log.knowing(columns, previous=rows.astype(np.int64), think_s=np.where(rows < 0, 0.0, think_s))


FORMAT = Format(
    "plain",
    "a request table",
    tuple((f"arrival_{unit}", "prompt_tokens", "output_tokens") for unit in UNITS),
    read,
)
