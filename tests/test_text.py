"""Numbers as text: their unit, their sign, and a dash where there is none."""

import math

from simlib.text import interval, p_value, percent, seconds


def test_texts_say_their_unit():
    assert percent(0.433) == "43.3 %"
    assert seconds(0.5, 2) == "0.50 s"
    assert interval(-0.001, 0.002, 2, points=True) == "−0.10 to +0.20 points"


def test_a_p_value_is_said_to_two_digits_or_as_a_bound():
    assert [p_value(p) for p in (0.0312, 0.005, 0.0049, math.nan)] == ["0.03", "0.01", "< 0.005", "–"]
