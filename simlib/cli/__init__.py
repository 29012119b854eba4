"""The same verbs in a terminal: ``simlib`` or ``python -m simlib``.

Reads arguments, calls the library, prints or writes one result. Bad input ends with exit code 2 and a sentence on
standard error; a file is written aside, then renamed.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from simlib.checks import InputError
from simlib.cli import calibrate, capacity, compare, fetch, plan, presets, simulate, sweep, validate

VERBS = (simulate, compare, capacity, sweep, calibrate, validate, plan, fetch, presets)


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
    for verb in VERBS:
        verb.add(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
