"""A real engine's log, replayed."""

import gzip
import json

import numpy as np
import pytest
from replayed import ENGINE, LOG, made_log, tiny_profile, written

import simlib
from book.chapters.trust.replayed_log import REACH_PERCENT
from simlib.calibration.logs.engine_log import EngineLog, read_log
from simlib.calibration.logs.fitted import overhead_of
from simlib.calibration.logs.served import queued_s
from simlib.calibration.replay import COLUMNS, validate
from simlib.cli import main
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.latency import kernel_profile
from simlib.latency.parallel import Link, Parallel

# Of the means of TTFT, TPOT and E2E, and of their 99th percentiles, in per cent.
TARGETS = {"profile": (3, 1.5, 2, 2), "affine": (5, 3, 3, 4)}


@pytest.fixture(scope="module")
def folder(data_dir):
    return data_dir / "llmservingsim"


@pytest.fixture(scope="module")
def replayed(folder):
    return validate(folder, folder / LOG, ENGINE)


@pytest.mark.parametrize("model", TARGETS)
def test_the_replay_meets_its_targets(replayed, model):
    rows = replayed.rows
    assert list(rows.columns) == list(COLUMNS)
    errors = rows[rows["step_model"] == model].set_index(["metric", "statistic"])["error_percent"].abs()
    for metric, target in zip(("ttft", "tpot", "e2e"), TARGETS[model], strict=False):
        assert errors[metric, "mean"] <= target
        assert errors[metric, "p99"] <= TARGETS[model][3]


def test_a_law_from_the_log_is_judged_on_later_requests(replayed):
    rows = replayed.rows[replayed.rows["step_model"] == "affine-from-log"]
    errors = rows.set_index(["metric", "statistic"])["error_percent"].abs()
    # Of the six that are wanted, all but the P99 of TPOT (3.7 %, wanted 2): `studies.validation.prefix_hits` says why.
    missed = [which for which, reach in REACH_PERCENT.items() if errors[which] > reach]
    assert missed == [("tpot", "p99")] and errors["tpot", "p99"] < 4
    assert replayed.settings["laws"]["affine-from-log"]["a_s"] >= 0


def test_a_profile_adds_up_to_what_its_tables_say(folder):
    law = kernel_profile.read(folder)
    decode = law.law(np.array([1.0, 16.0, 16.0, 0, 0, 0, 0]), law.params)
    assert 0.015 < decode < 0.018  # 15.2 ms of dense kernels and the head, attention next to nothing
    assert law.law(np.array([0, 0, 0, 2048.0, 1, 2048.0**2, 0]), law.params) == pytest.approx(0.19, rel=0.05)
    assert law.with_overhead(0.001).law(np.zeros(7), law.with_overhead(0.001).params) > law.law(np.zeros(7), law.params)


def test_the_terminals_verb_writes_the_columns(folder, tmp_path):
    out = tmp_path / "out.json"
    verb = ["validate", "--profile", str(folder), "--log", str(folder / LOG), "--max-num-seqs", "256"]
    verb += ["--layers", "32", "--kv-blocks", "2587", "--token-budget", "2048"]
    verb += ["--step-model", "profile", "--step-overhead", "0"]
    verb += ["--timeseries", str(folder / LOG.replace("requests.jsonl", "timeseries.csv")), "--json", str(out)]
    assert main(verb) == 0
    document = json.loads(out.read_text())
    assert set(document) == {"settings", "rows"} and set(document["rows"][0]) == set(COLUMNS)
    assert document["settings"]["series"]["profile"]["running"] < 3


@pytest.mark.parametrize("overhead_s", [-0.003, 0.002])
def test_a_constant_per_step_is_found_again_whatever_its_sign(folder, overhead_s):
    kernels = kernel_profile.read(folder)
    log = made_log(kernels.with_overhead(overhead_s), ENGINE)
    assert overhead_of(kernels, log, ENGINE, 30) == pytest.approx(overhead_s, abs=5e-5)


