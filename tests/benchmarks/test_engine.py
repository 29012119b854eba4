"""A real server beside the simulator: the order of predicting and measuring, drift, what is counted, bad servers."""

import ast
import contextlib
import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest

import simlib
from benchmarks.engine import __main__ as engine
from benchmarks.engine import kept, loads, predict, server
from benchmarks.engine.kept import COLUMNS
from benchmarks.engine.loads import Load, draw, planned
from simlib.calibration.loads import law as of_loads
from simlib.latency.steps import StepLaw
from simlib.latency.trust import Trust

TRUE = StepLaw(0.018, 0.00035, 0.00006, 0.0000003, way_in_s=0.011)


def served(load, sent, law):
    """What a client would have measured of an engine with this law."""
    table = simlib.RequestTable(sent["arrival_s"], list(map(len, sent["prompt"])), sent["output_tokens"])
    run = simlib.simulate(table, "fcfs", law, execution=predict.engine_of(load))
    steps, way_s = run.steps, law.way_in_s
    ends = [np.linspace(0, row.time_s, int(row.steps) + 1)[1:] + row.start_s for row in steps.itertuples()]
    ends, first_s, last_s = np.concatenate(ends), run.times.first_token_s, run.times.completion_s
    inside = [ends[(ends > a + 1e-9) & (ends < b - 1e-9)] for a, b in zip(first_s, last_s, strict=True)]
    blur = np.random.default_rng(0).normal(0, 1e-5, 200)  # no two gaps are equal
    each = [np.diff([a, *own, b]) for a, own, b in zip(first_s, inside, last_s, strict=True)]
    each = [(gaps + blur[: len(gaps)]).tolist() for gaps in each]
    return {
        "backend": "openai", "duration": float(last_s.max() + way_s), "completed": len(table),
        "input_lens": table.prompt_tokens.tolist(), "output_lens": table.output_tokens.tolist(),
        "start_times": table.arrival_s.tolist(), "ttfts": (first_s - table.arrival_s).tolist(), "itls": each,
        "errors": [""] * len(table),
    }  # fmt: skip


class Server:
    """In a real one's place: the true law, slower each time where the machine drifts; it knows what was written."""

    def __init__(self, folder, drift):
        self.folder, self.drift, self.asked, self.slow = folder, drift, [], 1.0

    def ask(self, sent, scratch):
        self.asked.append((len(sent["prompt"]), (self.folder / "ahead.csv").exists()))
        self.slow *= 1 + self.drift
        law = StepLaw(*(TRUE.params * self.slow), way_in_s=TRUE.way_in_s * self.slow)
        return served(Load("any", 1.0, 1.0), sent, law)


@pytest.fixture
def bench(monkeypatch, tmp_path):
    def made(device, drift=0.0):
        fake, seeds = Server(tmp_path / device, drift), [12, 11]
        monkeypatch.setattr(loads, "SPAN_S", dict.fromkeys(loads.SPAN_S, 20.0))
        monkeypatch.setattr(loads, "BRACKET_S", 15.0)
        monkeypatch.setattr(of_loads, "DRAWS", 20)
        monkeypatch.setattr(engine, "DRAWS", 20)
        monkeypatch.setattr(predict, "DRAWS", 20)
        monkeypatch.setattr(kept.secrets, "randbelow", lambda below: seeds.pop())
        monkeypatch.setattr(server, "version_of", lambda python: "0.0")
        monkeypatch.setattr(server, "started", lambda *given: contextlib.nullcontext(fake))
        return engine.Bench(device, False, tmp_path, None), fake

    return made


def test_everything_is_predicted_before_it_is_measured_and_seeds_come_between(bench):
    clock, fake = bench("clock")
    table = clock.run()
    assert [ahead for _, ahead in fake.asked] == [False, False, True]
    seeds = json.loads((clock.kept.folder / "seeds.json").read_text())
    assert seeds["predicted"]["after_sha256"] == clock.kept.hash_of("ahead")
    assert list(table.columns) == list(COLUMNS) and set(table["load"]) == {"13-0"}
    assert len(table) == 4 * 4 + 1
    means = table[table["statistic"] == "mean"]
    assert means["error_percent"].abs().max() < 1  # the engine is the simulated one
    measured, fake.asked = table, []
    assert clock.run().equals(measured) and not fake.asked  # all is there already
    ahead, given = (clock.kept.predictions(name).loc[("13-0", "e2e", "mean")] for name in ("ahead", "given"))
    assert ahead["high"] - ahead["low"] > 3 * (given["high"] - given["low"])  # nobody knew the requests


