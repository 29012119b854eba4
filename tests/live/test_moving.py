"""Live figures of chapters as a reader uses them: their stage, and the first chapter's eight requests."""

import shutil
from pathlib import Path

import axe
import numpy as np
import pytest
from browser import opened

import simlib
from book.chapters.waiting import moving, study
from book.live import moving as live
from simlib.checks import InputError
from simlib.latency.phases import Phases
from simlib.policies.batch_size import Rules

STATIC = Path(__file__).resolve().parents[2] / "book" / "_static"
OUTPUT_TOKENS = [10, 12, 11, 200, 9, 180, 13, 190]
SHELL = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Moves</title><style>
    [data-theme="dark"] { --pst-color-text-base: #ced6dd; --pst-color-text-muted: #9ca4af; background: #14181e;
    --pst-color-background: #14181e; color: #ced6dd; }</style></head>
    <body><main><h1>Moves</h1><h2>It does</h2>{}</main></body></html>"""
# What the figure has simulated, as its drawing is given it.
KEEP = """<script>moving.figure = ((begin) => (name, of) => begin(name, { ...of,
    draw(svg, found, at) { window.found = found; return of.draw(svg, found, at); } }))(moving.figure);</script>"""
PROBE = """moving.figure("probe", {
    controls: () => [{ name: "late", kind: "check", label: "Late", value: false },
        { name: "bins", kind: "range", label: "Bins", low: 1, high: 4, step: 1, value: 1, within: "More" }],
    simulate: ({ late, bins }, library) => new Promise((done, failed) => {
        if (bins === 4) failed(new Error("four are too many"));
        const answer = library.simulated.view({ ...library.contents.start, requests: 200, k_bins: bins });
        setTimeout(() => done({ late, bins, answer }), late ? 300 : 0);
    }),
    draw: (svg, found, { width }) => { moving.mark(svg, "rect", { width, height: 10, class: "work" }); return 10; },
    sentence: (found) => `${found.bins} of ${found.late ? "late" : "soon"}: ${found.answer.runs.length} runs.`,
});"""
NAMES = {"static": study.STATIC, "bins": study.BINS, "engine": study.ENGINE}


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The eight requests on a page laid out as in the book; what was simulated is kept."""
    path = _laid_out(tmp_path_factory.mktemp("moving"))
    begins = '<script src="../_static/moving/eight.js">'
    path.write_text(SHELL.replace("{}", moving.eight(OUTPUT_TOKENS, 4, 2.2).replace(begins, KEEP + begins)))
    return path


def _laid_out(root: Path) -> Path:
    shutil.copytree(STATIC, root / "_static")
    (root / "notebooks").mkdir()
    return root / "notebooks" / "page.html"


def said(tab) -> str:
    tab.locator(".moving-said:not(:empty)").wait_for()
    return tab.locator(".moving-said").inner_text()


def to(tab, name: str, value: float) -> None:
    """Move one of the figure's sliders."""
    tab.locator(f"#moving-eight-{name}").evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value
    )


def shown(tab, system: str) -> list[dict]:
    """What the picture is drawn from, when the last move has come to rest."""
    tab.evaluate("() => new Promise((done) => setTimeout(done, 50))")
    return tab.evaluate("() => window.found")[system]


def press(tab, name: str) -> None:
    tab.get_by_role("button", name=name, exact=True).click()


@pytest.mark.parametrize(("case", "later_s"), [(study.WAITING, 0), (study.LATER, study.LATER_S)])
@pytest.mark.parametrize("places", [1, 3, 4, 8])
def test_its_times_are_those_of_the_chapters_study(page, browser, case, later_s, places):
    expected = study.eight(OUTPUT_TOKENS, places).query("case == @case")
    with opened(browser, page) as (tab, complaints):
        said(tab)
        to(tab, "places", places)
        to(tab, "later_s", later_s)
        for name, system in NAMES.items():
            own, rows = expected[expected["system"] == system], shown(tab, name)
            for ours, theirs in {"start": "start_s", "worked": "worked_until_s", "completion": "completion_s"}.items():
                assert [round(row[ours], 9) for row in rows] == own[theirs].tolist(), (name, ours)
            assert [row["place"] for row in rows] == own["place"].tolist()
            assert [row["late"] for row in rows] == own["late"].tolist()
        assert complaints == []


