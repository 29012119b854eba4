"""LLMPerf's individual responses, https://github.com/ray-project/llmperf: an array of objects, and no starts.

``inter_token_latency_s`` is the whole time by the tokens, so that the time between two of them is taken from latency
and first token. A failed request has an ``error_code``. See ``token_benchmark_ray.py`` there.
"""

from __future__ import annotations

import numpy as np

from simlib.lazy import pd
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, Log, check_column, seconds, token_counts
from simlib.requests.formats.results.measured import check_seconds

PROMPT, OUTPUT, FIRST, WHOLE = "number_input_tokens", "number_output_tokens", "ttft_s", "end_to_end_latency_s"
COLUMNS = {
    PROMPT: "prompt, tokens",
    OUTPUT: "output, tokens",
    FIRST: "time to first token, seconds",
    WHOLE: "latency, seconds",
    "error_code": "why a request failed",
}
NO_STARTS = "start_time: missing, as LLMPerf does not say when each request was sent"


def read(document: Document, asked: Asked) -> Log:
    """Lengths and times of each request; when they came is not in the file."""
    source = document.source
    for name in (PROMPT, OUTPUT, FIRST, WHOLE):
        check_column(document, name, "llmperf")
    output = token_counts(source, OUTPUT, document.column(OUTPUT))
    ttft_s, latency_s = (seconds(source, name, document.column(name)) for name in (FIRST, WHOLE))
    error = document.column("error_code") if "error_code" in document.columns else pd.Series([None] * len(document))
    failed = error.notna().to_numpy() | (output == 0)
    frame = pd.DataFrame(
        {
            "prompt_tokens": token_counts(source, PROMPT, document.column(PROMPT)),
            "output_tokens": output,
            "ttft_s": ttft_s,
            "tpot_s": np.where((output > 1) & ~failed, (latency_s - ttft_s) / np.maximum(output - 1, 1), np.nan),
            "latency_s": latency_s,
            "failed": failed,
        }
    )
    columns = {name: meaning for name, meaning in COLUMNS.items() if name in document.columns}
    unused = tuple(name for name in document.columns if name not in columns)
    log = Log(source, "llmperf", frame, columns, unused=unused, starts=NO_STARTS)
    return check_seconds(log, FIRST, WHOLE)


FORMAT = Format("llmperf", "LLMPerf's individual responses", ((PROMPT, OUTPUT, FIRST, WHOLE),), read)
