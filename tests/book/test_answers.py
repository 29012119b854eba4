"""The answers in the notebooks: written by a person, held by the committed tables, and by those alone.

An answer's cell reads tables that its page has written, so that it can be tried on the committed ones, and on the same
with their arms swapped, without running a study.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from book.kit.page import Page
from book.make.studies import Project, Study, load
from simlib.checks import InputError

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Project(ROOT, ROOT / "_build")
STUDIES = load(PROJECT)
Swap = Callable[[pd.DataFrame], pd.DataFrame]


def cell_of(study: Study) -> str:
    """The source of a notebook's answer, empty where there is none."""
    cells = nbformat.read(study.notebook_path(PROJECT), as_version=4).cells
    return "\n".join(cell.source for cell in cells if "answer" in cell.metadata.get("tags", []))


ANSWERED = [name for name, study in STUDIES.items() if cell_of(study)]


@dataclass(frozen=True)
class Committed(Page):
    """A page that finds the committed tables where it would find its own, some of them changed."""

    swaps: dict[str, Swap] = field(default_factory=dict)

    def written(self, name: str) -> pd.DataFrame:
        """The committed table, changed if it is to be."""
        return self.swaps.get(name, lambda table: table)(Page.written(self, name))


def answered(name: str, swaps: dict[str, Swap] | None = None) -> tuple[str, dict[str, bool]]:
    """The text of an answer over the committed tables, and which of its sentences hold."""
    study, source = STUDIES[name], ast.parse(cell_of(STUDIES[name]))
    page = Committed(name, {"RESULTS_DIR": ROOT / "data" / "results"}, swaps=swaps or {})
    space = {"page": page}
    for node in before(study):
        exec(compile(ast.Module([node], []), name, "exec"), space)
    space |= study.settings(PROJECT)
    *lines, last = source.body
    exec(compile(ast.Module(lines, []), name, "exec"), space)
    return eval(compile(ast.Expression(last.value), name, "eval"), space).data, page.claims


def before(study: Study) -> Iterator[ast.stmt]:
    """What an answer may rely on: the notebook's parameters and imports."""
    for cell in nbformat.read(study.notebook_path(PROJECT), as_version=4).cells:
        if cell.cell_type == "code":
            parameters = "parameters" in cell.metadata.get("tags", [])
            yield from (
                node
                for node in ast.parse(cell.source).body
                if parameters or isinstance(node, ast.Import | ast.ImportFrom)
            )


@pytest.mark.parametrize("name", ANSWERED)
def test_an_answer_is_short_and_holds(name):
    shown, claims = answered(name)
    assert all(claims.values()), claims
    text = re.sub(r"\[(.+?)\]\(.+?\)", r"\1", shown.removeprefix("**Answer.** "))
    first = re.match(r".+?[.?!](?= |$)", text)[0]
    assert len(text.split()) <= 60, text
    assert len(re.findall(r"\d[\d.,]*", text)) <= 5, text
    assert "`" not in text and "_" not in text, text
    assert not re.search(r"\d", first), first
    assert not re.search(r"\d{3,}|\d\.\d{2,}", re.sub(r"{.*?}", "", prose(name))), "typed where a number should be put"


def prose(name: str) -> str:
    """The texts of an answer before its numbers are put in."""
    calls = [node for node in ast.walk(ast.parse(cell_of(STUDIES[name]))) if isinstance(node, ast.Call)]
    texts = [call.args[0].value for call in calls if getattr(call.func, "attr", "") in ("answer", "holds")]
    return " ".join(texts)


def exchanged(column: str, one: str, other: str) -> Swap:
    """Give each of two arms the other's rows."""
    return lambda table: table.assign(**{column: table[column].replace({one: other, other: one})})


def columns(one: str, other: str) -> Swap:
    """Give each of two arms the other's column."""
    return lambda table: table.rename(columns={one: other, other: one})


def negated(table: pd.DataFrame) -> pd.DataFrame:
    """Take each difference the other way round."""
    return table.assign(difference=-table["difference"], ci_low=-table["ci_high"], ci_high=-table["ci_low"])


def inverted(table: pd.DataFrame) -> pd.DataFrame:
    """Take each ratio the other way round."""
    return table.assign(ratio=1 / table["ratio"], ci_low=1 / table["ci_high"], ci_high=1 / table["ci_low"])


# What is compared in each answer, the other way round: every sentence that is held has to fall.
SWAPPED: dict[str, dict[str, Swap]] = {
    "workloads": {"workloads_lengths": exchanged("workload", "BurstGPT sample", "synthetic recipe")},
    # helper A
    # helper B
    # helper C
    # helper D
    # helper E
}


@pytest.mark.parametrize("name", ANSWERED)
def test_a_guard_falls_when_the_arms_of_its_table_are_swapped(name):
    shown, claims = answered(name, SWAPPED[name])
    assert not any(claims.values()), claims
    assert "At these parameters this is not claimed" in shown


def test_no_number_is_left_over_and_no_first_sentence_unguarded():
    page = Page("page", {})
    page.holds("Bins need GPUs.", True)
    assert page.answer("Bins need GPUs. On one they carry {one}.", one="half").data.endswith("they carry half.")
    with pytest.raises(InputError, match="page, answer: two: in no sentence"):
        page.answer("Bins need GPUs. On one they carry {one}.", one="half", two=2)
    with pytest.raises(InputError, match=r"page, answer: nothing holds its first sentence.*'On one"):
        page.answer("On one they carry half.")


@pytest.mark.parametrize("condition", [0.93, None, "true", pd.Series([True])])
def test_a_condition_is_a_truth_value(condition):
    with pytest.raises(InputError, match=r"(?s)page, holds\('Bins need GPUs.'\): .* is no truth"):
        Page("page", {}).holds("Bins need GPUs.", True, condition)


def test_a_guard_without_a_condition_is_refused():
    with pytest.raises(InputError, match="no condition"):
        Page("page", {}).holds("Bins need GPUs.")
