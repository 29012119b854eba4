"""A real engine's log of requests: who came when, and the stamps that its times are taken from.

Reads what `requests.formats` parses, refuses what cannot be one engine's run; hands `replay` a table and its times.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simlib.checks import InputError
from simlib.requests.formats import known
from simlib.requests.formats.layout import Log, refuse_first
from simlib.requests.formats.traces import vllm_log
from simlib.requests.table import TOKEN_COLUMNS, RequestTable

STAMPS = {"queued_s": vllm_log.FROM} | vllm_log.STAMPS
MOST_APART_S = 60.0  # between when a request came by the client's clock and by the engine's, of one run


@dataclass(frozen=True, slots=True)
class EngineLog:
    """A real engine's requests in order of arrival, and the stamps that its times are taken from, seconds."""

    table: RequestTable
    queued_s: np.ndarray
    first_token_s: np.ndarray
    last_token_s: np.ndarray

    def times_s(self) -> dict[str, np.ndarray]:
        """TTFT, TPOT and end-to-end latency of each request, seconds; both latencies from `queued_ts`."""
        return times_of(self.queued_s, self.first_token_s, self.last_token_s, self.table)


def read_log(given: str | Path | Log) -> EngineLog:
    """Read an engine's log of requests, one JSON object a line, packed or not; or take one that `known` has parsed.

    Each has ``input_toks, output_toks, arrival_time`` and the stamps ``queued_ts, scheduled_ts, first_token_ts,
    last_token_ts``, and ``cached_toks`` where the engine tells how many tokens of a prompt its prefix cache had.
    Requests without output have failed, and are left out.

    Raises
    ------
    InputError
        If it is another file; if a line lacks lengths, arrival or one of the stamps; if stamps are out of order; if
        more tokens were cached than the prompt has; if no request was served; if it is two runs' log, whose clocks are
        further apart for some requests than for others, by more than `MOST_APART_S`.
    """
    log = given if isinstance(given, Log) else known.requests(given)
    frame, place = log.frame, f"log {log.source}"
    missing = [theirs for ours, theirs in STAMPS.items() if ours not in frame]
    if missing:
        raise InputError(f"{place}: no {', '.join(missing)} (expected an engine's log with its stamps)")
    frame = frame[frame["output_tokens"] > 0]
    if not len(frame):
        raise InputError(f"{place}: no request has output (expected at least 1 that was served)")
    for ours, theirs in STAMPS.items():
        refuse_first(place, theirs, frame[ours], frame[ours].isna().to_numpy(), "expected a time")
    frame = frame.sort_values("clock", kind="stable")
    arrival_s = (frame["clock"].to_numpy() - frame["clock"].iloc[0]) / log.clock.ticks_per_s
    apart_s = frame["queued_s"].to_numpy() - arrival_s
    if (most_s := float(np.ptp(apart_s))) > MOST_APART_S:
        raise InputError(
            f"{place}: queued_ts and arrival_time are {most_s:.4g} s further apart for some requests than for others "
            f"(expected at most {MOST_APART_S:g} s, of one engine's run)"
        )
    table = RequestTable(
        arrival_s, *(frame[name].to_numpy() for name in TOKEN_COLUMNS[:2]),
        cached_prompt_tokens=frame["cached_prompt_tokens"].to_numpy() if "cached_prompt_tokens" in frame else None,
    )  # fmt: skip
    return EngineLog(table, *(frame[name].to_numpy() for name in STAMPS if name != "scheduled_s"))


def times_of(
    origin_s: np.ndarray, first_s: np.ndarray, last_s: np.ndarray, table: RequestTable
) -> dict[str, np.ndarray]:
    """TTFT, TPOT and end-to-end latency by when requests were seen, had their first token and their last, seconds."""
    gaps = np.where(table.output_tokens > 1, table.output_tokens - 1.0, np.nan)
    return {"ttft": first_s - origin_s, "tpot": (last_s - first_s) / gaps, "e2e": last_s - origin_s}
