"""Ask an engine itself how long its steps take: a designed experiment, in its own process, each step timed.

Needs nothing of simlib, so that it also runs by its path where only vLLM is: ``python engine_steps.py --model FOLDER
--output STEPS.csv``. What it writes is a CSV of single steps, in lines ``# key: value`` what was measured;
``simlib … --latency STEPS.csv`` fits the law of steps to it (`designed`), ``simlib calibrate --engine vllm`` shows its
card.

So many sequences that decode, of so many tokens of context each: that is a group. In a group every chunk of a prompt
joins a step in turn, in random order, and each is repeated; so are the groups. What a step was made of is taken from
what the scheduler sent, and its time is that spent in the engine's own ``step()`` since the last one's tokens came.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

GROUP, SHAPE = ("repetition", "sequences", "context"), ("decodes", "prefill_tokens", "context_tokens")
COLUMNS = (*GROUP, "chunk", *SHAPE, "step_s")
SEQUENCES, CONTEXTS, CHUNKS = (0, 1, 2, 4, 8, 16, 32, 64), (32, 128, 512, 2048), (16, 64, 256, 1024)
WARM_UP, EACH = 3, 3  # steps of a group before any counts; times that each chunk is measured in it
REPETITIONS, MINUTES = 3, 10.0
LEAST_REPETITIONS = 2  # that the time has to allow, or the grid is made smaller
ROOM = 64  # tokens that a sequence grows by, at most, while its group is measured
# Of vLLM's environment: a model of this machine, and of a processor's memory so many GiB for the cache.
DEFAULTS = {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_KVCACHE_SPACE": "2"}
OWN = "an argument of the engine's own, as in tensor_parallel_size=2; may be there several times"
FIRST_WORD = 10  # of random prompts, beyond what tokenizers keep for themselves


class NoEngine(ValueError):
    """The engine is not there, or does not start; one sentence."""


class Group(NamedTuple):
    """Sequences that decode, tokens of context of each, and chunks that join them, 0: none."""

    sequences: int
    context: int
    chunks: tuple[int, ...]

    @property
    def steps(self) -> int:
        """That are measured."""
        return EACH * len(self.chunks)


@dataclass(frozen=True)
class Limits:
    """What an engine can hold: sequences and tokens of a step, tokens of a sequence and of the cache."""

    max_seqs: int
    token_budget: int
    length: int
    kv_tokens: int


def design(limits: Limits, seconds_of: Any = None, most_s: float = math.inf) -> list[Group]:
    """The groups of a grid that an engine can hold; those that take longest are left out until the rest is in time.

    Parameters
    ----------
    limits : Limits
    seconds_of : callable
        Of a group, its estimated time.
    most_s : float
        Of all groups together, seconds.

    Examples
    --------
    >>> [group.chunks for group in design(Limits(2, 128, 256, 1024)) if group.context in (0, 128)]
    [(16, 64, 128), (0, 16, 64, 127)]
    """
    groups, seats = [], limits.max_seqs - 1  # a place is kept for the chunk
    for sequences, context in itertools.product(sorted({min(most, seats) for most in SEQUENCES}), CONTEXTS):
        if sequences == 0 and context != CONTEXTS[0]:
            continue
        filling = sequences * context // limits.token_budget  # steps in which the first to come decode already
        length = context + filling + ROOM
        if length > limits.length or (sequences + 1) * length > limits.kv_tokens:
            continue
        most = min(limits.token_budget - sequences, limits.length - 1)
        chunks = sorted({min(chunk, most) for chunk in CHUNKS})
        groups.append(Group(sequences, context if sequences else 0, (*((0,) if sequences else ()), *chunks)))
    while seconds_of is not None and len(groups) > 1 and sum(map(seconds_of, groups)) > most_s:
        groups.remove(max(groups, key=seconds_of))
    return groups


def in_order(groups: Sequence[Group], repetitions: int, seed: int) -> Iterator[tuple[int, Group]]:
    """Every group in every repetition, in an order of its own, so that a machine that slows down is no slow shape."""
    for repetition in range(repetitions):
        yield from ((repetition, group) for group in random.Random(seed + repetition).sample(groups, len(groups)))


class Vllm:
    """vLLM in this process, and a clock on its steps."""

    def __init__(self, model: str, dummy: bool, **settings: Any) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise NoEngine(
                "engine vllm: not in this environment (expected one that has it; where simlib is not beside it, its "
                f"Python runs {__file__} by its path)"
            )
        os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_NO_USAGE_STATS="1")
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        try:
            import vllm
            from vllm.engine.arg_utils import EngineArgs
            from vllm.v1.engine.llm_engine import LLMEngine

            asked = {name: value for name, value in settings.items() if value is not None}
            load = {"load_format": "dummy"} if dummy else {}
            plain = {"enable_prefix_caching": False, "disable_log_stats": True, "skip_tokenizer_init": True}
            arguments = EngineArgs(model=model, **plain, **load, **asked)
            self.engine = LLMEngine.from_engine_args(arguments)
        except Exception as problem:  # whatever it is that an engine cannot start with
            lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
            last = lines[-1] if lines else type(problem).__name__
            raise NoEngine(f"engine vllm, model {model}: does not start: {last}") from None
        self.version, self.config = vllm.__version__, self.engine.vllm_config
        self.words = self.config.model_config.get_vocab_size()
        self.prompts: dict[str, int] = {}  # tokens, by the engine's own names
        self.rows: list[tuple[int, int, int, float]] = []
        self.spent_s, self.ended, self.asked = 0.0, False, itertools.count()
        self.here: list[str] = []
        scheduler = self.engine.engine_core.engine_core.scheduler
        self.update, scheduler.update_from_output = scheduler.update_from_output, self._updated

    def limits(self) -> Limits:
        cache, scheduler = self.config.cache_config, self.config.scheduler_config
        return Limits(
            scheduler.max_num_seqs, scheduler.max_num_batched_tokens, self.config.model_config.max_model_len,
            cache.num_gpu_blocks * cache.block_size,
        )  # fmt: skip

    def about(self) -> dict[str, str]:
        """What is measured, for the file's head."""
        import torch

        model, limits = self.config.model_config, self.limits()
        cuda = torch.cuda.is_available()
        device = torch.cuda.get_device_name(0) if cuda else f"cpu, {torch.get_num_threads()} threads"
        return {
            "engine": f"vllm {self.version}", "model": str(model.model),
            "dtype": str(model.dtype).removeprefix("torch."), "device": device,
            "max_num_seqs": str(limits.max_seqs), "token_budget": str(limits.token_budget),
            "steps_in_flight": "2" if self.config.scheduler_config.async_scheduling else "1",
        }  # fmt: skip

    def add(self, tokens: int, output: int, source: random.Random) -> None:
        """A request of random words."""
        from vllm import SamplingParams

        prompt = {"prompt_token_ids": [source.randrange(FIRST_WORD, self.words) for _ in range(tokens)]}
        sampling = SamplingParams(max_tokens=output, ignore_eos=True, temperature=0.0, detokenize=False)
        self.here.append(f"request-{next(self.asked)}")
        self.engine.add_request(self.here[-1], prompt, sampling)

    def step(self) -> None:
        begin_s = time.perf_counter()
        self.engine.step()
        self.spent_s += time.perf_counter() - begin_s
        if self.ended:  # what follows the tokens in `step` is of that step, too
            *shape, step_s = self.rows[-1]
            self.rows[-1] = (*shape, step_s + self.spent_s)
            self.spent_s, self.ended = 0.0, False

    def _updated(self, sent: Any, output: Any) -> Any:
        """The scheduler is told what a step gave: of what the step was made, and what it took so far."""
        computed = {new.req_id: new.num_computed_tokens for new in sent.scheduled_new_reqs}
        self.prompts |= {new.req_id: len(new.prompt_token_ids) for new in sent.scheduled_new_reqs}
        running = sent.scheduled_cached_reqs
        computed |= dict(zip(running.req_ids, running.num_computed_tokens, strict=True))
        decodes = prefill = context = 0
        for name, count in sent.num_scheduled_tokens.items():
            if count == 1 and computed[name] >= self.prompts[name]:
                decodes, context = decodes + 1, context + computed[name] + 1
            else:
                prefill += count
        if sent.num_scheduled_tokens:
            self.rows.append((decodes, prefill, context, 0.0))
            self.ended = True
        return self.update(sent, output)

    def until(self, reached: Callable[[tuple], bool]) -> None:
        """Step until one ends that is as asked; RuntimeError if the engine has nothing to do any more."""
        while True:
            known = len(self.rows)
            self.step()
            if len(self.rows) > known and reached(self.rows[-1]):
                return
            if not self.engine.has_unfinished_requests():
                raise RuntimeError("the engine has no requests left")

    def empty(self) -> None:
        """Everybody leaves."""
        self.engine.abort_request(self.here)
        core = self.engine.engine_core.engine_core
        while core.scheduler.has_requests() or core.batch_queue:  # the latter of steps in flight, if two may be
            self.step()
        for of_this_group in (self.here, self.rows, self.prompts):
            of_this_group.clear()
        self.spent_s = 0.0

    def group(self, group: Group, seed: int) -> list[tuple]:
        """Measure a group: ``chunk`` and what a row says of its step."""
        source = random.Random(seed)
        found, joins = [], [chunk for chunk in group.chunks for _ in range(EACH)]
        source.shuffle(joins)
        for _ in range(group.sequences):
            self.add(group.context, self.limits().length - group.context, source)
        if group.sequences:
            self.until(lambda row: row[:2] == (group.sequences, 0))
        for chunk in [group.chunks[-1]] * WARM_UP + joins:
            if chunk:
                self.add(chunk, 1, source)
            self.until(lambda row, chunk=chunk: row[:2] == (group.sequences, chunk))
            found.append((chunk, *self.rows[-1]))
            if chunk and group.sequences:  # the next one begins from decodes alone
                self.until(lambda row: row[:2] == (group.sequences, 0))
        self.empty()
        return found[WARM_UP:]


