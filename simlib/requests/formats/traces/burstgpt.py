"""BurstGPT, https://github.com/HPMLL/BurstGPT: a campus's requests to ChatGPT and GPT-4."""

from __future__ import annotations

from simlib.requests.formats.layout import Format, Rows

# Six columns in the first files, eight (Session ID, Elapsed time) in the later ones.
LAYOUT = Rows(
    "burstgpt", "Timestamp", "Request tokens", "Response tokens",
    labels={"client": "Session ID", "model": "Model", "log_type": "Log Type"},
)  # fmt: skip
FORMAT = Format("burstgpt", "BurstGPT's trace", (("Timestamp", "Request tokens", "Response tokens"),), LAYOUT.read)
