"""One study: its notebook run by papermill in a folder of its own, and what it wrote held against its declaration.

A study sees only the tables of the studies that it declares to need, and leaves only the tables and figures that it
declares to write. Its executed copy is kept whether it succeeds or fails.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from book.make import prose
from book.make.studies import Project, Study

FOLDERS = ("RESULTS_DIR", "FIGURES_DIR")
FIRST = ("answer", "picture", "rests")  # what a page shows behind its question, in this order
WORDS_PER_MINUTE = 220


class StudyError(Exception):
    """A study that failed, with the reason in one sentence."""


def execute(project: Project, studies: Mapping[str, Study], name: str, run=None) -> None:
    """Run a study and collect what it wrote.

    Parameters
    ----------
    project : Project
    studies : mapping of str to Study
    name : str
        Which of them.
    run : callable, optional
        In place of `run_notebook`, with the same parameters.

    Raises
    ------
    StudyError
        If the notebook fails, has no such parameter, does not write what is declared, or says what does not hold.
    """
    study, scratch = studies[name], project.build / "run" / name
    shutil.rmtree(scratch, ignore_errors=True)
    folders = {key: scratch / kind for key, kind in zip(FOLDERS, ("results", "figures"), strict=True)}
    for folder in folders.values():
        folder.mkdir(parents=True)
    given = [file for need in study.needs for file in studies[need].table_files()]
    for file in given:
        shutil.copy2(project.results / file, folders["RESULTS_DIR"])
    parameters = study.settings(project) | {key: project.seen_from_root(path) for key, path in folders.items()}
    (run or run_notebook)(project, study, parameters)
    _collect(study.name, folders["RESULTS_DIR"], project.results, study.table_files(), given)
    _collect(study.name, folders["FIGURES_DIR"], project.figures, study.figure_files())


def run_notebook(project: Project, study: Study, parameters: dict[str, Any]) -> None:
    """Execute the study's notebook into its page; unknown parameters, which papermill would ignore, are refused."""
    import nbformat
    import papermill

    source, page = study.notebook_path(project), project.executed(study.name)
    where = project.seen_from_root(source)
    known = papermill.inspect_notebook(str(source))
    if unknown := sorted(set(parameters) - set(known)):
        raise StudyError(f"{', '.join(unknown)}: no such parameter in {where} (it has {', '.join(known)})")
    page.parent.mkdir(parents=True, exist_ok=True)
    options = {"kernel_name": "python3", "progress_bar": False, "log_output": False}
    options["extra_arguments"] = [
        "--IPKernelApp.log_level=CRITICAL"
    ]  # its notices are nobody's news; errors are cells'

    def attempt() -> None:
        papermill.execute_notebook(str(source), str(page), parameters, cwd=str(project.root), **options)

    try:
        try:
            attempt()
        except RuntimeError as error:
            if "Kernel died before replying" not in str(error):
                raise
            attempt()  # no cell has run: two kernels that start at once may choose the same port
    except papermill.PapermillExecutionError as error:
        kept = project.seen_from_root(page)
        raise StudyError(f"{error.ename}: {error.evalue} (cell {error.exec_count}; executed copy: {kept})") from None
    executed = nbformat.read(page, as_version=4)
    written = [project.root / parameters["RESULTS_DIR"] / file for file in study.table_files()]
    if fault := prose.fault(executed, study.name, project, written):
        raise StudyError(f"{where}{fault}")
    _prepare_page(executed, study)
    nbformat.write(executed, page)


def _prepare_page(notebook: Any, study: Study) -> None:
    """Put what is read first at the head, say how to repeat it, and take out what a page cannot use.

    Behind the question come the answer, the picture that shows it, and what both rest on, whenever they were computed.
    A page cannot use widgets, nor the build's own folders.
    """
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [
                out for out in cell.outputs if not any("widget-view" in kind for kind in out.get("data", {}))
            ]
        if "injected-parameters" in _tags(cell):
            cell.source = "\n".join(line for line in cell.source.splitlines() if not line.startswith(FOLDERS))
        if {"parameters", "injected-parameters"} & set(_tags(cell)):
            cell.metadata["tags"] = [*_tags(cell), "hide-input"]
    head, *shown = [cell for cell in notebook.cells if cell.source.strip() not in ("", "# Parameters")]
    first = [cell for tag in FIRST for cell in shown if tag in _tags(cell)]
    for cell in first:
        if "rests" in _tags(cell):
            cell.source += f"\n\n**To read** {_minutes(notebook)}. {_to_repeat(study)}"
        elif cell.cell_type == "code":
            cell.metadata["tags"] = [tag for tag in _tags(cell) if tag != "hide-input"] + ["remove-input"]
    notebook.cells = [head, *first, *(cell for cell in shown if cell not in first)]
    if study.title:
        first_line, _, rest = head.source.partition("\n")
        head.source = f"# {study.title}\n{rest if first_line.startswith('# ') else head.source}"


def _tags(cell: Any) -> list[str]:
    return cell.metadata.get("tags", [])


def _minutes(notebook: Any) -> str:
    """How long a page takes to read: its words, and a quarter of a minute for each picture."""
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    words = sum(len(text.split()) for text in [*texts, *(data.get("text/markdown", "") for data in outputs)])
    minutes = max(1, round(words / WORDS_PER_MINUTE + sum("image/svg+xml" in data for data in outputs) / 4))
    return f"{minutes} minute{'s' if minutes > 1 else ''}"


def _to_repeat(study: Study) -> str:
    """The page's notebook, and the command that executes it again."""
    file = f"notebooks/{study.notebook or study.name}.ipynb"
    given = f" -f notebooks/{study.parameters}" if study.parameters else ""
    copied = "cp -r data/results out && " if study.needs else ""  # it reads the tables of others
    command = f"{copied}papermill {file} out.ipynb{given} -p RESULTS_DIR out -p FIGURES_DIR out"
    return f"**To repeat** {{download}}`the notebook <{study.name}.ipynb>`:\n\n```sh\n{command}\n```"


def _collect(name: str, folder: Path, target: Path, declared: list[str], given: list[str] = ()) -> None:
    """Move what a study wrote to where all results lie, once it is what was declared."""
    written = {path.name for path in folder.rglob("*") if path.is_file()} - set(given)
    if missing := sorted(set(declared) - written):
        raise StudyError(f"{', '.join(missing)}: declared in notebooks/studies.yaml, but {name} did not write it")
    if extra := sorted(written - set(declared)):
        raise StudyError(f"{', '.join(extra)}: written by {name}, but not declared in notebooks/studies.yaml")
    target.mkdir(parents=True, exist_ok=True)
    for file in declared:
        shutil.move(folder / file, target / file)