def measure(
    model: str,
    output: str | Path,
    *,
    minutes: float = MINUTES,
    repetitions: int = REPETITIONS,
    seed: int = 0,
    dummy: bool = False,
    progress: bool = True,
    **settings: Any,
) -> bool:
    """Measure an engine's steps into a CSV; what the CSV has already is not measured again.

    Parameters
    ----------
    model : str
        A folder, or a model of the local cache; nothing is downloaded.
    output : str or Path
        The CSV: new, or begun with the same model and settings. Rows are appended a group at a time.
    minutes : float
        That it may take in this call, with the engine's start. Groups that would take longest are left out of a new
        file's grid, so that at least two repetitions are in time.
    repetitions, seed : int
        Of the whole grid; of prompts and order.
    dummy : bool
        Whether weights are random: time hardly depends on them, and a folder with a configuration is enough.
    progress : bool
        Whether a line with the time left is kept on standard error.
    settings
        The engine's own, such as ``max_num_seqs``, ``max_num_batched_tokens``, ``dtype``; None: its default.

    Returns
    -------
    bool
        Whether all was measured; if not, another call goes on.

    Raises
    ------
    NoEngine
        If vLLM is not in this environment, or does not start, with its own last line; or the file is of another
        measurement.
    """
    until_s, path = time.monotonic() + 60 * minutes, Path(output)
    head, done = read(path) if path.exists() else ({}, set())
    groups = [group_of(words) for words in head.get("grid", "").split()]
    if groups and not _left(groups, repetitions, seed, done):
        return True
    engine = Vllm(model, dummy, **settings)
    about = engine.about()
    for key, value in about.items():
        if head.get(key, value) != value:
            raise NoEngine(f"output {path}, {key}: {head[key]} (expected {value}, or a new file for it)")
    seconds_of = _warmed_up(engine)
    if not groups:
        groups = design(engine.limits(), seconds_of, (until_s - time.monotonic()) / LEAST_REPETITIONS)
        _begin(path, about, groups)
    left = _left(groups, repetitions, seed, done)
    for place, (repetition, group) in enumerate(left):
        if time.monotonic() + seconds_of(group) > until_s:
            _tell(progress, f"{place} of {len(left)} groups measured in {minutes:g} minutes; again, to go on\n")
            return False
        rest_s = sum(seconds_of(each) for _, each in left[place:])
        _tell(progress, f"group {place + 1} of {len(left)}, {rest_s / 60:.1f} minutes left ")
        _append(path, (repetition, *group[:2]), engine.group(group, seed + 1000 * repetition + place))
    _tell(progress, f"{len(left)} groups measured\n")
    return True


