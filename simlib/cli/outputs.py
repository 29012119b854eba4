"""What verbs share in showing results: tables for eyes, JSON for machines, and what was written where."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simlib.checks import InputError
from simlib.cli.numbers import place
from simlib.text import cell, three
from simlib.writing import check_places, write

STANDARD_OUTPUT = Path("-")


def add_json(own: argparse.ArgumentParser, what: str = "the result") -> None:
    """Add the option ``--json``, the same for every verb."""
    own.add_argument(
        "--json",
        type=place,
        nargs="?",
        const=STANDARD_OUTPUT,
        metavar="FILE",
        help=f"{what} as JSON: into a file, or without one to standard output, in place of the text",
    )


def inputs(options: argparse.Namespace, given: list[str]) -> list[str]:
    """The files that a verb reads: of ``--json FILE`` and no other word, FILE, whose result is printed.

    Raises
    ------
    InputError
        If there is none.
    """
    if given:
        return given
    if options.json in (None, STANDARD_OUTPUT):
        raise InputError("FILE: none (expected a trace, a request table or a benchmark's result)")
    alone, options.json = str(options.json), STANDARD_OUTPUT
    return [alone]


def on_disk(*files: Path | None) -> list[Path]:
    """Those that are asked for and are files: where `check_places` is to look."""
    return [file for file in files if file not in (None, STANDARD_OUTPUT)]


def check_outputs(options: argparse.Namespace, *files: Path | None, folders: Sequence[Path | None] = ()) -> None:
    """Look at the places of a verb's results before any work: they can be written, and nothing of the user's is lost.

    Raises
    ------
    InputError
        As `check_places`; if a place is a file that the command reads; if that of ``--json`` has anything but a result.
    """
    files = on_disk(options.json, *files)
    check_places(files=files, folders=folders)
    given = [each for value in vars(options).values() for each in (value if isinstance(value, list) else [value])]
    check_unread(files, [each for each in given if isinstance(each, str | Path) and not any(each is f for f in files)])
    for file in on_disk(options.json):
        if file.is_file() and file.stat().st_size and not _is_result(file):
            raise InputError(
                f"--json: {file} is there, and is no result in JSON (expected a new file, or --json behind all others)"
            )


def check_unread(files: Sequence[Path], inputs: Sequence[str | Path]) -> None:
    """Raise `InputError` if a file is, under whatever name, one of the inputs: words, of which some are paths."""
    for text in map(str, inputs):
        for word in {text, *text.removeprefix("table:").split(",")}:
            for file in files:
                if file.is_file() and os.path.isfile(word) and os.path.samefile(file, word):
                    raise InputError(f"{file}: this command reads it (expected another place for its result)")


def _is_result(file: Path) -> bool:
    """Whether a file holds JSON, and no requests or measurements of the user's."""
    from simlib import reading
    from simlib.requests.formats import known

    try:
        reading.json_of(*reversed(reading.text(file, "JSON")))
    except InputError:
        return False
    try:
        known.parse(file)
    except InputError:
        return True
    return False


def answer(file: Path | None, document: Any, text: str) -> None:
    """Print a text for eyes; for machines a document, into a file beside it or to standard output in its place."""
    machine = "" if file is None else json.dumps(plain(document), indent=2)
    for path in on_disk(file):
        write(path, machine + "\n")
    if shown := machine if file == STANDARD_OUTPUT else text:
        print(shown)
    wrote(file)


def wrote(*files: Path | None) -> None:
    """Say on standard error what was written, of what was asked for."""
    for file in on_disk(*files):
        print(f"simlib: wrote {file}", file=sys.stderr)


def aligned(frame: Any) -> str:
    """A data frame for eyes: numbers by three digits to the right, texts to the left, a dash for what is missing."""
    columns = []
    for name in frame.columns:
        values = frame[name].tolist()
        text = any(isinstance(value, str) for value in values)
        cells = [str(name), *("–" if value != value or value is None else _cell(value) for value in values)]
        width = max(map(len, cells))
        columns.append([cell.ljust(width) if text else cell.rjust(width) for cell in cells])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def sheet(frame: Any) -> str:
    """A data frame as CSV, of which a spreadsheet takes no text for a formula; an array is written ``[1, 2]``."""

    def written(value: Any) -> Any:
        return cell(value) if isinstance(value, str) else value.tolist() if hasattr(value, "tolist") else value

    for name in frame.select_dtypes(["object", "str", "category"]):
        frame = frame.assign(**{name: [written(value) for value in frame[name]]})
    return frame.to_csv(index=False)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else three(value)


def plain(value: Any) -> Any:
    """The same for JSON: numpy's numbers as Python's, and what is missing or infinite as null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
