"""A clock's unit is told by what speaks for it, and asked for where that is little or at odds."""

import numpy as np
import pandas as pd
import pytest

from simlib.checks import InputError
from simlib.requests.formats.clocks import EXACT, exact, told

POISSON = np.cumsum(np.random.default_rng(1).exponential(0.5, 40))  # 2/s
SINCE_1970_S = 1_788_000_000.0


def unit(ticks, convention=None, name="timestamp", sure=False, given=None):
    return told(f"f.csv, {name}", np.asarray(ticks), convention, sure, given)


@pytest.mark.parametrize("per_s, is_unit", [(1, "s"), (1e3, "ms"), (1e6, "us"), (1e9, "ns")])
@pytest.mark.parametrize("convention", [None, "s", "ms"])
def test_a_clock_since_1970_is_told_by_its_size(per_s, is_unit, convention):
    clock = unit((SINCE_1970_S + POISSON) * per_s, convention)
    assert (clock.unit, clock.epoch, clock.why) == (is_unit, True, "by their size")
    assert bool(clock.doubt) == (convention not in (None, is_unit))


@pytest.mark.parametrize("name, is_unit", [
    ("arrival_s", "s"), ("sent_seconds", "s"), ("arrival_time_ms", "ms"), ("start_us", "us"), ("arrival_time_ns", "ns"),
    ("Timestamp (ms)", "ms"),
    ("sent_millis", "ms"), ("sent_micros", "us"), ("sent_nanos", "ns"),
    ("timestamps", None), ("genus", None),
])  # fmt: skip
def test_a_name_says_its_unit_if_it_ends_in_one(name, is_unit):
    per_s = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9, None: 1}[is_unit]
    clock = unit(POISSON * per_s, "s", name)
    assert (clock.unit, clock.why) == (is_unit or "s", "by its name" if is_unit else "the format's")


@pytest.mark.parametrize("name, ticks", [
    ("arrival_s", SINCE_1970_S * 1e3 + 140 * np.arange(12)),
    ("arrival_ms", SINCE_1970_S + 0.14 * np.arange(12)),
    ("arrival_ms", [SINCE_1970_S]),
    ("arrival_time_ns", 93.0 * np.arange(12)),  # milliseconds: 10 million a second, if they were nanoseconds
    ("arrival_ms", 93e6 * np.arange(12)),
])  # fmt: skip
def test_a_name_that_size_or_spacing_contradict_is_asked_about(name, ticks):
    with pytest.raises(InputError, match=rf"f.csv, {name}: .*--time-unit, time_unit= in Python"):
        unit(ticks, "s", name)


def test_seconds_where_the_format_counts_in_milliseconds_are_seen_and_said():
    clock = unit(POISSON, "ms")
    assert clock.unit == "s" and clock.doubt == "the format counts in milliseconds: 1.52e+03/s if milliseconds"


@pytest.mark.parametrize("ticks, convention", [
    (POISSON, "s"),
    (81235.26 + POISSON, "s"),  # a monotonic clock
    (np.round(POISSON), "s"),
    (np.repeat(np.round(POISSON * 2), 3), "s"),  # bursts on one stamp
    (np.round(POISSON * 1e3), "ms"),
    (POISSON * 1e3, "ms"),  # milliseconds with fractions
    (np.round(POISSON * 1e3)[::-1], "ms"),  # any order
    ([0.0, 4000.0], "ms"),
    ([0.0, 2.0, 6.0, 9.0], "s"),  # 0.3/s; 300/s would be far from usual
    (POISSON * 10, "s"),
    (np.round(POISSON * 50), "ms"),
    ([12.0], "s"),
])  # fmt: skip
def test_a_format_is_believed_where_nothing_speaks_against_it(ticks, convention):
    clock = unit(ticks, convention)
    assert (clock.unit, clock.doubt, clock.why) == (convention, "", "the format's")


@pytest.mark.parametrize("ticks, convention", [
    (POISSON * 1e-4, "s"),  # all sent at once
    (np.round(POISSON * 4e4), "ms"),  # 0.05/s, or 50/s if microseconds
    (POISSON * 60, "s"),  # 0.03/s, or 30/s if milliseconds
    ([7.0, 7.0, 7.0], "ms"),  # too coarse a clock, or all sent at once
    (1.788e9 + np.zeros(5), "s"),
])  # fmt: skip
def test_a_format_is_believed_with_a_doubt_where_its_rate_is_rare(ticks, convention):
    clock = unit(ticks, convention)
    assert clock.unit == convention and clock.doubt


