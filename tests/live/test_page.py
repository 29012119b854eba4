"""The explorer's page as a reader uses it: opened from a file, with the network blocked."""

import csv
import shutil
from pathlib import Path

import axe
import nbformat
import pytest
from browser import opened
from moved import RESTS, Stretch, in_time, shown_share, slider, typed

import simlib
from book.live import page as live

ROOT = Path(__file__).resolve().parents[2]
SHELL = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Explorer</title></head><body><main>{}</main>'
INSIDE = """() => [...document.querySelectorAll('.explorer svg text')].map((text) => text.getBoundingClientRect())
    .every((box) => box.right <= innerWidth + 1 && box.left >= -1)"""
DARK = """:root { --pst-color-text-base: #ced6dd; --pst-color-text-muted: #9ca4af; --pst-color-background: #14181e; }
    body { background: #14181e; }"""
WITHOUT = "delete window.WebAssembly;"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A page laid out as in the book."""
    root = tmp_path_factory.mktemp("page")
    shutil.copytree(ROOT / "book" / "_static" / "explorer", root / "_static" / "explorer")
    (root / "notebooks").mkdir()
    path = root / "notebooks" / "explorer_grid.html"
    path.write_text(SHELL.format(live.page("Look <below>.")))
    return path


def settled(tab) -> None:
    """Wait until the newest position, with its intervals and curves, is shown."""
    tab.wait_for_function(RESTS, timeout=120_000)


def goto(tab, page: Path, address: str = "") -> None:
    if address:
        settled(tab)  # a worker that is left before it has started would be a complaint
        tab.goto("about:blank")
        tab.goto(page.as_uri() + address)
    tab.locator('.explorer td[data-key="sla_violation_share"]').first.wait_for()


def late(policy, **options) -> float:
    given = {"requests": simlib.workload.original(10_000), "gpus": 2, "sla": 1.0} | options
    return simlib.simulate(given.pop("requests"), policy, **given).summary()["sla_violation_share"]


def test_the_page_bears_what_it_needs_and_asks_nobody(page):
    text = page.read_text()
    assert "Look &lt;below&gt;." in text and "http" not in text.replace("http-equiv", "")
    assets = [page, *(page.parents[1] / "_static" / "explorer").iterdir()]
    assert sum(path.stat().st_size for path in assets) < 1_000_000


def test_wherever_its_controls_are_moved_it_shows_what_a_direct_call_gives(page, browser):
    with opened(browser, page) as (tab, complaints):
        goto(tab, page)
        assert shown_share(tab, "multi_bin_dynamic") == late(simlib.MultiBinDynamic(4, 1.0))
        slider(tab, "d_sla").focus()
        for _ in range(4):
            tab.keyboard.press("ArrowLeft")
        slider(tab, "gpus").press("Home")
        typed(tab, "k_bins").fill("7")
        typed(tab, "k_bins").press("Enter")
        settled(tab)
        assert shown_share(tab, "multi_bin_dynamic") == late(simlib.MultiBinDynamic(7, 0.8), gpus=1, sla=0.8)
        said = tab.locator(".explorer-summary").inner_text()
        assert "D_SLA 0.8 s, K_BINS 7, GPUs 1" in said and "95 % interval" in said and "bins minus dynamic" in said
        said = tab.locator(".explorer-breaks").inner_text()
        assert (
            said.startswith("Fewest are late under dynamic batching: ")
            and "More than 5 % late: static batches " in said
        )
        lines = tab.locator('.explorer [data-view="load_curve"] path.line')
        lines.first.wait_for()
        assert lines.count() == 3 and complaints == []


def test_a_link_restores_what_it_was_made_from(page, browser):
    with opened(browser, page) as (tab, _):
        goto(tab, page)
        slider(tab, "d_sla").press("ArrowRight")
        tab.locator('.explorer input[value="static_fifo"]').uncheck()
        tab.wait_for_function("() => location.hash.includes('schedulers=dynamic_no_bins,multi_bin_dynamic&')")
        link, shares = tab.url, {name: shown_share(tab, name) for name in ("dynamic_no_bins", "multi_bin_dynamic")}
        assert "d_sla=1.05" in link
        goto(tab, page, link.removeprefix(page.as_uri()))
        assert {name: shown_share(tab, name) for name in shares} == shares
        assert tab.locator('.explorer td[data-scheduler="static_fifo"]').count() == 0


@pytest.mark.parametrize(
    ("address", "remark", "deadline"),
    [
        ("#d_sla=99", 'The link\'s D_SLA is "99" (expected 0.05 to 5): 1 is shown', "1"),
        ("#d_sla=0.5&schedulers=lifo,static_fifo", 'has "lifo"', "0.5"),
        ("#level=2&d_sla=%E0%A4", '"level=2", which is no control', "1"),
        ("#d_sla=2&d_sla=3", "The link has D_SLA twice: the last that can be read, 3, is shown", "3"),
        ("#workload=own&d_sla=2", "somebody's own requests, which stay with them", "2"),
    ],
)
def test_a_mangled_link_is_said_and_the_rest_of_it_is_shown(page, browser, address, remark, deadline):
    with opened(browser, page, address=address) as (tab, complaints):
        goto(tab, page)
        assert remark in tab.locator(".explorer > .note").first.inner_text()
        assert typed(tab, "d_sla").input_value() == deadline
        assert shown_share(tab, "static_fifo") >= 0 and complaints == []


def test_a_kept_position_is_compared_and_a_link_holds_both(page, browser):
    with opened(browser, page, address="#requests=1000") as (tab, complaints):
        goto(tab, page)
        tab.get_by_role("button", name="Keep as A").click()
        slider(tab, "gpus").press("Home")
        settled(tab)
        said = tab.locator(".explorer-against").inner_text()
        assert "A and B face the same requests: differences are paired over 20 replications" in said
        slider(tab, "load").press("ArrowRight")
        settled(tab)
        said = tab.locator(".explorer-against").inner_text()
        assert "A and B face other requests: differences are unpaired, of 20 replications each" in said
        link = tab.url
        assert link.endswith("&A.gpus=2&A.load=1")
        with tab.expect_download() as table:
            tab.get_by_role("button", name="Save the table").click()
        rows = list(csv.DictReader(Path(table.value.path()).read_text().splitlines()))
        assert [(row["position"], row["gpus"]) for row in rows] == [("A", "2")] * 3 + [("B", "1")] * 3
        tab.get_by_role("button", name="Copy as Python").click()
        space: dict = {}
        exec(tab.locator(".explorer-code").inner_text(), space)
        for row in rows:
            summary = space[row["position"].lower()][row["scheduler"]]
            assert float(row["sla_violation_share"]) == summary["sla_violation_share"]
        goto(tab, page, link.removeprefix(page.as_uri()))
        tab.locator(".explorer-against").wait_for()
        settled(tab)
        assert tab.locator(".explorer-against").inner_text() == said and complaints == []


def test_it_is_opened_in_jupyter_where_it_stands(page, browser, tmp_path):
    address = "#requests=300&edges=40,120&execution=continuous&max_seqs=12&workload=azure_like"
    with opened(browser, page, address=address) as (tab, complaints):
        goto(tab, page)
        settled(tab)
        with tab.expect_download() as saved:
            tab.get_by_role("button", name="Open in Jupyter").click()
        assert "explorer_here.ipynb" in tab.locator(".explorer > .note").first.inner_text()
        notebook = nbformat.reads(Path(saved.value.path()).read_text(), as_version=4)
        nbformat.validate(notebook)
        space: dict = {}
        exec("\n".join(cell.source for cell in notebook.cells[:-1]), space)
        explorer = eval(notebook.cells[-1].source, space)
        shown = {name: shown_share(tab, name) for name in explorer.summaries}
        assert shown == {name: summary["sla_violation_share"] for name, summary in explorer.summaries.items()}
        assert len(shown) == 3 and complaints == []


def test_the_first_picture_is_there_within_a_second(page, browser, record_property):
    """From the start of loading until who is late is drawn; what else runs here is told by a loop, in its median."""
    times_ms, stretch = [], Stretch()
    for _ in range(5):
        with opened(browser, page) as (tab, complaints):
            tab.wait_for_function("() => document.querySelector('.explorer [data-view=latencies] svg path')")
            times_ms.append(tab.evaluate("() => performance.getEntriesByName('explorer-picture')[0].startTime"))
            assert complaints == []
        stretch.sample(0.05)
    record_property("first_picture_ms", times_ms)
    print("first picture, ms:", times_ms, "stretch", stretch.factor)
    assert sorted(times_ms)[2] < 1000 * stretch.factor


def test_nothing_moves_of_itself(page, browser):
    """No animation and no transition: a reader who asked for reduced motion has none to switch off."""
    with opened(browser, page, address="#requests=1000") as (tab, _):
        goto(tab, page)
        slider(tab, "d_sla").press("ArrowRight")
        settled(tab)
        assert tab.evaluate("() => document.getAnimations().length") == 0


def test_what_is_wrong_is_named_and_the_last_good_view_stays(page, browser):
    with opened(browser, page, address="#requests=1000") as (tab, _):
        goto(tab, page)
        before = shown_share(tab, "static_fifo")
        typed(tab, "d_sla").fill("99")
        typed(tab, "d_sla").press("Enter")
        assert "D_SLA: 99 (expected a number from 0.05 to 5)" in tab.locator("#explorer-1-d_sla-wrong").inner_text()
        tab.locator(".explorer details summary").first.click()
        tab.locator('.explorer select[name="latency"]').select_option("other")
        tab.locator('.explorer input[name="latency"]').fill("0.01,-1,0")
        tab.locator('.explorer input[name="latency"]').press("Enter")
        tab.wait_for_function("() => document.querySelector('.explorer > .wrong').textContent.includes('none below 0')")
        assert "The last good view stays" in tab.locator(".explorer > .wrong").inner_text()
        assert shown_share(tab, "static_fifo") == before


def test_a_file_of_ones_own_is_read_and_simulated_and_goes_nowhere(page, browser, tmp_path):
    rows = [(0.02 * n, 100 + n % 50, 20 + n * 7 % 300) for n in range(3000)]
    text = "arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows)
    (tmp_path / "mine.csv").write_text(text)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    arrival_s, prompt, output = (list(column) for column in zip(*rows, strict=True))
    table = simlib.RequestTable(arrival_s, prompt, output)
    predicted = simlib.predictors.original_predictions(table.prompt_tokens, 42)
    with opened(browser, page) as (tab, complaints):
        goto(tab, page)
        tab.locator(".explorer-own summary").click()
        tab.set_input_files(".explorer-own input", tmp_path / "other.csv")
        own = "(part) => document.querySelector('.explorer-own').textContent.includes(part)"
        tab.wait_for_function(own, arg="Not read: other.csv")
        (tmp_path / "failed.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,0\n1,9,0\n")
        tab.set_input_files(".explorer-own input", tmp_path / "failed.csv")
        tab.wait_for_function(own, arg="failed.csv: nothing to simulate")
        tab.set_input_files(".explorer-own input", tmp_path / "mine.csv")
        tab.wait_for_function(own, arg="3000 requests")
        settled(tab)
        expected = late(simlib.MultiBinDynamic(4, 1.0), requests=table.with_predictions(predicted))
        assert shown_share(tab, "multi_bin_dynamic") == expected and complaints == []


def test_a_million_rows_are_read_and_more_than_50_mb_are_refused(page, browser, tmp_path):
    rows = "".join(f"{n / 50},{100 + n % 50},{20 + n * 7 % 300}\n" for n in range(1_000_000))
    (tmp_path / "million.csv").write_text("arrival_s,prompt_tokens,output_tokens\n" + rows)
    (tmp_path / "large.csv").write_bytes(b"7" * 50_000_001)
    own = "(part) => document.querySelector('.explorer-own').textContent.includes(part)"
    with opened(browser, page) as (tab, complaints):
        goto(tab, page)
        tab.locator(".explorer-own summary").click()
        tab.set_input_files(".explorer-own input", tmp_path / "large.csv")
        tab.wait_for_function(own, arg="Not read: large.csv: more than 50 MB")
        tab.set_input_files(".explorer-own input", tmp_path / "million.csv")
        tab.wait_for_function(own, arg="1000000 requests of plain, 50.0 a second. The first 20000 are simulated")
        settled(tab)
        assert shown_share(tab, "static_fifo") >= 0 and complaints == []


def test_without_webassembly_the_page_says_so(page, browser):
    context = browser.new_context(offline=True)
    context.add_init_script(WITHOUT)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert "This browser runs no WebAssembly" in tab.locator(".explorer").inner_text()
    context.close()


def test_a_move_is_shown_in_time(page, browser, record_property):
    with opened(browser, page) as (tab, _):
        goto(tab, page)
        assert in_time(tab, "page", 50, record_property, beside=True)


def test_buttons_give_code_a_table_and_a_figure(page, browser):
    with opened(browser, page) as (tab, complaints):
        goto(tab, page)
        tab.get_by_role("button", name="Copy as Python").click()
        assert "simlib.MultiBinDynamic(k_bins=4, d_sla=1, " in tab.locator(".explorer-code").inner_text()
        with tab.expect_download() as table:
            tab.get_by_role("button", name="Save the table").click()
        (first, *_) = csv.DictReader(Path(table.value.path()).read_text().splitlines())
        assert float(first["sla_violation_share"]) == late(simlib.StaticFIFO())
        with tab.expect_download() as figure:
            tab.get_by_role("button", name="Save the figure").click()
        drawn = Path(figure.value.path()).read_text()
        assert drawn.startswith("<svg") and "rgb(213, 94, 0)" in drawn and "NaN" not in drawn and complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_the_page_fits_a_phone_and_is_accessible_in_light_and_dark(page, browser, width, scheme):
    with opened(browser, page, width, scheme, "#requests=1000") as (tab, complaints):
        goto(tab, page)
        tab.evaluate("(scheme) => { document.documentElement.dataset.theme = scheme; }", scheme)
        if scheme == "dark":
            tab.add_style_tag(content=DARK)
        tab.locator(".explorer-own summary").click()
        tab.get_by_role("button", name="Keep as A").click()
        slider(tab, "d_sla").press("ArrowLeft")
        settled(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate(INSIDE)
        assert axe.violations(tab) == [] and complaints == []
