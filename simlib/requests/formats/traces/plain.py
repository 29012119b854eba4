"""The request table's own names; its clock may be in another unit than seconds, if it is named after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simlib.checks import InputError
from simlib.requests.formats.clocks import UNITS
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import (
    PLAIN_LABELS,
    PLAIN_TOKENS,
    Asked,
    Format,
    Log,
    Rows,
    check_column,
    numbers,
    refuse_first,
)
from simlib.requests.sequences import Sequences

# Its clock is kept, as it may have been measured from an origin of its own.
LAYOUT = Rows(
    "plain", "arrival_s", "prompt_tokens", "output_tokens",
    labels=PLAIN_LABELS, tokens=PLAIN_TOKENS, starts_at_0=False,
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
    log = replace(LAYOUT, arrival=f"arrival_{unit}", unit=unit).read(document, asked)
    source, present, found = document.source, document.columns, {}
    for name in TAKEN:
        if name in present:
            check_column(document, BOTH.get(name, name), "plain")
            given = document.column(name)
            found[name] = numbers(given)
            whole = np.isfinite(found[name]) & (found[name] == np.floor(found[name]))
            refuse_first(source, name, given, ~whole, "expected an integer")
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


FORMAT = Format(
    "plain",
    "a request table",
    tuple((f"arrival_{unit}", "prompt_tokens", "output_tokens") for unit in UNITS),
    read,
)
