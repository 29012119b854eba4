"""What the rules for the size of a batch do under continuous batching: memory, fixed points, response, settling.

The studies of the chapter on the rules, and of their stability those that `stability` leaves; each returns a tidy table
with intervals over replications, or the decisions of one run. The step of the SLA paper's Figure 3 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.sla_paper.control import memory_batch, sla_batch
from simlib.checks import check_choice
from simlib.continuous.control import STRIDE, StepControl
from simlib.continuous.settings import Continuous
from simlib.datasets import shipped
from simlib.latency.steps import StepLaw
from simlib.requests.lengths import LogNormal
from simlib.requests.table import RequestTable
from simlib.requests.traces import read
from simlib.simulation import simulate
from simlib.stats.estimates import as_row
from simlib.stats.intervals import mean_interval

if TYPE_CHECKING:
    import pandas as pd


A_S, BETA_S, D_SLA = 0.030, 0.00022, 0.050
LAW = StepLaw(A_S, BETA_S)
OPEN = Continuous(token_budget=2**20)  # neither prompts nor memory bind, only the cap
SOURCES = ("normal_like", "skewed", "burstgpt")
DRAWS = 2000  # batches a replication
RULES = ("paper", "printed", "original", "aimd", "regression")
RULE_NAMES = {
    "paper": "paper's rule",
    "printed": "rule as printed",
    "original": "original's rule",
    "aimd": "additive increase",
    "regression": "regression",
}  # as figures and tables call them


def lengths(source: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Prompts and outputs: log-normal of little or much spread, or pairs of the BurstGPT sample, which go together."""
    check_choice("source", source, SOURCES)
    if source == "burstgpt":
        rows = read(shipped("BurstGPT_sample.csv")).requests
        chosen = rng.integers(len(rows), size=n)
        return rows.prompt_tokens[chosen], rows.output_tokens[chosen]
    sigma = 0.2 if source == "normal_like" else 1.2
    return LogNormal(300, sigma).sample(n, rng), LogNormal(300, sigma).sample(n, rng)


def overflow(
    sources: Sequence[str] = SOURCES,
    epsilons: Sequence[float] = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005),
    batches: Sequence[int] = (16, 128),
    replications: int = 5,
    seed: int = 1,
) -> pd.DataFrame:
    """How often a batch of equation (12) exceeds the cache, if all of its tokens are held at once.

    Caches are so large that about `batches` mean requests fit. Moments are known, or of 64 requests that were seen.
    """
    import pandas as pd

    rows = []
    for source in sources:
        prompt, output = lengths(source, 200_000, np.random.default_rng(seed))
        for fit in batches:
            kv_tokens = fit * (prompt.mean() + output.mean())
            for epsilon in epsilons:
                for seen in (0, 64):
                    shares = [
                        _overflow((prompt, output), kv_tokens, epsilon, seen, np.random.default_rng((seed, r, fit)))
                        for r in range(replications)
                    ]
                    about = {"lengths": source, "mean_requests": fit, "epsilon_m": epsilon, "requests_seen": seen}
                    rows.append({**about, **_interval("overflow_share", shares)})
    return pd.DataFrame(rows)


def _overflow(pool: Any, kv_tokens: float, epsilon: float, seen: int, rng: np.random.Generator) -> float:
    draws = DRAWS
    if seen:
        chosen = rng.integers(len(pool[0]), size=(draws, seen))
        prompt, output = pool[0][chosen], pool[1][chosen]
        means, stds = prompt.mean(1) + output.mean(1), np.sqrt(prompt.var(1) + output.var(1))
    else:
        means, stds = (
            np.full(draws, v) for v in (pool[0].mean() + pool[1].mean(), np.hypot(pool[0].std(), pool[1].std()))
        )
    sizes = np.array([memory_batch(kv_tokens, m, s, epsilon) for m, s in zip(means, stds, strict=True)])
    sizes = np.maximum(sizes.astype(int), 1)
    chosen = rng.integers(len(pool[0]), size=(draws, int(sizes.max())))
    totals = np.cumsum((pool[0] + pool[1])[chosen], axis=1)[np.arange(draws), sizes - 1]
    return float((totals > kv_tokens).mean())


