"""The verb ``calibrate``: measure a model here, or read an engine's own benchmark."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from simlib.checks import InputError
from simlib.cli.outputs import check_places, whole, write


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("calibrate", help="measure a model here, or read an engine's own benchmark")
    own.set_defaults(verb=_calibrate)
    what = own.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", help="a folder, a model of the local cache, or random:qwen3-10m, random:gpt2-18m, …")
    what.add_argument("--from-bench", metavar="FILE.json", help="vLLM's or SGLang's detailed serving benchmark")
    what.add_argument("--template", action="store_true", help="an example of a CSV of measurements, to fill in")
    own.add_argument(
        "--output", type=Path, metavar="FILE", help="the CSV, new or begun; the step law's card; the example"
    )
    own.add_argument("--trials", type=int, default=3, help="repetitions of the whole grid (default 3)")
    for name in ("batch-sizes", "prompt-tokens", "output-tokens"):
        own.add_argument(f"--{name}", metavar="N,N,…", help="with commas between (default: by device)")
    own.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    own.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    own.add_argument("--threads", type=int, help="of the processor (default: torch's choice)")
    own.add_argument("--seed", type=int, default=0, help="of random weights and prompts (default 0)")


def _calibrate(options: argparse.Namespace) -> None:
    check_places(files=[options.output])
    if options.model is None:
        from simlib.calibration import engine_benchmarks as serving_benchmarks
        from simlib.latency import measurements

        text = (
            measurements.TEMPLATE
            if options.template
            else serving_benchmarks.from_bench(options.from_bench).card() + "\n"
        )
        if options.output is None:
            print(text, end="")
        else:
            write(options.output, text)
        return
    from simlib.calibration import cards, host
    from simlib.calibration import measure as calibration

    if options.output is None:
        raise InputError("--output: none (expected a file for the measurements)")
    found = host.Host.find(options.device, options.dtype, options.threads)
    standard = calibration.GRIDS[found.device]
    axes = ("batch_sizes", "prompt_tokens", "output_tokens")
    grid = calibration.ShapeGrid(*(whole(options, name) or getattr(standard, name) for name in axes), options.trials)
    settings = {"device": found.device, "dtype": found.dtype, "threads": found.threads, "seed": options.seed}
    measured = calibration.measure(options.model, options.output, grid, **settings, progress=True)
    print(measured.summary().to_string(index=False, float_format="{:.4g}".format))
    try:
        card = cards.Calibration.of(measured).card()
    except InputError as problem:  # what was measured is on disk all the same
        warnings.warn(str(problem), stacklevel=2)
        return
    for frame in (card.forms, card.coefficients):
        print("", frame.to_string(index=False, float_format="{:.4g}".format), sep="\n")
