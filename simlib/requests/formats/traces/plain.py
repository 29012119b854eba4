"""The request table's own names."""

from __future__ import annotations

from simlib.requests.formats.layout import PLAIN_LABELS, PLAIN_TOKENS, Format, Rows

# Its clock is kept, as it may have been measured from an origin of its own.
LAYOUT = Rows(
    "plain", "arrival_s", "prompt_tokens", "output_tokens",
    labels=PLAIN_LABELS, tokens=PLAIN_TOKENS, starts_at_0=False,
)  # fmt: skip
FORMAT = Format("plain", "a request table", (("arrival_s", "prompt_tokens", "output_tokens"),), LAYOUT.read)
