"""Engines that are asked themselves: the clock, whose law is known, with one step in flight and two; the processor."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from benchmarks.engine import server
from benchmarks.engine.loads import CLOCK_LAW
from benchmarks.engine.server import Settings
from simlib.calibration import engine_steps
from simlib.checks import InputError

ENGINES = {
    "clock": Settings(law=CLOCK_LAW),
    "clock-two-steps": Settings(law=CLOCK_LAW, two_steps=True),
    "cpu": Settings(),
}


def ask(name: str, out: Path, python: Path) -> None:
    """Time an engine's own steps into a CSV, by the script's path, in vLLM's environment; what is there is kept."""
    settings = ENGINES[name]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | server.environment_of(settings, Path(folder), server.version_of(python))
        words = [python, engine_steps.__file__, "--model", server.MODEL, "--dummy-weights", "--output", out.resolve()]
        words += ["--max-num-seqs", settings.max_seqs, "--token-budget", settings.token_budget, "--dtype", "float32"]
        words += ["--trials", 1 if settings.law else 3, "--set", f"block_size={server.BLOCK_TOKENS}"]
        words += ["--set", "worker_cls=clock.ClockWorker"] if settings.law else []
        done = subprocess.run(list(map(str, words)), env=environment, cwd=folder, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise InputError(f"steps of {name}: {server.last_line(done.stderr)}")
