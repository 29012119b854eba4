"""Checks: what passes, what is refused, and what the message says."""

import math
from fractions import Fraction

import numpy as np
import pytest

from simlib.checks import InputError, check_choice, check_integer, check_number, check_probability, check_type


def says(check, *arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        check(*arguments, **options)
    return str(caught.value)


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize("value", [3, 3.0, np.float64(3), np.int32(3), Fraction(3)])
def test_a_number_comes_back_as_a_float(value):
    assert check_number("x", value, 0, 5) == 3.0
    assert type(check_number("x", value, 0, 5)) is float


@pytest.mark.parametrize("value", [True, np.True_, "3", None, [3], 3j, np.array([3.0])])
def test_what_is_no_number_is_refused(value):
    assert says(check_number, "x", value) == f"x: {value!r} (expected a number)"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_is_finite(value):
    assert says(check_number, "d_sla", value) == f"d_sla: {value} (expected a finite number)"


@pytest.mark.parametrize("check", [check_number, check_probability, lambda *a: check_integer(*a, 0)])
def test_an_integer_too_large_for_a_float_is_refused(check):
    with pytest.raises(InputError, match="x: "):
        check("x", 10**400)
    with pytest.raises(InputError, match="x: "):
        check("x", -(10**400))


def test_bounds_are_included_unless_open():
    assert check_number("x", 0, 0, 1) == 0.0
    assert check_number("x", 1, 0, 1) == 1.0
    assert says(check_number, "x", 0, 0, 1, open_low=True) == "x: 0 (expected a finite number in (0, 1])"
    assert says(check_number, "x", 1, 0, 1, open_high=True) == "x: 1 (expected a finite number in [0, 1))"
    assert says(check_number, "x", -1, 0) == "x: -1 (expected a finite number >= 0)"
    assert says(check_number, "x", 0, 0, open_low=True) == "x: 0 (expected a finite number > 0)"
    assert says(check_number, "x", 2, high=1) == "x: 2 (expected a finite number <= 1)"
    assert says(check_number, "x", 1, high=1, open_high=True) == "x: 1 (expected a finite number < 1)"


def test_a_probability_lies_between_0_and_1():
    assert check_probability("p", 0.25) == 0.25
    assert says(check_probability, "p", 1.5) == "p: 1.5 (expected a finite number in [0, 1])"


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3)])
def test_a_whole_number_comes_back_as_an_int(value):
    assert check_integer("k", value, 1, 5) == 3
    assert type(check_integer("k", value, 1, 5)) is int


@pytest.mark.parametrize("value", [2.5, math.nan, math.inf, "3", None, True, [3], 0, 6])
def test_what_is_no_whole_number_in_range_is_refused(value):
    assert says(check_integer, "k", value, 1, 5) == f"k: {value!r} (expected an integer from 1 to 5)"


def test_an_integer_may_have_no_upper_bound():
    assert check_integer("k", 10**9, 1) == 10**9
    assert says(check_integer, "k", 0, 1) == "k: 0 (expected an integer >= 1)"


def test_a_choice_names_the_nearest_one():
    assert check_choice("mode", "fast", ("fast", "slow")) == "fast"
    message = says(check_choice, "mode", "fats", ("fast", "slow"))
    assert message == "mode: 'fats' (expected one of fast, slow; did you mean 'fast'?)"
    assert says(check_choice, "mode", 5, ("fast", "slow")) == "mode: 5 (expected one of fast, slow)"


@pytest.mark.parametrize("value", [None, ["fast"], {"fast"}, b"fast"])
def test_a_choice_is_text(value):
    assert "mode: " in says(check_choice, "mode", value, ("fast", "slow"))


def test_a_type_says_what_was_expected():
    assert check_type("memory", 5, int, "a count") == 5
    assert says(check_type, "memory", "x", (int, float), "a count") == "memory: 'x' (expected a count)"
