"""What is installed without the checkout: `simlib`, the data that it reads, and nothing of the book."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
USE = """
import simlib, sys
from simlib import datasets, levels
from simlib.calibration import cards
from simlib.cli import main
from simlib.latency import presets
from simlib.requests import azure, burstgpt

assert simlib.__file__.startswith(sys.argv[1]), simlib.__file__
levels.claims(), burstgpt.Population.read(), azure.azure_like(10), cards.preset(presets.names()[-1])
assert main(["simulate", str(datasets.sample()), "--policy", "static_fifo", "--out", "run.csv"]) == 0
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that the checkout stays as it is."""
    pytest.importorskip("setuptools", minversion="77", reason="needs setuptools, which builds the wheel")
    copy = tmp_path_factory.mktemp("copy")
    for name in ("simlib", "book", "data", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    subprocess.run([sys.executable, "-c", BUILD, str(copy / "dist")], cwd=copy, check=True, capture_output=True)
    (file,) = (copy / "dist").glob("*.whl")
    return file


def test_a_wheel_holds_every_module_of_simlib_and_nothing_else(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "simlib").rglob("*.py")}
    assert {name for name in held if not name.startswith("simlib/data/")} == modules
    assert "simlib/data/README.md" in held  # the data's sources and licences


def test_it_works_where_there_is_no_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", USE, str(tmp_path)], cwd=tmp_path, env=environment, check=True)


def test_a_checkout_offers_the_book_to_its_notebooks_wherever_they_are(tmp_path):
    subprocess.run([sys.executable, "-c", "import simlib, book.kit, book.chapters"], cwd=tmp_path, check=True)
