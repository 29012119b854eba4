"""Step times of three engines, by measured kernels: profiles cut down to small tables, read anew or as committed.

A step's time is that of its layers by tokens, of head and sampler by sequences, and of attention by the step's shape.
The tables hold no prompt and no chunk of more than `MOST_TOKENS` tokens; mixed steps were measured up to
`MEASURED_DECODES` decodes, and go on as straight as they end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simlib import datasets
from simlib.checks import InputError, check_choice, check_number
from simlib.engine.shapes import CHUNKS, CONTEXT, LONGEST, N_DECODES, PREFILL, PREFILL_CONTEXT, SHAPE, SQUARES
from simlib.latency import kernel_profile
from simlib.latency.kernel_profile import ProfileLaw
from simlib.latency.parallel import ALONE, Link, Parallel

if TYPE_CHECKING:
    import pandas as pd

FOLDER, TABLE = "llmservingsim", "prefill_modes_kernels"
LINK = Link(16e9, 20e-6)  # between the two cards, as the log's own simulator has it
TOKENS = (1, 16, *range(32, 1024, 32), *range(1024, 2049, 128))
SEQUENCES = (1, 16, 64, 128, 256)
CHUNK = (0, 16, 64, 128, 256, 512, 1024, 2048)
CACHED = (0, 512, 1024, 2048)
DECODES = (0, 8, 32, 64, 128, 256)
CONTEXTS = (0, 256, 512, 1024, 2048, 4096)
MOST_TOKENS, MEASURED_DECODES = 2048, 128
DIGITS = 4
AXES = ("tokens", "cached_tokens", "sequences", "context_tokens")


@dataclass(frozen=True, slots=True)
class System:
    """A model on its cards, with a profile.

    Attributes
    ----------
    folder, prefix : str
        Where the tables are, and how their names begin.
    layers : int
    kv_tokens : int
        Of the cache, as the engine's log has it.
    seats : tuple of int
        How many sequences may run at once, to be tried.
    parallel : Parallel
    """

    folder: str
    prefix: str
    layers: int
    kv_tokens: int
    seats: tuple[int, ...]
    parallel: Parallel = ALONE


SYSTEMS: Mapping[str, System] = {
    "8B, RTX 4090": System("", "RTX4090_Llama-3.1-8B", 32, 41_392, (16, 32)),
    "32B, 2 RTX PRO 6000": System(
        "RTXPRO6000_Qwen3-32B", "", 64, 457_824, (32, 64, 128, 256), Parallel(2, 1, False, 5120, 2, LINK)
    ),
    "30B of experts, 2 RTX PRO 6000": System(
        *("RTXPRO6000_Qwen3-30B-A3B-Instruct-2507", "", 48, 617_440, (32, 64, 128, 256)),
        Parallel(1, 2, True, 2048, 2, LINK),
    ),
}
SMALL, DENSE, EXPERTS = SYSTEMS


def kernels(folder: str = FOLDER) -> tuple[pd.DataFrame, str]:
    """The small tables, from the shared profiles or as they are committed, and which.

    Returns
    -------
    table : pandas.DataFrame
        ``system, part, tokens, cached_tokens, sequences, context_tokens, time_ms``; `part` is ``layers`` (by tokens),
        ``heads`` (by sequences) or ``attention`` (a chunk behind cached tokens, beside sequences with a context each).
    source : str
    """
    import pandas as pd

    try:
        place = datasets.locate(folder)
    except InputError:
        return pd.read_csv(datasets.committed(TABLE)), "kernels as committed: data absent"
    rows = []
    for name, system in SYSTEMS.items():
        law = kernel_profile.read(place / system.folder, system.layers, system.prefix, system.parallel)
        rows += [(name, *row) for row in _rows(law)]
    return pd.DataFrame(rows, columns=["system", "part", *AXES, "time_ms"]), "kernels read from the profiles"


def _rows(law: ProfileLaw) -> Iterator[tuple[str, int, int, int, int, float]]:
    """A law's rows; two engines that share their experts do the same at the same time."""
    params, grid = law.params, 4
    points = int(params[2]), int(params[3])
    for tokens in TOKENS:
        time_s = kernel_profile.line(float(tokens), params, grid, points[0])
        if law.shared.size:
            time_s += kernel_profile.line(2.0 * tokens, law.shared.ravel(), 0, law.shared.shape[1])
        yield "layers", tokens, 0, 0, 0, _rounded(time_s)
    grid += 2 * points[0]
    for sequences in SEQUENCES:
        time_s = kernel_profile.line(float(sequences), params, grid, points[1])
        yield "heads", 0, 0, sequences, 0, _rounded(time_s)
    grid += 2 * points[1]
    for chunk in CHUNK:
        for cached in CACHED if chunk else (0,):
            for decodes in DECODES:
                for context in CONTEXTS if decodes else (0,):
                    shape = (float(chunk), float(cached), float(decodes), float(context))
                    time_s = law.layers * kernel_profile.attention(*shape, params, grid)
                    yield "attention", chunk, cached, decodes, context, _rounded(time_s)


def _rounded(time_s: float) -> float:
    return float(f"{1e3 * time_s:.{DIGITS}g}")


def law_of(table: pd.DataFrame, system: str, apart: bool = False) -> ProfileLaw:
    """A system's law from the small tables.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `kernels`.
    system : str
    apart : bool
        Whether a mixed step's attention takes what its chunk and its decodes take alone, so that neither disturbs the
        other; otherwise what was measured.
    """
    check_choice("system", system, SYSTEMS)
    own = table[table["system"] == system]
    layers, heads, rows = (own[own["part"] == part] for part in ("layers", "heads", "attention"))
    axes = CHUNK, CACHED, DECODES, CONTEXTS
    full = np.full([len(axis) for axis in axes], np.nan)
    places = [np.searchsorted(axis, rows[name]) for axis, name in zip(axes, AXES, strict=True)]
    full[tuple(places)] = 1e-3 * rows["time_ms"]
    full[0, 1:] = full[0, :1]
    full[:, :, 0, 1:] = full[:, :, 0, :1]
    if apart:
        full[1:, :, 1:] = full[1:, :, :1] + full[:1, :, 1:]
    numbers = [[len(layers), len(heads)]]
    for part, name in ((layers, "tokens"), (heads, "sequences")):
        numbers += [part[name], 1e-3 * part["time_ms"]]
    numbers += [full.shape, *axes, full.ravel()]
    return ProfileLaw(np.concatenate(numbers).astype(np.float64), 0.0, 1)


def step_s(
    law: ProfileLaw, decodes: float, context_tokens: float = 0.0, chunk_tokens: float = 0.0, cached_tokens: float = 0.0
) -> float:
    """Seconds of a step with so many decodes, of equal contexts, and a chunk of one prompt.

    Examples
    --------
    >>> law = law_of(kernels("nowhere")[0], SMALL)
    >>> together, alone = step_s(law, 32, 512, 512), step_s(law, 32, 512) + step_s(law, 0, 0, 512)
    >>> together < alone
    True
    """
    decodes, chunk_tokens = check_number("decodes", decodes, 0.0), check_number("chunk_tokens", chunk_tokens, 0.0)
    shape = np.zeros(len(SHAPE))
    shape[N_DECODES], shape[CONTEXT], shape[LONGEST] = decodes, decodes * context_tokens, context_tokens
    if chunk_tokens > 0:
        shape[PREFILL], shape[CHUNKS] = chunk_tokens, 1
        shape[SQUARES], shape[PREFILL_CONTEXT] = chunk_tokens**2, chunk_tokens * cached_tokens
    return float(kernel_profile.profile_law(shape, law.params))
