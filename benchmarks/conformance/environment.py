"""vLLM's environment, apart from the project's: 3.4 GB, made where it is not yet."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

import platformdirs

HERE = Path(__file__).resolve().parent


def environment() -> Path:
    """The Python of vLLM's environment, which is made if it is not there."""
    asked = os.environ.get("CONFORMANCE_ENV")
    folder = Path(asked) if asked else platformdirs.user_cache_path("simlib") / "vllm"
    python, wanted = folder / "bin" / "python", (HERE / "requirements.txt").read_text()
    done = folder / "installed.txt"
    if not done.is_file() or done.read_text() != wanted:
        print(f"making an environment for vLLM in {folder} (some 3.4 GB) …", flush=True)
        venv.create(folder, with_pip=True)
        install = [python, "-m", "pip", "install", "-q", "--no-deps", "-r", HERE / "requirements.txt"]
        subprocess.run(install, check=True)
        done.write_text(wanted)
    return python
