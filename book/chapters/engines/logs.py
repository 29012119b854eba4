"""Logs of engines in the ledger: the errors of their replays, beside those of a line before a number of places.

The errors are another page's (`simlib.calibration.replay`); a further log is a further `Logged` in `LOGS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from book.chapters.engines import rows
from book.chapters.trust import three_logs
from book.chapters.trust.three_logs import published
from simlib import datasets
from simlib.calibration.logs.engine_log import EngineLog, read_log
from simlib.calibration.logs.fitted import FITTED

SOURCE = "LLMServingSim"
LAWS = {
    "profile": "kernel profile; a constant a step, for each half from the other",
    "affine-from-log": "the log's first {} requests",
}
STATISTICS = {"mean": np.mean, "p50": np.median} | {f"p{q}": lambda x, q=q: np.quantile(x, q / 100) for q in (90, 99)}


@dataclass(frozen=True)
class Logged:
    """A log, the table of its replay's errors, and the other simulator's errors on it, under ``SIMLIB_DATA_DIR``."""

    table: str
    log: str
    published: str
    model: str
    gpu: str
    parallel: str
    version: str
    load: str
    fitted: int = FITTED
    refits: str = ""  # the table of errors of laws from the first requests drawn again, where there is one
    blind: tuple[str, ...] = field(default=())  # step models for which nothing of the log was looked at
    circumstance: str = rows.DENSE


LOGS = (
    Logged(
        table="vllm_validation",
        log="llmservingsim/RTX4090_Llama-3.1-8B_vllm_requests.jsonl.gz",
        published="llmservingsim/RTX4090_Llama-3.1-8B/summary.txt",
        model="Llama-3.1-8B, bf16", gpu="RTX 4090", parallel="TP 1", version="0.19.0",
        load="300 requests in 29 s, overload", refits="vllm_validation_refits",
    ),
    *(
        Logged(
            table=three_logs.TABLE, log=f"{three_logs.FOLDER}/{run.folder}/{run.log}",
            published=f"{three_logs.FOLDER}/{run.folder}/summary.txt",
            model=run.model, gpu=run.gpu, parallel=run.parallel, version="0.19.0",
            load="300 requests in 29 s, overload", circumstance=kind,
        )
        for run, kind in zip(three_logs.RUNS[1:], (rows.DENSE, rows.MIXTURE), strict=True)
    ),
)  # fmt: skip


def ledger(results: Path, logs: tuple[Logged, ...] = LOGS) -> list[dict[str, Any]]:
    """The rows of all logs: of each its profile over all requests, and the law of its first over the others.

    The latter's ``low, high`` hold 95 % of the laws from first requests drawn again.

    Parameters
    ----------
    results : Path
        The folder of the tables that replays have written.
    logs : tuple of Logged
    """
    found = []
    for one in logs:
        log, theirs = read_log(datasets.locate(one.log)), published(datasets.locate(one.published).read_text())
        errors, limits = errors_of(one, results), {}
        if one.refits:
            drawn = pd.read_csv(results / f"{one.refits}.csv").set_index(["metric", "statistic"])
            limits = drawn[["ci_low", "ci_high"]].T.to_dict("list")
        for law, fitted_on in LAWS.items():
            judged = slice(0 if law == "profile" else one.fitted, None)
            lines = line_s(log, one.fitted)
            for row in errors[(errors["step_model"] == law) & errors["statistic"].isin(STATISTICS)].itertuples():
                null = float(STATISTICS[row.statistic](lines[row.metric][judged]))
                said = {"source": SOURCE, "engine": "vLLM", "version": one.version, "model": one.model, "gpu": one.gpu}
                said |= {"parallel": one.parallel, "load": one.load, "metric": row.metric, "statistic": row.statistic}
                said |= {"fitted_on": fitted_on.format(one.fitted), "blind": law in one.blind, "kind": rows.LOG}
                said |= {"series": f"{one.model}, {one.gpu}, {law}", "circumstance": one.circumstance}
                other = theirs.get((row.metric, row.statistic)) if law == "profile" else None
                said |= {"other": SOURCE, "other_error_percent": other} if other is not None else {}
                if law != "profile" and (row.metric, row.statistic) in limits:
                    ends = (row.engine_s * (1 + off / 100) for off in limits[row.metric, row.statistic])
                    said |= dict(zip(("low", "high"), map(rows.rounded, ends), strict=True))
                found.append(rows.row(said, row.engine_s, row.simulated_s, null))
    return found


def errors_of(one: Logged, results: Path) -> pd.DataFrame:
    """The errors of a log's replay: a table of its own, or its part of that of several."""
    errors = pd.read_csv(results / f"{one.table}.csv")
    if "step_model" in errors:
        return errors
    own = (errors["model"] == one.model) & (errors["fitted"] == three_logs.CROSSED)
    return errors[own].assign(step_model="profile")


def line_s(log: EngineLog, requests: int) -> dict[str, np.ndarray]:
    """TTFT, TPOT and end-to-end latency of a line before c places, each of which keeps a request for the same time.

    That time and the time between tokens are means of the first requests, c is their throughput, between their
    quartiles, times that time: what queueing theory knows of an engine that is measured.
    """
    first, output = slice(None, requests), log.table.output_tokens
    stay_s = (log.last_token_s - log.first_token_s)[first].mean()
    tpot_s = log.times_s()["tpot"][first].mean()
    left_s = np.quantile(log.last_token_s[first], [0.25, 0.75])
    places = max(round(0.5 * len(output[first]) / np.ptp(left_s) * stay_s), 1)
    free_s, start_s = np.zeros(places), np.empty(len(output))
    arrival_s = log.queued_s - log.queued_s[0]
    for row, came_s in enumerate(arrival_s):
        at = free_s.argmin()
        start_s[row] = max(came_s, free_s[at])
        free_s[at] = start_s[row] + stay_s
    waited_s = start_s - arrival_s
    return {"ttft": waited_s, "tpot": np.full(len(output), tpot_s), "e2e": waited_s + stay_s}
