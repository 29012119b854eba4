"""LLMServingSim, https://github.com/casys-kaist/LLMServingSim: its workloads, and what it says of a simulated run.

A workload (``workloads/README.md``) is JSON lines, or in its first version a table with tabs: requests, and sessions
whose calls of a model (``sub_requests``) each follow the answer before them and a tool's time. A run
(``bench/examples/*/outputs/sim.csv``) has a row a request, in the order of their ends. All times are nanoseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simlib.checks import InputError
from simlib.lazy import pd
from simlib.reading import json_of
from simlib.requests.formats.blocks import ENGINE_BLOCK_TOKENS, names_of
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, Log, Rows, refuse_first, seconds, shown
from simlib.requests.formats.sessions import read_turns

WORKLOAD = Rows("llmservingsim", "arrival_time_ns", "input_toks", "output_toks", unit="ns")
RUN = Rows(
    "llmservingsim_run", "arrival", "input", "output", unit="ns",
    labels={"request_id": "request id", "model": "model"},
)  # fmt: skip
TOOL, WAIT = "tool_duration_ns", "tool_duration_ns before"
TIMES_NS = {"ttft_s": "TTFT", "tpot_s": "TPOT", "latency_s": "latency"}


def read(document: Document, asked: Asked) -> Log:
    """The requests of a workload, and the calls of its sessions; token ids, where they are, as blocks of a prompt."""
    if "sub_requests" in document.columns:
        document = _flat(document)
        log = read_turns(WORKLOAD, document, asked, "session_id", WAIT, "with sub_requests")
        log = log.knowing({"sub_requests": "calls of a session"})
    else:
        log = WORKLOAD.read(document, asked)
    if "input_tok_ids" not in document.columns:
        return log
    given, prompts = document.column("input_tok_ids"), log.frame["prompt_tokens"].to_numpy()
    good = [
        isinstance(ids, list) and len(ids) == prompt and all(type(token) is int for token in ids)
        for ids, prompt in zip(given, prompts, strict=True)
    ]
    refuse_first(document.source, "input_tok_ids", given, ~np.array(good), "expected input_toks numbers of tokens")
    block_tokens = asked.block_tokens or ENGINE_BLOCK_TOKENS
    blocks = pd.Series(names_of(given, block_tokens), dtype=object)
    columns = {"input_tok_ids": f"blocks of the prompt, {block_tokens} tokens each"}
    return log.knowing(columns, block_tokens, hash_ids=blocks)


def read_run(document: Document, asked: Asked) -> Log:
    """The requests of a simulated run, with the times that it took for them."""
    log = RUN.read(document, asked)
    columns, values = {}, {}
    for ours, theirs in TIMES_NS.items():
        if theirs in document.columns:
            values[ours] = seconds(document.source, theirs, document.column(theirs), 1e9)
            columns[theirs] = f"{ours.removesuffix('_s')}, nanoseconds"
    if "ITL" in document.columns:
        given = document.column("ITL")
        values["itl_s"] = pd.Series([_gaps_s(document.source, row, cell) for row, cell in enumerate(given)])
        columns["ITL"] = "itl, nanoseconds"
        values.pop("tpot_s", None)  # the mean of these, rounded
        columns.pop("TPOT", None)
    return log.knowing(columns, **values)


def _flat(document: Document) -> Document:
    """A row for each call of a session, beside the rows that are one request."""
    rows: list[dict[str, Any]] = []
    places, seen = [], set()
    for row, record in enumerate(document.records or ()):
        calls = record.get("sub_requests")
        if calls is None:
            rows.append(record)
            places.append(str(row))
            continue
        if not isinstance(calls, list) or not calls or not all(isinstance(call, dict) for call in calls):
            raise InputError(f"{document.source}, row {row}, sub_requests: {shown(calls)} (expected one call or more)")
        name = record.get("session_id", f"session {row}")
        if type(name) not in (str, int) or name in seen:
            raise InputError(f"{document.source}, row {row}, session_id: {shown(name)} (expected one that is new)")
        seen.add(name)
        for number, call in enumerate(calls):
            first = {"arrival_time_ns": record.get("arrival_time_ns")}
            after = {WAIT: calls[number - 1].get(TOOL, 0)}
            call = {key: value for key, value in call.items() if key != TOOL}
            rows.append({**call, "session_id": name, **(after if number else first)})
            places.append(f"{row}, sub_requests {number}")
    return Document(document.source, records=rows, places=tuple(places))


def _gaps_s(source: str, row: int, cell: Any) -> np.ndarray:
    """A cell of gaps between tokens, written as a JSON array."""
    place = f"{source}, row {row}, ITL"
    found = json_of(cell, place) if isinstance(cell, str) else cell
    if not isinstance(found, list) or not all(type(gap) in (int, float) and gap >= 0 for gap in found):
        raise InputError(f"{place}: {shown(cell)} (expected an array of times >= 0)")
    return np.array(found, dtype=np.float64) / 1e9


FORMAT = Format(
    "llmservingsim",
    "LLMServingSim's workloads",
    (("arrival_time_ns", "input_toks", "output_toks"), ("arrival_time_ns", "sub_requests")),
    read,
)
RUN_FORMAT = Format(
    "llmservingsim_run", "a run that LLMServingSim simulated", (("arrival", "input", "output", "TTFT", "latency"),),
    read_run,
)  # fmt: skip
