"""Numbers as text: their unit, their sign, and a dash where there is none."""

import math

import pytest

from simlib.text import cell, interval, many, of_cell, p_value, percent, seconds, span, three


def test_texts_say_their_unit():
    assert percent(0.433) == "43.3 %"
    assert seconds(0.5, 2) == "0.50 s"
    assert interval(-0.001, 0.002, 2, points=True) == "−0.10 to +0.20 points"


def test_three_digits_without_an_exponent():
    assert [three(x) for x in (1234.5, 0.04321, 999.7, 100.0, 1.5, 0.0)] == [
        "1,230",
        "0.0432",
        "1,000",
        "100",
        "1.50",
        "0",
    ]
    assert [three(x) for x in (math.nan, math.inf, 1.234e-9)] == ["–", "∞", "1.23e-09"]


def test_a_time_in_the_unit_that_a_person_takes():
    seconds_to_text = {
        0.0: "0 s",
        0.04321: "43.2 ms",
        0.99961: "1 s",
        599.0: "599 s",
        1500.0: "25 min",
        7300.0: "2.03 h",
    }
    seconds_to_text |= {1e6: "11.6 days", 3e-5: "30 µs", 2e-9: "2 ns", math.nan: "–"}
    assert {value: span(value) for value in seconds_to_text} == seconds_to_text


def test_a_p_value_is_said_to_two_digits_or_as_a_bound():
    assert [p_value(p) for p in (0.0312, 0.005, 0.0049, math.nan)] == ["0.03", "0.01", "< 0.005", "–"]


@pytest.mark.parametrize("written", ["=1+1", "+cmd|' /c calc'!A1", "-2+3", "@a", "\tx", "'=1", "''=1"])
def test_no_text_is_a_formula_in_a_spreadsheet_and_each_comes_back(written):
    assert cell(written) == f"'{written}"
    assert of_cell(cell(written)) == written


@pytest.mark.parametrize("written", ["", "chat", "-2", "+1.5e3", "a=b", "'quoted'", "-.5"])
def test_numbers_and_plain_texts_stay_as_they_are(written):
    assert cell(written) == of_cell(written) == written


def test_a_count_has_its_noun():
    assert [many(count, "GPU") for count in (0, 1, 2000)] == ["0 GPUs", "1 GPU", "2,000 GPUs"]
