"""Capacity under a deadline between tokens: its fluid limit, and what a capacity search says of an impossible one."""

import pytest

import simlib
from book.chapters.sla_paper import figures, tables
from book.chapters.sla_paper.capacity import (
    PRINTED_CAPACITY_GAINS,
    PRINTED_THROUGHPUT_GAINS,
    TABLE_2,
    capacities,
    expected_rps,
    static_cap_of_gain,
    table_2,
)


@pytest.fixture(scope="module")
def table():
    return capacities(
        caps=(32, 256), rules=("paper",), kinds=("fixed",), requests=800, mean_output=100.0, replications=2
    )


def test_a_small_cap_carries_what_the_fluid_limit_says_and_the_rule_more(table):
    """Finite runs of 800 requests: within 15 %."""
    rows = table.set_index("engine")
    assert rows.loc["static 32", "capacity_rps"] == pytest.approx(rows.loc["static 32", "expected_rps"], rel=0.15)
    assert rows.loc["static 32", "gain"] > 1.5 and rows.loc["paper", "gain"] == 1.0
    assert 0.95 < rows.loc["static 256", "gain"] < rows.loc["static 32", "gain"]
    assert "static cap of 32" in tables.show_capacities(table).to_html()
    assert len(figures.capacity_gains(table, {"a": 1.2}).axes[0].lines) >= 3


@pytest.mark.parametrize("gain", [1.0, 1.1, 1.5])
def test_the_cap_of_a_gain_gives_that_gain(gain):
    cap = static_cap_of_gain(gain)
    assert expected_rps(256, 100.0) / expected_rps(cap, 100.0) == pytest.approx(gain)


def test_bad_input_is_named():
    with pytest.raises(simlib.InputError, match="gain"):
        static_cap_of_gain(0.5)
    with pytest.raises(simlib.InputError, match="late_share: 0"):
        capacities(late_share=0.0)


def test_the_printed_gains_are_those_of_the_papers_numbers():
    gains = list(PRINTED_THROUGHPUT_GAINS.values())
    assert [round(100 * gain - 100, 2) for gain in gains] == [8.22, 6.47, 12.15, 28.24, 15.98, 7.97]
    assert [round(100 * gain - 100, 1) for gain in PRINTED_CAPACITY_GAINS.values()] == [10.0, 22.2, 26.7]


def test_prompts_within_the_steps_cost_capacity_and_longer_runs_do_not():
    """Table II's rows in small: a prompt takes time, and its row carries less than the outputs alone would."""
    table = table_2(caps=(32,), kinds=("geometric",), requests=1500, replications=4)
    rows = table.set_index(["setting", "engine"])
    for setting, (_, output, _) in TABLE_2.items():
        capacity = rows.loc[(setting, "static 32"), "capacity_rps"]
        assert 0.7 * expected_rps(32, output) < capacity < expected_rps(32, output)
    assert table["doubled"].between(0.9, 1.1).all()
    shown = tables.show_table_2(table, PRINTED_CAPACITY_GAINS).data
    assert shown["row"].tolist() == list(TABLE_2) and shown["printed"].tolist() == ["1.10", "1.22", "1.27"]
    assert shown["over a cap of 32"].str.match(r"\d\.\d\d \(").all()
