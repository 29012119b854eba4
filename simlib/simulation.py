"""One call: check the table, prepare the policy, run the engine, return the run."""

from __future__ import annotations

import numbers
import operator
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from simlib.checks import MAX_GPUS, InputError, check_choice, check_integer
from simlib.continuous import loop
from simlib.continuous import serve as steps
from simlib.continuous.serve import rules_of
from simlib.continuous.settings import Continuous
from simlib.engine import batches, chains, shapes
from simlib.engine.compiled import is_compilable, is_own, is_worthwhile
from simlib.engine.stepped import stepped
from simlib.latency import models
from simlib.latency.trust import say, was_said
from simlib.named import execution_of, latency_of, policy_of, step_law_of
from simlib.policies.plan import Plan
from simlib.requests.table import RequestTable
from simlib.runs.batch_run import BatchRun
from simlib.runs.engine_run import EngineRun
from simlib.runs.run import Run
from simlib.runs.sla import ASSUMED, SLA

BACKENDS = ("auto", "compiled", "stepped", "interpreted")
OVERSIZE = ("error", "reject")
IDLE_SHARE, LONG_GAP_S, FEW_ROWS = 0.01, 1.0, 10


def simulate(
    requests: Any,
    policy: Any,
    latency: Any = "original-synthetic",
    gpus: int = 1,
    execution: Any = "run_to_completion",
    sla: Any = None,
    *,
    oversize: str = "error",
    backend: str = "auto",
) -> Run:
    """Serve requests under a policy.

    Parameters
    ----------
    requests : RequestTable or pandas.DataFrame
        With the columns ``arrival_s, prompt_tokens, output_tokens`` and, for policies that bin,
        ``predicted_output_tokens``.
    policy : object or str
        A policy of `simlib.policies`, or the name of one with its defaults. Continuous batching takes from it the
        order in which requests are admitted (that of its bins) and, from `StaticFIFO`, how many run at once;
        ``"fcfs"``: in order of arrival, with the engine's own cap.
    latency : object, str, Path or callable
        A model, a preset's name (`presets.names`), ``"alpha,beta,gamma"`` in seconds, a CSV of measurements, or a
        function of the batch's shape. A measured model warns once where batches lie outside its measurements.
        For continuous batching a law of steps, ``"a,b,c,d"`` in seconds, or a model that has one (`latency.steps`).
    gpus : int
        Number of GPUs, >= 1.
    execution : {"run_to_completion", "continuous"} or simlib.Continuous
        A GPU takes a batch and is busy until its longest request ends; or membership changes at each step, with the
        engine's settings.
    sla : SLA, float or str, optional
        Deadline of the summary, for all requests or by class (`sla.SLA`); default the policy's ``d_sla``, of a policy
        without one 1 s end to end, assumed (``run.sla.assumed``).
    oversize : {"error", "reject"}
        What to do with requests whose tokens alone exceed the memory: name the first and stop, or reject them all,
        which counts them as violations.
    backend : {"auto", "compiled", "stepped", "interpreted"}
        ``auto`` compiles, and runs a policy or latency function that cannot be compiled in plain Python between
        compiled steps (``stepped``); the first few thousand requests of a process it serves interpreted, which is
        sooner done than numba is loaded. All give the same result to the last bit; ``run.backend`` says which was used.

    Returns
    -------
    Run
        A `BatchRun`, or of continuous batching an `EngineRun`.

    Raises
    ------
    InputError
        Naming the parameter or the table's column and row, the value and what was expected; before anything runs,
        except for a policy or a latency function that misbehaves during the run.

    Examples
    --------
    >>> import simlib
    >>> table = simlib.workload.original(100, seed=1)
    >>> run = simlib.simulate(table, "static_fifo", gpus=2, backend="interpreted")
    >>> run.summary()["requests"]
    100
    """
    sla = None if sla is None else SLA.of(sla)
    table = RequestTable.of(requests, [sla.by] if sla and sla.by else [])
    _refuse_failures(table)
    if table is not requests:  # a user's own numbers; what makes or reads tables knows them
        _report_no_prompt(table)
    engine = execution_of(execution)
    if engine is None and table.cancel_s is not None and not np.isnan(table.cancel_s).all():
        row = int(np.argmin(np.isnan(table.cancel_s)))
        what = "expected NaN, or execution 'continuous': a batch runs to completion whoever waits for it"
        raise InputError(f"cancel_s, row {row}: {table.cancel_s[row]:g} ({what})")
    policy = policy_of(policy, execution)
    gpus = check_integer("gpus", gpus, 1, MAX_GPUS)
    check_choice("backend", backend, BACKENDS)
    check_choice("oversize", oversize, OVERSIZE)
    deadline = SLA.of(getattr(policy, "d_sla", ASSUMED)) if sla is None else sla
    _report_classes(deadline, table)
    if policy.needs_predictions and table.predicted_output_tokens is None:
        adds = 'simlib.predictors.predict(requests, simlib.predictors.Oracle(), family="mine") adds it'
        raise InputError(f"predicted_output_tokens: missing column (policy {policy.name} bins by it; {adds})")
    law = latency_of(latency) if engine is None else step_law_of(latency)
    if engine is None:
        law.check(len(table))
    else:
        engine.report(table)
    plan = policy.plan(table, gpus)
    if (plan.decide if engine is None else plan.order) is None:
        lacks = "forms no batches" if engine is None else "has no order of admission"
        other = "continuous" if engine is None else "run_to_completion"
        raise InputError(f"policy {policy.name}: {lacks} (expected another one, or execution {other!r})")
    if engine is None and str(getattr(policy, "bounds", "")).startswith("equal_mass"):
        _report_ties(plan)
    keep = _fitting(table, plan, engine, oversize)
    backend = _backend(backend, plan, law, policy.name, engine)
    ended = _serve(table, plan, law, gpus, engine, backend, keep, policy.name)
    arrived, found, given_row = table, ended.served, None
    if table.closed:
        given_row = ended.came
        arrived, found = table.as_arrived(given_row, ended.arrival_s), found.of_rows(given_row)
    about = {
        "table": arrived,
        "given_row": given_row,
        "served": found,
        "gpus": gpus,
        "sla": deadline,
        "policy": policy.name,
        "edges": plan.edges,
        "backend": backend,
        "settings": {"policy": repr(policy), "latency": repr(law), "execution": repr(engine) if engine else execution},
    }
    if engine is not None:
        rules = rules_of(engine, law, gpus, plan.order)
        run = EngineRun(law=law, rules=rules, order=plan.order, control=engine.control, **about)
        _report_beyond(run)
        _report_collapse(run)
        return run
    if table is not requests and not table.closed:
        _report_idleness(table.arrival_s, found.service_s)
    law.report(arrived, found)
    first_token_after_s = law.first_token_s(_shapes(found))
    run = BatchRun(
        first_token_after_s=first_token_after_s, notes=plan.notes, least=plan.least, target_s=plan.target_s, **about
    )
    _report_collapse(run)
    return run


