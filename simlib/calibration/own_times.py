"""Whether a law gives back the times of the benchmark that it was fitted to, when the same requests are served by it.

Steps that a law fits well may not be where the time went: a first token that took longer than its step, or a gap that
was no step. Run after `step_fit`; what is found goes into the law's `Trust`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np

from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.latency.steps import StepLaw
from simlib.lazy import pd
from simlib.requests.table import TOKEN_COLUMNS, RequestTable
from simlib.text import span

BUDGETS = (2048, 8192, 1 << 20)  # tokens of a step: no benchmark says which, and the nearest counts
APART = 0.25  # of the benchmark's own time
STATISTICS = {("ttft", "mean"): np.mean, ("ttft", "P99"): lambda s: np.percentile(s, 99), ("tpot", "mean"): np.mean}


def unlike(law: StepLaw, loads: Iterable[pd.DataFrame], engine: Continuous | None = None) -> tuple[str, ...]:
    """Times of a benchmark's requests that the law does not give back, a sentence each.

    Parameters
    ----------
    law : StepLaw
    loads : iterable of DataFrame
        Served requests: ``start_s, prompt_tokens, output_tokens, ttft_s, itl_s``, of each load its own; as many run at
        once, at most, as did.
    engine : Continuous, optional
        Its limits, where they are known.
    """
    loads = [load.sort_values("start_s", kind="stable") for load in loads]
    own = [_times(load["ttft_s"], [np.sum(gaps) for gaps in load["itl_s"]], load) for load in loads]
    found = []
    for budget in BUDGETS if engine is None else (engine.token_budget,):
        given = [_served(law, load, budget, engine) for load in loads]
        told, worst = [], 0.0
        for (metric, name), statistic in STATISTICS.items():
            real, ours = (np.concatenate([times[metric] for times in both]) for both in (own, given))
            if len(real):
                seen_s, law_s = float(statistic(real)), float(statistic(ours))
                apart = abs(np.log(max(law_s, 1e-12) / max(seen_s, 1e-12)))
                worst = max(worst, apart)
                if abs(law_s / max(seen_s, 1e-12) - 1) > APART:
                    told.append(f"{metric} {name} {span(law_s)} by the law, {span(seen_s)} in its own benchmark")
        found.append((worst, tuple(told)))
        if not told:
            break
    return min(found)[1]


def _served(law: StepLaw, load: pd.DataFrame, budget: int, engine: Continuous | None) -> dict[str, np.ndarray]:
    first_s = load["start_s"].to_numpy() + load["ttft_s"].to_numpy()
    last_s = first_s + np.array([np.sum(gaps) for gaps in load["itl_s"]])
    at_once = np.arange(1, len(load) + 1) - np.searchsorted(np.sort(last_s), np.sort(first_s), "left")
    settings = engine or Continuous(max_seqs=int(max(at_once.max(), 1)), token_budget=max(budget, int(at_once.max())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the lengths, which the file's own account tells
        table = RequestTable(load["start_s"], **{name: load[name] for name in TOKEN_COLUMNS if name in load})
    served = serve(table, law, settings, backend="auto")
    return _times(
        served.first_token_s - table.arrival_s + law.way_in_s, served.completion_s - served.first_token_s, load
    )


def _times(ttft_s: Iterable[float], rest_s: Iterable[float], load: pd.DataFrame) -> dict[str, np.ndarray]:
    gaps = load["output_tokens"].to_numpy() - 1
    return {"ttft": np.asarray(ttft_s), "tpot": np.asarray(rest_s)[gaps > 0] / gaps[gaps > 0]}
