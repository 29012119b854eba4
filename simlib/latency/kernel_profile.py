"""Step times from a kernel profile: the sum over the kernels that a step runs.

Reads tables of measured kernel times (dense layers by tokens, head and sampler by sequences, attention by the step's
shape, a mixture's experts), hands a step law to `continuous`. What several cards tell each other is `parallel`'s; what
else is between the kernels is a constant per step, if known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from simlib import reading
from simlib.checks import InputError, check_integer, check_number
from simlib.engine.shapes import CHUNKS, CONTEXT, N_DECODES, PREFILL, PREFILL_CONTEXT, SQUARES
from simlib.latency.parallel import ALONE, Experts, Parallel
from simlib.lazy import pd

ONCE = ("embedding", "final_layernorm")
TWICE = ("layernorm",)  # a transformer's layer has two, the table one
KINDS = {
    "dense": ("layer", "tokens", "time_us"),
    "per_sequence": ("layer", "sequences", "time_us"),
    "attention": ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"),
    "moe": ("tokens", "activated_experts", "time_us"),
}
NEEDED = tuple(KINDS)[:3]
AXES = KINDS["attention"][:4]
CHUNK, KV, _, KV_DECODE = range(4)
DENSE_MLP = ("gate_up_proj", "down_proj")
EXPECTED = "expected dense.csv, per_sequence.csv, attention.csv and, of a mixture of experts, moe.csv"


def weight(value: float, params: np.ndarray, first: int, count: int) -> tuple[int, float]:
    """Where a value lies in an ascending axis: the point below, and the part of the way to the next (beyond: more)."""
    low, high = 0, count - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if params[first + middle] <= value:
            low = middle
        else:
            high = middle
    below, above = params[first + low], params[first + low + 1]
    return low, max((value - below) / (above - below), 0.0)


def line(value: float, params: np.ndarray, first: int, count: int) -> float:
    """A value's time by linear interpolation; the axis of `count` points is followed by their times."""
    at, part = weight(value, params, first, count)
    low, high = params[first + count + at], params[first + count + at + 1]
    return low + part * (high - low)


def attention(chunk: float, kv: float, decodes: float, context: float, params: np.ndarray, first: int) -> float:
    """Time of one layer's attention, linear between the grid's points in each of the four numbers."""
    at, part, start = (0, 0, 0, 0), (0.0, 0.0, 0.0, 0.0), first + 4
    counts = (int(params[first]), int(params[first + 1]), int(params[first + 2]), int(params[first + 3]))
    a, part_a = weight(chunk, params, start, counts[0])
    b, part_b = weight(kv, params, start + counts[0], counts[1])
    c, part_c = weight(decodes, params, start + counts[0] + counts[1], counts[2])
    d, part_d = weight(context, params, start + counts[0] + counts[1] + counts[2], counts[3])
    at, part = (a, b, c, d), (part_a, part_b, part_c, part_d)
    start += counts[0] + counts[1] + counts[2] + counts[3]
    time = 0.0
    for corner in range(16):
        share, place = 1.0, 0
        for axis in range(4):
            up = (corner >> axis) & 1
            share *= part[axis] if up else 1.0 - part[axis]
            place = place * counts[axis] + at[axis] + up
        if share != 0.0:
            time += share * params[start + place]
    return time


def profile_law(shape: np.ndarray, params: np.ndarray) -> float:
    """Kernel of `ProfileLaw`: dense by tokens, head and sampler by sequences, attention in every layer."""
    decodes, tokens = shape[N_DECODES], shape[PREFILL]
    dense, heads, grid = int(params[2]), int(params[3]), 4
    time = params[0] + line(decodes + tokens, params, grid, dense)
    grid += 2 * dense
    time += line(decodes + shape[CHUNKS], params, grid, heads)
    grid += 2 * heads
    context = shape[CONTEXT] / decodes if decodes > 0.0 else 0.0
    length, kv = 0.0, 0.0
    if tokens > 0.0:
        length, kv = shape[SQUARES] / tokens, shape[PREFILL_CONTEXT] / tokens
    each = attention(length, kv, decodes, context, params, grid)
    if length > 0.0 and tokens > length:  # further prompts of the same step
        each += (tokens / length - 1.0) * attention(length, kv, 0.0, 0.0, params, grid)
    return time + params[1] * each


