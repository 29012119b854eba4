"""The request table's own names; its clock may be in another unit than seconds, if it is named after it."""

from __future__ import annotations

from dataclasses import replace

from simlib.requests.formats.clocks import UNITS
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import PLAIN_LABELS, PLAIN_TOKENS, Asked, Format, Log, Rows

# Its clock is kept, as it may have been measured from an origin of its own.
LAYOUT = Rows(
    "plain", "arrival_s", "prompt_tokens", "output_tokens",
    labels=PLAIN_LABELS, tokens=PLAIN_TOKENS, starts_at_0=False,
)  # fmt: skip


def read(document: Document, asked: Asked) -> Log:
    """The requests, by the first of ``arrival_s, arrival_ms, arrival_us, arrival_ns`` that is there."""
    unit = next((unit for unit in UNITS if f"arrival_{unit}" in document.columns), "s")
    return replace(LAYOUT, arrival=f"arrival_{unit}", unit=unit).read(document, asked)


FORMAT = Format(
    "plain",
    "a request table",
    tuple((f"arrival_{unit}", "prompt_tokens", "output_tokens") for unit in UNITS),
    read,
)
