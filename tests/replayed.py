"""The shared log of a real engine, and logs that the simulated one left."""

import json

import numpy as np

import simlib
from simlib.calibration.logs.engine_log import EngineLog
from simlib.calibration.logs.served import queued_s
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
    return EngineLog(table, queued_s(served, table.arrival_s), first_s, last_s)


def tiny_profile(folder, experts=False):
    """A made profile of one layer's kernels: each table is linear in what it has, so that a step is known by heart.

    In microseconds: 100 + 2 a token, 50 + 1 a sequence, and for attention 0.001 a token of chunk times (kv + 1), 0.01
    times decodes times (context + 1); of experts 10 each that is woken, and 1 a token.
    """
    folder.mkdir(exist_ok=True)
    tokens = (1, 64, 2048)
    dense = [f"qkv_proj,{n},{100 + 2 * n}" for n in tokens]
    heads = [f"lm_head,{n},{50 + n}" for n in (1, 16, 256)]
    rows = [
        f"{chunk},{kv},{decodes},{context},{0.001 * chunk * (kv + 1) + 0.01 * decodes * (context + 1)}"
        for grid in (GRIDS if not experts else GRIDS[:1])
        for chunk in (0, *grid)
        for kv in (0, *grid)
        for decodes in (0, 1, 32, 256)
        for context in (0, *grid)
        if (chunk > 0 or kv == 0) and (decodes > 0) == (context > 0) and chunk + decodes > 0
    ]
    tables = {"dense": ["layer,tokens,time_us", *dense], "per_sequence": ["layer,sequences,time_us", *heads]}
    tables["attention"] = ["prefill_chunk,kv_prefill,n_decode,kv_decode,time_us", *dict.fromkeys(rows)]
    if experts:
        woken = [(n, k) for n in (1, 2, 4, 64, 2048) for k in (2, 4, 8) if 2 <= k <= 2 * n]
        tables["moe"] = ["tokens,activated_experts,time_us", *(f"{n},{k},{10 * k + n}" for n, k in woken)]
    for kind, lines in tables.items():
        (folder / f"{kind}.csv").write_text("\n".join(lines) + "\n")
    return folder


GRIDS = ((16, 256, 2048), (16, 48, 1024, 2048))


def written(log, path):
    """A log as its engine would have written it, one JSON object a line."""
    stamps = {"queued_ts": log.queued_s, "scheduled_ts": log.queued_s}
    stamps |= {"first_token_ts": log.first_token_s, "last_token_ts": log.last_token_s}
    columns = {"input_toks": log.table.prompt_tokens.tolist(), "output_toks": log.table.output_tokens.tolist()}
    columns |= {"arrival_time": (1.7e9 + log.table.arrival_s).tolist()}
    columns |= {name: (50 + seconds).tolist() for name, seconds in stamps.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(json.dumps({"request_id": f"r{i}"} | row) for i, row in enumerate(rows)) + "\n")
    return path