@dataclass(frozen=True, slots=True, eq=False)
class ProfileLaw:
    """Time of a step by its kernels, plus a constant.

    Parameters
    ----------
    numbers : ndarray of float
        Axes and times of the tables, in seconds, as `read` lays them out.
    overhead_s : float
        What a step takes beside its kernels, seconds; it may be negative where kernels overlap.
    layers : int
        Layers of the model.
    shared : ndarray
        Of engines that make their steps together: tokens of all of them, ascending, and seconds that the layers which
        they share take with these, shape (2, points); none by default.

    Notes
    -----
    Dense layers and attention are interpolated linearly between the measured points. Prompts that share a step stand
    for equally many of their mean length, weighted by length; unequal contexts for their mean.
    """

    numbers: np.ndarray
    overhead_s: float = 0.0
    layers: int = 32
    shared: np.ndarray = field(default_factory=lambda: np.zeros((2, 0)))
    law = staticmethod(profile_law)
    linear = False
    spread = False

    def __post_init__(self) -> None:
        check_number("overhead_s", self.overhead_s)

    @property
    def params(self) -> np.ndarray:
        """Numbers that `law` reads."""
        return np.concatenate([[self.overhead_s, self.layers], self.numbers])

    def with_overhead(self, overhead_s: float, token_s: float = 0.0) -> ProfileLaw:
        """The same kernels with another constant, and so many seconds more for each token of a step."""
        numbers = self.numbers.copy()
        dense = int(numbers[0])
        numbers[2 + dense : 2 + 2 * dense] += token_s * numbers[2 : 2 + dense]
        return replace(self, numbers=numbers, overhead_s=overhead_s)

    def together_s(self, shapes: Sequence[np.ndarray]) -> float:
        """Seconds of a step that engines make together: the slowest's own kernels, then the layers that they share."""
        params = self.params
        own_s = max(profile_law(shape, params) for shape in shapes)
        if not self.shared.size:
            return own_s
        tokens = sum(shape[N_DECODES] + shape[PREFILL] for shape in shapes)
        return own_s + line(tokens, self.shared.ravel(), 0, self.shared.shape[1])


def read(
    places: str | Path | Sequence[str | Path], layers: int = 32, prefix: str = "", parallel: Parallel = ALONE
) -> ProfileLaw:
    """Read a profile's kernel tables.

    Parameters
    ----------
    places : str, Path or sequence of these
        A folder with exactly one ``*dense.csv``, ``*per_sequence.csv`` and ``*attention.csv``, and one ``*moe.csv`` if
        the model is a mixture of experts, each packed (as ``.gz``) or not; or these files.
    layers : int
        Layers of the model, >= 1.
    prefix : str
        How the files' names begin, where the folder holds several profiles.
    parallel : Parallel
        How the model is cut; the tables are one card's part of it.

    Raises
    ------
    InputError
        If a table is missing, several match, a column is missing, a point is there twice, the attention grid has holes
        that no measured neighbours enclose, or some layers are dense and some have experts.

    Notes
    -----
    The attention table may be a union of grids: what one of them lacks is interpolated along the cached tokens of the
    prompt, then of the decodes, then along the chunk.
    """
    check_integer("layers", layers, 1, 10_000)
    tables = find(places, prefix)
    first = Path(places if isinstance(places, str | Path) else places[0])
    folder = first if first.is_dir() else first.parent
    dense, heads, grid = (tables[kind] for kind in NEEDED)
    factor = {name: 1 if name in ONCE else layers * (2 if name in TWICE else 1) for name in dense["layer"].unique()}
    tokens_s = _sums(folder, dense.assign(time_us=dense["time_us"] * dense["layer"].map(factor)), "tokens")
    sequences_s = _sums(folder, heads, "sequences")
    axis, shared = tokens_s.index.to_numpy(np.float64), np.zeros((2, 0))
    tokens_s = tokens_s + layers * parallel.reduces_s(axis)
    if "moe" in tables:
        if both := [name for name in DENSE_MLP if name in factor]:
            raise InputError(f"{folder}: {both[0]} beside a table of experts (expected one of them in all layers)")
        experts = _experts(folder, tables["moe"])
        if parallel.together:
            axis = np.append(axis, axis[-1] * np.arange(2, parallel.engines + 1))
            shared = np.stack([axis, layers * parallel.experts_s(experts, axis)])
        else:
            tokens_s = tokens_s + layers * parallel.experts_s(experts, axis)
    numbers = [[len(tokens_s), len(sequences_s)]]
    numbers += [part for column in (tokens_s, sequences_s) for part in (column.index, column)]
    return ProfileLaw(np.concatenate([*numbers, *_grid(folder, grid)]).astype(np.float64), 0.0, layers, shared)


