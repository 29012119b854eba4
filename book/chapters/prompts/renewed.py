"""An engine whose order is renewed as tokens come: who runs is whoever is expected to have the least work left.

`simlib`'s engine takes a place from a running request only where memory runs out. Here it may go to one that is
expected to be done sooner. One GPU, chunked prompts, a linear law of a step; where nobody loses its place it is
`simlib`'s engine. What is expected is a table, a row a request and a column a number of tokens produced.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np

from simlib.checks import InputError, check_integer
from simlib.engine.compiled import compiled
from simlib.latency.steps import StepLaw
from simlib.requests.table import RequestTable

TOKENS_OF_STEP = 2048
WEIGHT, DOWN, UNTIL, RELUCTANCE, KEEPS, CHARGE = range(6)  # of the kernel's rules


@dataclass(frozen=True)
class Order:
    """Who runs.

    Attributes
    ----------
    left_tokens : array of float, shape (requests, renewals)
        What is expected to be left once a request has produced as many tokens as `from_tokens` says.
    from_tokens : array of int, shape (renewals,)
        Ascending, from 0.
    counts_down : bool
        Whether between two renewals each token brings it down by one.
    weight_s : float
        Seconds of waiting that outweigh a token. 0: first come, first served; infinite: waiting counts for nothing.
    until : float
        Who runs may lose its place until it has produced so many times what was expected first; 0: nobody does.
    reluctance : float
        How many times the tokens that computing it again costs all who are there must be won by taking a place.
    keeps_memory : bool
        Whether who loses its place keeps its memory, which costs nothing; else all its tokens are computed again.
    """

    left_tokens: np.ndarray
    from_tokens: np.ndarray
    counts_down: bool = True
    weight_s: float = math.inf
    until: float = 0.0
    reluctance: float = 0.0
    keeps_memory: bool = False


@dataclass(frozen=True)
class Served:
    """When each request had its first and its last token (seconds), how often it lost its place, and the most memory.

    Attributes
    ----------
    first_s, completion_s : array of float, shape (n,)
    lost : array of int, shape (n,)
    most_tokens : int
        That the cache held at once, those of requests that wait for their place again included.
    """

    first_s: np.ndarray
    completion_s: np.ndarray
    lost: np.ndarray
    most_tokens: int


def serve(table: RequestTable, order: Order, law: StepLaw, places: int) -> Served:
    """Serve a table on one GPU.

    Parameters
    ----------
    table : RequestTable
    order : Order
    law : StepLaw
    places : int
        Requests that run at once, in [1, 1024].

    Examples
    --------
    >>> table = RequestTable([0.0, 1.5], [1, 1], [5, 2])
    >>> left = table.output_tokens[:, None].astype(float)
    >>> for until in (0.0, math.inf):  # a request of two tokens may have the only place, or waits for it
    ...     order = Order(left, np.array([0]), until=until, keeps_memory=True)
    ...     print(serve(table, order, StepLaw(1.0), 1).completion_s)
    [5. 7.]
    [7. 4.]
    """
    places = check_integer("places", places, 1, 1024)
    shape = (len(table), len(order.from_tokens))
    if order.left_tokens.shape != shape:
        raise InputError(f"left_tokens: shape {order.left_tokens.shape} (expected {shape}, a row a request)")
    # A token to compute takes so many of the tokens that a place has in the same time, if all places are taken.
    charge = law.c_s / (law.a_s / places + law.b_s) if law.c_s > 0 and order.counts_down else 0.0
    rules = (order.weight_s, order.counts_down, order.until, order.reluctance, order.keeps_memory, charge)
    columns = (np.ascontiguousarray(each, np.int64) for each in (table.prompt_tokens, table.output_tokens))
    left_tokens = np.ascontiguousarray(order.left_tokens, float)
    from_tokens = np.ascontiguousarray(order.from_tokens, np.int64)
    numbers = (left_tokens, from_tokens, np.array(rules, float), law.params, places)
    return Served(*compiled(steps)(np.ascontiguousarray(table.arrival_s), *columns, *numbers))


def key_of(
    request: int,
    made: int,
    compute: int,
    arrival_s: np.ndarray,
    column: np.ndarray,
    left: np.ndarray,
    start: np.ndarray,
    rules: np.ndarray,
) -> float:
    """The least runs: what is left of who has `made` tokens and has to `compute` others first; or by arrival, too."""
    place = column[request]
    tokens = max(left[request, place] - rules[DOWN] * (made - start[place]), 0.0) + rules[CHARGE] * compute
    return tokens if rules[WEIGHT] == np.inf else arrival_s[request] + rules[WEIGHT] * tokens


def sit(
    seat: int,
    request: int,
    count: int,
    seats: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    output: np.ndarray,
    column: np.ndarray,
    left: np.ndarray,
    start: np.ndarray,
    rules: np.ndarray,
) -> None:
    """Seat a request that has so many tokens, or renew what is expected of it."""
    running, made, stop, worth = seats
    place = column[request]
    while place + 1 < len(start) and start[place + 1] <= count:
        place += 1
    column[request], running[seat], made[seat] = place, request, count
    stop[seat] = output[request] if place + 1 == len(start) else min(output[request], start[place + 1])
    worth[seat] = left[request, place] + rules[DOWN] * start[place]


def leave(seat: int, last: int, seats: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Give a seat to who has the last one."""
    running, made, stop, worth = seats
    running[seat], made[seat], stop[seat], worth[seat] = running[last], made[last], stop[last], worth[last]


