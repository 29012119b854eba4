"""Mooncake's traces, https://github.com/kvcache-ai/Mooncake, and all that took over its form.

Milliseconds and blocks of 512 tokens are Mooncake's own; Qwen-Bailian's traces have the same keys with seconds, and
blocks of 16. Turns of a conversation (``session_id``, ``delay``) come so many milliseconds after the answer before.
"""

from __future__ import annotations

import dataclasses

from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, Layout, Log

LAYOUT = Layout(
    "mooncake", "timestamp", "input_length", "output_length", unit="ms", sure=False, hashes="hash_ids",
    block_tokens=512,
)  # fmt: skip
BAILIAN = dataclasses.replace(LAYOUT, format="bailian", unit="s", block_tokens=16, labels={"client": "chat_id"})
FORMAT = Format("mooncake", "Mooncake's traces", (("timestamp", "input_length", "output_length"),), LAYOUT.read)
QWEN = Format(
    "bailian",
    "Qwen-Bailian's traces",
    (("chat_id", "turn", "timestamp", "input_length", "output_length"),),
    lambda document, asked: BAILIAN.read(document, asked),
)


def turns(document: Document, asked: Asked) -> Log:
    """Conversations: a turn's delay runs from the end of the answer before it."""
    raise NotImplementedError
