"""Where a model is measured: the device that is there, its name and setting, and the libraries that drive it.

Below `measure`. torch and transformers load on first use, told to stay off the network.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simlib.checks import InputError, check_choice, check_integer

DEVICES = ("auto", "cuda", "mps", "cpu")
DTYPES = {"cuda": "bfloat16", "mps": "float16", "cpu": "float32"}  # what `auto` is, by device


@dataclass(frozen=True, slots=True)
class Host:
    """Where a model runs: device, dtype, and the name and setting of the hardware."""

    device: str
    dtype: str
    device_name: str
    power_limit: str
    threads: int

    @classmethod
    def find(cls, device: str = "auto", dtype: str = "auto", threads: int | None = None) -> Host:
        """The device that is there (CUDA, else Apple's, else the processor), or the one named.

        Raises
        ------
        InputError
            If the device named is not there, or torch is not installed.
        """
        torch, _ = libraries()
        check_choice("device", device, DEVICES)
        present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        chosen = next(name for name, there in present.items() if there) if device == "auto" else device
        if not present[chosen]:
            raise InputError(
                f"device: {chosen} (expected one that is here: {', '.join(n for n in present if present[n])})"
            )
        check_choice("dtype", dtype, ("auto", *DTYPES.values()))
        if threads is not None:
            torch.set_num_threads(check_integer("threads", threads, 1))
        name = torch.cuda.get_device_name() if chosen == "cuda" else _processor()
        kind = DTYPES[chosen] if dtype == "auto" else dtype
        limit = (
            _power_limit(torch.cuda.get_device_properties(torch.cuda.current_device())) if chosen == "cuda" else "none"
        )
        return cls(chosen, kind, name, limit, torch.get_num_threads())

    def synchronise(self) -> None:
        """Wait until the device has done what it was given."""
        torch, _ = libraries()
        if self.device != "cpu":
            getattr(torch, self.device).synchronize()

    def free(self) -> None:
        """Give cached memory back, after the device ran out of it."""
        torch, _ = libraries()
        if self.device != "cpu":
            getattr(torch, self.device).empty_cache()


@functools.cache
def libraries() -> tuple[Any, Any]:
    """torch and transformers, told to stay off the network."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import torch
        import transformers
    except ImportError as problem:
        raise InputError(f"{problem.name}: not installed (expected `pip install torch transformers`)") from None
    return torch, transformers


def _processor() -> str:
    """The processor's name, which on Apple's machines is the accelerator's too."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    said = _said("sysctl", "-n", "machdep.cpu.brand_string") if platform.system() == "Darwin" else ""
    return said or platform.processor() or platform.machine()


def _power_limit(device: Any) -> str:
    """Of the device in use, which is not the driver's first one where ``CUDA_VISIBLE_DEVICES`` hides some."""
    uuid = getattr(device, "uuid", None)
    which = () if uuid is None else (f"--id=GPU-{uuid}",)
    return _said("nvidia-smi", *which, "--query-gpu=power.limit", "--format=csv,noheader") or "unknown"


def _said(*command: str) -> str:
    """The first line that a program prints; nothing where it fails or is not there."""
    try:
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return printed.strip().partition("\n")[0].strip()
