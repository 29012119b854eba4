"""The verb ``simulate``: serve a request table under one policy."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from simlib.checks import InputError, check_choice
from simlib.cli.inspect import add_reading, asked_of, tell
from simlib.cli.numbers import check_used, deadline, integer, number, place
from simlib.cli.outputs import STANDARD_OUTPUT, add_json, answer, check_outputs, inputs, sheet, wrote
from simlib.writing import write

POLICIES = ("static_fifo", "dynamic_no_bins", "multi_bin_dynamic", "multi_bin_fixed", "shortest_predicted_first")
POLICIES += ("early_rejection", "fair_share")
LATENCY = "a preset (`simlib presets`), alpha,beta,gamma in s, a CSV of measurements or of a law, or table:FILE.csv"
ENGINE = {
    "max-num-seqs": "sequences that run at once (default 256)",
    "kv-tokens": "tokens that a GPU's cache holds (default: no limit)",
    "token-budget": "tokens of a step (default 2048)",
    "long-prefill-tokens": "tokens to which a prompt's chunk is cut where others wait or run (default: not cut)",
}
SETTINGS = {
    "max-num-seqs": "max_seqs",
    "kv-tokens": "kv_tokens",
    "token-budget": "token_budget",
    "long-prefill-tokens": "long_prefill_tokens",
}
WORDS = {"rate_rps": "--rate", "max_seqs": "--max-num-seqs", "rate_factor": "--rate-factor"}
PREDICTORS = ("column", "original", "oracle")


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("simulate", help="serve a request table under one policy")
    own.set_defaults(verb=_simulate, words=WORDS)
    own.add_argument(
        "requests", nargs="?", metavar="REQUESTS", help="a request table, a trace or a benchmark's result, gz or not"
    )
    add_reading(own)
    own.add_argument("--rows", type=integer, metavar="N", help="how many requests (default: all)")
    own.add_argument("--extend", help="bootstrap: where --rows are more than there are, add blocks of the trace's rows")
    own.add_argument("--failed", default="drop", help="drop or keep: requests that failed")
    own.add_argument("--unsorted", default="refuse", help="refuse or sort: rows that are not in order of arrival")
    own.add_argument("--rate", type=number, metavar="RPS", help="requests a second (default: the file's)")
    own.add_argument("--rate-factor", type=number, metavar="X", help="multiple of the file's rate")
    known = f"one of {', '.join(POLICIES)}, or fcfs (continuous)"
    own.add_argument("--policy", default="multi_bin_dynamic", help=known)
    own.add_argument("--k-bins", type=integer, help="number of bins (multi-bin policies)")
    own.add_argument("--bin-select", help="round_robin, longest_queue or oldest_head (multi_bin_dynamic)")
    own.add_argument("--batch-size", type=integer, help="largest batch (static_fifo), every batch (multi_bin_fixed)")
    own.add_argument(
        "--seconds-per-token", type=number, help="waiting that outweighs a predicted token (shortest_predicted_first)"
    )
    own.add_argument("--d-sla", type=deadline, help="deadline in seconds, and dynamic policies' aim (default 1.0)")
    own.add_argument("--sla", help="what is late, such as ttft<=500ms,tpot<=0.05; or to be met, such as ttft_p99<=1")
    own.add_argument("--variant", help="original, paper, printed or released (dynamic policies)")
    own.add_argument("--gpus", type=integer, default=1, help="how many")
    own.add_argument("--latency", default="original-synthetic", help=LATENCY)
    own.add_argument("--execution", default="run_to_completion", help="or continuous")
    for option, what in ENGINE.items():
        own.add_argument(f"--{option}", type=integer, metavar="N", help=f"continuous: {what}")
    own.add_argument("--predictor", help=f"{', '.join(PREDICTORS)} (default: the table's column, else original)")
    own.add_argument(
        "--seed", type=integer, default=42, help="of the predictor, and of arrivals and rows that are drawn"
    )
    own.add_argument("--oversize", default="error", help="error or reject: requests larger than a GPU's memory")
    own.add_argument("--out", type=place, metavar="RUN.csv", help="one row a request, in order of arrival")
    own.add_argument("--trace", type=place, metavar="FILE", help="what each GPU did when, for ui.perfetto.dev")
    add_json(own, "the summary")


def _simulate(options: argparse.Namespace) -> None:
    from simlib import named, simulation
    from simlib.checks import MAX_GPUS, check_integer
    from simlib.cli import run_table
    from simlib.requests import traces
    from simlib.text import many

    [options.requests] = inputs(options, [options.requests] if options.requests else [])
    check_outputs(options, options.out, options.trace)
    assumed = _assumed(options)
    policy, way = _policy(options), _execution(options)
    objectives, sla = _limits(options)
    if sla is not options.d_sla and not hasattr(policy, "d_sla"):
        check_used(options, "beside --sla (and the policy aims at no time)", "--d-sla")
    gpus = check_integer("gpus", options.gpus, 1, MAX_GPUS)
    check_choice("oversize", options.oversize, simulation.OVERSIZE)
    check_choice("--predictor", "column" if options.predictor is None else options.predictor, PREDICTORS)
    check_integer("--seed", options.seed, 0, 2**32 - 1)
    law = (named.latency_of if named.execution_of(way) is None else named.step_law_of)(options.latency)
    chosen = ("rows", "extend", "failed", "unsorted", "rate_factor", "seed")
    chosen = {name: getattr(options, name) for name in chosen}
    trace = traces.read(options.requests, **asked_of(options), rate_rps=options.rate, **chosen)
    table = _predicted(trace.requests, options, policy.needs_predictions, assumed)
    tell(trace)
    if trace.format == "plain" and options.time_unit is None and trace.rate_factor == 1.0:
        table = table.frame()  # its clock is the user's word, and is looked at as a data frame's
    warnings.filterwarnings("ignore", ".* requests have no prompt")  # the account has said it
    run = simulation.simulate(table, policy, law, gpus, way, sla, oversize=options.oversize)
    found = _found(run, objectives)
    assumed += [f"a deadline of {run.sla.limits_s['latency']:g} s end to end (--d-sla)"] if run.sla.assumed else []
    if options.trace is not None:
        run.trace(options.trace)
    if options.out is not None:
        write(options.out, sheet(run.requests))
    head = f"{policy.name} on {many(gpus, 'GPU')}, {options.execution.replace('_', ' ')}, {options.latency}"
    text = run_table.text(run, head, found, assumed)
    document = {**run.summary(), "rejected": run.rejected, "failed_dropped": trace.failed_dropped}
    document["failed_on_time"] = run_table.failed_on_time(run)
    document |= {"doubts": run.doubts} if hasattr(run, "doubts") else {}  # batches say theirs in a warning only
    document |= {"objectives": found, "assumed": assumed}
    if options.json == STANDARD_OUTPUT and assumed:
        print(f"simlib: assumed: {'; '.join(assumed)}", file=sys.stderr)
    if _is_standard_output(options.out):  # rows for a machine: eyes have the other output
        print(text, file=sys.stderr)
        return
    answer(options.json, document, text)
    wrote(options.out, options.trace)


def _assumed(options: argparse.Namespace) -> list[str]:
    """What nobody said: the defaults that a result depends on."""
    said = {
        "--policy": f"policy {options.policy}",
        "--latency": f"latency {options.latency}, a formula that nobody measured",
        "--execution": "batches that run to completion",
        "--gpus": f"{options.gpus} GPU",
    }
    if options.execution == "continuous":
        said |= {
            "--max-num-seqs": "256 sequences at once",
            "--token-budget": "2,048 tokens a step",
            "--kv-tokens": "a cache without limit",
        }
    return [f"{what} ({option})" for option, what in said.items() if option not in options.given]


def _limits(options: argparse.Namespace) -> tuple[Any, Any]:
    """Objectives for all requests together, and what is late of each: of ``--sla``, else ``--d-sla``."""
    from simlib.planning import objectives
    from simlib.runs.sla import SLA

    terms = options.sla.split(",") if options.sla else []
    overall = [term for term in terms if re.search(r"_(p[\d.]+|mean)\s*<", term, re.IGNORECASE)]
    each = ",".join(term for term in terms if term not in overall)
    found = objectives.parse(",".join(overall)) if overall else ()
    if each or options.sla == "":
        return found, SLA.of(each)
    return found, options.d_sla


def _found(run: Any, objectives: Any) -> list[dict[str, Any]]:
    """What the run has for each objective, and whether that meets it."""
    from simlib.planning.objectives import values_s

    if not objectives:
        return []
    values = values_s(run, objectives)
    return [
        {
            "objective": str(one),
            "value_s": values[one.name],
            "limit_s": one.limit_s,
            "met": values[one.name] <= one.limit_s,
        }
        for one in objectives
    ]


def _is_standard_output(path: Path | None) -> bool:
    try:
        return path is not None and os.path.samestat(os.stat(path), os.fstat(1))
    except OSError:
        return False


def _execution(options: argparse.Namespace) -> Any:
    """The execution that the options describe; an engine's settings are refused without an engine."""
    given = {option: getattr(options, option.replace("-", "_")) for option in ENGINE}
    given = {SETTINGS[option]: value for option, value in given.items() if value is not None}
    if not given or options.execution != "continuous":
        for option, name in SETTINGS.items():
            if name in given:
                raise InputError(f"--{option}: {given[name]} (expected --execution continuous beside it)")
        return options.execution
    from simlib.continuous.settings import Continuous

    return Continuous(**given)


