"""The book's build on a small project of its own: what a change touches is made again, and nothing else."""

import json
from pathlib import Path

import nbformat
import pytest
from browser import chromium as a_browser
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from book.make import execute, graph, imports, pdf, picture, prose, tables
from book.make.browser import chromium
from book.make.studies import Project, load
from simlib.checks import InputError

ROOT = Path(__file__).resolve().parents[2]

MODULES = {
    "__init__": "",
    "alpha": "def first():\n    from simlib import beta\n    return beta",
    "beta": "import math\nBETA = math.pi",
    "gamma": "def make_gamma(): ...",
    "alone": "",
}
NOTEBOOKS = {
    "one": "from simlib.alpha import first",
    "two": "import simlib as s\ns.make_gamma()",
    "three": "TOTAL = 0",
}
STUDIES = """
one: {tables: [numbers], data: [data/rows.csv]}
two: {parameters: two.yaml, figures: [picture], quick: {SEED: 7}}
three: {needs: [one], tables: [sums]}
"""


def notebook(code: str, *, parameters: str = 'SEED = 1\nRESULTS_DIR = ""\nFIGURES_DIR = ""') -> str:
    first = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    said = new_markdown_cell("# A title\n\nIt is 1.37.", id="said")
    return nbformat.writes(new_notebook(cells=[said, first, new_code_cell(code)], metadata=kernel))


class Made:
    """A toy project, and a record of what was made in it; its studies are not run but write what they declare."""

    def __init__(self, root: Path) -> None:
        self.project, self.seen, self.runs = Project(root, root / "_build"), [], 0
        self.broken: dict[str, str] = {}
        self.write("requirements.lock", "")
        self.write("_config.yml", "")
        self.write("_toc.yml", "")
        self.write("CITATION.cff", "")
        self.write("book/index.md", "# Front")
        self.write("data/rows.csv", "a\n1\n")
        self.write("notebooks/studies.yaml", STUDIES)
        self.write("notebooks/two.yaml", "SEED: 2")
        for name, code in MODULES.items():
            self.write(f"simlib/{name}.py", code)
        for name, code in NOTEBOOKS.items():
            self.write(f"notebooks/{name}.ipynb", notebook(code))

    def write(self, name: str, text: str) -> None:
        path = self.project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def again(self) -> list[str]:
        """Bring the project up to date; what had to be made, in alphabetical order."""
        self.seen = []
        studies = load(self.project)

        def run_study(project, studies, name):
            execute.execute(project, studies, name, self.pretend)

        self.succeeded = graph.make(self.project, studies, 0, run_study, self.pages)
        return sorted(self.seen)

    def pretend(self, project, study, parameters) -> None:
        self.seen.append(study.name)
        if study.name in self.broken:
            raise execute.StudyError(self.broken[study.name])
        page = project.executed(study.name)
        page.parent.mkdir(parents=True, exist_ok=True)
        source = study.notebook_path(project).read_text()
        self.runs += 1
        page.write_text(f"{source} run {self.runs}")  # as a real copy, which has its times in it
        self.given = sorted(path.name for path in (project.root / parameters["RESULTS_DIR"]).iterdir())
        for file in study.table_files():
            (project.root / parameters["RESULTS_DIR"] / file).write_text(source)
        for file in study.figure_files():
            (project.root / parameters["FIGURES_DIR"] / file).write_text("drawn")

    def pages(self, project) -> None:
        self.seen.append("pages")
        project.front_page.parent.mkdir(parents=True, exist_ok=True)
        project.front_page.write_text("")


@pytest.fixture
def made(tmp_path) -> Made:
    made = Made(tmp_path)
    assert made.again() == ["one", "pages", "three", "two"] and made.succeeded
    return made


def test_nothing_changed_makes_nothing(made):
    assert graph.is_current(made.project, load(made.project))
    assert made.again() == []


def test_what_has_changed_or_was_never_made_is_not_current(made, tmp_path):
    made.write("simlib/beta.py", "BETA = 3")
    assert not graph.is_current(made.project, load(made.project))
    never = Project(made.project.root, tmp_path / "other" / "_build")
    assert not graph.is_current(never, load(never)) and not never.build.exists()


