"""CPU time of rival ways to do one thing: taken in turn, compared within each round."""

from __future__ import annotations

import gc
import importlib
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ("case", "requests", "engine", "ns_per_request", "ratio_to", "ratio")


def compare(
    case: str, ways: Mapping[str, tuple[int, Callable[[], Any]]], ratio_to: Mapping[str, str], rounds: int = 5
) -> pd.DataFrame:
    """Time rivals side by side.

    Parameters
    ----------
    case : str
        What they all do.
    ways : mapping of str to (int, callable)
        By engine: how many requests a call serves, and the call. Each is called once to warm up.
    ratio_to : mapping of str to str
        Against which other engine an engine's time a request is divided.
    rounds : int
        Each round runs every way once, in turn, so that a slow moment of the machine meets all of them.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`: the median CPU time a request over the rounds, and the median of the rounds' ratios.
    """
    spent = {name: np.empty(rounds) for name in ways}
    for _, call in ways.values():
        call()
    for turn in range(rounds):
        for name, (requests, call) in ways.items():
            gc.collect()
            start_s = _cpu_s()
            call()
            spent[name][turn] = (_cpu_s() - start_s) / requests
    rows = []
    for name, (requests, _) in ways.items():
        base = ratio_to.get(name, "")
        ratio = float(np.median(spent[name] / spent[base])) if base else np.nan
        rows.append((case, requests, name, 1e9 * float(np.median(spent[name])), base, ratio))
    return pd.DataFrame(rows, columns=COLUMNS)


def _cpu_s() -> float:
    """CPU time of this process and of the children that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def memory_bytes(module: str, requests: int) -> float:
    """Bytes a request at the peak of a fresh process that runs a module's `whole_run` with so many requests."""
    command = [sys.executable, "-m", __name__, module, str(requests)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak_bytes() -> int:
    """Of this process alone: what getrusage says includes its parent's."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


if __name__ == "__main__":
    _run, _requests = importlib.import_module(sys.argv[1]).whole_run, int(sys.argv[2])
    _run(1000)  # what is loaded once does not count
    _before = _peak_bytes()
    _run(_requests)
    print((_peak_bytes() - _before) / _requests)