def _refuse_failures(table: RequestTable) -> None:
    if not (table.output_tokens[0] or table.output_tokens.any()):
        raise InputError(
            f"output_tokens: 0 in all {len(table)} rows, which is a failed request: no request was served "
            "(expected at least one with an answer)"
        )


def _report_classes(sla: SLA, table: RequestTable) -> None:
    sla.limits_of(table)  # refuses a class without limits
    if never := sla.never(table):
        warnings.warn(f"sla: no request is of {sla.by}={', '.join(never)}, which has limits", stacklevel=3)


def _report_no_prompt(table: RequestTable) -> None:
    rows = np.flatnonzero((table.prompt_tokens == 0) & (table.output_tokens > 0))
    if len(rows):
        share = f"{len(rows)} of {len(table)} requests have no prompt"
        text = f"prompt_tokens, row {rows[0]}: 0 ({share}, which an engine refuses; they are simulated as given)"
        warnings.warn(text, stacklevel=3)


def _report_collapse(run: Run) -> None:
    """In the same words for every run of a study, so that it is said once."""
    if not run.collapsed:
        return
    who, sizes, target, target_s = f"policy {run.policy}", "batches", "d_sla", run.target_s
    if isinstance(run, EngineRun):
        who, sizes, target = "execution continuous", "steps", "target_s"
    text = (
        f"{who}: its controller has collapsed, {sizes} are at their least size, {run.least}, and slower than {target} "
        f"all the same, while requests wait ({target} = {target_s:g} s cannot be met)"
    )
    warnings.warn(text, stacklevel=3)


