"""Turns of a file's conversations: which answer each waits for, and the earliest that it could arrive."""

from __future__ import annotations

import numpy as np

from simlib.checks import InputError
from simlib.lazy import pd
from simlib.requests.formats.layout import Log
from simlib.requests.loops import conversations
from simlib.requests.loops.chains import in_order, kept
from simlib.requests.sequences import Sequences
from simlib.requests.streams import stream


def wait(log: Log) -> bool:
    """Whether some of a file's requests come after an answer, and not by a clock."""
    return "delay_s" in log.frame and bool(log.frame["delay_s"].notna().any())


def linked(log: Log, frame: pd.DataFrame, rate_rps: float | None, seed: int) -> pd.DataFrame:
    """The rows in the order of the file, with `previous`, `think_s`, and a clock for all of them.

    Parameters
    ----------
    log : Log
        With ``session`` and ``delay_s``, as `formats.sessions.read_turns` leaves them.
    frame : pandas.DataFrame
        The log's, or more columns.
    rate_rps : float, optional
        Conversations a second, where the file does not say when they begin; without it all of them begin at 0.
    seed : int
        Of these times.

    Raises
    ------
    InputError
        If a turn with a time of its own comes before the turn above it.
    """
    rows = pd.Series(np.arange(len(frame)), index=frame.index)
    above = rows.groupby(frame["session"].to_numpy()).shift().fillna(-1).to_numpy().astype(np.int64)
    waits = frame["delay_s"].notna().to_numpy()
    previous, think_s = np.where(waits, above, -1), np.where(waits, frame["delay_s"], 0.0)
    if "clock" in frame:
        per_s = log.clock.ticks_per_s if log.clock else 1.0
        start = frame["clock"].to_numpy(dtype=np.float64)
    else:
        per_s, start = 1.0, np.zeros(len(frame))
        if rate_rps is not None:
            begins, rng = np.flatnonzero(previous < 0), stream("trace arrivals", seed, "arrivals")
            start[begins] = np.cumsum(rng.exponential(1.0 / rate_rps, size=len(begins)))
    order, earliest, _ = in_order(start, previous, think_s * per_s)
    clock = np.empty(len(frame))
    clock[order] = earliest
    early = ~waits & (above >= 0) & (clock < clock[above])
    if early.any():
        row = int(np.argmax(early))
        raise InputError(
            f"{log.source}, row {row}, {log.arrival}: {clock[row]:.16g} (expected {clock[above[row]]:.16g} or later: "
            f"row {above[row]} is an earlier turn of the same conversation)"
        )
    return frame.assign(clock=clock, previous=previous, think_s=think_s)


def chosen(frame: pd.DataFrame, which: np.ndarray) -> pd.DataFrame:
    """Some of the rows: who waits for one that is left out waits for the one before that."""
    if "previous" not in frame:
        return frame.iloc[which]
    stays = np.zeros(len(frame), bool)
    stays[which] = True
    previous, think_s = kept(stays, *(frame[name].to_numpy() for name in ("previous", "think_s")))
    return frame.iloc[which].assign(previous=previous, think_s=think_s)


def by_time(frame: pd.DataFrame, start: np.ndarray, per_s: float = 1.0) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows by the earliest that each could arrive, and these times; `start` says when those do that wait for none.

    Times are in ticks, of which `per_s` are a second. Where nobody waits, all is in order already.
    """
    if "previous" not in frame:
        return frame, start
    previous, think_s = (frame[name].to_numpy() for name in ("previous", "think_s"))
    order, arrival, previous = in_order(start, previous, think_s * per_s)
    return frame.iloc[order].assign(previous=previous), arrival


def with_history(source: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with the prompts and answers of earlier turns before each prompt, and whose `text` that is.

    Raises
    ------
    InputError
        If the file has no conversations, or says itself what prompts have in common.
    """
    if "session" not in frame:
        raise InputError(f"history: 'add' (expected 'as_given': {source} has no conversations)")
    if {"hash_ids", "cached_prompt_tokens", "block_ids", "prefix_group"} & set(frame):
        raise InputError(f"history: 'add' (expected 'as_given': {source} says what is cached of its prompts)")
    session = frame["session"].to_numpy()
    said = (frame["prompt_tokens"] + frame["output_tokens"]).groupby(session).cumsum()
    return frame.assign(prompt_tokens=said - frame["output_tokens"], text=pd.factorize(session)[0])


def contents(frame: pd.DataFrame, block_tokens: int) -> Sequences:
    """What the blocks of prompts and answers hold where each turn goes on with the text of the one before."""
    tokens = (frame["prompt_tokens"] + frame["output_tokens"]).to_numpy()
    return conversations.contents(frame["text"].to_numpy(), tokens // block_tokens)
