"""A results directory that survives: shards written aside and renamed, one writer at a time, one grid.

Knows tables, not simulations: `run` gives it a table for each numbered task. A shard is whole or not there; a
damaged one is told by its seal, and made again. Nothing is merged on disk; readers see one data set.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simlib import writing
from simlib.checks import InputError, check_format
from simlib.lazy import pd
from simlib.runs import sealed

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds


MANIFEST, LOCK, FORMAT = "manifest.json", "sweep.lock", 3


@dataclass(frozen=True)
class Shards:
    """A directory of Parquet shards, one a finished task, and the manifest that says of which grid.

    Attributes
    ----------
    folder : Path
    about : dict
        The manifest: ``identity`` of the grid, how many ``tasks`` it has, and whatever else the writer put down.
    """

    folder: Path
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> Shards:
        """An existing directory, to read; one of another version is refused."""
        folder = Path(folder)
        about = _manifest(folder)
        if about is None:
            raise InputError(f"{folder}: no {MANIFEST} (expected the results directory of a sweep)")
        return cls(folder, about)

    @classmethod
    @contextlib.contextmanager
    def writing(cls, folder: str | Path, about: dict[str, Any]) -> Iterator[Shards]:
        """A directory to write into, new or begun, locked until the end of the block.

        The operating system holds the lock, and lets go of it when the process ends, however it ends.

        Parameters
        ----------
        folder : str or Path
            Its parent exists.
        about : dict
            The manifest of a new directory. Of one that was begun, ``identity`` must agree, and the rest is as it was.

        Raises
        ------
        InputError
            If it cannot be written, belongs to another grid, or another process is writing into it.
        """
        from filelock import FileLock, Timeout

        folder = Path(folder)
        with _said(folder):
            folder.mkdir(exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        with _said(folder):
            try:
                lock.acquire()
            except Timeout:  # a kind of OSError
                raise InputError(f"{folder}: another sweep is writing into it (expected one at a time)") from None
        try:
            check_same(folder, about["identity"])
            shards = cls(folder, _manifest(folder) or about)
            writing.clear(folder)
            if not (folder / MANIFEST).exists():
                manifest = {"format": FORMAT, "seal": _seal(about)} | about
                shards._write(MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
            yield shards
        finally:
            lock.release()

    def done(self) -> set[int]:
        """Numbers of the tasks that have their shard, whether it is as it was written or not."""
        names = (re.fullmatch(r"shard-([0-9]{8,})\.parquet", path.name) for path in self.folder.glob("shard-*"))
        return {int(name[1]) for name in names if name and int(name[1]) < self.about.get("tasks", math.inf)}

    def damaged(self) -> set[int]:
        """Numbers of the tasks whose shard is not as it was written."""
        return {task for task in self.done() if self._problem(task)}

    def remove(self, task: int) -> None:
        """Take a task's shard away, so that it counts as not done."""
        with _said(self.folder):
            (self.folder / self._name(task)).unlink()

    def write(self, task: int, table: pa.Table) -> None:
        """Keep one task's table: aside, to the disk, then renamed."""
        self._write(self._name(task), sealed.packed(table, self._where(task)))

    def read(self, task: int) -> pa.Table:
        """One task's table, or `InputError` if it is damaged."""
        self._check(task)
        return sealed.unpacked(sealed.contents(self.folder / self._name(task)), self._where(task))

    def dataset(self) -> ds.Dataset:
        """All shards as one data set, in order of task, each found to be as it was written; nothing else is read yet.

        Raises
        ------
        InputError
            If no task is done yet, or a shard is damaged.
        """
        import pyarrow.dataset as ds

        tasks = sorted(self.done())
        if not tasks:
            raise InputError(f"{self.folder}: no task is done yet (expected at least one)")
        for task in tasks:
            self._check(task)
        scan = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
        kind = ds.ParquetFileFormat(default_fragment_scan_options=scan)
        return ds.dataset([str(self.folder / self._name(task)) for task in tasks], format=kind)

    def frame(self, columns: list[str] | None = None, where: Any = None) -> pd.DataFrame:
        """Rows of all shards that meet a condition (`pyarrow.dataset.Expression`), as a data frame."""
        return self.dataset().to_table(columns=columns, filter=where).to_pandas()

    def failed(self) -> pd.DataFrame:
        """The rows that have an error."""
        import pyarrow.dataset as ds

        return self.frame(where=ds.field("error").is_valid())

    def _name(self, task: int) -> str:
        return f"shard-{task:08d}.parquet"

    def _where(self, task: int) -> str:
        return f"{self.about['identity']} {task}"

    def _problem(self, task: int) -> str:
        """What is wrong with a task's shard, if anything is."""
        try:
            whole = sealed.is_whole(sealed.contents(self.folder / self._name(task)), self._where(task))
        except OSError as problem:
            return os.strerror(problem.errno) if problem.errno else str(problem)
        return "" if whole else "not as it was written"

    def _check(self, task: int) -> None:
        if problem := self._problem(task):
            raise InputError(
                f"{self.folder / self._name(task)}: damaged ({problem}; expected a shard of this sweep, which runs a "
                "damaged one again)"
            )

    def _write(self, name: str, content: bytes) -> None:
        try:
            writing.write(self.folder / name, content)
        except InputError as problem:  # of all places, the folder is the one that the user named
            raise InputError(f"{self.folder}{str(problem).removeprefix(str(self.folder / name))}") from None


def check_same(folder: Path, identity: str) -> bool:
    """Whether a directory has results of a grid; with those of another one it is refused."""
    about = _manifest(folder)
    if about is None and any(folder.glob("*.parquet")):
        raise InputError(f"{folder}: Parquet files without a {MANIFEST} (expected a new directory, or a sweep's)")
    if about is not None and about["identity"] != identity:
        raise InputError(f"{folder}: the results of another grid (expected a new directory, or this grid's)")
    return about is not None


def _manifest(folder: Path) -> dict[str, Any] | None:
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(about["identity"], str):
            raise ValueError("no identity")
        found, seal = about.pop("format", 1), about.pop("seal", None)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(f"{path}: not the manifest of a sweep ({problem})") from None
    check_format(f"{folder}: a sweep", found, FORMAT)
    if seal != _seal(about):
        raise InputError(f"{path}: damaged (expected the manifest of a sweep as it was written)")
    return about


def _seal(about: dict[str, Any]) -> str:
    """A digest of what a manifest says."""
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


@contextlib.contextmanager
def _said(folder: Path) -> Iterator[None]:
    """An error of the disk as a sentence."""
    try:
        yield
    except OSError as problem:
        why = os.strerror(problem.errno) if problem.errno else problem
        raise InputError(f"{folder}: cannot be written ({why})") from None
