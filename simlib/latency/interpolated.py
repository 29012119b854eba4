"""A latency model that is a table: measured times of a full grid, interpolated between its points.

For measurements that no formula fits. Linear in batch size, prompt and output; beyond the grid the outermost cells go
on, with a warning (`measured`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simlib.checks import InputError, check_type
from simlib.engine.batches import MAX_OUTPUT, MAX_PROMPT, MAX_TOTAL, SIZE
from simlib.latency.measured import Measured, Range
from simlib.latency.measurements import TIMED, points_of, read
from simlib.latency.models import LatencyModel, times_of
from simlib.lazy import pd

HEAD = 4  # of `params`: lengths of the three axes, and whether the last one is of prompt + output


def cell(axis: np.ndarray, first: int, count: int, value: float) -> int:
    """Kernel: the last point of the axis, but for its end, that is not beyond the value."""
    place = first
    for point in range(first + 1, first + count - 1):  # counted, not searched: lengths are random, axes are short
        place += 1 if axis[point] <= value else 0
    return place


def between(params: np.ndarray, corner: int, row: int, x: float, z: float) -> float:
    """Kernel: between four times, x of the way from one batch size to the next and z of that between outputs."""
    near = params[corner] + z * (params[corner + 1] - params[corner])
    far = params[corner + row] + z * (params[corner + row + 1] - params[corner + row])
    return near + x * (far - near)


def table_law(batch: np.ndarray, params: np.ndarray) -> float:
    """Kernel of `Table`; `params` is the axes' lengths, a flag, the axes, then the times in C order."""
    sizes, prompts, outputs = int(params[0]), int(params[1]), int(params[2])
    size, prompt = batch[SIZE], batch[MAX_PROMPT]
    length = batch[MAX_TOTAL] if params[3] > 0.0 else batch[MAX_OUTPUT]
    prompts_at, outputs_at = HEAD + sizes, HEAD + sizes + prompts
    i, k = cell(params, HEAD, sizes, size), cell(params, outputs_at, outputs, length)
    j = cell(params, prompts_at, prompts, prompt)
    axes = sizes + prompts + outputs
    x = (size - params[i]) * params[i + axes]
    z = (length - params[k]) * params[k + axes]
    corner = HEAD + 2 * axes + ((i - HEAD) * prompts + j - prompts_at) * outputs + k - outputs_at
    time_s = between(params, corner, prompts * outputs, x, z)
    if prompts > 1:
        y = (prompt - params[j]) * params[j + axes]
        time_s += y * (between(params, corner + outputs, prompts * outputs, x, z) - time_s)
    return max(time_s, 0.0)


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
        >>> grid = pd.MultiIndex.from_product([(1, 3), (10, 20), (10, 30)], names=TIMED[:3]).to_frame(index=False)
        >>> model = Table.of(grid.assign(total_s=grid["batch_size"] * 0.5))
        >>> float(model.law(np.array([2.0, 15, 30, 20, 40, 35]), model.params))
        1.0
        """
        points_of(points)
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
        axes = [sizes, prompts, outputs]
        per_token = [1 / np.diff(axis, append=axis[-1] + 1) for axis in axes]
        numbers = np.concatenate([head, *axes, *per_token, grid.to_numpy().ravel()]).astype(float)
        span = Range(*((float(points[c].min()), float(points[c].max())) for c in TIMED[:3]), equal_lengths=equal)
        return Measured(cls(numbers), name, span)

    @classmethod
    def read(cls, path: str | Path) -> Measured:
        """`of` a measurement CSV."""
        check_type("latency file", path, (str, Path), "a path")
        return cls.of(read(path).frame, Path(path).name)

    def batch_time_s(self, size: Any, prompt_tokens: Any, output_tokens: Any) -> Any:
        """Interpolated times in seconds, for numbers or arrays."""
        shape = np.broadcast_arrays(*(np.asarray(v, float) for v in (size, prompt_tokens, output_tokens)))
        rows = np.zeros((shape[0].size, MAX_TOTAL + 1))
        for column, values in zip((SIZE, MAX_PROMPT, MAX_OUTPUT), shape, strict=True):
            rows[:, column] = values.ravel()
        rows[:, MAX_TOTAL] = rows[:, MAX_PROMPT] + rows[:, MAX_OUTPUT]
        return times_of(table_law, rows, self.numbers).reshape(shape[0].shape)[()]
