"""What a run left beside its log: the engine's limits, the model's sizes, how it was cut, the link between its cards.

Reads vLLM's settings as LLMServingSim's recorder keeps them (``meta.json``), a model's ``config.json`` as it is
published, and that simulator's own ``config.json`` of its cluster. Nothing is assumed of a model by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simlib import reading
from simlib.checks import InputError

META, CONFIG = "meta.json", "config.json"
BYTES = {"bfloat16": 2, "float16": 2, "half": 2, "float32": 4, "float": 4}
# By what `simlib validate` calls it: where vLLM's resolved settings have it, or what the engine was started with.
OF_META = {
    "max_num_seqs": ("scheduler_config.max_num_seqs", "max_num_seqs"),
    "token_budget": ("scheduler_config.max_num_batched_tokens", "max_num_batched_tokens"),
    "long_prefill_tokens": ("scheduler_config.long_prefill_token_threshold", ""),
    "watermark": ("scheduler_config.watermark", "watermark"),
    "whole_prompt": ("scheduler_config.scheduler_reserve_full_isl", "scheduler_reserve_full_isl"),
    "reuse": ("cache_config.enable_prefix_caching", "enable_prefix_caching"),
    "block_size": ("cache_config.block_size", "block_size"),
    "tensor_parallel": ("parallel_config.tensor_parallel_size", "tensor_parallel_size"),
    "data_parallel": ("parallel_config.data_parallel_size", "data_parallel_size"),
    "expert_parallel": ("parallel_config.enable_expert_parallel", "enable_expert_parallel"),
    "pipeline_parallel": ("parallel_config.pipeline_parallel_size", "pipeline_parallel_size"),
}
OF_MODEL = {"layers": "num_hidden_layers", "hidden_size": "hidden_size"}
NAMED = re.compile(r"(?P<hardware>[^_]+)_(?P<model>.+)_tp(?P<tensor>\d+)_")  # a table's name in a folder of several


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What files say of a run, by what `simlib validate` calls it, and which of them says so.

    Attributes
    ----------
    values : dict
        Limits and sizes; ``kv_blocks`` are those that requests can have; ``steps_in_flight``, 2 where steps are
        scheduled ahead; ``element_bytes`` of a number; ``link_bandwidth_bytes_s``, ``link_latency_s``; ``model``,
        ``hardware``, ``engine``.
    sources : dict
        The name of the file that says it.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def add(self, source: str, **values: Any) -> None:
        """Take what is said; two files that differ are refused."""
        for name, value in values.items():
            if value is None:
                continue
            if name in self.values and self.values[name] != value:
                raise InputError(
                    f"{source}, {name}: {value} (expected {self.values[name]}, as {self.sources[name]} has it)"
                )
            self.values[name], self.sources[name] = value, self.sources.get(name, source)


def beside(places: Iterable[str | Path], model_config: str | Path | None = None) -> LeftBehind:
    """What the files ``meta.json`` and ``config.json`` in these folders, or in those of these files, say of a run.

    Parameters
    ----------
    places : sequence of str or Path
        Folders or files; the first folder that has a file of a name is asked, and of a folder ``vllm`` also that which
        it is in.
    model_config : str or Path, optional
        The model's published ``config.json``, or its folder, wherever it lies.

    Raises
    ------
    InputError
        If a file is broken, a number is none, two files differ, or the model is cut into pipeline stages.
    """
    found, folders = LeftBehind(), list(dict.fromkeys(map(_folder, places)))
    folders += [folder.parent for folder in folders if folder.name == "vllm"]
    for name in (META, CONFIG):
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is not None:
            _read(path, found)
    if model_config is not None:
        path = Path(model_config) / CONFIG if Path(model_config).is_dir() else Path(model_config)
        if not _model(path, _json(path, "a model's config.json"), found):
            raise InputError(f"{path}: no num_hidden_layers (expected a model's config.json)")
    if found.values.get("pipeline_parallel", 1) > 1:
        stages = found.values["pipeline_parallel"]
        raise InputError(f"pipeline_parallel_size: {stages} (expected 1: stages of a model are not replayed)")
    return found


def profile_of(places: Sequence[str | Path], tensor: int) -> list[Path]:
    """The same, or of a folder with profiles of several tensor parallel sizes (``tp1``, ``tp2``) that of the run's."""
    paths = [Path(place) for place in places]
    cut = paths[0] / f"tp{tensor}"
    return [cut] if len(paths) == 1 and cut.is_dir() and not any(paths[0].glob("*.csv*")) else paths


