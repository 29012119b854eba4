"""Serve a request table with an engine that batches continuously."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from simlib.checks import InputError, check_integer
from simlib.continuous import classes, loop
from simlib.continuous import columns as at
from simlib.continuous.control import StepControl
from simlib.continuous.prefix import are_met, contents, generated
from simlib.continuous.priority import levels_of, urgency
from simlib.continuous.running.copies import COPY, LISTS
from simlib.continuous.running.line import RECORD
from simlib.continuous.settings import PREFILL, ROUTING, Continuous, needed_tokens
from simlib.continuous.state import (
    BY_CLASS,
    GAP_BINS,
    GAP_OCTAVES,
    IN_TURN,
    LOGGED,
    PREFIX_COST,
    SHARED,
    Ask,
    Lines,
    State,
    StepRules,
    blocks_of,
)
from simlib.continuous.stepped import stepped
from simlib.engine import shapes
from simlib.engine.batches import DONE, no_key
from simlib.engine.chains import chains
from simlib.engine.compiled import compiled, is_worthwhile, until_done
from simlib.policies import bins
from simlib.policies.plan import Order
from simlib.requests.table import RequestTable

SAMPLES = 1024  # at most, of each GPU's memory
MORE_TO_COME = 2**62  # stands for the end of a line that a router deals to
FIRST_COME = Order()


def serve(
    table: RequestTable, law: Any, settings: Continuous, gpus: int = 1, backend: str = "compiled", log_steps: int = 0
) -> Served:
    """The step loop alone, first come, first served, for tables of which every request fits; it logs so many steps.

    `backend` is ``compiled``, ``interpreted``, or ``auto``: compiled once that pays for as many requests.
    """
    if backend == "auto":
        backend = "compiled" if is_worthwhile(len(table)) else "interpreted"
    rules = rules_of(settings, law, gpus)
    outcome, found, _ = served(table, law, gpus, rules, FIRST_COME, backend, settings.control, log_steps)
    if outcome != DONE:
        raise InputError("latency: a step's time is negative or not finite (expected seconds >= 0)")
    return found


def rules_of(settings: Continuous, law: Any, gpus: int, order: Order = FIRST_COME) -> StepRules:
    """The settings as the loop reads them."""
    if settings.control is not None:
        settings.control.check(law, settings.max_seqs, settings.token_budget, settings.kv_tokens)
    if order.priority and settings.prefill == "first":
        raise InputError("policy: 'priority' (expected prefill 'chunked' or 'mixed' with it)")
    if settings.prefix_cache and order.at_once is not None:
        raise InputError(
            f"policy: static batches of at most {order.at_once} (expected 'fcfs', or another one that leaves it to the "
            "engine how many run, with prefix_cache)"
        )
    most = settings.max_seqs if order.at_once is None else order.at_once
    return StepRules(
        seats=int(min(settings.max_seqs, settings.token_budget, most)),
        blocks=settings.blocks,
        bits=settings.bits,
        watermark=int(
            settings.watermark * (settings.blocks + 1)
        ),  # of all, with the one that an engine keeps for itself
        budget=settings.token_budget,
        prefill=PREFILL.index(settings.prefill),
        two=int(settings.steps_in_flight == 2),
        reserve=int(settings.reserve),
        whole=int(settings.whole_prompt or settings.reserve),
        routing=ROUTING.index(settings.routing if gpus > 1 else "round_robin"),
        lines=1 if order.queues is None else len(order.queues.end),
        asks=int(order.decide is not None),
        keyed=int(order.key is not None),
        linear=int(law.linear),
        spread=int(law.spread),
        control=int(settings.control is not None),
        classes=_classes(settings, gpus),
        reuse=int(settings.reuse and not settings.prefix_cache),
        share=int(settings.share_cached),
        timeout_s=math.inf if settings.timeout_s is None else settings.timeout_s,
        overlap_score_weight=1.0 if settings.overlap_score_weight is None else settings.overlap_score_weight,
        priority=int(order.priority),
        cache=int(settings.prefix_cache),
        several=int(order.priority or settings.long_prefill_tokens > 0),
        long=settings.long_prefill_tokens,
        unknown=int(settings.steps_in_flight == 2 and not settings.known_ends),
    )


def _classes(settings: Continuous, gpus: int) -> int:
    if settings.routing != "by_class":
        return 1
    return gpus if settings.classes is None else check_integer("classes", settings.classes, 1, gpus)


def served(
    table: RequestTable,
    law: Any,
    gpus: int,
    rules: StepRules,
    order: Order,
    backend: str,
    control: StepControl | None = None,
    log_steps: int = 0,
) -> tuple[int, Served, Lines]:
    """Serve all requests that a GPU's cache can hold: the outcome (`engine.batches`), times and totals, the lines."""
    fits = blocks_of(needed_tokens(table, rules.bits, rules.share), rules.bits) <= rules.blocks
    keep = None if table.closed or fits.all() or not fits.any() else np.flatnonzero(fits)
    kept = table if keep is None else table.rows(keep)
    predicted, cached = kept.predicted_output_tokens, kept.cached_prompt_tokens
    rules = rules._replace(
        seats=min(rules.seats, len(kept)),
        share=int(rules.share and cached is not None),
        closed=int(table.closed),
        cancel=int(kept.cancel_s is not None),
    )
    if rules.closed and rules.timeout_s < math.inf:
        what = "expected None where requests wait for answers: who is gone is not answered"
        raise InputError(f"timeout_s: {rules.timeout_s:g} ({what})")
    if rules.closed and rules.cancel:
        raise InputError(
            "cancel_s: given (expected no such column where requests wait for answers: who is gone has none)"
        )
    class_of = classes.assign(table, law, rules, gpus) if rules.routing == BY_CLASS else None

    def of_kept(column: np.ndarray | None) -> np.ndarray:
        """A column that is none of the table's."""
        whole = np.zeros(0, np.int32) if column is None else column.astype(np.int32)
        return whole if keep is None or column is None else whole[keep]

    none, urgency_of = np.zeros(0, np.int64), levels_of if rules.closed else urgency
    first, listed, content, answers = none, np.zeros(0, np.int32), np.zeros(0, np.uint32), none
    if rules.cache:
        first, listed, content = kept.kept(("contents", rules.bits), lambda: contents(kept, rules.bits))
        answers = generated(first, listed, content, kept.prompt_tokens >> rules.bits)
    if not rules.closed:
        rules = rules._replace(answers=int(are_met(content, answers)))
    ask = Ask(
        prompt_tokens=kept.prompt_tokens,
        output_tokens=kept.output_tokens,
        expected_tokens=kept.output_tokens if predicted is None else predicted,
        predicted_tokens=none if predicted is None else predicted,
        cached_tokens=none if cached is None else cached,
        line_of=of_kept(order.queues.of if rules.lines > 1 else None),
        class_of=of_kept(class_of),
        client_of=of_kept(order.client_of),
        priority=none if not rules.keyed or kept.priority is None else kept.priority,
        first=first,
        listed=listed,
        contents=content,
        max_tokens=none if kept.max_tokens is None or not rules.unknown else kept.max_tokens,
        cancel_s=np.zeros(0) if kept.cancel_s is None else kept.cancel_s,
        leaving=none if kept.cancel_s is None else _leaving(kept.cancel_s),
        urgency=(urgency_of(table) if keep is None else urgency_of(table)[keep]) if rules.priority else none,
        **chains(kept, None if fits.all() else fits)._asdict(),
    )
    state = _state(ask, rules, gpus, log_steps, control, len(answers) > 0)
    lines = _lines(ask, rules, gpus, order)
    outcome = WAYS[backend](ask, lines, state, rules, law, order) if fits.any() or rules.closed else DONE
    columns = (state.start_s, state.first_token_s, state.completion_s, state.gpu)
    hits = state.hits
    if keep is not None:
        columns = tuple(_spread(column, keep, len(table)) for column in columns)
        hits = _spread(hits, keep, len(table)) if rules.cache else hits
    totals = (state.numbers, state.times, state.gaps, state.series, state.steps, state.control, state.decisions)
    return outcome, Served(*columns, *totals, hits, ask.arrival_s if rules.closed else table.arrival_s, ask.came), lines


