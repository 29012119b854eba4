"""A policy or a latency function in plain Python, called step by step from the compiled event loop.

For what numba cannot compile: closures over objects, prints, a debugger's breakpoint. The loop calls a compiled
bridge, the bridge calls back here, and the arrays never cross: this side holds the same ones. Every bridge is a
microsecond and more, so that a law or a `learn` of the package's own stays compiled.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numba
from numba import objmode

from simlib.engine.batches import GPU, loop, signatures
from simlib.engine.compiled import compiled, is_own, one_at_a_time, until_done


class Session:
    """The plain functions of one run and the arrays that they read; an error inside one is kept, then raised again."""

    def __init__(self, plan: Any, law: Callable[..., float], state: Any, waiting: Any, law_params: Any):
        self.plan, self.law, self.state, self.waiting = plan, law, state, waiting
        self.law_params = law_params
        self.error: BaseException | None = None

    def __enter__(self) -> Session:
        self.outer, ACTIVE.session = getattr(ACTIVE, "session", None), self
        return self

    def __exit__(self, *error: object) -> None:
        ACTIVE.session = self.outer
        if self.error is not None:
            raise self.error

    def guarded(self, call: Callable[..., Any], arguments: tuple, otherwise: Any) -> Any:
        """The call's result, or `otherwise` once anything went wrong (no exception crosses compiled code)."""
        try:
            return call(*arguments) if self.error is None else otherwise
        except BaseException as error:  # kept for __exit__: an interrupt must not be lost either
            self.error = error
            return otherwise


ACTIVE = threading.local()  # a run's callbacks come in the thread that runs it
REFUSED = (-1, -1)  # a decision out of range, which ends the run


def ask(now_s: float, gpu: int) -> tuple[int, int]:
    """The active policy's decision; `REFUSED` once anything went wrong."""
    session = ACTIVE.session
    plan = session.plan
    sees = (now_s, gpu, session.waiting, plan.params, plan.memory, session.state.note)
    return session.guarded(plan.decide, sees, REFUSED)


def tell(now_s: float, gpu: int) -> None:
    """Show the active policy the batch that its GPU has finished."""
    session = ACTIVE.session
    plan = session.plan
    session.guarded(plan.learn, (now_s, gpu, session.state.running[gpu], plan.params, plan.memory), None)


def measure(gpu: int) -> float:
    """The active law's time for the batch that this GPU is about to run."""
    session = ACTIVE.session
    return session.guarded(session.law, (session.state.running[gpu], session.law_params), -1.0)


def decide(now_s, gpu, waiting, params, memory, note):
    """Bridge to `ask`, compiled."""
    with objmode(queue="int64", size="int64"):
        queue, size = ask(now_s, gpu)
    return queue, size


def learn(now_s, gpu, batch, params, memory):
    """Bridge to `tell`, compiled."""
    with objmode():
        tell(now_s, gpu)


def law(batch, params):
    """Bridge to `measure`, compiled."""
    gpu = int(batch[GPU])
    with objmode(service_s="float64"):
        service_s = measure(gpu)
    return service_s


@one_at_a_time
@functools.cache
def bridges() -> SimpleNamespace:
    """The compiled bridges; made once a process."""
    kinds = signatures()
    return SimpleNamespace(**{f.__name__: numba.njit(getattr(kinds, f.__name__))(f) for f in (decide, learn, law)})


def stepped(state: Any, waiting: Any, job: Any, batches: Any, plan: Any, law: Any, law_params: Any) -> int:
    """Run the loop compiled, the policy and the law in plain Python between its steps."""
    bridge, kinds = bridges(), signatures()
    learns = compiled(plan.learn, kinds.learn) if is_own(plan.learn) else bridge.learn
    times = compiled(law, kinds.law) if is_own(law) else bridge.law
    arrays, kernels = (state, waiting, job, batches), (bridge.decide, learns, times)
    with Session(plan, law, state, waiting, law_params):
        return until_done(compiled(loop, kinds.loop), *arrays, *kernels, plan.params, plan.memory, law_params)
