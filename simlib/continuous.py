"""Continuous batching: membership changes at each step, memory is the KV cache.

The engine's settings (`Continuous`), and what serves a request table with them. The loop itself is `steploop`, how
long a step takes is a law of `step_laws`; the result is a run like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from simlib import length_classes, step_laws, step_state, steploop
from simlib.checks import InputError, check_choice, check_integer, check_number, check_type
from simlib.compiled import compiled, is_compilable, is_worthwhile
from simlib.engine_run import EngineRun, Served
from simlib.policy_names import NAMED
from simlib.step_control import StepControl
from simlib.table import RequestTable

__all__ = ["Continuous", "logged", "rules_of", "serve", "simulate"]

PREFILL = ("first", "mixed", "chunked")
ROUTING = ("shared", "round_robin", "least_tokens", "least_requests", "by_class")
MOST_SEATS, MOST_TOKENS = 2**20, 2**40
SAMPLES = 1024  # at most, of each GPU's memory


class FirstCome:
    """Policy ``fcfs``, which only an engine has: in order of arrival, as many at once as its own cap allows."""

    name: ClassVar[str] = "fcfs"
    needs_predictions: ClassVar[bool] = False

    def plan(self, table: RequestTable, gpus: int) -> Any:
        """It forms no batches.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError("policy: fcfs (expected a policy that forms batches, or execution 'continuous')")

    def __repr__(self) -> str:
        return "fcfs"


@dataclass(frozen=True, slots=True)
class Continuous:
    """Settings of a serving engine that batches continuously.

    Parameters
    ----------
    max_seqs : int
        Sequences that run at once on a GPU, at most; each of them takes a token of the budget, so that no more than
        `token_budget` run.
    kv_tokens : int, optional
        Tokens that the KV cache of a GPU holds; by default without limit.
    block_tokens : int
        The cache is given out in blocks of so many tokens, a power of two; 1: token by token.
    token_budget : int
        Tokens of a step, decodes and prompts together.
    prefill : {"chunked", "mixed", "first"}
        Prompts fill what the decodes leave of the budget, the last one cut to fit; whole prompts only, beside the
        decodes; whole prompts in steps of their own, which come first. A prompt above the budget goes alone where
        prompts are whole.
    steps_in_flight : {1, 2}
        With 2, a step is composed while the one before it runs.
    reserve : bool
        Whether a sequence is given the memory of all its tokens when it is admitted, or blocks as it needs them; in
        that case the newest sequences are preempted when none are left, and computed again later.
    watermark : float
        Share of the cache that an admission leaves free for those that run.
    reuse : bool
        Whether a sequence that was preempted finds the blocks again that nobody else was given meanwhile; free blocks
        are given out in the order in which they became free, a sequence's last ones first. So do engines that cache
        prefixes; without, all of it is computed again.
    share_cached : bool
        Whether the cached tokens of a prompt lie in blocks that other sequences hold: whole blocks of them take no
        memory then. Otherwise each sequence holds its own.
    whole_prompt : bool
        Whether a prompt is admitted only if all of it fits, or if its first chunk does.
    routing : {"shared", "round_robin", "least_tokens", "least_requests", "by_class"}
        GPUs take from one line; or each request is given, at its arrival, to the next GPU, to the one with the fewest
        tokens of unfinished requests (prompt and predicted output, the true one without predictions), or with the
        fewest such requests; or, by its predicted output, to the one with the fewest of those that its class has.
    classes : int, optional
        Of ``routing="by_class"``: how many classes of predicted output share the GPUs, each as many as the others or
        one more, at most one a GPU; by default one a GPU. Where they are cut: `length_classes.edges`.
    timeout_s : float, optional
        A client who has waited for so long, and was not admitted, is gone.
    control : step_control.StepControl, optional
        A controller on each GPU, which sets how many sequences run at once, or the tokens of a step, within the above.

    Examples
    --------
    >>> Continuous(max_seqs=64, kv_tokens=60_000).prefill
    'chunked'
    """

    max_seqs: int = 256
    kv_tokens: int | None = None
    block_tokens: int = 16
    token_budget: int = 2048
    prefill: str = "chunked"
    steps_in_flight: int = 1
    reserve: bool = False
    watermark: float = 0.0
    reuse: bool = False
    share_cached: bool = False
    whole_prompt: bool = True
    routing: str = "shared"
    timeout_s: float | None = None
    control: StepControl | None = None
    classes: int | None = None
    policies: ClassVar[dict[str, Any]] = {**NAMED, "fcfs": FirstCome}

    def __post_init__(self) -> None:
        check_integer("max_seqs", self.max_seqs, 1, MOST_SEATS)
        block = check_integer("block_tokens", self.block_tokens, 1, 2**16)
        if block & (block - 1):
            raise InputError(f"block_tokens: {block} (expected a power of two)")
        check_integer("token_budget", self.token_budget, block, MOST_TOKENS)
        if self.kv_tokens is not None:
            check_integer("kv_tokens", self.kv_tokens, block, MOST_TOKENS)
        check_choice("prefill", self.prefill, PREFILL)
        check_integer("steps_in_flight", self.steps_in_flight, 1, 2)
        check_number("watermark", self.watermark, 0.0, 1.0, open_high=True)
        check_choice("routing", self.routing, ROUTING)
        if self.timeout_s is not None:
            check_number("timeout_s", self.timeout_s, 0.0, open_low=True)
        if self.control is not None:
            check_type("control", self.control, StepControl, "a StepControl")
        if self.classes is not None:
            check_integer("classes", self.classes, 1)
            if self.routing != "by_class":
                raise InputError(f"classes: {self.classes} (expected routing 'by_class', not {self.routing!r})")

    @property
    def bits(self) -> int:
        """Of the tokens of a block, which are ``1 << bits``."""
        return self.block_tokens.bit_length() - 1

    @property
    def blocks(self) -> int:
        """Blocks of a GPU's cache."""
        return (MOST_TOKENS if self.kv_tokens is None else self.kv_tokens) // self.block_tokens

    def needed_blocks(self, table: RequestTable) -> np.ndarray:
        """Blocks of each request at its end: the last token is never read, so that it takes no place."""
        return _needed_blocks(table, self.bits, int(self.share_cached))


