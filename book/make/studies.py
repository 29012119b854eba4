"""What notebooks/studies.yaml declares: which notebook is run with which parameters, what it reads, what it writes.

A declaration that cannot be right (an unknown key, a missing file, a table that two studies write) is refused before
anything runs; whether it is *true* is checked by `execute`, after each run.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from simlib.checks import InputError
from simlib.datasets import locate


@dataclass(frozen=True, slots=True)
class Project:
    """Where everything lies.

    Parameters
    ----------
    root : Path
        The checkout.
    build : Path
        The build folder; its name is ``_build``, as Jupyter Book wants it.
    quick : bool
        Whether each study runs with its ``quick`` parameters, as the tests do.
    """

    root: Path
    build: Path
    quick: bool = False

    @property
    def source(self) -> Path:
        """The tree that Jupyter Book reads: prose, executed notebooks, figures."""
        return self.build / "src"

    @property
    def results(self) -> Path:
        return self.build / "results"

    @property
    def figures(self) -> Path:
        return self.build / "figures"

    @property
    def front_page(self) -> Path:
        return self.build / "html" / "book" / "index.html"

    def executed(self, name: str) -> Path:
        """The executed copy of a study's notebook, which is its page."""
        return self.source / "notebooks" / f"{name}.ipynb"

    def seen_from_root(self, path: Path) -> str:
        """A path as a notebook is given it: relative to the root, where notebooks run."""
        return os.path.relpath(path, self.root)


@dataclass(frozen=True, slots=True)
class Study:
    """One run of one notebook; the keys are explained at the top of notebooks/studies.yaml."""

    name: str
    notebook: str = ""
    title: str = ""
    parameters: str = ""
    quick: dict[str, Any] | None = None
    needs: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()

    def notebook_path(self, project: Project) -> Path:
        return project.root / "notebooks" / f"{self.notebook or self.name}.ipynb"

    def parameter_path(self, project: Project) -> Path | None:
        return project.root / "notebooks" / self.parameters if self.parameters else None

    def data_paths(self, project: Project) -> list[Path]:
        """The files of `data` that there are: the repository's own, and of the others those that can be found."""
        found = []
        for name in self.data:
            try:
                found.append(project.root / name if name.startswith("data/") else locate(name))
            except InputError:
                continue
        return found

    def table_files(self) -> list[str]:
        return [f"{name}.csv" for name in self.tables]

    def figure_files(self) -> list[str]:
        return [f"{name}.{kind}" for name in self.figures for kind in ("svg", "png")]

    def settings(self, project: Project) -> dict[str, Any]:
        """The parameters that differ from the notebook's own."""
        path = self.parameter_path(project)
        given = yaml.safe_load(path.read_text()) if path else {}
        return given | (self.quick or {} if project.quick else {})


def load(project: Project) -> dict[str, Study]:
    """The declared studies by name, in the file's order.

    Raises
    ------
    InputError
        Naming the study, the key and what is wrong with it.
    """
    declared = yaml.safe_load((project.root / "notebooks" / "studies.yaml").read_text())
    studies = {name: _study(name, entry or {}) for name, entry in declared.items()}
    writers: dict[str, str] = {}
    for study in studies.values():
        paths = (study.notebook_path(project), study.parameter_path(project))
        own_data = [project.root / name for name in study.data if name.startswith("data/")]
        for path in (*paths, *own_data):
            if path and not path.is_file():
                raise InputError(f"study {study.name}: {project.seen_from_root(path)} is not there")
        for need in study.needs:
            if need not in studies:
                raise InputError(f"study {study.name}, needs: {need!r} (expected one of {', '.join(studies)})")
        for file in (*study.table_files(), *study.figure_files()):
            if file in writers:
                raise InputError(f"study {study.name}: {file} is also written by {writers[file]}")
            writers[file] = study.name
    return studies


def _study(name: str, entry: dict[str, Any]) -> Study:
    known = [field.name for field in fields(Study) if field.name != "name"]
    for key, value in entry.items():
        if key not in known:
            raise InputError(f"study {name}: unknown key {key!r} (expected some of {', '.join(known)})")
        kind = {"quick": dict, "notebook": str, "title": str, "parameters": str}.get(key, list)
        if not isinstance(value, kind):
            raise InputError(f"study {name}, {key}: {value!r} (expected a {kind.__name__})")
    return Study(name, **{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()})
