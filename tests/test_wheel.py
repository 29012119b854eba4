"""What is installed: without the checkout `simlib`, its data and its needs; with it what the lock says."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


@pytest.fixture(scope="module")
def alone(wheel, tmp_path_factory) -> Path:
    """The commands of an environment that has the wheel, links to what it declares to need, and nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (own,) = packages.glob("llm_batching_book-*.dist-info")
    packs, linked = [importlib.metadata.Distribution.at(own)], set()
    while packs:
        needed = map(Requirement, packs.pop().requires or ())
        for name in {each.name for each in needed if not each.marker or each.marker.evaluate({"extra": ""})} - linked:
            linked.add(name)
            packs.append(importlib.metadata.distribution(name))
            for part in {file.parts[0] for file in packs[-1].files} - {"..", "__pycache__"}:
                (packages / part).symlink_to(packs[-1].locate_file(part))
    return folder / "bin"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--version"], 0, "simlib 0."),
        (["presets", "h100"], 0, "h100-vllm-llama3-8b"),
        (["simulate", "TABLE", "--policy", "static_fifo"], 0, "latency"),
        (["compare", "--level", "1", "--replications", "2", "--requests", "50"], 0, "Verdict"),
        (["sweep", "GRID", "--out", "swept"], 0, "2 runs"),
        (["plan", "--rate", "3", "--report", "plan.html", "--sla", "ttft_p99<=1"], 2, "needs matplotlib"),
        (["fetch", "burstgpt"], 2, "needs pooch"),
    ],
)  # fmt: skip
def test_its_command_needs_no_more_than_it_declares(alone, tmp_path, words, code, said):
    (tmp_path / "TABLE").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n0.5,20,7\n")
    (tmp_path / "GRID").write_text(
        "vary: {policy.k_bins: [1, 2]}\nreplications: 1\nworkload: {kind: original, requests: 20}\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SIMLIB_DATA_DIR")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path)}
    run = subprocess.run([alone / "simlib", *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == code, run.stderr
    assert said in run.stdout + run.stderr


def test_a_checkout_offers_the_book_to_its_notebooks_wherever_they_are(tmp_path):
    subprocess.run([sys.executable, "-c", "import simlib, book.kit, book.chapters"], cwd=tmp_path, check=True)


def applies(pin: Requirement) -> bool:
    """Whether it is for a machine such as this one."""
    return pin.marker is None or pin.marker.evaluate()


def test_the_lock_has_hashes_of_all_that_is_required_but_torch():
    locked = (ROOT / "requirements.lock").read_text().replace("\\\n", "").splitlines()
    pins = {Requirement(line.partition(" --hash")[0].strip()) for line in locked}
    assert len(pins) > 200 and all(re.search(r" --hash=sha256:[0-9a-f]{64}\b", line) for line in locked)
    wanted = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    named = {canonicalize_name(pin.name): str(pin.specifier) for pin in pins if applies(pin)}
    missing = [
        one
        for one in filter(applies, map(Requirement, filter(None, wanted)))
        if named.get(canonicalize_name(one.name)) != str(one.specifier)
    ]
    assert [pin.name for pin in missing] == ["torch"]  # its builds differ by index


def test_what_simlib_imports_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    homes = importlib.metadata.packages_distributions()
    imported = set()
    for path in (ROOT / "simlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            imported |= {name.partition(".")[0] for name in names}
    strangers = imported - sys.stdlib_module_names - {"simlib", "vllm"}  # an engine that is asked is there already
    assert len(strangers) > 8
    assert sorted(name for name in strangers if not {*map(canonicalize_name, homes.get(name, [name]))} & declared) == []
