"""One call: check the table, prepare the policy, run the engine, return the run."""

from __future__ import annotations

import numbers
import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from simlib.checks import MAX_GPUS, InputError, check_choice, check_integer
from simlib.continuous.classes import assign
from simlib.continuous.serve import backend_of, rules_of, served
from simlib.continuous.settings import Continuous
from simlib.engine import batches, shapes
from simlib.engine.compiled import is_compilable, is_own, is_worthwhile, one_at_a_time
from simlib.latency import models
from simlib.named import execution_of, latency_of, policy_of, step_law_of
from simlib.policies import bins as policies_bins
from simlib.policies.plan import Plan
from simlib.requests.table import RequestTable
from simlib.runs.batch_run import BatchRun
from simlib.runs.engine_run import EngineRun
from simlib.runs.run import Run
from simlib.runs.sla import ASSUMED, SLA

BACKENDS = ("auto", "compiled", "stepped", "interpreted")
OVERSIZE = ("error", "reject")
IDLE_SHARE, LONG_GAP_S, FEW_ROWS = 0.01, 1.0, 10
MOST_TOKENS = 2**62  # stands for a memory without limit


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
    sla : float or str, optional
        Deadline of the summary; default the policy's ``d_sla``, of a policy without one 1 s end to end, assumed
        (``run.sla.assumed``).
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
    table = RequestTable.of(requests)
    engine_settings = execution_of(execution)
    policy = policy_of(policy, execution)
    gpus = check_integer("gpus", gpus, 1, MAX_GPUS)
    check_choice("backend", backend, BACKENDS)
    check_choice("oversize", oversize, OVERSIZE)
    deadline = SLA.of(getattr(policy, "d_sla", ASSUMED) if sla is None else sla)
    if policy.needs_predictions and table.predicted_output_tokens is None:
        adds = 'simlib.predictors.predict(requests, simlib.predictors.Oracle(), family="mine") adds it'
        raise InputError(f"predicted_output_tokens: missing column (policy {policy.name} bins by it; {adds})")
    if engine_settings:
        return _simulate_continuous(table, policy, latency, gpus, engine_settings, deadline, oversize, backend)
    model = latency_of(latency)
    model.check(len(table))
    plan = policy.plan(table, gpus)
    if str(getattr(policy, "bounds", "")).startswith("equal_mass"):
        _report_ties(plan)
    keep = _fitting(table, plan, oversize)
    backend = _backend(backend, plan, model, policy.name)
    if keep is not None and len(keep) == 0:
        served = batches.nothing_served(len(table), len(plan.notes))
    else:
        served = _serve(table, plan, model, gpus, backend, keep, policy.name)
        if table is not requests:  # a user's own numbers; what makes or reads tables knows its unit
            _report_idleness(table.arrival_s, served.service_s)
    model.report(table, served)
    return BatchRun(
        table=table,
        served=served,
        first_token_after_s=model.first_token_s(_shapes(served)),
        gpus=gpus,
        sla=deadline,
        policy=policy.name,
        notes=plan.notes,
        edges=plan.edges,
        backend=backend,
        settings={"policy": repr(policy), "latency": repr(model), "execution": execution},
    )


def _report_ties(plan: Plan) -> None:
    distinct, bins = plan.queues.occupied, len(plan.queues.end)
    if distinct < bins:
        text = f"predicted_output_tokens: tied lengths leave {distinct} distinct bins of {bins}"
        warnings.warn(text, stacklevel=3)


def _report_idleness(arrival_s: np.ndarray, service_s: np.ndarray) -> None:
    """Milliseconds given for seconds make a system a thousand times idler; a trace's own gaps are too wide to tell."""
    span_s = arrival_s[-1] - arrival_s[0]
    gap_s = span_s / max(len(arrival_s) - 1, 1)
    if len(arrival_s) >= FEW_ROWS and gap_s >= LONG_GAP_S and service_s.sum() < IDLE_SHARE * span_s:
        text = f"arrival_s: mean gap {gap_s:.3g} s, nothing waits (if these are milliseconds, divide them by 1000)"
        warnings.warn(text, stacklevel=3)


def _fitting(table: RequestTable, plan: Plan, oversize: str) -> np.ndarray | None:
    """Positions of the requests that fit a GPU's memory, or None if all do."""
    if table.kept("largest", lambda: int(np.max(table.prompt_tokens + table.output_tokens))) <= plan.capacity_tokens:
        return None
    tokens = table.prompt_tokens + table.output_tokens
    fits = tokens <= plan.capacity_tokens
    if oversize == "error":
        row = int(np.argmin(fits))
        raise InputError(
            f"prompt_tokens + output_tokens, row {row}: {tokens[row]} (expected at most {plan.capacity_tokens:.0f}, "
            f'the memory of a GPU; oversize="reject" rejects such requests and counts them)'
        )
    return np.flatnonzero(fits)


def _backend(backend: str, plan: Plan, model: models.LatencyModel, name: str) -> str:
    if backend not in ("auto", "compiled"):
        return backend
    if backend == "auto" and not is_worthwhile(len(plan.queues.of)):
        return "interpreted"
    kinds = batches.signatures()
    parts = (
        (f"policy {name}, decide", plan.decide, kinds.decide),
        (f"policy {name}, learn", plan.learn, kinds.learn),
        ("latency", model.law, kinds.law),
    )
    for part, function, kind in parts:
        possible, why = (True, "") if is_own(function) else is_compilable(function, kind)
        if not possible and backend == "compiled":
            raise InputError(f"backend: 'compiled' ({part} cannot be compiled: {why}; expected 'auto' or 'stepped')")
        if not possible:
            return "stepped"
    return "compiled"