def _report_beyond(run: EngineRun) -> None:
    trust = getattr(run.law, "trust", None)
    if trust is None or was_said(trust.source, "fit", "steps"):
        return
    say(trust.source, "fit", [trust.misfit, *trust.unlike])
    if run.beyond:
        beyond = "; ".join(map(str, run.beyond))
        say(trust.source, "steps", [f"parts of a run lie outside the measured range: {beyond}"])


def _report_ties(plan: Plan) -> None:
    distinct, bins = plan.queues.occupied, len(plan.queues.end)
    if distinct < bins:
        warnings.warn(f"predicted_output_tokens: tied lengths leave {distinct} distinct bins of {bins}", stacklevel=3)


def _report_idleness(arrival_s: np.ndarray, service_s: np.ndarray) -> None:
    """Milliseconds given for seconds make a system a thousand times idler; a trace's own gaps are too wide to tell."""
    span_s = arrival_s[-1] - arrival_s[0]
    gap_s = span_s / max(len(arrival_s) - 1, 1)
    if len(arrival_s) >= FEW_ROWS and gap_s >= LONG_GAP_S and service_s.sum() < IDLE_SHARE * span_s:
        text = f"arrival_s: mean gap {gap_s:.3g} s, nothing waits (if these are milliseconds, divide them by 1000)"
        warnings.warn(text, stacklevel=3)


def _fitting(table: RequestTable, plan: Plan, engine: Continuous | None, oversize: str) -> np.ndarray | None:
    """Positions of the requests that fit a GPU's memory, or None if all do."""
    if engine is not None:
        needed, most = engine.needed_blocks(table), engine.blocks
    else:
        most = plan.capacity_tokens
        if table.kept("largest", lambda: int(np.max(table.prompt_tokens + table.output_tokens))) <= most:
            return None
        needed = table.prompt_tokens + table.output_tokens
    fits = needed <= most
    if oversize == "error" and not fits.all():
        row = int(np.argmin(fits))
        tokens = int(table.prompt_tokens[row] + table.output_tokens[row])
        needs, what = "", f"{most:.0f}, the memory of a GPU"
        if engine is not None:
            not_held = tokens - int(engine.needed_tokens(table)[row])  # the last one, and what others hold for it
            needs = f" tokens, {needed[row]} blocks of {engine.block_tokens}"
            what = (
                f"{most * engine.block_tokens + not_held} tokens, {most} blocks, of kv_tokens = {engine.kv_tokens}; "
                "the last token takes no place"
            )
        reject = 'oversize="reject" rejects such requests and counts them'
        where = f"prompt_tokens + output_tokens, row {row}"
        raise InputError(f"{where}: {tokens}{needs} (expected at most {what}; {reject})")
    return None if fits.all() else np.flatnonzero(fits)


def _backend(backend: str, plan: Plan, law: Any, name: str, engine: Continuous | None) -> str:
    if backend not in ("auto", "compiled"):
        return backend
    if backend == "auto" and not is_worthwhile(len(plan.queues.of)):
        return "interpreted"
    kinds, rule, learn = (batches if engine is None else loop).signatures(), plan, plan.learn
    if engine is not None:
        rule, learn = plan.order, None
    parts = (
        (f"policy {name}, decide", rule.decide, kinds.decide),
        (f"policy {name}, key", rule.key, kinds.key),
        (f"policy {name}, learn", learn, batches.signatures().learn),
        ("latency", law.law, kinds.law),
    )
    for part, function, kind in parts:
        possible, why = (True, "") if function is None or is_own(function) else is_compilable(function, kind)
        if not possible and backend == "compiled":
            raise InputError(f"backend: 'compiled' ({part} cannot be compiled: {why}; expected 'auto' or 'stepped')")
        if not possible:
            return "stepped"
    return "compiled"


