"""Traces of splitwise-sim, https://github.com/Mutinifni/splitwise-sim (``generate_trace.py``): arrivals in seconds."""

from __future__ import annotations

from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, Log, Rows, refuse_first, token_counts

LAYOUT = Rows(
    "splitwise_sim", "arrival_timestamp", "prompt_size", "token_size", sure=False,
    labels={"request_id": "request_id", "client": "application_id", "log_type": "request_type"},
)  # fmt: skip


def read(document: Document, asked: Asked) -> Log:
    """The requests; a row that stands for several is refused."""
    log = LAYOUT.read(document, asked)
    if "batch_size" not in document.columns:
        return log
    given = document.column("batch_size")
    sizes = token_counts(document.source, "batch_size", given)
    refuse_first(document.source, "batch_size", given, sizes != 1, "expected 1: a row is a request")
    return log.knowing({"batch_size": "requests a row, 1 each"})


FORMAT = Format("splitwise_sim", "splitwise-sim's traces", (("arrival_timestamp", "prompt_size", "token_size"),), read)
