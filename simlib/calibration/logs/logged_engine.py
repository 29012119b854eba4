"""The engine that a log is of: what whoever replays it says, else the files that its run left, else what is usual.

What neither says and no usage tells, such as the cache's size, is asked for; what both say has to agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simlib.calibration.logs import left_behind
from simlib.calibration.logs.left_behind import LeftBehind
from simlib.checks import InputError, check_choice, check_integer
from simlib.continuous.settings import Continuous
from simlib.latency.parallel import ALONE, Link, Parallel

# What is taken where nobody says anything; None: it is asked for.
LIMITS = {
    "max_num_seqs": None, "kv_blocks": None, "token_budget": None, "block_size": 16, "steps_in_flight": 2,
    "watermark": 0.0, "reuse": True, "whole_prompt": True, "known_ends": True, "long_prefill_tokens": 0,
}  # fmt: skip
SIZES = {
    "layers": None, "hidden_size": None, "tensor_parallel": 1, "data_parallel": 1, "expert_parallel": False,
    "element_bytes": 2, "link_bandwidth_bytes_s": None, "link_latency_s": None,
}  # fmt: skip
LINK = "link_bandwidth_bytes_s", "link_latency_s"
ASKED = {
    "max_num_seqs": "sequences that run at once",
    "kv_blocks": "usable blocks of each engine's KV cache, tokens of it by those of a block in its start-up messages",
    "token_budget": "tokens of a step",
    "layers": "of the model, num_hidden_layers of its config.json, or that file as model_config",
    "hidden_size": "of the model, as its config.json has it, for what its cards tell each other",
    "link_bandwidth_bytes_s": "of a link between two cards, in one direction",
    "link_latency_s": "of a message between two cards, some 20 microseconds",
}
AGREED = "layers", "hidden_size", "tensor_parallel", "data_parallel", "expert_parallel"


@dataclass(frozen=True, slots=True)
class LoggedEngine:
    """What a log is replayed by.

    Attributes
    ----------
    settings : simlib.Continuous
        The engine's limits, with the cache's size.
    parallel : Parallel
        How the model is cut.
    layers : int, optional
        Of the model.
    found : LeftBehind
        What files say, and which of them.
    usual : dict
        What nobody says, and is taken as usual.
    """

    settings: Continuous
    parallel: Parallel = ALONE
    layers: int | None = None
    found: LeftBehind = field(default_factory=LeftBehind)
    usual: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        places: Iterable[str | Path],
        given: Mapping[str, Any] | None = None,
        *,
        model_config: str | Path | None = None,
        kernels: bool = True,
    ) -> LoggedEngine:
        """The engine by what is given, and by the files in these folders or beside these files (`left_behind.beside`).

        Parameters
        ----------
        places : sequence of str or Path
            Of the log and its profile, or the folder of ``meta.json`` and ``config.json``.
        given : mapping, optional
            Any of ``max_num_seqs, kv_blocks, token_budget, block_size, steps_in_flight, watermark, reuse, whole_prompt,
            known_ends, long_prefill_tokens`` and of ``layers, hidden_size, tensor_parallel, data_parallel,
            expert_parallel, element_bytes, link_bandwidth_bytes_s, link_latency_s``.
        model_config : str or Path, optional
            The model's published ``config.json``, or its folder, wherever it lies.
        kernels : bool
            Whether kernels are replayed, which have to know of how many layers.

        Raises
        ------
        InputError
            If what is needed is said by nobody, a size is not the files', or a number is none.

        Examples
        --------
        >>> LoggedEngine.of([], {"max_num_seqs": 8, "kv_blocks": 100, "token_budget": 512, "layers": 2}).settings.blocks
        100
        """
        given = {} if given is None else dict(given)
        for name in given:
            check_choice("given", name, [*LIMITS, *SIZES])
        found = left_behind.beside(places, model_config)
        limits, sizes = _settled(given, found, kernels)
        parallel = Parallel(
            tensor=check_integer("tensor_parallel", sizes["tensor_parallel"], 1),
            engines=check_integer("data_parallel", sizes["data_parallel"], 1),
            expert=bool(sizes["expert_parallel"]),
            hidden_size=sizes["hidden_size"],
            element_bytes=sizes["element_bytes"],
            link=Link(*(sizes[name] for name in LINK)) if sizes["linked"] else None,
        )
        block = check_integer("block_size", limits["block_size"], 1)
        settings = Continuous(
            max_seqs=check_integer("max_num_seqs", limits["max_num_seqs"], 1),
            kv_tokens=check_integer("kv_blocks", limits["kv_blocks"], 1) * block,
            block_tokens=block,
            token_budget=limits["token_budget"],
            steps_in_flight=check_integer("steps_in_flight", limits["steps_in_flight"], 1, 2),
            watermark=limits["watermark"],
            **{name: bool(limits[name]) for name in ("reuse", "whole_prompt", "known_ends")},
            long_prefill_tokens=limits["long_prefill_tokens"],
            routing="least_requests" if parallel.engines > 1 else "shared",
        )
        said = found.values.keys() | given.keys()
        usual = {name: value for name, value in (LIMITS | SIZES).items() if name not in said}
        return cls(settings, parallel, sizes["layers"], found, usual)


def _settled(given: dict[str, Any], found: LeftBehind, kernels: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Limits and sizes by what is given, by files, and by what else is usual."""
    for name in AGREED:
        if name in given and found.values.get(name, given[name]) != given[name]:
            raise InputError(f"{name}: {given[name]} (expected {found.values[name]}, as {found.sources[name]} has it)")
    limits, sizes = (
        {name: given.get(name, found.values.get(name, usual[name])) for name in usual} for usual in (LIMITS, SIZES)
    )
    talks = sizes["tensor_parallel"] > 1 or (sizes["data_parallel"] > 1 and sizes["expert_parallel"])
    sizes["linked"] = talks and any(sizes[name] is not None for name in LINK)
    needed = ["max_num_seqs", "kv_blocks", "token_budget", *(["layers"] if kernels else [])]
    needed += ["hidden_size", *LINK] if sizes["linked"] else []
    if missing := [name for name in needed if (limits | sizes)[name] is None]:
        what = "; ".join(f"{name}: {ASKED[name]}" for name in missing)
        raise InputError(f"{', '.join(missing)}: missing (expected {what})")
    return limits, sizes