def check_profile(places: Sequence[str | Path], found: LeftBehind) -> None:
    """Refuse a profile that, by the names of its files or folders, is of another card, model or cut than the run's.

    Raises
    ------
    InputError
        Naming both.
    """
    model, hardware = (str(found.values.get(name, "")).rpartition("/")[2] for name in ("model", "hardware"))
    for path in _tables(places):
        said = NAMED.match(path.name)
        folder = re.fullmatch(r"tp(\d+)", path.parent.name)
        named = said.groupdict() if said else {"tensor": folder[1]} if folder else {}
        if folder and path.absolute().parts[-7:-6] == ("perf",):  # perf/GPU/ORGANISATION/MODEL/PRECISION/tpN/dense.csv
            named |= {"model": path.absolute().parts[-4], "hardware": path.absolute().parts[-6]}
        tensor = found.values.get("tensor_parallel")
        for what, mine, theirs in (
            ("card", named.get("hardware"), hardware),
            ("model", named.get("model"), model),
            ("tensor parallel size", named.get("tensor"), "" if tensor is None else str(tensor)),
        ):
            if mine and theirs and not _same(mine, theirs):
                raise InputError(f"profile {path}: {what} {mine} (expected {theirs}, as the log's run has it)")


def _tables(places: Sequence[str | Path]) -> list[Path]:
    paths = [Path(place) for place in places]
    return [table for path in paths for table in (sorted(path.glob("*.csv*")) if path.is_dir() else [path])]


def _same(mine: str, theirs: str) -> bool:
    """Whether a name may be another's, such as RTX4090 that of an NVIDIA GeForce RTX 4090."""
    mine, theirs = (re.sub(r"[^a-z0-9]", "", name.lower()) for name in (mine, theirs))
    return mine in theirs or theirs in mine


def _folder(place: str | Path) -> Path:
    return Path(place) if Path(place).is_dir() else Path(place).parent


def _json(path: Path, what: str) -> dict[str, Any]:
    source, text = reading.text(path, what)
    value = reading.json_of(text, source)
    if not isinstance(value, dict):
        raise InputError(f"{path}: {str(value)[:60]} (expected {what}, a JSON object)")
    return value


def _read(path: Path, found: LeftBehind) -> None:
    said = _json(path, "settings of a run")
    if path.name == META:
        _meta(path, said, found)
    elif not _model(path, said, found):
        _cluster(path, said, found)


def _meta(path: Path, said: dict[str, Any], found: LeftBehind) -> None:
    started = _part(said, "engine_kwargs")
    resolved, cache = _part(said, "resolved_config"), _part(said, "kv_cache")
    for name, (where, start) in OF_META.items():
        room, _, key = where.partition(".")
        value = _part(resolved, room).get(key)
        found.add(path.name, **{name: _number(path, where, started.get(start) if value is None else value)})
    blocks = cache.get("num_gpu_blocks") or _part(resolved, "cache_config").get("num_gpu_blocks")
    ahead = _part(resolved, "scheduler_config").get("async_scheduling", started.get("async_scheduling"))
    dtype = str(_part(resolved, "model_config").get("dtype") or started.get("dtype")).rpartition(".")[2]
    found.add(
        path.name,
        kv_blocks=None if blocks is None else _number(path, "num_gpu_blocks", blocks) - 1,  # one is the engine's own
        steps_in_flight=None if ahead is None else 1 + bool(ahead),
        element_bytes=BYTES.get(dtype),
        model=said.get("model"),
        engine=f"vLLM {said['vllm_version']}" if said.get("vllm_version") else None,
        hardware=_part(said, "hardware").get("device_name"),
    )
    if "block_size" not in found.values and cache.get("block_size") is not None:
        found.add(path.name, block_size=_number(path, "block_size", cache["block_size"]))


def _model(path: Path, said: dict[str, Any], found: LeftBehind) -> bool:
    """Whether it is a model's config; its sizes."""
    sizes = said if "num_hidden_layers" in said else _part(said, "text_config")
    if "num_hidden_layers" not in sizes:
        return False
    found.add(path.name, **{name: _number(path, key, sizes.get(key)) for name, key in OF_MODEL.items()})
    return True


def _cluster(path: Path, said: dict[str, Any], found: LeftBehind) -> None:
    """The simulator's own settings: a link in GB/s and ns, its instances' cards and cuts."""
    nodes = said.get("nodes") if isinstance(said.get("nodes"), list) else []
    instances = [one for node in nodes for one in (_part(node, "instances") or []) if isinstance(one, dict)]
    bandwidth, latency = (_number(path, name, said.get(name)) for name in ("link_bw", "link_latency"))
    found.add(
        path.name,
        link_bandwidth_bytes_s=None if bandwidth is None else 1e9 * bandwidth,
        link_latency_s=None if latency is None else 1e-9 * latency,
    )
    for one in instances:
        tensor = _number(path, "tp_size", one.get("tp_size"))
        model = None if "model" in found.values else one.get("model_name")
        hardware = None if "hardware" in found.values and found.sources["hardware"] == META else one.get("hardware")
        found.add(path.name, hardware=hardware, tensor_parallel=tensor, model=model)
    if len({one.get("dp_group") for one in instances} - {None}) == 1:
        found.add(path.name, data_parallel=len(instances))


def _part(said: Any, name: str) -> Any:
    """A part of a document; nothing where it has none."""
    return (said.get(name) or {}) if isinstance(said, dict) else {}


def _number(path: Path, name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    raise InputError(f"{path}, {name}: {value!r} (expected a number)")
