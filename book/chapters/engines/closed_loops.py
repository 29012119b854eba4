"""Engines in a closed loop: times to and between tokens by how many clients there are, from two of the runs.

Reads mean times of engines that batch continuously, each with a fixed number of clients who send their next request
when the last is answered. Two runs of a series tell a step's fixed time and what a sequence adds; what they cannot tell
is the card's (`hardware`). The straight line through the same two runs is what has to be beaten.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize

from book.chapters.engines import rows
from book.chapters.engines.hardware import Placed
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.latency.steps import StepLaw
from simlib.requests import workload
from simlib.requests.lengths import Fixed

if TYPE_CHECKING:
    import pandas as pd


FILE, SOURCE = "aic-silicon/h100_h200.csv", "aiconfigurator"
BUDGET = 8192  # tokens of a step: nobody gives them
NUDGE = 1e-4
BLOCK, SAME_DIGITS, MET = 16, 4, 0.01
EACH = 2  # requests of a client
ENGINES = {"vllm": "vLLM", "trtllm": "TensorRT-LLM", "sglang": "SGLang"}
DENSE = ("Llama-3.1-8B-Instruct", "Llama-3.1-70B", "Qwen3-32B")
ENGINE = ["backend", "backend_version", "model_path", "system", "precision", "tp_size", "attention_dp_size",
          "moe_tp_size", "moe_ep_size", "run"]  # fmt: skip
LENGTHS = ["isl", "osl"]
TIMES = ["silicon_ttft_ms", "silicon_tpot_ms"]
IDS = r"[;,]? *(config_id|silicon_concurrency|workflow_run_id|measured|gtl_job_id|gtl_task_id)=[^;]*"
# Methods were chosen on the H100; of the H200, these were seen before: in the chapter on batch times, or by hand.
CHOSEN_ON, SEEN = "H100", {("SGLang", "0.5.6.post2"), ("vLLM", "0.12.0"), ("SGLang", "0.5.9")}


@functools.cache
def held(clients: int, prompt_tokens: int, output_tokens: int, room_tokens: int | None) -> np.ndarray:
    """What mean TTFT and TPOT hold of a step's four coefficients, shape (2, 4), by simulation.

    Which step holds what hangs on counts alone: the engine composes at the ends of steps, and a client's next request
    is there at once. So times are linear in the law, and four runs tell the matrix.

    Examples
    --------
    >>> held(1, 100, 11, None).round(6).tolist()
    [[1.0, 0.0, 100.0, 0.0], [1.0, 1.0, 0.0, 105.5]]
    """
    table = workload.closed(clients, EACH, Fixed(prompt_tokens), Fixed(output_tokens))
    engine = Continuous(max_seqs=clients, kv_tokens=room_tokens, token_budget=max(BUDGET, clients))
    means = []
    nudges = ((), (NUDGE,), (0, NUDGE / 100), (0, 0, NUDGE / 1e4))
    for nudge in nudges:
        served = serve(table, StepLaw(1.0, *nudge), engine)
        between_s = (served.completion_s - served.first_token_s) / (output_tokens - 1)
        means.append(((served.first_token_s - served.arrival_s).mean(), between_s.mean()))
    base, *others = np.array(means)
    parts = [(other - base) / nudge[-1] for other, nudge in zip(others, nudges[1:], strict=True)]
    return np.stack([base, *parts], axis=1)


@dataclass(frozen=True)
class Series:
    """The runs of one engine at one pair of lengths: TTFT and TPOT in seconds by how many clients there were."""

    placed: Placed
    prompt_tokens: int
    output_tokens: int
    times_s: pd.DataFrame

    @property
    def fitted(self) -> tuple[int, int]:
        """The fewest clients, and the median number, of two in the middle the smaller: the largest are foretold."""
        clients = list(self.times_s.index)
        return clients[0], clients[max((len(clients) - 1) // 2, 1)]

    @functools.cached_property
    def law(self) -> np.ndarray:
        """A step's coefficients: two from TPOT of the fitted runs, none below zero, and two that are the card's."""
        tpot_s = self.times_s["tpot"][list(self.fitted)].to_numpy()
        holds = np.stack([self.holds(clients)[1] for clients in self.fitted])
        known = np.array([self.placed.prefill_s, self.placed.context_s])
        experts_s = np.array([self.experts_s(clients) for clients in self.fitted])
        left_s = np.maximum(tpot_s - holds[:, 2:] @ known - experts_s, 0.0)
        found, _ = optimize.nnls(holds[:, :2] / tpot_s[:, None], left_s / tpot_s)
        return np.concatenate([found, known])

    @functools.cached_property
    def afterwards(self) -> str:
        """What shows of the series when its times are seen: `rows.FALLS`, `rows.UNMET` or nothing."""
        if (self.times_s["tpot"].diff() < 0).any():
            return rows.FALLS
        if len(self.times_s) < 2:
            return ""
        off = [self.predicted_s(n, self.law)["tpot"] / self.times_s["tpot"][n] - 1.0 for n in self.fitted]
        return "" if np.abs(off).max() < MET else rows.UNMET

    @property
    def fits(self) -> bool:
        """Whether the cache has room for one request, where its size is known."""
        room = self.placed.room_tokens
        return room is None or room > self.prompt_tokens + self.output_tokens + BLOCK

    def holds(self, clients: int) -> np.ndarray:
        """As `held`."""
        return held(int(clients), self.prompt_tokens, self.output_tokens, self.placed.room_tokens)

    def experts_s(self, clients: int) -> float:
        """Seconds of a step in which experts are read."""
        steps, decodes = self.holds(clients)[1, :2]
        return self.placed.experts_s(decodes / steps)

    def predicted_s(self, clients: int, law: np.ndarray) -> dict[str, float]:
        """TTFT and TPOT; a step with prompts reads all experts."""
        holds = self.holds(clients)
        ttft_s, tpot_s = holds @ law
        return {
            "ttft": ttft_s + holds[0, 0] * self.placed.experts_s(np.inf),
            "tpot": tpot_s + self.experts_s(clients),
        }

    def straight(self, metric: str, clients: int) -> float:
        """The line through the fitted runs, seconds."""
        return rows.straight(*((n, self.times_s[metric][n]) for n in self.fitted), clients)

    def circumstance(self, clients: int) -> str:
        """What makes a prediction hard, of what is known before it is made."""
        room = self.placed.room_tokens
        if room is not None and clients * (self.prompt_tokens + self.output_tokens) > room:
            return rows.CACHE_FULL
        return rows.DENSE if self.placed.network in DENSE else rows.MIXTURE


def once(raw: pd.DataFrame) -> pd.DataFrame:
    """Without the copies that the source has of a run, under another date, name or number of cards.

    The one with the fewest cards stays, of these the one whose engine has most runs.
    """
    raw = raw.assign(run=raw["silicon_data_source"].str.replace(IDS, "", regex=True)).dropna(subset=TIMES)
    cards = raw["tp_size"] * raw["attention_dp_size"].fillna(1)
    runs = raw.groupby(ENGINE, dropna=False)["isl"].transform("size")
    times = {name: raw[name].map(f"{{:.{SAME_DIGITS}g}}".format) for name in TIMES}
    ordered = raw.assign(**times).iloc[np.lexsort((-runs, cards))]
    return raw.loc[~ordered.duplicated(["backend", "system", *LENGTHS, *TIMES]).reindex(raw.index)]


def engines(raw: pd.DataFrame) -> Iterator[tuple[dict[str, Any], list[Series]]]:
    """Each engine of the table: how a row names it, and its series by lengths, in order of their tokens."""
    raw = once(raw)
    for key, own in raw.groupby(ENGINE, dropna=False):
        about = dict(zip(ENGINE, key, strict=True))
        ranks = 1 if about["attention_dp_size"] != about["attention_dp_size"] else int(about["attention_dp_size"])
        model, gpu = about["model_path"].split("/")[-1], about["system"].split("_")[0].upper()
        precision = about["precision"] if isinstance(about["precision"], str) else "bf16"
        engine = ENGINES[about["backend"]]
        version = about["backend_version"] if isinstance(about["backend_version"], str) else "not given"
        # TensorRT-LLM keeps its cache in eight bits where the weights are; the others do if asked to.
        cache_bytes = 1.0 if engine == "TensorRT-LLM" and precision in ("fp8", "fp4") else 2.0
        placed = Placed(model, gpu, int(about["tp_size"]), precision, ranks, cache_bytes)
        parallel = f"TP {placed.gpus}" + (f", attention DP {ranks}" if ranks > 1 else "")
        if about["moe_ep_size"] > 1 or about["moe_tp_size"] > 1:
            parallel += f", experts TP {about['moe_tp_size']} EP {about['moe_ep_size']}"
        said = {"source": SOURCE, "engine": engine, "version": version, "model": f"{model}, {precision}"}
        said |= {"gpu": gpu, "parallel": parallel, "blind": gpu != CHOSEN_ON and (engine, version) not in SEEN}
        series = []
        for (prompt, output), runs in own.groupby(LENGTHS):
            times_s = (
                runs.groupby("batch_size")[TIMES].mean().rename(columns=dict(zip(TIMES, ("ttft", "tpot"), strict=True)))
                / 1e3
            )
            series.append(Series(placed, int(prompt), int(output), times_s))
        yield (
            said | {"run": _date(about["run"])},
            sorted(series, key=lambda one: (one.prompt_tokens + one.output_tokens, one.prompt_tokens)),
        )


def _date(run: str) -> str:
    found = re.search(r"\d{4}-\d{2}-\d{2}", run)
    return f", {found[0]}" if found else ""


def ledger(raw: pd.DataFrame) -> list[dict[str, Any]]:
    """Every run that no law was fitted to: at the lengths of the two that one was, and at others."""
    found = []
    for number, (said, series) in enumerate(engines(raw)):
        run, said = said["run"], {name: value for name, value in said.items() if name != "run"}
        name = (
            ", ".join(str(said[part]) for part in ("engine", "version", "model", "gpu", "parallel"))
            + f"{run} ({number})"
        )
        for one in series:
            if len(one.times_s) < 3 or not one.fits:
                continue
            own = said | {"kind": rows.CLOSED, "series": f"{name}, {_lengths(one)}"}
            own |= {"fitted_on": "{} and {} clients".format(*one.fitted)}
            found += _judged(own, one, one.law, one, ("tpot", "ttft"), skip=one.fitted)
        bases = [one for one in series if len(one.times_s) >= 2 and one.fits]
        if len(bases) >= 2 and bases[0].placed.known:
            base = bases[(len(bases) - 1) // 2]
            own = said | {"kind": rows.LENGTHS, "series": name}
            own |= {"fitted_on": "{} and {} clients, {}".format(*base.fitted, _lengths(base))}
            for one in series:
                if one is not base and one.fits:
                    found += _judged(own, one, base.law, base, ("tpot",))
    return found


def _judged(
    said: dict[str, Any], one: Series, law: np.ndarray, base: Series, metrics: tuple[str, ...], skip: tuple = ()
) -> list[dict[str, Any]]:
    made = []
    for clients in one.times_s.index.difference(skip):
        predicted = one.predicted_s(clients, law)
        own = said | {"load": f"{clients} clients, {_lengths(one)}", "statistic": "mean"}
        own |= {"circumstance": one.circumstance(clients), "afterwards": one.afterwards or base.afterwards}
        made += [
            rows.row(
                own | {"metric": metric},
                one.times_s[metric][clients],
                predicted[metric],
                base.straight(metric, clients),
            )
            for metric in metrics
        ]
    return made


def _lengths(one: Series) -> str:
    return f"{one.prompt_tokens} + {one.output_tokens} tokens"