@pytest.mark.parametrize(
    ("file", "text", "remade"),
    [
        ("notebooks/one.ipynb", notebook("from simlib import alpha"), ["one", "pages", "three"]),
        ("notebooks/two.ipynb", notebook("import simlib"), ["pages", "two"]),
        ("notebooks/two.yaml", "SEED: 3", ["pages", "two"]),
        ("data/rows.csv", "a\n2\n", ["one", "pages"]),
        ("simlib/alpha.py", "CHANGED = 1", ["one", "pages"]),
        ("simlib/beta.py", "BETA = 3", ["one", "pages"]),
        ("simlib/gamma.py", "def make_gamma(): return 1", ["pages", "two"]),
        ("simlib/alone.py", "CHANGED = 1", ["pages"]),
        ("book/index.md", "# Another", ["pages"]),
        ("book/new.md", "# New", ["pages"]),
        ("_toc.yml", "root: book/index", ["pages"]),
    ],
)
def test_a_change_makes_again_what_depends_on_it_and_nothing_else(made, file, text, remade):
    made.write(file, text)
    assert made.again() == remade
    assert made.again() == []


def test_a_table_that_is_gone_is_made_again(made):
    (made.project.results / "sums.csv").unlink()
    assert made.again() == ["pages", "three"]


def test_a_study_sees_the_tables_that_it_needs_and_no_others(made):
    made.write("notebooks/three.ipynb", notebook("TOTAL = 1"))
    made.again()
    assert made.given == ["numbers.csv"]


def test_a_failing_study_is_named_does_not_stop_others_and_no_pages_are_built(tmp_path, capsys):
    made = Made(tmp_path)
    made.broken = {"one": "ValueError: no bins"}
    assert made.again() == ["one", "two"] and not made.succeeded
    printed = capsys.readouterr().out
    assert "one failed: ValueError: no bins" in printed
    made.broken = {}
    assert made.again() == ["one", "pages", "three"] and made.succeeded


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("one: {tables: [numbers, more]}", "more.csv: declared in notebooks/studies.yaml, but one did not write it"),
        ("one: {tables: []}", "numbers.csv: written by one, but not declared"),
    ],
)
def test_a_declaration_that_is_not_true_is_an_error(tmp_path, declared, message):
    made = Made(tmp_path)

    def writes_numbers(project, study, parameters):
        (project.root / parameters["RESULTS_DIR"] / "numbers.csv").write_text("a\n1\n")

    made.write("notebooks/studies.yaml", declared)
    with pytest.raises(execute.StudyError, match=message):
        execute.execute(made.project, load(made.project), "one", writes_numbers)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("one: {tabels: [numbers]}", "study one: unknown key 'tabels'"),
        ("one: {tables: numbers}", "study one, tables: 'numbers' .expected a list"),
        ("four: {}", "study four: notebooks/four.ipynb is not there"),
        ("one: {parameters: gone.yaml}", "gone.yaml is not there"),
        ("one: {data: [data/gone.csv]}", "data/gone.csv is not there"),
        ("one: {needs: [four]}", "study one, needs: 'four'"),
        ("one: {tables: [a]}\ntwo: {tables: [a]}", "study two: a.csv is also written by one"),
    ],
)
def test_a_declaration_that_cannot_be_right_is_refused(tmp_path, declared, message):
    made = Made(tmp_path)
    made.write("notebooks/studies.yaml", declared)
    with pytest.raises(InputError, match=message):
        load(made.project)


def test_quick_parameters_replace_those_of_the_file(tmp_path):
    made = Made(tmp_path)
    study = load(made.project)["two"]
    assert study.settings(made.project) == {"SEED": 2}
    assert study.settings(Project(tmp_path, tmp_path / "_build", quick=True)) == {"SEED": 7}


def test_an_unknown_parameter_is_refused(tmp_path):
    made = Made(tmp_path)
    made.write("notebooks/two.yaml", "SEDE: 2")
    with pytest.raises(execute.StudyError, match=r"SEDE: no such parameter in notebooks/two.ipynb \(it has SEED"):
        execute.execute(made.project, load(made.project), "two")


