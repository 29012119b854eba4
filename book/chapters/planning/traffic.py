"""Traffic that plans are tried on: generated, with bursts and drift that are known; and recorded, as it was.

A generated rate moves from window to window (an autoregression of its logarithm) and within one; lengths move
with it, and the share of long prompts. Of ServeGen's clients only rates and variations of gaps were recorded, for each
ten minutes: their requests are drawn from these and thinned to a rate that one engine can serve, lengths from a law.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from simlib import datasets
from simlib.requests import traces
from simlib.requests.lengths import LogNormal
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable

PROMPT, OUTPUT, LONG = LogNormal(500, 0.8, high=6000), LogNormal(180, 0.7, high=4000), LogNormal(2500, 0.5, high=8000)
PIECES = 10  # of a window, each with a rate of its own
FAMILY = "traffic of the chapter on plans"
SERVEGEN, THINNED_RPS = ("m-small", "m-large"), 2.0


@dataclass(frozen=True, slots=True)
class World:
    """How traffic varies, standard deviations of logarithms: `drift` of a window's rate, of which a share of `memory`
    stays to the next; `bursts` of a minute's; `lengths` of a window's median length. `gap_cv` is the coefficient of
    variation of gaps, `long_share` the mean share of long prompts, which moves with the rate's drift."""

    name: str
    drift: float = 0.0
    memory: float = 0.8
    bursts: float = 0.0
    gap_cv: float = 1.0
    lengths: float = 0.0
    long_share: float = 0.0


WORLDS = (
    World("steady"),
    World("bursts", bursts=0.35, gap_cv=2.0),
    World("drift", drift=0.2, memory=0.9, lengths=0.05),
    World("bursts and drift", drift=0.15, memory=0.7, bursts=0.25, gap_cv=1.5, lengths=0.1, long_share=0.05),
)


def drawn(world: World, windows: int, window_s: float, rate_rps: float, seed: int) -> RequestTable:
    """A record of one world's traffic, which begins somewhere in a window."""
    rng = stream(FAMILY, seed, "arrivals")
    level, length = _levels(world.memory, windows + 1, rng), _levels(world.memory, windows + 1, rng)
    piece_s = window_s / PIECES
    rates = rate_rps * np.exp(world.drift * np.repeat(level, PIECES) - world.drift**2 / 2)
    rates = rates * np.exp(world.bursts * rng.standard_normal(len(rates)) - world.bursts**2 / 2)
    done = np.concatenate([[0.0], np.cumsum(rates * piece_s)])
    shape = 1 / world.gap_cv**2
    steps = np.cumsum(rng.gamma(shape, 1 / shape, int(done[-1] * 1.3) + 100))
    steps = steps[steps < done[-1]]
    arrival_s = np.interp(steps, done, np.arange(len(done)) * piece_s)
    begins_s = window_s * rng.uniform(0, 1)
    arrival_s = arrival_s[(arrival_s >= begins_s) & (arrival_s < begins_s + (windows + 0.01) * window_s)]
    of = (arrival_s / window_s).astype(int)
    longer = np.exp(world.lengths * length[of])
    prompt, output = PROMPT.sample(len(of), rng), OUTPUT.sample(len(of), rng)
    long = rng.uniform(size=len(of)) < world.long_share * np.exp(3 * world.drift * level[of])
    prompt = np.where(long, LONG.sample(len(of), rng), prompt)
    return RequestTable(arrival_s - arrival_s[0], _longer(prompt, longer), _longer(output, longer))


def _levels(memory: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """A stationary autoregression of variance 1."""
    level = rng.standard_normal(count)
    for place in range(1, count):
        level[place] = memory * level[place - 1] + np.sqrt(1 - memory**2) * level[place]
    return level


def _longer(tokens: np.ndarray, times: np.ndarray) -> np.ndarray:
    return np.clip(np.round(tokens * times), 1, 8000).astype(int)


@dataclass(frozen=True, slots=True)
class Record:
    """What was recorded: requests, how long a window is; and who serves them: so many replicas, of so many places."""

    name: str
    table: RequestTable
    window_s: float
    replicas: int = 1
    places: int = 64


def recorded(groups: int, clients: int, windows: int, seed: int) -> Iterator[Record]:
    """The real traces, as far as they are at hand (``SIMLIB_DATA_DIR``), and groups of ServeGen's clients."""
    azure = traces.read(datasets.locate("azure-llm-2023/AzureLLMInferenceTrace_conv.csv.gz")).requests
    yield Record("Azure, conversations", azure, 60.0)
    mooncake = traces.read(datasets.locate("mooncake/synthetic_trace.jsonl.gz")).requests
    yield Record("Mooncake, synthetic", _lengths_only(mooncake), 120.0, replicas=6)
    yield Record("BurstGPT, 400 rows", traces.read(datasets.sample(), rate_factor=60.0).requests, 10.0, places=16)
    for model in SERVEGEN:
        rates = pd.read_csv(datasets.locate(f"servegen/language_{model}_client_rates.csv.gz"))
        for group in range(groups):
            yield Record(f"ServeGen {model}", _of_clients(rates, clients, windows, seed + group), 600.0, places=16)


def _lengths_only(table: RequestTable) -> RequestTable:
    return RequestTable(table.arrival_s, table.prompt_tokens, table.output_tokens)


def _of_clients(rates: pd.DataFrame, clients: int, windows: int, seed: int) -> RequestTable:
    """Requests of so many clients over so many windows of ten minutes, from anywhere in the record."""
    rng = stream(FAMILY + ", clients", seed, "arrivals")
    names = rates["client"].unique()
    chosen = rates[rates["client"].isin(rng.choice(names, min(clients, len(names)), replace=False))]
    first = int(rng.integers(0, int(rates["window_start_s"].max() // 600) - windows))
    chosen = chosen[chosen["window_start_s"].between(600 * first, 600 * (first + windows) - 1)]
    arrivals = []
    for row in chosen.itertuples():
        shape = 1 / max(row.iat_cv, 0.05) ** 2
        gaps = rng.gamma(shape, 1 / (shape * row.rate_req_per_s), int(row.rate_req_per_s * 600 * 3) + 20)
        times_s = np.cumsum(gaps) - gaps[0] * rng.uniform()
        arrivals.append(row.window_start_s - 600 * first + times_s[times_s < 600])
    arrival_s = np.sort(np.concatenate(arrivals))
    arrival_s = arrival_s[rng.uniform(size=len(arrival_s)) < THINNED_RPS * 600 * windows / len(arrival_s)]
    count = len(arrival_s)
    return RequestTable(arrival_s - arrival_s[0], PROMPT.sample(count, rng), OUTPUT.sample(count, rng))
