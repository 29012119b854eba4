"""Mooncake's traces, and all that took over their form.

https://github.com/kvcache-ai/Mooncake counts milliseconds and has blocks of 512 tokens. AIPerf
(https://github.com/ai-dynamo/aiperf, ``docs/benchmark-modes/trace-replay.md``) replays it, with conversations
(``session_id``), whose later turns come ``delay`` milliseconds after the answer, and with rows that have no time.
"""

from __future__ import annotations

from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, Log, Rows
from simlib.requests.formats.sessions import read_turns

LAYOUT = Rows(
    "mooncake", "timestamp", "input_length", "output_length", unit="ms", sure=False, hashes="hash_ids",
    block_tokens=512, may_lack_arrivals=True,
)  # fmt: skip
WHOLE = "message_array_with_responses"  # how AIPerf says that each turn has all that was said before


def read(document: Document, asked: Asked) -> Log:
    """The requests, or the turns of conversations."""
    if "session_id" not in document.columns:
        return LAYOUT.read(document, asked)
    log = read_turns(LAYOUT, document, asked, "session_id", "delay", "multi-turn")
    modes = set(document.column("context_mode")) if "context_mode" in document.columns else set()
    if log.frame["session"].duplicated().any() and modes != {WHOLE}:
        return log.warned(
            "input_length: taken as it stands, but with history='add'; AIPerf puts the conversation so far before a "
            f"later turn's, unless context_mode is {WHOLE}"
        )
    return log


FORMAT = Format(
    "mooncake",
    "Mooncake's traces, with AIPerf's conversations",
    (
        ("timestamp", "input_length", "output_length"),
        ("session_id", "input_length", "output_length"),
        ("input_length", "output_length"),
    ),
    read,
)
