"""All formats that are known, and which of them a file is."""

from __future__ import annotations

import os

from simlib.checks import InputError, check_choice
from simlib.requests.formats.aggregates import aiperf_means, inference_perf_stages, llmperf_means, metrics
from simlib.requests.formats.aggregates.summary import Summary
from simlib.requests.formats.document import Document, document
from simlib.requests.formats.layout import Asked, Log, shown
from simlib.requests.formats.results import aiperf, guidellm, inference_perf, llmperf, serving_benchmark
from simlib.requests.formats.traces import (
    azure,
    bailian,
    blis,
    burstgpt,
    llmservingsim,
    mooncake,
    plain,
    servegen,
    splitwise_sim,
    vidur,
    vllm_log,
)  # fmt: skip

FORMATS = {
    format.name: format
    for format in (
        plain.FORMAT, burstgpt.FORMAT, azure.FORMAT, mooncake.FORMAT, bailian.FORMAT, vidur.FORMAT, vllm_log.FORMAT,
        llmservingsim.FORMAT, llmservingsim.RUN_FORMAT, blis.FORMAT, splitwise_sim.FORMAT, servegen.FORMAT,
        servegen.JOB_FORMAT, servegen.RATES_FORMAT,
        serving_benchmark.FORMAT, aiperf.FORMAT, guidellm.FORMAT, inference_perf.FORMAT, llmperf.FORMAT,
        aiperf_means.FORMAT, inference_perf_stages.FORMAT, llmperf_means.FORMAT, metrics.FORMAT,
    )
}  # fmt: skip

TEXTS = {"conversations", "conversation", "messages"}  # whose tokens a model's own tokenizer has to count
SEVERAL = (serving_benchmark.FORMAT.name, guidellm.FORMAT.name)  # that may have several loads in one file


def parse(path: str | os.PathLike[str], format: str = "auto", asked: Asked | None = None) -> Log | Summary:
    """Read a file of any known format, every cell checked; of several loads all, unless one is asked for.

    Parameters
    ----------
    path : str or path-like
        The file; its container (table, JSON, JSON lines; packed or not) is told by its content.
    format : str
        A key of `FORMATS`, or ``"auto"``: the format whose columns the file has.
    asked : Asked, optional
        What the user says about it.

    Raises
    ------
    InputError
        Naming the file and, where there are any, the row, the column, the value and what was expected.
    """
    check_choice("format", format, ("auto", *FORMATS))
    return understood(document(path), format, asked)


def understood(found: Document, format: str = "auto", asked: Asked | None = None) -> Log | Summary:
    """The same of a file that was taken apart already."""
    log = FORMATS[format_of(found, format)].read(found, asked or Asked())
    _check_used(log, asked or Asked())
    return log


def _check_used(log: Log | Summary, asked: Asked) -> None:
    """Refuse what the user says of something that the file does not have."""
    clock, blocks, waits = None, None, False
    if isinstance(log, Log):
        clock, blocks, waits = log.clock, log.block_tokens, "delay_s" in log.frame
    if asked.time_unit is not None and not waits and (clock is None or clock.unit == "date"):
        what = "dates" if clock else "no clock"
        raise InputError(f"time_unit: {asked.time_unit!r} (expected none: {log.source} has {what})")
    if asked.block_tokens not in (None, blocks):
        what = f"{blocks}, as {log.source} has" if blocks else f"none: {log.source} names no blocks of prompts"
        raise InputError(f"block_tokens: {asked.block_tokens} (expected {what})")
    if asked.run and log.format not in SEVERAL:
        raise InputError(f"run: {asked.run} (expected none: {log.source} is one load)")


def requests(path: str | os.PathLike[str], format: str = "auto", asked: Asked | None = None) -> Log:
    """The requests of one load; `InputError` too where a file has only means, or several loads and none is asked for.

    Parameters are those of `parse`.
    """
    log = parse(path, format, asked)
    refused = log.refusal if isinstance(log, Summary) else log.several
    if refused:
        raise InputError(refused)
    return log


def format_of(found: Document, format: str = "auto") -> str:
    """The format that a document is of, by its marks; `InputError` where it has none's, or those of two.

    With a `format` given, that one, if at least two of its marks are there: its reader names what is missing.
    """
    names = set(found.columns)
    sets = [(name, set(marks)) for name, kind in FORMATS.items() for marks in kind.marks]
    if format != "auto":
        sets = [(name, marks) for name, marks in sets if name == format]
    complete = [(name, marks) for name, marks in sets if marks <= names]
    # Marks that another format's contain say less than these.
    complete = [(name, marks) for name, marks in complete if not any(marks < other for _, other in complete)]
    best = {name for name, _ in complete}
    if len(best) > 1:
        which = "; ".join(f"{name}: {', '.join(sorted(marks))}" for name, marks in complete)
        raise InputError(f"{found.source}: columns of {len(best)} formats ({which}; expected the option --format)")
    near, marks = max(sets, key=lambda one: (len(one[1] & names), -len(one[1])))
    if best or len(marks & names) >= 2:
        return best.pop() if best else near
    if names & TEXTS:
        raise InputError(
            f"{found.source}: conversations as texts, such as ShareGPT's (expected numbers of tokens: session_id, "
            "input_length, output_length and delay of each turn, as AIPerf has them in Mooncake's form)"
        )
    columns = ", ".join(map(shown, found.columns[:12])) or "none"
    raise InputError(
        f"{found.source}: columns {columns} (expected arrival_s, prompt_tokens and output_tokens, or "
        f"those of another format: {', '.join(FORMATS)})"
    )