@pytest.mark.parametrize(("seats", "in_flight"), [(8, 1), (8, 2), (1, 1), (1, 2)])
def test_who_arrives_is_seen_when_the_next_step_starts_or_at_once_if_the_engine_rests(seats, in_flight):
    table = simlib.RequestTable([0.0, 1.5, 3.0, 40.0], [4, 4, 4, 4], [9, 3, 3, 3])
    served = serve(table, simlib.StepLaw(1.0), Continuous(seats, 1600, steps_in_flight=in_flight), log_steps=100)
    assert queued_s(served, table.arrival_s).tolist() == [0.0, 2.0, 3.0, 40.0]


def test_an_engine_that_tells_its_prefix_hits_has_them_replayed(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(request(cached_toks=hits)) for hits in (0, 3)))
    assert read_log(path).table.cached_prompt_tokens.tolist() == [0, 3]
    path.write_text("\n".join(json.dumps(row) for row in (request(cached_toks=3), request())))
    with pytest.raises(simlib.InputError, match="row 1, cached_toks"):
        read_log(path)


def request(**change):
    stamps = {"queued_ts": 1.0, "scheduled_ts": 1.0, "first_token_ts": 2.0, "last_token_ts": 3.0}
    return {"input_toks": 5, "output_toks": 5, "arrival_time": 1.7e9, **stamps, **change}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"queued_ts": None}, "row 0, queued_ts"),
        ({"last_token_ts": 1.5}, r"row 0, last_token_ts: 1.5 \(expected first_token_ts or later"),
        ({"first_token_ts": None}, "row 0, first_token_ts: nothing"),
        ({"output_toks": 0}, "no request has output"),
        ({"input_toks": "many"}, "row 0, input_toks"),
    ],
)
def test_a_log_without_its_stamps_is_named(tmp_path, change, named):
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(request(**change)).encode()))
    with pytest.raises(simlib.InputError, match=named):
        read_log(path)


@pytest.mark.parametrize(("clock", "stamps"), [(1e3, 1), (1, 1e3), (1, 1e9), (1e9, 1e9)])
def test_a_log_is_the_same_in_whatever_units_it_counts(tmp_path, clock, stamps):
    path, rows = tmp_path / "log.jsonl", [request(), request(output_toks=0, first_token_ts=0, last_token_ts=0)]
    rows += [{name: value + (name not in ("input_toks", "output_toks")) for name, value in request().items()}]
    scale = {name: stamps for name in request() if name.endswith("_ts")} | {"arrival_time": clock}
    path.write_text("\n".join(json.dumps({k: v * scale.get(k, 1) for k, v in row.items()}) for row in rows))
    log = read_log(path)
    assert log.table.arrival_s.tolist() == pytest.approx([0, 1])  # and the one that failed is left out
    assert log.times_s()["ttft"].tolist() == pytest.approx([1, 1])


def test_a_log_that_no_constant_fits_is_refused_with_a_sentence(folder):
    kernels = kernel_profile.read(folder)
    log = made_log(kernels, ENGINE)
    slow = EngineLog(log.table, log.queued_s, 1e3 * log.first_token_s, 1e3 * log.last_token_s)
    with pytest.raises(simlib.InputError, match=r"later than with 0\.2 s a step"):
        overhead_of(kernels, slow, ENGINE, 30)