def memory_in_engine(
    rules: Sequence[str] = ("paper", "printed", "released", "original"),
    requests: int = 400,
    kv_tokens: int = 30_000,
    replications: int = 5,
    seed: int = 1,
) -> pd.DataFrame:
    """Throughput over that without a rule, paired, and preemptions, all requests at once: a row a rule and lengths.

    Equal lengths (128 and 128) leave nothing to chance, so that their intervals are points.
    """
    import pandas as pd

    rows = []
    for source in ("equal", *SOURCES):
        measured = {
            rule: np.array([_memory_numbers(memory_run(source, rule, requests, kv_tokens, seed + r))
                            for r in range(replications)])
            for rule in (None, *rules)
        }  # fmt: skip
        for rule, numbers in measured.items():
            row: dict[str, Any] = {"lengths": source, "memory_rule": rule or "none"}
            row |= _interval("throughput_ratio", numbers[:, 0] / measured[None][:, 0], "ratio_")
            row |= _interval("preemptions_per_request", numbers[:, 1], "preemptions_")
            rows.append({**row, "batch_size": numbers[:, 2].mean(), "replications": replications})
    return pd.DataFrame(rows)


def _memory_numbers(run: Any) -> tuple[float, float, float]:
    return run.summary()["throughput_rps"], run.preemptions / len(run.table), run.batch_size_mean


def memory_run(source: str, rule: str | None, requests: int = 400, kv_tokens: int = 30_000, seed: int = 1) -> Any:
    """One run of `memory_in_engine`; no rule: the engine preempts, and nothing else bounds the batch but 256 seats."""
    rng = np.random.default_rng(seed)
    equal = np.full(requests, 128)
    prompt, output = (equal, equal) if source == "equal" else lengths(source, requests, rng)
    table = RequestTable(np.zeros(requests), prompt, output)
    control = None if rule is None else StepControl(sla=None, memory=rule)
    engine = Continuous(kv_tokens=kv_tokens, control=control)
    law = StepLaw(A_S, BETA_S, 0.00004)
    return simulate(table, "fcfs", law, 1, engine, oversize="reject", backend="compiled")


def full_load(requests: int, seed: int, mean_output: float = 447.5) -> RequestTable:
    """Requests that all wait at the start, geometric outputs, no prompts."""
    outputs = np.random.default_rng(seed).geometric(1 / mean_output, requests)
    return RequestTable(np.zeros(requests), np.zeros(requests, int), outputs)


def fixed_points(
    deadlines_s: Sequence[float] = (0.04, 0.05, 0.06, 0.07, 0.08),
    rules: Sequence[str] = RULES,
    requests: int = 3000,
    replications: int = 5,
    seed: int = 1,
) -> pd.DataFrame:
    """Sequences that run under full load once a rule has settled, against (D - a) / beta."""
    import pandas as pd

    rows = []
    for rule in rules:
        for deadline_s in deadlines_s:
            control = StepControl(target_s=deadline_s, sla=rule, interval_steps=16)
            running = [_settled(control, full_load(requests, seed + r)) for r in range(replications)]
            wanted = sla_batch(A_S, BETA_S, deadline_s)
            about = {"sla_rule": rule, "deadline_s": deadline_s, "expected_batch": wanted}
            rows.append({**about, **_interval("running", running)})
    return pd.DataFrame(rows)


