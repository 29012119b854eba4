"""After deployment: results held against a plan in a terminal, with its exit codes and sentences."""

import json

import pytest
from promised import document, result, window
from scraped import after, before, text

from simlib.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("check")
    files = {
        "plan.json": json.dumps(document()), "slow.json": result(window(5), pace=2.0), "fast.json": result(window(5)),
        "again.json": result(window(6)),
        "busy.json": result(window(5, rate_rps=9.0)), "short.json": result(window(5, rate_rps=60.0).head(600)),
        "before.prom": before(), "after.prom": after(), "other.json": json.dumps({"rows": 1}),
        "requests.csv": "arrival_s,prompt_tokens,output_tokens\n0,1,1\n5,1,1\n", "slow.prom": _slow(),
        "unmet.json": json.dumps(document(met=False)),
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def _slow():
    """As `after`, with first tokens later than any limit."""
    from scraped import AFTER, LATER

    late = {"time_to_first_token_seconds": ({"0.5": 90, "1.0": 98, "2.5": 120, "+Inf": 300}, 930.0)}
    return text(AFTER | late, LATER)


def said(folder, capsys, *words, code):
    words = [str(folder / word) if (folder / word).is_file() else word for word in words]
    assert main(["plan", "--check", *words]) == code
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return told


def test_what_holds_ends_with_0(folder, capsys):
    told = said(folder, capsys, "fast.json", "plan.json", code=0)
    assert told.out.startswith("Inside what plan.json promised: the one window of 100 s meets every objective")


def test_what_does_not_ends_with_3_and_says_which_assumption_broke(folder, capsys):
    told = said(folder, capsys, "slow.json", "plan.json", code=3)
    assert told.out.startswith("Outside what plan.json promised") and "One assumption broke: step times." in told.out
    told = said(folder, capsys, "busy.json", "plan.json", code=3)
    assert "One assumption broke: rate." in told.out


def test_scrapes_are_held_against_it_too(folder, capsys):
    told = said(folder, capsys, "before.prom", "slow.prom", "plan.json", "--every", "100s", code=3)
    assert "Outside what plan.json promised" in told.out and "ttft_p99 above 2.50 s" in told.out
    assert "preemptions: 3" in told.out
    told = said(folder, capsys, "before.prom", "after.prom", "plan.json", "--every", "600s", code=3)
    assert "before.prom to after.prom: 10 min, taken as one window though 100 s were promised" in told.err


def test_scrapes_of_several_replicas_stand_with_commas(folder, capsys, tmp_path):
    for name in ("b0.prom", "b1.prom"):
        (tmp_path / name).write_text((folder / ("before.prom" if "0" in name else "slow.prom")).read_text())
    moments = [f"{folder / 'before.prom'},{tmp_path / 'b0.prom'}", f"{folder / 'slow.prom'},{tmp_path / 'b1.prom'}"]
    told = said(folder, capsys, *moments, "plan.json", "--every", "100s", code=3)
    assert "engines seen: 2" in told.out
    assert "before.prom,b0.prom: 2 engines, where the plan has 1 replica" in told.err
    told = said(folder, capsys, moments[0], moments[0], "plan.json", "--every", "100s", code=2)
    assert "before.prom twice" in told.err
    both = f"{folder / 'fast.json'},{folder / 'again.json'}"
    told = said(folder, capsys, both, "plan.json", code=2)
    assert "again.json (expected scrapes of replicas with commas, and benchmarks with blanks)" in told.err


def test_several_results_are_windows_of_one_promise(folder, capsys):
    told = said(folder, capsys, "fast.json", "again.json", "plan.json", "--json", code=0)
    found = json.loads(told.out)
    assert [one["window"] for one in found["windows"]] == ["fast.json", "again.json"]
    assert found["missed"] == {"windows": 2, "beyond": 0, "chance": 1.0} and found["inside"] is True


def test_another_engine_or_model_is_said(folder, capsys, tmp_path):
    plan = document()
    plan["assumed"] |= {"engine": "SGLang", "version": "0.5.6", "model": "org/other"}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    told = said(folder, capsys, "fast.json", str(tmp_path / "plan.json"), code=0)
    assert "fast.json: vLLM, where the plan's law is of SGLang" in told.err
    assert "fast.json: model org/model, where the plan's law is of org/other" in told.err
    assert "SGLang 0.5.6; no result says its engine's version" in told.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["plan.json"], "--check: "),
        (["fast.json", "fast.json", "plan.json"], "fast.json twice (expected each result once"),
        (["fast.json", "other.json"], "other.json: no plan (expected what"),
        (["fast.json", "fast.json"], "fast.json: no plan"),
        (["fast.json", "unmet.json"], "unmet.json: nothing met its objectives"),
        (["short.json", "plan.json"], "from its first request to its last (expected at least 100 s, one window"),
        (["before.prom", "plan.json", "--every", "100s"], "before.prom: one scrape"),
        (["before.prom", "after.prom", "plan.json"], "before.prom: a scrape without times (expected --every"),
        (["before.prom", "after.prom", "plan.json", "--every", "0s"], "--every: 0s (expected a time > 0)"),
        (["before.prom", "after.prom", "plan.json", "--every", "10s"], "10 s to the last scrape (expected at least"),
        (["after.prom", "before.prom", "plan.json", "--every", "100s"], "the engine was started in between"),
        (["before.prom", "fast.json", "plan.json"], "fast.json: no scrape, beside before.prom"),
        (["fast.json", "plan.json", "--every", "100s"], "--every: given beside a benchmark's result"),
        (["requests.csv", "plan.json"], "requests.csv: no times of requests"),
        (["fast.json", "plan.json", "--sla", "ttft_p99<=1"], "--sla: given beside --check"),
        (["absent.json", "plan.json"], "absent.json"),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_leaves_nothing(folder, tmp_path, capsys, words, says):
    told = said(folder, capsys, *words, "--json", str(tmp_path / "out.json"), code=2)
    assert says in told.err and not told.out
    assert not list(tmp_path.iterdir())


def test_without_check_a_plan_still_asks_for_its_objectives(capsys):
    assert main(["plan", "--rate", "3", "--prompt", "100,0.5", "--output", "100,0.5", "--steps", "0.01,0,0,0"]) == 2
    assert "--sla: missing (expected" in capsys.readouterr().err
    assert main(["plan", "--every", "10s", "--sla", "ttft_p99<=1", "--rate", "3"]) == 2
    assert "--every: given without --check" in capsys.readouterr().err