def test_a_failing_notebook_is_named_with_its_error_and_its_copy_is_kept(tmp_path):
    made = Made(tmp_path)
    made.write("notebooks/one.ipynb", notebook("print('so far')\nraise ValueError('no bins')"))
    with pytest.raises(
        execute.StudyError, match=r"ValueError: no bins .*executed copy: _build/src/notebooks/one.ipynb"
    ):
        execute.execute(made.project, load(made.project), "one")
    assert "so far" in made.project.executed("one").read_text()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "from book.kit.page import Page\npage = Page('one', {})\npage.holds('Bins need GPUs.', False)\n"
            "page.answer('Bins need GPUs.')",
            "this does not hold: Bins need GPUs",
        ),
        ("import warnings\nwarnings.warn('few rows')", "its page would show a warning: .*few rows"),
        ("from myst_nb import glue\nglue('late', 1, display=False)", "cell 3: late is glued, and no prose uses it"),
        (
            "from pathlib import Path\nPath('results').mkdir()\nPath('results/numbers.csv').write_text('a\\n1.374')",
            "cell said: 1.37 is typed, and numbers.csv has it",
        ),
    ],
)
def test_a_page_that_would_say_what_it_must_not_stops_the_build(tmp_path, monkeypatch, code, message):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = Made(tmp_path)
    made.write("notebooks/one.ipynb", notebook(code))
    study = load(made.project)["one"]
    with pytest.raises(execute.StudyError, match=message):
        execute.run_notebook(made.project, study, {"SEED": 1, "RESULTS_DIR": "results"})


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("Bins carry 1.37 times the load.", ["1.37"]),
        ("It is 13.7 % of them, or 1,234 requests.", ["13.7", "1,234"]),
        ("It is 1.4 times, 140, `1.37`, $1.37$, [here](x#1.37), 128 places, arXiv 2412.04504, 1.375.", []),
    ],
)
def test_a_number_that_a_table_has_is_not_typed(tmp_path, sentence, found):
    (tmp_path / "numbers.csv").write_text("name,ratio,share,requests\na,1.3741,0.13702,1234\nb,0.1374,0.4,128\n")
    page = new_notebook(cells=[new_markdown_cell(sentence)])
    assert [(number, file) for number, file, _ in prose.typed(page, [tmp_path / "numbers.csv"])] == [
        (n, "numbers.csv") for n in found
    ]


def test_a_kernel_that_does_not_come_up_is_started_once_more(tmp_path, monkeypatch):
    import papermill

    made, started, run = Made(tmp_path), [], papermill.execute_notebook

    def unlucky(*arguments, **options):
        started.append(arguments[0])
        if len(started) == 1:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return run(*arguments, **options)

    monkeypatch.setattr(papermill, "execute_notebook", unlucky)
    made.write("notebooks/studies.yaml", "three: {}")
    execute.execute(made.project, load(made.project), "three")
    assert len(started) == 2 and made.project.executed("three").is_file()


