"""Clients who wait against open arrivals, under a reader's hand: what is drawn is what the library's own runs give."""

from functools import cache

import numpy as np
import pytest
from browser import opened
from staged import INSIDE, moved, numbers, page_of, readable, told

from book.chapters.continuous import moving
from book.chapters.continuous.executions import PRESET
from book.chapters.continuous.loops import DEADLINE_S, PLACES, SCORED
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.latency import presets
from simlib.requests import workload

COUNTS = range(moving.CLIENTS[0], moving.CLIENTS[1] + 1, moving.CLIENTS[2])


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("closed"), moving.closed())


def seen(table):
    """A run's throughput, and the time to first token of the requests in its middle."""
    run = serve(table, presets.load(PRESET).step_law(), Continuous(max_seqs=PLACES))
    middle = slice(*(round(part * len(table)) for part in SCORED))
    done_s, ttft_s = np.sort(run.completion_s)[middle], (run.first_token_s - run.arrival_s)[middle]
    return (len(done_s) - 1) / (done_s[-1] - done_s[0]), np.quantile(ttft_s, 0.99), ttft_s.mean()


@cache
def library(clients, think_s, requests=moving.REQUESTS):
    """Rate, P99 and mean of both loops, averaged over the draws: shape (2, 3)."""
    found = []
    for seed in range(moving.DRAWS):
        table = workload.original(requests, seed)
        held = seen(workload.dealt(table, clients, float(think_s)))
        span_s = table.arrival_s[-1] - table.arrival_s[0]
        found.append((held, seen(table.at_rate(held[0] * span_s / (len(table) - 1)))))
    return np.mean(found, axis=0)


def shown(tab, loop):
    return numbers(tab.locator(f".moving g.{loop}").get_attribute("data-values"))


def test_it_shows_the_librarys_own_runs(page, browser):
    with opened(browser, page) as (tab, complaints):
        told(tab)
        for clients, think_s in ((64, 0), (96, 5)):
            for name, value in (("clients", clients), ("think", think_s)):
                if str(value) != tab.locator(f'[data-name="{name}"] input').input_value():
                    moved(tab, name, value)
            for part, measure in ((1, "tail"), (2, "mean")):
                said = told(tab) if measure == "tail" else moved(tab, "measure", measure)
                for loop, expected in zip(("held", "openly"), library(clients, think_s), strict=True):
                    value = shown(tab, loop)[COUNTS.index(clients)]
                    assert value == pytest.approx(expected[part], rel=1e-9)
                    assert f"{value:.{2 if value < 0.0995 else 1}f} s" in said
                assert f"{library(clients, think_s)[0, 0]:.1f} requests/s" in said
            moved(tab, "measure", "tail")
        assert complaints == []


def test_up_to_a_client_a_place_nobody_is_late_and_openly_the_queue_grows_with_the_rate():
    tails = np.array([library(clients, 0)[:, 1] for clients in COUNTS])
    counts = np.array(COUNTS)
    held, openly = tails.T
    assert (held[counts <= PLACES] < 0.5 * DEADLINE_S).all()
    assert (openly[counts <= 32] < 0.5 * DEADLINE_S).all()
    growing = openly[(counts >= 40) & (counts <= PLACES)]
    assert (openly[(counts >= 48) & (counts <= PLACES)] > DEADLINE_S).all() and (np.diff(growing) > 0).all()
    assert (np.diff(held[counts >= PLACES]) > 0).all()  # beyond, by their own number
    short, long = (library(PLACES, 0, requests)[:, 1] for requests in (moving.REQUESTS, 4 * moving.REQUESTS))
    assert long[1] > 1.5 * short[1] and long[0] < 0.5 * DEADLINE_S


def test_keys_move_it_and_it_says_what_is_hidden(page, browser):
    with opened(browser, page) as (tab, complaints):
        assert told(tab).startswith("56 clients who ask again at once") and "silence hides" in told(tab)
        tab.locator('[data-name="think"] input').focus()
        for _ in range(4):
            tab.keyboard.press("ArrowRight")
        tab.wait_for_function("() => document.querySelector('.moving-said').textContent.includes('think for 4 s')")
        assert "nobody would wait yet" in told(tab)
        moved(tab, "think", 0)
        assert "by their own number" in moved(tab, "clients", 128)
        assert tab.locator(".moving-said").get_attribute("aria-live") == "polite" and complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_is_readable(page, browser, width, scheme):
    with readable(browser, page, width, scheme) as tab:
        moved(tab, "measure", "mean")
        assert tab.evaluate(INSIDE)
