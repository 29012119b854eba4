"""The options that say which limits the engine had that was measured; and one law of its loads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any

from simlib.checks import InputError, check_integer
from simlib.cli.inspect import parsed, tell
from simlib.cli.numbers import integer

WORDS = {r"max_seqs(?=:)": "--max-num-seqs"}
LIMITS = ("--max-num-seqs", "--token-budget", "--steps-in-flight")
AS_SEEN = "default: as the benchmark is given back best, which is said"


def add_limits(own: argparse.ArgumentParser) -> None:
    """Add the options of `LIMITS`."""
    own.add_argument("--max-num-seqs", type=integer, metavar="N", help=f"of the engine: sequences at once ({AS_SEEN})")
    own.add_argument("--token-budget", type=integer, metavar="N", help=f"of the engine: tokens of a step ({AS_SEEN})")
    own.add_argument("--steps-in-flight", type=integer, metavar="N", help=f"of the engine: 1 or 2 ({AS_SEEN})")


def distinct(loads: Iterable[tuple[str, Any]]) -> list[Any]:
    """The loads of these files; `InputError` where one is there twice."""
    by_mark: dict[str, tuple[str, Any]] = {}
    for path, load in loads:
        if load.mark in by_mark:
            raise InputError(f"{path}: the same times as in {by_mark[load.mark][0]} (expected each benchmark once)")
        by_mark[load.mark] = path, load
    return [load for _, load in by_mark.values()]


def law_of(options: argparse.Namespace) -> Any:
    """One law of the benchmarks that ``--from-bench`` names."""
    from simlib.calibration.loads import law, limits
    from simlib.calibration.loads.load import MeasuredLoad

    given = (options.max_num_seqs, options.token_budget, options.steps_in_flight)
    for name, value, most in zip(LIMITS, given, (None, None, 2), strict=True):
        if value is not None:
            check_integer(name, value, 1, most)
    logs = [(path, parsed(path, options)) for path in options.from_bench]
    loads = distinct((path, load) for path, log in logs for load in MeasuredLoad.of(log))
    for _, log in logs:
        tell(log)
    engine, assumed = limits.likeliest(loads, *given)
    if assumed:
        print(f"simlib: assumed: {assumed}", file=sys.stderr)
    return law.fit(loads, engine, assumed)
