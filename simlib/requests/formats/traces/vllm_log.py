"""A log of a served engine, one JSON object a request, as LLMServingSim's validation keeps vLLM's."""

from __future__ import annotations

from simlib.requests.formats.layout import Format, Layout

LAYOUT = Layout(
    "vllm_log", "arrival_time", "input_toks", "output_toks", sure=False, labels={"request_id": "request_id"}
)
FORMAT = Format(
    "vllm_log", "an engine's log of requests", (("arrival_time", "input_toks", "output_toks"),), LAYOUT.read
)
