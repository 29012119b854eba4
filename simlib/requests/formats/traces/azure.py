"""Azure's LLM inference traces of 2023 and 2024, https://github.com/Azure/AzurePublicDataset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, Log, Rows

LAYOUT = Rows("azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", unit="date")


def read(document: Document, asked: Asked) -> Log:
    """The requests of the trace of the year that its dates are of; a date without a zone is taken for UTC."""
    log = LAYOUT.read(document, asked)
    year = np.datetime64(int(log.frame["clock"].min()), "ns").astype("datetime64[Y]")
    return replace(log, version=str(year))


FORMAT = Format("azure", "Azure's traces of 2023 and 2024", (("TIMESTAMP", "ContextTokens", "GeneratedTokens"),), read)
