"""A latency model that is a table: measured times of a full grid, interpolated between its points.

For measurements that no formula fits. Linear in batch size, prompt and output; beyond the grid the outermost cells go
on, with a warning (`validity`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.checks import InputError, check_type
from simlib.engine import MAX_OUTPUT, MAX_PROMPT, MAX_TOTAL, SIZE
from simlib.fitting import COLUMNS, checked
from simlib.latency import LatencyModel
from simlib.validity import Measured, Range

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table"]

HEAD = 4  # of `params`: lengths of the three axes, and whether the last one is of prompt + output


def cell(axis: np.ndarray, first: int, count: int, value: float) -> int:
    """The last point of the axis, but for its end, that is not beyond the value."""
    place = first
    while place < first + count - 2 and axis[place + 1] <= value:
        place += 1
    return place


def table_law(batch: np.ndarray, params: np.ndarray) -> float:
    """Kernel of `Table`; `params` is the axes' lengths, a flag, the axes, then the times in C order."""
    sizes, prompts, outputs = int(params[0]), int(params[1]), int(params[2])
    length = batch[MAX_TOTAL] if params[3] > 0.0 else batch[MAX_OUTPUT]
    i = cell(params, HEAD, sizes, batch[SIZE])
    j = cell(params, HEAD + sizes, prompts, batch[MAX_PROMPT])
    k = cell(params, HEAD + sizes + prompts, outputs, length)
    times = HEAD + sizes + prompts + outputs
    total_s = 0.0
    for corner in range(8):
        di, dj, dk = corner & 1, (corner >> 1) & 1, (corner >> 2) & 1
        if dj == 1 and prompts == 1:
            continue
        x = (batch[SIZE] - params[i]) / (params[i + 1] - params[i])
        y = (batch[MAX_PROMPT] - params[j]) / (params[j + 1] - params[j]) if prompts > 1 else 0.0
        z = (length - params[k]) / (params[k + 1] - params[k])
        share = (x if di else 1.0 - x) * (y if dj else 1.0 - y) * (z if dk else 1.0 - z)
        row = (i - HEAD + di) * prompts + (j - HEAD - sizes + dj)
        total_s += share * params[times + row * outputs + (k - HEAD - sizes - prompts + dk)]
    return max(total_s, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Table(LatencyModel):
    """Times of a full grid, `numbers` as `table_law` reads them; made by `of` or `read`."""

    numbers: np.ndarray
    law = staticmethod(table_law)

    @property
    def params(self) -> np.ndarray:
        return self.numbers

    @classmethod
    def of(cls, points: pd.DataFrame, name: str = "table") -> Measured:
        """A model of measurements, medians of repetitions.

        Parameters
        ----------
        points : pandas.DataFrame
            ``batch_size, prompt_tokens, output_tokens, total_s``: every batch size with every prompt and every output,
            or every prompt as long as its output throughout; then its axis is prompt + output.
        name : str
            For warnings.

        Raises
        ------
        InputError
            If a combination is missing, with its place.

        Examples
        --------
        >>> import pandas as pd
        >>> grid = pd.MultiIndex.from_product([(1, 3), (10, 20), (10, 30)], names=COLUMNS[:3]).to_frame(index=False)
        >>> model = Table.of(grid.assign(total_s=grid["batch_size"] * 0.5))
        >>> float(model.law(np.array([2.0, 15, 30, 20, 40, 35]), model.params))
        1.0
        """
        points = checked(points)
        equal = bool((points["prompt_tokens"] == points["output_tokens"]).all())
        length = points["output_tokens"] * (1 + equal)
        prompt = points["prompt_tokens"] * (not equal)
        grid = points.assign(length=length, prompt=prompt).pivot_table(
            index="batch_size", columns=["prompt", "length"], values="total_s", aggfunc="median"
        )
        sizes, prompts, outputs = (np.unique(v) for v in (points["batch_size"], prompt, length))
        if len(sizes) < 2 or len(outputs) < 2:
            raise InputError(
                f"latency {name}: {len(sizes)} batch sizes, {len(outputs)} outputs (expected at least 2 of each)"
            )
        grid = grid.reindex(columns=[(p, o) for p in prompts for o in outputs])
        if grid.isna().any(axis=None):
            row, column = np.argwhere(grid.isna().to_numpy())[0]
            prompt_tokens, output_tokens = grid.columns[column]
            where = f"batch_size {grid.index[row]:g}, " + (
                f"prompt_tokens and output_tokens {output_tokens / 2:g}"
                if equal
                else f"prompt_tokens {prompt_tokens:g}, output_tokens {output_tokens:g}"
            )
            raise InputError(f"latency {name}: no time at {where} (expected every combination of the grid)")
        head = [len(sizes), len(prompts), len(outputs), equal]
        numbers = np.concatenate([head, sizes, prompts, outputs, grid.to_numpy().ravel()]).astype(float)
        span = Range(*((float(points[c].min()), float(points[c].max())) for c in COLUMNS[:3]), equal_lengths=equal)
        return Measured(cls(numbers), name, span)

    @classmethod
    def read(cls, path: str | Path) -> Measured:
        """`of` a measurement CSV."""
        from simlib import measurements

        check_type("latency file", path, (str, Path), "a path")
        return cls.of(measurements.read(path).frame, Path(path).name)

    def batch_time_s(self, size: Any, prompt_tokens: Any, output_tokens: Any) -> Any:
        """Interpolated times in seconds, for numbers or arrays."""
        from scipy.interpolate import RegularGridInterpolator

        counts, rest = self.numbers[:3].astype(int), self.numbers[HEAD:]
        *axes, times = np.split(rest, np.cumsum(counts))
        shape = [np.asarray(v, float) for v in (size, prompt_tokens, output_tokens)]
        if self.numbers[3]:
            shape[2] = shape[1] + shape[2]
        kept = [i for i in range(3) if counts[i] > 1]
        found = RegularGridInterpolator(
            [axes[i] for i in kept], times.reshape(counts[kept]), bounds_error=False, fill_value=None
        )
        return np.maximum(found(tuple(np.broadcast_arrays(*shape)[i] for i in kept)), 0.0)[()]

    def first_token_s(self, shape: np.ndarray) -> np.ndarray:
        return self.batch_time_s(shape[:, SIZE], shape[:, MAX_PROMPT], 1.0)