def test_lengths_edges_and_bins_of_the_readers_own_are_those_of_a_direct_call(page, browser):
    lengths = np.array([40, 12, 150, 200, 9, 180, 13, 77])
    with opened(browser, page) as (tab, complaints):
        said(tab)
        for place, length in enumerate(lengths):
            to(tab, f"tokens_{place + 1}", int(length))
        for given, bounds in [({"edge": 30}, (30,)), ({"edge": 150}, (150,)), ({"bins": 3}, "equal_mass")]:
            for name, value in given.items():
                to(tab, name, value)
            table = simlib.RequestTable(np.zeros(8), np.ones(8, int), lengths, lengths)
            policy = simlib.MultiBinDynamic(given.get("bins", 2), bounds=bounds, variant=Rules(b_min=4, b_max=4))
            run = simlib.simulate(table, policy, Phases(study.STEP_S, 0.0, study.STEP_S, 0.0), 1)
            assert [row["completion"] for row in shown(tab, "bins")] == run.times.completion_s.tolist()
        assert complaints == []


def test_keys_play_pause_and_step_and_a_sentence_says_where_the_time_is(page, browser):
    with opened(browser, page) as (tab, complaints):
        assert said(tab).startswith(
            "Static batches are through at 3.90 s: requests 5, 6, 7 and 8 are late, and requests"
        )
        time = tab.locator(".moving-time")
        press(tab, "To the start")
        time.focus()
        for _ in range(3):
            tab.keyboard.press("ArrowRight")
        at = "At 0.12 s requests 1, 2 and 3 are done, and their places are kept until 2.00 s; 4 is at work"
        assert said(tab) == f"{at}; 5, 6, 7 and 8 wait." == time.get_attribute("aria-valuetext")
        tab.keyboard.press("ArrowLeft")
        assert said(tab).startswith("At 0.11 s requests 1 and 3 are done")
        assert tab.locator(".moving-said").get_attribute("aria-live") == "polite"
        tab.keyboard.press("Space")
        assert tab.locator(".moving-said").get_attribute("aria-live") == "off"  # what plays is not read out
        tab.wait_for_function("() => Number(document.querySelector('.moving-time').value) > 0.3")
        tab.keyboard.press("Space")
        assert tab.locator(".moving-said").get_attribute("aria-live") == "polite"
        before = time.input_value()
        tab.wait_for_timeout(200)
        assert time.input_value() == before and said(tab).startswith("At 0.12 s")
        tab.locator('input[value="engine"]').focus()
        tab.keyboard.press("Space")
        shown(tab, "engine")
        assert "kept" not in said(tab)
        press(tab, "To the start")
        press(tab, "Step")
        assert said(tab).startswith(
            "At 0.10 s request 1 leaves, and 5 comes in; 2, 3, 4 and 5 are at work; 6, 7 and 8 wait"
        )
        assert complaints == []


def test_it_begins_at_rest_and_who_asks_for_less_motion_is_shown_steps(page, browser):
    with opened(browser, page) as (tab, complaints):
        said(tab)
        at = tab.locator(".moving-time").input_value()
        tab.emulate_media(reduced_motion="reduce")
        tab.wait_for_timeout(300)
        assert tab.locator(".moving-time").input_value() == at
        press(tab, "Play")
        assert tab.locator(".moving-time").input_value() == "0"
        times = set()
        for _ in range(24):
            tab.wait_for_timeout(100)
            times.add(tab.locator(".moving-time").input_value())
        assert times <= {"0", "0.1", "0.11", "0.12"} and len(times) > 2  # events, nothing between
        assert complaints == []


