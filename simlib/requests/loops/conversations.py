"""Conversations: sessions arrive openly, and each next turn comes after an answer, with all that was said before.

What a live prefix cache is for: a turn's prompt begins with the turn before it, and with a system prompt that all
sessions share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer, check_number, check_probability, check_type
from simlib.requests.arrivals import ArrivalProcess
from simlib.requests.lengths import LengthDistribution, check_lengths
from simlib.requests.loops.chains import in_order
from simlib.requests.loops.think import think_of, thinks_s
from simlib.requests.predictors import Predictor, predict
from simlib.requests.sequences import Sequences
from simlib.requests.streams import MOST_REQUESTS, check_draw, stream
from simlib.requests.table import MAX_TOKENS, RequestTable

MOST_TURNS = 10_000


@dataclass(frozen=True, slots=True)
class Geometric:
    """After each turn a session goes on with the same probability.

    Parameters
    ----------
    mean_turns : float
        At least 1.

    Examples
    --------
    >>> Geometric(1.0).sample(3, np.random.default_rng(1)).tolist()
    [1, 1, 1]
    """

    mean_turns: float

    def __post_init__(self) -> None:
        check_number("mean_turns", self.mean_turns, 1.0, MOST_TURNS / 10)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return np.minimum(rng.geometric(1.0 / self.mean_turns, check_draw(n, rng)), MOST_TURNS)


def conversations(
    sessions: int,
    arrivals: ArrivalProcess,
    turns: Any,
    prompt: LengthDistribution,
    output: LengthDistribution,
    think: Any = 0.0,
    predictor: Predictor | None = None,
    *,
    system_tokens: int = 0,
    block_tokens: int = 16,
    dropped_share: float | None = None,
    most_tokens: int = 131_072,
    family: str = "conversations",
    replication: int = 0,
) -> RequestTable:
    """Requests that are turns of conversations, with what their prompts have in common.

    Each part draws from a stream of its own, in order of sessions and turns: the first sessions do not depend on how
    many follow, nor any of them on what answers take.

    Parameters
    ----------
    sessions : int
        How many begin, at least 1.
    arrivals : ArrivalProcess
        When they begin: a record of `arrivals`.
    turns : int or object
        How many each has: a number, `Geometric`, or a record of `lengths` that gives whole numbers from 1.
    prompt : LengthDistribution
        Tokens that a turn adds: the user's words, tool results.
    output : LengthDistribution
        Tokens of an answer.
    think : float, str, ArrivalProcess or Think
        Seconds from an answer to the next turn, as `loops.think.think_of` takes it.
    predictor : Predictor, optional
        A record of `predictors`; without it the table has no predictions.
    system_tokens : int
        Of a prompt before the first turn, the same in all sessions.
    block_tokens : int
        Of the engine's blocks, for `block_ids`.
    dropped_share : float, optional
        By default the next turn has an answer as it was generated, and finds it in the cache. Given, the template
        writes answers anew, without so large a share of their tokens (thinking, calls of tools); of what was generated
        nothing is found, only the prompts are.
    most_tokens : int
        A session ends before a turn whose prompt and answer are longer; its first turn is sent all the same.
    family, replication : str, int
        The key of the streams, see `simlib.requests.streams.stream`.

    Returns
    -------
    RequestTable
        With `previous`, `think_s`, `block_ids`, and the session as label ``client``.

    Examples
    --------
    >>> from simlib.requests.arrivals import Poisson
    >>> from simlib.requests.lengths import Fixed
    >>> table = conversations(1, Poisson(1.0), 3, Fixed(20), Fixed(12), think=5.0)
    >>> table.prompt_tokens.tolist(), [ids.tolist() for ids in table.block_ids]
    ([20, 52, 84], [[0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5]])
    """
    sessions = check_integer("sessions", sessions, 1, MOST_REQUESTS)
    check_type("arrivals", arrivals, ArrivalProcess, "an arrival process such as Poisson(rate_rps=50.0)")
    check_lengths("prompt", prompt)
    check_lengths("output", output)
    think = think_of(think)
    system = check_integer("system_tokens", system_tokens, 0, MAX_TOKENS)
    block_tokens = check_integer("block_tokens", block_tokens, 1, MAX_TOKENS)
    if dropped_share is not None:
        check_probability("dropped_share", dropped_share)
    most_tokens = check_integer("most_tokens", most_tokens, 1, MAX_TOKENS)
    prompt_rng, output_rng, turns_rng = stream(family, replication, "lengths").spawn(3)
    start_rng, think_rng = stream(family, replication, "arrivals").spawn(2)
    counts = _turns(turns, sessions, turns_rng)
    first = np.cumsum(counts) - counts  # each session's first row, while they stand one after the other
    rows = check_integer("turns of all sessions", int(counts.sum()), 1, MOST_REQUESTS)
    session, start_s = np.repeat(np.arange(sessions), counts), arrivals.sample(sessions, start_rng)
    new, answer = prompt.sample(rows, prompt_rng), output.sample(rows, output_rng)
    waits_s = thinks_s(think, rows, think_rng)
    stays = answer if dropped_share is None else np.rint(answer * (1.0 - dropped_share)).astype(np.int64)
    before = np.cumsum(new + stays) - new - stays
    prompts = system + before - before[first][session] + new
    is_first = np.zeros(rows, bool)
    is_first[first] = True
    # A session is cut at its first turn that is too long: whoever comes later is longer still, but for its answer.
    over = np.maximum.accumulate(np.where((prompts + answer > most_tokens) & ~is_first, session, -1)) == session
    previous = np.where(is_first, -1, np.arange(rows) - 1)[~over]
    previous = np.where(previous < 0, -1, np.arange(len(previous)) - 1)
    session, prompts, answer, waits_s = session[~over], prompts[~over], answer[~over], waits_s[~over]
    waits_s = np.where(previous < 0, 0.0, waits_s)
    order, arrival_s, previous = in_order(start_s[session], previous, waits_s)
    session, prompts, answer = session[order], prompts[order], answer[order]
    named = prompts + answer if dropped_share is None else prompts
    ids = contents(session, named // block_tokens, system // block_tokens)
    table = RequestTable(
        arrival_s, prompts, answer,
        previous=previous, think_s=waits_s[order], block_ids=ids, labels={"client": session},
    )  # fmt: skip
    return table if predictor is None else predict(table, predictor, family=family, replication=replication)


def contents(session: np.ndarray, blocks: np.ndarray, shared: int = 0) -> Sequences:
    """What blocks hold where each row of a session goes on where the one before it ended.

    Parameters
    ----------
    session : ndarray of int, shape (n_requests,)
        Whose text it is.
    blocks : ndarray of int, shape (n_requests,)
        How many full blocks there are of it.
    shared : int
        How many of a text's first blocks are the same in all sessions.

    Examples
    --------
    >>> [ids.tolist() for ids in contents(np.array([0, 1, 0]), np.array([2, 3, 3]), shared=1)]
    [[0, 1], [0, 3, 4], [0, 1, 2]]
    """
    longest = np.zeros(int(session.max()) + 1, np.int64)
    np.maximum.at(longest, session, blocks - shared)
    base = shared + np.cumsum(np.maximum(longest, 0)) - np.maximum(longest, 0)  # of a session's own blocks
    first = np.append(0, np.cumsum(blocks))
    number = np.arange(first[-1]) - np.repeat(first[:-1], blocks)  # of a block in its text
    flat = np.where(number < shared, number, np.repeat(base[session], blocks) + number - shared)
    return Sequences(first, flat.astype(np.int32 if flat.max(initial=0) < 2**31 else np.int64))


def _turns(given: Any, sessions: int, rng: np.random.Generator) -> np.ndarray:
    """How many turns each session has, looked at: a user's own may be anything."""
    if not hasattr(given, "sample"):
        return np.full(sessions, check_integer("turns", given, 1, MOST_TURNS))
    counts = np.asarray(given.sample(sessions, rng))
    good = (counts >= 1) & (counts <= MOST_TURNS) & (counts == np.floor(counts))
    if counts.shape != (sessions,) or not good.all():
        shown = f"shape {counts.shape}" if counts.shape != (sessions,) else f"{counts[np.argmin(good)]:g}"
        raise InputError(f"turns: {shown} from {given!r} (expected {sessions} whole numbers from 1 to {MOST_TURNS})")
    return counts.astype(np.int64)