def test_another_file_is_no_engines_log(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,5,5\n1,5,5\n")
    with pytest.raises(simlib.InputError, match=r"no queued_ts, .* \(expected an engine's log"):
        read_log(path)


def test_a_folder_of_two_gpus_needs_a_prefix(folder, tmp_path):
    for path in folder.glob("*tp1*"):
        for gpu in ("A", "B"):
            (tmp_path / path.name.replace("RTX4090", gpu)).write_bytes(path.read_bytes())
    with pytest.raises(simlib.InputError, match="2 files"):
        kernel_profile.read(tmp_path)
    assert kernel_profile.read(tmp_path, prefix="A_").layers == 32


@pytest.mark.parametrize(
    ("option", "named"), [("--max-num-seqs", "--max-num-seqs: 0"), ("--kv-blocks", "--kv-blocks: 0")]
)
def test_the_terminal_names_bad_options(folder, capsys, option, named):
    verb = {"--profile": str(folder), "--log": str(folder / LOG), "--max-num-seqs": "8", "--kv-blocks": "90"}
    verb |= {"--token-budget": "2048", "--layers": "32", option: "0"}
    assert main(["validate", *(word for pair in verb.items() for word in pair)]) == 2
    assert named in capsys.readouterr().err


CARDS = "RTXPRO6000"
LINK = Link(16e9, 20e-6)  # as the simulator that the logs are from has it
OTHERS = {
    "Qwen3-32B": (64, 28614, Parallel(tensor=2, hidden_size=5120, link=LINK)),
    "Qwen3-30B-A3B-Instruct-2507": (48, 38590, Parallel(engines=2, expert=True, hidden_size=2048, link=LINK)),
}
REACH = {"ttft": (3, 4), "tpot": (2, 3), "e2e": (2, 3)}  # of means and 99th percentiles, in per cent


@pytest.mark.parametrize("model", OTHERS)
def test_models_on_several_cards_meet_their_targets_with_nothing_fitted(folder, model):
    layers, blocks, parallel = OTHERS[model]
    engine = Continuous(max_seqs=128, kv_tokens=16 * blocks, steps_in_flight=2, reuse=True, routing="least_requests")
    place, times = folder / f"{CARDS}_{model}", 1 + parallel.expert  # a mixture may be off by twice as much
    found = validate(
        place, place / "requests.jsonl", engine, ["profile"], layers=layers, overhead_s=0.0, parallel=parallel
    )
    errors = found.rows.set_index(["metric", "statistic"])["error_percent"].abs()
    for metric, (mean, p99) in REACH.items():
        assert errors[metric, "mean"] <= times * mean and errors[metric, "p99"] <= times * p99
    assert found.settings["doubts"] == []


def test_what_a_half_was_fitted_to_does_not_judge_it(tmp_path):
    """An engine that gets slower in the middle: each half is judged as slow as the other one is."""
    folder = tiny_profile(tmp_path / "profile")
    kernels = kernel_profile.read(folder)
    before, after = (made_log(kernels.with_overhead(overhead_s), ENGINE) for overhead_s in (0.001, 0.003))
    ends = [
        np.append(a[:30], b[30:])
        for a, b in ((before.first_token_s, after.first_token_s), (before.last_token_s, after.last_token_s))
    ]
    path = written(EngineLog(before.table, before.queued_s, *ends), tmp_path / "log.jsonl")
    replayed = validate(folder, path, ENGINE, ["profile"])
    found, errors = replayed.settings, replayed.rows.set_index(["metric", "statistic"])["error_percent"]
    assert errors["tpot", "mape"] > 8  # with its own constant each half is right
    assert found["laws"]["profile"]["overhead_s"] == pytest.approx(0.001, abs=5e-5)
    assert found["later_laws"]["profile"]["overhead_s"] == pytest.approx(0.003, abs=5e-5)


def test_what_is_missing_is_said(tmp_path):
    folder = tiny_profile(tmp_path / "profile")
    path = written(made_log(kernel_profile.read(folder, 64), ENGINE), tmp_path / "log.jsonl")
    said = [
        validate(folder, path, ENGINE, ["profile"], layers=layers, parallel=parallel).settings["doubts"]
        for layers, parallel in (
            (64, Parallel()),
            (32, Parallel()),
            (64, Parallel(tensor=2)),
            (64, Parallel(expert=True)),
        )
    ]
    assert said[0] == []
    assert "% of a mean step" in said[1][0]
    assert "no link between its 2 cards" in said[2][0]
    assert "no moe.csv" in said[3][0]
