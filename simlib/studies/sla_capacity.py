"""The SLA paper's tables: throughput without arrivals, capacity under a deadline; static caps against controllers.

Reads `capacity`, which finds the rates. The paper names no static cap, no lengths but their means, and no parameters of
its rules: what is shown is the gain as a function of what it leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simlib import capacity, theory
from simlib.checks import InputError, check_choice
from simlib.continuous import Continuous
from simlib.replications import replicate
from simlib.schedulers import StaticFIFO
from simlib.simulation import simulate
from simlib.stats import mean_interval
from simlib.step_control import StepControl
from simlib.step_laws import StepLaw
from simlib.studies.control import A_S, BETA_S, D_SLA, LAW
from simlib.table import RequestTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PRINTED_CAPACITY_GAINS",
    "PRINTED_THROUGHPUT_GAINS",
    "capacities",
    "expected_rps",
    "static_cap_of_gain",
    "throughputs",
]

PRINTED_CAPACITY_GAINS = {"LLaMA-65B": 3.3 / 3.0, "LLaMA3-70B": 6.6 / 5.4, "LLaMA3-70B, PD fusion": 3.8 / 3.0}
# Table I: mean prompt, mean output, requests, and the two throughputs' ratio.
TABLE_1 = {
    "LLaMA-65B": (68.4, 344.5, 1319, 2146 / 1983),
    "LLaMA3-70B": (68.4, 454.4, 1319, 3357 / 3153),
    "LLaMA3-70B, longer": (191.0, 381.9, 3000, 2575 / 2296),
    "PanGu-7B": (128, 128, 1000, 2956 / 2305),
    "PanGu-38B": (128, 128, 1000, 2569 / 2215),
    "PanGu-135B": (128, 128, 1000, 1449 / 1342),
}
PRINTED_THROUGHPUT_GAINS = {name: row[3] for name, row in TABLE_1.items()}
OUTPUTS = ("fixed", "geometric")
TTFT_S = 10.0  # a queue that grows is no capacity, whatever its time between tokens
MOST = 512
PREFILL_S = 0.00004  # a prompt token; the paper has none


def outputs(kind: str, mean: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Output lengths without variance, or geometric ones."""
    check_choice("outputs", kind, OUTPUTS)
    return np.full(n, round(mean)) if kind == "fixed" else rng.geometric(1 / mean, n)


def expected_rps(cap: float, mean_output: float) -> float:
    """The rate that a static cap carries in the fluid limit: that of the cap, or of the deadline if it is less."""
    batch = min(cap, theory.control.sla_batch(A_S, BETA_S, D_SLA))
    return theory.control.capacity_rps(A_S, BETA_S, mean_output, batch)


def static_cap_of_gain(gain: float) -> float:
    """The static cap over which the deadline's batch carries `gain` times as much, in the fluid limit.

    Solves b / (a + beta b) = b* / (D gain).

    Examples
    --------
    >>> round(static_cap_of_gain(1.0), 1)
    90.9
    """
    if not 1.0 <= gain < math.inf:
        raise InputError(f"gain: {gain} (expected a finite number >= 1)")
    rate = theory.control.sla_batch(A_S, BETA_S, D_SLA) / (D_SLA * gain)
    return A_S * rate / (1 - BETA_S * rate)


