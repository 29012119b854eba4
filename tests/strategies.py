"""What several test files share: Hypothesis strategies for tables, policies and scenarios; a law, a table, an order."""

from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import simlib
from simlib.continuous.settings import Continuous
from simlib.policies.batch_size import VARIANTS
from simlib.policies.plan import SELECTIONS
from simlib.requests.clients import with_clients

LAW = simlib.StepLaw(0.03, 2e-4, 9e-5, 2e-7)  # of an engine's steps
ONE_SEAT = Continuous(max_seqs=1)


def geometric_requests(seed: int, rows: int) -> simlib.RequestTable:
    """Requests with Poisson arrivals, uniform prompts and geometric outputs, which are predicted without error."""
    rng = np.random.default_rng(seed)
    prompts, outputs = rng.integers(1, 400, rows), rng.geometric(1 / 60, rows)
    return simlib.RequestTable(np.cumsum(rng.exponential(0.05, rows)), prompts, outputs, outputs)


def order_of(run: simlib.Run) -> list[int]:
    """The requests in the order in which they start."""
    return np.argsort(run.times.start_s, kind="stable").tolist()


def halve_the_longest(now_s, gpu, waiting, params, memory, note):
    """A policy of a user's own: half of the longest queue, rounded up; never waits."""
    best = 0
    for queue in range(len(waiting.head)):
        if waiting.tail[queue] - waiting.head[queue] > waiting.tail[best] - waiting.head[best]:
            best = queue
    note[0] = memory[0, 0]
    return best, int(waiting.tail[best] - waiting.head[best] + 1) // 2


def count_batches(now_s, gpu, batch, params, memory):
    """Remember how many batches have finished."""
    memory[0, 0] += 1.0


def halves(k_bins: int) -> simlib.Custom:
    """The custom policy of these two kernels."""
    return simlib.Custom("halves", halve_the_longest, count_batches, k_bins=k_bins, notes=("finished",))


class Scenario(NamedTuple):
    """Everything that `simulate` needs."""

    table: simlib.RequestTable
    policy: Any
    model: simlib.Affine
    gpus: int

    def run(self, **options: Any) -> simlib.Run:
        """Simulate; what cannot fit is rejected."""
        return simlib.simulate(self.table, self.policy, self.model, self.gpus, oversize="reject", **options)


@st.composite
def tables(draw: st.DrawFn, max_requests: int = 30, max_tokens: int = 400) -> simlib.RequestTable:
    """Requests with tied arrivals and zero tokens now and then, not all failed, at loads from idle to far too many."""
    requests = draw(st.integers(1, max_requests))
    gap = st.sampled_from([0.0, 0.0, 0.001, 0.0625, 0.1, 0.5, 3.0]) | st.floats(0.0, 1.0)
    lengths = st.lists(st.just(0) | st.integers(0, max_tokens), min_size=requests, max_size=requests)
    return simlib.RequestTable(
        arrival_s=np.cumsum(draw(st.lists(gap, min_size=requests, max_size=requests))),
        prompt_tokens=draw(lengths),
        output_tokens=draw(lengths.map(lambda tokens: tokens if any(tokens) else [*tokens[:-1], 1])),
        predicted_output_tokens=draw(lengths),
        priority=draw(st.lists(st.integers(-1, 1), min_size=requests, max_size=requests)),
    )


@st.composite
def rules(draw: st.DrawFn) -> simlib.Rules:
    """Both algorithms in any variant, often with a memory that holds a few requests only."""
    kv_gb_per_token = draw(st.sampled_from([5e-6, 1 / 128, 1 / 64]))  # 1.8 million, 1152 or 576 tokens
    b_max = draw(st.sampled_from([3, 16, 128]))
    return simlib.Rules(
        draw(st.sampled_from(VARIANTS)),
        b_min=draw(st.sampled_from([1, 2])),
        b_max=b_max,
        epsilon_s=draw(st.sampled_from([0.0, 0.05])),
        alpha=draw(st.sampled_from([1, 20])),
        average_batches=draw(st.sampled_from([1, 3])),
        candidates=draw(st.sampled_from([4, 64])),
        memory=simlib.Memory(kv_gb_per_token=kv_gb_per_token),
    )


@st.composite
def policies(draw: st.DrawFn) -> Any:
    """Each policy that has a name, or a custom one."""
    kind = draw(
        st.sampled_from(["static", "dynamic", "multi", "fixed", "shortest", "early", "fair", "priority", "custom"])
    )
    k_bins, batch_size = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    d_sla = draw(st.sampled_from([0.02, 0.1, 1.0]))
    bounds = draw(st.sampled_from(["equal_mass", "equal_mass_integer", "equal_width"]))
    sizes = st.lists(st.integers(1, 6), min_size=k_bins, max_size=k_bins)
    if kind == "static":
        return simlib.StaticFIFO(batch_size)
    if kind == "dynamic":
        return simlib.DynamicNoBins(d_sla, draw(rules()))
    if kind == "multi":
        caps = draw(st.none() | st.integers(1, 6) | sizes)
        return simlib.MultiBinDynamic(k_bins, d_sla, draw(st.sampled_from(SELECTIONS)), bounds, draw(rules()), caps)
    if kind == "fixed":
        return simlib.MultiBinFixed(draw(st.just(batch_size) | sizes), k_bins, bounds)
    if kind == "shortest":
        seconds_per_token = draw(st.sampled_from([None, 0.0, 0.01]))
        return simlib.ShortestPredictedFirst(seconds_per_token, draw(st.sampled_from([k_bins, 64])), batch_size)
    if kind == "early":
        margin, company = draw(st.sampled_from([0.0, 1.0])), draw(st.sampled_from([0.0, 0.5]))
        return simlib.EarlyRejection(d_sla, margin, company, k_bins, draw(rules()))
    if kind == "fair":
        return simlib.FairShare(batch_size, draw(st.sampled_from([0.0, 2.0])))
    if kind == "priority":
        return simlib.PriorityFirst(d_sla, draw(rules()))
    return halves(k_bins)


@st.composite
def models(draw: st.DrawFn) -> simlib.Affine:
    """The formula with ordinary numbers, with none at all, or with a floor that binds."""
    numbers = st.sampled_from([(0.010, 0.0002, 0.3), (0.015, 0.0003, 0.4), (0.0, 0.0, 0.0), (0.5, 0.0, 0.0)])
    return simlib.Affine(*draw(numbers), floor_s=draw(st.sampled_from([0.0, 0.001, 0.25])))


@st.composite
def scenarios(draw: st.DrawFn, policy: st.SearchStrategy[Any] | None = None) -> Scenario:
    """A table, a policy, a latency model and 1 to 5 GPUs."""
    chosen, table, gpus = draw(policies() if policy is None else policy), draw(tables()), draw(st.integers(1, 5))
    table = with_clients(table, [3, 2, 1], "scenario", draw(st.integers(0, 3)))
    fits = table.prompt_tokens + table.output_tokens <= chosen.plan(table, gpus).capacity_tokens
    assume(fits.any())  # a table of which nothing fits has a test of its own
    return Scenario(table, chosen, draw(models()), gpus)
