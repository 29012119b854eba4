"""The SLA paper's tables: throughput without arrivals, capacity under a deadline; static caps against controllers.

Reads `capacity`, which finds the rates. The paper names no static cap, no lengths but their means, and no parameters of
its rules: what is shown is the gain as a function of what it leaves open.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.sla_paper.control import capacity_rps, sla_batch
from book.chapters.sla_paper.rules import A_S, BETA_S, D_SLA, LAW
from simlib.checks import InputError, check_choice
from simlib.continuous.control import StepControl
from simlib.continuous.settings import Continuous
from simlib.latency.steps import StepLaw
from simlib.planning.carried import capacity
from simlib.policies.static import StaticFIFO
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats.estimates import as_row, ratio
from simlib.stats.intervals import mean_interval
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


# Table II: mean prompt, mean output, and the two capacities' ratio.
TABLE_2 = {
    "LLaMA-65B": (237.7, 416.2, 3.3 / 3.0),
    "LLaMA3-70B": (256.6, 61.5, 6.6 / 5.4),
    "LLaMA3-70B, PD fusion": (256.6, 447.5, 3.8 / 3.0),
}
PRINTED_CAPACITY_GAINS = {name: row[2] for name, row in TABLE_2.items()}
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
WITH_PREFILL = StepLaw(A_S, BETA_S, PREFILL_S)


def outputs(kind: str, mean: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Output lengths without variance, or geometric ones."""
    check_choice("outputs", kind, OUTPUTS)
    return np.full(n, round(mean)) if kind == "fixed" else rng.geometric(1 / mean, n)


def expected_rps(cap: float, mean_output: float) -> float:
    """The rate that a static cap carries in the fluid limit: that of the cap, or of the deadline if it is less."""
    batch = min(cap, sla_batch(A_S, BETA_S, D_SLA))
    return capacity_rps(A_S, BETA_S, mean_output, batch)


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
    rate = sla_batch(A_S, BETA_S, D_SLA) / (D_SLA * gain)
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

    engines, rows = _engines(caps, rules), []
    for kind in kinds:
        draw = partial(_draw, kind, 0, mean_output)
        roots = replicate(_search(engines, draw, LAW, late_share, requests), replications, seed=seed)
        for name, engine in engines.items():
            expected = {"expected_rps": expected_rps(engine.max_seqs, mean_output), "replications": replications}
            rows.append({"outputs": kind, "engine": name} | _gain(roots, rules[0], name) | expected)
    return pd.DataFrame(rows)


def table_2(
    caps: Sequence[int] = (32, 64, 88, 128, 256),
    rule: str = "paper",
    kinds: Sequence[str] = OUTPUTS,
    late_share: float = 0.05,
    requests: int = 4000,
    replications: int = 8,
    seed: int = 1,
) -> pd.DataFrame:
    """Table II's settings, prompts within the steps: capacity at 50 ms in runs of so many requests, and in longer ones.

    Returns
    -------
    pandas.DataFrame
        A row a setting, kind of outputs and engine: as `capacities`, of runs of twice as many requests; ``doubled``,
        their capacity over that of the shorter runs, by pairs, ``doubled_ci_low, doubled_ci_high``.
    """
    import pandas as pd

    engines, rows = _engines(caps, (rule,)), []
    for (setting, (prompt, output, _)), kind in itertools.product(TABLE_2.items(), kinds):
        draw = partial(_draw, kind, prompt, output)
        short, long = (
            replicate(_search(engines, draw, WITH_PREFILL, late_share, n), replications, seed=seed)
            for n in (requests, 2 * requests)
        )
        for name in engines:
            doubled = mean_interval(np.log(long[name] / short[name]))
            row = {"setting": setting, "prompt_tokens": prompt, "output_tokens": output, "outputs": kind}
            row |= {"engine": name} | _gain(long, rule, name)
            rows.append(row | as_row(ratio(doubled), "doubled", "doubled_") | {"replications": replications})
    return pd.DataFrame(rows)


def _engines(caps: Sequence[int], rules: Sequence[str]) -> dict[str, Continuous]:
    engines = {f"static {cap}": Continuous(max_seqs=cap, token_budget=2**20) for cap in caps}
    for rule in rules:
        control = StepControl(target_s=D_SLA, sla=rule, interval_steps=16)
        engines[rule] = Continuous(max_seqs=MOST, token_budget=2**20, control=control)
    return engines


def _search(
    engines: dict[str, Continuous], draw: Callable[[int, int], RequestTable], law: StepLaw, late_share: float, n: int
) -> capacity.Search:
    return capacity.Search(
        {name: StaticFIFO(batch_size=engine.max_seqs) for name, engine in engines.items()},
        draw,
        law,
        sla=f"ttft<={TTFT_S:g},tpot<={D_SLA:g}",
        late_share=late_share,
        requests=n,
        execution=engines,
    )


def _gain(roots: pd.DataFrame, rule: str, name: str) -> dict[str, float | int]:
    """An engine's capacity, and the rule's over it."""
    found, gain = mean_interval(roots[name]), mean_interval(np.log(roots[rule] / roots[name]))
    return as_row(found, "capacity_rps") | as_row(ratio(gain), "gain", "gain_")


def _draw(kind: str, prompt: float, output: float, n: int, seed: int) -> RequestTable:
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1.0, n))
    return RequestTable(arrival_s, np.full(n, round(prompt)), outputs(kind, output, n, rng))


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
                    | {"engine": name}
                    | as_row(mean, "output_tokens_per_s")
                    | as_row(ratio(gain), "gain", "gain_")
                    | {"replications": replications}
                )
    return pd.DataFrame(rows)


def _at_once(kind: str, prompt: float, output: float, n: int, seed: int) -> RequestTable:
    rng = np.random.default_rng(seed)
    return RequestTable(np.zeros(n), outputs(kind, prompt, n, rng), outputs(kind, output, n, rng))


def _tokens_per_s(table: RequestTable, engine: Continuous) -> float:
    run = simulate(table, "fcfs", WITH_PREFILL, 1, engine, backend="compiled")
    return float(table.output_tokens.sum() / np.max(run.times.completion_s))
