"""The result of vLLM's or SGLang's serving benchmark without its details, and vLLM's sweep: means of each run.

``vllm bench serve --save-result`` and SGLang's ``bench_serving --output-file`` keep totals, means and quantiles in
milliseconds; ``vllm bench sweep serve`` puts many of them into ``summary.json`` and ``summary.csv``, with
``run_number`` and what was varied (https://github.com/vllm-project/vllm, ``vllm/benchmarks/sweep/serve.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simlib.checks import InputError, number_in
from simlib.requests.formats.aggregates.summary import Load, Summary, is_number, spread
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, chosen_runs, shown

TIMES = {"ttft_s": ("ttft",), "itl_s": ("itl",), "tpot_s": ("tpot",), "latency_s": ("e2el", "e2e_latency")}
MEANT = {"duration": "span, seconds", "request_throughput": "rate, requests a second", "completed": "requests served"}
MEANT |= {f"total_{ours}_tokens": f"mean {ours}, tokens" for ours in ("input", "output")}


def read(document: Document, asked: Asked) -> Summary:
    """The numbers of each run."""
    source, runs = document.source, _runs(document)
    if document.records is None and "completed" not in document.columns:
        raise InputError(f"{source}: a table (expected a JSON object, or a sweep's summary with the column completed)")
    names = [_name(run, number) for number, run in enumerate(runs)]
    loads = tuple(
        _load(source, number, runs[number], names[number]) for number in chosen_runs(source, names, asked.run)
    )
    if len(runs) == 1:
        loads = (Load(**{name: getattr(loads[0], name) for name in Load.__slots__} | {"name": ""}),)
    columns = {name: meaning for name, meaning in MEANT.items() if name in document.columns}
    columns |= {
        f"{statistic}_{theirs}_ms": f"{statistic} {ours.removesuffix('_s')}, milliseconds"
        for ours, names in TIMES.items() for theirs in names for statistic in ("mean", "median", "p99")
        if f"{statistic}_{theirs}_ms" in document.columns
    }  # fmt: skip
    kind = "means of a sweep's runs" if any("run_number" in run for run in runs) else "means"
    missing = f"{kind} and no row a request (expected the arrays input_lens and output_lens: {details(runs[0])})"
    unused = tuple(name for name in document.columns if name not in columns and name)
    return Summary(source, "serving_benchmark", loads, columns, missing, engine(runs[0]), unused)


def details(result: Mapping[str, Any]) -> str:
    """The option that makes this engine's benchmark record its requests."""
    sglang, vllm = "SGLang records them with --output-details", "vLLM records them with --save-result --save-detailed"
    return {"SGLang": sglang, "vLLM": vllm}.get(engine(result), f"{vllm}, {sglang.removesuffix(' records them')}")


def engine(result: Mapping[str, Any]) -> str:
    """Whose benchmark wrote it; empty where its keys do not tell."""
    if "sglang" in str(result.get("backend")) or "random_range_ratio" in result or "accept_length" in result:
        return "SGLang"
    return "vLLM" if {"endpoint_type", "num_prompts", "tokenizer_id", "burstiness"} & set(result) else ""


def _runs(document: Document) -> list[dict[str, Any]]:
    if document.records is not None:
        return document.records
    cells = ({name: cell for name, cell in row.items() if cell} for row in document.frame.to_dict("records"))
    return [
        {name: cell if (number := number_in(cell)) != number else number for name, cell in row.items()} for row in cells
    ]


def _name(run: Mapping[str, Any], number: int) -> str:
    limit = run.get("max_concurrency")
    name = f"rate {shown(run.get('request_rate'))}" + ("" if limit is None else f", {shown(limit)} in flight")
    return name + (f", run {int(run['run_number'])}" if is_number(run.get("run_number")) else "")


def _load(source: str, row: int, run: Mapping[str, Any], name: str) -> Load:
    counts = {key: run.get(key) for key in ("completed", "duration", "total_input_tokens", "total_output_tokens")}
    for key, value in counts.items():
        if value is not None and not (is_number(value) and value >= 0):
            raise InputError(f"{source}, row {row}, {key}: {shown(value)} (expected a number >= 0)")
    served, failed = counts["completed"], run.get("failed")
    failed = int(failed) if is_number(failed) else None
    made = (served or 0) + (failed or 0)
    spreads = {}
    for ours, theirs in (("prompt_tokens", "total_input_tokens"), ("output_tokens", "total_output_tokens")):
        if served and counts[theirs] is not None:
            spreads[ours] = {"mean": counts[theirs] / served}
    for ours, theirs in TIMES.items():
        names = {
            statistic: tuple(f"{statistic}_{short}_ms" for short in theirs) for statistic in ("mean", "median", "p99")
        }
        # A benchmark in which all failed writes 0 for every time.
        if served and (found := spread(run, names, 1e3)):
            spreads[ours] = found
    span_s = counts["duration"]
    return Load(
        name,
        None if served is None else int(served),
        failed,
        span_s,
        made / span_s if span_s and served is not None else None,
        spreads,
    )
