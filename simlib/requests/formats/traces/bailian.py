"""Qwen-Bailian's traces, https://github.com/alibaba-edu/qwen-bailian-usagetraces-anon: two hours of a Qwen model.

Mooncake's keys, but seconds (some write its milliseconds), blocks of 16 tokens, and conversations by
``parent_chat_id``, each turn with its own time.
"""

from __future__ import annotations

from simlib.lazy import pd
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, Log, Rows

LAYOUT = Rows(
    "bailian", "timestamp", "input_length", "output_length", sure=False, other_unit="ms",
    hashes="hash_ids", block_tokens=16, labels={"log_type": "type", "request_id": "chat_id"},
)  # fmt: skip


def read(document: Document, asked: Asked) -> Log:
    """The requests, each with the conversation that it is a turn of: the chat that has no parent in the file."""
    log = LAYOUT.read(document, asked)
    if "parent_chat_id" not in document.columns:
        return log
    roots: dict[str, str] = {}
    chats, parents = (document.column(name).astype(str) for name in ("chat_id", "parent_chat_id"))
    for chat, parent in zip(chats, parents, strict=True):
        roots[chat] = roots.get(parent, chat)
    return log.knowing({"parent_chat_id": "session"}, session=pd.Series([roots[chat] for chat in chats], dtype=object))


FORMAT = Format("bailian", "Qwen-Bailian's traces", (("chat_id", "timestamp", "input_length", "output_length"),), read)
