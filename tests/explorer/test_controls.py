"""The controls around any explorer, in a browser, with made-up answers: what is asked, drawn, said and heard."""

import json

import axe
import pytest
from browser import opened

from book.explorer.scripts import DRAWING, SCRIPTS
from book.explorer.state import Position, controls

MOUNTED = """
const asked = [];
const run = (scheduler, name, late, stability) => ({
  scheduler, name, first: -4, counts: [5, 5, 5, 5, 5, 5],
  summary: {
    sla_violation_share: late, latency_mean_s: 2 * late, latency_p99_s: 1, gpu_utilization: 1, batch_size_mean: 4,
    stability,
  },
  series: { time_s: [0, 1, 2], size: [1, 2, 4 * late] }, blocks: {},
});
const answer = (state) => ({
  d_sla: state.d_sla, requests: state.requests, gpus: state.gpus, window_s: [0, 1], pending: true, notes: [], code: "",
  runs: [run("dynamic_no_bins", "dynamic batching", 0.4 / state.d_sla, state.load > 3 ? "unstable" : "stable"),
    run("multi_bin_dynamic", "bins", 0.21 / state.d_sla, "stable")],
});
const share = (mean) => ({ mean, low: mean - 0.02, high: mean + 0.02 });
const rest = (state) => ({
  replications: 20,
  intervals: { dynamic_no_bins: share(0.4 / state.d_sla), multi_bin_dynamic: share(0.21 / state.d_sla) },
  differences: [{ a: "multi_bin_dynamic", b: "dynamic_no_bins", mean: -0.19, low: -0.2, high: -0.18 }],
  curve: ["dynamic_no_bins", "multi_bin_dynamic"].map((scheduler) => ({
    scheduler, name: scheduler, x: [0.5, 1, 2], share: [0.8, 0.4, 0.2],
    low: [null, null, null], high: [null, null, null],
  })),
});
const shown = explorer.mount(document.getElementById("explorer"), {
  controls: CONTROLS, state: STATE,
  ask: (state, number, against) => { asked.push({ state, number, against }); shown.show(number, answer(state)); },
});
shown.adopt({});
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("controls") / "page.html"
    sheet = f'<link rel="stylesheet" href="{(SCRIPTS / "explorer.css").as_uri()}">'
    scripts = "".join(f'<script src="{(SCRIPTS / f"{name}.js").as_uri()}"></script>' for name in DRAWING)
    state = Position(schedulers=["dynamic_no_bins", "multi_bin_dynamic"]).settings()
    mounted = MOUNTED.replace("CONTROLS", json.dumps(controls())).replace("STATE", json.dumps(state))
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Explorer</title>{sheet}</head>'
    path.write_text(
        f'{head}<body><main><div class="explorer" id="explorer"></div></main>{scripts}<script>{mounted}</script>'
    )
    return path


@pytest.fixture
def tab(page, browser):
    with opened(browser, page) as (tab, complaints):
        yield tab
        assert complaints == []


def slider(tab, name: str):
    return tab.locator(f'.explorer input[type="range"][name="{name}"]')


def moved(tab, name: str, value: float) -> None:
    typed = slider(tab, name).locator("xpath=following-sibling::input")
    typed.fill(str(value))
    typed.press("Enter")


def press(tab, name: str) -> None:
    tab.get_by_role("button", name=name, exact=True).click()


def asked(tab) -> dict:
    return tab.evaluate("() => asked.at(-1)")


def follow(tab, **more) -> None:
    tab.evaluate("(more) => shown.follow(asked.at(-1).number, { ...rest(asked.at(-1).state), ...more })", more)


def text(tab, part: str) -> str:
    return tab.locator(f".explorer {part}").first.text_content()


def heard(tab, part: str) -> None:
    tab.wait_for_function("(part) => document.querySelector('.explorer-heard').textContent.includes(part)", arg=part)


def test_execution_is_in_sight_and_what_is_rare_under_more(tab):
    assert tab.locator('.explorer select[name="execution"]').is_visible()
    assert not tab.locator('.explorer select[name="latency"]').is_visible()


def test_presets_are_a_list_beside_which_another_law_is_typed(tab):
    tab.locator(".explorer details summary").click()
    preset, law = (tab.locator(f'.explorer {kind}[name="latency"]') for kind in ("select", "input"))
    groups = preset.locator("optgroup").evaluate_all("(groups) => groups.map((group) => group.label)")
    assert groups[0] == "Assumed by the original" and all(group.startswith("Measured on ") for group in groups[1:])
    preset.select_option("h100-vllm-llama3-8b")
    assert asked(tab)["state"]["latency"] == "h100-vllm-llama3-8b" and not law.is_visible()
    before = asked(tab)["number"]
    preset.select_option("other")
    assert law.is_visible() and law.evaluate("(input) => input === document.activeElement")
    slider(tab, "seed").focus()
    assert asked(tab)["number"] == before and preset.input_value() == "h100-vllm-llama3-8b"  # nothing was typed
    preset.select_option("other")
    assert law.input_value() == "" and "alpha,beta,gamma in seconds" in law.get_attribute("placeholder")
    law.fill("0.01,0.0003,0.2")
    law.press("Enter")
    assert asked(tab)["state"]["latency"] == "0.01,0.0003,0.2"
    press(tab, "Reset")
    assert preset.input_value() == "original-synthetic" and not law.is_visible()


def test_reset_leads_back_by_button_and_by_key_but_not_where_letters_are_typed(tab):
    start = asked(tab)["state"]
    moved(tab, "d_sla", 2)
    moved(tab, "k_bins", 7)
    press(tab, "Reset")
    assert asked(tab)["state"] == start and slider(tab, "k_bins").input_value() == "4"
    assert "Back where it began" in text(tab, ".note")
    slider(tab, "d_sla").press("ArrowRight")
    slider(tab, "d_sla").press("r")
    assert asked(tab)["state"] == start
    slider(tab, "d_sla").press("ArrowRight")
    away = asked(tab)["number"]
    tab.locator('.explorer select[name="execution"]').press("r")
    slider(tab, "d_sla").press("Control+r")
    assert asked(tab)["number"] >= away and asked(tab)["state"]["d_sla"] != start["d_sla"]


def test_a_kept_position_is_shown_faint_behind_each_move_until_it_is_dropped(tab):
    assert asked(tab)["against"] is None and not tab.locator(".explorer-against").is_visible()
    follow(tab)
    press(tab, "Keep as A")
    moved(tab, "d_sla", 2)
    assert asked(tab)["against"]["d_sla"] == 1 and asked(tab)["state"]["d_sla"] == 2
    assert "B against A, D_SLA 2 s instead of 1 s" in text(tab, ".explorer-against")
    assert "bins 10.5 % late instead of 21 % (interval follows)" in text(tab, ".explorer-against")
    found = {"scheduler": "multi_bin_dynamic", "mean": -0.105, "low": -0.12, "high": -0.09, "reason": ""}
    none = {"scheduler": "dynamic_no_bins", "mean": 0, "low": None, "high": None, "reason": "they differ in 3 of 20"}
    follow(tab, against={"method": "paired", "replications": 20, "conditional": False, "differences": [found, none]})
    said = text(tab, ".explorer-beside")
    assert "bins 10.5 % late instead of 21 % (on average −10.50 points, 95 % interval −12.00 to −9.00)" in said
    assert "(on average 0.00 points, they differ in 3 of 20)" in said and "paired over 20 replications" in said
    cells = tab.locator(".explorer-against tbody").nth(1).locator("tr").nth(1).locator("td").all_text_contents()
    assert (
        cells[:2] == ["21.00 %", "10.50 %"] and cells[2].startswith("−10.50 points") and "−12.00 to −9.00" in cells[2]
    )
    for view in ("latencies", "d_curve", "series"):
        assert tab.locator(f'.explorer [data-view="{view}"] path.kept').count() >= 2
    press(tab, "Drop A")
    assert tab.locator(".explorer path.kept").count() == 0 and not tab.locator(".explorer-against").is_visible()
    moved(tab, "d_sla", 3)
    assert asked(tab)["against"] is None


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("independent", "A and B face other requests: differences are unpaired, of 20 replications each"),
        ("exact", "Nothing is left to chance"),
        ("none", "No interval: of a reason"),
    ],
)
def test_how_a_difference_was_made_is_said(tab, method, says):
    press(tab, "Keep as A")
    moved(tab, "load", 2)
    against = {"method": method, "replications": 20, "conditional": True, "reason": "of a reason", "differences": []}
    follow(tab, against=against)
    said = text(tab, ".explorer-beside")
    assert says in said and ("conditional on the trace" in said) == (method == "independent")


def test_what_moved_and_whether_bins_help_is_heard_once_the_controls_rest(tab):
    heard(tab, "At D_SLA 1 s")
    moved(tab, "d_sla", 2)
    heard(
        tab, "D_SLA 2 s instead of 1 s: dynamic batching 20 % late instead of 40 %, bins 10.5 % late instead of 21 %."
    )
    follow(tab)
    heard(tab, "Bins help: 10.5 % late instead of 20 %, in the mean of 20 replications.")
    assert text(tab, ".explorer-summary strong").startswith("Bins help")
    tab.locator('.explorer select[name="execution"]').select_option("continuous")
    heard(
        tab,
        "Execution continuous batching instead of batches that run to completion: dynamic batching 20 % late as before",
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.02, "Bins hurt: "),
        (-0.01, 0.02, "Whether bins help here is not established: "),
        (0, 0, "Bins change nothing here: "),
    ],
)
def test_bins_help_only_where_the_interval_says_so(tab, low, high, verdict):
    share = {"mean": 0.3, "low": 0.2, "high": 0.4}
    pair = {"a": "multi_bin_dynamic", "b": "dynamic_no_bins", "low": low, "high": high}
    follow(tab, differences=[pair], intervals={"multi_bin_dynamic": share, "dynamic_no_bins": share | {"mean": 0.28}})
    assert text(tab, ".explorer-summary strong").startswith(verdict + "30 % late instead of 28 %")


def test_in_overload_it_says_why_one_long_run_and_the_mean_of_many_differ(tab):
    assert text(tab, ".explorer-overload") == ""
    moved(tab, "load", 4)
    said = text(tab, ".explorer-overload")
    assert said.startswith("Overload under dynamic batching: more arrives than is served") and "bins" not in said
    assert "10,000 requests, not of a steady state" in said and "one run and the mean of many differ" in said
    heard(tab, "Overload under dynamic batching")


def test_near_the_limit_it_says_that_the_run_is_too_short(tab):
    said = tab.evaluate("() => explorerWords.overload({ requests: 5000, runs: [run('a', 'A', 1, 'near_critical')] })")
    assert said.startswith("Under A 5,000 requests are too few to tell")


@pytest.mark.parametrize("width", [390, 1280])
def test_two_positions_fit_a_phone_and_are_accessible(page, browser, width):
    with opened(browser, page, width) as (tab, complaints):
        press(tab, "Keep as A")
        tab.locator(".explorer details summary").click()
        tab.locator('.explorer select[name="latency"]').select_option("other")
        moved(tab, "load", 4)
        follow(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert axe.violations(tab) == [] and complaints == []
