"""The part of the verb ``validate`` that sets a benchmark's measured times beside those that a law predicts."""

from __future__ import annotations

import argparse
from typing import Any

from simlib.checks import InputError, check_integer
from simlib.cli.benches.limits import distinct
from simlib.cli.numbers import check_used
from simlib.cli.outputs import aligned, answer
from simlib.text import percent, span, three

NEEDED = ("--latency", "--max-num-seqs", "--token-budget")
OF_LOGS = ("--profile", "--prefix", "--log", "--meta", "--model-config", "--timeseries", "--layers", "--hidden-size")
OF_LOGS += ("--tensor-parallel", "--data-parallel", "--expert-parallel", "--no-expert-parallel", "--link-bandwidth")
OF_LOGS += ("--link-latency", "--step-overhead", "--fitted", "--step-model")
ELSE = {"block_size": 16, "steps_in_flight": 2, "watermark": 0.0, "reuse": True, "long_prefill_tokens": 0}


def add(own: argparse.ArgumentParser) -> None:
    """Add the options."""
    own.add_argument("--bench", nargs="+", metavar="RESULT.json", help="serving benchmarks, predicted by --latency")
    own.add_argument("--latency", metavar="LAW", help="with --bench: a law of steps, as `simlib calibrate` writes it")


def judge(options: argparse.Namespace) -> None:
    """Predict each benchmark, and answer with a row a number."""
    from simlib import named
    from simlib.calibration.loads.load import MeasuredLoad
    from simlib.continuous.settings import Continuous
    from simlib.lazy import pd
    from simlib.predicted import benchmarks
    from simlib.requests.formats import known
    from simlib.requests.formats.layout import Asked

    check_used(options, "beside --bench", *OF_LOGS)
    if missing := [name for name in NEEDED if getattr(options, name[2:].replace("-", "_")) is None]:
        raise InputError(f"{', '.join(missing)}: missing (expected with --bench the law and the engine's limits)")
    asked = {name: other if (given := getattr(options, name)) is None else given for name, other in ELSE.items()}
    block, blocks = check_integer("--block-size", asked.pop("block_size"), 1), options.kv_blocks
    check_integer("--steps-in-flight", asked["steps_in_flight"], 1, 2)
    engine = Continuous(
        max_seqs=check_integer("--max-num-seqs", options.max_num_seqs, 1),
        kv_tokens=None if blocks is None else check_integer("--kv-blocks", blocks, 1) * block,
        block_tokens=block,
        token_budget=check_integer("--token-budget", options.token_budget, 1),
        whole_prompt=True,
        known_ends=options.known_ends,
        **asked,
    )
    law = named.step_law_of(options.latency)
    logs = [known.parse(path, asked=Asked(options.time_unit)) for path in options.bench]
    loads = distinct(
        (path, load) for path, log in zip(options.bench, logs, strict=True) for load in MeasuredLoad.of(log)
    )
    rows = pd.concat([benchmarks.judged(load, law, engine) for load in loads], ignore_index=True)
    answer(options.json, rows.astype(object).where(rows.notna(), None).to_dict("records"), _text(rows, engine))


def _text(rows: Any, engine: Any) -> str:
    """A sentence, and a table for eyes."""
    from simlib.lazy import pd

    known = rows["low"].notna()
    inside = (rows["low"] <= rows["measured"]) & (rows["measured"] <= rows["high"])
    limits = f"at most {engine.max_seqs:,} sequences, {engine.token_budget:,} tokens a step, "
    limits += f"{engine.steps_in_flight} in flight" + (
        "" if engine.kv_tokens is None else f", {engine.blocks:,} blocks"
    )
    said = f"Predicted with {limits}. "
    said += (
        f"{inside.sum()} of {known.sum()} measured values lie in their 95 % intervals."
        if known.any()
        else "The law keeps no draws of itself, so that nothing has an interval (`simlib calibrate --from-bench` does)."
    )
    shown = [
        {
            "file": row.file, "metric": row.metric, "statistic": row.statistic, "measured": _number(row, row.measured),
            "predicted": _number(row, row.predicted) + (
                f", {_number(row, row.low)} to {_number(row, row.high)}" if row.low == row.low else ""
            ),
            "off": percent(row.predicted / row.measured - 1) if row.measured else "",
        }
        for row in rows.itertuples()
    ]  # fmt: skip
    return f"{said}\n\n{aligned(pd.DataFrame(shown))}"


def _number(row: Any, value: float) -> str:
    return span(value) if row.unit == "s" else f"{three(value)} {row.unit}"
