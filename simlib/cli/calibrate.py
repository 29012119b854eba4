"""The verb ``calibrate``: measure a model or an engine here, or read an engine's own benchmark."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

from simlib.checks import InputError, check_integer, check_number
from simlib.cli.benches.limits import LIMITS, WORDS, add_limits, law_of
from simlib.cli.inspect import READING, add_reading, parsed, tell
from simlib.cli.numbers import check_used, integer, integers, number, place
from simlib.cli.outputs import add_json, answer, check_outputs
from simlib.writing import write

SHAPES = ("batch-sizes", "prompt-tokens", "output-tokens")
ENGINES = ("vllm",)
ASKED = ("--minutes", "--max-model-len", "--dummy-weights", "--set")  # of an engine
OF_A_MODEL = (*(f"--{name}" for name in SHAPES), "--device", "--threads")
MEASURED = ("--engine", "--trials", *OF_A_MODEL, "--dtype", "--seed")


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("calibrate", help="measure a model or an engine here, or read an engine's own benchmark")
    own.set_defaults(verb=_calibrate, words=WORDS)
    what = own.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", help="a folder, a model of the local cache, or random:qwen3-10m, random:gpt2-18m, …")
    what.add_argument(
        "--from-bench",
        nargs="+",
        metavar="FILE.json",
        help="vLLM's or SGLang's detailed serving benchmark; of several, or with the engine's limits, intervals of "
        "predictions come with the law",
    )
    what.add_argument("--template", action="store_true", help="an example of a CSV of measurements, to fill in")
    own.add_argument("--engine", choices=ENGINES, help="of --model: time the steps of this engine, which is beside it")
    add_reading(own)
    add_limits(own)
    own.add_argument(
        "--output", type=place, metavar="FILE", help="the CSV, new or begun; the step law, for --latency; the example"
    )
    own.add_argument("--card", type=place, metavar="FILE", help="of a step law: write its card (default: print it)")
    own.add_argument("--minutes", type=number, help="of --engine: that it may take in this call (default 10)")
    own.add_argument("--max-model-len", type=integer, metavar="N", help="of --engine: tokens of a sequence, at most")
    own.add_argument("--dummy-weights", action="store_true", help="of --engine: random; a configuration is enough")
    own.add_argument("--trials", type=integer, default=3, help="repetitions of the whole grid (default 3)")
    for name in SHAPES:
        own.add_argument(f"--{name}", type=integers, metavar="N,N,…", help="with commas between (default: by device)")
    own.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    own.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    own.add_argument("--threads", type=integer, help="of the processor (default: torch's choice)")
    own.add_argument("--seed", type=integer, default=0, help="of random weights and prompts (default 0)")
    own.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="of --engine: an argument of its own"
    )
    add_json(own, "what was fitted, and how far to trust it,")


def _calibrate(options: argparse.Namespace) -> None:
    check_outputs(options, options.output, options.card)
    if options.model is None:
        check_used(options, "without --model (nothing else is measured)", *MEASURED)
    if options.engine is None:
        check_used(options, "without --engine", *ASKED)
    else:
        check_used(options, "with --engine, which has a grid and a device of its own", *OF_A_MODEL, LIMITS[2])
    if options.card is not None and options.from_bench is None and options.engine is None:
        raise InputError("--card: given without --from-bench or --engine (expected one of them beside it)")
    if options.from_bench is None:
        check_used(options, "without --from-bench", *READING, *(() if options.engine else LIMITS))
    if options.template:
        from simlib.latency import measurements

        check_used(options, "beside --template, which is a CSV", "--json")
        if options.output is None:
            print(measurements.TEMPLATE, end="")
        else:
            write(options.output, measurements.TEMPLATE)
        return
    if options.from_bench is not None or options.engine is not None:
        law = _law(options) if options.engine is None else _asked(options)
        if options.output is not None and options.engine is None:
            write(options.output, law.text())
        if options.card is not None:
            write(options.card, law.card() + "\n")
        answer(options.json, _document(law), "" if options.card else law.card())
        return
    from simlib.calibration import cards, host
    from simlib.calibration import measure as calibration

    if options.output is None:
        raise InputError("--output: none (expected a file for the measurements)")
    found = host.Host.find(options.device, options.dtype, options.threads)
    standard = calibration.GRIDS[found.device]
    axes = ("batch_sizes", "prompt_tokens", "output_tokens")
    grid = calibration.ShapeGrid(*(getattr(options, name) or getattr(standard, name) for name in axes), options.trials)
    settings = {"device": found.device, "dtype": found.dtype, "threads": found.threads, "seed": options.seed}
    measured = calibration.measure(options.model, options.output, grid, **settings, progress=True)
    frames = {"measured": measured.summary()}
    try:
        card = cards.Calibration.of(measured).card()
        frames |= {"forms": card.forms, "coefficients": card.coefficients}
    except InputError as problem:  # what was measured is on disk all the same
        warnings.warn(str(problem), stacklevel=2)
    texts = [frame.to_string(index=False, float_format="{:.4g}".format) for frame in frames.values()]
    document = {name: frame.to_dict("records") for name, frame in frames.items()}
    answer(options.json, document, "\n\n".join(texts))


def _law(options: argparse.Namespace) -> Any:
    """The law of a benchmark of an engine that nobody tells of; or of several, or where its limits are told."""
    if len(options.from_bench) > 1 or any(limit in options.given for limit in LIMITS):
        return law_of(options)
    from simlib.calibration import engine_benchmarks

    [path] = options.from_bench
    bench = parsed(path, options)
    law = engine_benchmarks.from_log(bench, path)
    tell(bench)
    return law


def _asked(options: argparse.Namespace) -> Any:
    """The law of an engine that is asked itself: its steps go to the output, which ``--latency`` reads, too."""
    from simlib.calibration import designed, engine_steps

    if options.output is None:
        raise InputError("--output: none (expected a file for the steps)")
    settings = {"max_num_seqs": options.max_num_seqs, "max_num_batched_tokens": options.token_budget}
    settings |= {"max_model_len": options.max_model_len, "dtype": None if options.dtype == "auto" else options.dtype}
    if options.minutes is not None:
        settings["minutes"] = check_number("--minutes", options.minutes, 0.0, open_low=True)
    settings |= {"repetitions": check_integer("--trials", options.trials, 1), "seed": options.seed}
    try:
        settings |= engine_steps.arguments_of(options.set)
        engine_steps.measure(options.model, options.output, dummy=options.dummy_weights, **settings)
    except engine_steps.NoEngine as problem:
        raise InputError(str(problem)) from None
    return designed.from_steps(options.output)


def _document(law: Any) -> dict[str, Any]:
    """A law of steps for machines: its coefficients, and how far to trust it."""
    trust = law.law.trust
    return {
        "source": trust.source,
        "coefficients": law.table().to_dict("records"),
        "steps": law.steps,
        "mape": law.mape,
        "r2": law.r2,
        "bad_fit": trust.misfit,
        "ranges": trust.ranges,
        "starts": law.starts,
        "assumed": trust.assumes,
        "noise": trust.noise if trust.draws else None,
        "draws": trust.draws,
        "notes": law.notes,
    }
