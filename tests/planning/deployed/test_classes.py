"""A plan with objectives by class, checked: classes in rows, results of one class each, the mix; and the whole."""

import json
from dataclasses import replace

import numpy as np
import pytest
from promised import LAW, WINDOW_S, document, result, window
from scraped import after, before, scrape

from simlib import InputError, RequestTable, simulate
from simlib.cli import main
from simlib.planning.deployed import causes, classes, logs, promise, scrapes, verdict
from simlib.planning.deployed.promise import Assumed
from simlib.planning.objectives import parse
from simlib.policies.priority import PriorityFirst
from simlib.requests.formats import known
from simlib.requests.formats.layout import Asked
from simlib.runs import metrics

SLA = "priority=0: ttft_p99<=0.5; priority=1: ttft_p95<=2"


def mixed(seed, urgent=0.25, rate_rps=6.0):
    """A window of which every fourth request, or another share, is urgent."""
    table = window(seed, rate_rps)
    return replace(table, priority=(np.arange(len(table)) % 20 >= round(20 * urgent)).astype(int))


def planned(**more):
    """A plan by class; its engine admits the most urgent first."""
    each = [mixed(seed, urgent) for seed, urgent in enumerate((0.2, 0.25, 0.3) * 6)]
    block = promise.assumed(each, each[0], Assumed(1.0, 0.95, 1.05), LAW, by="priority")
    rows = [
        {"objective": str(one), "class": str(one.group), "mean": 0.2, "low": 0.1, "high": 0.4} for one in parse(SLA)
    ]
    plan = document(objectives=rows, assumed=block)
    return plan | {"configuration": plan["configuration"] | {"order": "priority"}} | more


def table_of(table, path, **columns):
    """A request table with times, as whoever has logs of their own writes it."""
    run = simulate(table, PriorityFirst(), LAW, 1, promise.of(planned()).setup.continuous())
    times = {f"{name}_s": metrics.request_times(run)[name] for name in ("ttft", "tpot", "latency")}
    table.frame().assign(**times, **columns).to_csv(path, index=False)
    return path


def told(log, plan):
    return logs.windows(log, plan.objectives, plan.window_s)


def test_a_plan_by_class_is_read_again():
    found = promise.of(json.loads(json.dumps(planned())))
    assert [one.name for one in found.objectives] == [one.name for one in parse(SLA)]
    assert (found.by, found.setup.order) == ("priority", "priority")
    assert found.assumed["priority=0"].mean == pytest.approx(0.25, abs=0.01) and "priority=1" not in found.assumed
    assert found.assumed["priority=0"].low < 0.2 < 0.3 < found.assumed["priority=0"].high
    assert (found.typical.priority == mixed(0, 0.2).priority).all()


def test_a_label_is_a_class_too_and_others_have_objectives_of_their_own():
    each = [replace(window(seed), labels={"client": np.array(["a b", "c"])[np.arange(len(window(seed))) % 2]})
            for seed in range(3)]  # fmt: skip
    block = promise.assumed(each, each[0], Assumed(1.0), LAW, by="client")
    some = parse("client=a b: ttft_p99<=1; ttft_p99<=5")
    rows = [{"objective": str(one), "class": str(one.group), "mean": 1.0} for one in some]
    found = promise.of(document(objectives=rows, assumed=block))
    assert found.objectives == some
    assert found.typical.labels["client"].tolist() == each[0].labels["client"].tolist()


def test_each_class_has_its_own_requests_and_its_own_failures(tmp_path):
    rows = {"arrival_s": range(11), "prompt_tokens": [100] * 11, "output_tokens": [11, 0] + [11] * 9,
            "priority": [0, 1] * 5 + [0], "ttft_s": np.arange(1, 12) / 10}  # fmt: skip
    RequestTable.of(rows).frame().assign(ttft_s=rows["ttft_s"]).to_csv(tmp_path / "log.csv", index=False)
    wanted = parse("priority=0: ttft_mean<=1,ttft_p99<=1; priority=1: ttft_mean<=1,ttft_p99<=1")
    (found,) = logs.windows(known.parse(tmp_path / "log.csv", asked=Asked(labels=["priority"])), wanted, 10.0)
    assert found.values_s["priority=0: ttft_mean"][0] == pytest.approx(0.6)  # .1, .3, .5, .7, .9, 1.1
    assert found.values_s["priority=1: ttft_mean"][0] == pytest.approx(0.7)  # .4, .6, .8, 1.0, but for the failed one
    assert found.values_s["priority=1: ttft_p99"] == (np.inf, np.inf)
    assert found.values_s["priority=0: ttft_p99"][0] < 1.1
    assert found.known["priority=0"] == pytest.approx(6 / 11)


def test_results_of_a_class_each_are_one_load(tmp_path):
    table, files = mixed(5), []
    for which in (0, 1):
        own = table.rows(table.priority == which)
        (tmp_path / f"{which}.json").write_text(result(own, priority=str(which)))  # as --metadata writes it
        files.append(known.parse(tmp_path / f"{which}.json", asked=Asked(labels=["priority"])))
    plan = promise.of(planned())
    (both,) = classes.complete(files, plan.objectives)
    assert both.source == "0.json and 1.json" and len(both.frame) == len(table)
    (found,) = told(both, plan)
    assert found.table.priority.tolist() == table.priority[: found.requests].tolist()
    assert found.known["priority=0"] == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"priority": "0"}, "a.json: no request of priority=1 (expected all of 0, 1, in each result"),
        ({}, "a.json: nothing says which requests are of priority=0 (expected it as a column"),
        ({"priority": "high"}, "a.json, row 0, priority: 'high' (expected an integer"),
        ({"priority": [0, 1]}, "a.json, priority: 2 entries (expected 600"),
    ],
)
def test_a_result_without_its_classes_is_named(tmp_path, capsys, more, says):
    (tmp_path / "plan.json").write_text(json.dumps(planned()))
    (tmp_path / "a.json").write_text(result(mixed(5), **more))
    assert main(["plan", "--check", str(tmp_path / "a.json"), str(tmp_path / "plan.json")]) == 2
    assert says in capsys.readouterr().err


