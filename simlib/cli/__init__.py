"""The same verbs in a terminal: ``simlib`` or ``python -m simlib``.

Reads arguments, calls the library, prints or writes one result. Bad input ends with exit code 2 and a sentence on
standard error; a file is written aside, then renamed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import IO, Any, NoReturn

from simlib.checks import NEAREST, InputError, check_choice, nearest
from simlib.cli import calibrate, capacity, compare, fetch, inspect, plan, presets, simulate, sweep, validate

EXIT_CODES = """exit codes: 0 done; 1 some cells of a sweep failed; 2 bad input, said in a sentence;
3 nothing within the limits meets the objectives of a plan, or what was measured is outside it; 130 interrupted"""
SETTING = r"""^([a-z_]+)(?=: )|\b([a-z_]+)=(['"])([^'"]*)\3"""  # what is wrong, or what would help
VERBS = (inspect, simulate, compare, capacity, sweep, calibrate, validate, plan, fetch, presets)


class _Parser(argparse.ArgumentParser):
    """A parser whose refusals are sentences like all others; a verb's parser is one, too."""

    def __init__(self, **settings: Any) -> None:
        self.known: set[str] = set()  # its options
        super().__init__(**{"allow_abbrev": False} | settings)
        self.set_defaults(known=self.known, words={})

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """An option whose default, if it has one, stands in its help."""
        self.known.update(names)
        default, told = settings.get("default"), settings.get("help", "")
        if default not in (None, argparse.SUPPRESS) and "(default" not in told:
            settings["help"] = f"{told} (default: %(default)s)".lstrip()
        return super().add_argument(*names, **settings)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """As argparse's own, with the nearest option for one that a verb does not have."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            word = unknown[0].partition("=")[0]
            near = nearest(word, sorted(options.known))[:NEAREST] if word.startswith("-") else []
            hint = f" (did you mean {' or '.join(near)}?)" if near else ""
            raise InputError(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return options

    def error(self, message: str) -> NoReturn:
        if verb := re.match("argument VERB: invalid choice: '(.*?)'", message):
            check_choice("VERB", verb[1], [module.__name__.rpartition(".")[2] for module in VERBS])
        raise InputError(message.removeprefix("argument "))

    def print_help(self, file: IO[str] | None = None) -> None:
        print(self.format_help(), end="", file=file)  # argparse's own says nothing of what it meets

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        _flush()
        super().exit(status, message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code (`EXIT_CODES`)."""
    options = argparse.Namespace(known=(), words={})
    try:
        parser = _parser()
        options = parser.parse_args(arguments)
        options.given = {word.partition("=")[0] for word in (sys.argv[1:] if arguments is None else arguments)}
        if options.verb is None:
            parser.print_help()
            return 0
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: _say(str(message), options)
            code = options.verb(options) or 0
            _flush()
            return code
    except InputError as problem:
        _say(str(problem), options)
        return 2
    except BrokenPipeError:  # the reader has seen enough
        _drop_output()
    except OSError as problem:
        _drop_output()
        print(f"simlib: the result cannot be written ({problem.strerror or problem})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("simlib: interrupted", file=sys.stderr)
        return 130
    return 0


def _say(sentence: str, options: argparse.Namespace) -> None:
    """Print a sentence of the library's on standard error, its settings as the verb's options (`words`: by name)."""

    def option(found: re.Match[str]) -> str:
        name = f"--{(found[1] or found[2]).replace('_', '-')}"
        return f"{name} {found[4] or ''}".rstrip() if name in options.known else found[0]

    for word, name in options.words.items():
        sentence = re.sub(rf"\b{word}\b", name, sentence)
    print("simlib:", re.sub(SETTING, option, sentence), file=sys.stderr)


def _flush() -> None:
    """Print what is still to be printed now, where an error of it can be said."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _drop_output() -> None:
    """Let what is still to be printed go nowhere, so that the interpreter's end meets no error again."""
    with contextlib.suppress(OSError, AttributeError):  # an output without a number, or none at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> _Parser:
    about = "Simulate how an LLM-serving system forms its batches. `simlib VERB --help` says what a verb takes."
    parser = _Parser(prog="simlib", description=about, epilog=EXIT_CODES)
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version this is, and leave")
    parser.set_defaults(verb=None)
    verbs = parser.add_subparsers(metavar="VERB")
    for verb in VERBS:
        verb.add(verbs)
    return parser


class _Version(argparse.Action):
    """Looks for the version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print(f"simlib {version('llm-batching-book')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
