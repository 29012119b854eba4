"""Azure's traces of two years: dates with seven decimals or none, with a zone or without."""

import numpy as np
import pytest

from simlib.checks import InputError

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def rows(dates):
    return HEAD + "".join(f"{date},{100 + row},{10 + row}\n" for row, date in enumerate(dates))


@pytest.mark.parametrize("zone, year", [("", "2023"), ("+00:00", "2024"), ("Z", "2024"), ("+02:00", "2024")])
def test_ten_requests(parsed, zone, year):
    log = parsed(rows(f"{year}-05-10 08:00:0{row}.0000001{zone}" for row in range(10)), "AzureLLMInferenceTrace.csv")
    assert (log.format, log.version) == ("azure", year)
    assert np.diff(log.frame["clock"]).tolist() == [10**9] * 9


def test_whole_seconds_and_fractions_stand_beside_one_another(parsed):
    log = parsed(
        rows(["2024-05-12 00:00:00+00:00", "2024-05-12 00:00:00.009930+00:00", "2024-05-12 00:00:01.5+00:00"]), "f.csv"
    )
    assert log.seconds(log.frame["clock"].to_numpy()).tolist() == [0.0, 0.00993, 1.5]


def test_what_is_no_date_is_named(parsed):
    with pytest.raises(InputError, match=r"f.csv, row 1, TIMESTAMP"):
        parsed(rows(["2024-05-12 00:00:00", "now"]), "f.csv")
