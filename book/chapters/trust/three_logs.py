"""Three logs of overloaded engines, replayed as `simlib validate` does with what each run left beside its log.

One on one card, one cut over two, one a mixture of experts on two engines; each beside the errors that the simulator
which the logs are from publishes of itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simlib import datasets
from simlib.calibration import replay
from simlib.calibration.logs.logged_engine import LoggedEngine
from simlib.checks import InputError

if TYPE_CHECKING:
    import pandas as pd

TABLE, FOLDER = "vllm_validation_logs", "llmservingsim"
UNFITTED, CROSSED = "nothing fitted", "a constant a step, from the other half"
METRICS = {"TTFT": "ttft", "TPOT": "tpot", "Latency": "e2e"}
STATISTICS = {"Mean": "mean", "Median": "p50", "P90": "p90", "P99": "p99"}


@dataclass(frozen=True)
class Run:
    """A log: what it is of, its folder beside the others, and what its files do not say (`LoggedEngine.of`)."""

    model: str
    gpu: str
    parallel: str
    folder: str
    log: str
    said: dict[str, int]


RUNS = (
    Run(
        "Llama-3.1-8B, bf16", "RTX 4090", "TP 1", "RTX4090_Llama-3.1-8B",
        "../RTX4090_Llama-3.1-8B_vllm_requests.jsonl.gz",
        {"layers": 32},
    ),
    Run(
        "Qwen3-32B, bf16", "RTX PRO 6000", "TP 2", "RTXPRO6000_Qwen3-32B", "requests.jsonl",
        {"layers": 64, "hidden_size": 5120, "kv_blocks": 28614},
    ),
    Run(
        "Qwen3-30B-A3B, bf16", "RTX PRO 6000", "DP 2, experts shared", "RTXPRO6000_Qwen3-30B-A3B-Instruct-2507",
        "requests.jsonl", {"layers": 48, "hidden_size": 2048, "kv_blocks": 38590},
    ),
)  # fmt: skip


def study(runs: tuple[Run, ...] = RUNS) -> tuple[pd.DataFrame, str]:
    """Errors of all logs, and where they are from: the shared logs, or what is committed.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``model, gpu, parallel, fitted, metric, statistic, engine_s, simulated_s, error_percent`` and
        ``other_error_percent``, what the other simulator publishes.
    source : str
    """
    import pandas as pd

    try:
        place = datasets.locate(FOLDER)
    except InputError:
        return pd.read_csv(datasets.committed(TABLE)), "not re-executed: data absent"
    parts = []
    for run in runs:
        folder = place / run.folder
        theirs = published((folder / "summary.txt").read_text())
        for fitted, overhead_s in ((UNFITTED, 0.0), (CROSSED, None)):
            rows = replayed(folder, run, overhead_s).query("statistic != 'mape'").drop(columns="step_model")
            rows.insert(0, "fitted", fitted)
            rows["other_error_percent"] = [
                theirs.get(key) for key in zip(rows["metric"], rows["statistic"], strict=True)
            ]
            for name in ("parallel", "gpu", "model"):
                rows.insert(0, name, getattr(run, name))
            parts.append(rows)
    return pd.concat(parts, ignore_index=True), f"replayed from {len(runs)} logs"


def replayed(folder: Path, run: Run, overhead_s: float | None = None) -> pd.DataFrame:
    """The errors of a log's replay by its kernel profile; the constant a step, seconds, else fitted."""
    profile = folder if any(folder.glob("attention.csv*")) else folder.parent
    engine = LoggedEngine.of([folder], run.said)
    return replay.validate(profile, folder / run.log, engine, ["profile"], overhead_s=overhead_s).rows


def published(text: str) -> dict[tuple[str, str], float]:
    """The errors, in per cent, of LLMServingSim's own table.

    Examples
    --------
    >>> published("TTFT Mean    65456.6   65820.2   +0.6%")
    {('ttft', 'mean'): 0.6}
    """
    lines = re.findall(r"^(\w+) (Mean|Median|P90|P99) .*?([-+][\d.]+)%", text, re.MULTILINE)
    return {(METRICS[metric], STATISTICS[statistic]): float(off) for metric, statistic, off in lines}
