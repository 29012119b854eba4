"""A grid of cells: what all have in common, what varies, how often each is repeated.

Made of `recipes`, run by `run`. A grid is plain data, from a YAML file or from Python, so that it can be hashed, sent
and stored. Cells are counted, never listed: a million of them take no memory. A designed experiment, whose points are
no grid, gives them row by row. All are checked before the first one runs.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_type, shown
from simlib.latency.models import LatencyModel
from simlib.runs.sla import SLA
from simlib.sweep import documents
from simlib.sweep.recipes import SECTIONS, Original, Synthetic, Trace

MOST_CELLS, MOST_REPLICATIONS, MOST_KEPT = 10**9, 2**31, 1024
# What the bins depend on: varies slower than the rest of a policy, as the workload varies slower than all.
BINNING = ("policy", "policy.kind", "policy.variant", "policy.variant.kind", "policy.k_bins", "policy.bounds")

# What a policy may need and a workload lack.
NEEDED = {
    "predictions": "workload.predictor: missing (the policy bins by its lengths)",
    "priorities": "workload.priorities: missing (expected shares such as [0.2, 0.8], or a trace that has the column)",
}


class Cell(NamedTuple):
    """One cell, ready to simulate."""

    workload: Original | Synthetic | Trace
    policy: Any
    latency: LatencyModel
    gpus: int
    sla: SLA | None
    oversize: str


@dataclass(frozen=True)
class Grid:
    """A grid of cells: what all have in common, and what varies.

    Parameters
    ----------
    vary : mapping of str to sequence
        Values by parameter; the cells are all combinations, or `rows`. A parameter is named by its path, as in
        ``workload.arrivals.rate_rps``, ``policy.k_bins``, ``policy.variant.epsilon_s``, ``latency.alpha_s``, ``gpus``,
        ``sla``; a whole section varies too (``policy: [static_fifo, dynamic_no_bins]``).
    replications : int
        Independent runs of each cell, >= 1. In one replication all cells share their random numbers.
    workload : str or mapping
        ``original``, ``synthetic`` or ``trace`` with the parameters of `Original`, `Synthetic` or `Trace`.
    policy : str or mapping
        A key of `named.POLICIES`, with the policy's parameters.
    latency : str or mapping
        What `named.latency_of` takes as text, or parameters of `models.Affine`; with ``kind`` those of a preset.
    gpus : int
    sla : float or str, optional
        Deadline of the summary, as in `simulate`.
    oversize : {"error", "reject"}
        As in `simulate`.
    rows : bool
        Whether the values belong together row by row, as columns of a list of cells: as many of every parameter.

    Raises
    ------
    InputError
        If a name is unknown (the nearest is suggested), a parameter has no values or (of a grid) one twice, columns of
        rows are not equally long, or a value is not plain data. Values out of range are found by `check`.

    Notes
    -----
    Cells are numbered from 0, the last parameter of a grid running fastest. Its parameters of the workload come first,
    then those that decide the bins, so that neighbours share both; otherwise the order is as given.

    Examples
    --------
    >>> grid = Grid({"gpus": [1, 2], "policy.k_bins": [1, 4, 8]}, replications=5)
    >>> grid.cells, grid.values(1)
    (6, {'policy.k_bins': 1, 'gpus': 2})
    >>> Grid({"gpus": [1, 2], "policy.k_bins": [1, 4]}, rows=True).cells
    2
    """

    vary: Mapping[str, Sequence[Any]]
    replications: int = 20
    workload: Any = "original"
    policy: Any = "multi_bin_dynamic"
    latency: Any = "original-synthetic"
    gpus: Any = 1
    sla: Any = None
    oversize: Any = "error"
    rows: bool = False

    def __post_init__(self) -> None:
        check_type("vary", self.vary, Mapping, "values by parameter")
        if not self.vary:
            raise InputError("vary: nothing (an empty grid; expected at least one parameter with its values)")
        check_type("rows", self.rows, bool, "True or False")
        axes = {_parameter(name): _axis(name, values, self.rows) for name, values in self.vary.items()}
        if self.rows:
            _check_columns(axes)
        rank = {name: 0 if _section(name) == "workload" else 1 if name in BINNING else 2 for name in axes}
        put = functools.partial(object.__setattr__, self)
        put("vary", {name: axes[name] for name in sorted(axes, key=rank.__getitem__)})
        put("replications", check_integer("replications", self.replications, 1, MOST_REPLICATIONS))
        for name in SECTIONS:
            put(name, _plain(name, getattr(self, name)))
        check_integer("vary: number of cells", self.cells, 1, MOST_CELLS)

    @classmethod
    def of(cls, document: Any, source: str = "grid") -> Grid:
        """A grid from a mapping with the parameters' names, such as a YAML file's content."""
        check_type(source, document, Mapping, f"a mapping of {', '.join(f.name for f in fields(cls))}")
        for name in document:
            check_choice(f"{source}, a parameter", name, [f.name for f in fields(cls)])
        if "vary" not in document:
            raise InputError(f"{source}: no vary (an empty grid; expected at least one parameter with its values)")
        return cls(**document)

    @classmethod
    def read(cls, path: str | Path) -> Grid:
        """A grid from a YAML file.

        Raises
        ------
        InputError
            If the file is missing or not YAML (`documents.read`; line and column are named), or the grid is bad.
        """
        source, document = documents.read(path, "a grid in YAML, a mapping that has vary")
        return cls.of(document, source)

    @functools.cached_property
    def cells(self) -> int:
        """Number of cells."""
        if self.rows:
            return len(next(iter(self.vary.values())))
        return math.prod(len(values) for values in self.vary.values())

    @functools.cached_property
    def document(self) -> str:
        """The grid as JSON: what is stored, and sent to workers."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        if not self.rows:  # as it always was, so that a directory of earlier results is still this grid's
            parts.pop("rows")
        return json.dumps(parts)

    @functools.cached_property
    def identity(self) -> str:
        """SHA-256 of the grid and of the files that it names: equal for equal results."""
        digest = hashlib.sha256(self.document.encode())
        for path in sorted(self.files):
            digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
        return digest.hexdigest()

    @property
    def files(self) -> set[str]:
        """The files that it names."""
        return _files(json.loads(self.document))

    def traces(self) -> Iterator[Trace]:
        """The first workload of each file of requests that it names."""
        told: set[str] = set()
        for cell in self._first_cells("workload") if '"trace"' in self.document else ():
            made = self._made("workload", cell)
            if isinstance(made, Trace) and made.path not in told:
                told.add(made.path)
                yield made

    def values(self, cell: int) -> dict[str, Any]:
        """What varies, in one cell."""
        return {name: values[self._place(cell, name)] for name, values in self.vary.items()}

    def cell(self, number: int) -> Cell:
        """One cell, ready to simulate; the latest few are kept, as each replication asks for them again."""
        return _once(self._cells, number, lambda: Cell(*(self._made(section, number) for section in SECTIONS)))

    def check(self) -> None:
        """Check every cell: every combination of values that can be wrong together.

        Raises
        ------
        InputError
            Naming the first bad cell, the parameter, its value and what was expected.
        """
        lacking: dict[str, list[Any]] = {part: [None, None] for part in NEEDED}  # first cells that need, and lack it
        for section in SECTIONS:
            for cell in self._first_cells(section):
                try:
                    made = self._made(section, cell)
                    if section == "workload":
                        made.check(self.replications)
                except InputError as problem:
                    raise InputError(f"cell {cell} of {self.cells}: {problem}") from None
                for part, first in lacking.items():
                    if section == "policy" and first[0] is None and _needs(made, part):
                        first[0] = cell
                    if section == "workload" and first[1] is None and not _has(made, part):
                        first[1] = cell
        for part, (needs, lacks) in lacking.items():
            if needs is not None and lacks is not None:
                # Combinations of two sections meet in the cell that has both, the rest being at its first value.
                cell = self._blind_row(part) if self.rows else needs + lacks
                if cell is not None:
                    raise InputError(f"cell {cell} of {self.cells}: {NEEDED[part]}")

    def _blind_row(self, part: str) -> int | None:
        """The first row whose policy needs a part of the requests that its workload does not have."""
        parts = ((self._made("policy", cell), self._made("workload", cell)) for cell in range(self.cells))
        return next((row for row, (p, w) in enumerate(parts) if _needs(p, part) and not _has(w, part)), None)

    def longest(self) -> int:
        """Requests of the largest cell."""
        recipes = (self._made("workload", cell) for cell in self._first_cells("workload"))
        return max(recipe.requests or len(recipe.table(0)) for recipe in recipes)

    def workloads(self) -> int:
        """How many times a replication makes a workload: neighbouring cells share one."""
        return sum(1 for _ in self._first_cells("workload"))

    @functools.cached_property
    def _steps(self) -> dict[str, int]:
        """How many cells lie between one value of a parameter and its next."""
        names = list(self.vary)
        return {name: math.prod(len(self.vary[after]) for after in names[i + 1 :]) for i, name in enumerate(names)}

    def _place(self, cell: int, name: str) -> int:
        return cell if self.rows else cell // self._steps[name] % len(self.vary[name])

    def _first_cells(self, section: str) -> Iterator[int]:
        """The first cell of everything that a section can be; of rows, each that is not as the one before."""
        if self.rows:
            columns = [self.vary[name] for name in self._axes[section]]
            return (i for i in range(self.cells) if i == 0 or any(column[i] != column[i - 1] for column in columns))
        axes = [range(0, len(self.vary[name]) * self._steps[name], self._steps[name]) for name in self._axes[section]]
        return (sum(places) for places in itertools.product(*axes))

    @functools.cached_property
    def _axes(self) -> dict[str, list[str]]:
        """The parameters of each section that vary, the whole section before its parts."""
        return {
            section: sorted((name for name in self.vary if _section(name) == section), key=lambda name: name.count("."))
            for section in SECTIONS
        }

    def _made(self, section: str, cell: int) -> Any:
        """What a section of a cell describes; the latest few are kept, as neighbours share them."""
        axes = self._axes[section]
        places = [self._place(cell, name) for name in axes]

        def make() -> Any:
            whole = getattr(self, section)
            for name, place in zip(axes, places, strict=True):
                whole = _put(whole, name.split(".")[1:], self.vary[name][place], name)
            return SECTIONS[section](whole)

        return _once(self._kept, (section, *places), make)

    @functools.cached_property
    def _kept(self) -> dict[tuple, Any]:
        return {}

    @functools.cached_property
    def _cells(self) -> dict[int, Cell]:
        return {}


