"""The verb ``simulate``: serve a request table under one policy."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from simlib.checks import InputError
from simlib.cli.outputs import check_places, plain, write

POLICIES = ("static_fifo", "dynamic_no_bins", "multi_bin_dynamic", "multi_bin_fixed", "shortest_predicted_first")
POLICIES += ("early_rejection", "fair_share")
LATENCY = "a preset (`simlib presets`), alpha,beta,gamma in s, a CSV of measurements, or table:FILE.csv"
ENGINE = {
    "max-num-seqs": "sequences that run at once (default 256)",
    "kv-tokens": "tokens that a GPU's cache holds (default: no limit)",
    "token-budget": "tokens of a step (default 2048)",
}
PREDICTORS = ("column", "original", "oracle")


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("simulate", help="serve a request table under own policy")
    own.set_defaults(verb=_simulate)
    own.add_argument("requests", metavar="REQUESTS.csv", help="a request table or a trace, gz or not")
    own.add_argument(
        "--policy", default="multi_bin_dynamic", help=f"own of {', '.join(POLICIES)}, or fcfs (continuous)"
    )
    own.add_argument("--k-bins", type=int, help="number of bins (multi-bin policies)")
    own.add_argument("--bin-select", help="round_robin, longest_queue or oldest_head (multi_bin_dynamic)")
    own.add_argument("--batch-size", type=int, help="largest batch (static_fifo), every batch (multi_bin_fixed)")
    own.add_argument(
        "--seconds-per-token", type=float, help="waiting that outweighs a predicted token (shortest_predicted_first)"
    )
    own.add_argument("--d-sla", type=float, help="deadline in seconds, and dynamic policies' aim (default 1.0)")
    own.add_argument("--variant", help="original, paper, printed or released (dynamic policies)")
    own.add_argument("--gpus", type=int, default=1)
    own.add_argument("--latency", default="original-synthetic", help=LATENCY)
    own.add_argument("--execution", default="run_to_completion", help="run_to_completion or continuous")
    for option, what in ENGINE.items():
        own.add_argument(f"--{option}", type=int, metavar="N", help=f"continuous: {what}")
    own.add_argument("--predictor", help=f"{', '.join(PREDICTORS)} (default: the table's column, else original)")
    own.add_argument("--seed", type=int, default=42, help="seed of the predictor (default 42)")
    own.add_argument("--oversize", default="error", help="error or reject: requests larger than a GPU's memory")
    own.add_argument("--out", type=Path, metavar="RUN.csv", help="own row a request in input order")
    own.add_argument("--trace", type=Path, metavar="FILE", help="what each GPU did when, for ui.perfetto.dev")


def _simulate(options: argparse.Namespace) -> None:
    from simlib.requests import traces
    from simlib.simulation import simulate

    policy, way = _policy(options), _execution(options)
    check_places(files=[options.out, options.trace])
    trace = traces.read(options.requests, failed="keep")
    table = _predicted(trace.requests, options, needed=policy.needs_predictions)
    if trace.format == "plain":  # its clock is the user's word, and is looked at as a data frame's
        table = table.frame()
    run = simulate(table, policy, options.latency, options.gpus, way, options.d_sla, oversize=options.oversize)
    if options.trace is not None:
        run.trace(options.trace)
    if options.out is None:
        if run.sla.assumed:
            limit_s = run.sla.limits_s["latency"]
            print(f"simlib: deadline: {limit_s:g} s end to end, assumed (--d-sla sets it)", file=sys.stderr)
        print(json.dumps(plain({**run.summary(), "rejected": run.rejected}), indent=2))
    else:
        write(options.out, run.requests.to_csv(index=False))


def _execution(options: argparse.Namespace) -> Any:
    """The execution that the options describe; an engine's settings are refused without an engine."""
    names = {"max-num-seqs": "max_seqs", "kv-tokens": "kv_tokens", "token-budget": "token_budget"}
    given = {option: getattr(options, option.replace("-", "_")) for option in ENGINE}
    given = {names[option]: value for option, value in given.items() if value is not None}
    if not given or options.execution != "continuous":
        for option, name in names.items():
            if name in given:
                raise InputError(f"--{option}: {given[name]} (expected --execution continuous beside it)")
        return options.execution
    from simlib.continuous.settings import Continuous

    return Continuous(**given)


def _policy(options: argparse.Namespace) -> Any:
    """The policy that the options describe; an option that it does not have is refused, not ignored."""
    import inspect

    from simlib import named
    from simlib.checks import check_choice

    kinds = named.POLICIES
    if options.execution == "continuous":
        kinds = named.ENGINE_POLICIES
    kind = kinds[check_choice("--policy", options.policy, kinds)]
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


def _predicted(table: Any, options: argparse.Namespace, needed: bool) -> Any:
    from simlib.checks import check_choice
    from simlib.requests import predictors

    present = table.predicted_output_tokens is not None
    choice = options.predictor or ("column" if present else "original")
    check_choice("--predictor", choice, PREDICTORS)
    if choice == "original" and (needed or options.predictor):
        return table.with_predictions(predictors.original_predictions(table.prompt_tokens, options.seed))
    if choice == "oracle":
        return table.with_predictions(table.output_tokens)
    if choice == "column" and not present:
        raise InputError(f"--predictor column: {options.requests} has no column predicted_output_tokens")
    return table
