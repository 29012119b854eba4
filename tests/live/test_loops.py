"""The page's engine under a controller, and fed by clients who wait, against the library: to the last bit."""

from dataclasses import replace

import numpy as np

from book.chapters.sla_paper import moving
from book.chapters.sla_paper.rules import LAW, OPEN
from simlib.continuous.control import DECIDED, DECISIONS, StepControl
from simlib.continuous.serve import SAMPLES, serve
from simlib.continuous.settings import Continuous
from simlib.requests.loops.closed import dealt
from simlib.requests.table import RequestTable
from simlib.requests.workload import original

CASES, SEED = 60, 20_261_130
SERVED = f"""(cases) => cases.map((one) => {{
    const call = engine.opened(new WebAssembly.Module(held), kernels.exports), {{ table }} = one, count = table.arrival_s.length;
    const floats = (name) => Float64Array.from(one[name] ?? table[name]), empty = () => new Float64Array(count);
    const found = {{ arrival_s: empty(), start_s: empty(), first_token_s: empty(), completion_s: empty() }};
    const decided = new Float64Array({DECISIONS} * {len(DECIDED)}), sampled = new Float64Array({SAMPLES} * 4), counted = new BigInt64Array(3);
    call("engine", floats("numbers"), floats("law"), floats("controller"), floats("rules"), floats("arrival_s"), whole(table.prompt_tokens),
        whole(table.output_tokens), whole(table.previous), floats("think_s"), ...Object.values(found), decided, sampled, counted);
    const columns = Object.entries(found).map(([name, column]) => [name, times(column)]);
    const [outcome, decisions, samples] = plain(counted);
    return {{ ...Object.fromEntries(columns), outcome, decided: plain(decided.slice(0, decisions * {len(DECIDED)})), sampled: plain(sampled.slice(0, samples * 4)) }};
}})"""  # noqa: E501


def some_case(rng: np.random.Generator):
    """Settings, a law and a table, all at random; under a controller, with clients who wait, or both."""
    pick = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    control = None
    if rng.random() < 0.7:
        rule = pick("paper", "printed", "original", "aimd", "regression")
        feedback = "step" if rule == "regression" else pick("step", "decode", "service", "latency")
        target_s = 0.05 * (40 if feedback in ("service", "latency") else 1)
        control = StepControl(target_s, rule, feedback=feedback, interval_steps=pick(1, 4), window_requests=pick(8, 64))
    settings = Continuous(max_seqs=pick(2, 16, 256), token_budget=pick(256, 2**20), control=control)
    count = pick(1, 30, 300)
    table = original(count, int(rng.integers(1000))).at_rate(pick(1.0, 5.0, 40.0))
    if pick(True, False):
        arrival_s = np.r_[np.zeros(count // 3), table.arrival_s[: count - count // 3]]
        table = RequestTable(arrival_s, np.zeros(count, int), rng.geometric(1 / 40, count))
    if control is None or rng.random() < 0.3:
        table = dealt(table, min(pick(1, 8, 40), count), pick(0.0, 0.5))
    return settings, table


def test_60_runs_of_one_table_are_the_librarys_to_the_last_bit(tab):
    rng, cases, expected = np.random.default_rng(SEED), [], []
    for _ in range(CASES):
        settings, table = some_case(rng)
        given = {"numbers": moving.numbers(settings), "law": LAW.params.tolist()}
        given |= moving.controller(settings, len(table))
        columns = ("arrival_s", "prompt_tokens", "output_tokens", "previous", "think_s")
        given["table"] = {name: [] if (of := getattr(table, name)) is None else of.tolist() for name in columns}
        cases.append(given)
        expected.append(serve(table, LAW, settings))
    for case, (given, run, found) in enumerate(zip(cases, expected, tab.evaluate(SERVED, cases), strict=True)):
        assert found["outcome"] == 0, case
        for name in ("start_s", "first_token_s", "completion_s", "arrival_s"):
            assert found[name] == getattr(run, name).tolist(), (case, name)
        kept, samples = len(found["decided"]) // len(DECIDED), len(found["sampled"]) // 4
        assert found["decided"] == run.decisions[0, :kept].ravel().tolist() and (kept > 0) == bool(given["rules"])
        assert found["sampled"] == run.series[0, :samples].ravel().tolist() and samples > 0


def test_the_chapters_engine_is_what_the_figure_is_given():
    assert moving.numbers(OPEN)[0] == OPEN.max_seqs
    assert moving.controller(replace(OPEN, control=None), 9) == {"controller": [], "rules": []}
