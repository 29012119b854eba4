"""The verb ``plan``: the cheapest replicas and limits that meet service-level objectives."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from simlib.checks import InputError, check_choice
from simlib.cli.benches import check
from simlib.cli.inspect import READING, add_reading, asked_of, parsed, tell
from simlib.cli.numbers import check_used, integer, integers, number, numbers, place
from simlib.cli.outputs import add_json, answer, check_outputs, plain, sheet, wrote
from simlib.cli.simulate import ANSWERED, log_normal
from simlib.writing import write

EVERY_S = 3.0  # between two lines that say how far it is
MOST_GAPS = 3  # that are named
NOTHING_MEETS = 3  # exit code
FRONTIERS = (".csv", ".json", ".svg")
WORDS = {"max_cost_per_hour": "--max-cost", "price_per_gpu_hour": "--price", "max_seqs": "--max-num-seqs"}
WORDS |= {"rate_rps": "--rate", "rate_factor": "--rate-factor", "clients(?=:)": "--concurrency", "think_s": "--think"}
WORDS |= {name: f"--{name.replace('_', '-')}" for name in ("max_gpus", "kv_tokens", "token_budgets", "k_bins")}
WORDS |= {"prefix_cache: True": "--prefix-cache: on", "expected False(?=: nothing says)": "expected off"}
WORDS |= {"orders": "--orders", "routing(?=:)": "--routing"}
CHOICES = {
    "max-num-seqs": "caps to choose from (default: 16,32,64,128,256, up to what was measured)",
    "token-budgets": "tokens of a step to choose from (default: 512,2048,8192)",
    "k-bins": "numbers of bins to choose from; 1 is first come, first served (default: 1,4)",
}
NAMES = {
    "orders": "fcfs (in bins or not), priority: who is next (default: both where the trace has priorities)",
    "routing": "least_tokens, prefix: to which replica (default: both where a prefix cache is on)",
}
CACHE = "on or off (default: on where the trace says what prompts share: hash_ids, block_ids or prefix_group)"
SLA = "all to be met, such as ttft_p99<=1,tpot_p99<=0.05, or by class 'priority=0: ttft_p99<=200ms; priority=1: "
SLA += "ttft_p99<=2,latency_p95<=60'; by priority or another column"


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("plan", help="what to deploy: replicas and limits that meet objectives, at the least cost")
    own.set_defaults(verb=_plan, words=WORDS)
    own.add_argument("--trace", metavar="FILE", help="requests: a trace, a request table or a benchmark's log")
    add_reading(own)
    own.add_argument("--unsorted", default="refuse", help="refuse or sort: rows of the trace that are not in order")
    own.add_argument("--rate-factor", type=number, default=1.0, help="multiple of the trace's rate")
    own.add_argument("--rate", type=number, metavar="RPS", help="requests a second, of a trace or described")
    shape = "MEDIAN,SIGMA[,MAX]"
    own.add_argument("--prompt", type=numbers, metavar=shape, help="log-normal prompts in tokens, such as 500,0.8")
    own.add_argument("--output", type=numbers, metavar=shape, help="log-normal outputs in tokens, such as 180,0.7")
    own.add_argument("--gap-cv", type=number, default=1.0, help="variation of the gaps; 1 is Poisson")
    own.add_argument(
        "--concurrency", type=integer, metavar="N", help="clients who send the next after an answer, in place of a rate"
    )
    own.add_argument("--think", metavar="T", help="from an answer to the next request: 2s, exponential:2s (default 0s)")
    own.add_argument("--latency", metavar="NAME,NAME,…", help="presets (`simlib presets`), one kind of which is used")
    own.add_argument("--steps", metavar="A,B,C,D", help="a law of steps in seconds, instead of presets")
    own.add_argument("--bench", metavar="FILE.json", help="your engine's detailed benchmark, instead of presets")
    own.add_argument("--gpus-per-replica", type=integer, help="with --steps or --bench (default: 1)")
    own.add_argument("--kv-tokens", type=integer, help="tokens that a GPU's cache holds (default: by GPU and model)")
    own.add_argument("--sla", help=SLA)
    own.add_argument("--max-gpus", type=integer, default=8, help="in all")
    own.add_argument("--price", type=number, help="of a GPU and hour, in --currency")
    own.add_argument("--currency", default="USD", help="of --price and --max-cost, as it is to be called")
    own.add_argument("--max-cost", type=number, help="of all GPUs and an hour; needs --price")
    for option, what in CHOICES.items():
        own.add_argument(f"--{option}", type=integers, metavar="N,N,…", help=what)
    for option, what in NAMES.items():
        own.add_argument(f"--{option}", metavar="NAME,NAME", help=what)
    own.add_argument("--prefix-cache", metavar="on|off", help=CACHE)
    own.add_argument("--noise", type=number, default=0.4, help="of predicted lengths, where there are none")
    own.add_argument(
        "--confidence", type=number, default=0.95, help="share of the windows to come in which all objectives are met"
    )
    own.add_argument("--window", metavar="T", help="length of a window of the trace (default: 10min)")
    own.add_argument("--gaps", default="leave-out", help="leave-out or bridge: times in which nothing was recorded")
    own.add_argument(
        "--reserve", type=number, default=0.3, help="more load to be borne where no trace tells how it varies"
    )
    own.add_argument("--requests", type=integer, default=10_000, help="in a draw, where they are described")
    own.add_argument("--seed", type=integer, default=42, help="of the first draw")
    add_json(own, "the plan")
    own.add_argument("--report", type=place, metavar="FILE.html", help="write the plan as one page")
    own.add_argument(
        "--frontier",
        type=place,
        metavar="FILE",
        help="where the limits hold, by token budget and sequences: .svg as a picture; .csv and .json with the other "
        "orders, bins, routers, and without the prefix cache, too",
    )
    check.add(own)


def _plan(options: argparse.Namespace) -> int:
    if options.check is not None:
        return check.check(options)
    check_used(options, "without --check", "--every")
    if options.sla is None:
        raise InputError("--sla: missing (expected objectives such as ttft_p99<=1,tpot_p99<=0.05)")
    check_outputs(options, options.report, options.frontier)
    _check_drawn(options)
    from simlib.planning import objectives, report
    from simlib.planning.planner import Planner

    choices = {"max_seqs": options.max_num_seqs, "token_budgets": options.token_budgets, "k_bins": options.k_bins}
    choices |= {name: [word.strip() for word in text.split(",")] for name, text in _named(options).items()}
    wanted = objectives.parse(options.sla)
    asked, trace = _demand(options, wanted)
    bench = None if options.bench is None else parsed(options.bench, options)
    planner = Planner(
        asked,
        _engines(options, bench),
        wanted,
        prefix_cache=_cache(options),
        max_gpus=options.max_gpus,
        price_per_gpu_hour=options.price,
        max_cost_per_hour=options.max_cost,
        noise=options.noise,
        confidence=options.confidence,
        reserve=options.reserve,
        seed=options.seed,
        currency=options.currency,
        **{name: values for name, values in choices.items() if values},
    )
    for given in filter(None, (trace, bench)):
        tell(given)
    if trace is not None and asked.recorded:
        _tell_gaps(trace, asked.windows)
    plan = planner.plan(_teller())
    if options.report is not None or options.frontier is not None:
        _write(options, plan)
    answer(options.json, report.document(plan), report.text(plan))
    wrote(options.report, options.frontier)
    return 0 if plan.best is not None else NOTHING_MEETS


def _check_drawn(options: argparse.Namespace) -> None:
    """Before any work: nobody should wait for a page that cannot be drawn, or a table of no kind."""
    file = options.frontier
    if file is not None and file.suffix not in FRONTIERS:
        raise InputError(f"--frontier: {file} (expected a file whose name ends with {', '.join(FRONTIERS)})")
    drawn = {"--report": options.report is not None, "--frontier": file is not None and file.suffix == ".svg"}
    for option in (name for name, asked in drawn.items() if asked):
        try:
            from simlib.planning import figure  # noqa: F401
        except ImportError:
            needed = "needs matplotlib (expected `pip install 'llm-batching-book[report]'`)"
            raise InputError(f"{option}: {needed}") from None


def _write(options: argparse.Namespace, plan: Any) -> None:
    """The page, and the frontier: in a picture of the way that was chosen, in a table of all."""
    from simlib.planning import report
    from simlib.planning.whatif.frontier import document, frontier, ways_of

    planner, chosen, file = plan.planner, plan.nearest, options.frontier
    others = () if file is None or file.suffix == ".svg" else ways_of(planner, chosen)
    found = frontier(planner, chosen, ways=others, progress=_teller())
    if options.report is not None:
        from simlib.planning import figure

        batches = figure.as_svg(figure.by_batches(found, chosen))
        write(options.report, report.page(plan, figure.svg(plan), batches))
    if file is None:
        return
    if file.suffix == ".svg":
        from simlib.planning import figure

        write(file, figure.as_svg(figure.by_batches(found, chosen)))
    elif file.suffix == ".csv":
        write(file, sheet(found))
    else:
        write(file, json.dumps(plain(document(found, planner, chosen)), indent=2) + "\n")


def _teller() -> Callable[[str], None]:
    """Says on standard error what is done, a line every few seconds, whoever reads."""
    said_s = time.monotonic()

    def tell(what: str) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= EVERY_S:
            said_s = time.monotonic()
            print(f"simlib: planning {what}", file=sys.stderr, flush=True)

    return tell


def _tell_gaps(trace: Any, windows: Any) -> None:
    """Says in which times nothing was recorded, by the trace's dates where it has some, and what becomes of them."""
    from simlib.lazy import pd
    from simlib.requests.traces import failures_of
    from simlib.text import many, span

    if not windows.gaps:
        return
    log, told = trace.log, [str(gap) for gap in windows.gaps[:MOST_GAPS]]
    if log.clock is not None and log.clock.unit == "date":
        first = pd.Timestamp(int(log.frame["clock"][~failures_of(log.frame)].min()))
        starts = [first + pd.Timedelta(gap.start_s * trace.rate_factor, "s") for gap in windows.gaps[:MOST_GAPS]]
        told = [
            f"{span(gap.length_s)} from {at:%Y-%m-%d %H:%M:%S} on"
            for gap, at in zip(windows.gaps, starts, strict=False)
        ]
    more = "; …" if len(windows.gaps) > MOST_GAPS else ""
    left = "left out with the windows that they touch (--gaps bridge: taken out of time)"
    what = "taken out of time" if windows.bridged else left
    print(f"simlib: {trace.source}: {many(len(windows.gaps), 'gap')}, {'; '.join(told)}{more}: {what}", file=sys.stderr)


