"""A log of a served engine, a JSON object a request, as LLMServingSim's validation keeps vLLM's.

``bench/examples/*/vllm/requests.jsonl`` of https://github.com/casys-kaist/LLMServingSim: ``arrival_time`` is of the
client's clock, since 1970; the stamps (``queued_ts``, ``first_token_ts``, …) are of the engine's own, in seconds.
"""

from __future__ import annotations

import numpy as np

from simlib.lazy import pd
from simlib.requests.formats.clocks import told
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, Log, Rows, numbers, refuse_first

LAYOUT = Rows("vllm_log", "arrival_time", "input_toks", "output_toks", sure=False, labels={"request_id": "request_id"})
FROM = "queued_ts"
STAMPS = {"queue_s": "scheduled_ts", "ttft_s": "first_token_ts", "latency_s": "last_token_ts"}


def read(document: Document, asked: Asked) -> Log:
    """The requests, with the times from the moment that the engine queued them, where it stamped them."""
    log, source = LAYOUT.read(document, asked), document.source
    stamps = {ours: theirs for ours, theirs in STAMPS.items() if theirs in document.columns}
    if FROM not in document.columns or not stamps:
        return log
    queued = _stamps(source, FROM, document.column(FROM))
    unit = told(f"{source}, {FROM}", queued[np.isfinite(queued)], "s", sure=False, given=asked.time_unit)
    columns, values = {FROM: f"when the engine queued it, {unit}"}, {}
    for ours, theirs in stamps.items():
        given = document.column(theirs)
        ticks = _stamps(source, theirs, given)
        refuse_first(source, theirs, given, ticks < queued, f"expected {FROM} or later")
        values[ours] = (ticks - queued) / unit.ticks_per_s
        columns[theirs] = f"{ours.removesuffix('_s')}, from {FROM}"
    values.pop("queue_s", None)
    if {"ttft_s", "latency_s"} <= set(values):
        gaps = log.frame["output_tokens"].to_numpy() - 1
        values["tpot_s"] = np.where(gaps > 0, (values["latency_s"] - values["ttft_s"]) / np.maximum(gaps, 1), np.nan)
    log = log.knowing(columns, **values)
    return log.warned(f"{FROM}: taken for {unit}, though {unit.doubt}") if unit.doubt else log


def _stamps(source: str, column: str, given: pd.Series) -> np.ndarray:
    """A column of stamps; NaN where a request has none."""
    ticks = numbers(given)
    refuse_first(source, column, given, given.notna().to_numpy() & ~(ticks >= 0), "expected a time >= 0 or nothing")
    return ticks


FORMAT = Format("vllm_log", "an engine's log of requests", (("arrival_time", "input_toks", "output_toks"),), read)