def capacities(
    caps: Sequence[int] = (32, 64, 80, 88, 96, 128, 256),
    rules: Sequence[str] = ("paper", "regression"),
    kinds: Sequence[str] = OUTPUTS,
    late_share: float = 0.05,
    mean_output: float = 447.5,
    requests: int = 2000,
    replications: int = 5,
    seed: int = 1,
) -> pd.DataFrame:
    """Largest rates at which at most a share of the requests has a TPOT above 50 ms or waits for more than 10 s.

    Returns
    -------
    pandas.DataFrame
        A row a kind of outputs and engine: ``capacity_rps, ci_low, ci_high``; over it the capacity of the paper's rule,
        on the same requests, ``gain, gain_ci_low, gain_ci_high``; `expected_rps`; `replications`.
    """
    import pandas as pd

    engines = {f"static {cap}": Continuous(max_seqs=cap, token_budget=2**20) for cap in caps}
    for rule in rules:
        control = StepControl(d_sla=D_SLA, sla=rule, interval_steps=16)
        engines[rule] = Continuous(max_seqs=MOST, token_budget=2**20, control=control)
    rows = []
    for kind in kinds:
        search = capacity.Search(
            {name: StaticFIFO(batch_size=engine.max_seqs) for name, engine in engines.items()},
            lambda n, seed, kind=kind: _draw(kind, mean_output, n, seed),
            LAW,
            sla=f"ttft<={TTFT_S:g},tpot<={D_SLA:g}",
            late_share=late_share,
            requests=requests,
            execution=engines,
        )
        roots = replicate(search, replications, seed=seed)
        for name, engine in engines.items():
            found, gain = mean_interval(roots[name]), mean_interval(np.log(roots[rules[0]] / roots[name]))
            rows.append(
                {"outputs": kind, "engine": name, "capacity_rps": found.mean, "ci_low": found.ci_low}
                | {"ci_high": found.ci_high, "gain": math.exp(gain.mean), "gain_ci_low": math.exp(gain.ci_low)}
                | {"gain_ci_high": math.exp(gain.ci_high), "expected_rps": expected_rps(engine.max_seqs, mean_output)}
                | {"replications": replications}
            )
    return pd.DataFrame(rows)


def _draw(kind: str, mean_output: float, n: int, seed: int) -> RequestTable:
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1.0, n))
    return RequestTable(arrival_s, np.zeros(n, int), outputs(kind, mean_output, n, rng))


def throughputs(
    caps: Sequence[int] = (32, 64, 128, 256),
    rules: Sequence[str] = ("paper", "released"),
    kv_tokens: int = 100_000,
    kinds: Sequence[str] = OUTPUTS,
    replications: int = 5,
    seed: int = 1,
) -> pd.DataFrame:
    """Table I's settings: output tokens per second with all requests at the start, static caps against memory rules.

    A row a setting, kind of lengths and engine; ``gain`` of the first rule over it, by pairs. Settings that differ in
    the model only are one here, as the step is.
    """
    import pandas as pd

    engines = {f"static {cap}": Continuous(max_seqs=cap, kv_tokens=kv_tokens) for cap in caps}
    for rule in rules:
        control = StepControl(sla=None, memory=rule, interval_steps=16)
        engines[rule] = Continuous(max_seqs=1024, kv_tokens=kv_tokens, control=control)
    rows = []
    for prompt, output, requests in dict.fromkeys(row[:3] for row in TABLE_1.values()):
        for kind in kinds:
            tables = [_at_once(kind, prompt, output, requests, seed + r) for r in range(replications)]
            rates = {name: np.array([_tokens_per_s(table, engine) for table in tables])
                     for name, engine in engines.items()}  # fmt: skip
            for name, found in rates.items():
                mean, gain = mean_interval(found), mean_interval(np.log(rates[rules[0]] / found))
                rows.append(
                    {"prompt_tokens": prompt, "output_tokens": output, "requests": requests, "lengths": kind}
                    | {"engine": name, "output_tokens_per_s": mean.mean, "ci_low": mean.ci_low, "ci_high": mean.ci_high}
                    | {"gain": math.exp(gain.mean), "gain_ci_low": math.exp(gain.ci_low)}
                    | {"gain_ci_high": math.exp(gain.ci_high), "replications": replications}
                )
    return pd.DataFrame(rows)


def _at_once(kind: str, prompt: float, output: float, n: int, seed: int) -> RequestTable:
    rng = np.random.default_rng(seed)
    return RequestTable(np.zeros(n), outputs(kind, prompt, n, rng), outputs(kind, output, n, rng))


def _tokens_per_s(table: RequestTable, engine: Continuous) -> float:
    law = StepLaw(A_S, BETA_S, PREFILL_S)
    run = simulate(table, "fcfs", law, 1, engine, backend="compiled")
    return float(table.output_tokens.sum() / np.max(run.times.completion_s))
