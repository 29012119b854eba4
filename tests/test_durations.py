"""Limits on times: what is written means what a person reads, and what may be milliseconds is asked about."""

import math

import pytest

from simlib.checks import InputError
from simlib.durations import Seconds, limit_s


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("500ms", 0.5),
        ("70 ms", 0.07),  # the nearest number to 0.07, which 70 times 0.001 is not
        ("0.5s", 0.5),
        ("200us", 0.0002),
        ("200µs", 0.0002),
        ("7ns", 7e-9),
        ("2min", 120.0),
        ("2h", 7200.0),
        ("1e3ms", 1.0),
        (".5", 0.5),
        ("463", 463.0),
        (463, 463.0),
        (3600, 3600.0),
        (Seconds(7200), 7200.0),
    ],
)
def test_a_time_is_what_is_written(given, seconds):
    assert limit_s("d_sla", given) == seconds


@pytest.mark.parametrize(
    "given", ["", "ms", "5 5s", "1_0", "٣", "0x10", "5m", "5MS", "1e", "inf", "nan", "1:30", "5ms "[::-1]]
)
def test_what_is_no_time_is_refused_with_an_example(given):
    with pytest.raises(InputError, match=r"d_sla: .*expected a time such as 0.5s, 500ms or 2min"):
        limit_s("d_sla", given)


@pytest.mark.parametrize("given", [0, -1, "-5ms", "0s", math.nan, math.inf, True, None, [1], 10**400])
def test_a_limit_is_above_zero_and_finite(given):
    with pytest.raises(InputError, match="d_sla: "):
        limit_s("d_sla", given)


@pytest.mark.parametrize(
    ("metric", "most", "beyond", "told"),
    [
        ("ttft", 60, 61, "61 is 61 seconds to a first token .expected at most 60 without a unit; write 61ms or 61s"),
        ("tpot", 5, "50", "50 is 50 seconds a token .expected at most 5 without a unit; write 50ms or 50s"),
        (
            "latency",
            3600,
            3600.5,
            "3600.5 is .* seconds a request .expected at most 3,600 .*; write 3600.5ms or 3600.5s",
        ),
    ],
)
def test_a_bare_number_that_is_large_for_seconds_is_asked_about(metric, most, beyond, told):
    assert limit_s("x", most, metric) == most
    assert limit_s("x", f"{beyond}s", metric) == float(beyond)
    with pytest.raises(InputError, match=f"x: {told}"):
        limit_s("x", beyond, metric)


def test_seconds_that_were_said_to_be_stay_so():
    assert limit_s("x", limit_s("x", "2h")) == 7200.0