def test_results_of_a_class_each_at_other_times_are_not_one_load(tmp_path):
    files, table = [], mixed(5)
    for which in (0, 1):
        own = table.rows(table.priority == which)
        starts_s = (own.arrival_s + 1000 * which).tolist()
        (tmp_path / f"{which}.json").write_text(result(own, priority=which, start_times=starts_s))
        files.append(known.parse(tmp_path / f"{which}.json", asked=Asked(labels=["priority"])))
    with pytest.raises(
        InputError, match=r"1\.json begins 14\.9 min after 0\.json has ended, and each has some classes"
    ):
        classes.complete(files, parse(SLA))


def test_what_broke_may_be_the_mix(tmp_path):
    plan = promise.of(planned())
    for urgent, broken in ((0.25, False), (0.8, True)):
        path = table_of(mixed(5, urgent), tmp_path / f"{urgent}.csv")
        (seen,) = told(known.parse(path, asked=Asked(labels=["priority"])), plan)
        one = plan.objectives[0]
        why = causes.causes(plan, seen, one)
        assert ("priority=0" in [each.name for each in why.broken]) is broken
        value_s = {each.name: each.value_s for each in why.rows}
        assert why.together_s == pytest.approx(seen.values_s[one.name][0], rel=0.1)
    assert value_s["priority=0"] > 1.1 * why.planned_s  # more of those that go first wait for each other


def test_a_window_with_another_mix_keeps_each_class_own_requests():
    typical = RequestTable(np.arange(10.0), [1] * 8 + [5, 7], [1] * 10, priority=[1] * 8 + [0] * 2)
    measured = RequestTable(np.arange(5.0), [3] * 5, [1] * 5, priority=[0, 0, 1, 0, 1])
    found = classes.mixed(typical, measured, "priority")
    assert found.priority.tolist() == [1] * 4 + [0] * 6
    assert found.prompt_tokens.tolist() == [1] * 4 + [5] * 3 + [7] * 3
    assert found.arrival_s.tolist() == typical.arrival_s.tolist()


def test_classes_that_nothing_is_promised_of_are_said(tmp_path):
    table = replace(mixed(5), priority=np.where(np.arange(600) < 12, 2, mixed(5).priority))
    log = known.parse(table_of(table, tmp_path / "log.csv"), asked=Asked(labels=["priority"]))
    said = classes.said_of_others(log, parse(SLA))
    assert said == "log.csv: 12 requests of priority=2, of which the plan promises nothing"
    assert classes.said_of_others(log, parse("priority=0: ttft_p99<=1; ttft_p99<=2")) == ""


def test_of_a_whole_a_limit_is_the_widest_at_the_quantile_that_all_have():
    def asked(text):
        plan = promise.of(document(objectives=[{"objective": str(one), "class": str(one.group), "mean": 1.0}
                                               for one in parse(text)]))  # fmt: skip
        return [str(one) for one in classes.whole(plan).objectives]

    assert asked(SLA) == ["ttft_p95<=2"]
    # 95 of 100 of the first are below 0.2 s, too.
    assert asked("priority=0: ttft_p99<=1,ttft_p95<=0.2; ttft_p95<=0.4") == ["ttft_p95<=0.4"]
    assert asked("priority=0: ttft_p99<=1,tpot_mean<=0.05; ttft_p95<=0.4,tpot_mean<=0.1") == [
        "ttft_p95<=1", "tpot_mean<=0.1"
    ]  # fmt: skip
    with pytest.raises(InputError, match="classes have no metric in common"):
        asked("priority=0: ttft_p99<=1; tpot_p99<=0.1")


def test_a_scrape_can_tell_that_a_class_misses_and_not_that_none_does():
    plan = classes.whole(promise.of(planned(window_s=600.0)))

    def found(limit_s):
        one = replace(plan.promised[0], objective=replace(plan.objectives[0], limit_s=limit_s))
        its = replace(plan, promised=(one,))
        pair = [scrape(before(), "a.prom"), scrape(after(), "b.prom")]
        return verdict.judge(its, scrapes.windows(pair, its.objectives, 600.0, 600.0, 1))

    assert found(2.5).inside is None  # 95 of 100 of all within 2.5 s: some class may be later
    assert found(0.4).inside is False


def test_from_scrapes_the_whole_is_judged_and_said(tmp_path, capsys):
    (tmp_path / "plan.json").write_text(json.dumps(planned()))
    (tmp_path / "a.prom").write_text(before())
    (tmp_path / "b.prom").write_text(after())
    files = [str(tmp_path / name) for name in ("a.prom", "b.prom", "plan.json")]
    assert main(["plan", "--check", *files, "--every", f"{WINDOW_S}s"]) == 0
    said = capsys.readouterr()
    assert "a.prom: a scrape does not tell classes apart; judged is the whole, by ttft_p95<=2" in said.err
    assert said.out.startswith("Not told apart from what plan.json promised")
