"""Execute what changed and build the pages: ``python -m book.make``.

With the verb ``results``, take results over; with ``picture``, photograph the built explorer for README and front page;
with ``pdf``, print the built book.
"""

from __future__ import annotations

import sys
from pathlib import Path

from book.make import graph, pdf, picture, tables
from book.make.execute import StudyError
from book.make.studies import Project, load
from simlib.checks import InputError


def main(verb: str = "book") -> int:
    """Do what the verb says; returns the exit code."""
    project = Project(Path(), Path("_build"))
    committed = project.root / "data" / "results"
    studies = load(project)
    if verb == "book":
        if not graph.make(project, studies):
            return 1
        found = tables.changes(committed, project.results)
        for name, text in found.items():
            print(f"data/results/{name}: {text}")
        print("`make results` takes these over" if found else "data/results: as committed, to the tolerance")
        print(f"Open {project.front_page}, or `make serve`")
        return 0
    if verb == "results":
        figures = [file for study in studies.values() for file in study.figure_files()]
        times = [file for study in studies.values() for file in study.table_files() if tables.is_of_times(file)]
        taken = tables.take_over(project.results, committed, [*tables.changes(committed, project.results), *times])
        taken += tables.take_over(project.figures, project.root / "figures", figures)
        print(f"{len(taken)} files taken over into data/results and figures")
        return 0
    if verb == "picture":
        print(f"{picture.take(project)}: taken")
        return 0
    if verb == "pdf":
        print(f"{pdf.build(project)}: printed")
        return 0
    raise InputError(f"verb: {verb!r} (expected book, results, picture or pdf)")


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:2]))
    except (InputError, StudyError) as problem:
        sys.exit(f"book: {problem}")
