"""A live JupyterLab, for tests that work in it as a reader does: on the loopback, with a token, in its own folders."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
IDLE = "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
RUN_ALL = "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"


@contextmanager
def jupyterlab(folder: Path, scratch: Path) -> Iterator[str]:
    """A server on `folder`; yields a pattern for a notebook's address. It is stopped, with its kernels, at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    kinds = ("CONFIG", "DATA", "RUNTIME")
    own = {f"JUPYTER_{kind}_DIR": str(scratch / kind.lower()) for kind in kinds} | {
        "IPYTHONDIR": str(scratch / "ipython")
    }
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    options += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    options += [
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    log = (scratch / "lab.log").open("w")
    environment = os.environ | own | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/api?token={token}", server)
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}"
    finally:
        server.terminate()
        server.wait(timeout=20)
        log.close()


def _wait_for(address: str, server: subprocess.Popen, patience_s: float = 60.0) -> None:
    until_s = time.monotonic() + patience_s
    while time.monotonic() < until_s and server.poll() is None:
        try:
            with urlopen(address, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not come up (exit code {server.poll()})")


def run_all(tab: Any, address: str) -> None:
    """Open a notebook and run its cells, once its kernel is idle."""
    tab.goto(address)
    tab.wait_for_function(IDLE, timeout=60_000)
    tab.evaluate(RUN_ALL)
