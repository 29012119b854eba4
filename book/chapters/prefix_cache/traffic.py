"""Two kinds of prompts that repeat others: a generated chat, and Mooncake's synthetic trace.

In the chat a turn's prompt is all that was said before, behind a system prompt that is the same for everybody, and it
comes after the answer and a time to think. The rate moves the beginnings of conversations and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simlib import datasets
from simlib.requests import traces
from simlib.requests.lengths import LogNormal
from simlib.requests.sequences import Sequences
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable

TRACE, TRACE_BLOCK = "mooncake/synthetic_trace.jsonl.gz", 512
SYSTEM_TOKENS, TURNS, THINK_S = 1024, 5.0, 60.0
CHAT_S, DOCUMENTS_S = 2.0, 10.0  # deadlines of the first token
FIRST = LogNormal(650, 1.1, high=8000)  # a question with what was pasted
QUESTION, ANSWER = LogNormal(70, 0.8, high=2000), LogNormal(180, 0.8, high=2000)


@dataclass(frozen=True, slots=True)
class Chat:
    """Conversations that begin as a Poisson process, with `TURNS` turns on average (geometric).

    Attributes
    ----------
    sessions : int
        Conversations a run.
    think_s : float
        Mean time from an answer to the next question, seconds; exponential.
    deadline_s : float
        Of the first token, seconds.
    """

    sessions: int
    think_s: float = THINK_S
    name: str = "chat"
    deadline_s: float = CHAT_S
    block_tokens: int = 64

    def draw(self, rate_rps: float, seed: int) -> RequestTable:
        """The requests of one replication, so many a second on average; ``client`` is the conversation."""
        rng = stream("chat of the chapter on caches", seed, "arrivals")
        begins_s = np.cumsum(rng.exponential(TURNS, self.sessions)) / rate_rps
        turns = rng.geometric(1 / TURNS, self.sessions)
        of, first = np.repeat(np.arange(self.sessions), turns), np.cumsum(turns) - turns
        think_s = self.think_s * rng.exponential(1.0, len(of))
        think_s[first] = 0.0
        arrival_s = begins_s[of] + _before(think_s, first, turns) + think_s  # if answers took no time
        rng = stream("chat of the chapter on caches", seed, "lengths")
        asked, answered = QUESTION.sample(len(of), rng), ANSWER.sample(len(of), rng)
        asked[first] = FIRST.sample(self.sessions, rng)
        prompt = SYSTEM_TOKENS + _before(asked + answered, first, turns) + asked
        blocks = (prompt + answered) // self.block_tokens  # an answer is found by the next turn, too
        most = np.maximum.reduceat(blocks, first)
        own = (np.cumsum(most) - most)[of]  # content is numbered by conversation and place
        order = np.argsort(arrival_s, kind="stable")
        place = np.empty(len(of), np.int64)
        place[order] = np.arange(len(of))
        previous = np.append(-1, place[:-1])
        previous[first] = -1
        return RequestTable(
            arrival_s=arrival_s[order],
            prompt_tokens=prompt[order],
            output_tokens=answered[order],
            previous=previous[order],
            think_s=think_s[order],
            block_ids=_contents(blocks[order], own[order], SYSTEM_TOKENS // self.block_tokens),
            labels={"client": of[order]},
        )

    def times(self, engines: int) -> Chat:
        """As many conversations for each of several engines."""
        return replace(self, sessions=self.sessions * engines)

    def scored_s(self, table: RequestTable) -> tuple[float, float]:
        """When what is scored comes: as many conversations go on as will, and the last of them has not begun."""
        last_s = float(table.arrival_s[table.previous < 0].max())
        return 0.3 * last_s, last_s


@dataclass(frozen=True, slots=True)
class Trace:
    """Mooncake's synthetic trace, played faster or slower: one draw, whatever the seed."""

    requests: RequestTable
    name: str = "documents"
    deadline_s: float = DOCUMENTS_S
    block_tokens: int = TRACE_BLOCK

    def draw(self, rate_rps: float, seed: int) -> RequestTable:
        """The trace at so many requests a second on average."""
        span_s = float(self.requests.arrival_s[-1] - self.requests.arrival_s[0])
        return self.requests.at_rate(rate_rps * span_s / (len(self.requests) - 1))

    def times(self, engines: int) -> Trace:
        """The same trace: several engines share it."""
        return self

    def scored_s(self, table: RequestTable) -> tuple[float, float]:
        """All but the first fifth, in which caches fill, and the last tenth."""
        low, high = np.quantile(table.arrival_s, [0.2, 0.9])
        return float(low), float(high)


def trace() -> Trace:
    """Mooncake's synthetic trace; ``client`` is the block that a prompt begins with.

    Raises
    ------
    InputError
        If it is not there.
    """
    table = traces.read(datasets.locate(TRACE), engine_block_tokens=TRACE_BLOCK).requests
    ids, alone = table.block_ids, -1 - np.arange(len(table))  # of prompts shorter than a block
    begins = np.append(ids.flat, -1)[ids.first[:-1]]
    return Trace(replace(table, labels={"client": np.where(ids.lengths > 0, begins, alone)}))


def _before(values: np.ndarray, first: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """The sum of a conversation's values before each turn."""
    before = np.cumsum(values) - values
    return before - np.repeat(before[first], turns)


def _contents(blocks: np.ndarray, own: np.ndarray, shared: int) -> Sequences:
    """What each block of each prompt contains: a number of everybody's system prompt, or of its conversation."""
    first = np.append(0, np.cumsum(blocks))
    place = np.arange(first[-1]) - np.repeat(first[:-1], blocks)
    return Sequences(first, np.where(place < shared, place, place + np.repeat(own, blocks)))
