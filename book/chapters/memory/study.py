"""The memory-bound service rate against what is served, schedulers' stability regions, and cycles of evictions.

The engine is the one of the replayed log: its memory, its step time. Saturated runs have all requests waiting at the
start; what completes between their first and last tenths counts, so that they tell of a steady state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.memory import theory
from book.kit.two_starts import Verdict, two_starts
from simlib.continuous.settings import Continuous
from simlib.latency.phases import Phases
from simlib.latency.steps import StepLaw
from simlib.policies.static import StaticFIFO
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats.estimates import as_row
from simlib.stats.intervals import mean_interval, paired_difference
from simlib.theory import steps

if TYPE_CHECKING:
    import pandas as pd

LAW = StepLaw(0.024, 0.0, 96.4e-6)  # an RTX 4090's, of the first requests of its log
MEMORY_TOKENS, BLOCK = 2587 * 16, 16
PROMPT, OUTPUT = 857, 653  # means of the log
ENGINE = Continuous(kv_tokens=MEMORY_TOKENS, block_tokens=BLOCK, steps_in_flight=2, reuse=True)
SCORED = (0.3, 0.85)  # share of the completions between which a saturated run is scored
STARTS = 5000  # requests of a run that is labelled
BACKLOG = 300


@dataclass(frozen=True, slots=True)
class Case:
    """Lengths, uniform around their means by so large a share, on an engine."""

    prompt: int = PROMPT
    output: int = OUTPUT
    spread: float = 0.5
    engine: Continuous = ENGINE

    def lengths(self, requests: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Prompt and output tokens of each request."""
        rng = np.random.default_rng([seed, 0])
        means = np.array([[self.prompt], [self.output]])
        drawn = np.rint(means * (1 + self.spread * rng.uniform(-1.0, 1.0, (2, requests)))).astype(int)
        return np.maximum(drawn[0], 1), np.maximum(drawn[1], 1)

    def table(self, requests: int, seed: int, rate_rps: float | None = None, even: bool = False) -> RequestTable:
        """Poisson arrivals, or one at each even interval; without a rate all are there at the start."""
        arrival_s = np.zeros(requests)
        if rate_rps is not None:
            gaps = np.ones(requests) if even else np.random.default_rng([seed, 1]).exponential(1.0, requests)
            arrival_s = np.cumsum(gaps) / rate_rps
        return RequestTable(arrival_s, *self.lengths(requests, seed))

    def floors(self, table: RequestTable) -> dict[str, float]:
        """Steps that a request needs of each resource, if nothing is computed twice."""
        own = self.engine
        limits = own.max_seqs, own.blocks, own.block_tokens, own.token_budget, own.reserve
        shares = steps.floors(table.prompt_tokens, table.output_tokens, *limits)
        return {name: float(share.mean()) for name, share in shares.items()}

    def bound_rps(self, table: RequestTable) -> float:
        """Requests a second if the scarcest resource is always full and nothing is computed twice."""
        return 1.0 / (LAW.a_s * max(self.floors(table).values()) + LAW.c_s * float(table.prompt_tokens.mean()))


CASES = {
    "as in the log": Case(),
    "long outputs": Case(prompt=200, output=1300),
    "long prompts": Case(prompt=1300, output=200),
    "few requests fit": Case(engine=replace(ENGINE, kv_tokens=5008)),
    "prompts first": Case(engine=replace(ENGINE, prefill="first", steps_in_flight=1)),
    "all memory reserved": Case(engine=replace(ENGINE, reserve=True)),
    "16 places": Case(engine=replace(ENGINE, max_seqs=16)),
    "short outputs": Case(prompt=1000, output=10),
}
LABELLED = ("as in the log", "16 places", "short outputs")
LOADS = (0.8, 0.9, 1.1)  # of the rate that the formula gives


def saturated(case: Case, table: RequestTable) -> dict[str, float]:
    """What a saturated engine serves, and how: rates, step time, evictions, who runs."""
    run = simulate(table, "fcfs", LAW, execution=case.engine)
    done_s = np.sort(run.times.completion_s)
    low_s, high_s = done_s[(np.array(SCORED) * len(done_s)).astype(int)]
    log = run.steps
    seats = log.loc[log["start_s"].between(low_s, high_s), "seats"]
    totals = run.identity
    served = np.count_nonzero((done_s > low_s) & (done_s <= high_s)) / (high_s - low_s)
    step_s = totals["busy_s"] / totals["steps"]
    chunk = case.engine.token_budget
    lengths = table.prompt_tokens, table.output_tokens
    rate = theory.service_rate_rps(*lengths, case.engine.blocks * case.engine.block_tokens, step_s, chunk)
    return {
        "served_rps": served,
        "rate_rps": rate,
        "of_rate": served / rate,
        "of_bound": served / case.bound_rps(table),
        "step_ms": 1000 * step_s,
        "evictions": run.preemptions / len(table),
        "computed_again": totals["recomputed"] / max(totals["sum_prefill"], 1),
        "running_low": float(seats.min()),
        "running_high": float(seats.max()),
    }