def _policy(options: argparse.Namespace) -> Any:
    """The policy that the options describe; an option that it does not have is refused, not ignored."""
    import inspect

    from simlib import named

    kind = named.policy_kind(options.policy, options.execution, "--policy", "--execution continuous")
    known = inspect.signature(kind).parameters
    given = {
        name: getattr(options, name) for name in ("k_bins", "bin_select", "batch_size", "seconds_per_token", "variant")
    }
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in known:
            raise InputError(f"--{name.replace('_', '-')}: {given[name]} ({options.policy} has no such setting)")
    aim = {"d_sla": options.d_sla} if options.d_sla is not None and "d_sla" in known else {}
    return kind(**given, **aim)


def _predicted(table: Any, options: argparse.Namespace, needed: bool, assumed: list[str]) -> Any:
    """The table with the predictions that were asked for; what is chosen without a word is said to be assumed."""
    from simlib.requests import predictors

    present = table.predicted_output_tokens is not None
    choice = options.predictor or ("column" if present else "original")
    if choice == "original" and (needed or options.predictor):
        if options.predictor is None:
            assumed.append("lengths predicted by the original's formula, as the file has no such column (--predictor)")
        return table.with_predictions(predictors.original_predictions(table.prompt_tokens, options.seed))
    if choice == "oracle":
        return table.with_predictions(table.output_tokens)
    if choice == "column" and not present:
        raise InputError(f"--predictor column: {options.requests} has no column predicted_output_tokens")
    return table
