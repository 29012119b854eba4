"""The book as its readers meet it: as it is built if it is up to date, else from a quick execution of every notebook.

What it says rests on the committed tables; that a notebook gives them is tried in full for one of them.
"""

import json
import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from axe import of_site
from browser import References, chromium, opened

import simlib
from book._ext.rooms import LINE, modules, sections
from book.make import execute, graph, tables
from book.make.studies import Project, load

ROOT = Path(__file__).resolve().parents[2]
UNCLAIMED = "At these parameters this is not claimed"  # a quick execution establishes little, and says so


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The pages that `make book` has built; where that is not up to date, with every notebook executed quickly."""
    built = Project(Path(), Path("_build"))  # as `make book` names its files
    if graph.is_current(built, load(built)):
        return (built.build / "html").absolute()
    project = Project(ROOT, tmp_path_factory.mktemp("book") / "_build", quick=True)
    assert graph.make(project, load(project)), "the output above says which notebook or page failed"
    return project.build / "html"


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Path]:
    found = {path.stem: path for folder in ("book", "notebooks") for path in sorted((site / folder).glob("*.html"))}
    assert {"index", "system", "level_1", "explorer", "api"} <= set(found)
    return found


def test_every_study_is_a_chapter_and_every_notebook_is_in_a_study():
    project = Project(ROOT, ROOT / "_build")
    studies = load(project)
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    assert {f"notebooks/{name}" for name in studies} == {c for c in chapters if c.startswith("notebooks/")}
    used = {study.notebook_path(project).name for study in studies.values()}
    assert used == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_every_chapter_says_whether_it_is_terminating_or_steady_state():
    notebooks = (ROOT / "notebooks").glob("*.ipynb")
    silent = [path.name for path in notebooks if not re.search(r"[Tt]erminating|teady[ -]state", path.read_text())]
    assert silent == []


def test_the_reference_has_every_module_once_and_the_front_door_in_the_order_of_reading():
    page = (ROOT / "book" / "api.md").read_text()
    described = re.findall(r"automodule:: simlib\.([\w.]+)", sections(page))
    assert sorted(described) == modules()
    offered = re.findall(r"`(\w+)`", page.partition("`import simlib`")[2].partition("\n\n")[0])
    assert offered == simlib.__all__ and len(offered) <= 30


def test_the_first_afternoon_is_read_in_the_order_that_the_library_names():
    (first, *_) = LINE.findall((ROOT / "book" / "api.md").read_text())
    told = re.findall(r"`([\w.]+)`", simlib.__doc__.split("\n\n")[1])
    assert [name.rpartition(".")[2] for name in told] == [name.rpartition(".")[2] for name in first.split()]


def test_every_committed_table_is_a_studys_or_of_make_bench():
    studies = load(Project(ROOT, ROOT / "_build")).values()
    committed = {path.name for path in (ROOT / "data" / "results").glob("*.csv")}
    others = committed - {file for study in studies for file in study.table_files()}
    assert {name for name in others if not name.startswith("benchmarks")} == set()


def test_a_notebook_gives_the_committed_tables(tmp_path):
    project = Project(ROOT, tmp_path / "_build")
    studies = load(project)
    execute.execute(project, studies, "level_1")
    committed = ROOT / "data" / "results"
    assert set(studies["level_1"].table_files()) <= {path.name for path in committed.glob("*.csv")}
    changed = tables.changes(committed, project.results)
    assert {name: changed[name] for name in studies["level_1"].table_files() if name in changed} == {}


def test_pages_refer_to_nothing_that_is_missing_and_load_nothing_from_elsewhere(site):
    read = {path: References(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    assert len(read) > 10
    bad = []
    for page, references in read.items():
        for target in (*references.links, *references.loads):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in references.loads and parts.scheme != "data":
                    bad.append(f"{page.name} loads {target}")
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not file.exists():
                bad.append(f"{page.name} -> {target}")
            elif parts.fragment and file in read and unquote(parts.fragment) not in read[file].anchors:
                bad.append(f"{page.name} -> {target} (no such anchor)")
    assert bad == []


@pytest.mark.parametrize(("name", "table"), [("index", False), ("level_1", True)])
def test_a_page_has_its_figure_and_table_and_asks_nothing_of_the_network(pages, name, table):
    with chromium() as browser, opened(browser, pages[name]) as (tab, complaints):
        drawn = "() => [...document.querySelectorAll('figure img')].some(image => image.naturalWidth > 0)"
        tab.wait_for_function(drawn, timeout=120_000)  # a busy machine is slow, not at fault
        tab.wait_for_timeout(500)  # what the page asks for late is a complaint, too
        cells = tab.locator("main table td").all_inner_texts()
        assert any("%" in cell for cell in cells) == table, cells
        assert complaints == []


def test_mathematics_is_set(pages):
    with chromium() as browser, opened(browser, pages["system"]) as (tab, complaints):
        assert tab.locator("mjx-container").count() > 20
        assert complaints == []


def test_no_page_is_wider_than_a_phone_or_complains_in_the_dark(pages):
    wide, complained = {}, {}
    with chromium() as browser:
        for name, path in pages.items():
            with opened(browser, path, width=390, scheme="dark") as (tab, complaints):
                assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
                width = tab.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
                if width > 390:
                    wide[name] = width
                if complaints:
                    complained[name] = complaints
    assert wide == {} and complained == {}


def chapters(part: int) -> list[str]:
    """The pages of a part of the book, in their order."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [Path(chapter["file"]).stem for chapter in contents["parts"][part]["chapters"]]