def _begin(path: Path, about: dict[str, str], groups: Sequence[Group]) -> None:
    """Write a new file's head: what is measured, by which grid, and the columns."""
    about = about | {"grid": " ".join(map(word_of, groups)), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    path.write_text("".join(f"# {key}: {value}\n" for key, value in about.items()) + ",".join(COLUMNS) + "\n")


def _append(path: Path, of: tuple[int, ...], rows: Iterable[tuple]) -> None:
    """Write a group's steps behind those that are there."""
    with path.open("a") as file:
        for chunk, *shape, step_s in rows:
            file.write(",".join(map(str, (*of, chunk, *shape, f"{step_s:.7f}"))) + "\n")


def read(path: Path) -> tuple[dict[str, str], set[tuple[int, ...]]]:
    """A begun file's head, and the groups that it has whole; a group that was cut off is cut from the file."""
    lines = path.read_text().splitlines(keepends=True)
    head = dict(line[1:].strip().split(": ", 1) for line in lines if line.startswith("#"))
    rows = [line for line in lines if line[:1].isdigit()]
    steps = {group[:2]: group.steps for group in map(group_of, head.get("grid", "").split())}
    of = [tuple(map(int, line.split(",")[:3])) if line.count(",") >= 3 else () for line in rows]
    whole = {key for key in of if key and of.count(key) == steps.get(key[1:])}
    kept = [line for line, key in zip(rows, of, strict=True) if key in whole and line.endswith("\n")]
    if len(kept) < len(rows):
        path.write_text("".join([line for line in lines if not line[:1].isdigit()] + kept))
    return head, whole


def _left(groups: Sequence[Group], repetitions: int, seed: int, done: set) -> list[tuple[int, Group]]:
    each = in_order(groups, repetitions, seed)
    return [(repetition, group) for repetition, group in each if (repetition, *group[:2]) not in done]


def word_of(group: Group) -> str:
    """A group in a file's head, as ``SEQUENCESxCONTEXT:CHUNK+CHUNK``."""
    return f"{group.sequences}x{group.context}:{'+'.join(map(str, group.chunks))}"


def group_of(word: str) -> Group:
    """What `word_of` wrote."""
    shape, _, chunks = word.partition(":")
    return Group(*map(int, shape.split("x")), tuple(map(int, chunks.split("+"))))


def _warmed_up(engine: Vllm) -> Any:
    """Run small groups until they are in their stride; how long a group takes, of which one repetition tells."""
    few, many = Group(1, CONTEXTS[0], (0,)), Group(0, 0, (min(CHUNKS[2], engine.limits().token_budget),))
    for group in (few, many):
        engine.group(group, 0)
    step_s, prompt_s = (sorted(row[-1] for row in engine.group(group, 1))[EACH // 2] for group in (few, many))
    token_s = max(prompt_s - step_s, 0.0) / many.chunks[0]

    def seconds_of(group: Group) -> float:
        steps = 2 * (WARM_UP + group.steps)
        prompts = group.sequences * group.context + EACH * sum(group.chunks) + WARM_UP * group.chunks[-1]
        # A sequence in a step counts as a prompt's token; attention in long contexts comes on top.
        return 1.2 * (steps * (step_s + group.sequences * token_s) + prompts * token_s)

    return seconds_of


def _tell(progress: bool, text: str) -> None:
    if progress:
        print(f"\r{text}", end="", file=sys.stderr, flush=True)


def arguments_of(words: Iterable[str]) -> dict[str, Any]:
    """Arguments of the engine's own, from words ``NAME=VALUE``; a value is what JSON says of it, or text.

    Examples
    --------
    >>> arguments_of(["tensor_parallel_size=2", "enforce-eager=true", "kv_cache_dtype=fp8"])
    {'tensor_parallel_size': 2, 'enforce_eager': True, 'kv_cache_dtype': 'fp8'}
    """
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise NoEngine(f"--set: {word} (expected NAME=VALUE, as in tensor_parallel_size=2)")
        try:
            found[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            found[name.replace("-", "_")] = value
    return found


def main(words: Iterable[str] | None = None) -> int:
    """The script: measure, and say in one sentence what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a folder, or a model of the local cache")
    parser.add_argument("--output", required=True, help="the CSV of steps, new or begun")
    parser.add_argument("--dummy-weights", action="store_true", help="random weights: a configuration is enough")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that it may take (default %(default)g)")
    parser.add_argument("--trials", type=int, default=REPETITIONS, help="repetitions of the grid (default %(default)d)")
    parser.add_argument("--seed", type=int, default=0, help="of prompts and order (default 0)")
    parser.add_argument("--max-num-seqs", type=int, help="sequences of a step (default: the engine's)")
    parser.add_argument("--token-budget", type=int, help="tokens of a step (default: the engine's)")
    parser.add_argument("--max-model-len", type=int, help="tokens of a sequence (default: the model's)")
    parser.add_argument("--dtype", help="such as bfloat16 (default: the engine's)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=OWN)
    options = parser.parse_args(words)
    try:
        measure(
            options.model, options.output, minutes=options.minutes, repetitions=options.trials, seed=options.seed,
            dummy=options.dummy_weights, max_num_seqs=options.max_num_seqs, dtype=options.dtype,
            max_num_batched_tokens=options.token_budget, max_model_len=options.max_model_len,
            **arguments_of(options.set),
        )  # fmt: skip
    except (NoEngine, OSError) as problem:
        print(f"{parser.prog}: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose names are not for others
    sys.exit(main())