@pytest.mark.parametrize("ticks, convention", [
    (np.round(POISSON * 2), "ms"),  # whole seconds at 1/s, or milliseconds at 1,000/s
    (POISSON * 10, "ms"),
    (POISSON * 281 + 0.123, "s"),  # fractions say seconds, spacing milliseconds
    ([0.0, 1.0], "ms"),
    ([0.0, 626.0], "s"),  # two rows
    (np.round(POISSON * 10), "ms"),  # 200/s, or 0.2/s
    (np.round(POISSON * 1e3), "s"),  # a slow night in seconds, or milliseconds
    (np.round(POISSON * 2e5), "ms"),
    (1e9 + np.round(POISSON * 4e7), "s"),  # nanoseconds from an origin that is no year
    (2.1e9 + np.round(POISSON * 1e5), "s"),  # microseconds of a clock that ran for half an hour
    (1.3e9 + np.round(POISSON * 40), "s"),  # milliseconds of one that ran for two weeks
    (1.788e9 + np.round(POISSON * 40), "ms"),  # or for three: the format's, or seconds since 1970
    (np.round(POISSON * 4e7), "s"),  # nanoseconds from 0, the most of them as large as seconds since 1970
    (1.788e9 + np.round(POISSON * 1e3), "ms"),  # a slow night since 1970, or the format's milliseconds
    (np.round(POISSON * 30), None),
    (np.concatenate([[0.0] * 8, SINCE_1970_S + POISSON[:7]]), "s"),  # most were not stamped
    (1.5e15 + 2e8 * np.arange(12), "s"),  # nanoseconds since a boot long ago, or microseconds since 1970
])  # fmt: skip
def test_evidence_that_is_thin_or_at_odds_is_asked_about(ticks, convention):
    with pytest.raises(InputError, match="option --time-unit, time_unit= in Python"):
        unit(ticks, convention)
    assert unit(ticks, convention, given="ms").unit == "ms"


def test_a_stamp_that_is_missing_among_clocks_since_1970_is_named():
    with pytest.raises(InputError, match=r"f.csv, row 2, timestamp: 0 \(expected seconds since 1970, as in most"):
        unit([SINCE_1970_S, SINCE_1970_S + 1, 0.0, SINCE_1970_S + 2], "s")


def test_seconds_that_nobody_else_writes_are_believed_of_rare_requests_with_a_doubt():
    clock = unit(98.0 * np.arange(12), "s", sure=True)
    assert str(clock) == "seconds (the format's)"
    assert clock.doubt == "these are rare rates: 0.0102/s if seconds, 10.2/s if milliseconds"
    assert unit(98.0 * np.arange(12), "s", "arrival_s").doubt == clock.doubt
    assert unit(SINCE_1970_S + 98.0 * np.arange(12), "s", sure=True).epoch


@pytest.mark.parametrize("ticks, convention, name", [
    (116.0 * np.arange(3), "s", "Timestamp"),  # three rows of milliseconds
    (2e7 * np.arange(12), "s", "Timestamp"),
    (170.0 * np.arange(12), "ns", "ticks"),
    (1e5 * np.arange(12), "ns", "arrival_time_ns"),  # microseconds under the name of nanoseconds: 10,000/s
    (1e8 * np.arange(12), "us", "arrival_time_us"),  # nanoseconds under the name of microseconds: 0.01/s
])  # fmt: skip
def test_a_unit_that_nobody_else_writes_is_asked_about_if_no_service_is_so_fast_or_slow(ticks, convention, name):
    with pytest.raises(InputError, match=f"f.csv, {name}: .*--time-unit"):
        unit(ticks, convention, name, sure=True)


def test_spacing_alone_tells_a_unit_where_it_leaves_one():
    assert unit(POISSON).unit == "s"
    assert unit(np.round(POISSON * 1e9)).unit == "ns"


def test_what_the_user_says_is_taken_if_it_is_a_unit():
    assert str(unit(SINCE_1970_S + POISSON, "ms", given="s")) == "seconds since 1970 (as asked for)"
    with pytest.raises(InputError, match="time_unit"):
        unit(POISSON, "s", given="minutes")


def test_nanoseconds_since_1970_are_kept_to_the_last_one():
    given = pd.Series(["1788000000000000001", "1788000000000000258"])
    ticks = exact(given, given.astype(float).to_numpy())
    assert (ticks - ticks[0]).tolist() == [0, 257]
    small = np.array([0.0, EXACT - 1.0])
    assert exact(pd.Series(small), small) is small
    spelled = pd.Series(["1.788e18", "1.789e18"])
    assert exact(spelled, np.array([1.788e18, 1.789e18])).dtype == float
