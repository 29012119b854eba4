"""The answer in words: inside or outside first, then what broke; and the same for machines."""

import json
from dataclasses import replace

import pytest
from promised import promised

from simlib.cli.outputs import aligned, plain
from simlib.planning.deployed import told
from simlib.planning.deployed.causes import Cause, Causes
from simlib.planning.deployed.promise import Assumed, Promised
from simlib.planning.deployed.verdict import judge
from simlib.planning.deployed.window import Observed
from simlib.planning.objectives import parse

SLA = parse("ttft_p99<=1,tpot_p99<=0.05")


@pytest.fixture(scope="module")
def plan():
    ranges = Assumed(0.5, 0.3, 0.8), Assumed(0.03)
    return replace(promised(), promised=tuple(map(Promised, SLA, ranges)))


def window(ttft=(0.5, 0.5), tpot=(0.03, 0.03), name="w"):
    values = {key: ends for key, ends in (("ttft_p99", ttft), ("tpot_p99", tpot)) if ends}
    return Observed(name, 100.0, 600, values, {"rate_rps": 6.0}, about={"preemptions": 3})


IN, OUT, NEITHER = "Inside what plan.json", "Outside what plan.json", "Not told apart from what plan.json"


@pytest.mark.parametrize(
    ("windows", "begins", "ends"),
    [
        ([window()], f"{IN} promised: the one window of 100 s meets every objective; nearest to its limit is ",
         "tpot_p99 30 ms, limit 50 ms."),
        ([window(ttft=(2.0, 2.0))], f"{OUT} promised, that 95 of 100 windows meet every objective: 1 of 1 window of",
         "does not; so many or more by chance: 5 %. It was ttft_p99 2 s, predicted 300 ms to 800 ms, limit 1 s."),
        ([window(ttft=(0.9, 0.9))], f"{OUT} predicted, though no limit was missed: it was ttft_p99 900 ms, ",
         "predicted 300 ms to 800 ms, limit 1 s."),
        ([window(ttft=(0.5, 2.5))], f"{NEITHER} promised (a limit lies within a bucket): ttft_p99 500 ms to 2.50 s",
         "limit 1 s."),
        ([window(tpot=None)], f"{NEITHER} promised (not measured: tpot_p99): ttft_p99 500 ms", "limit 1 s."),
        ([window(), window(), window(ttft=(1.5, 1.5), name="late")], f"{IN} promised: 2 of 3 windows of 100 s meet",
         "ttft_p99 1.50 s in late, predicted 300 ms to 800 ms, limit 1 s."),
    ],
)  # fmt: skip
def test_the_first_sentence(plan, windows, begins, ends):
    said = told.answer(judge(plan, windows))
    assert said.startswith(begins) and said.endswith(ends), said


def causes_of(*names, simulated=True):
    cases = (
        ("rate_rps", 9.0, Assumed(6.0, 5.0, 7.0), 1.5),
        ("output_tokens", 130.0, Assumed(120.0, 110.0, 128.0), 0.6),
    )
    rows = [Cause(*one, one[0] not in names, alone_s if simulated else None) for *one, alone_s in cases]
    times = (0.4, 1.6) if simulated else ()
    return Causes(SLA[0], window(ttft=(2.0, 2.0)), (*rows, Cause("pace", None, Assumed(1.0), None)), *times)


def test_what_broke_is_named_in_order():
    assert told.broken(causes_of("rate_rps")) == "One assumption broke: rate."
    both = told.broken(causes_of("rate_rps", "output_tokens"))
    assert both == "What broke is first of all: rate; then output lengths (by what each alone makes of ttft_p99)."
    assert "by how far each lies outside its range" in told.broken(
        causes_of("rate_rps", "output_tokens", simulated=False)
    )
    assert told.broken(causes_of()) == "No assumption was measured outside its range; what does most is rate."
    unknown = Causes(SLA[0], window(ttft=(2.0, 2.0)), (Cause("pace", 1.2, Assumed(1.0), None),))
    assert told.broken(unknown) == "No assumption was measured outside its range (none is known of step times)."


def test_the_whole_has_each_assumption_with_what_it_makes(plan):
    verdict = judge(plan, [window(ttft=(2.0, 2.0))])
    said = told.text(verdict, causes_of("rate_rps"), aligned)
    assert said.splitlines()[0].startswith("Outside") and said.splitlines()[2] == "One assumption broke: rate."
    (row,) = (line for line in said.splitlines() if line.startswith("rate "))
    assert row.split() == ["rate", "9/s", "5", "to", "7/s", "outside", "1.50", "s"]
    assert "ttft_p99 is 400 ms in the plan's own window, 1.60 s with all that was measured" in said
    assert "and was 2 s." in said and "preemptions: 3" in said
    far = replace(causes_of("rate_rps"), together_s=0.5)
    assert "the rest is in none of these" in told.text(verdict, far, aligned)


def test_for_machines(plan):
    verdict = judge(plan, [window(ttft=(2.0, float("inf")))])
    found = json.loads(json.dumps(plain(told.document(verdict, causes_of("rate_rps")))))
    assert (found["inside"], found["broken"]) == (False, ["rate_rps"])
    assert found["windows"][0]["objectives"]["ttft_p99"] == {"low": 2.0, "high": None}
    assert found["explained"]["assumptions"][0]["alone_s"] == 1.5
    assert found["missed"] == {"windows": 1, "beyond": 1, "chance": pytest.approx(0.05)}
