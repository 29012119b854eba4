"""The sliders: set a widget's value, read the result, compare with a direct call."""

import matplotlib
import pytest

matplotlib.use("Agg")

import simlib
from simlib.checks import InputError
from simlib.explorer import explore
from simlib.studies import levels


def direct(level, scheduler, d_sla, k_bins, gpus, requests=1000):
    policy = levels.policies(k_bins, d_sla)[scheduler]
    table = levels.requests_of(level, requests, 42)[0]
    return simlib.simulate(table, policy, levels.LEVELS[level].latency, gpus, sla=d_sla).summary()


def test_the_first_view_is_the_published_run():
    assert explore().summary["sla_violation_share"] == 0.007


@pytest.mark.parametrize(
    "moves",
    [{"d_sla": 0.5}, {"k_bins": 8}, {"gpus": 1}, {"scheduler": "static_fifo"}, {"level": 3, "d_sla": 0.7, "k_bins": 2}],
)
def test_a_move_shows_what_a_direct_call_gives(moves):
    explorer = explore()
    before = explorer._picture.value
    for name, value in moves.items():
        explorer.controls[name].value = value
    expected = direct(**explorer.settings)
    assert explorer.summary == expected
    assert f"{expected['sla_violation_share']:.3g}" in explorer._sentence.value
    assert explorer._picture.value[:8] == b"\x89PNG\r\n\x1a\n" and explorer._picture.value != before


def test_the_controls_cannot_leave_their_range():
    explorer = explore(requests=50)
    explorer.controls["k_bins"].value = 1000
    assert explorer.settings["k_bins"] == 32


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"level": 5}, "level"),
        ({"scheduler": "lifo"}, "scheduler"),
        ({"d_sla": 0.0}, "d_sla"),
        ({"k_bins": 0}, "k_bins"),
        ({"gpus": 17}, "gpus"),
        ({"requests": 0}, "requests"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_bad_start_is_named(settings, word):
    with pytest.raises(InputError, match=word):
        explore(**settings)
