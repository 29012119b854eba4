"""GPUs of one's own: places by hand, a saturated engine by hand, what padding costs, pools that cannot gain."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from book.chapters.specialised import claims, figures, study, tables
from book.kit import style
from book.kit.tables import show_ledger
from simlib.checks import InputError
from simlib.latency.steps import StepLaw
from simlib.requests.table import RequestTable

STEP = study.Engine(StepLaw(0.01), 512)  # every step takes 10 ms, and every prompt below is one chunk


def equal(count, prompt, output):
    return RequestTable(np.arange(count, dtype=float), np.full(count, prompt), np.full(count, output))


def test_places_are_what_the_longest_context_leaves():
    assert study.seats_of(study.PLACES, 65_536) == 16
    assert study.seats_of(study.PLACES, 8192) == 128
    assert study.seats_of(study.PLACES, 1024) == study.seats_of(study.PAGED, 65_536) == 256


def test_a_saturated_engine_by_hand():
    """16 places, ten steps each: a request takes 100 ms of a sixteenth of the GPU."""
    assert study.gpu_s(equal(320, 100, 10), STEP, 16) == pytest.approx(0.1 / 16, rel=0.07)  # they begin 16 by 16


def test_two_pools_of_places_by_hand():
    """Half of the requests fit into 1,024 tokens: 256 places for ten steps there, 16 places for the others."""
    short, long = equal(3000, 100, 10), equal(3000, 5000, 10)
    parts = zip((short.prompt_tokens, short.output_tokens), (long.prompt_tokens, long.output_tokens), strict=True)
    prompt, output = (np.stack(pair).T.ravel() for pair in parts)  # in turn
    table = RequestTable(np.arange(6000, dtype=float), prompt, output)
    found = study.pools_s(table, STEP, study.PLACES, 1024)
    chunks = 10 - 1 + np.ceil(5000 / 512)  # the last chunk gives the first token
    assert found == pytest.approx(0.5 * 0.1 / 256 + 0.5 * 0.01 * chunks / 16, rel=0.03)


def test_every_context_at_the_price_of_the_longest():
    """Two sequences, of 10 and 1,000 tokens: padded, a step costs 2,000 tokens and not 1,010."""
    law = study.ENGINES["measured"].mixed(1.0).law
    assert law.h_s == law.d_s and law.spread and not study.ENGINES["measured"].mixed(0.0).law.spread
    prompt, output = np.array([10, 1000]), np.array([50, 50])
    table = RequestTable(np.zeros(2), prompt, output, output)
    ends = [study.served(table, replace(study.Engine(StepLaw(0.0, d_s=1e-6))).mixed(h), 1)[1] for h in (0.0, 1.0)]
    assert ends[1].max() / ends[0].max() == pytest.approx(2000 / 1010, rel=0.05)


@pytest.mark.parametrize("spread", [0.8, 1.6])
def test_paged_pools_gain_nothing_by_a_linear_law(spread):
    """Seed 3, 6,000 requests: saved within 4 %, where places save a quarter at least."""
    found = study.needs(6000, 2, 3, (spread,)).query("engine == 'measured'").set_index("memory")["saved"]
    assert abs(found[study.PAGED]) < 0.04 and found[study.PLACES] > 0.25


def test_what_is_late_by_hand():
    """Ten requests, of which the first and last are cut: two long ones, one late; six short ones, three late."""
    prompt = np.array([10, 10, 10, 10, 10, 10, 10, 5000, 5000, 10])
    allowed = study.ALLOWED_S + study.SLACK * study.MEASURED.c_s * prompt
    over = np.array([1, 1, 1, 1, -1, -1, -1, 1, -1, 1])
    table = RequestTable(np.arange(10.0), prompt, prompt)
    found = study.scored(table, np.stack([allowed + 0.01 * over, np.full(10, 7.0)]))
    assert found == {"late": 0.5, "late_short": 0.5, "late_long": 0.5, "latency_s": 7.0}


def test_pools_serve_each_request_once_and_as_by_itself():
    table = study.requests(1.6, 400, 5)
    engine, is_short = study.ENGINES["measured"], study.total_tokens(table) <= 4096
    times_s = study.pooled(table, engine, 4096, 3)
    alone = study.served(table.rows(np.flatnonzero(is_short)), engine, 3)
    assert (times_s[:, is_short] == alone).all() and (times_s[0] > 0).all() and (times_s[1] >= times_s[0]).all()


@pytest.fixture(scope="module")
def found():
    needs = study.needs(1500, 3, 1, (*study.SPREADS[2:4], study.AZURE))
    slowed = study.slowed(1500, 3, 1, study.SPREADS[2:4])
    runs = study.deadlines(600, 3, 1, loads=(study.MAIN_LOAD,))
    return needs, slowed, runs


def test_differences_are_in_pairs(found):
    runs = found[2]
    row = study.against(runs).query("mixed == 0 and base == 'one line' and arm == 'a line a GPU'").iloc[0]
    late = runs.query("mixed == 0").pivot_table(index="replication", columns="arm", values="late")
    assert row["more"] == pytest.approx((late["a line a GPU"] - late["one line"]).mean())
    assert row["late"] == pytest.approx(late["a line a GPU"].mean()) and np.isnan(row["cut_tokens"])


def test_figures_tables_and_ledger_are_made_of_them(found):
    style.style()
    needs, slowed, runs = found
    late = study.against(runs)
    assert len(figures.fleets(needs).axes[0].lines) == 3 and figures.slowed(slowed).axes
    assert len(figures.late(late).axes) == 2
    assert study.AZURE in tables.show_needs(needs).to_html() and "mean latency" in tables.show_late(late).to_html()
    ledger = claims.table_of(needs, slowed, late)
    assert len(ledger) == 2 * 3 + 3 + 2 + 2 and (ledger["verdict"].tail(2) == "not testable here").all()
    assert "DistServe" in show_ledger(ledger).to_html()


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (lambda: study.requests(-1.0, 10, 1), "lengths"),
        (lambda: study.requests(1.0, 0, 1), "count"),
        (lambda: study.ENGINES["measured"].mixed(-0.1), "mixed"),
        (lambda: study.best_cut(equal(100, 2000, 10), STEP, study.PAGED), "lengths: no cut"),
        (lambda: study.against(pd.DataFrame({"arm": ["one line"]}), ("two lines",)), "bases"),
    ],
)
def test_bad_input_is_named(call, place):
    with pytest.raises(InputError, match=place):
        call()
