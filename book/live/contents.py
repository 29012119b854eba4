"""What the page's kernels are given besides a reader's choices: coefficients, streams, policies' numbers, laws.

All of it is the library's own, as one document of JSON.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

import numba
import numpy as np
import pandas as pd

from book.explorer import views
from book.explorer.state import FAMILY, WORKLOADS, Position, controls
from book.kit.names import EXECUTION_NAMES, SCHEDULER_NAMES
from book.live import batches, drawn, entries, summary
from simlib import datasets, levels
from simlib.continuous.serve import SAMPLES
from simlib.continuous.settings import Continuous
from simlib.engine.compiled import source_digest
from simlib.latency import presets
from simlib.latency.measured import Measured
from simlib.latency.models import Affine
from simlib.latency.phases import Phases
from simlib.policies.batch_size import DEADLINE, Rules
from simlib.policies.full_batches import MultiBinFixed
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.policies.static import StaticFIFO
from simlib.requests import azure, burstgpt
from simlib.requests.streams import stream
from simlib.requests.workload import ORIGINAL_RATE_RPS
from simlib.runs import collapse
from simlib.runs.metrics import SUMMARY_KEYS
from simlib.stats.shares import FEWEST_CLUSTERS, resamples

WORKLOAD_NAMES = {name: WORKLOADS[name] for name in ("synthetic", "burstgpt_like", "azure_like")} | {
    "own": "your own file"
}
SEEDS = 81  # that a reader may choose from
STREAMS = SEEDS + 3 * summary.REPLICATIONS  # the last one's replications, and those of an A that has other requests
POLICIES = {
    "static_fifo": batches.STATIC,
    "dynamic_no_bins": batches.DYNAMIC,
    "multi_bin_dynamic": batches.DYNAMIC,
    "multi_bin_fixed": batches.FIXED,
    "shortest_predicted_first": batches.SHORTEST,
}


def document() -> dict[str, Any]:
    """Everything, by name; arrays of many numbers in base64."""
    rules, shortest = Rules(), ShortestPredictedFirst()
    dynamic = [*rules.params(1.0).tolist(), rules.candidates]
    numbers = {
        "static_fifo": [StaticFIFO().batch_size],
        "dynamic_no_bins": dynamic,
        "multi_bin_dynamic": dynamic,
        "multi_bin_fixed": [MultiBinFixed().batch_size],
        "shortest_predicted_first": [shortest.batch_size, shortest.weight_s],
    }
    engine = Continuous()
    return {
        "policies": {
            name: {"number": number, "numbers": numbers[name], "name": SCHEDULER_NAMES[name]}
            for name, number in POLICIES.items()
        },
        "deadline": DEADLINE,
        "controller": rules.controller().tolist(),
        "least": rules.least,
        "most_collapsed": collapse.MOST,
        "capacity_tokens": rules.memory.capacity_tokens,
        "lines_of_shortest": shortest.k_bins,
        "selects": {"round_robin": batches.IN_TURN, "longest_queue": batches.LONGEST, "oldest_head": batches.OLDEST},
        "engine": [engine.blocks, engine.bits],
        "executions": EXECUTION_NAMES,
        "workloads": {
            "synthetic": {"number": drawn.ORIGINAL, "about": [], "rate": ORIGINAL_RATE_RPS},
            "burstgpt_like": {"number": drawn.BURSTGPT, "about": burstgpt_about(), "rate": 100.0},
            "azure_like": {"number": drawn.AZURE, "about": azure_about(), "rate": 1.0},
        },
        "predictors": {"original": entries.FORMULA, "oracle": entries.ORACLE, "noise": entries.NOISE},
        "laws": laws(),
        "seeds": SEEDS,
        "streams": _packed(np.concatenate([streams(seed) for seed in range(STREAMS)])),
        "resamples": _packed(resamples(summary.REPLICATIONS, 0).astype(np.uint8)),
        "replications": summary.REPLICATIONS,
        "summary": SUMMARY_KEYS,
        "labels": summary.LABELS,
        "notes": entries.NOTED,
        "affine": batches.AFFINE,
        "dynamic": batches.DYNAMIC,
        "fewest_clusters": FEWEST_CLUSTERS,
        "pairs": levels.PAIRS,
        "views": {
            "curve_s": views.CURVE_S,
            "loads": views.LOADS,
            "k_bins": views.K_BINS,
            "octave": views.OCTAVE,
            "buckets": views.BUCKETS,
            "most_blocks": views.MOST_BLOCKS,
            "batches_shown": views.BATCHES_SHOWN,
            "samples_shown": views.SAMPLES_SHOWN,
            "samples": SAMPLES,
        },
        "family": FAMILY,
        "controls": page_controls(),
        "start": start(),
    }


def page_controls() -> list[dict[str, Any]]:
    """The explorer's controls, as far as the page has them: it is given a file, and has the streams of few seeds."""
    given = {control["name"]: control for control in controls()}
    del given["table"]
    given["workload"]["choices"] = WORKLOAD_NAMES
    given["seed"]["high"] = SEEDS - 1
    given["latency"]["hint"] = "alpha,beta,gamma in seconds; of steps a,b,c,d"
    return list(given.values())