def simulate(
    table: RequestTable,
    policy: Any,
    latency: Any,
    gpus: int,
    settings: Continuous,
    sla: Any,
    oversize: str,
    backend: str,
) -> EngineRun:
    """`simulation.simulate` for continuous batching; arguments are checked there."""
    law = step_laws.resolve(latency)
    bins, bin_of, edges, order = _order(policy, table, gpus)
    needed = settings.needed_blocks(table)
    if oversize == "error" and (needed > settings.blocks).any():
        row = int(np.argmax(needed > settings.blocks))
        tokens = table.prompt_tokens[row] + table.output_tokens[row]
        raise InputError(
            f"prompt_tokens + output_tokens, row {row}: {tokens} (expected at most the KV budget, "
            f'{settings.kv_tokens} tokens; oversize="reject" rejects such requests and counts them)'
        )
    backend = _backend(backend, law, len(table))
    rules = rules_of(settings, law, gpus, bins, **order)
    if settings.routing == "by_class":
        class_of = length_classes.assign(table, law, rules, gpus).astype(np.int32)
        bin_of = class_of * bins + (bin_of if bins > 1 else 0)
    return EngineRun(
        table=table,
        served=_serve(table, law, gpus, rules, bin_of, backend, settings.control),
        first_token_after_s=np.zeros(0),
        gpus=gpus,
        sla=sla,
        policy=policy.name,
        binned=edges is not None,
        edges=edges,
        backend=backend,
        settings={"policy": repr(policy), "latency": repr(law), "execution": repr(settings)},
        law=law,
        rules=rules,
        bin_of=bin_of,
        control=settings.control,
    )


def serve(
    table: RequestTable, law: Any, settings: Continuous, gpus: int = 1, backend: str = "compiled", log_steps: int = 0
) -> Served:
    """The step loop alone, first come, first served, for tables of which every request fits; it logs so many steps."""
    rules = rules_of(settings, law, gpus)
    return _serve(table, law, gpus, rules, np.zeros(0, np.int32), backend, settings.control, log_steps)