def _leaving(cancel_s: np.ndarray) -> np.ndarray:
    """Rows whose clients are gone at some time, in the order of these times."""
    return np.argsort(cancel_s, kind="stable")[: np.count_nonzero(~np.isnan(cancel_s))]


def interpreted(ask: Ask, lines: Lines, state: State, rules: StepRules, law: Any, order: Order) -> int:
    """Run the loop as it stands, in plain Python."""
    return until_done(loop.loop, ask, lines, state, rules, law.law, law.params, order.decide, order.key)


def all_compiled(ask: Ask, lines: Lines, state: State, rules: StepRules, law: Any, order: Order) -> int:
    """Run loop, law and rule compiled; the loop is so once, whatever it calls."""
    kinds = loop.signatures()
    rule = (compiled(order.decide or nobody, kinds.decide), compiled(order.key or no_key, kinds.key))
    step = compiled(loop.kernel(rules), kinds.loop)
    return until_done(step, ask, lines, state, rules, compiled(law.law, kinds.law), law.params, *rule)


WAYS = {"compiled": all_compiled, "stepped": stepped, "interpreted": interpreted}


def nobody(
    now_s: float, gpu: int, waiting: shapes.Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel where no rule is asked."""
    return 0, 0


def _spread(column: np.ndarray, keep: np.ndarray, rows: int) -> np.ndarray:
    """A column of some requests as one of all, which lack what was not served."""
    spread = np.full(rows, -1 if column.dtype.kind == "i" else np.nan, column.dtype)
    spread[keep] = column[: len(keep)]
    return spread


def _state(ask: Ask, rules: StepRules, gpus: int, log_steps: int, control: StepControl | None, answers: bool) -> State:
    requests = len(ask.arrival_s)
    numbers = np.zeros((gpus, len(at.NUMBERS)), np.int64)
    for column in (at.PARTIAL, at.NEWEST, at.RESUMED, at.REFUSED, at.SPARE, at.NEWS):
        numbers[:, column] = -1
    numbers[:, at.CAP], numbers[:, at.ROOM] = rules.seats, rules.budget
    none = np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1, 1))
    controllers = none if control is None else control.arrays(rules, gpus)
    times = np.zeros((gpus, len(at.TIMES)))
    times[:, at.NOW] = ask.arrival_s[0]
    times[:, at.SAMPLE] = -math.inf
    times[:, at.SAMPLE_GAP] = max((ask.arrival_s[-1] - ask.arrival_s[0]) / SAMPLES, 1e-3)
    tokens = int(ask.prompt_tokens.sum() + ask.output_tokens.sum())
    most = min(rules.blocks, (tokens >> rules.bits) + requests) if rules.cache else 0  # blocks that hold something
    contents, by_cost = int(ask.contents.max()) + 1 if len(ask.contents) else 0, rules.routing == PREFIX_COST
    real = np.zeros(1)
    return State(
        numbers=numbers,
        times=times,
        heap=np.empty((gpus, rules.seats + 1), np.int64),
        growth=np.zeros((gpus, 1 << rules.bits), np.int64),
        joined=np.empty(rules.seats + 1, np.int64),
        shape=np.zeros(len(shapes.SHAPE)),
        gaps=np.zeros(GAP_BINS * GAP_OCTAVES, np.int64),
        real=real,
        bits=real.view(np.int64),
        series=np.zeros((gpus, max(16, min(SAMPLES, 2**16 // gpus)), 4)),
        steps=np.zeros((gpus, log_steps, len(LOGGED))),
        follows=np.empty(requests, np.int32),
        precedes=np.empty(requests, np.int32),
        done=np.zeros(requests, np.int32),
        place=np.full(requests if rules.reuse or rules.cache else 0, -1, np.int64),
        filled=np.zeros(requests if rules.reuse or rules.cache else 0, np.int32),
        ends=np.zeros(requests if rules.several or rules.answers else 0, np.int64),
        shown=np.zeros(requests if rules.cache else 0, np.int32),
        hits=np.zeros(requests if rules.cache else 0, np.int32),
        users=np.full((gpus, contents), -1, np.int32),
        mark=np.empty((gpus, contents), np.int32),
        maker=np.full((gpus, contents) if answers else (0, 0), -1, np.int32),
        copies=np.empty((gpus, most if contents else 0, COPY), np.int32),
        lists=np.full((gpus, LISTS if contents else 0), -1, np.int32),
        line=np.empty((gpus, 1 << (2 * most).bit_length(), RECORD), np.int32),
        gpu=np.full(requests, -1, np.int32),
        start_s=np.full(requests, np.nan),
        first_token_s=np.full(requests, np.nan),
        completion_s=np.full(requests, np.nan),
        control=controllers[0],
        control_rules=controllers[1],
        decisions=controllers[2],
        progress=np.array([0, 0, 0, 0, -1, -1]),
        asked=np.zeros((gpus, contents) if by_cost else (0, 0), np.int32),
        to_prefill=np.zeros(requests if by_cost else 0, np.int32),
        news=np.empty(2 * requests if by_cost else 0, np.int32),
        computed=np.full(requests if rules.several else 0, -1, np.int32),
        begun=np.zeros((gpus, rules.seats if rules.several else 0), np.int64),
        portion=np.zeros((gpus, rules.seats if rules.several else 0), np.int64),
        gone=np.zeros(1, np.int64),
    )


def _lines(ask: Ask, rules: StepRules, gpus: int, order: Order) -> Lines:
    """Nobody waits yet. Where a router looks at what GPUs have to do, nobody knows who will stand in which line."""
    requests, rows = len(ask.arrival_s), 1 if rules.routing == SHARED else gpus
    grid = rows, rules.lines
    dealt = rows > 1 and (rules.routing != IN_TURN or rules.closed == 1)
    if dealt:
        head, tail, end = np.zeros(grid, np.int64), np.zeros(grid, np.int64), np.full(grid, MORE_TO_COME)
        start, room, places = np.zeros(grid, np.int64), np.zeros(grid, np.int64), np.empty(8 * requests, np.int64)
    else:
        queues = order.queues
        if rows > 1 or queues is None or len(queues.of) != requests or len(ask.refused) > 0:
            line_of = ask.line_of if len(ask.line_of) > 0 else np.zeros(requests, np.int64)
            of = np.arange(requests) % rows * rules.lines + line_of
            queues = bins.queues(of[~ask.refused] if len(ask.refused) > 0 else of, rows * rules.lines)
        head, tail, end = (column.reshape(grid).copy() for column in (queues.start, queues.start, queues.end))
        start = room = np.zeros((0, 0), np.int64)
        written = rules.keyed or rules.priority or rules.closed or rules.cancel
        places = queues.order.copy() if written and queues is order.queues else queues.order
    memory = np.ascontiguousarray(order.memory, np.float64)
    return Lines(
        head=head,
        tail=tail,
        end=end,
        true_end=end.copy(),
        order=places,
        start=start,
        room=room,
        params=np.ascontiguousarray(order.params, np.float64),
        memory=np.repeat(memory[None], rows, axis=0),
        saved=memory.copy(),
        note=np.zeros(order.notes),
        given=np.zeros((rows, ask.client_of.max(initial=-1) + 1)),
        answer=np.zeros(3, np.int64),
        asked_s=np.zeros(1),
    )


class Served(NamedTuple):
    """Times and GPU of each request (NaN and -1: not served), each GPU's totals, gaps, series, steps, controller.

    `arrival_s` says when each of them came and, where some wait for answers, `came` in what order.
    """

    start_s: np.ndarray
    first_token_s: np.ndarray
    completion_s: np.ndarray
    gpu: np.ndarray
    numbers: np.ndarray
    totals_s: np.ndarray
    gaps: np.ndarray
    series: np.ndarray
    steps: np.ndarray
    control: np.ndarray
    decisions: np.ndarray
    hits: np.ndarray = np.zeros(0, np.int32)
    arrival_s: np.ndarray = np.zeros(0)
    came: np.ndarray = np.zeros(0, np.int32)

    def of_rows(self, rows: np.ndarray) -> Served:
        """The same, with the requests in another order."""
        columns, rows = ("start_s", "first_token_s", "completion_s", "gpu", "hits"), rows.astype(np.intp)
        changed = {c: getattr(self, c)[rows] for c in columns if len(getattr(self, c))}
        return self._replace(**changed, arrival_s=np.zeros(0))  # the table in that order has them
