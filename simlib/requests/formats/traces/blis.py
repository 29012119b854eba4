"""Traces of BLIS, https://github.com/inference-sim/inference-sim: the table beside a header in YAML.

``sim/workload/tracev2.go`` writes versions 2 and 3: microseconds, a prompt's own tokens without the prefix that it
shares with its group, and what became of it. ``sim/workload/replay.go`` takes lengths as they are read here.
"""

from __future__ import annotations

import itertools

import numpy as np

from simlib.lazy import pd
from simlib.requests.formats.blocks import ENGINE_BLOCK_TOKENS
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, Log, Rows, numbers, refuse_first, token_counts

LAYOUT = Rows(
    "blis", "arrival_time_us", "input_tokens", "output_tokens", unit="us",
    labels={"request_id": "request_id", "client": "client_id"},
)  # fmt: skip
LATE_S = 0.05  # a request that is sent so much later than meant came in another load
STATES = {"ok": False, "incomplete": False, "error": True, "timeout": True}


def read(document: Document, asked: Asked) -> Log:
    """The requests, each with the prefix of its group, and what the server said of it."""
    log, present, source = LAYOUT.read(document, asked), set(document.columns), document.source
    if "status" in present:
        given = document.column("status").fillna("ok")
        refuse_first(
            source, "status", given, ~given.isin(list(STATES)).to_numpy(), f"expected one of {', '.join(STATES)}"
        )
        log = log.knowing({"status": "failed"}, failed=given.map(STATES).astype(bool))
    log = _timed(document, log)
    log = _with_prefixes(document, log)
    if "session_id" not in present or "round_index" not in present:
        return log
    sessions, rounds = (
        document.column("session_id"),
        token_counts(source, "round_index", document.column("round_index")),
    )
    names = sessions.where(sessions.notna(), [f"({row})" for row in range(len(sessions))])
    log = log.knowing({"session_id": "session", "round_index": "turn of its session"}, session=names)
    if not (rounds > 0).any():
        return log
    return log.warned(
        "input_tokens: taken as they stand; where the YAML header says session_context_growth: accumulate, a later "
        "turn has the conversation so far before them"
    )


def _timed(document: Document, log: Log) -> Log:
    """With the times of its chunks, from the moment that a request was sent; 0 is a stamp that was not taken."""
    stamps = {"ttft_s": "first_chunk_time_us", "latency_s": "last_chunk_time_us"}
    if not {"send_time_us", *stamps.values()} <= set(document.columns):
        return log
    sent, values = _stamps(document, "send_time_us"), {}
    for ours, theirs in stamps.items():
        ticks = _stamps(document, theirs)
        refuse_first(
            document.source,
            theirs,
            document.column(theirs),
            (ticks > 0) & (ticks < sent),
            "expected 0, or send_time_us or later",
        )
        values[ours] = np.where(ticks > 0, (ticks - sent) / 1e6, np.nan)
    if all(np.isnan(value).all() for value in values.values()):
        return log  # a workload that nobody has served
    late = sent - log.frame["clock"].to_numpy()
    later_s = float((late - late[0]).max()) / 1e6
    if later_s > LATE_S:
        log = log.warned(
            f"{LAYOUT.arrival}: when the client meant to send; it sent up to {later_s:.3g} s later than the first "
            "(send_time_us), as a client with few connections does"
        )
    columns = {theirs: f"{ours.removesuffix('_s')}, microseconds from send_time_us" for ours, theirs in stamps.items()}
    return log.knowing({"send_time_us": "when it was sent, microseconds", **columns}, **values)


def _with_prefixes(document: Document, log: Log) -> Log:
    """With the whole length of a prompt, and its blocks, where groups share prefixes."""
    source, present, prompts = document.source, set(document.columns), log.frame["prompt_tokens"].to_numpy()
    groups = document.column("prefix_group") if "prefix_group" in present else pd.Series([None] * len(prompts))
    grouped = groups.notna().to_numpy()
    columns = {}
    if "server_input_tokens" in present:
        counted = token_counts(source, "server_input_tokens", document.column("server_input_tokens"))
        prompts = np.where((counted > 0) & ~grouped, counted, prompts)
        columns["server_input_tokens"] = "prompt, tokens, as the server counted them, where no prefix is shared"
    if not grouped.any():
        return log.knowing(columns, prompt_tokens=prompts)
    if "prefix_length" not in present:
        return log.knowing(columns, prompt_tokens=prompts).warned(
            "prefix_group: not used; there is no prefix_length, so that prompts are as long as without their prefix"
        )
    prefixes = np.where(grouped, token_counts(source, "prefix_length", document.column("prefix_length")), 0)
    prompts = prompts + prefixes
    fresh, shared = itertools.count(), {}
    blocks = []
    for group, prefix, prompt in zip(groups, prefixes, prompts, strict=True):
        names = shared.setdefault(group, []) if prefix else []
        while len(names) < prefix // ENGINE_BLOCK_TOKENS:
            names.append(next(fresh))
        names = names[: prefix // ENGINE_BLOCK_TOKENS]
        blocks.append([*names, *itertools.islice(fresh, -(-int(prompt) // ENGINE_BLOCK_TOKENS) - len(names))])
    columns |= {"prefix_group": "shared prefix", "prefix_length": "prompt, tokens of the shared prefix"}
    names = pd.Series(blocks, dtype=object)
    return log.knowing(columns, ENGINE_BLOCK_TOKENS, prompt_tokens=prompts, hash_ids=names)


def _stamps(document: Document, name: str) -> np.ndarray:
    """A column of microseconds."""
    given = document.column(name)
    found = numbers(given)
    refuse_first(document.source, name, given, ~(np.isfinite(found) & (found >= 0)), "expected microseconds >= 0")
    return found


FORMAT = Format("blis", "BLIS's TraceV2", (("arrival_time_us", "input_tokens", "output_tokens"),), read)