def _named(options: argparse.Namespace) -> dict[str, str]:
    return {name: text for name in NAMES if (text := getattr(options, name)) is not None}


def _cache(options: argparse.Namespace) -> bool | None:
    if options.prefix_cache is None:
        return None
    return check_choice("--prefix-cache", options.prefix_cache, ("on", "off")) == "on"


def _demand(options: argparse.Namespace, wanted: Any) -> tuple[Any, Any]:
    """What has to be served, and the trace that it is like, if it is; with the column of the objectives' classes."""
    from simlib.continuous.settings import Continuous
    from simlib.planning import demand
    from simlib.planning.objectives import check_classes, columns_of
    from simlib.requests import traces

    if options.concurrency is not None:
        return _clients(options, wanted)
    check_used(options, "without --concurrency", "--think")
    if options.trace is not None:
        check_used(options, "beside --trace (which says it itself)", "--prompt", "--output", "--gap-cv", "--requests")
        factor = options.rate_factor if options.rate is None or "--rate-factor" in options.given else None
        chosen = {"rate_factor": factor, "rate_rps": options.rate, "unsorted": options.unsorted}
        chosen |= {"engine_block_tokens": Continuous().block_tokens}
        trace = traces.read(options.trace, **asked_of(options), **chosen, labels=columns_of(wanted))
        try:
            check_classes(wanted, trace.requests)
        except InputError as problem:
            raise InputError(f"{trace.source}, {problem}") from None
        return demand.of_table(trace.requests, str(trace), *_windows(options)), trace
    if None in (options.rate, options.prompt, options.output):
        raise InputError("--trace: none (expected a file, or --rate or --concurrency with --prompt and --output)")
    check_used(options, "without --trace", "--rate-factor", "--unsorted", "--window", "--gaps")
    check_used(options, "without --trace", *(() if options.bench else READING))
    return demand.described(options.rate, *_shapes(options), options.gap_cv, options.requests), None


