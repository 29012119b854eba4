"""GuideLLM's ``benchmarks.json``: several benchmarks, each with its requests, https://github.com/vllm-project/guidellm.

Requests lie by what became of them in ``requests.successful``, ``errored`` and ``incomplete`` (cut off when the
benchmark ended). Seconds since 1970 stand in the request (0.2), in ``scheduler_info.request_timings`` (0.3, 0.4) or in
``info.timings`` (since 0.5): the first and the last token's, and none of the single tokens between. See
``src/guidellm/benchmark/benchmark.py``, ``src/guidellm/benchmark/objects.py`` and
``src/guidellm/schemas/base/request_stats.py`` there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer, check_number
from simlib.requests.formats.aggregates.summary import is_number
from simlib.requests.formats.clocks import told
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import LONGEST_TICKS, Asked, Format, Log, chosen_runs, shown
from simlib.requests.formats.results import measured

START, END = ("request_start", "start_time", "resolve_start"), ("request_end", "end_time", "resolve_end")
FIRST = ("first_token_iteration", "first_iteration", "first_token_time")
LAST = ("last_token_iteration", "last_iteration", "last_token_time")
STAMPS = (START, END, FIRST, LAST)
COLUMNS = {
    "prompt_tokens": "prompt, tokens",
    "output_tokens": "output, tokens",
    FIRST[0]: "time to first token, seconds since the start",
    LAST[0]: "mean time between tokens, from the first to the last",
    END[0]: "latency, seconds since the start",
}


def read(document: Document, asked: Asked) -> Log:
    """The requests of each benchmark: errored ones have failed, incomplete ones are left out and counted."""
    source, report = document.source, (document.records or [{}])[0]
    found = report.get("benchmarks")
    if not isinstance(found, list) or not found or not all(isinstance(benchmark, Mapping) for benchmark in found):
        raise InputError(f"{source}, benchmarks: {shown(found)} (expected an array of GuideLLM's benchmarks)")
    if not any("requests" in benchmark for benchmark in found):
        raise InputError(f"{source}, benchmarks: no requests in them (expected GuideLLM's, with their requests)")
    version = str(measured.object_in(source, 0, report, "metadata").get("guidellm_version") or "")
    names = [_name(benchmark) for benchmark in found]
    runs = chosen_runs(source, names, asked.run)
    logs = {
        number: log for number, run in enumerate(runs)
        if (log := _log(f"{source}, benchmark {run}", found[run], source, version, asked)) is not None
    }  # fmt: skip
    if not logs:
        raise InputError(f"{source}, benchmarks: no request, successful or errored (expected at least 1)")
    return measured.together(logs, [names[run] for run in runs])


def _name(benchmark: Mapping[str, Any]) -> str:
    """What kind of load it was, and how much of it."""
    homes = (benchmark.get(home) for home in ("config", "scheduler", "args"))
    strategies = (home.get("strategy") for home in homes if isinstance(home, Mapping))
    strategy = next((found for found in strategies if isinstance(found, Mapping)), {})
    rate, streams = (measured.first_of(strategy, names) for names in (("rate",), ("streams", "max_concurrency")))
    amount = f" {rate:.3g}/s" if isinstance(rate, float) else f", {shown(streams)} in flight" if streams else ""
    return f"{str(strategy.get('type_') or 'unnamed')[:20]}{amount}"


def _log(place: str, benchmark: Mapping[str, Any], source: str, version: str, asked: Asked) -> Log | None:
    requests = measured.object_in(place, 0, benchmark, "requests")
    kinds = {kind: requests.get(kind) or [] for kind in ("successful", "errored", "incomplete")}
    for kind, found in kinds.items():
        if not isinstance(found, list):
            raise InputError(f"{place}, requests.{kind}: {shown(found)} (expected an array)")
    rows = [
        _request(f"{place}, requests.{kind}, row {row}", request, kind == "errored")
        for kind in ("successful", "errored") for row, request in enumerate(kinds[kind])
    ]  # fmt: skip
    if not rows:
        return None
    frame = measured.tidy(rows)
    timings = _timings(next(request for kind in ("successful", "errored") for request in kinds[kind]))
    named = {names[0]: next((name for name in names if timings.get(name) is not None), names[0]) for names in STAMPS}
    starts, clock, columns = "recorded", None, {named.get(name, name): meaning for name, meaning in COLUMNS.items()}
    made, saved = _made(benchmark), sum(map(len, kinds.values()))
    if is_number(made) and made > saved:
        # Those that are not there were in the engine too: the starts of a sample are another load.
        starts = (
            f"{START[0]}: {saved} of {made} requests are in the file, whose starts are no load; GuideLLM saves all of "
            "them without --sample-requests"
        )
        frame = frame.drop(columns="clock")
    else:
        clock = told(f"{place}, {START[0]}", frame["clock"].to_numpy(), "s", True, asked.time_unit)
        columns = {named[START[0]]: f"arrival, {clock}", **columns}
    dropped = {"cut off at the benchmark's end": len(kinds["incomplete"])} if kinds["incomplete"] else {}
    log = Log(
        source, "guidellm", measured.in_order(frame), columns, clock, named[START[0]], version,
        starts=starts, dropped=dropped,
    )  # fmt: skip
    return measured.check_seconds(log, FIRST[0], LAST[0], measured.OVERLOADED_TTFT_S)


def _made(benchmark: Mapping[str, Any]) -> Any:
    """How many requests were made, also where not all were saved."""
    homes = (benchmark.get(home) for home in ("scheduler_metrics", "run_stats"))
    made = (home.get("requests_made") for home in homes if isinstance(home, Mapping))
    return next((counts.get("total") for counts in made if isinstance(counts, Mapping)), None)


def _request(place: str, request: Any, failed: bool) -> dict[str, Any]:
    if not isinstance(request, Mapping):
        raise InputError(f"{place}: {shown(request)} (expected an object)")
    timings, info = _timings(request), request.get("info")
    start, first, last, end = (_time(place, timings, names) for names in (START, FIRST, LAST, END))
    output, prompt = (request.get(name) for name in ("output_tokens", "prompt_tokens"))
    failed = failed or output == 0
    if not failed and np.isnan(start):
        raise InputError(f"{place}, {START[0]}: nothing (expected seconds since 1970)")
    output = measured.length(f"{place}, output_tokens", output, failed)
    prompt = measured.length(f"{place}, prompt_tokens", prompt, failed)
    cached, info = request.get("cached_tokens"), info if isinstance(info, Mapping) else {}
    cached = np.nan if cached is None else check_integer(f"{place}, cached_tokens", cached, 0, prompt)
    return {
        "clock": start,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "cached_prompt_tokens": cached,
        "ttft_s": max(first - start, 0.0),
        "tpot_s": max(last - first, 0.0) / (output - 1) if output > 1 else np.nan,
        "latency_s": max(end - start, 0.0),
        "failed": failed,
        "session": str(info.get("conversation_id")),
        "turn": info.get("turn_index"),
    }


def _timings(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a request's stamps are; itself, in the first versions."""
    homes = (request.get("info"), request.get("scheduler_info"))
    parts = [home.get("timings") or home.get("request_timings") for home in homes if isinstance(home, Mapping)]
    return next((part for part in parts if isinstance(part, Mapping)), request)


def _time(place: str, timings: Mapping[str, Any], names: Sequence[str]) -> float:
    value = measured.first_of(timings, names)
    return np.nan if value is None else check_number(f"{place}, {names[0]}", value, 0.0, LONGEST_TICKS)


FORMAT = Format("guidellm", "GuideLLM's benchmarks, with their requests", (("benchmarks",),), read)
