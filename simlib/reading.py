"""What lies in a user's file, read within bounds of time and memory: its bytes, its text, its JSON, its table.

Regular files and pipes (``<(zcat …)``), packed by gzip or zstd or not, which is told by content. Every file that cannot
be used is refused in a sentence; whoever asks says what was expected of it.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import itertools
import json
import os
import re
import select
import stat
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from simlib.checks import InputError, check_type
from simlib.lazy import pd

MOST_BYTES = 2_000_000_000  # of a regular file as it lies there
MOST_STREAMED = 192 << 20  # of what is unpacked or comes through a pipe: its size is known only at its end
BOMB_BYTES, BOMB_RATIO = 64 << 20, 100  # larger than this, and this much larger than its file: made to fill a memory
MOST_DEFLATED = 1040  # times as small as it was: no gzip is smaller, and one that says so is cut
CHUNK = 1 << 20
NO_WRITER_S, SILENCE_S = 0.3, 60.0  # how long a pipe may be without a writer; how long a writer may be silent
MOST_NESTED = 100
TOO_DEEP = f"JSON: more than {MOST_NESTED} lists or objects in one another (expected a few)"
SEPARATORS = ",\t;"
COMMENTS = re.compile(rb"(#[^\r\n]*[\r\n]+)+(?=.)")
LINE = re.compile(r"\S[^\n]*")  # that is not blank, without what stands blank before it

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
FOREIGN = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive (or a spreadsheet)",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ\0": "packed by xz",
    codecs.BOM_UTF16_LE: "UTF-16 text",
    codecs.BOM_UTF16_BE: "UTF-16 text",
}


def contents(path: str | os.PathLike[str], what: str, source: str = "") -> tuple[str, bytes]:
    """The name of a file and its bytes, unpacked, without a byte order mark.

    Parameters
    ----------
    path : str or path-like
        A regular file, or a pipe; packed by gzip or zstd, or not.
    what : str
        What the file should be, for messages: ``a trace as CSV or JSON``.
    source : str, optional
        How messages call it; by default a file that is there by its name without the folder, else by its path.

    Returns
    -------
    source : str
    data : bytes
        No byte is zero, and not all are blank.

    Raises
    ------
    InputError
        If there is no such file, it is a folder, a device or a pipe into which nobody writes, it cannot be read, its
        packing is broken, it is empty, binary or larger than `MOST_BYTES` (`MOST_STREAMED` unpacked or from a pipe).
    """
    check_type("path", path, (str, os.PathLike), "the path of a file")
    expected = f"expected {what}"
    try:
        kind = os.stat(path)
    except (OSError, ValueError) as problem:  # ValueError: a path with a zero byte
        missing = isinstance(problem, FileNotFoundError | NotADirectoryError)
        why = "no such file" if missing else f"cannot be read ({getattr(problem, 'strerror', None) or problem})"
        raise InputError(f"{source or path}: {why} ({expected})") from None
    piped = stat.S_ISFIFO(kind.st_mode)
    if not piped and not stat.S_ISREG(kind.st_mode):
        found = "is a folder" if stat.S_ISDIR(kind.st_mode) else "is a device (or a socket)"
        raise InputError(f"{source or path}: {found} ({expected}, in a file or a pipe)")
    source = source or (str(path) if piped else Path(path).name)
    if not piped and kind.st_size > MOST_BYTES:
        raise InputError(f"{source}: {kind.st_size / 1e9:.1f} GB (expected at most {MOST_BYTES / 1e9:g} GB)")
    with _said(source):
        if piped:
            data = _gathered(source, _piped(path), MOST_STREAMED, what)
            if data.startswith((GZIP, ZSTD)):
                data = _gathered(source, _unpacked(source, io.BytesIO(data)), MOST_STREAMED, what, packed=True)
        else:
            with open(path, "rb") as file:
                packed = _is_packed(source, file)
                most = MOST_STREAMED if packed else MOST_BYTES
                data = _gathered(source, _unpacked(source, file) if packed else _plain(file), most, what, packed)
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        nobody = " and nobody writes into the pipe" if piped and not data else ""
        raise InputError(f"{source}: the file is empty{nobody} ({expected})")
    return source, data


def text(path: str | os.PathLike[str], what: str, source: str = "") -> tuple[str, str]:
    """The name of a file and its text; `contents`, and `InputError` where it is not UTF-8."""
    source, data = contents(path, what, source)
    return source, decoded(source, data)


def decoded(source: str, data: bytes) -> str:
    """Bytes as text; `InputError` names the line that is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise InputError(f"{source}, line {line}: not UTF-8 text (expected UTF-8; byte {problem.start})") from None