def logged(run: EngineRun, log_steps: int) -> Served:
    """Serve a run's requests once more, which gives the same to the last bit, and log so many steps of each GPU."""
    return _serve(run.table, run.law, run.gpus, run.rules, run.bin_of, run.backend, run.control, log_steps)


def _order(policy: Any, table: RequestTable, gpus: int) -> tuple[int, np.ndarray, Any, dict[str, Any]]:
    """The policy's bins, and what it says of an engine: how the next bin is chosen, how many sequences run."""
    if getattr(policy, "batches_only", False):
        raise InputError(f"policy {policy.name}: of batches that run to completion (expected one that an engine has)")
    if hasattr(policy, "decide"):
        raise InputError(f"policy {policy.name}: asks for batches (expected a policy whose order is that of its bins)")
    order = getattr(policy, "step_rules", {})
    if not policy.needs_predictions:
        return 1, np.zeros(0, np.int32), None, order
    plan = policy.plan(table, gpus)
    return len(plan.queues.end), plan.queues.of.astype(np.int32), plan.edges, order


def _backend(backend: str, law: Any, requests: int) -> str:
    if backend == "stepped":
        raise InputError("backend: 'stepped' (expected 'auto', 'compiled' or 'interpreted' for continuous batching)")
    if backend == "interpreted" or (backend == "auto" and not is_worthwhile(requests)):
        return "interpreted"
    possible, why = is_compilable(law.law, steploop.signatures().law)
    if not possible and backend == "compiled":
        raise InputError(f"backend: 'compiled' (the step law cannot be compiled: {why}; expected 'auto')")
    return "compiled" if possible else "interpreted"


def rules_of(
    settings: Continuous,
    law: Any,
    gpus: int,
    bins: int = 1,
    selection: int = step_state.OLDEST_BIN,
    seats: int | None = None,
    seconds_per_token: float = 0.0,
    output_weight: float = 0.0,
) -> step_state.StepRules:
    """The settings as the loop reads them."""
    if settings.control is not None:
        settings.control.check(law, settings.max_seqs, settings.token_budget, settings.kv_tokens)
    return step_state.StepRules(
        seats=int(min(settings.max_seqs, settings.token_budget, settings.max_seqs if seats is None else seats)),
        blocks=settings.blocks,
        bits=settings.bits,
        watermark=int(settings.watermark * settings.blocks),
        budget=settings.token_budget,
        prefill=PREFILL.index(settings.prefill),
        two=int(settings.steps_in_flight == 2),
        reserve=int(settings.reserve),
        whole=int(settings.whole_prompt or settings.reserve),
        routing=ROUTING.index(settings.routing if gpus > 1 else "round_robin"),
        bins=bins,
        selection=selection,
        linear=int(law.linear),
        spread=int(law.spread),
        control=int(settings.control is not None),
        classes=_classes(settings, gpus),
        reuse=int(settings.reuse),
        share=int(settings.share_cached),
        timeout_s=math.inf if settings.timeout_s is None else settings.timeout_s,
        seconds_per_token=seconds_per_token,
        output_weight=output_weight,
    )


def _classes(settings: Continuous, gpus: int) -> int:
    if settings.routing != "by_class":
        return 1
    return gpus if settings.classes is None else check_integer("classes", settings.classes, 1, gpus)


