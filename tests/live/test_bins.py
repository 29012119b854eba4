"""Bins on GPUs under a reader's hand: what is drawn and said is what the library's own runs give."""

import numpy as np
import pytest
from bin_waits import DEADLINE_S, late, parts_of, runs_of
from browser import opened
from staged import moved, numbers, page_of, readable, told

from book.chapters.capacity import moving
from simlib.stats import intervals


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("bins"), moving.bins(DEADLINE_S))


def shown(tab, attribute, arm):
    return numbers(tab.locator(f'.moving g[data-arm="{arm}"]').get_attribute(attribute))


@pytest.mark.parametrize(
    ("bins", "gpus", "rate", "predictor", "cap"), [(4, 2, 0.7, "original", 64), (3, 5, 0.55, "oracle", 16)]
)
def test_it_shows_the_librarys_own_runs(page, browser, bins, gpus, rate, predictor, cap):
    start = moving.about(DEADLINE_S)["start"]
    here = {"bins": bins, "gpus": gpus, "rate": rate, "predictor": predictor, "cap": str(cap)}
    with opened(browser, page) as (tab, complaints):
        said = told(tab)
        for name, value in here.items():
            if value != start[name]:
                said = moved(tab, name, value)
        for arm, k_bins in (("none", 1), ("bins", bins)):
            shares, counts = shown(tab, "data-shares", arm), moving.about(DEADLINE_S)["gpus"]
            for count in (1, gpus, 8):
                assert shares[counts.index(count)] == pytest.approx(
                    late(k_bins, count, rate, predictor, cap).mean(), rel=1e-12
                )
            parts = np.mean([parts_of(run, k_bins) for run in runs_of(k_bins, gpus, rate, predictor, cap)], axis=0)
            assert shown(tab, "data-parts", f"{arm}-parts") == pytest.approx(parts, rel=1e-9, abs=1e-9)
        pair = intervals.paired_difference(*(late(k, gpus, rate, predictor, cap) for k in (bins, 1)))
        low, high = (f"{'−' if limit < 0 else '+'}{abs(100 * limit):.1f}" for limit in (pair.ci_low, pair.ci_high))
        assert said.startswith(f"{bins} bins on {gpus} GPUs") and f"95 % interval {low} to {high}" in said
        assert ("bins hurt" in said) == (pair.ci_low > 0) and ("bins help" in said) == (pair.ci_high < 0)
        assert complaints == []


def test_keys_move_it_and_it_says_what_it_shows(page, browser):
    with opened(browser, page) as (tab, complaints):
        assert told(tab).startswith("4 bins on 2 GPUs") and "bins hurt" in told(tab)
        assert tab.locator(".moving-said").get_attribute("aria-live") in ("off", "polite")
        tab.locator('[data-name="gpus"] input').focus()
        tab.keyboard.press("End")
        tab.wait_for_function("() => document.querySelector('.moving-said').textContent.includes('on 8 GPUs')")
        assert "bins help" in told(tab)
        tab.locator('[data-name="cap"] input').last.focus()
        tab.keyboard.press("ArrowLeft")
        tab.wait_for_function("() => document.querySelector('.moving-said').textContent.includes('established')")
        assert tab.locator(".moving-said").get_attribute("aria-live") == "polite" and complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_is_readable(page, browser, width, scheme):
    with readable(browser, page, width, scheme):
        pass


def test_in_print_and_without_scripts_the_still_figure_is_told_of(page, browser):
    with opened(browser, page) as (tab, _):
        told(tab)
        tab.emulate_media(media="print")
        assert tab.locator(".moving-still").is_visible() and not tab.locator(".moving svg").is_visible()
    context = browser.new_context(java_script_enabled=False, offline=True)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert tab.locator(".moving-still").is_visible()
    context.close()
