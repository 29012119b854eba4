"""What depends on what: each study on its notebook, parameters, modules, data and needed tables; the pages on all.

The graph is doit's: a task runs again when the content of a file that it depends on has changed, or its settings, or
when something that it makes is missing. Studies run two at a time, and one that fails does not stop the others.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from doit.exceptions import TaskFailed, UnmetDependency
from doit.reporter import ZeroReporter
from doit.tools import config_changed

from book.kit.page import THREADS
from book.make import execute, imports, pages
from book.make.studies import Project, Study


def make(
    project: Project,
    studies: Mapping[str, Study],
    processes: int = 2,
    run_study: Callable[..., None] = execute.execute,
    build_pages: Callable[[Project], None] = pages.build,
) -> bool:
    """Bring the studies and the pages up to date.

    Parameters
    ----------
    project : Project
    studies : mapping of str to Study
    processes : int
        How many studies run at a time; 0 runs them in this process.
    run_study, build_pages : callable
        What a study's task and the pages' task do.

    Returns
    -------
    bool
        Whether all of it is up to date now.
    """
    project.build.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault(THREADS, str(max(1, (os.cpu_count() or 1) // max(1, processes))))  # a core has one thread
    settings = {"continue": True, "verbosity": 2, "reporter": _Reporter, "num_process": processes}
    return _doit(project, studies, run_study, build_pages, settings).run(["run"]) == 0


def is_current(project: Project, studies: Mapping[str, Study]) -> bool:
    """Whether all of it is made, and `make` would find nothing to do."""
    if not project.front_page.exists():
        return False
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        _doit(project, studies, execute.execute, pages.build, {}).run(["list", "--all", "--status"])
    states = dict(reversed(line.split(maxsplit=1)) for line in told.getvalue().splitlines() if line.strip())
    return {state for task, state in states.items() if task.strip() != "study"} == {"U"}  # the group is never current


def _doit(
    project: Project,
    studies: Mapping[str, Study],
    run_study: Callable[..., None],
    build_pages: Callable[[Project], None],
    settings: Mapping[str, Any],
) -> DoitMain:
    where = {"backend": "json", "dep_file": str(project.build / "doit.json"), "default_tasks": ["pages"]}
    tasks = {
        "DOIT_CONFIG": where | settings,
        "task_study": lambda: _study_tasks(project, studies, run_study),
        "task_pages": lambda: _pages_task(project, studies, build_pages),
    }
    return DoitMain(ModuleTaskLoader(tasks), config_filenames=())


def _study_tasks(project: Project, studies: Mapping[str, Study], run: Callable[..., None]) -> Iterator[dict[str, Any]]:
    for name, study in studies.items():
        code = imports.notebook_code(study.notebook_path(project))
        needed = (project.results / file for need in study.needs for file in studies[need].table_files())
        files = [
            study.notebook_path(project),
            project.root / "requirements.lock",
            *imports.modules_of(code, project.root),
            *study.data_paths(project),
            *needed,
        ]
        made = [
            project.executed(name),
            *(project.results / file for file in study.table_files()),
            *(project.figures / file for file in study.figure_files()),
        ]
        yield {
            "name": name,
            "actions": [(_timed, [name, run, (project, studies, name)])],
            "file_dep": [str(path) for path in files],
            "targets": [str(path) for path in made],
            "uptodate": [config_changed({"settings": study.settings(project), "study": repr(study)})],
        }


def _pages_task(project: Project, studies: Mapping[str, Study], build: Callable[[Project], None]) -> dict[str, Any]:
    figures = (project.figures / file for study in studies.values() for file in study.figure_files())
    files = [
        *pages.sources(project),
        *(project.root / "simlib").rglob("*.py"),  # the API pages quote them
        *(project.executed(name) for name in studies),
        *figures,
    ]
    return {
        "actions": [(_timed, ["pages", build, (project,)])],
        "file_dep": [str(path) for path in files],
        "targets": [str(project.front_page)],
        "task_dep": ["study"],
    }


def _timed(name: str, action: Callable[..., None], arguments: tuple[Any, ...]) -> TaskFailed | None:
    """Run one task, with a line that says how long it took or why it failed."""
    start_s = time.perf_counter()
    try:
        action(*arguments)
    except Exception as error:
        known = isinstance(error, execute.StudyError)
        return TaskFailed(f"{name} failed: {error if known else repr(error)}")
    print(f"  {name:<20} {time.perf_counter() - start_s:6.1f} s", flush=True)
    return None


class _Reporter(ZeroReporter):
    """Failures only: each task prints its own line."""

    desc = "failures only"

    def add_failure(self, task: Any, fail: Any) -> None:
        if not isinstance(fail, UnmetDependency):
            print(f"\n{fail.get_msg().strip()}\n", flush=True)
        elif task.name != "study":  # the group of all studies is nothing that could be made
            print(f"  {task.name.removeprefix('study:')}: not made, because something that it depends on failed")