def _serve(
    table: RequestTable,
    law: Any,
    gpus: int,
    rules: step_state.StepRules,
    bin_of: np.ndarray,
    backend: str,
    control: StepControl | None = None,
    log_steps: int = 0,
) -> Served:
    """Serve all requests that a GPU's cache can hold."""
    fits = _needed_blocks(table, rules.bits, rules.share) <= rules.blocks
    keep = None if fits.all() else np.flatnonzero(fits)
    kept = table if keep is None or len(keep) == 0 else table.rows(keep)
    predicted, cached = kept.predicted_output_tokens, kept.cached_prompt_tokens
    rules = rules._replace(seats=min(rules.seats, len(kept)), share=int(rules.share and cached is not None))
    none = np.zeros(0, np.int64)
    ask = step_state.Ask(
        arrival_s=kept.arrival_s,
        prompt_tokens=kept.prompt_tokens,
        output_tokens=kept.output_tokens,
        expected_tokens=kept.output_tokens if predicted is None else predicted,
        cached_tokens=none if cached is None else cached,
        bin_of=bin_of if keep is None or len(bin_of) == 0 else bin_of[keep],
    )
    state = _state(ask, rules, gpus, log_steps, control)
    run = steploop.loop
    kernel = law.law
    if backend == "compiled":
        kinds = steploop.signatures()
        run, kernel = compiled(run, kinds.loop), compiled(kernel, kinds.law)
    if keep is None or len(keep) > 0:
        outcome = run(ask, state, rules, kernel, law.params)
        if outcome != step_state.DONE:
            raise InputError("latency: a step's time is negative or not finite (expected seconds >= 0)")
    columns = (state.start_s, state.first_token_s, state.completion_s, state.gpu)
    if keep is not None:
        columns = tuple(_spread(column, keep, len(table)) for column in columns)
    return Served(
        *columns, state.numbers, state.times, state.gaps, state.series, state.steps, state.control, state.decisions
    )


def _needed_blocks(table: RequestTable, bits: int, share: int) -> np.ndarray:
    tokens = step_state.own_prompt_tokens(table, bits, share) + np.maximum(table.output_tokens - 1, 0)
    return step_state.blocks_of(tokens, bits)


def _spread(column: np.ndarray, keep: np.ndarray, rows: int) -> np.ndarray:
    """A column of some requests as one of all, which lack what was not served."""
    spread = np.full(rows, -1 if column.dtype.kind == "i" else np.nan, column.dtype)
    spread[keep] = column[: len(keep)]
    return spread


def _state(
    ask: step_state.Ask, rules: step_state.StepRules, gpus: int, log_steps: int, control: StepControl | None
) -> step_state.State:
    requests, lines = len(ask.arrival_s), rules.bins * gpus
    numbers = np.zeros((gpus, len(step_state.NUMBERS)), np.int64)
    for column in (step_state.PARTIAL, step_state.NEWEST, step_state.RESUMED, step_state.LAST_BIN):
        numbers[:, column] = -1
    numbers[:, step_state.CAP], numbers[:, step_state.ROOM] = rules.seats, rules.budget
    none = np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1, 1))
    controllers = none if control is None else control.arrays(rules, gpus)
    times = np.zeros((gpus, len(step_state.TIMES)))
    times[:, step_state.NOW] = -math.inf
    times[:, step_state.SAMPLE] = -math.inf
    times[:, step_state.SAMPLE_GAP] = max((ask.arrival_s[-1] - ask.arrival_s[0]) / SAMPLES, 1e-3)
    real = np.zeros(1)
    return step_state.State(
        numbers=numbers,
        times=times,
        heap=np.empty((gpus, rules.seats + 1), np.int64),
        growth=np.zeros((gpus, 1 << rules.bits), np.int64),
        joined=np.empty(rules.seats + 1, np.int64),
        shape=np.zeros(len(step_state.SHAPE)),
        gaps=np.zeros(step_state.GAP_BINS * step_state.GAP_OCTAVES, np.int64),
        real=real,
        bits=real.view(np.int64),
        series=np.zeros((gpus, max(16, min(SAMPLES, 2**16 // gpus)), 4)),
        steps=np.zeros((gpus, log_steps, len(step_state.LOGGED))),
        first=np.zeros(lines, np.int64),
        last=np.zeros(lines, np.int64),
        length=np.zeros(lines, np.int64),
        follows=np.empty(requests, np.int32),
        precedes=np.empty(requests, np.int32),
        done=np.zeros(requests, np.int32),
        place=np.zeros(requests if rules.reuse else 0, np.int64),
        filled=np.zeros(requests if rules.reuse else 0, np.int32),
        gpu=np.full(requests, -1, np.int32),
        start_s=np.full(requests, np.nan),
        first_token_s=np.full(requests, np.nan),
        completion_s=np.full(requests, np.nan),
        counters=np.zeros(lines + 1),
        control=controllers[0],
        control_rules=controllers[1],
        decisions=controllers[2],
    )
