"""What is measured: which loads on which server, in which order, and the requests that a seed draws."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.engine.server import BLOCK_TOKENS, WORDS, Settings
from simlib.requests.table import RequestTable

CLOCK_LAW = (0.015, 0.0003, 0.00006, 0.0000002)
PROMPT, OUTPUT = (30, 270), (12, 108)  # tokens, uniform
GROUPS, SHARED_TOKENS = 8, 6 * BLOCK_TOKENS  # where prompts begin alike
PREDICTION_ERROR = 0.3  # standard deviation of a predicted length's logarithm
BRACKET_RPS, BRACKET_S = 7.0, 60.0
CAP = 17  # where the paper's controller settles for a step of 28 ms, at 14 requests/s, the host's time in it
LIGHT = 2  # so many of the loads, the lightest, are fitted
# Requests a second. The clock saturates at 15, the processor at about 10, more or less from hour to hour.
LOADS = {"clock": (3.0, 7.0, 13.0), "cpu": (2.5, 5.0, 8.5)}
ALL_LOADS = {"clock": (1.0, 5.0, 8.0, 11.0, 14.0, 19.5), "cpu": (1.0, 4.0, 6.0, 8.0, 10.0, 13.5)}
SPAN_S = {"clock": 90.0, "cpu": 75.0}


@dataclass(frozen=True)
class Load:
    """One measurement: Poisson arrivals at a rate for a span of time, at a server with these settings.

    Parameters
    ----------
    name : str
        Of its files; loads of one `traffic` and seed have the same requests.
    rate_rps, span_s : float
    settings : Settings
    seed_number : int
        Which of the seeds that are drawn it takes.
    traffic : {"plain", "shared"}
        Prompts of random words; or one of `GROUPS` beginnings before each.
    """

    name: str
    rate_rps: float
    span_s: float
    settings: Settings = field(default_factory=Settings)
    seed_number: int = 0
    traffic: str = "plain"


@dataclass(frozen=True)
class Requests:
    """The requests of a load: the table that is simulated, and the prompts that are sent."""

    table: RequestTable
    prompts: list[list[int]]

    def sent(self) -> dict[str, list]:
        """What `client` sends."""
        table = self.table
        columns = {"arrival_s": table.arrival_s, "output_tokens": table.output_tokens, "priority": table.priority}
        return {"prompt": self.prompts} | {name: each.tolist() for name, each in columns.items()}


def draw(load: Load, seed: int) -> Requests:
    """The requests that a seed gives a load."""
    g = np.random.default_rng([seed, round(1000 * load.rate_rps), load.traffic == "shared"])
    count = round(load.rate_rps * load.span_s)
    arrival_s = np.round(np.sort(g.uniform(0, load.span_s, count)), 6)
    own, output = (g.integers(low, high + 1, count) for low, high in (PROMPT, OUTPUT))
    words = [g.integers(1, WORDS, tokens).tolist() for tokens in own]
    predicted = np.maximum(1, np.round(output * np.exp(g.normal(0, PREDICTION_ERROR, count)))).astype(int)
    prefix = {}
    if load.traffic == "shared":
        group = g.integers(0, GROUPS, count)
        beginnings = g.integers(1, WORDS, (GROUPS, SHARED_TOKENS)).tolist()
        words = [beginnings[k] + rest for k, rest in zip(group, words, strict=True)]
        prefix = {"prefix_group": group, "prefix_tokens": np.full(count, SHARED_TOKENS)}
    prompt = np.array(list(map(len, words)))
    return Requests(RequestTable(arrival_s, prompt, output, predicted, priority=predicted, **prefix), words)


def planned(device: str, full: bool, span_s: float | None = None) -> tuple[list[Load], list[Load]]:
    """The loads that are fitted, and those that are predicted, of a device; each for a span of time."""
    span_s = SPAN_S[device] if span_s is None else span_s
    base = Settings(law=CLOCK_LAW if device == "clock" else ())
    rates, seeds = (ALL_LOADS if full else LOADS)[device], (0, 1) if full else (0,)
    each = [Load(f"{rate:g}-{seed}", rate, span_s, base, seed) for rate in rates for seed in seeds]
    light = LIGHT * len(seeds)
    switched = switches(base, span_s) if full and device == "clock" else []
    return each[:light], each[light:] + switched


def switches(base: Settings, span_s: float) -> list[Load]:
    """One switch at a time from the base, of the clock."""
    rates = ALL_LOADS["clock"]
    shared = Load("cache-off", 8.0, span_s, base, 0, "shared")
    return [
        shared,
        replace(shared, name="cache-on", settings=replace(base, prefix_cache=True)),
        Load("two-steps", 11.0, span_s, replace(base, two_steps=True)),
        Load("tight", 8.0, span_s, replace(base, blocks=110)),
        *(Load(f"priority-{rate:g}", rate, span_s, replace(base, priorities=True)) for rate in rates[3:]),
        Load("cap", 11.0, span_s, replace(base, max_seqs=CAP)),
    ]