def beginning(path: str | os.PathLike[str], source: str = "") -> str:
    """The first characters of a regular file, unpacked, whatever follows; `InputError` where it cannot be read."""
    source = source or Path(path).name
    with _said(source), open(path, "rb") as file:
        chunks = _unpacked(source, file) if _is_packed(source, file) else _plain(file)
        return next(chunks, b"").removeprefix(codecs.BOM_UTF8).decode(errors="replace")


@contextlib.contextmanager
def _said(source: str) -> Iterator[None]:
    """An error of the system, or of a packing, as a sentence."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as problem:  # an error of the packing has no number
        if getattr(problem, "errno", None) is not None:
            raise InputError(f"{source}: cannot be read ({problem.strerror})") from None
        raise InputError(f"{source}: broken packing ({problem}; expected a whole gzip or zstd file)") from None


def _is_packed(source: str, file: IO[bytes]) -> bool:
    """Whether a file is; `InputError` if the end of a gzip says that it is too large, before all is unpacked."""
    start = file.read(4)
    if start.startswith(GZIP) and (packed := file.seek(0, os.SEEK_END)) > 4:
        file.seek(-4, os.SEEK_END)
        size = int.from_bytes(file.read(), "little")  # of the last member, or less where that has 4 GB
        if MOST_STREAMED < size < MOST_DEFLATED * packed:
            raise _too_large(source, MOST_STREAMED)
    file.seek(0)
    return start.startswith((GZIP, ZSTD))


def _plain(file: IO[bytes]) -> Iterator[bytes]:
    yield from iter(lambda: file.read(CHUNK), b"")


def _piped(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """The chunks of a pipe; waited for while there is a writer, but not for ever."""
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        some, end_s = False, time.monotonic() + NO_WRITER_S
        while True:
            try:
                chunk = os.read(pipe, CHUNK)
            except BlockingIOError:  # there is a writer, who is silent
                if not select.select([pipe], [], [], SILENCE_S)[0]:
                    raise InputError(f"{path}: nothing came through the pipe for {SILENCE_S:g} s") from None
                continue
            if not chunk and (some or time.monotonic() > end_s):
                return
            if not chunk:  # nobody has opened it for writing, yet
                time.sleep(0.01)
            some = some or bool(chunk)
            yield chunk
    finally:
        os.close(pipe)


def _unpacked(source: str, packed: IO[bytes]) -> Iterator[bytes]:
    """The chunks of a packed file, which may be of several members."""
    import pyarrow as pa

    is_gzip, size = packed.read(2) == GZIP, packed.seek(0)
    with gzip.GzipFile(fileobj=packed) if is_gzip else pa.CompressedInputStream(packed, "zstd") as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > max(BOMB_BYTES, BOMB_RATIO * packed.tell()):
                raise InputError(
                    f"{source}: {packed.tell()} bytes unpack to more than {BOMB_RATIO} times as many (expected a file "
                    "that was not made to fill a memory)"
                )
            yield chunk


def _gathered(source: str, chunks: Iterator[bytes], most: int, what: str, packed: bool = False) -> bytes:
    """All chunks, refused as soon as they are too many, or no text and not packed."""
    whole = io.BytesIO()
    for chunk in chunks:
        whole.write(chunk)
        size, start = whole.tell(), bytes(whole.getbuffer()[:8])  # a pipe's first chunk may be a single byte
        foreign = next((name for mark, name in FOREIGN.items() if start.startswith(mark)), None)
        if foreign:
            raise InputError(f"{source}: {foreign} (expected {what} as UTF-8 text, packed by gzip or zstd or not)")
        if b"\0" in chunk and (packed or not start.startswith((GZIP, ZSTD))):
            raise InputError(f"{source}: a binary file (expected {what} as UTF-8 text)")
        if size > most:
            raise _too_large(source, most)
    return whole.getvalue()


def _too_large(source: str, most: int) -> InputError:
    return InputError(
        f"{source}: more than {most / 1e6:.0f} MB unpacked (expected less; a file that is not packed may have "
        f"{MOST_BYTES / 1e6:.0f})"
    )


class _Twice(Exception):
    """A key that an object has twice; the number of objects that ended before that one, in a text."""


class _Strict:
    """A decoder of JSON that takes no key twice."""

    def __init__(self) -> None:
        self.ended = 0
        self._decode = json.JSONDecoder(object_pairs_hook=self._object).decode

    def value(self, text: str, source: str, line: int = 1) -> Any:
        """A text's value; `line` is where it begins in the source."""
        self.ended = 0
        try:
            return self._decode(text)
        except _Twice as twice:
            key, ended = twice.args
            place = f"line {line + _lines_before_end(text, ended)}"
            raise InputError(f"{source}, {place}: {key!r} twice in one object (expected once)") from None
        except json.JSONDecodeError as problem:
            place = f"line {line + problem.lineno - 1}, column {problem.colno}"
            raise InputError(f"{source}, {place}: {problem.msg} (expected JSON)") from None
        except RecursionError:
            raise InputError(f"{source}, {TOO_DEEP}") from None
        except ValueError:  # the only other one that it raises
            raise InputError(f"{source}, line {line}: an integer of thousands of digits (expected a number)") from None

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            key = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise _Twice(key, self.ended)
        self.ended += 1
        return found