def find(places: str | Path | Sequence[str | Path], prefix: str = "") -> dict[str, pd.DataFrame]:
    """The tables of a profile by kind, those of `NEEDED` and, if there is one, ``moe``; as `read`, which see."""
    if isinstance(places, str | Path):
        if Path(places).is_file():
            places = [places]
        else:
            found = {kind: _found(Path(places), kind, prefix) for kind in KINDS}
            return {kind: _table(path, kind) for kind, path in found.items() if path is not None}
    if len(places) == 1 and Path(places[0]).is_dir():
        return find(places[0], prefix)
    tables = {}
    for path in map(Path, places):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder ({EXPECTED})")
        kinds = [kind for kind in KINDS if re.fullmatch(rf".*{kind}\.csv(\.\w+)?", path.name)]
        if not kinds or kinds[0] in tables:
            raise InputError(f"{path}: {'a second one' if kinds else 'none'} of a profile's tables ({EXPECTED})")
        tables[kinds[0]] = _table(path, kinds[0])
    if missing := [kind for kind in NEEDED if kind not in tables]:
        raise InputError(f"profile: no {missing[0]}.csv ({EXPECTED})")
    return tables


def _experts(folder: Any, frame: pd.DataFrame) -> Experts:
    """The table of experts; one token wakes as many as it has, the most that wake are all."""
    one_each(folder, frame, ("tokens", "activated_experts"))
    grid = frame.pivot(index="tokens", columns="activated_experts", values="time_us")
    activated = grid.columns.to_numpy(np.float64)
    if len(activated) < 2 or activated[0] < 1:
        raise InputError(f"{folder}, moe: activated_experts {activated.tolist()} (expected 2 numbers >= 1 or more)")
    seconds = 1e-6 * grid.to_numpy(np.float64)
    return Experts(grid.index.to_numpy(np.float64), activated, seconds, int(activated[-1]), int(activated[0]))


