"""A log of a served engine, a JSON object a request, as LLMServingSim's validation keeps vLLM's.

``bench/examples/*/vllm/requests.jsonl`` of https://github.com/casys-kaist/LLMServingSim: ``arrival_time`` is of the
client's clock, since 1970; the stamps (``queued_ts``, ``first_token_ts``, …) are of the engine's own, in seconds. The
two may count in different units; they span the same time.
"""

from __future__ import annotations

import numpy as np

from simlib.lazy import pd
from simlib.requests.formats.clocks import TICKS_PER_S, UNITS, Clock, told
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, Log, Rows, numbers, refuse_first

LAYOUT = Rows(
    "vllm_log", "arrival_time", "input_toks", "output_toks", sure=False,
    labels={"request_id": "request_id"}, tokens={"cached_prompt_tokens": "cached_toks"},
)  # fmt: skip
NAME, FROM = "request_id", "queued_ts"
STAMPS = {"scheduled_s": "scheduled_ts", "first_token_s": "first_token_ts", "last_token_s": "last_token_ts"}
TIMES = {"ttft_s": "first_token_s", "latency_s": "last_token_s"}
ALIKE = 2.0  # ratio of the spans of two clocks, at most, that count in the units assumed


def read(document: Document, asked: Asked) -> Log:
    """The requests, with the engine's stamps and the times from the moment that it queued them, where it did."""
    log, source = LAYOUT.read(document, asked), document.source
    if NAME in document.columns:
        names = document.column(NAME)
        twice = (names.duplicated() & names.notna()).to_numpy()
        refuse_first(source, NAME, names, twice, "expected each once: of one engine's run")
    stamps = {ours: theirs for ours, theirs in STAMPS.items() if theirs in document.columns}
    if FROM not in document.columns or not stamps:
        return log
    queued = _stamps(source, FROM, document.column(FROM))
    unit = _unit(log, queued, asked)
    columns, values = {FROM: f"when the engine queued it, {unit}"}, {"queued_s": queued / unit.ticks_per_s}
    served, before, earlier = log.frame["output_tokens"].to_numpy() > 0, queued, FROM
    for ours, theirs in stamps.items():
        given = document.column(theirs)
        ticks = np.where(served, _stamps(source, theirs, given), np.nan)  # of who failed they may be anything
        refuse_first(source, theirs, given, ticks < before, f"expected {earlier} or later")
        values[ours], before, earlier = ticks / unit.ticks_per_s, ticks, theirs
        columns[theirs] = f"{ours.removesuffix('_s').replace('_', ' ')}, of the same clock"
        if missing := int(np.count_nonzero(np.isnan(ticks) & served)):
            log = log.warned(f"{theirs}: {missing} of {served.sum()} served requests have none")
    values |= {time: values[end] - values["queued_s"] for time, end in TIMES.items() if end in values}
    if TIMES.keys() <= values.keys():
        gaps = log.frame["output_tokens"].to_numpy() - 1
        values["tpot_s"] = np.where(gaps > 0, (values["latency_s"] - values["ttft_s"]) / np.maximum(gaps, 1), np.nan)
    log = log.knowing(columns, **values)
    return log.warned(f"{FROM}: taken for {unit}, though {unit.doubt}") if unit.doubt else log


def _unit(log: Log, queued: np.ndarray, asked: Asked) -> Clock:
    """The unit in which the engine's stamps span the time that the arrivals do; of one instant, by their values."""
    arrival, known = log.frame["clock"].to_numpy(), np.isfinite(queued)
    if known.any():
        span_s = np.ptp(arrival[known]) / log.clock.ticks_per_s
        for unit in UNITS:
            if span_s / ALIKE < np.ptp(queued[known]) / TICKS_PER_S[unit] < span_s * ALIKE:
                return Clock(unit, "by the span of the arrivals")
    return told(f"{log.source}, {FROM}", queued[known], "s", sure=False, given=asked.time_unit)


def _stamps(source: str, column: str, given: pd.Series) -> np.ndarray:
    """A column of stamps; NaN where a request has none."""
    ticks = numbers(given)
    refuse_first(source, column, given, given.notna().to_numpy() & ~(ticks >= 0), "expected a time >= 0 or nothing")
    return ticks


FORMAT = Format("vllm_log", "an engine's log of requests", (("arrival_time", "input_toks", "output_toks"),), read)