def test_in_print_without_scripts_and_without_webassembly_the_still_picture_is_pointed_to(page, browser):
    still = "The figure above shows it at rest"
    with opened(browser, page) as (tab, complaints):
        said(tab)
        assert not tab.locator(".moving-still").is_visible()
        tab.emulate_media(media="print")
        assert tab.locator(".moving-still").inner_text().startswith(still)
        assert not tab.locator(".moving-stage").is_visible()
        tab.add_init_script("delete window.WebAssembly;")
        tab.emulate_media(media="screen")
        tab.reload()
        tab.locator(".moving .wrong").wait_for()
        assert "has no WebAssembly" in tab.locator(".moving .wrong").inner_text()
        assert tab.locator(".moving-still").is_visible() and tab.locator(".moving svg").count() == 0
        assert complaints == []
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert tab.locator(".moving-still").inner_text().startswith(still)
    assert tab.locator(".moving-question").is_visible() and tab.locator(".moving-why").is_visible()
    context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_fits_a_phone_and_is_accessible(page, browser, width, scheme):
    with opened(browser, page, width, scheme) as (tab, complaints):
        tab.evaluate("(scheme) => { document.documentElement.dataset.theme = scheme; }", scheme)
        said(tab)
        tab.locator(".moving details").first.evaluate("(box) => { box.open = true; }")
        tab.locator('input[value="bins"]').check()
        shown(tab, "bins")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        inside = "(texts) => texts.every((t) => t.getBoundingClientRect().right <= innerWidth)"
        assert tab.locator(".moving svg text").evaluate_all(inside)
        assert axe.violations(tab) == [] and complaints == []


@pytest.fixture(scope="module")
def probes(tmp_path_factory) -> Path:
    """Below the window, a figure that takes its time."""
    path = _laid_out(tmp_path_factory.mktemp("probes"))
    kept, live.MOVING = live.MOVING, path.parents[1] / "_static" / "moving"
    (live.MOVING / "probe.js").write_text(PROBE)
    section = live.figure("probe", "Who <waits>?", "They do. So.", "Above.", {"ends": "</script>"})
    live.MOVING = kept
    path.write_text(SHELL.replace("{}", f'<p style="height: 5000px">Above.</p>{section}'))
    return path


def test_a_figure_begins_when_it_comes_near_and_only_its_newest_answer_is_shown(probes, browser):
    with opened(browser, probes) as (tab, complaints):
        assert tab.evaluate("() => typeof kernels") == "undefined"
        assert tab.locator(".moving-question").inner_text() == "Who <waits>?"
        tab.locator(".moving-why").scroll_into_view_if_needed()
        assert said(tab) == "1 of soon: 3 runs."
        tab.locator(".moving summary").first.click()
        late, bins = tab.locator("#moving-probe-late"), tab.locator("#moving-probe-bins")
        late.check()
        late.uncheck()
        tab.wait_for_timeout(600)
        assert said(tab) == "1 of soon: 3 runs."
        bins.press("ArrowRight")
        tab.wait_for_function("() => document.querySelector('.moving-said').textContent.startsWith('2 of')")
        bins.press("End")
        tab.locator(".moving-said.wrong").wait_for()
        assert (
            said(tab) == "four are too many: the last picture stays." and tab.locator(".moving svg rect").count() == 1
        )
        bins.press("Home")
        tab.wait_for_function("() => document.querySelector('.moving-said').textContent === '1 of soon: 3 runs.'")
        assert tab.locator(".moving-said.wrong").count() == 0 and complaints == []


def test_a_figure_without_a_script_is_refused():
    with pytest.raises(InputError, match=r"figure: 'nine' \(expected one of .*eight"):
        live.figure("nine", "?", ".", ".")