def prepare(
    table: RequestTable, plan: Plan, model: models.LatencyModel, keep: np.ndarray | None = None
) -> tuple[shapes.Waiting, batches.Job]:
    """The engine's input: the plan's queues, empty so far, and what is to be served; `keep`: of these rows only.

    Where requests wait for answers it has all rows, and those that are not kept are refused when they arrive.
    """
    queues = plan.queues if keep is None else plan.queues.rows(keep)
    queue_of, fits = queues.of, None
    if table.closed and keep is not None:
        queue_of, fits, keep = plan.queues.of, np.isin(np.arange(len(table)), keep), None
    kept = table if keep is None else table.rows(keep)
    links = chains.chains(kept, fits)
    given_s = model.given_s(len(table))
    predicted, none = kept.predicted_output_tokens, np.zeros(0, np.int64)
    waiting = shapes.Waiting(
        head=queues.start.copy(),
        tail=queues.start.copy(),
        end=queues.end.copy() if table.closed else queues.end,
        order=queues.order.copy() if table.closed or plan.key is not None else queues.order,
        arrival_s=links.arrival_s,
        prompt_tokens=kept.prompt_tokens,
        predicted_output_tokens=none if predicted is None else predicted,
    )
    job = batches.Job(
        prompt_tokens=kept.prompt_tokens,
        output_tokens=kept.output_tokens,
        given_s=given_s if keep is None or len(given_s) == 0 else given_s[keep],
        queue_of=queue_of,
        client_of=np.zeros(0, np.int32)
        if plan.client_of is None
        else plan.client_of[slice(None) if keep is None else keep],
        capacity_tokens=np.array([min(plan.capacity_tokens, batches.MOST_TOKENS)], dtype=np.int64),  # whole tokens: cut
        priority=none if plan.key is None or kept.priority is None else kept.priority,
        end=queues.end,
        **links._asdict(),
    )
    return waiting, job


def _serve(
    table: RequestTable,
    plan: Plan,
    law: Any,
    gpus: int,
    engine: Continuous | None,
    backend: str,
    keep: np.ndarray | None,
    name: str,
) -> Ended:
    """Run the engine; whatever a policy does wrong is said with its name and the instant."""
    serve = _serve_batches if engine is None else _serve_steps
    try:
        ended = serve(table, plan, law, gpus, engine, backend, keep, name)
    except (InputError, MemoryError):
        raise
    except Exception:
        if backend != "compiled":
            raise
        # Compiled code does not tell which of its functions failed, nor when: once more, and it does.
        ended = serve(table, plan, law, gpus, engine, "stepped", keep, name)
    if ended.outcome != batches.DONE:
        raise InputError(_misbehaviour(ended, name, "batch" if engine is None else "step"))
    return ended


class Ended(NamedTuple):
    """How a run ended: what came of it, when requests came and in what order, lines, who waits, the last instant."""

    outcome: int
    served: Any
    arrival_s: np.ndarray
    came: np.ndarray
    lines: int
    waiting: int
    now_s: float
    answer: np.ndarray


def _serve_batches(
    table: RequestTable, plan: Plan, model: Any, gpus: int, _: None, backend: str, keep: np.ndarray | None, name: str
) -> Ended:
    if keep is not None and len(keep) == 0 and not table.closed:
        none = batches.nothing_served(len(table), len(plan.notes))
        return Ended(batches.DONE, none, table.arrival_s, np.zeros(0), 0, 0, 0.0, np.zeros(2))
    waiting, job = prepare(table, plan, model, keep)
    law = model.law
    if backend != "compiled":
        plan, law = _answering(plan, name), _timing(law)
    outcome, served, state = batches.serve(waiting, job, gpus, plan, law, model.params, WAYS[backend])
    if keep is not None and not table.closed:
        batch_of = np.full(len(table), -1, dtype=np.int64)
        batch_of[keep] = served.batch_of
        served = served._replace(batch_of=batch_of)
    left = int(np.sum(waiting.tail - waiting.head))
    return Ended(outcome, served, job.arrival_s, job.came, len(waiting.head), left, state.now_s[0], state.answer)