def _settled(control: StepControl, table: RequestTable) -> float:
    run = simulate(table, "fcfs", LAW, 1, replace(OPEN, max_seqs=512, control=control), backend="compiled")
    decided = run.controller
    full = decided[decided["start_s"] < np.nanmax(run.times.start_s)]["running"].to_numpy()
    return float(full[len(full) // 2 :].mean())


def step_response(
    rules: Sequence[str] = RULES, interval_steps: int = 16, requests: int = 1500, seed: int = 1
) -> dict[str, Any]:
    """Each rule's decisions from empty, as all requests come at once (`EngineRun.controller`)."""
    table = full_load(requests, seed)
    return {
        rule: simulate(
            table,
            "fcfs",
            LAW,
            1,
            replace(OPEN, control=StepControl(target_s=D_SLA, sla=rule, interval_steps=interval_steps)),
            backend="compiled",
        ).controller
        for rule in rules
    }


def settling(
    rules: Sequence[str] = RULES,
    starts: Sequence[int] = (1, 32, 256),
    windows: Sequence[int] = (16, 128),
    intervals: Sequence[int] = (1, 16),
    requests: int = 1500,
    replications: int = 5,
    seed: int = 1,
) -> pd.DataFrame:
    """Under full load, from different first caps: decode steps until the cap is within a tenth of (D - a) / beta.

    And of the second half of a run: share of decisions further away, root mean square distance of those that run.
    """
    import pandas as pd

    goal = sla_batch(A_S, BETA_S, D_SLA)
    rows = []
    for rule in rules:
        for start in starts:
            for window in windows:
                for interval in intervals:
                    control = StepControl(
                        target_s=D_SLA, sla=rule, b_start=start, window_steps=window, interval_steps=interval
                    )
                    found = [_settling(control, full_load(requests, seed + r), goal) for r in range(replications)]
                    about = {"sla_rule": rule, "b_start": start, "window_steps": window, "interval_steps": interval}
                    steps, away, distance = np.array(found).T
                    about |= {**_interval("steps", steps, "steps_"), **_interval("away_share", away, "away_")}
                    rows.append({**about, **_interval("distance", distance)})
    return pd.DataFrame(rows)


def against_hindsight(
    rules: Sequence[str] = RULES,
    intervals: Sequence[int] = (1, 16),
    requests: int = 3000,
    replications: int = 5,
    seed: int = 1,
) -> pd.DataFrame:
    """Throughput under full load over that of the largest static cap that meets the deadline, paired; step times."""
    import pandas as pd

    cap = int(sla_batch(A_S, BETA_S, D_SLA))
    tables = [full_load(requests, seed + r) for r in range(replications)]
    static = [simulate(table, "fcfs", LAW, 1, replace(OPEN, max_seqs=cap), backend="compiled") for table in tables]
    rows = []
    for rule in ("static", *rules):
        for interval in intervals if rule != "static" else (0,):
            runs = static
            if rule != "static":
                engine = replace(OPEN, control=StepControl(target_s=D_SLA, sla=rule, interval_steps=interval))
                runs = [simulate(table, "fcfs", LAW, 1, engine, backend="compiled") for table in tables]
            ratio = [_rate(run) / _rate(other) for run, other in zip(runs, static, strict=True)]
            row = {"sla_rule": rule, "interval_steps": interval, **_interval("throughput_ratio", ratio, "ratio_")}
            row |= _interval("itl_p50_s", [run.itl_s(0.5) for run in runs], "itl_p50_")
            rows.append({**row, **_interval("itl_p99_s", [run.itl_s(0.99) for run in runs], "itl_p99_"),
                         "replications": replications})  # fmt: skip
    return pd.DataFrame(rows)


def _rate(run: Any) -> float:
    """Requests per second that are admitted, without the first third, which a rule may need to settle."""
    start_s = run.times.start_s
    return float((len(start_s) - len(start_s) // 3) / (start_s[-1] - start_s[len(start_s) // 3]))


def _settling(control: StepControl, table: RequestTable, goal: float) -> tuple[float, float, float]:
    run = simulate(table, "fcfs", LAW, 1, replace(OPEN, control=control), backend="compiled")
    decided = run.controller
    full = decided[decided["start_s"] < np.nanmax(run.times.start_s)]
    away = np.abs(full["cap"].to_numpy() - goal) > 0.1 * goal
    first = int(np.argmin(away)) if not away.all() else len(away)
    late = slice(len(full) // 2, None)
    distance = np.sqrt(np.mean((full["running"].to_numpy()[late] - goal) ** 2))
    return first * control.interval_steps * run.served.control[0, STRIDE], float(away[late].mean()), float(distance)


def _interval(name: str, values: Any, before: str = "") -> dict[str, Any]:
    found = mean_interval(values)
    return as_row(found, name, before) | ({} if before else {"replications": found.replications})
