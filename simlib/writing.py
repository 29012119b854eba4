"""Results on their way out: the places looked at before any work, each file written aside and renamed when it is whole.

Devices, pipes and links stay what they are: they are written into, a link's target in its place. Nothing of a user's is
in the way of what is written aside, and nothing of it stays when it fails.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from simlib.checks import InputError, check_path

ASIDE = ".simlib-{}.part"  # in the same folder, as only there a file can be renamed
MOST_NAME_BYTES = 255
NO_READER_S = 0.5  # how long a pipe may be without a reader

_PIPES: dict[str, int] = {}  # opened when their places were looked at: closed, they would end for their readers


def check_places(files: Sequence[Path | None] = (), folders: Sequence[Path | None] = ()) -> None:
    """Look at the places of results before any work: nobody should wait for what cannot be written.

    Parameters
    ----------
    files, folders : sequence of Path or None
        Where results are to go, None where one is not asked for; a folder may be a new one in one that exists.

    Raises
    ------
    InputError
        If a place cannot be written, is a folder in place of a file or the reverse, a pipe that nobody reads, or named
        twice.
    """
    places = [path for path in (*files, *folders) if path is not None]
    for path in places:
        if _is_open(path):
            continue
        with _said(path):
            _check_place(path, path in folders)
            target = os.path.realpath(path)
            if stat.S_ISFIFO(_mode(target)) and target not in _PIPES:
                _PIPES[target] = _into_pipe(path)
    for number, path in enumerate(places):
        if any(_is_same(path, other) for other in places[:number]):
            raise InputError(f"{path}: for two results (expected a place for each)")


def make(folder: Path) -> None:
    """Make a folder for results, or raise `InputError`."""
    with _said(folder, "made"):
        folder.mkdir(exist_ok=True)


def write(path: str | Path, content: str | bytes) -> Path:
    """Write a text (as UTF-8) or bytes to a place: the whole of it, or nothing and `InputError`."""
    with opened(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return Path(path)


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write into; it takes its name when the block ends, and never if the block fails.

    Parameters
    ----------
    path : str or Path
        A regular file, new or to be replaced, which keeps its permissions; or a device, a pipe, ``/dev/stdout``.

    Raises
    ------
    InputError
        If it cannot be written: no folder, no permission, no space, a name too long, a pipe that nobody reads.
    """
    path = check_path(path)
    with _said(path):
        if number := _is_open(path):
            with os.fdopen(os.dup(int(number)), "wb") as file:
                yield file
            return
        _check_place(path)
        target = Path(os.path.realpath(path))
        mode = os.stat(target).st_mode if target.exists() else None
        if mode is not None and not stat.S_ISREG(mode):
            number = _PIPES.pop(str(target), None)
            if number is None:
                number = _into_pipe(path) if stat.S_ISFIFO(mode) else os.open(target, os.O_WRONLY)
            with os.fdopen(number, "wb") as file:
                yield file
            return
        aside = target.with_name(ASIDE.format(secrets.token_hex(8)))
        try:
            with open(aside, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # before the name, or a power cut could leave the name alone
                if mode is not None:
                    os.fchmod(file.fileno(), stat.S_IMODE(mode))
            os.replace(aside, target)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise


def clear(folder: Path) -> None:
    """Remove what writers that were killed have left aside in a folder, in which nobody else is writing."""
    for left in folder.glob(ASIDE.format("*")):
        left.unlink(missing_ok=True)


def _check_place(path: Path, is_folder: bool = False) -> None:
    """Raise `InputError`, or the system's own error, if a place cannot be written."""
    target = Path(os.path.realpath(path))  # where a link leads
    if len(os.fsencode(target.name)) > MOST_NAME_BYTES:
        raise InputError(f"{path}: a name of more than {MOST_NAME_BYTES} bytes (expected a shorter one)")
    if not target.parent.is_dir():
        raise InputError(f"{path}: no folder {target.parent if path.is_symlink() else path.parent} (expected one)")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and stat.S_ISDIR(mode) != is_folder:
        found, expected = ("file", "folder") if is_folder else ("folder", "file")
        raise InputError(f"{path}: is a {found} (expected a {expected})")
    places = [target] if mode is not None else []
    if mode is None or stat.S_ISREG(mode):
        places += [target.parent]
    for place in places:
        if not os.access(place, os.W_OK):
            raise InputError(f"{path}: {place} may not be written (expected a place with permission)")


def _mode(path: str) -> int:
    """What kind of file is there; 0 where there is none."""
    return os.stat(path).st_mode if os.path.exists(path) else 0


def _is_open(path: Path) -> str:
    """The number of an open file that a path such as ``/dev/stdout`` stands for, as text; empty if it is none.

    It is written where it stands: opened anew, it would be written from its beginning.
    """
    path = re.sub("^/dev/stdout$", "/dev/fd/1", re.sub("^/dev/stderr$", "/dev/fd/2", str(path)))
    found = re.fullmatch(r"/(?:dev|proc/self)/fd/([0-9]{1,9})", path)
    return found[1] if found else ""


def _is_same(one: Path, other: Path) -> bool:
    """Whether two places are one regular file or folder; many results may go to one device."""
    one, other = (Path(os.path.realpath(path)) for path in (one, other))
    return one == other and (one.is_file() or one.is_dir() or not one.exists())


def _into_pipe(path: Path) -> int:
    """A pipe, opened for writing; its reader is waited for, but not for ever."""
    end_s = time.monotonic() + NO_READER_S
    while True:
        try:
            number = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            if time.monotonic() > end_s:
                raise InputError(f"{path}: a pipe that nobody reads (expected a reader)") from None
            time.sleep(0.01)
            continue
        os.set_blocking(number, True)
        return number


@contextlib.contextmanager
def _said(path: Path, how: str = "written") -> Iterator[None]:
    """An error of the system as a sentence, but for a reader that has seen enough."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        why = os.strerror(problem.errno) if problem.errno else problem
        raise InputError(f"{path}: cannot be {how} ({why})") from None