def _serve_steps(
    table: RequestTable, plan: Plan, law: Any, gpus: int, engine: Continuous, backend: str, _: Any, name: str
) -> Ended:
    order = plan.order if backend == "compiled" else _answering(plan.order, name)
    late, rules = table.sent_later(getattr(law, "way_in_s", 0.0)), rules_of(engine, law, gpus, order)
    outcome, served, lines = steps.served(late, law, gpus, rules, order, backend, engine.control)
    left = int(np.sum(lines.tail - lines.head))
    return Ended(
        outcome, served, served.arrival_s, served.came, lines.head.shape[1], left, lines.asked_s[0], lines.answer
    )


WAYS = {"compiled": batches.all_compiled, "stepped": stepped, "interpreted": batches.interpreted}


def _answering(plan: Any, name: str) -> Any:
    """A policy's plain functions that answer as their compiled twins must, or are named."""
    kernels = {part: getattr(plan, part, None) for part in ("decide", "key", "learn")}
    guards = {part: _guarded(k, part, name) for part, k in kernels.items() if k is not None and not is_own(k)}
    return plan._replace(**guards)


def _guarded(kernel: Callable[..., Any], part: str, name: str) -> Callable[..., Any]:
    check = {"decide": _two_integers, "key": _number, "learn": _anything}[part]

    def answer(now_s: float, *sees: Any) -> Any:
        try:
            given = kernel(now_s, *sees)
        except Exception as problem:
            what = f"{part} raised {type(problem).__name__}: {problem}"
            raise InputError(f"policy {name}: {what}, at {now_s:.6g} s") from problem
        try:
            return check(given)
        except (TypeError, ValueError):
            wanted = "a number" if part == "key" else "a queue and a size, two integers"
            raise InputError(f"policy {name}: {part} answered {given!r} at {now_s:.6g} s (expected {wanted})") from None

    return answer


def _two_integers(given: Any) -> tuple[int, int]:
    queue, size = given
    queue, size = int(operator.index(queue)), int(operator.index(size))
    if not (-(2**62) < size < 2**62 and -(2**62) < queue < 2**62):
        raise ValueError
    return queue, size


def _number(given: Any) -> float:
    if not isinstance(given, numbers.Real):
        raise TypeError
    return float(given)


def _anything(given: Any) -> None:
    """What `learn` returns is not looked at."""


def _timing(law: Callable[..., Any]) -> Callable[..., float]:
    """A latency model's plain function that answers with a number, as its compiled twin must, or is named."""
    if is_own(law):
        return law

    def time_s(batch: np.ndarray, params: np.ndarray) -> float:
        given = law(batch, params)
        if not isinstance(given, numbers.Real):
            raise InputError(f"latency: a batch's time is {given!r} (expected seconds)")
        return float(given)

    return time_s


def _misbehaviour(ended: Ended, name: str, what: str) -> str:
    now = f"at {ended.now_s:.6g} s"
    if ended.outcome == batches.STUCK:
        return f"policy {name}: {ended.waiting} requests wait for ever {now} (every GPU is idle, no request will come)"
    if ended.outcome == batches.ENDLESS:
        return f"policy {name}: sequences take each other's memory for ever (expected more kv_tokens)"
    if ended.outcome == batches.BAD_DECISION:
        answer = f"({ended.answer[0]}, {ended.answer[1]})"
        wanted = f"a queue in 0..{ended.lines - 1} and a size, below 0 only where requests of it wait"
        return f"policy {name}: a decision out of range {now}: {answer} (expected {wanted})"
    return f"latency: a {what}'s time is negative or not finite {now} (expected seconds >= 0)"


def _shapes(served: batches.Batches) -> np.ndarray:
    """Each batch's size and longest and summed prompt, in the first columns of `shapes.BATCH_COLUMNS`."""
    return np.column_stack([served.size, served.max_prompt_tokens, served.sum_prompt_tokens])
