"""Kernels cut to the settings that are known: they answer as before, and what is off is not in them."""

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest

from simlib.continuous import loop
from simlib.continuous.state import StepRules
from simlib.engine.compiled import compiled
from simlib.engine.specialised import specialised

MOST = 2


class Settings(NamedTuple):
    a: int
    b: int
    limit_s: float


def rare(x, settings):
    return 100.0 * x + settings.b


def even(n, settings):
    return 1 if n == 0 else odd(n - 1, settings)


def odd(n, settings):
    return 0 if n == 0 else even(n - 1, settings)


def both(x, settings):
    """Every form in which a kernel asks for a setting."""
    total = rare(x, settings) if settings.a else 0.0
    if settings.limit_s < math.inf and x > settings.limit_s:
        total += 1.0
    elif settings.a == MOST or not settings.b:
        total += 2.0 + float(x > 1.0 and settings.b)
    else:
        pass
    known = settings.a > 0 and x
    while settings.b and total < 10.0:
        total += 4.0
    if settings.a:
        total *= 2.0
        if x > 0.5:
            total -= 1.0
    return total + float(known or settings.b) + even(4, settings)


rare.__module__ = both.__module__ = even.__module__ = odd.__module__ = "simlib.tests"  # as if they were the package's


@pytest.mark.parametrize("fields", [("a",), ("b",), ("limit_s",), ("a", "b"), ("a", "b", "limit_s")])
def test_a_kernel_answers_the_same_whatever_of_its_settings_is_known(fields):
    for a, b, limit_s in itertools.product((0, 1, 2), (0, 1), (0.7, math.inf)):
        settings = Settings(a, b, limit_s)
        known = specialised(both, "settings", **{name: getattr(settings, name) for name in fields})
        for x in (0.0, 0.6, 3.0):
            assert known(x, settings) == both(x, settings)


def test_what_is_off_is_not_there_and_what_is_put_in_is_no_more_read():
    without = specialised(both, "settings", a=0)
    assert "rare" in both.__code__.co_names and "rare" not in without.__code__.co_names
    assert "a" not in without.__code__.co_names
    assert without(1.0, Settings(5, 1, math.inf)) == both(1.0, Settings(0, 1, math.inf))


def test_a_kernel_that_calls_back_what_calls_it_ends():
    assert specialised(even, "settings", a=0)(3, Settings(0, 0, 0.0)) == 0


def test_no_two_share_a_name_which_numba_knows_machine_code_by():
    twins = [specialised(both, "settings", a=a) for a in (0, 1, 2)]
    assert len({twin.__qualname__ for twin in twins}) == 3
    assert len({twin.__globals__["even"].__qualname__ for twin in twins}) == 3


def test_a_plain_loop_has_nothing_in_it_of_what_is_off():
    rules = StepRules(*[0] * len(StepRules._fields))._replace(timeout_s=math.inf)
    reached, left = set(), [loop.kernel(rules)]
    while left:
        kernel = left.pop()
        reached.add(kernel.__name__)
        held = [kernel.__globals__.get(name) for name in kernel.__code__.co_names]
        left += [one for one in held if hasattr(one, "__code__") and one.__name__ not in reached]
    assert {"compose", "move", "preempt"} <= reached
    assert not reached & {"hold", "contend", "seek", "free_ended", "cancel", "tick", "expire", "lowest", "answered"}


def scale(values, by):
    total = 0
    for place in range(len(values)):
        values[place] = doubled(values[place]) * max(by, 1)
        total += values[place]
    return total


def doubled(value):
    return tripled(value) - min(value, 7)


def tripled(value):
    return 3 * value


tripled.inlined = False
scale.__module__ = doubled.__module__ = tripled.__module__ = "simlib.tests"


def test_kernels_compiled_as_one_piece_answer_as_in_plain_python():
    kernel, compiled_values, values = compiled(scale), np.arange(20), np.arange(20)
    assert kernel(compiled_values, 2) == scale(values, 2)
    np.testing.assert_array_equal(compiled_values, values)


def through(values):
    return scale(values, 3) + 1


def test_a_users_kernel_calls_one_of_the_package_with_its_parts():
    assert compiled(through)(np.arange(20)) == through(np.arange(20))