def _windows(options: argparse.Namespace) -> tuple[float, bool]:
    """How a trace is cut."""
    from simlib.durations import wait_s
    from simlib.planning.windows import WINDOW_S

    check_choice("--gaps", options.gaps, ("leave-out", "bridge"))
    window_s = WINDOW_S if options.window is None else wait_s("--window", options.window)
    return window_s, options.gaps == "bridge"


def _shapes(options: argparse.Namespace) -> list[Any]:
    return [log_normal(name, getattr(options, name)) for name in ("prompt", "output")]


def _clients(options: argparse.Namespace, wanted: Any) -> tuple[Any, Any]:
    """What clients ask who wait for their answers, and the trace that it is like, if it is."""
    from simlib.planning import demand
    from simlib.planning.objectives import columns_of
    from simlib.requests import traces

    check_used(options, ANSWERED, "--rate", "--rate-factor", "--gap-cv", "--window", "--gaps")
    if options.trace is not None:
        check_used(options, "beside --trace (which says it itself)", "--prompt", "--output")
        chosen = {"unsorted": options.unsorted, "at_once": True, "labels": columns_of(wanted)}
        trace = traces.read(options.trace, **asked_of(options), **chosen)
        asked = demand.of_lengths(trace.requests, options.requests)
    elif None in (options.prompt, options.output):
        raise InputError("--trace: none (expected a file, or --prompt and --output)")
    else:
        check_used(options, "without --trace", "--unsorted", *(() if options.bench else READING))
        trace, asked = None, demand.described(1.0, *_shapes(options), requests=options.requests)
    return demand.of_clients(asked, options.concurrency, options.think or 0.0), trace


def _engines(options: argparse.Namespace, bench: Any) -> list[Any]:
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
    law = named.step_law_of(options.steps) if bench is None else engine_benchmarks.from_log(bench, options.bench).law
    return [fleet.engine(law, options.gpus_per_replica, options.kv_tokens)]
