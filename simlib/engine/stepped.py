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

from simlib.engine.batches import GPU, loop, signatures
from simlib.engine.compiled import compiled, is_own, one_at_a_time, until_done
from simlib.engine.shapes import Request


class Session:
    """What a run calls in plain Python, by name; an error inside one is kept, then raised again."""

    def __init__(self, **calls: Callable[..., Any]):
        self.calls = calls
        self.error: BaseException | None = None

    def __enter__(self) -> Session:
        self.outer, ACTIVE.session = getattr(ACTIVE, "session", None), self
        return self

    def __exit__(self, *error: object) -> None:
        ACTIVE.session = self.outer
        if self.error is not None:
            raise self.error

    def guarded(self, name: str, arguments: tuple, otherwise: Any) -> Any:
        """The call's result, or `otherwise` once anything went wrong (no exception crosses compiled code)."""
        try:
            return self.calls[name](*arguments) if self.error is None else otherwise
        except BaseException as error:  # kept for __exit__: an interrupt must not be lost either
            self.error = error
            return otherwise


ACTIVE = threading.local()  # a run's callbacks come in the thread that runs it
REFUSED = (-1, -1)  # a decision out of range, which ends the run


def ask(now_s: float, gpu: int) -> tuple[int, int]:
    """The active policy's decision; `REFUSED` once anything went wrong."""
    return ACTIVE.session.guarded("decide", (now_s, gpu), REFUSED)


def rank(now_s: float, request: Request, given_to_client: float) -> float:
    """The active policy's key of a request."""
    return ACTIVE.session.guarded("key", (now_s, request, given_to_client), 0.0)


def tell(now_s: float, gpu: int) -> None:
    """Show the active policy the batch that its GPU has finished."""
    ACTIVE.session.guarded("learn", (now_s, gpu), None)


def measure(gpu: int) -> float:
    """The active law's time for the batch that this GPU is about to run."""
    return ACTIVE.session.guarded("law", (gpu,), -1.0)


@one_at_a_time
@functools.cache
def bridges() -> SimpleNamespace:
    """The compiled bridges to the functions above; made once a process."""
    from numba import njit, objmode

    def decide(now_s, gpu, waiting, params, memory, note):
        with objmode(queue="int64", size="int64"):
            queue, size = ask(now_s, gpu)
        return queue, size

    def key(now_s, request, given_to_client, params, memory):
        index, arrival_s, prompt_tokens, predicted, priority = request
        with objmode(value="float64"):
            value = rank(now_s, Request(index, arrival_s, prompt_tokens, predicted, priority), given_to_client)
        return value

    def learn(now_s, gpu, batch, params, memory):
        with objmode():
            tell(now_s, gpu)

    def law(batch, params):
        gpu = int(batch[GPU])
        with objmode(service_s="float64"):
            service_s = measure(gpu)
        return service_s

    kinds = signatures()
    return SimpleNamespace(**{f.__name__: njit(getattr(kinds, f.__name__))(f) for f in (decide, key, learn, law)})


def stepped(state: Any, waiting: Any, job: Any, batches: Any, plan: Any, law: Any, law_params: Any) -> int:
    """Run the loop compiled, the policy and the law in plain Python between its steps."""
    bridge, kinds, numbers = bridges(), signatures(), (plan.params, plan.memory)
    learns = compiled(plan.learn, kinds.learn) if is_own(plan.learn) else bridge.learn
    times = compiled(law, kinds.law) if is_own(law) else bridge.law
    arrays, kernels = (state, waiting, job, batches), (bridge.decide, bridge.key, learns, times)
    with Session(
        decide=lambda now_s, gpu: plan.decide(now_s, gpu, waiting, *numbers, state.note),
        key=lambda now_s, request, given: plan.key(now_s, request, given, *numbers),
        learn=lambda now_s, gpu: plan.learn(now_s, gpu, state.running[gpu], *numbers),
        law=lambda gpu: law(state.running[gpu], law_params),
    ):
        return until_done(compiled(loop, kinds.loop), *arrays, *kernels, *numbers, law_params)