def start() -> dict[str, Any]:
    """Where the controls stand at first."""
    settings = Position().settings()
    return {name: value for name, value in settings.items() if name != "table"}


def burstgpt_about() -> list[float]:
    """What `drawn.burstgpt` reads of the conversations of BurstGPT's population."""
    kind = burstgpt.Population.read().conversations
    numbers = [kind.workday_requests, kind.weekend_requests, kind.day_log_sd, kind.window_s, kind.window_log_sd]
    numbers += [kind.failed_share, len(kind.weights), *kind.longest_tokens, *kind.hour_share]
    roots = np.linalg.cholesky(np.asarray(kind.log_covariances))
    mixture = [[*means, root[0, 0], root[1, 0], root[1, 1]] for means, root in zip(kind.log_means, roots, strict=True)]
    return [float(number) for number in (*numbers, *np.cumsum(kind.weights), *np.ravel(mixture))]


def azure_about() -> list[float]:
    """What `drawn.azure` reads of an hour of Azure's conversations."""
    parts = dict(iter(pd.read_csv(datasets.shipped(azure.FILE)).groupby("part")))
    counts, prompts, outputs = (parts[part]["value"].tolist() for part in ("requests", *azure.LENGTHS))
    places = parts[azure.LENGTHS[0]]["place"].tolist()
    return [float(number) for number in (len(counts), len(places), *counts, *places, *prompts, *outputs)]


def streams(seed: int) -> np.ndarray:
    """Where the streams of one seed begin, in the order of `drawn`: state and increment, each high and low."""
    arrivals, lengths = (stream(burstgpt.FAMILY, seed, purpose).spawn(2)[0] for purpose in ("arrivals", "lengths"))
    days, windows, gaps, _ = arrivals.spawn(4)
    tokens, failures = lengths.spawn(2)
    parts, normals = tokens.spawn(2)
    own = stream("azure-like", seed, "arrivals"), stream("azure-like", seed, "lengths")
    in_order = (days, windows, gaps, parts, normals, failures, *own, stream(FAMILY, seed, "prediction"))
    return np.array([words_of(each) for each in in_order], np.uint64)


def words_of(generator: np.random.Generator) -> list[int]:
    """Where a stream begins: its state and its increment, each high and low."""
    state = generator.bit_generator.state["state"]
    return [half for key in ("state", "inc") for half in divmod(state[key], 1 << 64)]


def laws() -> dict[str, dict[str, Any]]:
    """Every preset: the numbers of its batches and of its steps."""
    found = {}
    for name in (*presets.PRESETS, *presets.names()):
        model = presets.load(name)
        base = model.model if isinstance(model, Measured) else model
        kind = {Affine: batches.AFFINE, Phases: batches.PHASES}[type(base)]
        found[name] = {"batch": [*base.params.tolist(), kind], "step": base.step_law().params.tolist()}
    return found


def made_from() -> str:
    """A digest of all that the kernels are made from: their text, and numba's version."""
    sources = [source_digest(entry) for entry in entries.ENTRIES]
    return hashlib.sha256(" ".join([numba.__version__, *sources]).encode()).hexdigest()[:16]


def _packed(numbers: np.ndarray | Iterable[int]) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()
