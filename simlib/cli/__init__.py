"""The same verbs in a terminal: ``simlib`` or ``python -m simlib``.

Reads arguments, calls the library, prints or writes one result. Bad input ends with exit code 2 and a sentence on
standard error; a file is written aside, then renamed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simlib.checks import InputError, check_integer
from simlib.cli import calibrate, plan, validate
from simlib.cli.outputs import check_places, make, plain, write
from simlib.lazy import pd

POLICIES = ("static_fifo", "dynamic_no_bins", "multi_bin_dynamic", "multi_bin_fixed", "shortest_predicted_first")
POLICIES += ("early_rejection", "fair_share")
FAILURES_SHOWN = 20
LATENCY = "a preset (`simlib presets`), alpha,beta,gamma in s, a CSV of measurements, or table:FILE.csv"
ENGINE = {
    "max-num-seqs": "sequences that run at once (default 256)",
    "kv-tokens": "tokens that a GPU's cache holds (default: no limit)",
    "token-budget": "tokens of a step (default 2048)",
}
PREDICTORS = ("column", "original", "oracle")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code (0 done, 1 some cells of a sweep failed, 2 bad input)."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: print(f"simlib: {message}", file=sys.stderr)
            return options.verb(options) or 0
    except InputError as problem:
        print(f"simlib: {problem}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("simlib: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simlib", description="Simulate how an LLM-serving system forms its batches.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    _add_simulate(verbs)
    four = verbs.add_parser("compare", help="the three schedulers at the four fidelity levels, with intervals")
    four.set_defaults(verb=_compare)
    four.add_argument("--level", default="all", help="1, 2, 3, 4 or all")
    four.add_argument("--requests", type=int, default=1000)
    four.add_argument("--seed", type=int, default=42)
    four.add_argument("--replications", type=int, default=100)
    four.add_argument("--json", type=Path, metavar="FILE", help="write rows and differences as JSON")
    four.add_argument("--out", type=Path, metavar="DIR", help="write levels*.csv into this folder")

    most = verbs.add_parser("capacity", help="the largest rate at which few enough requests are late, by scheduler")
    most.set_defaults(verb=_capacity)
    most.add_argument("--level", default="1", help="1, 2, 3 or 4: whose requests and latency (default 1)")
    most.add_argument("--policies", default="static_fifo,dynamic_no_bins,multi_bin_dynamic", help="with commas between")
    most.add_argument("--latency", help="instead of the level's: as for simulate")
    most.add_argument("--gpus", type=int, default=2)
    most.add_argument("--k-bins", type=int, default=4, help="number of bins of multi_bin_dynamic (default 4)")
    most.add_argument(
        "--d-sla", type=float, default=1.0, help="deadline in seconds, and dynamic policies' aim (default 1.0)"
    )
    most.add_argument("--sla", help="what is late, if not what takes longer than --d-sla: such as ttft<=0.5")
    most.add_argument("--late-share", type=float, default=0.05, help="share that may be late (default 0.05)")
    most.add_argument("--requests", type=int, default=20_000, help="in a run (default 20000)")
    most.add_argument("--replications", type=int, default=40)
    most.add_argument("--seed", type=int, default=42)
    most.add_argument("--workers", type=int, default=1, help="threads")
    most.add_argument("--json", type=Path, metavar="FILE", help="write capacities, ratios and roots as JSON")

    sweep = verbs.add_parser("sweep", help="every cell of a grid in every replication, resumable")
    sweep.set_defaults(verb=_sweep)
    sweep.add_argument("grid", metavar="FILE.yaml", help="what varies, and what all cells have in common")
    sweep.add_argument("--out", type=Path, required=True, metavar="DIR", help="results, new or begun")
    sweep.add_argument("--dry-run", action="store_true", help="check all cells, count them, estimate the time")
    sweep.add_argument("--workers", type=int, help="processes on this machine (default: one a core, if it pays)")
    sweep.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="a Dask scheduler, whose workers do the work")
    sweep.add_argument("--timeout", type=float, default=10.0, help="seconds for the scheduler to answer (default 10)")
    sweep.add_argument("--retry-failed", action="store_true", help="run cells that failed once more")

    for verb in (calibrate, validate, plan):
        verb.add(verbs)

    fetch = verbs.add_parser("fetch", help="download a data set and check it")
    fetch.set_defaults(verb=_fetch)
    fetch.add_argument("name", help="burstgpt")

    presets = verbs.add_parser("presets", help="list the latency presets")
    presets.set_defaults(verb=_presets)
    presets.add_argument(
        "--all", action="store_true", help="every form, with coefficients, their intervals and measured ranges"
    )
    return parser


def _add_simulate(verbs: Any) -> None:
    one = verbs.add_parser("simulate", help="serve a request table under one policy")
    one.set_defaults(verb=_simulate)
    one.add_argument("requests", metavar="REQUESTS.csv", help="a request table or a trace, gz or not")
    one.add_argument(
        "--policy", default="multi_bin_dynamic", help=f"one of {', '.join(POLICIES)}, or fcfs (continuous)"
    )
    one.add_argument("--k-bins", type=int, help="number of bins (multi-bin policies)")
    one.add_argument("--bin-select", help="round_robin, longest_queue or oldest_head (multi_bin_dynamic)")
    one.add_argument("--batch-size", type=int, help="largest batch (static_fifo), every batch (multi_bin_fixed)")
    one.add_argument(
        "--seconds-per-token", type=float, help="waiting that outweighs a predicted token (shortest_predicted_first)"
    )
    one.add_argument("--d-sla", type=float, help="deadline in seconds, and dynamic policies' aim (default 1.0)")
    one.add_argument("--variant", help="original, paper, printed or released (dynamic policies)")
    one.add_argument("--gpus", type=int, default=1)
    one.add_argument("--latency", default="original-synthetic", help=LATENCY)
    one.add_argument("--execution", default="run_to_completion", help="run_to_completion or continuous")
    for option, what in ENGINE.items():
        one.add_argument(f"--{option}", type=int, metavar="N", help=f"continuous: {what}")
    one.add_argument("--predictor", help=f"{', '.join(PREDICTORS)} (default: the table's column, else original)")
    one.add_argument("--seed", type=int, default=42, help="seed of the predictor (default 42)")
    one.add_argument("--oversize", default="error", help="error or reject: requests larger than a GPU's memory")
    one.add_argument("--out", type=Path, metavar="RUN.csv", help="one row a request in input order")
    one.add_argument("--trace", type=Path, metavar="FILE", help="what each GPU did when, for ui.perfetto.dev")


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


def _compare(options: argparse.Namespace) -> None:

    from simlib import levels
    from simlib.checks import check_choice

    check_choice("--level", options.level, (*map(str, levels.LEVELS), "all"))
    check_integer("--replications", options.replications, 2)
    check_places(files=[options.json], folders=[options.out])
    chosen = list(levels.LEVELS) if options.level == "all" else [int(options.level)]
    settings = {"requests": options.requests, "seed": options.seed}
    runs = pd.concat(
        [levels.runs_of(level, replications=options.replications, **settings) for level in chosen], ignore_index=True
    )
    as_claimed = options.requests == 1000 and options.seed == 42
    rows, differences = levels.table_of(runs, as_claimed), levels.differences(runs, settings)
    if options.json is not None:
        document = {"rows": rows.to_dict("records"), "differences": differences.to_dict("records")}
        write(options.json, json.dumps(plain(document), indent=2) + "\n")
    if options.out is not None:
        make(options.out)
        times = levels.times_of(chosen, **settings)
        for name, frame in (("levels", rows), ("levels_differences", differences), ("levels_times", times)):
            write(options.out / f"{name}.csv", frame.to_csv(index=False))
    if options.json is None:
        print(_readable(rows), levels.readable_differences(differences).to_string(index=False), sep="\n\n")


def _readable(rows: pd.DataFrame) -> str:
    """The levels as a table for eyes: shares in per cent."""
    percent = "{:.1f}".format
    frame = pd.DataFrame(
        {
            "level": rows["level"],
            "scheduler": rows["scheduler"],
            "n": rows["requests"],
            "claimed %": [percent(100 * v) if pd.notna(v) else "" for v in rows["claimed_violation_share"]],
            "this seed %": [percent(100 * v) for v in rows["seed42_violation_share"]],
            "mean % [95 % interval]": [
                f"{100 * m:.1f}" + (f" [{100 * low:.1f}, {100 * high:.1f}]" if pd.notna(low) else " [too few]")
                for m, low, high in zip(rows["mean_violation_share"], rows["ci_low"], rows["ci_high"], strict=True)
            ],
            "latency s": [f"{v:.3f}" for v in rows["latency_mean_s"]],
            "claim inside": [{True: "yes", False: "no"}.get(v, "") for v in rows["claim_inside"]],
            "requests from": [
                f"conditional on {trace}" if trace else source
                for trace, source in zip(rows["trace"], rows["requests_from"], strict=True)
            ],
        }
    )
    return frame.to_string(index=False)


def _capacity(options: argparse.Namespace) -> None:
    from simlib import levels
    from simlib.checks import check_choice
    from simlib.planning import capacity

    check_choice("--level", options.level, list(map(str, levels.LEVELS)))
    check_places(files=[options.json])
    known = levels.policies(options.k_bins, options.d_sla)
    names = [check_choice("--policies", name, known) for name in options.policies.split(",")]
    search = capacity.Search(
        {name: known[name] for name in names},
        levels.draw_of(int(options.level)),
        options.latency or levels.of(int(options.level)).latency,
        options.gpus,
        options.d_sla if options.sla is None else options.sla,
        options.late_share,
        options.requests,
    )
    found = capacity.study(search, options.replications, seed=options.seed, workers=options.workers)
    if options.json is not None:
        frames = {"capacities": found.table, "ratios": found.ratios, "roots": found.roots}
        document = {name: frame.to_dict("records") for name, frame in frames.items()}
        write(options.json, json.dumps(plain(document), indent=2) + "\n")
        return
    for frame in (found.table, found.ratios):
        if len(frame):
            print(frame.to_string(index=False, float_format="{:.4g}".format))


def _sweep(options: argparse.Namespace) -> int:
    from simlib.sweep import run as sweep
    from simlib.sweep.grid import Grid

    check_places(folders=[options.out])
    grid = Grid.read(options.grid)
    if options.dry_run:
        print(sweep.estimate(grid, options.out))
        return 0
    shards = sweep.run(
        grid,
        options.out,
        workers=options.workers,
        scheduler=options.scheduler,
        retry_failed=options.retry_failed,
        timeout_s=options.timeout,
    )
    failed = shards.failed()
    for row in failed.head(FAILURES_SHOWN).itertuples():
        print(f"simlib: cell {row.cell}, replication {row.replication}: {row.error}", file=sys.stderr)
    print(f"{options.out}: {grid.cells * grid.replications} runs, {len(failed)} of them failed")
    return 1 if len(failed) else 0


def _fetch(options: argparse.Namespace) -> None:
    from simlib import datasets

    print(datasets.fetch(options.name))


def _presets(options: argparse.Namespace) -> None:
    from simlib.latency import presets

    shown = presets.table()
    if not options.all:
        shown = shown.drop_duplicates("name", keep="last")[presets.LISTED]  # the richest form
    print(shown.to_csv(index=False), end="")


if __name__ == "__main__":
    sys.exit(main())
