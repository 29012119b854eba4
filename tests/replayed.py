"""The shared log of a real engine, and logs that the simulated one left."""

import numpy as np

import simlib
from simlib.calibration import replay
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous

ENGINE = Continuous(max_seqs=256, kv_tokens=2587 * 16, token_budget=2048, steps_in_flight=2, reuse=True)
LOG = "RTX4090_Llama-3.1-8B_vllm_requests.jsonl.gz"


def made_log(law, engine, count=60, scale=0.0):
    """A log that the simulated engine left, from its first arrival on; each stamp off by up to a share of it."""
    drawn = simlib.workload.original(count, seed=3).at_rate(40.0)
    table = simlib.RequestTable(drawn.arrival_s - drawn.arrival_s[0], drawn.prompt_tokens, drawn.output_tokens)
    served = serve(table, law, engine, log_steps=100_000)
    late_s = 1 + scale * np.random.default_rng(0).uniform(-1, 1, count)
    first_s, last_s = served.first_token_s * late_s, served.completion_s * late_s
    return replay.EngineLog(table, replay.queued_s(served, table.arrival_s), first_s, last_s)
