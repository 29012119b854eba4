"""A finished run of continuous batching beside what no order of its requests can be better than.

Reads a run and the floors of `theory.steps`; whatever a study serves is held against them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simlib.checks import InputError
from simlib.continuous.state import CHUNKED, own_prompt_tokens
from simlib.latency.steps import StepLaw
from simlib.runs.engine_run import EngineRun
from simlib.theory.steps import Work, floors, work

ROUNDING = 1e-9  # of sums of a million floats, relative


class Needs(NamedTuple):
    """What requests need of an engine at any rate: the floors of its steps by resource, and their work."""

    steps: dict[str, float]
    work: Work


class Bound(NamedTuple):
    """A run of an engine beside what no order of the same requests can be better than, by `bound_of`.

    ``steps`` were made and ``least_steps`` are needed, of the ``binding`` resource; of ``busy_s``, ``steps_s`` and
    ``recompute_s`` and ``spread_s`` are what an order might save: steps above the floor, prompts and tokens computed
    again, and contexts shorter than the longest of their step.
    """

    steps: int
    least_steps: float
    binding: str
    busy_s: float
    steps_s: float
    recompute_s: float
    spread_s: float

    @property
    def most_gain(self) -> float:
        """Share of the busy time that any order can save, at most."""
        return (self.steps_s + self.recompute_s + self.spread_s) / self.busy_s


def needs_of(run: EngineRun) -> Needs:
    """What the requests of a run need, the same at every rate; errors as in `bound_of`."""
    table, rules = run.table, run.rules
    cached = table.cached_prompt_tokens
    budget = rules.budget if rules.prefill == CHUNKED and cached is None else None
    lengths = (table.prompt_tokens, table.output_tokens)
    own = (own_prompt_tokens(table, rules.bits, rules.share), table.output_tokens)
    shares = floors(*own, rules.seats, rules.blocks, 1 << rules.bits, budget, bool(rules.reserve))
    steps = {name: float(share.sum()) for name, share in shares.items()}
    return Needs(steps, work(*lengths, 0 if cached is None else cached))


def bound_of(run: EngineRun, needs: Needs | None = None) -> Bound:
    """Hold a run of continuous batching against the floors of its steps and its work.

    Parameters
    ----------
    run : engine_run.EngineRun
        Under a `steps.StepLaw`, with every request served.
    needs : Needs, optional
        What `needs_of` gives for a run of the same requests and engine, if it is known.

    Raises
    ------
    InputError
        If it is another kind of run.
    RuntimeError
        If the run made fewer steps than their floor, if its busy time is not that of its totals, or if recomputation
        took less than no time: the simulator, or the proposition, would be wrong.
    """
    if not isinstance(run, EngineRun) or not isinstance(run.law, StepLaw):
        raise InputError(f"run: {type(run).__name__} (expected a run of continuous batching under a StepLaw)")
    if run.rejected or run.abandoned:
        raise InputError(f"run: {run.rejected + run.abandoned} requests were not served (expected all)")
    identity = run.identity
    a_s, b_s, c_s, d_s, _ = run.law.params
    steps, least = needs_of(run) if needs is None else needs
    binding = max(steps, key=steps.__getitem__)
    extra = (identity["sum_decodes"], identity["sum_prefill"], identity["sum_context"])
    recompute_s = float(np.dot((b_s, c_s, d_s), np.subtract(extra, least)))
    busy_s, right_s = identity["busy_s"], identity["from_totals_s"]
    spread_s = right_s - a_s * identity["steps"] - float(np.dot((b_s, c_s, d_s), extra))
    found = Bound(
        identity["steps"], steps[binding], binding, busy_s,
        a_s * (identity["steps"] - steps[binding]), recompute_s, spread_s if run.law.spread else 0.0,
    )  # fmt: skip
    slack = ROUNDING * busy_s
    if found.steps < found.least_steps * (1 - ROUNDING) or abs(busy_s - right_s) > slack or recompute_s < -slack:
        raise RuntimeError(f"steps of a run: {found!r} (expected no fewer than the floor, and the time of the totals)")
    return found
