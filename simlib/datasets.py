"""Where data lies that is not in the repository: found in a named folder or the user's cache, fetched and verified.

Beside `traces`, which reads what is found here. The folder is named by the variable ``SIMLIB_DATA_DIR``; the cache has
the same layout. What was fetched is known by its SHA-256.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from simlib.checks import InputError, check_choice, check_type

VARIABLE = "SIMLIB_DATA_DIR"
SAMPLE_ROWS = 400
# Seconds to connect (each address of the host is tried), and between two pieces of the file.
TIMEOUT_S = (3.0, 30.0)
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Download:
    """A file that can be fetched: where it comes from, where it is put, and what tells that it is the right one."""

    url: str
    file: str
    sha256: str
    size_bytes: int


DOWNLOADS = {
    # The first two months of BurstGPT, 1,429,737 rows; CC-BY-4.0. The repository stores it with Git LFS, so that its
    # plain address gives a pointer only.
    "burstgpt": Download(
        url="https://media.githubusercontent.com/media/HPMLL/BurstGPT/main/data/BurstGPT_1.csv",
        file="burstgpt/BurstGPT_1.csv",
        sha256="4bb3783693d0a435686fbfc885615d2349bd067239079fa4b749f2e679e12122",
        size_bytes=52_283_111,
    )
}


def sample() -> Path:
    """The path of the 400 real BurstGPT rows that the repository ships.

    Raises
    ------
    InputError
        If the repository's data folder is not beside the package.

    Examples
    --------
    >>> sample().name
    'BurstGPT_sample.csv'
    """
    return shipped("BurstGPT_sample.csv")


def committed(name: str) -> Path:
    """The path of a table under ``data/results`` by its name, as `make results` or `make bench` left it."""
    return shipped(f"results/{name}.csv")


def shipped(name: str) -> Path:
    """The path of a file of the repository's ``data`` folder, of which an installed package has a copy.

    Raises
    ------
    InputError
        If it is in neither.
    """
    package = Path(__file__).resolve().parent
    found = [file for folder in (package, package.parent) if (file := folder / "data" / name).is_file()]
    if not found:
        raise InputError(f"data/{name}: not found (expected simlib installed, or in a checkout of its repository)")
    return found[0]


def locate(name: str) -> Path:
    """Find a file or a folder of data, in the folder that ``SIMLIB_DATA_DIR`` names, else in the user's cache.

    Parameters
    ----------
    name : str
        Path below either folder, for example ``azure-llm-2023/AzureLLMInferenceTrace_conv.csv.gz``.

    Raises
    ------
    InputError
        If it is in neither; the message has the command that gets it.
    """
    check_type("name", name, str, "the name of a data file, such as burstgpt/BurstGPT_1.csv")
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or "\0" in name:
        raise InputError(f"name: {name!r} (expected a path below the data folder, such as burstgpt/BurstGPT_1.csv)")
    for folder in _folders():
        if os.path.exists(folder / name):
            return folder / name
    fetchable = [key for key, download in DOWNLOADS.items() if name in (download.file, str(Path(download.file).parent))]
    remedy = f"`simlib fetch {fetchable[0]}`, or " if fetchable else ""
    raise InputError(f"{name}: not found (expected {remedy}{VARIABLE} set to a folder that holds it)")


def find_full_burstgpt() -> Path | None:
    """The path of the full BurstGPT_1.csv, gzipped or not, or None where there is no copy with the right SHA-256.

    Raises
    ------
    InputError
        If ``SIMLIB_DATA_DIR`` is set to something that is not a folder.
    """
    download = DOWNLOADS["burstgpt"]
    for folder in _folders():
        for file in (folder / download.file, folder / f"{download.file}.gz"):
            if _is_genuine(file, download):
                return file
    return None


def fetch(name: str, *, progress: bool = True) -> Path:
    """Download a data set into the user's cache, once, and verify it.

    Parameters
    ----------
    name : str
        A key of `DOWNLOADS`.
    progress : bool
        Whether a progress bar is drawn on standard error.

    Returns
    -------
    Path
        The verified file. One that is there already and genuine is not downloaded again.

    Raises
    ------
    InputError
        If there is no network, the server refuses, the disk cannot take the file, or what came is not the file that
        was expected. Nothing is kept then.
    """
    download = DOWNLOADS[check_choice("name", name, DOWNLOADS)]
    check_type("progress", progress, bool, "True or False")
    target = _cache() / download.file
    if _is_genuine(target, download):
        return target
    try:
        import pooch
    except ImportError:
        raise InputError(
            f"{name}: to fetch it needs pooch (expected `pip install 'llm-batching-book[fetch]'`)"
        ) from None
    downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=CHUNK_BYTES, timeout=TIMEOUT_S)
    # Its notes on where it downloads to are not ours to print.
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(download.url, f"sha256:{download.sha256}", target.name, target.parent, downloader=downloader)
    except ValueError:
        host = urlsplit(download.url).netloc
        raise InputError(
            f"{name}: what {host} sent has another SHA-256 (expected {download.sha256}); nothing was kept"
        ) from None
    except OSError as error:  # requests' errors are among these
        raise InputError(
            f"{name}: not downloaded from {urlsplit(download.url).netloc}, {_reason(error)} (expected a network and "
            f"room in the cache; or put the file under {VARIABLE} as {download.file})"
        ) from None
    return target


def _folders() -> list[Path]:
    """Where data is looked for, in order."""
    named = os.environ.get(VARIABLE)
    if not named:
        return [_cache()]
    if not os.path.isdir(named):
        raise InputError(f"{VARIABLE}: {named!r} (expected a folder)")
    return [Path(named), _cache()]


def _cache() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("simlib")


def _is_genuine(file: Path, download: Download) -> bool:
    """Whether the file is the one that is fetched; a Git LFS pointer or a cut copy is not."""
    packed = file.suffix == ".gz"
    if not file.is_file() or (not packed and file.stat().st_size != download.size_bytes):
        return False
    try:
        with gzip.open(file) if packed else file.open("rb") as stream:
            return hashlib.file_digest(cast(BinaryIO, stream), "sha256").hexdigest() == download.sha256
    except (OSError, EOFError, zlib.error):
        return False


def _reason(error: OSError) -> str:
    """Why a download failed, in a few words; the library's own text runs over lines and names its objects."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"status {response.status_code}"
    words = {"ConnectTimeout": "no answer", "ReadTimeout": "no answer", "ConnectionError": "no connection"}
    name = type(error).__name__
    return words.get(name, error.strerror or name)
