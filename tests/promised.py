"""A plan's promise, made by hand for an engine that is simulated, and what was measured of it afterwards."""

import copy
import functools
import json

import numpy as np

from simlib import StepLaw, simulate, workload
from simlib.planning.deployed import promise
from simlib.planning.deployed.promise import Assumed, Promise
from simlib.planning.objectives import parse, values_s
from simlib.requests.arrivals import Poisson
from simlib.requests.lengths import LogNormal
from simlib.runs import metrics

LAW = StepLaw(0.010, 0.0003, 0.0001, 5e-8)
SLA = "ttft_p99<=1,tpot_p99<=0.05"
WINDOW_S, RATE_RPS = 100.0, 6.0


def window(seed, rate_rps=RATE_RPS, prompt=400, output=120):
    """About a window's requests."""
    drawn = workload.generate(round(WINDOW_S * rate_rps), Poisson(rate_rps), LogNormal(prompt, 0.5, 1, 2000),
                              LogNormal(output, 0.5, 1, 1000), family="promised", replication=seed)  # fmt: skip
    return drawn


def document(**more):
    """What a plan of one replica writes, of steps within a twentieth of the law's."""
    return copy.deepcopy(_planned()) | more


@functools.cache
def _planned():
    windows = [window(seed) for seed in range(20)]
    configuration = {"engine": "mine", "replicas": 1, "tensor_parallel": 1, "gpus": 1, "max_num_seqs": 32,
                     "max_num_batched_tokens": 512, "k_bins": 1, "kv_tokens": 60_000}  # fmt: skip
    plan = {"met": True, "configuration": configuration, "window_s": WINDOW_S, "confidence": 0.95}
    setup = promise.of(
        plan
        | {
            "objectives": [{"objective": "ttft_p99<=1", "mean": 1.0}],
            "assumed": promise.assumed(windows, windows[0], Assumed(1.0, 0.95, 1.05), LAW),
        }
    ).setup
    runs = [simulate(each, "fcfs", LAW, 1, setup.continuous()) for each in windows]
    rows = []
    for one in parse(SLA):
        found = Assumed.of(values_s(run, [one])[one.name] for run in runs)
        rows.append({"objective": str(one), **found.document()})
    assumed = promise.assumed(windows, windows[0], Assumed(1.0, 0.95, 1.05), LAW, engine="vLLM", model="org/model")
    return plan | {"objectives": rows, "assumed": assumed}


def promised() -> Promise:
    return promise.of(document(), "plan.json")


def served(table, pace=1.0, setup=None):
    """The times that clients measure where steps take `pace` of what the law says."""
    law = StepLaw(*(pace * LAW.params[:4]))
    return simulate(table, "fcfs", law, 1, (setup or promised().setup).continuous())


def result(table, pace=1.0, **more):
    """The same as a benchmark writes it."""
    run = served(table, pace)
    times = metrics.request_times(run)
    gaps = np.nan_to_num(times["tpot"])
    return json.dumps({
        "input_lens": table.prompt_tokens.tolist(), "output_lens": table.output_tokens.tolist(),
        "ttfts": times["ttft"].tolist(), "start_times": (1000 + table.arrival_s).tolist(), "backend": "vllm",
        "itls": [[gap] * (tokens - 1) for gap, tokens in zip(gaps.tolist(), table.output_tokens.tolist(), strict=True)],
        "errors": [""] * len(table), "request_rate": RATE_RPS, "completed": len(table),
        "duration": float(table.arrival_s[-1]) + 60, "num_prompts": len(table), "model_id": "org/model", **more,
    })  # fmt: skip