def test_a_machine_that_drifts_is_predicted_by_its_brackets(bench):
    cpu, fake = bench("cpu", drift=0.04)
    table = cpu.run().set_index(["metric", "statistic"])
    assert [count for count, _ in fake.asked] == [105, 50, 105, 100, 105, 105, 170, 105]
    before, after = cpu.slow(cpu.kept.law(), cpu.judged[0])
    assert after / before == pytest.approx(1.04**2, rel=0.005)
    for metric in ("tpot", "e2e"):
        found = table.loc[(metric, "mean")]
        assert abs(found["error_percent"]) < 1 and found["low"] < found["measured"] < found["high"]
        assert found["high"] / found["low"] == pytest.approx(1.04**2, abs=0.06)  # as much as it drifted


def test_two_steps_in_flight_keep_the_hosts_noise(bench):
    """The clock's law is known, but a host that is late is so with two steps in flight, too."""
    clock, _ = bench("clock")
    draws = tuple((*(TRUE.params[:4] * times), 0.011) for times in (0.9, 1.1))
    law = replace(TRUE, trust=Trust("light loads", {}, draws=draws, noise=0.05, step_noise=0.02))
    plain = Load("11-0", 11.0, 20.0, server.Settings(law=loads.CLOCK_LAW))
    assert clock.of(law, plain) is law
    found = clock.of(law, replace(plain, name="two-steps", settings=replace(plain.settings, two_steps=True)))
    assert found == StepLaw(*loads.CLOCK_LAW, way_in_s=0.011)
    drawn = found.drawn(400, span_s=25.0)
    assert {one.noise for one in drawn} == {0.02}
    # 0.05 of one second is 0.01 of 25; of 400 draws a spread 10 % off has a probability below 1 %
    assert np.std(np.log([one.base.a_s for one in drawn])) == pytest.approx(0.01, rel=0.1)


def test_a_seed_draws_the_same_requests_for_loads_that_are_compared():
    base, *others = (load for load in loads.switches(server.Settings(), 20.0) if load.name.startswith("priority"))
    assert base.rate_rps < others[0].rate_rps
    plain = draw(Load("11-0", base.rate_rps, base.span_s), 5)
    assert draw(base, 5).sent() == plain.sent() != draw(base, 6).sent()
    assert plain.table.arrival_s[-1] <= base.span_s and len(plain.table) == round(base.rate_rps * base.span_s)
    shared = draw(replace(base, traffic="shared"), 5)
    alike = {tuple(prompt[: loads.SHARED_TOKENS]) for prompt in shared.prompts}
    assert len(alike) == loads.GROUPS and shared.table.prefix_tokens.min() == loads.SHARED_TOKENS


def test_a_plan_has_the_lightest_loads_first_and_a_name_each():
    for device in engine.DEVICES:
        light, judged = planned(device, True)
        assert max(load.rate_rps for load in light) < min(load.rate_rps for load in judged)
        assert len(light) == 4 and len({load.name for load in light + judged}) == len(light + judged)
        light, judged = planned(device, False)
        assert len(light + judged) == 3
        assert sum(load.span_s for load in light + judged) + 4 * loads.BRACKET_S < 570


def test_the_cap_is_the_controllers():
    load = Load("any", 14.0, 60.0, server.Settings(law=loads.CLOCK_LAW))
    controlled = replace(predict.engine_of(load), control=simlib.StepControl(target_s=0.028))
    cap = simlib.simulate(draw(load, 2).table, "fcfs", TRUE, 1, controlled).controller["cap"]
    assert cap[len(cap) // 2 :].mean() == pytest.approx(loads.CAP, abs=1.5)


@pytest.mark.parametrize(
    ("ends", "said"),
    [("print('first'); print('ValueError: no memory'); print('a warning'); raise SystemExit(1)",
      "vLLM does not start: ValueError: no memory"),
     ("import time; print('waits', flush=True); time.sleep(60)", "vLLM does not answer within 1 s: waits")],
)  # fmt: skip
def test_a_server_that_does_not_start_or_answer_is_a_sentence_and_is_ended(ends, said, monkeypatch, tmp_path):
    stub = tmp_path / "python"
    stub.write_text(f"#!{sys.executable}\nimport os\nprint('pid', os.getpid())\n{ends}\n")
    stub.chmod(0o755)
    monkeypatch.setattr(server, "READY_S", 1.0)
    with pytest.raises(simlib.InputError, match=said), server.started(stub, server.Settings(), tmp_path / "run", "0"):
        pass
    pid = int((tmp_path / "run" / "server.log").read_text().split()[1])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_runs_beside_vllm_leans_on_nothing_of_the_project():
    for path in (server.HERE / "client.py", *(server.HERE / "device").glob("*.py")):
        tree = ast.parse(path.read_text())
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not [name for name in imported if name.startswith(("simlib", "benchmarks", "book"))]