def _once(kept: dict, key: Any, make: Callable[[], Any]) -> Any:
    """What stands under a key, made where it does not; a full store begins anew."""
    if key not in kept:
        if len(kept) >= MOST_KEPT:
            kept.clear()
        kept[key] = make()
    return kept[key]


def _section(name: str) -> str:
    return name.partition(".")[0]


def _parameter(name: Any) -> str:
    check_choice("vary, a parameter", _section(name) if isinstance(name, str) else name, SECTIONS)
    return name


def _check_columns(axes: Mapping[str, Sequence[Any]]) -> None:
    """Raise `InputError` on the first column of rows that is not as long as the first one."""
    (first, values), *others = axes.items()
    for name, column in others:
        if len(column) != len(values):
            raise InputError(f"vary {name}: {len(column)} rows (expected {len(values)}, as of {first})")


def _axis(name: str, values: Any, rows: bool) -> list[Any]:
    """The values of one parameter, checked to be some, plain and, but in rows, different."""
    if isinstance(values, (str, Mapping)) or not np.iterable(values):
        raise InputError(f"vary {name}: {values!r} (expected a list of values)")
    plain = [_plain(f"vary {name}", value) for value in values]
    if not plain:
        raise InputError(f"vary {name}: no value (an empty grid; expected at least one)")
    seen: set[str] = set()
    for value in [] if rows else plain:
        text = json.dumps(value, sort_keys=True)
        if text in seen:
            raise InputError(f"vary {name}: {value!r} comes twice (expected different values)")
        seen.add(text)
    return plain