def prepare(
    table: RequestTable, plan: Plan, model: models.LatencyModel, keep: np.ndarray | None = None
) -> tuple[shapes.Waiting, batches.Job]:
    """The engine's input: the plan's queues, empty so far, and what is to be served; `keep`: of these rows only."""
    kept = table if keep is None else table.rows(keep)
    queues = plan.queues if keep is None else policies_bins.queues(plan.queues.of[keep], len(plan.queues.end))
    given_s = model.given_s(len(table))
    predicted = kept.predicted_output_tokens
    waiting = shapes.Waiting(
        head=queues.start.copy(),
        tail=queues.start.copy(),
        end=queues.end,
        order=queues.order,
        arrival_s=kept.arrival_s,
        prompt_tokens=kept.prompt_tokens,
        predicted_output_tokens=np.zeros(0, np.int64) if predicted is None else predicted,
    )
    job = batches.Job(
        prompt_tokens=kept.prompt_tokens,
        output_tokens=kept.output_tokens,
        given_s=given_s if keep is None or len(given_s) == 0 else given_s[keep],
        queue_of=queues.of,
        capacity_tokens=np.array([min(plan.capacity_tokens, MOST_TOKENS)], dtype=np.int64),  # whole tokens: cut
    )
    return waiting, job


def _serve(
    table: RequestTable, plan: Any, model: Any, gpus: int, backend: str, keep: np.ndarray | None, name: str
) -> batches.Batches:
    waiting, job = prepare(table, plan, model, keep)
    law = model.law
    if backend != "compiled":
        plan, law = plan._replace(decide=_answering(plan.decide, name)), _timing(law)
    outcome, served, state = batches.serve(waiting, job, gpus, plan, law, model.params, _way(backend))
    if outcome != batches.DONE:
        raise InputError(_misbehaviour(outcome, name, waiting, state))
    if keep is not None:
        batch_of = np.full(len(table), -1, dtype=np.int64)
        batch_of[keep] = served.batch_of
        served = served._replace(batch_of=batch_of)
    return served


@one_at_a_time
def _way(backend: str) -> Callable[..., int]:
    if backend == "stepped":
        from simlib.engine.stepped import stepped  # imports numba

        return stepped
    return batches.all_compiled if backend == "compiled" else batches.interpreted


def _answering(decide: Callable[..., Any], name: str) -> Callable[..., tuple[int, int]]:
    """A policy's plain function that answers with two integers, as its compiled twin must, or is named."""
    if is_own(decide):
        return decide

    def answer(*sees: Any) -> tuple[int, int]:
        given = decide(*sees)
        try:
            queue, size = given
            queue, size = int(operator.index(queue)), int(operator.index(size))
            if -(2**62) < size < 2**62 and -(2**62) < queue < 2**62:
                return queue, size
        except (TypeError, ValueError):
            pass
        raise InputError(f"policy {name}: decide answered {given!r} at {sees[0]:.6g} s (expected a queue and a size)")

    return answer


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


def _misbehaviour(outcome: int, name: str, waiting: shapes.Waiting, state: batches.State) -> str:
    now = f"at {state.now_s[0]:.6g} s"
    left = int(np.sum(waiting.tail - waiting.head))
    if outcome == batches.STUCK:
        return f"policy {name}: {left} requests wait for ever {now} (every GPU is idle and no request will come)"
    if outcome == batches.BAD_DECISION:
        return (
            f"policy {name}: a decision out of range {now} (expected a queue in 0..{len(waiting.head) - 1} and a size, "
            "below 0 only where requests of it wait)"
        )
    return f"latency: a batch's time is negative or not finite {now} (expected seconds >= 0)"


def _shapes(served: batches.Batches) -> np.ndarray:
    """Each batch's size and longest and summed prompt, in the first columns of `shapes.BATCH_COLUMNS`."""
    return np.column_stack([served.size, served.max_prompt_tokens, served.sum_prompt_tokens])


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


def _simulate_continuous(
    table: RequestTable,
    policy: Any,
    latency: Any,
    gpus: int,
    settings: Continuous,
    sla: Any,
    oversize: str,
    backend: str,
) -> EngineRun:
    """`simulate` for continuous batching; arguments are checked there."""
    law = step_law_of(latency)
    bins, bin_of, edges, order = _order(policy, table, gpus)
    needed = settings.needed_blocks(table)
    if oversize == "error" and (needed > settings.blocks).any():
        row = int(np.argmax(needed > settings.blocks))
        tokens = table.prompt_tokens[row] + table.output_tokens[row]
        raise InputError(
            f"prompt_tokens + output_tokens, row {row}: {tokens} (expected at most the KV budget, "
            f'{settings.kv_tokens} tokens; oversize="reject" rejects such requests and counts them)'
        )
    backend = backend_of(backend, law, len(table))
    rules = rules_of(settings, law, gpus, bins, **order)
    if settings.routing == "by_class":
        class_of = assign(table, law, rules, gpus).astype(np.int32)
        bin_of = class_of * bins + (bin_of if bins > 1 else 0)
    return EngineRun(
        table=table,
        served=served(table, law, gpus, rules, bin_of, backend, settings.control),
        gpus=gpus,
        sla=sla,
        policy=policy.name,
        edges=edges,
        backend=backend,
        settings={"policy": repr(policy), "latency": repr(law), "execution": repr(settings)},
        law=law,
        rules=rules,
        bin_of=bin_of,
        control=settings.control,
    )
