"""What an executed notebook's page would say that it must not, or leave unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from book.make.studies import Project

# Where a number is no statement: code, formulas, roles, addresses.
UNSAID = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)|https?://\S+", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.,/-])\d[\d,]*\.?\d*(?![\w/-]|\.\w)")


def fault(notebook: Any, name: str, project: Project, tables: Iterable[Path]) -> str:
    """The first thing that is wrong with a page, with its cell; empty if nothing.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        As it was executed.
    name : str
        The study's.
    project : Project
        In a quick one, which establishes little, neither claims nor typed numbers are held against its tables.
    tables : iterable of Path
        What it wrote.
    """
    outputs = [(cell.execution_count, output) for cell in notebook.cells for output in cell.get("outputs", ())]
    if not project.quick:
        for _, output in outputs:
            if fallen := output.get("metadata", {}).get("text/markdown", {}).get("not_claimed"):
                return f": this does not hold: {' '.join(fallen)}"
            if output.get("name") == "stderr":
                return f": its page would show a warning: {output.text.splitlines()[0]}"
        for number, file, cell in typed(notebook, tables):
            return f", cell {cell.id}: {number} is typed, and {file} has it (expected it glued, or left to the table)"
    own = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for cell, output in outputs:
        key = output.get("metadata", {}).get("scrapbook", {}).get("name")
        if key and not re.search(rf"`{key}[:`]", own) and not _is_read_elsewhere(key, name, project):
            return f", cell {cell}: {key} is glued, and no prose uses it"
    return ""


def typed(notebook: Any, tables: Iterable[Path]) -> Iterator[tuple[str, str, Any]]:
    """Numbers of three or more significant digits that a sentence types though a table has them: number, table, cell.

    A decimal is had where a value, or its hundredfold, rounds to it. Powers of two are sizes that somebody set.
    """
    read = {file.name: pd.read_csv(file).select_dtypes("number") for file in tables if file.exists()}
    for cell in notebook.cells:
        for said in NUMBER.findall(UNSAID.sub(" ", cell.source)) if cell.cell_type == "markdown" else ():
            number = said.rstrip(".,").replace(",", "")
            whole, _, decimals = number.partition(".")
            digits = (whole + decimals).lstrip("0") if decimals else whole.rstrip("0")
            if len(digits) < 3 or (not decimals and int(whole).bit_count() == 1):
                continue
            scales = (1, 100) if decimals else (1,)
            for file, table in read.items():
                if any(
                    ((table.abs() * scale).round(len(decimals)) == float(number)).any(axis=None) for scale in scales
                ):
                    yield said, file, cell


def _is_read_elsewhere(key: str, name: str, project: Project) -> bool:
    """Whether another page uses a number that this one glues."""
    pages = [*(project.root / "book").glob("*.md"), *(project.root / "notebooks").glob("*.ipynb")]
    return any(re.search(rf"{name}\.ipynb::{key}[:`]", page.read_text()) for page in pages)
