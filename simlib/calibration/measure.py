"""Measure a causal language model: prefill and decode times over a grid of batches, prompts and outputs.

Writes the CSV that `measurements` reads, row by row, and goes on where it ends. Static batches, as transformers runs
them; what a serving engine does at each step is `engine_benchmarks`'s. torch and transformers load on first use, and
never reach for a network.
"""

from __future__ import annotations

import datetime
import inspect
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib import writing
from simlib.calibration.host import Host, libraries
from simlib.checks import InputError, check_choice, check_each, check_integer, check_type
from simlib.latency.measurements import COLUMNS, KEYS, Measurements, read, read_header, read_rows

if TYPE_CHECKING:
    import torch


STOP_S = 2.0  # a second interrupt within this time ends the measurement
WARM_UP_TOKENS = 2  # generated once a shape before its first measurement: kernels are chosen, caches are filled
TOKENS_A_STEP = 64  # prompt tokens that count as one decode step in the estimate of the time left

# Models with random weights, built from a config: time depends on shapes, hardly on values.
_QWEN3 = {"model_type": "qwen3", "head_dim": 64, "tie_word_embeddings": True}
RANDOM_MODELS: Mapping[str, Mapping[str, Any]] = {
    "random:qwen3-10m": _QWEN3
    | {"hidden_size": 320, "num_hidden_layers": 6, "num_attention_heads": 5, "num_key_value_heads": 1}
    | {"intermediate_size": 960, "vocab_size": 8192, "max_position_embeddings": 4096},
    "random:gpt2-18m": {"model_type": "gpt2", "n_embd": 384, "n_layer": 8, "n_head": 6, "vocab_size": 8192}
    | {"n_positions": 2048, "bos_token_id": 0, "eos_token_id": 0},
    "random:qwen3-1.7b": _QWEN3
    | {"hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8}
    | {"head_dim": 128, "intermediate_size": 6144, "vocab_size": 151936, "max_position_embeddings": 40960},
    "random:llama3-8b": {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32}
    | {"num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256}
    | {"max_position_embeddings": 8192, "rope_theta": 500000.0},
}


@dataclass(frozen=True, slots=True)
class ShapeGrid:
    """What is measured: every batch size with every prompt with every output, so many times.

    Parameters
    ----------
    batch_sizes, prompt_tokens, output_tokens : sequence of int
        Sequences in a batch (at least two different sizes, or no model of time could tell what company costs); prompt
        tokens of each; marks at which a generation's time is read, of which the largest is its length.
    trials : int
        Repetitions, >= 1. Each goes through the whole grid, in an order of its own, before the next begins, so that a
        machine that slows down does not pass for a slow shape.

    Examples
    --------
    >>> [shape for repetition, *shape in ShapeGrid((1, 2), (16,), (1, 8), 1).batches()]
    [[1, 16], [2, 16]]
    """

    batch_sizes: Sequence[int]
    prompt_tokens: Sequence[int]
    output_tokens: Sequence[int]
    trials: int = 3

    def __post_init__(self) -> None:
        for name in ("batch_sizes", "prompt_tokens", "output_tokens"):
            values = check_each(name, getattr(self, name), lambda value, name=name: check_integer(name, value, 1))
            object.__setattr__(self, name, tuple(sorted(set(values))))
        check_integer("trials", self.trials, 1)
        if len(self.batch_sizes) < 2:
            raise InputError(f"batch_sizes: {self.batch_sizes[0]} (expected at least 2 different sizes)")

    def batches(self) -> Iterator[tuple[int, int, int]]:
        """Repetition, batch size and prompt of every batch, in the order in which they are measured."""
        shapes = [(size, prompt) for size in self.batch_sizes for prompt in self.prompt_tokens]
        for repetition in range(self.trials):
            for index in np.random.default_rng(repetition).permutation(len(shapes)):
                yield repetition, *shapes[index]


GRIDS = {
    "cpu": ShapeGrid((1, 2, 4, 8), (16, 64, 128), (1, 8, 24)),
    "cuda": ShapeGrid((1, 4, 16, 64), (128, 512, 2048), (1, 16, 64, 128)),
    "mps": ShapeGrid((1, 2, 4, 8), (64, 256, 1024), (1, 16, 64)),
}


def load(model: str, host: Host, seed: int = 0) -> Any:
    """A causal language model, ready to run on the host.

    Parameters
    ----------
    model : str
        A name in `RANDOM_MODELS` (built from a config, with random weights of that seed), a folder, or a model of the
        local cache. Nothing is downloaded.

    Raises
    ------
    InputError
        If the model is not on this machine; the message says how to get it.
    """
    torch, transformers = libraries()
    check_type("model", model, str, "a model's name or folder")
    dtype = getattr(torch, host.dtype)
    if model.startswith("random:"):
        config = dict(RANDOM_MODELS[check_choice("model", model, RANDOM_MODELS)])
        torch.manual_seed(seed)
        with torch.device(host.device):
            built = transformers.AutoModelForCausalLM.from_config(
                transformers.AutoConfig.for_model(**config), dtype=dtype
            )
        return built.eval()
    try:
        found = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=dtype, local_files_only=True)
    except (OSError, ValueError) as problem:
        if Path(model).is_dir():
            raise InputError(f"model {model}: cannot be loaded ({str(problem).splitlines()[0]})") from None
        raise InputError(
            f"model {model}: not on this machine (expected a folder, or a model in the local cache, where "
            f"`hf download {model}` puts it; without a network: {', '.join(RANDOM_MODELS)})"
        ) from None
    return found.to(host.device).eval()


def generate(
    model: Any, prompts: Sequence[torch.Tensor], output_tokens: int, synchronise: Any = None
) -> Iterator[tuple[int, torch.Tensor, float]]:
    """Generate greedily, to the length asked for and no other, and time every token.

    Parameters
    ----------
    model : torch module
        A causal language model that keeps a KV cache.
    prompts : sequence of tensor of int, shape (any,)
        Token numbers; shorter prompts are padded on the left, out of the attention's sight.
    output_tokens : int
        Tokens to generate of each, >= 1. An end-of-sequence token does not end it.
    synchronise : callable
        Called before the clock is read; none on the processor.

    Yields
    ------
    tuple of int, tensor and float
        Tokens generated so far, the last ones (shape (batch, 1)), and seconds since the start; the first is prefill.

    Examples
    --------
    >>> host = Host.find("cpu")
    >>> prompts = [libraries()[0].tensor([5, 6, 7])]
    >>> [count for count, token, elapsed_s in generate(load("random:qwen3-10m", host), prompts, 3)]
    [1, 2, 3]
    """
    torch, _ = libraries()
    wait = synchronise or (lambda: None)
    known = inspect.signature(model.forward).parameters
    longest = max(len(prompt) for prompt in prompts)
    rows = len(prompts)
    tokens = torch.zeros(rows, longest, dtype=torch.long)
    # One mask for the whole generation, so that no step allocates a new one.
    mask = torch.ones(rows, longest + output_tokens, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = prompt
        mask[row, : longest - len(prompt)] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)  # where every device can: Apple's sums no integers on older systems
    tokens, mask, positions = (whole.to(model.device) for whole in (tokens, mask, positions))
    last = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
    cache, begin = None, 0
    wait()
    start_s = time.perf_counter()
    for count in range(1, output_tokens + 1):
        end = longest + count - 1
        placed = {"position_ids": positions[:, begin:end]} if "position_ids" in known else {}
        with torch.inference_mode():
            out = model(
                input_ids=tokens, attention_mask=mask[:, :end], past_key_values=cache, use_cache=True, **placed, **last
            )
            tokens = out.logits[:, -1:].argmax(-1)
        cache, begin = out.past_key_values, end
        wait()
        yield count, tokens, time.perf_counter() - start_s


def measure(
    model: str,
    output: str | Path,
    grid: ShapeGrid | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Measurements:
    """Measure a model over a grid into a CSV; what the CSV has already is not measured again.

    Parameters
    ----------
    model : str
        As for `load`.
    output : str or Path
        The CSV: new, or begun with the same model on the same host. Rows are appended as they come.
    grid : ShapeGrid
        What to measure (default: `GRIDS` of the device).
    device, dtype : str
        ``auto``, or one by name.
    threads : int
        Of the processor (default: torch's choice).
    seed : int
        Of random weights and prompts.
    progress : bool
        Whether a bar with the time left is drawn on standard error.

    Returns
    -------
    Measurements
        The whole file. Where memory ran out, or an interrupt came, the marks not reached have rows that say so, and the
        rest goes on; a second interrupt within two seconds ends it. A restart tries what was interrupted again, not
        what ran out of memory.

    Raises
    ------
    InputError
        If the model is not here, takes fewer tokens than the grid asks, or the file is of another measurement.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.csv"
    >>> measure("random:qwen3-10m", path, ShapeGrid((1, 2), (4,), (1, 2), trials=1), device="cpu").frame.shape
    (4, 8)
    """
    path = Path(check_type("output", output, (str, Path), "a path"))
    host = Host.find(device, dtype, threads)
    grid = GRIDS[host.device] if grid is None else check_type("grid", grid, ShapeGrid, "a ShapeGrid")
    check_integer("seed", seed, 0)
    built = load(model, host, seed)
    _check_room(built, grid)
    _open(path, _header(model, built, host, seed))
    todo = _todo(grid, path)
    with path.open("a", encoding="utf-8") as file, _bar(todo, progress) as bar:
        _measure_all(built, host, todo, seed, file, bar)
    return read(path)


def _measure_all(
    model: Any, host: Host, todo: Mapping[tuple[int, int, int], list[int]], seed: int, file: Any, bar: Any
) -> None:
    """Go through the batches; append the rows of each, whatever becomes of it, before the next begins."""
    warm: set[tuple[int, int]] = set()
    gone: set[tuple[int, int, int]] = set()
    interrupted_s = -np.inf
    for (repetition, size, prompt), marks in todo.items():
        bar.update(_work(size, prompt, marks))
        left = [mark for mark in marks if (size, prompt, mark) not in gone]
        if not left:
            continue
        rows, status, stop = [], "ok", False
        try:
            prompts = _prompts(model, size, prompt, seed)
            if (size, prompt) not in warm:
                for _ in generate(model, prompts, min(WARM_UP_TOKENS, left[-1]), host.synchronise):
                    pass
                warm.add((size, prompt))
            for row in _timed(generate(model, prompts, left[-1], host.synchronise), left):
                rows.append(row)
        except KeyboardInterrupt:
            status, stop, interrupted_s = "interrupted", time.monotonic() - interrupted_s < STOP_S, time.monotonic()
        except (MemoryError, RuntimeError) as problem:
            if not _is_out_of_memory(problem):
                raise
            status = "out_of_memory"
        lost = left[len(rows) :]
        rows += [(mark, f",,,{status}") for mark in lost]
        file.write("".join(f"{size},{prompt},{mark},{repetition},{times}\n" for mark, times in rows))
        file.flush()
        os.fsync(file.fileno())
        if status == "out_of_memory":
            gone |= {(size, prompt, mark) for mark in lost}
            host.free()
        if stop:
            raise KeyboardInterrupt


def _timed(steps: Iterable[tuple[int, Any, float]], marks: Sequence[int]) -> Iterator[tuple[int, str]]:
    """The marks as they are reached, with their times as a row spells them."""
    prefill_s = 0.0
    for count, _, elapsed_s in steps:
        prefill_s = elapsed_s if count == 1 else prefill_s
        if count in marks:
            yield count, f"{prefill_s:.9f},{elapsed_s - prefill_s:.9f},{elapsed_s:.9f},ok"


def _prompts(model: Any, size: int, prompt: int, seed: int) -> torch.Tensor:
    """Random tokens, the same for a shape in every repetition."""
    torch, _ = libraries()
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, model.config.get_text_config().vocab_size, (size, prompt), generator=source)


def _todo(grid: ShapeGrid, path: Path) -> dict[tuple[int, int, int], list[int]]:
    """The marks that the file lacks, by batch; what ran out of memory once is not tried again."""
    rows = read_rows(path)
    done = set(map(tuple, rows.loc[rows["status"] == "ok", list(KEYS)].to_numpy().tolist()))
    gone = set(map(tuple, rows.loc[rows["status"] == "out_of_memory", list(KEYS[:3])].to_numpy().tolist()))
    todo = {}
    for repetition, size, prompt in grid.batches():
        points = [(size, prompt, mark) for mark in grid.output_tokens]
        marks = [point[2] for point in points if (*point, repetition) not in done and point not in gone]
        if marks:
            todo[repetition, size, prompt] = marks
    return todo


def _open(path: Path, header: Mapping[str, str]) -> None:
    """Make the file, or check that it is of this measurement and cut a row half written."""
    if not path.exists():
        writing.write(path, "".join(f"# {k}: {v}\n" for k, v in header.items()) + ",".join(COLUMNS) + "\n")
        return
    found = read_header(path)
    for key, value in header.items():
        if key != "date" and found.get(key) != value:
            raise InputError(f"output {path}, {key}: {found.get(key)} (expected {value}, or a new file for it)")
    written = path.read_bytes()
    if not written.endswith(b"\n"):
        os.truncate(path, written.rfind(b"\n") + 1)


def _header(model_name: str, model: Any, host: Host, seed: int) -> dict[str, str]:
    torch, transformers = libraries()
    return {
        "model": model_name,
        "parameters": str(sum(weights.numel() for weights in model.parameters())),
        **{key: str(value) for key, value in asdict(host).items()},
        "attention": str(getattr(model.config, "_attn_implementation", "unknown")),
        "clock": "time.perf_counter after every step, once the device has done it",
        "warm_up": f"{WARM_UP_TOKENS} tokens, once a shape",
        "seed": str(seed),
        "versions": f"Python {platform.python_version()}; torch {torch.__version__}; transformers "
        f"{transformers.__version__}; CUDA {torch.version.cuda or 'none'}",
        "date": datetime.date.today().isoformat(),
    }


def _check_room(model: Any, grid: ShapeGrid) -> None:
    room = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    prompt, output = grid.prompt_tokens[-1], grid.output_tokens[-1]
    if room is not None and prompt + output > room:
        raise InputError(f"prompt_tokens {prompt} and output_tokens {output} (expected at most {room}, the model's)")


def _bar(todo: Mapping[tuple[int, int, int], list[int]], progress: bool) -> Any:
    from tqdm import tqdm

    total = sum(_work(size, prompt, marks) for (_, size, prompt), marks in todo.items())
    shown = "{desc} {percentage:3.0f} %, {elapsed} so far, {remaining} left"
    return tqdm(total=total, desc="measuring", bar_format=shown, disable=not progress)


def _work(size: int, prompt: int, marks: Sequence[int]) -> int:
    """A batch's share of the time, in steps: what the estimate of the time left counts."""
    return marks[-1] + size * prompt // TOKENS_A_STEP


def _is_out_of_memory(problem: BaseException) -> bool:
    said = str(problem).lower()
    return isinstance(problem, MemoryError) or any(
        words in said for words in ("out of memory", "not enough memory", "can't allocate memory")
    )
