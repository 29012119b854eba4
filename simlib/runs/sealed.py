"""A Parquet file that tells when it is not as it was written: a digest of all its bytes, in its own metadata.

Pages have checksums of their own, which other readers know; the digest covers what they leave out, and is looked at
before anything of the file is taken apart.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from simlib.checks import InputError

if TYPE_CHECKING:
    import pyarrow as pa

KEY, DIGITS = b"simlib.seal", 64
MARK = KEY + b"\x18\x40"  # in the footer (Thrift's compact protocol): the key, then a text of 64 bytes
BLANK = b"0" * DIGITS  # what the digest is taken over in its own place
MOST_BYTES = 4_000_000_000


class Damaged(InputError):
    """A file that is not as it was written."""


def packed(table: pa.Table, where: str = "") -> bytes:
    """A table as the bytes of a sealed Parquet file, which is whole only `where` it belongs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    metadata = {**(table.schema.metadata or {}), KEY: BLANK}
    pq.write_table(table.replace_schema_metadata(metadata), sink, write_page_checksum=True)
    data = sink.getvalue().to_pybytes()
    place = data.rfind(MARK) + len(MARK)
    return data[:place] + _digest(data, place, where) + data[place + DIGITS :]


def contents(path: Path) -> bytes:
    """The bytes of a regular file; `OSError` where there is none, or it is larger than any that is written here."""
    kind = os.stat(path)
    if not stat.S_ISREG(kind.st_mode):
        raise OSError("a folder, a device or a pipe; expected a file")
    if kind.st_size > MOST_BYTES:
        raise OSError(f"{kind.st_size / 1e9:.0f} GB; expected at most {MOST_BYTES / 1e9:.0f}")
    return path.read_bytes()


def is_whole(data: bytes, where: str = "") -> bool:
    """Whether bytes are a sealed file as it was written, for this place."""
    place = data.rfind(MARK)
    return place >= 0 and data[place + len(MARK) :][:DIGITS] == _digest(data, place + len(MARK), where)


def unpacked(data: bytes, where: str = "") -> pa.Table:
    """The table of a sealed file, or `Damaged` where it is not as it was written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not is_whole(data, where):
        raise Damaged("damaged, or not written by simlib; expected a file as it was written")
    return pq.read_table(pa.BufferReader(data), page_checksum_verification=True)


def _digest(data: bytes, place: int, where: str) -> bytes:
    """The digest of all bytes, with `BLANK` for those at the place of the digest."""
    digest, view = hashlib.sha256(), memoryview(data)
    for part in (where.encode(), view[:place], BLANK, view[place + DIGITS :]):
        digest.update(part)
    return digest.hexdigest().encode()