def test_every_notebook_says_in_one_line_what_it_is_for_and_every_chapter_has_its_picture():
    project = Project(ROOT, ROOT / "_build")
    tags = {}
    for name, study in load(project).items():
        cells = json.loads(study.notebook_path(project).read_text())["cells"]
        tags[name] = Counter(tag for cell in cells for tag in cell["metadata"].get("tags", []))
        said = ["".join(cell["source"]) for cell in cells if "rests" in cell["metadata"].get("tags", [])]
        assert [re.findall(r"^\*\*(.+?)\*\*", line) for text in said for line in text.split("\n\n")] == [
            ["In one line."],
            ["It rests on"],
        ], name
    assert {name: tags[name]["picture"] for name in chapters(0)} == dict.fromkeys(chapters(0), 1)
    assert {name: tags[name]["answer"] for name in chapters(0)} == dict.fromkeys(chapters(0), 1)


def test_a_page_is_short_its_tables_are_whole_and_a_chapters_picture_is_in_its_first_screen(pages):
    browsed = {"api", "at_a_glance"}  # rows to be sorted and searched
    long, cut, low = {}, {}, {}
    with chromium() as browser:
        for name, path in pages.items():
            with opened(browser, path, width=1280) as (tab, _):
                if (
                    screens := tab.evaluate("document.documentElement.scrollHeight / 900")
                ) > 12 and name not in browsed:
                    long[name] = round(screens, 1)
                boxes = ".bd-article :is(.cell_output, .pst-scrollable-table-container):has(table)"
                hidden = tab.locator(boxes).evaluate_all("all => all.map(one => one.scrollWidth - one.clientWidth)")
                if max(hidden, default=0) > 1 and name not in browsed:
                    cut[name] = max(hidden)
                if name in chapters(0) and UNCLAIMED not in path.read_text():
                    picture = tab.locator(".bd-article :is(figure img, .explorer-views svg)").first.bounding_box()
                    middle = picture["y"] + picture["height"] / 2
                    if middle > 900:
                        low[name] = round(middle)
    assert (long, cut, low) == ({}, {}, {})


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_explorers_page_opens_with_its_controls_and_a_chart(pages, width, height):
    if UNCLAIMED in pages["explorer_grid"].read_text():
        pytest.skip("executed quickly, its answer is longer than the book's")
    with chromium() as browser, opened(browser, pages["explorer_grid"], width=width) as (tab, complaints):
        for part in ('.explorer input[name="load"][type="range"]', ".explorer-views figure >> nth=0"):
            box = tab.locator(part).bounding_box()
            assert box["y"] + box["height"] < height, part
        assert complaints == []


def test_the_explorers_page_simulates_a_move(pages):
    policy = simlib.DynamicNoBins(1.05)
    expected = simlib.simulate(simlib.workload.original(10_000), policy, gpus=2).summary()["sla_violation_share"]
    with chromium() as browser, opened(browser, pages["explorer_grid"]) as (tab, complaints):
        cell = tab.locator('.explorer td[data-key="sla_violation_share"][data-scheduler="dynamic_no_bins"]')
        cell.wait_for()
        tab.locator('.explorer input[type="range"][name="d_sla"]').press("ArrowRight")
        tab.wait_for_function("() => location.hash.includes('d_sla=1.05')")
        assert float(cell.get_attribute("data-value")) == expected and complaints == []


def test_no_page_has_a_serious_fault_for_whoever_cannot_see_or_point(pages, site):
    others = [site / f"{name}.html" for name in ("genindex", "search", "py-modindex")]
    with chromium() as browser:
        paths = [*pages.values(), *others, site / "_modules" / "simlib" / "requests" / "arrivals.html"]
        assert of_site(browser, [pages["index"], *(path for path in paths if path != pages["index"])]) == {}


def test_every_picture_has_alt_text_that_is_not_its_name(pages):
    without = {}
    for name, path in pages.items():
        pictures = [
            dict(re.findall(r'(alt|src)="([^"]*)"', tag)) for tag in re.findall(r"<img[^>]*>", path.read_text())
        ]
        told = [(one.get("alt", ""), Path(one["src"]).stem) for one in pictures]
        if bad := [stem for alt, stem in told if len(alt.split()) < 4 or stem in alt]:
            without[name] = bad
    assert without == {}


def test_every_page_says_how_to_cite_it_in_the_words_of_the_citation_file(pages):
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f'version = "{told["version"]}"' in (ROOT / "pyproject.toml").read_text()
    for path in pages.values():
        assert f"Version {told['version']}. {told['license']} licence." in path.read_text(), path.name


def test_a_long_table_is_sorted_by_number_up_and_down_and_says_so(pages):
    with chromium() as browser, opened(browser, pages["at_a_glance"]) as (tab, complaints):
        table = tab.locator("table.glance").first
        values = "(rows) => rows.map((row) => Number(row.querySelector('[data-value]').dataset.value))"
        before = table.locator("tbody tr").evaluate_all(values)
        name = table.get_by_role("button", name="value (95 % interval)")
        for order, arranged in (("ascending", sorted(before)), ("descending", sorted(before, reverse=True))):
            name.press("Enter")
            assert table.locator("tbody tr").evaluate_all(values) == arranged
            assert table.locator(f'th[aria-sort="{order}"]').inner_text().startswith("value")
        assert complaints == []
