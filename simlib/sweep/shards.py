"""A results directory that survives: shards written aside and renamed, one writer at a time, one grid.

Knows tables, not simulations: `run` gives it a table for each numbered task. What is there is whole, so that whoever
begins again needs only the names of the files. Nothing is merged on disk; readers see one data set.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simlib.checks import InputError, check_format
from simlib.lazy import pd

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds


MANIFEST, LOCK, FORMAT = "manifest.json", "sweep.lock", 2


@dataclass(frozen=True)
class Shards:
    """A directory of Parquet shards, one a finished task, and the manifest that says of which grid.

    Attributes
    ----------
    folder : Path
    about : dict
        The manifest: ``identity`` of the grid, and whatever else the writer put down.
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
            for left in folder.glob("*.part"):  # of a writer that was killed
                left.unlink(missing_ok=True)
            if not (folder / MANIFEST).exists():
                manifest = json.dumps({"format": FORMAT} | about, indent=2) + "\n"
                shards._write(MANIFEST, lambda path: path.write_text(manifest))
            yield shards
        finally:
            lock.release()

    def done(self) -> set[int]:
        """Numbers of the tasks that have their shard."""
        return {int(path.stem.removeprefix("shard-")) for path in self.folder.glob("shard-*.parquet")}

    def write(self, task: int, table: pa.Table) -> None:
        """Keep one task's table: aside, to the disk, then renamed."""
        import pyarrow.parquet as pq

        self._write(self._name(task), lambda path: pq.write_table(table, path))

    def read(self, task: int) -> pa.Table:
        """One task's table."""
        import pyarrow.parquet as pq

        return pq.read_table(self.folder / self._name(task))

    def dataset(self) -> ds.Dataset:
        """All shards as one data set, in order of task; nothing is read yet."""
        import pyarrow.dataset as ds

        if not self.done():
            raise InputError(f"{self.folder}: no task is done yet (expected at least one)")
        return ds.dataset([str(self.folder / self._name(task)) for task in sorted(self.done())], format="parquet")

    def frame(self, columns: list[str] | None = None, where: Any = None) -> pd.DataFrame:
        """Rows of all shards that meet a condition (`pyarrow.dataset.Expression`), as a data frame."""
        return self.dataset().to_table(columns=columns, filter=where).to_pandas()

    def failed(self) -> pd.DataFrame:
        """The rows that have an error."""
        import pyarrow.dataset as ds

        return self.frame(where=ds.field("error").is_valid())

    def _name(self, task: int) -> str:
        return f"shard-{task:08d}.parquet"

    def _write(self, name: str, write: Any) -> None:
        aside = self.folder / f"{name}.part"
        with _said(self.folder):
            try:
                write(aside)
                with aside.open("rb+") as file:
                    os.fsync(file.fileno())  # before the name, or a power cut could leave the name alone
                os.replace(aside, self.folder / name)
            except BaseException:
                with contextlib.suppress(OSError):
                    aside.unlink(missing_ok=True)
                raise


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
        found = about.pop("format", 1)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(f"{path}: not the manifest of a sweep ({problem})") from None
    check_format(f"{folder}: a sweep", found, FORMAT)
    return about


@contextlib.contextmanager
def _said(folder: Path) -> Iterator[None]:
    """An error of the disk as a sentence."""
    try:
        yield
    except OSError as problem:
        why = os.strerror(problem.errno) if problem.errno else problem
        raise InputError(f"{folder}: cannot be written ({why})") from None
