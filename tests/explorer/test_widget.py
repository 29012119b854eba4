"""The widget, as the browser speaks to it: positions in, numbers or a refusal out, the last good one kept."""

import asyncio

import numpy as np
import pandas as pd
import pytest

import simlib
from book.explorer.widget import explore, packed
from simlib.checks import InputError


class Browser:
    """What a browser would have heard of an explorer, and what it says to it."""

    def __init__(self, explorer) -> None:
        self.explorer, self.heard = explorer, []
        explorer.send = lambda content, buffers=None: self.heard.append((content, buffers))

    def move(self, number: int, against=None, **moves) -> None:
        told = {"kind": "move", "shown_by": "one", "number": number, "state": self.explorer.state | moves}
        self.explorer._heard(self.explorer, told | {"against": against}, [])


def test_a_move_is_answered_with_what_a_direct_call_gives():
    browser = Browser(explore(requests=300))
    browser.move(1, d_sla=0.5, k_bins=8)
    ((content, buffers),) = browser.heard
    assert content["kind"] == "view" and content["number"] == 1 and content["shown_by"] == "one"
    table = simlib.workload.original(300, 42)
    expected = simlib.simulate(table, simlib.MultiBinDynamic(8, 0.5), gpus=2).summary()
    shown = next(run for run in content["view"]["runs"] if run["scheduler"] == "multi_bin_dynamic")
    assert shown["summary"]["sla_violation_share"] == expected["sla_violation_share"]
    assert np.frombuffer(buffers[shown["counts"]["buffer"]], np.float32).sum() == 300
    assert browser.explorer.summaries["multi_bin_dynamic"] == expected


def test_a_wrong_value_is_refused_and_the_last_good_position_stays():
    browser = Browser(explore(requests=100))
    browser.move(1, latency="original-calibrated")
    browser.move(2, latency="nothing-like-it-at-all")
    browser.move(3, colour="red")
    refusals = [content for content, _ in browser.heard if content["kind"] == "refused"]
    assert [refusal["number"] for refusal in refusals] == [2, 3]
    assert "nothing-like-it-at-all" in refusals[0]["problem"] and "control: 'colour'" in refusals[1]["problem"]
    assert browser.explorer.position.latency == "original-calibrated"


def test_what_follows_is_of_the_newest_position_alone():
    async def two_moves() -> Browser:
        browser = Browser(explore(requests=50, schedulers=["static_fifo", "dynamic_no_bins"]))
        browser.move(1, d_sla=0.5)
        browser.move(2, d_sla=0.4)
        await browser.explorer._task
        return browser

    browser = asyncio.run(two_moves())
    followed = [content for content, _ in browser.heard if content["kind"] == "following"]
    assert {content["number"] for content in followed} == {2}
    parts = ["intervals", "curve", "load_curve", "settled"]  # no bins among them
    assert [part in content["view"] for part, content in zip(parts, followed, strict=True)] == [True] * 4
    assert browser.explorer.state["d_sla"] == 0.4


def test_a_position_that_is_kept_is_compared_with_each_move_and_served_once():
    async def moves() -> tuple[Browser, list]:
        browser, kept = Browser(explore(requests=50, schedulers=["static_fifo"])), []
        for number, d_sla in ((1, 0.5), (2, 0.4)):
            browser.move(number, against=dict(browser.explorer.start), d_sla=d_sla)
            kept.append(browser.explorer._kept)
            await browser.explorer._task
        browser.move(3, d_sla=0.3)
        await browser.explorer._task
        return browser, kept

    browser, (first, second) = asyncio.run(moves())
    followed = [content for content, _ in browser.heard if content["kind"] == "following"]
    found = {content["number"]: content["view"]["against"] for content in followed if "against" in content["view"]}
    assert found.keys() == {1, 2} and found[1]["method"] == "paired" and first is second
    assert browser.explorer.start["d_sla"] == 1.0 and browser.explorer.state["d_sla"] == 0.3


def test_python_moves_the_browser_and_keeps_the_last_good_position_too():
    browser = Browser(explore(requests=50))
    browser.explorer.move(k_bins=2)
    assert browser.heard[-1][0] == {"kind": "moved", "state": browser.explorer.state}
    assert browser.explorer.state["k_bins"] == 2
    with pytest.raises(InputError, match="k_bins: 99"):
        browser.explorer.move(k_bins=99)
    assert browser.explorer.position.k_bins == 2


def test_an_own_table_is_explored_with_its_own_predictions(tmp_path):
    own = pd.DataFrame({"arrival_s": [0.0, 0.2], "prompt_tokens": [9, 8], "output_tokens": [50, 40]})
    assert explore(table=own).position.predictor == "original"
    explorer = explore(table=own.assign(predicted_output_tokens=[50, 40]))
    assert explorer.position.predictor == "own" and not explorer.position.is_random
    own.to_csv(tmp_path / "own.csv", index=False)
    assert explore(table=tmp_path / "own.csv").summaries["static_fifo"]["requests"] == 2
    with pytest.raises(InputError, match="arrival_s, row 1: -1"):
        explore(table=own.assign(arrival_s=[0.0, -1.0]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"level": 5}, "level: 5"), ({"sheduler": "lifo"}, "setting: 'sheduler'"), ({"d_sla": 0}, "d_sla: 0")],
)
def test_a_bad_start_is_named(settings, message):
    with pytest.raises(InputError, match=message):
        explore(**settings)


def test_arrays_travel_as_buffers_and_the_rest_as_it_is():
    content, buffers = packed({"runs": [{"counts": np.array([3, 4]), "name": "one"}], "share": np.float64(0.1)})
    assert content == {"runs": [{"counts": {"buffer": 0}, "name": "one"}], "share": 0.1}
    assert np.frombuffer(buffers[0], np.float32).tolist() == [3.0, 4.0]
