"""What verbs share in writing results: places checked before any work, files written aside and renamed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simlib.checks import InputError


def plain(value: Any) -> Any:
    """The same for JSON: numpy's numbers as Python's, and what is missing as null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and value != value else value


def check_places(files: Sequence[Path | None] = (), folders: Sequence[Path | None] = ()) -> None:
    """Before any work: nobody should wait for a result that cannot be written."""
    for path in (*files, *folders):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{path}: no folder {path.parent} (expected an existing one)")
        if path is not None and path.exists() and path.is_dir() != (path in folders):
            raise InputError(
                f"{path}: {'is a folder (expected a file)' if path.is_dir() else 'is a file (expected a folder)'}"
            )


def make(folder: Path) -> None:
    """Make a folder for results, or raise `InputError`."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as problem:
        raise InputError(f"{folder}: cannot be made ({problem})") from None


def write(path: Path, text: str) -> None:
    """Write a text aside, then rename it, or raise `InputError` and leave nothing."""
    # A link, /dev/stdout and the like stay what they are.
    in_place = path.is_symlink() or (path.exists() and not path.is_file())
    aside = path if in_place else path.with_name(path.name + ".part")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    except OSError as problem:
        if not in_place:
            aside.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({problem})") from None


def whole(options: argparse.Namespace, name: str) -> list[int]:
    """The numbers of an option such as ``1,2,4``; none if it was not given."""
    text = getattr(options, name) or ""
    try:
        return [int(part) for part in text.split(",") if text]
    except ValueError:
        raise InputError(f"--{name.replace('_', '-')}: {text} (expected integers with commas between)") from None