def one_each(folder: Any, frame: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuse a point that is there twice, as where two profiles were put into one file."""
    twice = frame.duplicated(list(names)).to_numpy()
    if twice.any():
        row = frame.iloc[int(np.argmax(twice))]
        point = ", ".join(f"{name} {row[name]}" for name in names)
        raise InputError(f"{folder}: {point} is there twice (expected each point once, of one profile)")


def _sums(folder: Any, frame: pd.DataFrame, axis: str) -> pd.Series:
    """Seconds of all layers by tokens or sequences, each of which must have every layer once."""
    groups = frame.groupby(axis)
    uneven = groups["layer"].nunique() != frame["layer"].nunique()
    uneven |= groups.size() != frame["layer"].nunique()
    if uneven.any() or len(uneven) < 2:
        raise InputError(f"{folder}, {axis} {uneven.index[uneven].tolist()[:3]}: expected each layer once, at 2 points")
    return 1e-6 * groups["time_us"].sum()


def _grid(folder: Any, frame: pd.DataFrame) -> list[np.ndarray]:
    """The attention table as a full grid: nothing costs nothing, and an empty part has no context."""
    if "layer" in frame:  # several kernels, of which every layer runs each
        one_each(folder, frame, ("layer", *AXES))
        points = frame.groupby(list(AXES), as_index=False)
        if points.size()["size"].nunique() > 1:
            raise InputError(f"{folder}, attention: not all kernels have all points (expected each of them everywhere)")
        frame = points["time_us"].sum()
    one_each(folder, frame, AXES)
    axes = [np.unique(np.append(frame[name], 0)) for name in AXES]
    full = np.full([len(axis) for axis in axes], np.nan)
    places = [np.searchsorted(axis, frame[name]) for axis, name in zip(axes, AXES, strict=True)]
    full[tuple(places)] = 1e-6 * frame["time_us"]
    full[0, :, 0, :] = 0.0
    full[0, 1:] = full[0, :1]
    full[:, :, 0, 1:] = full[:, :, 0, :1]
    for along in (KV, KV_DECODE, CHUNK):
        full = _between(full, axes[along], along)
    # The smallest context measured stands for none: between the two nothing is known.
    full[:, :, 1:, 0] = full[:, :, 1:, 1]
    # Beyond the mixed rows' most decodes, the growth of the last two.
    for row in range(2, full.shape[2]):
        hole = np.isnan(full[:, :, row])
        step = (axes[2][row] - axes[2][row - 1]) / (axes[2][row - 1] - axes[2][row - 2])
        full[:, :, row][hole] = (full[:, :, row - 1] + step * (full[:, :, row - 1] - full[:, :, row - 2]))[hole]
    if np.isnan(full).any():
        place = np.argwhere(np.isnan(full))[0]
        point = ", ".join(f"{name} {axis[at]}" for name, axis, at in zip(AXES, axes, place, strict=True))
        raise InputError(f"{folder}, attention: no row for {point} (expected a full grid, or a union of such)")
    return [np.array(full.shape), *axes, full.ravel()]


def _between(full: np.ndarray, axis: np.ndarray, along: int) -> np.ndarray:
    """The same with holes filled, linearly, between measured neighbours on a line along one of the axes."""
    lines = np.moveaxis(full, along, -1).copy()
    for row in lines.reshape(-1, len(axis)):
        known = np.flatnonzero(~np.isnan(row))
        if 1 < len(known) < len(axis):
            inside = slice(known[0], known[-1] + 1)
            row[inside] = np.interp(axis[inside], axis[known], row[known])
    return np.moveaxis(lines, -1, along)


def _found(folder: Path, kind: str, prefix: str) -> Path | None:
    """The file of a kind in a folder; None: there is none, and none is needed."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (expected one with a kernel profile)")
    found = sorted(folder.glob(f"{prefix}*{kind}.csv*"))
    if not found and kind not in NEEDED:
        return None
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError(f"{folder}: {len(found)} files *{kind}.csv, packed or not ({names}; expected one, see prefix)")
    return found[0]


def _table(path: Path, kind: str) -> pd.DataFrame:
    frame = reading.delimited(*reading.contents(path, "a kernel profile's table, a CSV", str(path)))
    missing = [name for name in KINDS[kind] if name not in frame]
    if missing:
        raise InputError(f"{path}, {missing[0]}: missing column (expected {', '.join(KINDS[kind])})")
    values = frame[[name for name in KINDS[kind] if name != "layer"]].apply(pd.to_numeric, errors="coerce")
    bad = ~(np.isfinite(values) & (values >= 0)).all(axis=1).to_numpy()
    if bad.any():
        raise InputError(f"{path}, row {int(np.argmax(bad))}: expected numbers >= 0")
    frame[values.columns] = values
    return frame
