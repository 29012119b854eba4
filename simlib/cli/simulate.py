"""The verb ``simulate``: serve a request table under one policy."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simlib.checks import InputError, check_choice
from simlib.cli.inspect import add_reading, asked_of, tell
from simlib.cli.numbers import check_used, deadline, integer, number, numbers, place
from simlib.cli.outputs import STANDARD_OUTPUT, add_json, answer, check_outputs, inputs, sheet, wrote
from simlib.writing import write

POLICIES = ("static_fifo", "dynamic_no_bins", "multi_bin_dynamic", "multi_bin_fixed", "shortest_predicted_first")
POLICIES += ("early_rejection", "fair_share", "priority")
LATENCY = "a preset (`simlib presets`), alpha,beta,gamma in s, a CSV of measurements or of a law, or table:FILE.csv"
SLA = "what is late, such as ttft<=500ms,tpot<=0.05, or by class 'priority=0: ttft<=200ms; priority=1: ttft<=2'; "
SLA += "or to be met, such as ttft_p99<=1, by class too"
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
CACHE = "continuous: blocks are found by what they hold (hash_ids, block_ids or prefix_group), as the engine keeps them"
ROUTING = (
    "shared, round_robin, least_tokens, least_requests, by_class, prefix or prefix_cost: how GPUs are given requests"
)
SETTINGS |= {name.replace("_", "-"): name for name in ("prefix_cache", "routing", "overlap_score_weight")}
WORDS = {"rate_rps": "--rate", "max_seqs": "--max-num-seqs", "rate_factor": "--rate-factor"}
WORDS |= {"clients(?=:)": "--concurrency", "think_s": "--think", "ramp_s": "--ramp", "previous(?=:)": "--concurrency"}
ANSWERED = "beside --concurrency (there the next request comes after an answer, and the rate is what comes out)"
LOOP = ("--think", "--ramp", "--stages", "--duration", "--prompt", "--output")
PER_CLIENT = 100  # requests, where nobody says how many
NO_CONTENTS = "does not say what prompts contain, so that only who lost its memory finds something in the prefix cache"
WORDS |= {"prefix_cache": "--prefix-cache"}
OVERALL = r"_(p[\d.]+|mean)\s*<"  # of all requests together, rather than of each
PREDICTORS = ("column", "original", "oracle")


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("simulate", help="serve a request table under one policy")
    own.set_defaults(verb=_simulate, words=WORDS)
    own.add_argument(
        "requests", nargs="?", metavar="REQUESTS", help="a request table, a trace or a benchmark's result, gz or not"
    )
    add_reading(own)
    own.add_argument("--rows", type=integer, metavar="N", help="how many requests (default: all; of clients 100 each)")
    own.add_argument("--extend", help="bootstrap: where --rows are more than there are, add blocks of the trace's rows")
    own.add_argument("--failed", default="drop", help="drop or keep: requests that failed")
    own.add_argument("--unsorted", default="refuse", help="refuse or sort: rows that are not in order of arrival")
    own.add_argument("--rate", type=number, metavar="RPS", help="requests a second (default: the file's)")
    own.add_argument("--rate-factor", type=number, metavar="X", help="multiple of the file's rate")
    own.add_argument("--history", default="as_given", help="or add: put earlier turns before prompts of conversations")
    add_clients(own)
    own.add_argument("--stages", metavar="N:T,N:T,…", help="fewer clients first, so many for so long: 8:60s,16:60s")
    own.add_argument("--duration", metavar="T", help="until when answers count, 10min (default: till a client is done)")
    known = f"one of {', '.join(POLICIES)}, or fcfs (continuous)"
    own.add_argument("--policy", default="multi_bin_dynamic", help=known)
    own.add_argument("--k-bins", type=integer, help="number of bins (multi-bin policies)")
    own.add_argument("--bin-select", help="round_robin, longest_queue or oldest_head (multi_bin_dynamic)")
    own.add_argument("--batch-size", type=integer, help="largest batch (static_fifo), every batch (multi_bin_fixed)")
    own.add_argument(
        "--seconds-per-token", type=number, help="waiting that outweighs a predicted token (shortest_predicted_first)"
    )
    own.add_argument("--d-sla", type=deadline, help="deadline in seconds, and dynamic policies' aim (default 1.0)")
    own.add_argument("--sla", help=SLA)
    own.add_argument("--by", metavar="COLUMN", help="a row a class too: priority, client, model, or another column")
    own.add_argument("--variant", help="original, paper, printed or released (dynamic policies)")
    own.add_argument("--gpus", type=integer, default=1, help="how many")
    own.add_argument("--latency", default="original-synthetic", help=LATENCY)
    own.add_argument("--execution", default="run_to_completion", help="or continuous")
    for option, what in ENGINE.items():
        own.add_argument(f"--{option}", type=integer, metavar="N", help=f"continuous: {what}")
    own.add_argument("--prefix-cache", action="store_true", default=None, help=CACHE)
    own.add_argument("--routing", metavar="RULE", help=f"continuous: {ROUTING} (default shared)")
    own.add_argument(
        "--overlap-score-weight", type=number, metavar="W", help="prefix_cost: of a block to compute (default 1)"
    )
    own.add_argument("--predictor", help=f"{', '.join(PREDICTORS)} (default: the table's column, else original)")
    own.add_argument(
        "--seed", type=integer, default=42, help="of the predictor, and of arrivals and rows that are drawn"
    )
    own.add_argument("--oversize", default="error", help="error or reject: requests larger than a GPU's memory")
    own.add_argument("--out", type=place, metavar="RUN.csv", help="one row a request, in order of arrival")
    own.add_argument("--trace", type=place, metavar="FILE", help="what each GPU did when, for ui.perfetto.dev")
    add_json(own, "the summary")


def add_clients(own: argparse.ArgumentParser) -> None:
    """Add the options of a closed loop: how many clients, what they ask, how long they think."""
    shape = "MEDIAN,SIGMA[,MAX]"
    own.add_argument("--concurrency", type=integer, metavar="N", help="clients who send the next after an answer")
    own.add_argument("--think", metavar="T", help="from an answer to the next request: 2s, exponential:2s (default 0s)")
    own.add_argument("--ramp", metavar="T", help="the clients begin one after the other over so long (default 0s)")
    own.add_argument("--prompt", type=numbers, metavar=shape, help="without a file: log-normal tokens, such as 500,0.8")
    own.add_argument("--output", type=numbers, metavar=shape, help="without a file: log-normal tokens, such as 180,0.7")


def _simulate(options: argparse.Namespace) -> None:
    from simlib import named, simulation
    from simlib.checks import MAX_GPUS, check_integer
    from simlib.cli import run_table
    from simlib.planning.objectives import check_classes, columns_of
    from simlib.predicted import runs
    from simlib.requests.clients import classes_of
    from simlib.text import many

    _check_loop(options)
    if options.requests or (options.prompt is None and options.output is None):
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
    judged = getattr(sla, "by", "")  # of nothing where only a deadline, or none, is given
    judged = next(iter(columns_of(objectives)), judged)
    by = judged or None if options.by is None else options.by
    trace = _trace(options, way, [name for name in (judged, by) if name]) if options.requests else None
    if trace is not None:
        _check_predictor(trace.requests, options)  # before what was read of it is told
        if by is not None:
            classes_of(trace.requests, by)
        tell(trace)
        if options.prefix_cache and trace.requests.block_ids is None and trace.requests.prefix_group is None:
            print(f"simlib: {trace.source}: {NO_CONTENTS}", file=sys.stderr)
    for said in (".* requests have no prompt", "prefix_cache: no request says"):  # by the account, or above
        warnings.filterwarnings("ignore", said)

    def serve(table: Any, by: Any = law) -> Any:
        check_classes(objectives, table)
        table = _predicted(table, options, policy.needs_predictions, assumed if by is law else [])
        if trace is not None and trace.format == "plain" and options.time_unit is None and _as_recorded(trace):
            table = table.frame()  # its clock is the user's word, and is looked at as a data frame's
        return simulation.simulate(table, policy, by, gpus, way, sla, oversize=options.oversize)

    run, within = _served(options, trace, serve)
    found = _found(run, objectives, within)
    ranges = runs.intervals(run, serve, within is not None, options.seed)
    assumed += [f"a deadline of {run.sla.limits_s['latency']:g} s end to end (--d-sla)"] if run.sla.assumed else []
    if options.trace is not None:
        run.trace(options.trace)
    if options.out is not None:
        write(options.out, sheet(run.requests))
    head = f"{policy.name} on {many(gpus, 'GPU')}, {options.execution.replace('_', ' ')}, {options.latency}"
    text = run_table.text(run, head, found, assumed, within, ranges)
    document = {
        **run.summary(within=within),
        "rejected": run.rejected,
        "failed_dropped": getattr(trace, "failed_dropped", 0),
    }
    document["failed_on_time"] = run_table.failed_on_time(run)
    document |= {"doubts": run.doubts} if hasattr(run, "doubts") else {}  # batches say theirs in a warning only
    document |= {"objectives": found, "assumed": assumed}
    document |= {"predicted": {name: one._asdict() for name, one in ranges.items()}} if ranges else {}
    document |= {} if within is None else {"closed": run_table.closed(run, within)}
    if by is not None:
        classes = run.by(by, within=within)
        text += "\n\n" + run_table.by_class(classes)
        document["classes"] = classes.to_dict("records")
    if options.json == STANDARD_OUTPUT and assumed:
        print(f"simlib: assumed: {'; '.join(assumed)}", file=sys.stderr)
    if _is_standard_output(options.out):  # rows for a machine: eyes have the other output
        print(text, file=sys.stderr)
        return
    answer(options.json, document, text)
    wrote(options.out, options.trace)


def _check_loop(options: argparse.Namespace) -> None:
    """Refuse options that make no sense beside --concurrency, or without it."""
    if options.concurrency is None:
        check_used(options, "without --concurrency", *LOOP)
        return
    check_used(options, ANSWERED, "--rate", "--rate-factor", "--extend")
    if options.requests:
        check_used(options, "beside a file of requests (which has lengths)", "--prompt", "--output")
        check_used(options, "beside a file of requests (which ends when it ends)", "--duration")
    elif options.prompt is None and options.output is None and not _is_file(options.json):
        raise InputError("FILE: none (expected one, or --prompt and --output beside --concurrency)")
    elif (options.prompt is None) != (options.output is None):
        raise InputError(f"--{'prompt' if options.prompt is None else 'output'}: none (expected both, or a file)")


def _is_file(path: Any) -> bool:
    return isinstance(path, Path) and path.exists()


def _trace(options: argparse.Namespace, way: Any, labels: list[str]) -> Any:
    from simlib.requests import traces

    chosen = ("rows", "extend", "failed", "unsorted", "rate_factor", "seed", "history")
    chosen = {name: getattr(options, name) for name in chosen}
    chosen |= {"at_once": options.concurrency is not None}
    chosen |= {"engine_block_tokens": way.block_tokens if options.prefix_cache else None}
    return traces.read(options.requests, **asked_of(options), rate_rps=options.rate, labels=labels, **chosen)


def _as_recorded(trace: Any) -> bool:
    """Whether requests arrive when the file says so."""
    return trace.rate_factor == 1.0 and not trace.at_once and not trace.waiting


def _served(options: argparse.Namespace, trace: Any, serve: Callable[[Any], Any]) -> tuple[Any, Any]:
    """The run, and where clients wait for answers the time that counts, in which all of them are at work."""
    from simlib.checks import check_integer
    from simlib.durations import wait_s
    from simlib.planning.carried import loops
    from simlib.requests import workload

    if options.concurrency is None:
        return serve(trace.requests), None
    clients, think = options.concurrency, options.think or 0.0
    how = {"ramp_s": wait_s("ramp_s", options.ramp or 0.0), "stages": _stages(options.stages)}
    how |= {"replication": options.seed}
    if trace is not None:
        run = serve(workload.dealt(trace.requests, clients, think, **how))
        return run, run.at_work.checked()
    shapes = [log_normal(name, getattr(options, name)) for name in ("prompt", "output")]

    def draw(requests: int) -> Any:
        return workload.closed(clients, requests, *shapes, think, **how)

    if options.duration is not None:
        check_used(options, "beside --duration (which says how long)", "--rows")
        return loops.lasting(lambda requests: serve(draw(requests)), wait_s("duration", options.duration))
    check_integer("clients", clients, 1)
    rows = PER_CLIENT * clients if options.rows is None else check_integer("rows", options.rows, clients)
    run = serve(draw(-(-rows // clients)))
    return run, run.at_work.checked()


def _stages(text: str | None) -> list[tuple[int, float]]:
    """Stages from text such as ``8:60s,16:60s``."""
    from simlib.durations import wait_s

    found = []
    for part in text.split(",") if text else []:
        clients, _, time = part.partition(":")
        if not clients.isdigit() or not time:
            raise InputError(f"--stages: {part!r} (expected CLIENTS:TIME such as 8:60s)")
        found.append((int(clients), wait_s("stages", time)))
    return found


def log_normal(name: str, given: list[float]) -> Any:
    """Lengths from ``MEDIAN,SIGMA`` or ``MEDIAN,SIGMA,MAX``."""
    from simlib.requests import lengths

    if len(given) not in (2, 3):
        raise InputError(f"--{name}: {len(given)} numbers (expected MEDIAN,SIGMA such as 500,0.8, or with ,MAX)")
    cut = {"high": int(given[2]) if given[2].is_integer() else given[2]} if given[2:] else {}
    return lengths.LogNormal(*given[:2], **cut)


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

    if re.search("[:;]", options.sla or ""):
        if all(re.search(OVERALL, term, re.IGNORECASE) for term in re.split("[;,]", options.sla)):
            return objectives.parse(options.sla), options.d_sla
        return (), SLA.of(options.sla)
    terms = options.sla.split(",") if options.sla else []
    overall = [term for term in terms if re.search(OVERALL, term, re.IGNORECASE)]
    each = ",".join(term for term in terms if term not in overall)
    found = objectives.parse(",".join(overall)) if overall else ()
    if each or options.sla == "":
        return found, SLA.of(each)
    return found, options.d_sla


def _found(run: Any, objectives: Any, within: Any) -> list[dict[str, Any]]:
    """What the run has for each objective, and whether that meets it."""
    from simlib.planning.objectives import values_s

    if not objectives:
        return []
    scored = slice(None) if within is None else within.scored(run.table, run.times.completion_s)
    values = values_s(run, objectives, scored)
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
    given = {name: getattr(options, option.replace("-", "_")) for option, name in SETTINGS.items()}
    given = {name: value for name, value in given.items() if value is not None}
    if not given or options.execution != "continuous":
        for option, name in SETTINGS.items():
            if name in given:
                said = "" if given[name] is True else f": {given[name]}"
                raise InputError(f"--{option}{said} (expected --execution continuous beside it)")
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

    _check_predictor(table, options)
    choice = options.predictor or ("original" if table.predicted_output_tokens is None else "column")
    if choice == "original" and (needed or options.predictor):
        if options.predictor is None:
            assumed.append("lengths predicted by the original's formula, as the file has no such column (--predictor)")
        return table.with_predictions(predictors.original_predictions(table.prompt_tokens, options.seed))
    if choice == "oracle":
        return table.with_predictions(table.output_tokens)
    return table


def _check_predictor(table: Any, options: argparse.Namespace) -> None:
    if options.predictor == "column" and table.predicted_output_tokens is None:
        raise InputError(f"--predictor column: {options.requests} has no column predicted_output_tokens")
