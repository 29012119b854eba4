"""Who pays, under a reader's hand: what is drawn and said is what the library's own runs give."""

import pytest
from browser import opened
from staged import INSIDE, moved, numbers, page_of, readable, told
from who_pays import GPUS, PLACES, thirds_of

from book.chapters.policies import moving
from book.chapters.policies.study import BATCHES, STEPS
from simlib.stats import intervals

THIRDS = ("Short", "Middle", "Long")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("thirds"), moving.thirds(PLACES, GPUS))


def shown(tab, order):
    return numbers(
        ",".join(one.get_attribute("data-value") for one in tab.locator(f".moving g.{order}[data-value]").all())
    )


@pytest.mark.parametrize(
    ("execution", "load", "order"), [(BATCHES, 0.95, "shortest"), (BATCHES, 1.1, "bins"), (STEPS, 1.2, "shortest")]
)
def test_it_shows_the_librarys_own_runs(page, browser, execution, load, order):
    first, other = (thirds_of(execution, load, name) for name in ("first", order))
    with opened(browser, page) as (tab, complaints):
        told(tab)
        for name, value in {"execution": execution, "load": load, "order": order}.items():
            if value != moving.about(PLACES)["start"][name]:
                moved(tab, name, value)
        for measure in ("total", "late", "tail"):
            said = told(tab) if measure == "total" else moved(tab, "measure", measure)
            assert shown(tab, "first") == pytest.approx(first[measure].mean(axis=0), rel=1e-9)
            assert shown(tab, order) == pytest.approx(other[measure].mean(axis=0), rel=1e-9)
            for third, name in enumerate(THIRDS):
                pair = intervals.paired_difference(other[measure][:, third], first[measure][:, third])
                assert (f"the {name.lower()} third gains" in said) == (pair.ci_high < 0), (measure, name)
                assert (f"the {name.lower()} third pays" in said) == (pair.ci_low > 0), (measure, name)
        assert complaints == []


def test_keys_move_it_and_it_says_who_pays(page, browser):
    with opened(browser, page) as (tab, complaints):
        assert told(tab).startswith("In batches at 95 % load, shortest predicted first") and "third pays" in told(tab)
        tab.locator('[data-name="order"] input').first.focus()
        tab.keyboard.press("ArrowRight")
        tab.wait_for_function("() => document.querySelector('.moving-said').textContent.includes('bins in turn')")
        assert "pays" not in told(tab)
        tab.keyboard.press("ArrowRight")
        tab.wait_for_function("() => document.querySelector('.moving-said').textContent.includes('load, first come')")
        tab.locator('[data-name="load"] input').focus()
        tab.keyboard.press("ArrowRight")
        tab.wait_for_function("() => document.querySelector('.moving-said').textContent.includes('100 % load')")
        assert tab.locator(".moving-said").get_attribute("aria-live") == "polite" and complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_is_readable(page, browser, width, scheme):
    with readable(browser, page, width, scheme) as tab:
        moved(tab, "measure", "late")
        assert tab.evaluate(INSIDE)
