"""The chapter on caches: what is scored, who stays where, capacities, and what is committed without the trace."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from book.chapters.prefix_cache import study
from book.chapters.prefix_cache.study import LEAST, LIVE, NONE, RECORDED, STAYS, Way
from book.chapters.prefix_cache.traffic import Chat
from simlib.checks import InputError
from simlib.requests.table import RequestTable

pytestmark = pytest.mark.filterwarnings("ignore:latency")
CHAT = Chat(40, think_s=10.0)
AMPLE = 2**24


@pytest.fixture(scope="module")
def table():
    return CHAT.draw(0.5, seed=1)


def seen(table, way):
    return study.serve(table, CHAT, way).seen(CHAT.deadline_s)


def test_with_memory_for_all_a_live_cache_is_what_was_recorded_and_with_little_it_finds_less(table):
    live, recorded = (seen(table, Way(cache, AMPLE)) for cache in (LIVE, RECORDED))
    assert live == recorded and live["hit_share"] > 0.5
    little = seen(table, Way(LIVE, 12_000))
    assert (
        0
        < little["hit_share"]
        < live["hit_share"]
        == pytest.approx(seen(table, Way(RECORDED, 12_000))["hit_share"], abs=0.05)
    )
    assert seen(table, Way(NONE, AMPLE))["hit_share"] == 0


def test_what_stays_together_is_dealt_in_turn(table):
    rows = study._by_client(table, 3)
    clients = [set(table.labels["client"][own]) for own in rows]
    assert sorted(np.concatenate(rows)) == list(range(len(table)))
    assert [sorted(own) for own in clients] == [list(range(engine, 40, 3)) for engine in range(3)]


def test_on_several_engines_who_stays_finds_what_one_engine_finds(table):
    one = seen(table, Way(LIVE, AMPLE))["hit_share"]
    stays, least = (
        seen(table, Way(LIVE, AMPLE, engines=4, routing=routing))["hit_share"] for routing in (STAYS, LEAST)
    )
    assert least < stays < one + 0.02 and stays > 0.9 * one


def test_waiting_conversations_hold_rate_times_time_times_tokens():
    """Two turns, 10 s apart, every 5 s: two conversations of 2,100 tokens wait at each moment."""
    n = 50
    arrival_s = np.concatenate([5.0 * np.arange(n), 5.0 * np.arange(n) + 10.0])
    order = np.argsort(arrival_s, kind="stable")
    place = np.argsort(order)
    rows = RequestTable(
        arrival_s=arrival_s[order],
        prompt_tokens=np.full(2 * n, 2000),
        output_tokens=np.full(2 * n, 100),
        previous=np.concatenate([np.full(n, -1), place[:n]])[order],
        think_s=np.repeat([0.0, 10.0], n)[order],
    )
    assert study.waiting_tokens(rows, CHAT) == pytest.approx(2 * 2100, rel=0.03)  # one more at an edge


def test_a_capacity_is_in_time_below_and_late_above():
    chat = Chat(400, think_s=10.0)
    way = Way(NONE, AMPLE, places=8)
    found = study.capacity(chat, way, seed=2)
    late = [study.serve(chat.draw(times * found, 2), chat, way).seen(2.0)["late_share"] for times in (0.9, 1.1)]
    assert late[0] < study.LATE < late[1]
    with pytest.raises(InputError, match="expected more: all are in time at any rate"):
        study.capacity(replace(chat, sessions=4), way, seed=2)


def test_ratios_are_geometric_means_of_pairs():
    runs = pd.DataFrame({"place": 1, "arm": ["a", "b"] * 2, "rate": [2.0, 1.0, 8.0, 1.0], "replication": [0, 0, 1, 1]})
    (row,) = study.ratios(runs, "rate", ["place"], "arm", [("a", "b")]).to_dict("records")
    assert row["ratio"] == pytest.approx(4.0) and row["over"] == "b" and row["replications"] == 2
    (alone,) = study.ratios(runs[runs["replication"] == 0], "rate", ["place"], "arm", [("a", "b")]).to_dict("records")
    assert alone["ratio"] == pytest.approx(2.0) and np.isnan(alone["ci_low"])


def test_where_the_trace_is_absent_its_rows_are_those_that_are_committed():
    made = {"prefix_cache_ratios": pd.DataFrame({"workload": ["chat"], "ratio": [7.0]})}
    table = study.with_committed(made)["prefix_cache_ratios"]
    assert table["workload"].tolist().count("chat") == 1 and table["ratio"].iloc[0] == 7.0
    assert len(table) > 5 and set(table["workload"].iloc[1:]) == {"documents"}
