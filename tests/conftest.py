"""Shared fixtures: where the data that is not in the repository lies; a browser."""

import os
from pathlib import Path

import pytest
from browser import chromium


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that SIMLIB_DATA_DIR names; what needs it is skipped, by name, where it is not set."""
    folder = os.environ.get("SIMLIB_DATA_DIR")
    if not folder:
        pytest.skip("needs the shared data: SIMLIB_DATA_DIR is not set")
    return Path(folder)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium for the tests of a file, which are skipped where there is none."""
    with chromium() as running:
        yield running
