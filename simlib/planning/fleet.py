"""What can serve: replicas of a model on so many GPUs each, how long their steps take and what their caches hold."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from simlib import named
from simlib.checks import InputError, check_integer, check_type
from simlib.latency import presets
from simlib.latency.measured import Measured, Range
from simlib.latency.steps import StepLaw
from simlib.latency.trust import Trust

KV_SHARE = 0.9  # of a GPU's memory that an engine may use, weights and activations too
ACTIVATIONS_GB = 2.0  # of each GPU, beside weights and cache
# Memory of a GPU in GB: vendors' data sheets, in the variants that LLM-Inference-Bench and Splitwise name.
GPUS_GB = {
    "Nvidia A100 GPU": 40.0,
    "a100-80gb": 80.0,
    "Nvidia H100 GPU": 80.0,
    "h100-80gb": 80.0,
    "Nvidia GH200 GPU": 96.0,
    "AMD MI250 GPU": 128.0,
    "AMD MI300X GPU": 192.0,
    "Habana Gaudi2": 96.0,
    "Intel PVC GPU": 128.0,
}
# Weights in 16 bits in GB, and bytes of KV cache a token (2 x 2 bytes x layers x KV heads x head size), from each
# model's published configuration.
MODELS = {
    "llama2-7b": (13.5, 524_288),
    "llama3-8b": (16.1, 131_072),
    "mistral-7b": (14.5, 131_072),
    "qwen2-7b": (15.2, 57_344),
    "mixtral-8x7b": (93.4, 131_072),
    "llama2-70b": (138.0, 327_680),
    "llama3-70b": (141.1, 327_680),
    "qwen2-72b": (145.4, 327_680),
}


@dataclass(frozen=True, slots=True)
class Engine:
    """One replica.

    Attributes
    ----------
    name : str
        A preset's name, or the user's.
    law : StepLaw or ProfileLaw
        How long its steps take, seconds.
    gpus : int
        GPUs of a replica (tensor parallel).
    kv_tokens : int
        Tokens that its cache holds.
    measured : Range, optional
        The static batches that a preset was measured at.
    """

    name: str
    law: Any
    gpus: int
    kv_tokens: int
    measured: Range | None = None

    @property
    def trust(self) -> Trust | None:
        """How far to trust the law; None: it was typed, or nobody measured it."""
        return getattr(self.law, "trust", None)

    @property
    def untold(self) -> Any:
        """The law without its trust, for runs that are many and none of which is to be warned of."""
        return self.law if self.trust is None else replace(self.law, trust=None)

    def drawn(self, seed: int) -> Any:
        """The law as it may be, one of the draws that it keeps of itself, the same for the same seed.

        Without the noise of single steps, which a plan's windows average out, and which makes runs slow.
        """
        return self.law.draw(seed) if isinstance(self.law, StepLaw) else self.untold


def cache_tokens(gpu: str, model: str, gpus: int) -> int:
    """Tokens that the KV cache of a replica holds.

    Parameters
    ----------
    gpu, model : str
        Keys of `GPUS_GB` and `MODELS`.
    gpus : int
        That share the model.

    Raises
    ------
    InputError
        If one is not known, or the weights do not fit.

    Examples
    --------
    >>> cache_tokens("Nvidia H100 GPU", "llama3-8b", 1)
    411224
    """
    check_integer("gpus", gpus, 1)
    if gpu not in GPUS_GB or model not in MODELS:
        unknown = f"GPU {gpu!r}" if gpu not in GPUS_GB else f"model {model!r}"
        raise InputError(f"{unknown}: memory not known (expected kv_tokens, the tokens that a replica's cache holds)")
    weights_gb, token_bytes = MODELS[model]
    left_gb = gpus * (KV_SHARE * GPUS_GB[gpu] - ACTIVATIONS_GB) - weights_gb
    if left_gb <= 0:
        raise InputError(
            f"{model} on {gpus} x {gpu}: {weights_gb:g} GB of weights leave no cache "
            f"(of {gpus} x {GPUS_GB[gpu]:g} GB at a share of {KV_SHARE:g}; expected more GPUs a replica)"
        )
    return int(left_gb * 1e9 / token_bytes)


def engine(latency: Any, gpus: int | None = None, kv_tokens: int | None = None) -> Engine:
    """A replica by a preset's name, or by a law of steps.

    Parameters
    ----------
    latency : str or law
        A preset's name, ``"a,b,c,d"`` in seconds, a file of measurements or of a law, or a law of steps.
    gpus : int, optional
        GPUs a replica; by default the preset's, else 1.
    kv_tokens : int, optional
        By default what the preset's GPU and model leave (`cache_tokens`).

    Raises
    ------
    InputError
        If there is no such preset, or its memory is not known and `kv_tokens` not given.

    Examples
    --------
    >>> engine("h100-vllm-llama3-8b").gpus
    1
    """
    model, law = None, named.step_law_of(latency)
    trust = getattr(law, "trust", None)
    name = latency if isinstance(latency, str) else type(law).__name__ if trust is None else trust.source
    rows = presets.table()
    rows = rows[rows["name"] == name]
    if len(rows) and math.isfinite(rows["gpu_count"].iloc[0]):
        model = presets.load(name)
        gpus = int(rows["gpu_count"].iloc[0]) if gpus is None else gpus
        if kv_tokens is None:
            kv_tokens = cache_tokens(rows["gpu"].iloc[0], name.split("-", 2)[2], gpus)
    if kv_tokens is None:
        raise InputError(f"kv_tokens: missing (expected the tokens that the cache of a replica with {name!r} holds)")
    return Engine(
        name,
        law,
        check_integer("gpus", 1 if gpus is None else gpus, 1),
        check_integer("kv_tokens", kv_tokens, 1),
        model.measured if isinstance(model, Measured) else None,
    )


def engines(names: Iterable[str], kv_tokens: int | None = None) -> list[Engine]:
    """Replicas by presets' names or files; with `kv_tokens`, given for one GPU, as many times that as a replica has."""
    found = []
    for name in check_type("latency", list(names), list, "presets' names"):
        one = engine(name, kv_tokens=kv_tokens)
        tokens = one.kv_tokens if kv_tokens is None else kv_tokens * one.gpus
        found.append(Engine(one.name, one.law, one.gpus, tokens, one.measured))
    if not found:
        raise InputError("latency: no preset (expected at least one)")
    return found