def loser_of(
    key: float,
    waiting: int,
    decodes: int,
    seats: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    arrival_s: np.ndarray,
    prompt: np.ndarray,
    left: np.ndarray,
    rules: np.ndarray,
) -> int:
    """The seat that is worth most to whoever waits with this key; -1: none is worth taking."""
    running, made, _, worth = seats
    most, loser = key, -1
    for seat in range(decodes if rules[UNTIL] > 0.0 else 0):
        own = max(worth[seat] - rules[DOWN] * made[seat], 0.0)
        if rules[KEEPS] == 0.0:
            again = (prompt[running[seat]] + made[seat]) * (1.0 + waiting / len(running))
            own -= rules[RELUCTANCE] * rules[CHARGE] * again
        if rules[WEIGHT] < np.inf:
            own = arrival_s[running[seat]] + rules[WEIGHT] * own
        if own > most and (rules[UNTIL] == np.inf or made[seat] < rules[UNTIL] * left[running[seat], 0]):
            most, loser = own, seat
    return loser


def steps(
    arrival_s: np.ndarray,
    prompt: np.ndarray,
    output: np.ndarray,
    left: np.ndarray,
    start: np.ndarray,
    rules: np.ndarray,
    law: np.ndarray,
    places: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Kernel of `serve`: in each step a token for all who decode, and prompts in what the budget leaves."""
    count = len(arrival_s)
    first_s, end_s, lost = np.zeros(count), np.zeros(count), np.zeros(count, np.int64)
    produced, stored, column = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    running, made, stop, worth = (
        np.zeros(places, np.int64),
        np.zeros(places, np.int64),
        np.zeros(places, np.int64),
        np.zeros(places),
    )
    seats, joining = (running, made, stop, worth), np.zeros(places, np.int64)
    waiting = [(0.0, 0) for _ in range(0)]  # a heap
    now_s, arrived, done, begun, decodes, context, held, most = 0.0, 0, 0, -1, 0, 0, 0, 0
    settled = False  # nobody has a place that is worth taking: tokens only make it worth less, until one is renewed
    while done < count:
        while arrived < count and arrival_s[arrived] <= now_s:
            key = key_of(arrived, 0, prompt[arrived], arrival_s, column, left, start, rules)
            heapq.heappush(waiting, (key, arrived))
            arrived, settled = arrived + 1, False
        if decodes == 0 and begun < 0 and len(waiting) == 0:
            now_s = arrival_s[arrived]
            continue
        joins, prefill, budget = 0, 0, TOKENS_OF_STEP - decodes
        request, begun = begun, -1
        while budget > 0:
            if request < 0:  # the prompt that was begun comes first, then who waits
                if len(waiting) == 0:
                    break
                key, request = waiting[0]
                if decodes + joins == places:
                    if settled:
                        break
                    seat = loser_of(key, len(waiting), decodes, seats, arrival_s, prompt, left, rules)
                    if seat < 0:
                        settled = True
                        break
                    other, compute = running[seat], 0
                    produced[other] = made[seat]
                    lost[other] += 1
                    if rules[KEEPS] == 0.0:
                        compute = prompt[other] + made[seat]
                        held -= compute - 1
                        stored[other] = 0
                    context -= prompt[other] + made[seat]
                    decodes -= 1
                    budget += 1
                    leave(seat, decodes, seats)
                    heapq.heappop(waiting)
                    key = key_of(other, produced[other], compute, arrival_s, column, left, start, rules)
                    heapq.heappush(waiting, (key, other))
                else:
                    heapq.heappop(waiting)
            if produced[request] > 0 and rules[KEEPS] > 0.0:  # it goes on where it was
                sit(decodes, request, produced[request], seats, output, column, left, start, rules)
                context += prompt[request] + made[decodes]
                decodes += 1
                budget -= 1
            else:
                tokens = min(prompt[request] + produced[request] - stored[request], budget)
                stored[request] += tokens
                prefill += tokens
                budget -= tokens
                joining[joins] = request
                joins += 1
            request, settled = -1, False
        now_s += law[0] + law[1] * decodes + law[2] * prefill + law[3] * context
        held += decodes + prefill
        most = max(most, held)
        context += decodes
        for seat in range(decodes):
            made[seat] += 1
        seat = 0
        while seat < decodes:
            if made[seat] == stop[seat]:
                request = running[seat]
                if made[seat] == output[request]:
                    end_s[request] = now_s
                    context -= prompt[request] + made[seat]
                    held -= prompt[request] + made[seat] - 1
                    done += 1
                    decodes -= 1
                    leave(seat, decodes, seats)
                    continue
                sit(seat, request, made[seat], seats, output, column, left, start, rules)
                if settled and len(waiting) > 0:
                    key = key_of(request, made[seat], 0, arrival_s, column, left, start, rules)
                    settled = key <= waiting[0][0]
            seat += 1
        for place in range(joins):
            request = joining[place]
            if stored[request] < prompt[request] + produced[request]:
                begun = request
                continue
            produced[request] += 1
            if produced[request] == 1:
                first_s[request] = now_s
            if produced[request] == output[request]:
                end_s[request] = now_s
                held -= stored[request]
                done += 1
                continue
            settled = False
            sit(decodes, request, produced[request], seats, output, column, left, start, rules)
            context += prompt[request] + made[decodes]
            decodes += 1
    return first_s, end_s, lost, most
