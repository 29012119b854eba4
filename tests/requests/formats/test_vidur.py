"""Vidur's traces: lengths, with arrivals or without."""

import pytest

from simlib.checks import InputError

LENGTHS = [f"{2000 + 40 * row},{100 + row},{2100 + 41 * row},20.0\n" for row in range(10)]


def test_ten_lengths_without_arrivals(parsed):
    log = parsed("num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n" + "".join(LENGTHS), "f.csv")
    assert (log.format, log.clock) == ("vidur", None) and "clock" not in log.frame
    assert log.frame["prompt_tokens"].tolist()[-1] == 2360 and log.unused == ("num_total_tokens", "pd_ratio")


def test_ten_arrivals(parsed):
    rows = "".join(f"{7.5 + 0.5 * row},{10 + row},{20 + row}\n" for row in range(10))
    log = parsed("arrived_at,num_prefill_tokens,num_decode_tokens\n" + rows, "f.csv")
    assert log.format == "vidur" and log.seconds(log.frame["clock"].to_numpy())[-1] == 4.5


def test_milliseconds_under_the_name_of_seconds_are_asked_about(parsed):
    rows = "".join(f"{500 * row},{10 + row},{20 + row}\n" for row in range(10))
    with pytest.raises(InputError, match=r"arrived_at: the format counts in seconds; .*--time-unit"):
        parsed("arrived_at,num_prefill_tokens,num_decode_tokens\n" + rows, "f.csv")