def test_a_page_has_its_title_its_parameters_and_neither_folders_nor_widgets(tmp_path):
    made = Made(tmp_path)
    made.write("notebooks/studies.yaml", "two: {parameters: two.yaml, title: Another title}")
    made.write("notebooks/two.ipynb", notebook("import ipywidgets\nipywidgets.IntSlider()"))
    execute.execute(made.project, load(made.project), "two")
    page = nbformat.read(made.project.executed("two"), as_version=4)
    assert page.cells[0].source == "# Another title\n\nIt is 1.37."
    injected = next(cell for cell in page.cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert injected.source == "# Parameters\nSEED = 2"
    assert "widget" not in json.dumps([page.metadata, [cell.get("outputs") for cell in page.cells]])


def test_a_page_opens_with_answer_picture_and_what_they_rest_on_whenever_they_were_computed(tmp_path):
    made = Made(tmp_path)
    made.write("notebooks/studies.yaml", "one: {}\nthree: {needs: [one], notebook: one}")
    page = nbformat.reads(notebook("1 + 1"), as_version=4)
    tagged = {"rests": new_markdown_cell("**In one line.** Wait."), "picture": new_code_cell("2 + 2")}
    tagged["answer"] = new_code_cell("3 + 3")
    for tag, cell in tagged.items():
        cell.metadata["tags"] = [tag]
        page.cells.append(cell)
    made.write("notebooks/one.ipynb", nbformat.writes(page))
    for name, copied in (("one", ""), ("three", "cp -r data/results out && ")):
        execute.execute(made.project, load(made.project), name)
        shown = nbformat.read(made.project.executed(name), as_version=4).cells
        assert [cell.metadata.get("tags") for cell in shown[1:3]] == [
            ["answer", "remove-input"],
            ["picture", "remove-input"],
        ]
        assert shown[3].source.startswith("**In one line.** Wait.\n\n**To read** 1 minute.")
        command = f"{copied}papermill notebooks/one.ipynb out.ipynb -p RESULTS_DIR out -p FIGURES_DIR out"
        assert f"`the notebook <{name}.ipynb>`" in shown[3].source and command in shown[3].source.splitlines()
        assert [cell.source for cell in shown[4:]][-1] == "1 + 1"


def test_an_import_is_followed_wherever_it_stands():
    def used(code: str) -> set[str]:
        return {path.relative_to(ROOT).with_suffix("").as_posix() for path in imports.modules_of(code, ROOT)}

    every = {path.relative_to(ROOT).with_suffix("").as_posix() for path in (ROOT / "simlib").rglob("*.py")}
    assert used("import numpy") == set()
    assert used("from simlib.checks import InputError") == {"simlib/__init__", "simlib/checks"}
    assert used("import simlib\nsimlib.checks.check_number") == {"simlib/__init__", "simlib/checks"}
    assert {"simlib/simulation", "simlib/engine/batches"} <= used("import simlib as s\ns.simulate")
    assert "simlib/requests/workload" in used("import simlib\nsimlib.workload.original(10)")
    assert used("from simlib import *") == every < used("!simlib presets")
    assert "simlib/simulation" in used("from book.chapters.levels import k_sensitivity")
    assert "simlib/theory/control" not in used("from simlib import levels")


def test_tables_agree_to_their_tolerance_and_what_differs_is_listed(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, value, fit, seconds in ((old, "0.5", "0.5", "1"), (new, "0.5000000000001", "0.50001", "2")):
        folder.mkdir()
        (folder / "shares.csv").write_text(f"name,share\na,{value}\nb,\n")
        (folder / "batch_times_fit.csv").write_text(f"alpha\n{fit}\n")
        (folder / "levels_times.csv").write_text(f"time_s\n{seconds}\n")
    assert tables.changes(old, new) == {}
    (new / "shares.csv").write_text("name,share\na,0.500001\nc,1\n")
    (new / "batch_times_fit.csv").write_text("alpha\n0.501\n")
    (new / "more.csv").write_text("a\n")
    (old / "gone.csv").write_text("a\n")
    assert tables.changes(old, new) == {
        "gone.csv": "committed, but no study writes it",
        "batch_times_fit.csv": "1 cell, first in row 0, alpha: 0.5 -> 0.501",
        "more.csv": "new",
        "shares.csv": "3 cells, first in row 0, share: 0.5 -> 0.500001",
    }
    (old / "benchmarks_gone.csv").write_text("a\n")  # of `make bench`, which no study repeats
    assert "benchmarks_gone.csv" not in tables.changes(old, new)
    assert tables.take_over(new, old, ["shares.csv", "gone.csv"]) == ["shares.csv"]
    assert tables.changes(old, new).keys() == {"batch_times_fit.csv", "gone.csv", "more.csv"}


def test_printing_needs_the_pages_first(tmp_path):
    with pytest.raises(execute.StudyError, match="pdf: needs the built book"):
        pdf.build(Project(tmp_path, tmp_path / "_build"))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Project:
    """A project as the verbs see theirs: from its own folder, with relative paths, its pages built."""
    with a_browser():  # or skipped
        pass
    made = Made(tmp_path)
    made.write("CITATION.cff", (ROOT / "CITATION.cff").read_text())
    made.write("_build/html/book/index.html", "")
    explorer = '<link rel="stylesheet" href="explorer.css"><p>Above.</p><div id="explorer">The controls'
    explorer += '<div class="explorer-views" aria-busy="false"></div></div>'
    made.write("_build/html/notebooks/explorer_grid.html", explorer)
    monkeypatch.chdir(tmp_path)
    return Project(Path(), Path("_build"))


def test_the_book_is_printed_from_its_own_folder(here, monkeypatch):
    def one_page(project, source, log, *options):
        page = project.build / "singlehtml" / "book" / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text('<article class="bd-article"><h1>All</h1><section id="api-reference">long</section></article>')

    monkeypatch.setattr(pdf, "jupyter_book", one_page)
    assert pdf.build(here).read_bytes().startswith(b"%PDF")


def test_the_explorer_is_photographed_from_its_own_folder(here):
    assert picture.take(here).read_bytes().startswith(b"\x89PNG")


def test_printing_says_which_browser_it_misses(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(execute.StudyError, match=r"pdf: needs a Chromium \(none of chromium"), chromium("pdf"):
        pass