def json_of(text: str, source: str) -> Any:
    """The value that a JSON text says.

    Raises
    ------
    InputError
        If it is not JSON (line and column are named), an object has a key twice, or lists or objects lie in one
        another more than `MOST_NESTED` deep.

    Examples
    --------
    >>> json_of('{"rate": 2}', "a.json")
    {'rate': 2}
    """
    _check_depth(text, source)
    return _Strict().value(text, source)


def json_lines(text: str, source: str) -> list[dict[str, Any]]:
    """The objects of a JSON text: one, an array of them, or one a line; blank lines do no harm.

    Raises
    ------
    InputError
        As `json_of`, naming the line that is broken; if there is no object, or something else is among them.

    Examples
    --------
    >>> json_lines('{"a": 1}\\n\\n{"a": 2}\\n', "a.jsonl")
    [{'a': 1}, {'a': 2}]
    """
    first = [line[0] for line in itertools.islice(LINE.finditer(text), 2)]
    # A document that is spread over lines has none among its first that is an object of its own.
    if len(first) > 1 and any(map(_is_object, first)):
        _check_depth(text, source)
        return _objects_by_line(text, source)
    whole = json_of(text, source)
    records = whole if isinstance(whole, list) else [whole]
    if not records:
        raise InputError(f"{source}: an empty array (expected at least 1 object)")
    for row, record in enumerate(records):
        _check_object(record, f"{source}, row {row}")
    return records


def _objects_by_line(text: str, source: str) -> list[dict[str, Any]]:
    value_of, records, number, end = _Strict().value, [], 1, 0
    for line in LINE.finditer(text):
        start = text.rfind("\n", end, line.start()) + 1 or end
        number, end = number + text.count("\n", end, start), line.end()
        records.append(value_of(text[start:end], source, number))
        _check_object(records[-1], f"{source}, line {number}")
    return records


def _check_object(value: Any, place: str) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{place}: {str(value)[:60]} (expected a JSON object)")


def _is_object(line: str) -> bool:
    try:
        return line.lstrip().startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _check_depth(text: str, source: str) -> None:
    """Refuse brackets that lie too deep in one another; each pass takes the innermost ones away."""
    if text.count("[") + text.count("{") <= MOST_NESTED:
        return
    brackets = text.encode(errors="replace").translate(None, bytes(set(range(256)) - set(b"[]{}")))
    for _ in range(MOST_NESTED):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if b"[]" not in brackets and b"{}" not in brackets:
            return
    raise InputError(f"{source}, {TOO_DEEP}")


