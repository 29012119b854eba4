"""The explorer in Jupyter: drag the deadline, the bins, the GPUs, and see who is late.

Every move simulates again in the kernel, which sends numbers; the browser draws them, with the same script as the
book's own page. Intervals follow in pieces between which the kernel hears of the next move.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from book.explorer import views
from book.explorer.against import Kept
from book.explorer.scripts import DRAWING, SCRIPTS
from book.explorer.state import Position, controls, position_of
from simlib.checks import InputError, check_type
from simlib.requests.table import RequestTable

REST_S = 0.15  # a hand that drags moves on before that


def _read(*names: str) -> str:
    return "\n".join((SCRIPTS / name).read_text(encoding="utf-8") for name in names)


class Explorer(anywidget.AnyWidget):
    """Controls and linked views of simulated runs; displays itself in a notebook.

    Parameters
    ----------
    position : Position
        Where its controls stand at first; afterwards ``position`` is the last good one.
    """

    controls = traitlets.List().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    start = traitlets.Dict().tag(sync=True)

    def __init__(self, position: Position) -> None:
        check_type("position", position, Position, "a position of the controls")
        self._esm, self._css = _read(*(f"{name}.js" for name in (*DRAWING, "widget"))), _read("explorer.css")
        self.position = position
        self._task: asyncio.Task | None = None
        self._kept: Kept | None = None
        given = {"controls": controls(), "state": _plain(position), "start": _plain(position)}
        super().__init__(**given)
        self.on_msg(self._heard)

    @property
    def summaries(self) -> dict[str, dict[str, Any]]:
        """The shown runs in numbers, by scheduler."""
        return {run.policy: run.summary() for run in self.position.runs()}

    def move(self, **moves: Any) -> None:
        """Move controls from Python, values by name; the browser follows.

        Raises
        ------
        InputError
            If a value is out of range; the last good view stays.
        """
        self.position = self.position.moved(moves)
        self.state = _plain(self.position)
        self.send({"kind": "moved", "state": self.state})

    def _heard(self, _widget: Any, content: Mapping[str, Any], _buffers: Any) -> None:
        if content.get("kind") != "move":
            return
        to = {"shown_by": content.get("shown_by"), "number": content.get("number")}
        if self._task is not None:
            self._task.cancel()  # of the position that is left
        try:
            position = self.position.moved(content.get("state"))
            self._keep(content.get("against"))
            self._answer("view", views.view(position), to)
        except InputError as problem:
            self.send({"kind": "refused", "problem": str(problem), **to})
            return
        self.position = position
        with contextlib.suppress(RuntimeError):  # without a loop nobody waits for what follows
            self._task = asyncio.get_running_loop().create_task(self._follow(position, self._kept, to))

    def _keep(self, state: Mapping[str, Any] | None) -> None:
        """The position A that a view compares with; its replications are served once."""
        if state is None:
            self._kept = None
        elif self._kept is None or _plain(self._kept.position) != dict(state):
            self._kept = Kept(self.position.moved(state))

    async def _follow(self, position: Position, kept: Kept | None, to: dict[str, Any]) -> None:
        await asyncio.sleep(REST_S)
        self.state = _plain(position)  # where another view of this explorer would start
        for part in views.following(position, kept=kept):
            if part is not None:
                self._answer("following", part, to)
            await asyncio.sleep(0)  # a move that has come meanwhile is heard here, and ends this

    def _answer(self, kind: str, view: dict[str, Any], to: dict[str, Any]) -> None:
        content, buffers = packed(view)
        self.send({"kind": kind, "view": content, **to}, buffers)


def explore(level: int = 1, table: Any = None, **settings: Any) -> Explorer:
    """Sliders for deadline, bins, GPUs and load, over linked views of who is late.

    Parameters
    ----------
    level : {1, 2, 3, 4}
        Fidelity level: sets the workload and the latency, unless they are given.
    table : str, Path, pandas.DataFrame or RequestTable, optional
        Requests of your own: a CSV with a request table's columns, or a table.
    **settings
        Where the other controls stand, as in `state.Position`: ``schedulers, d_sla, k_bins, gpus, load,
        bin_select, workload, latency, execution, predictor, requests, seed``.

    Returns
    -------
    Explorer
        Displays itself in a notebook.

    Raises
    ------
    InputError
        If a setting is unknown or out of range, or the table is bad (column, row and value named).
    """
    if isinstance(table, (str, Path)):
        settings = {"workload": "own", "table": str(table)} | settings
    elif table is not None:
        own = RequestTable.of(table)
        predictor = "original" if own.predicted_output_tokens is None else "own"
        settings = {"workload": "own", "own": own, "predictor": predictor} | settings
    position = position_of(level, **settings)
    if position.workload == "own":
        position.drawn()  # a bad row is named here, not in a callback
    return Explorer(position)


def packed(view: Any) -> tuple[Any, list[bytes]]:
    """A view for the wire: each array is replaced by its place among the buffers, 32-bit floats.

    Examples
    --------
    >>> packed({"share": 0.5, "counts": np.array([1, 2])})
    ({'share': 0.5, 'counts': {'buffer': 0}}, [b'\\x00\\x00\\x80?\\x00\\x00\\x00@'])
    """
    buffers: list[bytes] = []

    def pack(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            buffers.append(value.astype(np.float32).tobytes())
            return {"buffer": len(buffers) - 1}
        if isinstance(value, Mapping):
            return {name: pack(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [pack(one) for one in value]
        return value.item() if isinstance(value, np.generic) else value

    return pack(view), buffers


def _plain(position: Position) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in position.settings().items()}
