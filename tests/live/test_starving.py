"""The controller under the reader's hand: what the figure says is the library's run, and what it claims holds."""

from dataclasses import replace

import numpy as np
import pytest
from browser import opened
from staged import moved, page_of, readable, told

from book.chapters.sla_paper import moving
from book.chapters.sla_paper.rules import LAW, OPEN
from simlib.continuous.control import KEPT
from simlib.continuous.serve import serve
from simlib.requests.table import RequestTable

MEAN, LOAD = 200, 0.5


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("starving"), moving.starving(MEAN))


def library(rule: str, feedback: str, waiting: int, load: float = LOAD) -> tuple[float, int]:
    """What is completed over what the static cap completes, and the last cap, of the same requests."""
    given, done = moving.given(MEAN), []
    paced_s = np.cumsum(given["gaps"]) * given["gap_unit"] / (load * given["most_rps"])
    arrival_s = np.r_[np.zeros(waiting), paced_s]
    outputs = np.array(given["outputs"])[len(given["outputs"]) - len(arrival_s) :]
    table, end_s = RequestTable(arrival_s, np.zeros(len(arrival_s), int), outputs), arrival_s[-1]
    for engine in (moving.controlled(rule, feedback, MEAN), replace(OPEN, max_seqs=given["cap"])):
        run = serve(table, LAW, engine)
        done.append(np.count_nonzero((run.completion_s > end_s / 2) & (run.completion_s <= end_s)))
        if engine.control is not None:
            kept = run.decisions[0][: int(run.control[0, KEPT])]
            cap = int(kept[kept[:, 0] <= end_s][-1, 1])
    return done[0] / done[1], cap


def test_it_says_what_the_library_runs(browser, page):
    with opened(browser, page) as (tab, complaints):
        said = told(tab)
        share, cap = library("paper", "latency", moving.BACKLOG)
        assert f"it starves, with {100 * share:.0f} % of what" in said and f"the cap is {cap} " in said
        moved(tab, "feedback", "step")
        tab.locator('[data-name="start"] input[value="empty"]').check()
        tab.wait_for_timeout(1000)  # what is said may be the same
        said = told(tab)
        share, cap = library("paper", "step", 0)
        assert f"it keeps up, with {100 * share:.0f} % of what" in said and f"the cap is {cap} " in said
        tab.locator('[data-name="load"] input').press("ArrowRight")
        tab.wait_for_function("() => document.querySelector('.moving-said').textContent.includes('at 55 % load')")
        assert complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_fits_a_phone_and_is_accessible(browser, page, width, scheme):
    with readable(browser, page, width, scheme):
        pass


@pytest.mark.parametrize("rule", moving.RULES)
def test_end_to_end_times_starve_at_half_the_load_and_step_times_do_not(rule):
    """What the figure's answer to *What is going on?* asserts."""
    for waiting in (0, moving.BACKLOG):
        assert library(rule, "latency", waiting)[0] < 0.9 < library(rule, "step", waiting)[0]
