"""The verb ``plan``: the cheapest replicas and limits that meet service-level objectives."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from simlib.checks import InputError
from simlib.cli.outputs import check_places, plain, whole, write


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("plan", help="what to deploy: replicas and limits that meet objectives, at the least cost")
    own.set_defaults(verb=_plan)
    own.add_argument("--trace", metavar="FILE", help="requests: a trace, a request table or a benchmark's log")
    own.add_argument("--rate-factor", type=float, default=1.0, help="multiple of the trace's rate (default 1)")
    own.add_argument("--rate", type=float, metavar="RPS", help="requests a second, instead of a trace")
    own.add_argument("--prompt", metavar="MEDIAN,SIGMA", help="log-normal prompts in tokens, such as 500,0.8")
    own.add_argument("--output", metavar="MEDIAN,SIGMA", help="log-normal outputs in tokens, such as 180,0.7")
    own.add_argument("--gap-cv", type=float, default=1.0, help="variation of the gaps; 1 is Poisson (default)")
    own.add_argument("--latency", metavar="NAME,NAME,…", help="presets (`simlib presets`), one kind of which is used")
    own.add_argument("--steps", metavar="A,B,C,D", help="a law of steps in seconds, instead of presets")
    own.add_argument("--bench", metavar="FILE.json", help="your engine's detailed benchmark, instead of presets")
    own.add_argument("--gpus-per-replica", type=int, help="with --steps or --bench (default 1)")
    own.add_argument("--kv-tokens", type=int, help="tokens that a GPU's cache holds (default: by GPU and model)")
    own.add_argument("--sla", required=True, help="all to be met, such as ttft_p99<=1,tpot_p99<=0.05")
    own.add_argument("--max-gpus", type=int, default=8)
    own.add_argument("--price", type=float, metavar="PER_GPU_HOUR")
    own.add_argument("--max-cost", type=float, metavar="PER_HOUR", help="of all GPUs; needs --price")
    own.add_argument("--max-num-seqs", metavar="N,N,…", help="caps to choose from")
    own.add_argument("--token-budgets", metavar="N,N,…", help="tokens of a step to choose from")
    own.add_argument("--k-bins", metavar="N,N,…", help="numbers of bins to choose from; 1: first come, first served")
    own.add_argument("--noise", type=float, default=0.4, help="of predicted lengths, where there are none (0.4)")
    own.add_argument("--confidence", type=float, default=0.95)
    own.add_argument("--requests", type=int, default=10_000, help="in a draw (default 10000)")
    own.add_argument("--seed", type=int, default=42)
    own.add_argument("--json", type=Path, metavar="FILE", help="write the plan as JSON")
    own.add_argument("--report", type=Path, metavar="FILE.html", help="write the plan as one page")


def _plan(options: argparse.Namespace) -> None:
    check_places(files=[options.json, options.report])
    from simlib.planning import report
    from simlib.planning.planner import Planner

    choices = {"max_seqs": "max_num_seqs", "token_budgets": "token_budgets", "k_bins": "k_bins"}
    choices = {name: whole(options, option) for name, option in choices.items()}
    planner = Planner(
        _demand(options),
        _engines(options),
        options.sla,
        max_gpus=options.max_gpus,
        price_per_gpu_hour=options.price,
        max_cost_per_hour=options.max_cost,
        noise=options.noise,
        confidence=options.confidence,
        seed=options.seed,
        **{name: values for name, values in choices.items() if values},
    )
    said = (lambda what: print(f"simlib: {what}", file=sys.stderr)) if sys.stderr.isatty() else (lambda _: None)
    plan = planner.plan(said)
    if options.json is not None:
        write(options.json, json.dumps(plain(report.document(plan)), indent=2) + "\n")
    if options.report is not None:
        from simlib.planning import figure  # matplotlib: only where a page is wanted

        write(options.report, report.page(plan, figure.svg(plan)))
    print(report.text(plan))


def _demand(options: argparse.Namespace) -> Any:
    from simlib.planning import demand
    from simlib.requests import lengths

    described = [name for name in ("rate", "prompt", "output") if getattr(options, name) is not None]
    if options.trace is not None:
        if described:
            raise InputError(f"--trace: given beside --{described[0]} (expected one of the two)")
        return demand.of_trace(options.trace, options.rate_factor, options.requests)
    if len(described) < 3:
        raise InputError("--trace: none (expected a file, or --rate with --prompt and --output)")
    shapes = []
    for name in ("prompt", "output"):
        median, sigma = _two(f"--{name}", getattr(options, name))
        shapes.append(lengths.LogNormal(median, sigma))
    return demand.described(options.rate, *shapes, options.gap_cv, options.requests)


def _engines(options: argparse.Namespace) -> list[Any]:
    from simlib import named
    from simlib.calibration import engine_benchmarks
    from simlib.planning import fleet

    given = [name for name in ("latency", "steps", "bench") if getattr(options, name) is not None]
    if len(given) != 1:
        found = " and ".join(f"--{name}" for name in given) or "none"
        raise InputError(f"--latency: {found} (expected one of --latency, --steps and --bench)")
    if given == ["latency"]:
        if options.gpus_per_replica is not None:
            raise InputError("--gpus-per-replica: given beside --latency (a preset says it itself)")
        return fleet.engines(options.latency.split(","), options.kv_tokens)
    law = named.step_law_of(options.steps) if given == ["steps"] else engine_benchmarks.from_bench(options.bench).law
    return [fleet.engine(law, options.gpus_per_replica, options.kv_tokens)]


def _two(option: str, text: str) -> tuple[float, float]:
    try:
        median, sigma = map(float, text.split(","))
    except ValueError:
        raise InputError(f"{option}: {text} (expected MEDIAN,SIGMA such as 500,0.8)") from None
    return median, sigma