def _lines_before_end(text: str, number: int) -> int:
    """How many lines end before the object does that ends after so many others."""
    ends = (found for found in re.finditer(r'"(?:[^"\\]|\\.)*"|\}', text) if found[0] == "}")
    return text.count("\n", 0, next(itertools.islice(ends, number, None)).start())


def delimited(source: str, data: bytes, *, least: int = 1) -> pd.DataFrame:
    """The rows of a table whose first line names its columns, every cell as it is spelled.

    Parameters
    ----------
    source : str
        The file's name, for messages.
    data : bytes
        What separates the cells, a comma, a tab or a semicolon, is told by the first line; where it is no comma,
        one within a number is taken for its point. Lines before it that begin with ``#`` are skipped, and said.
    least : int
        How many rows are expected.

    Returns
    -------
    pandas.DataFrame
        Cells are text, empty ones ``""``.

    Raises
    ------
    InputError
        If a column is there twice, a row is longer or shorter than the header (rows count from 0, the header left
        out), or it is not UTF-8.

    Examples
    --------
    >>> delimited("a.csv", b"start;label\\n1,5;x\\n").to_dict("list")
    {'start': ['1.5'], 'label': ['x']}
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv as tables

    decoded(source, data)
    data = data.strip(b" \r\n") + b"\n"  # no line that is blank but for spaces, no header without an end
    if comments := COMMENTS.match(data):
        data = data[comments.end() :]
        warnings.warn(f"{source}: lines before the header that begin with # are skipped", stacklevel=2)
    separator, names = _header(source, data)
    spaced = f"{separator} ".encode()
    has_space = spaced in data
    if has_space:  # a quote opens a cell only at its beginning
        data = re.sub(re.escape(spaced) + rb' *"', separator.encode() + b'"', data)
    wrong: list[Any] = []
    try:
        table = tables.read_csv(
            io.BytesIO(data),
            tables.ReadOptions(use_threads=False, column_names=names, skip_rows=1, block_size=max(CHUNK, 64 << 20)),
            tables.ParseOptions(
                delimiter=separator,
                newlines_in_values=b'"' in data,
                invalid_row_handler=lambda row: (wrong.append(row), "error")[1],
            ),
            tables.ConvertOptions(
                check_utf8=False, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as problem:
        if wrong:
            row = wrong[0]
            raise InputError(
                f"{source}, row {row.number - 2}: {row.actual_columns} cells (expected {row.expected_columns}, "
                "as the header has)"
            ) from None
        reason = str(problem).splitlines()[0]
        raise InputError(f"{source}: not a well-formed table ({reason})") from None
    last = table.slice(max(len(table) - 1, 0)).to_pylist()
    if data.count(b'"') % 2 and any("\n" in cell for row in last for cell in row.values()):
        raise InputError(f"{source}, row {len(table) - 1}: a quote that is not closed (expected a second one)")
    if len(table) < least:
        raise InputError(f"{source}: a header and {len(table) or 'no'} rows (expected at least {least} row)")
    columns = table.columns
    if has_space:
        columns = [pc.utf8_ltrim_whitespace(column) for column in columns]
    if separator != ",":
        columns = [pc.replace_substring_regex(column, r"^([+-]?\d+),(\d+)$", r"\1.\2") for column in columns]
    return pa.table(columns, names=names).to_pandas()


def _header(source: str, data: bytes) -> tuple[str, list[str]]:
    """What separates the cells of a table, and the names of its columns."""
    first = re.split(r"[\r\n]", data[: 16 * CHUNK].decode(errors="replace"), maxsplit=1)[0]
    try:
        rows = {mark: next(csv.reader([first], delimiter=mark, skipinitialspace=True)) for mark in SEPARATORS}
    except csv.Error as problem:
        raise InputError(f"{source}: not a well-formed header ({problem})") from None
    separator = max(rows, key=lambda mark: len(rows[mark]))
    names = [name.strip() for name in rows[separator]]
    if not any(names):
        raise InputError(f"{source}: no header (expected the names of columns in the first line)")
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{source}, {twice or 'no name'}: {names.count(twice)} columns of that name (expected one)")
    return separator, names
