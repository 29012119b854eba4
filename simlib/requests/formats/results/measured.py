"""What readers of benchmarks share: gaps between tokens, a check of their unit, order of starts, several loads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer
from simlib.lazy import pd
from simlib.requests.formats.layout import LONGEST_TICKS, Log, numbers, shown
from simlib.requests.table import MAX_TOKENS

LONGEST_GAP_S, LONGEST_TTFT_S = 5.0, 60.0  # a median above these is no time in seconds
OVERLOADED_TTFT_S = 3600.0  # but where something else says that they are: their clock, their unit, their own means


def gaps(source: str, column: str, values: Sequence[Any], ticks_per_s: float = 1.0) -> pd.Series:
    """A column of arrays of gaps between tokens, in seconds."""
    found = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        if not isinstance(value, list):
            raise InputError(f"{source}, row {row}, {column}: {shown(value)} (expected an array of times >= 0)")
        ticks = (
            np.asarray(value) if all(type(tick) is float for tick in value) else numbers(pd.Series(value, dtype=object))
        )
        ticks = ticks.astype(float)
        bad = ~((ticks >= 0) & (ticks < LONGEST_TICKS))
        if bad.any():
            entry = int(np.argmax(bad))
            raise InputError(
                f"{source}, row {row}, {column}, entry {entry}: {shown(value[entry])} (expected a time >= 0)"
            )
        found[row] = ticks / ticks_per_s
    return pd.Series(found)


def check_seconds(log: Log, ttft: str, between: str, longest_ttft_s: float = LONGEST_TTFT_S) -> Log:
    """The log, with the doubts of its clock, if its times can be seconds; `InputError` names the column that cannot."""
    frame = log.frame if "failed" not in log.frame else log.frame[~log.frame["failed"]]
    known = {ttft: (frame.get("ttft_s"), longest_ttft_s), between: (frame.get("tpot_s"), LONGEST_GAP_S)}
    if "itl_s" in frame and len(frame):
        known[between] = (pd.Series(np.concatenate(frame["itl_s"].to_list())), LONGEST_GAP_S)
    for column, (times_s, most_s) in known.items():
        median_s = np.nan if times_s is None else times_s.median()
        if median_s > most_s:
            raise InputError(
                f"{log.source}, {column}: a median of {median_s:.4g} s (expected seconds, below {most_s:g}; these look "
                "like milliseconds)"
            )
    doubt = log.clock.doubt if log.clock else ""
    return log.warned(f"{log.arrival}: taken for {log.clock}, though {doubt}") if doubt else log


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by their start, where it is known: benchmarks write a request when it has ended."""
    return frame.sort_values("clock", kind="stable", ignore_index=True) if "clock" in frame else frame


def tidy(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Requests as a frame, without the columns of which nothing is known.

    A request that failed may never have been sent: it takes the start of the one before it. Prompt tokens that were
    cached are known of all, or of none; a session has more turns than one.
    """
    frame = pd.DataFrame(rows)
    # Whole nanoseconds since 1970 are no floats.
    whole = all(isinstance(row["clock"], int | None) for row in rows)
    clock = pd.Series([row["clock"] for row in rows], dtype="Int64" if whole else float)
    frame["clock"] = clock.ffill().bfill().fillna(0).astype(np.int64 if whole else float)
    if "cached_prompt_tokens" in frame:
        cached = frame["cached_prompt_tokens"].where(~frame["failed"], 0)
        frame["cached_prompt_tokens"] = np.nan if cached.isna().any() or frame["failed"].all() else cached.astype(int)
    if "itl_s" in frame and not frame["itl_s"].map(len).any():
        frame = frame.drop(columns="itl_s")
    if "turn" in frame:
        turns = numbers(frame["turn"].astype(object)) > 0
        frame = frame.drop(columns=["turn"] if turns.any() else ["turn", "session"])
    return frame.dropna(axis="columns", how="all")


def together(found: Mapping[int, Log], names: Sequence[str]) -> Log:
    """The loads of a file, by their number, as one log; each keeps its own clock, and one may have no request."""
    logs = list(found.values())
    if len(names) == 1:
        return logs[0]
    if len({"clock" in log.frame for log in logs}) > 1:  # of some the starts are not known: of none, then
        logs = [replace(log, frame=log.frame.drop(columns="clock", errors="ignore")) for log in logs]
    clocks = [log.clock for log in logs if log.clock is not None]
    if len({clock.unit for clock in clocks}) > 1:
        raise InputError(f"{logs[0].source}: loads with clocks in several units (expected the option --time-unit)")
    frames = [log.frame.assign(run=run) for run, log in zip(found, logs, strict=True)]
    shared = [name for name in frames[0] if all(name in frame for frame in frames)]
    return replace(
        logs[0],
        frame=pd.concat([frame[shared] for frame in frames], ignore_index=True),
        columns={name: meaning for log in logs for name, meaning in log.columns.items()},
        clock=clocks[0] if clocks else None,
        unused=tuple(dict.fromkeys(name for log in logs for name in log.unused)),
        warnings=tuple(dict.fromkeys(text for log in logs for text in log.warnings)),
        starts="; ".join(dict.fromkeys(log.starts for log in logs)),
        dropped=dict(sum((Counter(log.dropped) for log in logs), Counter())),
        runs=tuple(names),
    )


def length(place: str, value: Any, failed: bool) -> int:
    """A request's number of tokens; none is said of one that failed, at times."""
    return 0 if failed and value is None else check_integer(place, value, 0, MAX_TOKENS)


def first_of(found: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first of these keys that has a value."""
    return next((found[name] for name in names if found.get(name) is not None), None)


def object_in(source: str, row: int, record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A record's part that is an object itself; an empty one where there is nothing."""
    value = record.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise InputError(f"{source}, row {row}, {key}: {shown(value)} (expected an object)")
    return value or {}
