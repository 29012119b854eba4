"""Engines whose queue never empties: times between tokens and throughput by how many places they have.

Two settings of a series tell a step's fixed time, what a sequence adds, and what a prompt does: from the median time
between tokens and from throughput, which is less by what prompts take. How long prompts are nobody gives.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize

from book.chapters.engines import rows
from book.chapters.engines.hardware import Placed
from simlib.calibration.logs.served import steps_of
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.latency.steps import StepLaw
from simlib.requests.lengths import LogNormal
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable

if TYPE_CHECKING:
    import pandas as pd


FILE, SOURCE = "ml-energy/h100.csv", "ML.ENERGY"
GROUP = ["model", "task", "weight_precision", "gpu", "gpus"]
ARCHITECTURE = "Dense Transformer"
PROMPT_TOKENS = 256  # matters for memory only
ROUNDS, MORE, WARM_UP = 12, 400, 3  # requests a place, and more; mean outputs that are left out at the beginning
STEPS, ALL_AT_ONCE, TURNS = 40, 2**20, 8
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
# Methods were chosen on these; the last was seen in the chapter on batch times.
CHOSEN_ON, SEEN = "Qwen", {"Llama-3.1-8B-Instruct"}


@dataclass(frozen=True)
class Steps:
    """What the steps of a full engine hold (a step, decodes, prompts), shape (n, 3), and how many there are of each."""

    held: np.ndarray
    count: np.ndarray

    def at(self, share: float, law: np.ndarray) -> np.ndarray:
        """What the step holds that so many of the times between tokens are no longer than."""
        order = np.argsort(self.held @ law, kind="stable")
        tokens = (self.count * self.held[:, 1])[order].cumsum()
        return self.held[order[np.searchsorted(tokens, share * tokens[-1])]]

    @property
    def of_a_token(self) -> np.ndarray:
        """What steps hold in all, over the tokens that come of them."""
        return self.count @ self.held / (self.count @ (self.held[:, 1] + self.held[:, 2]))


@functools.cache
def steps(places: int, output_mean: float, output_sd: float, room_tokens: int | None = None) -> Steps:
    """Simulate an engine with so many places, all taken, from its first requests on; its beginning and end are cut.

    Examples
    --------
    >>> one = steps(1, 100.0, 1.0)
    >>> bool(one.of_a_token.round(3).tolist() == [1.0, 0.99, 0.01])
    True
    """
    spread = np.sqrt(np.log1p((output_sd / output_mean) ** 2))
    output = LogNormal(output_mean * np.exp(-(spread**2) / 2), spread, low=2)
    n = ROUNDS * places + MORE
    table = RequestTable(np.zeros(n), np.full(n, PROMPT_TOKENS), output.sample(n, stream("full engine", 0, "lengths")))
    engine = Continuous(max_seqs=places, kv_tokens=room_tokens, token_budget=ALL_AT_ONCE, watermark=0.01)
    served = serve(table, StepLaw(1.0), engine, log_steps=STEPS * n)
    row = steps_of(served)
    full = (row["start_s"] > WARM_UP * output_mean) & (row["start_s"] < served.start_s.max())
    count, decodes, prompts = (row[name][full] for name in ("steps", "decodes", "prefill_tokens"))
    return Steps(np.stack([np.ones_like(count), decodes, prompts / PROMPT_TOKENS], axis=1), count)


@dataclass(frozen=True)
class Series:
    """The settings of one model, task and number of GPUs, by `max_num_seqs`: the columns of the source."""

    placed: Placed
    runs: pd.DataFrame

    @property
    def fitted(self) -> tuple[int, int]:
        """The fewest places, and the median number, of two in the middle the smaller: the largest are foretold."""
        places = list(self.runs.index)
        return places[0], places[(len(places) - 1) // 2]

    def steps(self, places: int) -> Steps:
        """With outputs as in the fitted settings."""
        moments = self.runs.loc[list(self.fitted), ["output_tokens_mean", "output_tokens_sd_of_histogram"]].mean()
        return steps(int(places), *moments.round(1), self.placed.room_tokens)

    def law(self) -> np.ndarray:
        """Seconds of a step, for a sequence, for a prompt, none below zero: from four numbers of the two settings."""
        runs, held = self.runs.loc[list(self.fitted)], [self.steps(places) for places in self.fitted]
        times_s = np.concatenate([runs["itl_p50_ms"] / 1e3, 1.0 / runs["output_tokens_per_s"]])
        law = np.array([times_s[0], 0.0, 0.0])
        for _ in range(TURNS):  # which step is the median one hangs on the law
            found = np.array([*(one.at(0.5, law) for one in held), *(one.of_a_token for one in held)])
            law, _ = optimize.nnls(found / times_s[:, None], np.ones(len(times_s)))
        return law

    def straight(self, measured: pd.Series, places: int) -> float:
        """The line through the fitted settings."""
        return rows.straight(*((n, measured[n]) for n in self.fitted), places)


def series(raw: pd.DataFrame) -> list[tuple[dict[str, Any], Series]]:
    """Each series of dense models with at least three settings, and how a row names it."""
    found = []
    for key, runs in raw[raw["architecture"] == ARCHITECTURE].groupby(GROUP):
        name, task, precision, gpu, gpus = key
        if len(runs) < 3:
            continue
        model, precision = name.split("/")[-1], "bf16" if precision == "bfloat16" else precision
        said = {
            "source": SOURCE,
            "engine": "vLLM",
            "version": "not given",
            "model": f"{model}, {precision}",
            "gpu": gpu,
        }
        said |= {"parallel": f"TP {gpus}", "blind": not (model.startswith(CHOSEN_ON) or model in SEEN)}
        said |= {"kind": rows.FULL, "series": f"vLLM, {model}, {precision}, {gpu}, TP {gpus}, {task}", "task": task}
        found.append(
            (said, Series(Placed(model, gpu, int(gpus), precision), runs.set_index("max_num_seqs").sort_index()))
        )
    return found


def ledger(raw: pd.DataFrame) -> list[dict[str, Any]]:
    """Every setting that no law was fitted to."""
    found = []
    for said, one in series(raw):
        law, task = one.law(), said.pop("task")
        said |= {"fitted_on": "{} and {} places".format(*one.fitted)}
        of_a_place_s = one.runs.index / one.runs["output_tokens_per_s"]
        for places in one.runs.index.difference(one.fitted):
            held, run = one.steps(places), one.runs.loc[places]
            own = said | {"load": f"{places} places, {task}", "circumstance": _circumstance(task, held, places)}
            for statistic, share in QUANTILES.items():
                measured = one.runs[f"itl_{statistic}_ms"] / 1e3
                off = (measured[places], held.at(share, law) @ law, one.straight(measured, places))
                found.append(rows.row(own | {"metric": "itl", "statistic": statistic}, *off))
            off = (1.0 / (held.of_a_token @ law), places / one.straight(of_a_place_s, places))
            own |= {"metric": "throughput", "statistic": "mean"}
            found.append(rows.row(own, run["output_tokens_per_s"], *off))
    return found


def _circumstance(task: str, held: Steps, places: int) -> str:
    if held.count @ held.held[:, 1] / held.count.sum() < 0.97 * places:
        return rows.CACHE_FULL
    return rows.IMAGES if task.startswith(("image", "video")) else rows.DENSE
