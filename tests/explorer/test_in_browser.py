"""The explorer as people use it in a live JupyterLab."""

import shutil
from pathlib import Path

import axe
import pytest
from lab import jupyterlab, run_all
from moved import RESTS, in_time, shown_share, slider, typed

import simlib
from book.explorer import views
from book.explorer.against import Kept
from book.explorer.state import Position

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser):
    """A tab with the explorer's notebook run in a live JupyterLab."""
    scratch = tmp_path_factory.mktemp("lab")
    (scratch / "work").mkdir()
    shutil.copy2(ROOT / "notebooks" / "explorer.ipynb", scratch / "work")
    (scratch / "work" / "bad.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0.0,10,5\n0.5,20,-3\n")
    with jupyterlab(scratch / "work", scratch) as address:
        tab = browser.new_context(viewport={"width": 1280, "height": 1600}).new_page()
        run_all(tab, address.format("explorer.ipynb"))
        tab.locator(".explorer").first.wait_for(timeout=60_000)
        tab.wait_for_function(RESTS, timeout=60_000)
        yield tab
        tab.context.close()


def settled(tab) -> None:
    """Wait until the newest position, with its intervals, is shown."""
    tab.wait_for_function(RESTS, timeout=60_000)


def direct(d_sla: float, k_bins: int, **options) -> dict[str, float]:
    requests = simlib.workload.original(10_000, seed=42)
    policies = (simlib.StaticFIFO(), simlib.DynamicNoBins(d_sla), simlib.MultiBinDynamic(k_bins, d_sla))
    runs = (simlib.simulate(requests, policy, gpus=2, sla=d_sla) for policy in policies)
    return {run.policy: run.summary()["sla_violation_share"] for run in runs}


def test_in_jupyter_a_move_shows_what_a_direct_call_gives(lab):
    slider(lab, "d_sla").focus()
    for _ in range(4):
        lab.keyboard.press("ArrowLeft")
    slider(lab, "k_bins").press("ArrowRight")
    settled(lab)
    expected = direct(0.8, 5)
    assert {name: shown_share(lab, name) for name in expected} == expected
    said = lab.locator(".explorer-summary").inner_text()
    assert "D_SLA 0.8 s, K_BINS 5" in said and "95 % interval" in said and "bins minus dynamic batching" in said


def test_in_jupyter_a_dragged_slider_ends_where_it_was_left(lab):
    box = slider(lab, "d_sla").bounding_box()
    middle = box["y"] + box["height"] / 2
    lab.mouse.move(box["x"] + 5, middle)
    lab.mouse.down()
    for place in range(40):
        lab.mouse.move(box["x"] + 5 + (place % 20) * (box["width"] - 10) / 20, middle)
    lab.mouse.up()
    settled(lab)
    deadline_s = float(typed(lab, "d_sla").input_value())
    expected = direct(deadline_s, int(typed(lab, "k_bins").input_value()))
    assert {name: shown_share(lab, name) for name in expected} == expected


def test_in_jupyter_wrong_values_are_named_and_the_last_good_view_stays(lab):
    lab.locator(".explorer details summary").click()
    before = shown_share(lab, "static_fifo")
    lab.locator('.explorer select[name="latency"]').select_option("other")
    preset = lab.locator('.explorer input[name="latency"]')
    preset.fill("no-such-preset")
    preset.press("Enter")
    wrong = lab.locator(".explorer > .wrong")
    lab.wait_for_function("() => document.querySelector('.explorer > .wrong').textContent.includes('no-such-preset')")
    assert "The last good view stays" in wrong.inner_text() and shown_share(lab, "static_fifo") == before
    lab.locator('.explorer select[name="latency"]').select_option("original-synthetic")
    lab.locator('.explorer select[name="workload"]').select_option("own")
    lab.locator('.explorer input[name="table"]').fill("bad.csv")
    lab.locator('.explorer input[name="table"]').press("Enter")
    lab.wait_for_function(
        "() => document.querySelector('.explorer > .wrong').textContent.includes('row 1, output_tokens: -3')"
    )
    assert "output_tokens" in wrong.inner_text() and shown_share(lab, "static_fifo") == before
    lab.locator('.explorer select[name="workload"]').select_option("synthetic")
    settled(lab)
    assert wrong.inner_text() == "" and shown_share(lab, "static_fifo") == before


def test_in_jupyter_two_positions_are_compared_in_pairs_and_a_key_leads_back(lab, record_property):
    lab.get_by_role("button", name="Reset").click()
    settled(lab)
    lab.get_by_role("button", name="Keep as A").click()
    slider(lab, "k_bins").press("ArrowRight")
    settled(lab)
    a = Position()
    found = _against(a, a.moved({"k_bins": 5}))
    (one,) = (one for one in found["differences"] if one["scheduler"] == "multi_bin_dynamic")
    said = lab.locator(".explorer-against").inner_text()
    sure = one["reason"] or f"{100 * one['low']:+.2f} to {100 * one['high']:+.2f}".replace("-", "−")
    assert found["method"] == "paired" and "paired over 20 replications" in said and sure in said
    assert axe.violations(lab, ".explorer") == []
    assert in_time(lab, "jupyter_with_a", 100, record_property)
    slider(lab, "d_sla").press("r")
    lab.get_by_role("button", name="Drop A").click()
    settled(lab)
    assert typed(lab, "k_bins").input_value() == "4" and lab.locator(".explorer path.kept").count() == 0


def _against(a: Position, b: Position) -> dict:
    for part in views.following(b, kept=Kept(a)):
        if part is not None and "against" in part:
            return part["against"]
    raise AssertionError("nothing was compared")


def test_in_jupyter_the_explorer_is_accessible(lab):
    assert axe.violations(lab, ".explorer") == []


def test_in_jupyter_the_copied_code_repeats_the_view(lab):
    settled(lab)
    lab.get_by_role("button", name="Copy as Python").click()
    namespace: dict = {}
    exec(lab.locator(".explorer-code").inner_text(), namespace)
    for name, summary in namespace["summaries"].items():
        assert shown_share(lab, name) == summary["sla_violation_share"]


def test_in_jupyter_ten_thousand_requests_are_simulated_again_and_shown_in_time(lab, record_property):
    settled(lab)
    assert in_time(lab, "jupyter", 100, record_property)