def capacity(requests: int, replications: int, seed: int) -> pd.DataFrame:
    """What saturated engines serve over the formula's rate, by what limits them."""
    import pandas as pd

    rows = []
    for name, case in CASES.items():
        tables = [case.table(requests, seed + r) for r in range(replications)]
        found = pd.DataFrame([saturated(case, table) for table in tables])
        floors = case.floors(tables[0])
        largest = case.prompt * (1 + case.spread) + case.output * (1 + case.spread)
        plain = {column: float(found[column].mean()) for column in found if column != "of_rate"}
        rows.append(
            {"case": name, "scarcest": max(floors, key=floors.get)}
            | as_row(mean_interval(found["of_rate"]), "of_rate")
            | {"delta": largest / (case.engine.blocks * BLOCK)}
            | plain
            | {"replications": replications}
        )
    return pd.DataFrame(rows)


def labels(rates: pd.DataFrame, replications: int, seed: int) -> pd.DataFrame:
    """From empty and from a backlog, below and above the formula's rate: the labels of all replications."""
    import pandas as pd

    rows = []
    for name in LABELLED:
        case, rate_rps = CASES[name], float(rates.set_index("case").loc[name, "rate_rps"])
        for load in LOADS:
            tables = (case.table(STARTS, seed + r, load * rate_rps) for r in range(replications))
            rows.append({"case": name, "load": load, **counted([_starts(case, table) for table in tables])})
    return pd.DataFrame(rows)


def counted(verdicts: list[Verdict]) -> dict[str, Any]:
    """How many runs got each label."""
    return {
        label: sum(one.label == label for one in verdicts)
        for label in ("stable", "near_critical", "unstable", "bistable")
    }


def _starts(case: Case, table: RequestTable) -> Verdict:
    return two_starts(lambda one: simulate(one, "fcfs", LAW, execution=case.engine).times.completion_s, table, BACKLOG)


BUDGET = 128  # tokens of a step, and places, where schedulers are compared: tokens are what is scarce
SHAPES = {"long outputs": (20, 80), "long prompts": (80, 20)}
REGION_LOADS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.1)
REGION_STARTS = 15_000
OPEN = Continuous(max_seqs=BUDGET, token_budget=BUDGET)
TOKENS = StepLaw(LAW.a_s, LAW.c_s, LAW.c_s)  # a decode costs what a prompt's token costs, as the theorem has it
FULL_S = LAW.a_s + LAW.c_s * BUDGET
PACKED = Phases(0.0, FULL_S / BUDGET, LAW.a_s, LAW.c_s, tokens="packed")  # prompts in full steps
SCHEDULERS: dict[str, Any] = {
    "chunked": ("fcfs", TOKENS, OPEN),
    "prompts first": ("fcfs", TOKENS, replace(OPEN, prefill="first")),
    "to completion": (StaticFIFO(BUDGET), PACKED, None),
}


def most_rps(prompt: int, output: int) -> float:
    """The rate at which tokens of prompts and outputs fill every step: ``b / t_b`` over the tokens of a request."""
    return BUDGET / FULL_S / (prompt + output)


def prompts_first_rps(prompt: int, output: int) -> float:
    """The same if every full step of decodes waits for one of the prompts that came meanwhile, however few.

    Where prompts have more tokens than outputs, steps of prompts are full as well, and the rate is `most_rps`.
    """
    a_s, c_s = LAW.a_s, LAW.c_s
    return min(BUDGET / (output * (2 * a_s + c_s * BUDGET) + prompt * c_s * BUDGET), most_rps(prompt, output))


def regions(replications: int, seed: int) -> pd.DataFrame:
    """Labels from two starts, by scheduler, shape of requests and load as a share of `most_rps`."""
    import pandas as pd

    rows = []
    for shape, (prompt, output) in SHAPES.items():
        case = Case(prompt, output)
        for name, (policy, law, engine) in SCHEDULERS.items():
            served = _server(policy, law, engine)
            for load in REGION_LOADS:
                rate_rps = load * most_rps(prompt, output)
                tables = (case.table(REGION_STARTS, seed + r, rate_rps) for r in range(replications))
                verdicts = [two_starts(served, table, 2 * BACKLOG) for table in tables]
                carried = np.array([load / one.load.value for one in verdicts])  # saturated, over the most
                row = {"shape": shape, "scheduler": name, "load": load, **counted(verdicts)}
                below = paired_difference(carried, np.ones(len(carried))).p_value
                rows.append(row | as_row(mean_interval(carried), "saturated") | {"p_value": below})
    return pd.DataFrame(rows)


def _server(policy: Any, law: Any, engine: Continuous | None) -> Any:
    way = {"latency": law} if engine is None else {"latency": law, "execution": engine}
    return lambda table: simulate(table, policy, **way).times.completion_s