def _plain(name: str, value: Any, nested: int = 0) -> Any:
    """Numbers, texts, lists and mappings by text; whatever else is refused."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if nested > documents.MOST_NESTED:
        raise InputError(f"{name[:99]}: more than {documents.MOST_NESTED} lists or mappings in one another")
    if isinstance(value, (int, float)) and not (
        -(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)
    ):
        raise InputError(f"{name}: {shown(value)} (expected a finite number, an integer of 64 bits)")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, range)):
        return [_plain(name, one, nested + 1) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(f"{name}.{key}", one, nested + 1) for key, one in value.items()}
    raise InputError(f"{name}: {shown(value)} (expected a number, a text, a list or a mapping)")


def _put(whole: Any, path: Sequence[str], value: Any, name: str) -> Any:
    """A copy with one value put in; where a name stands for its defaults, they are opened."""
    if not path:
        return value
    if isinstance(whole, str):
        whole = {"kind": whole}
    if whole is not None and not isinstance(whole, Mapping):
        raise InputError(f"{name}: {whole!r} has no parts (expected a parameter's path)")
    whole = dict(whole or {})
    return whole | {path[0]: _put(whole.get(path[0]), path[1:], value, name)}


def _files(value: Any) -> set[str]:
    """Every text of a document that names an existing file."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return set().union(*map(_files, value))
    if isinstance(value, str) and len(value) < 4096 and "\0" not in value and "." in value and Path(value).is_file():
        return {value}
    return set()


def _needs(policy: Any, part: str) -> bool:
    return getattr(policy, f"needs_{part}", False)


def _has(workload: Any, part: str) -> bool:
    return getattr(workload, f"has_{part}")
