"""Azure's LLM inference traces of 2023 and 2024, https://github.com/Azure/AzurePublicDataset."""

from __future__ import annotations

from simlib.requests.formats.layout import Format, Layout

LAYOUT = Layout("azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", unit="date")
FORMAT = Format(
    "azure", "Azure's traces of 2023 and 2024", (("TIMESTAMP", "ContextTokens", "GeneratedTokens"),), LAYOUT.read
)
