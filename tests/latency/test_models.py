"""Service times: the formula, given times, functions of a batch's shape, and a measured grid."""

import math
import os
import threading

import numpy as np
import pytest

import simlib
from simlib import named
from simlib.calibration import fit
from simlib.checks import InputError
from simlib.engine.shapes import BATCH_COLUMNS
from simlib.latency import law_file, measurements, models, presets

LAW = "".join(f"# measured {term}: 0 to 9\n" for term in law_file.TERMS)
LAW += "coefficient,value,ci_low,ci_high,identified\n" + "".join(f"{n},0.01,0,1,True\n" for n in law_file.NAMES)


def batch(**columns) -> np.ndarray:
    """A batch as a law sees it."""
    return np.array([columns.get(name, 0.0) for name in BATCH_COLUMNS], dtype=float)


def requests_at(*arrival_s, tokens=10) -> simlib.RequestTable:
    lengths = np.full(len(arrival_s), tokens)
    return simlib.RequestTable(arrival_s, lengths, lengths, lengths)


# The formula


@pytest.mark.parametrize(
    ("size", "tokens", "time_s"),
    [
        (1, 500, 0.010 + 0.0002 * 500),
        (2, 500, 0.010 + 0.1 * 1.15),
        (8, 500, 0.010 + 0.1 * (1 + 0.3 * 7 / 8)),
        (128, 2000, 0.010 + 0.4 * (1 + 0.3 * 127 / 128)),
        (1, 0, 0.010),
    ],
)
def test_the_formula(size, tokens, time_s):
    model = simlib.Affine(0.010, 0.0002, 0.3)
    assert model.batch_time_s(size, tokens) == pytest.approx(time_s, rel=1e-15)
    assert model.law(batch(size=size, max_total_tokens=tokens), model.params) == pytest.approx(time_s, rel=1e-15)


def test_no_batch_takes_less_than_the_floor():
    model = simlib.Affine(0.0, 0.0001, 0.0)
    assert model.floor_s == 0.001
    assert model.batch_time_s(1, 9) == 0.001
    assert model.batch_time_s(1, 11) == pytest.approx(0.0011)
    assert simlib.Affine(0.0, 0.0, 0.0, floor_s=0.0).batch_time_s(1, 9) == 0.0


def test_the_formula_takes_arrays():
    model = simlib.Affine(0.010, 0.0002, 0.3)
    assert model.batch_time_s(np.array([1, 2]), np.array([500, 500])) == pytest.approx([0.110, 0.125])


def test_presets_are_the_originals_numbers():
    synthetic, calibrated = presets.PRESETS["original-synthetic"], presets.PRESETS["original-calibrated"]
    assert synthetic == simlib.Affine(0.010, 0.0002, 0.3, 0.001)
    assert calibrated == simlib.Affine(0.015, 0.0003, 0.4, 0.001)


def test_a_batchs_first_token_comes_when_its_longest_prompt_and_one_token_are_done():
    table = simlib.RequestTable([0, 0], [100, 300], [50, 20])
    run = simlib.simulate(table, simlib.StaticFIFO(2), "original-synthetic")
    company = 1 + 0.3 / 2
    assert run.times.first_token_s == pytest.approx([0.010 + 0.0002 * 301 * company] * 2)
    assert run.times.completion_s == pytest.approx([0.010 + 0.0002 * 320 * company] * 2)


def test_the_first_token_never_comes_after_the_last():
    run = simlib.simulate(simlib.RequestTable([0, 9], [300, 300], [0, 1]), simlib.StaticFIFO(), "original-synthetic")
    assert run.times.first_token_s[0] == run.times.completion_s[0] == pytest.approx(0.070)


# Given times


def test_a_batch_takes_the_largest_time_given_for_a_member():
    run = simlib.simulate(requests_at(0, 0, 0, 0), simlib.StaticFIFO(2), simlib.GivenTimes([1, 5, 2, 6]))
    assert run.served.service_s.tolist() == [5, 6]
    assert np.isnan(run.times.first_token_s).all()  # a given time says nothing of phases


def test_given_times_stay_with_their_requests_when_some_are_rejected():
    rules = simlib.Rules(memory=simlib.Memory(kv_gb_per_token=1 / 128), b_max=1)  # 1152 tokens
    table = simlib.RequestTable([0, 1, 2], [10, 2000, 10], [1, 1, 1])
    run = simlib.simulate(table, simlib.DynamicNoBins(variant=rules), simlib.GivenTimes([3, 4, 5]), oversize="reject")
    assert run.served.service_s.tolist() == [3, 5]


def test_times_given_for_batches_are_taken_in_order_of_start():
    run = simlib.simulate(requests_at(0, 0, 0, 9), simlib.StaticFIFO(2), simlib.GivenBatchTimes([4, 3, 2, 1]), gpus=2)
    assert run.served.service_s.tolist() == [4, 3, 2]
    assert run.served.gpu.tolist() == [0, 1, 0]


# Functions of the batch's shape


def everything(size, max_prompt_tokens, sum_prompt_tokens, max_output_tokens, sum_output_tokens, max_total_tokens):
    return (
        size * 1e1
        + max_prompt_tokens * 1e2
        + sum_prompt_tokens * 1e3
        + max_output_tokens * 1e4
        + sum_output_tokens * 1e5
        + max_total_tokens * 1e6
    )


@pytest.mark.parametrize("backend", ["compiled", "stepped", "interpreted"])
def test_a_function_sees_the_whole_shape(backend):
    # Prompts 3, 1; outputs 2, 7; totals 5, 8.
    table = simlib.RequestTable([0, 0], [3, 1], [2, 7])
    run = simlib.simulate(table, simlib.StaticFIFO(2), everything, backend=backend)
    assert run.served.service_s.tolist() == [20 + 300 + 4000 + 70_000 + 900_000 + 8_000_000]


def test_a_function_that_cannot_be_compiled_is_stepped_and_gives_the_same():
    table = {1.0: 1.5, 2.0: 2.5}

    def from_a_dict(size, a, b, c, d, e):
        return table[float(size)]

    def written_out(size, a, b, c, d, e):
        return 0.5 + size

    arrivals = requests_at(0, 0, 0)
    stepped = simlib.simulate(arrivals, simlib.StaticFIFO(2), from_a_dict)
    compiled = simlib.simulate(arrivals, simlib.StaticFIFO(2), written_out)
    assert (stepped.backend, compiled.backend) == ("stepped", "compiled")
    assert stepped.times.completion_s.tolist() == compiled.times.completion_s.tolist() == [2.5, 2.5, 4.0]


def test_a_function_gives_the_first_token_as_a_batch_of_one_output_token():
    def outputs_only(size, max_prompt, sum_prompt, max_output, sum_output, max_total):
        return 0.5 + 0.25 * max_output + 0.125 * (sum_output - size) + 1e-9 * max_total

    run = simlib.simulate(simlib.RequestTable([0, 0], [3, 1], [2, 7]), simlib.StaticFIFO(2), outputs_only)
    assert run.times.first_token_s == pytest.approx([0.75 + 4e-9] * 2, rel=1e-12)  # the longest prompt and one token


@pytest.mark.parametrize("part", [max, dict], ids=["max", "dict"])
def test_a_callable_without_a_signature_is_refused(part):
    with pytest.raises(simlib.InputError, match="latency"):
        named.latency_of(part)


def test_any_callable_may_be_a_latency_function():
    class Slow:
        __hash__ = None

        def __call__(self, *shape):
            return 2.0

    run = simlib.simulate(requests_at(0), simlib.StaticFIFO(), Slow())
    assert run.served.service_s.tolist() == [2.0]


# What a user may write for a model


def test_what_a_user_may_mean():
    affine = simlib.Affine(0.5, 0.25, 0.125)
    assert named.latency_of(affine) is affine
    assert named.latency_of("original-synthetic") == simlib.Affine(0.010, 0.0002, 0.3)
    assert named.latency_of("0.5,0.25,0.125") == affine
    assert named.latency_of(" 0.5, 0.25 ,0.125") == affine
    assert named.latency_of(everything).function is everything


@pytest.mark.parametrize("text", ["original", "0.1,0.2", "a,b,c", "-1,0,0", "nan,0,0", "", "0.1,0.2,0.3,0.4"])
def test_text_that_names_no_model_is_refused(text):
    with pytest.raises(simlib.InputError, match="latency"):
        named.latency_of(text)


# A grid of measurements

HEADER = "batch_size,max_seq_len,mean_latency_sec"
SIZES, LENGTHS = (1, 2, 4, 8, 16, 32), (128, 256, 512, 1024, 2048)


@pytest.fixture
def write(tmp_path):
    def to_file(text):
        path = tmp_path / "grid.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return to_file


def original_grid(digits: int = 15) -> str:
    """The original's 30 points, regenerated from the sentence that describes them; computed, not measured."""
    rows = [f"{HEADER},std_latency_sec,num_trials"]
    for size in SIZES:
        for length in LENGTHS:
            mean_s = 0.015 + 0.0003 * length * (1 + 0.4 * (size - 1) / size)
            rows.append(f"{size},{length},{mean_s:.{digits}g},{0.05 * mean_s:.{digits}g},3")
    return "\n".join(rows) + "\n"


def test_the_originals_grid_gives_back_its_three_numbers(write):
    text = original_grid()
    assert text.count("\n") == 31
    model = fit.from_grid(write(text))
    assert model.alpha_s == pytest.approx(0.015, abs=1e-12)
    assert model.beta_s_per_token == pytest.approx(0.0003, abs=1e-12)
    assert model.gamma == pytest.approx(0.4, abs=1e-12)
    assert model.floor_s == 0.001


def test_a_grid_may_be_given_as_a_path_or_its_name(write):
    path = write(original_grid())
    assert named.latency_of(path) == named.latency_of(str(path)) == fit.from_grid(path)


def test_the_fit_is_least_squares_with_no_coefficient_below_zero(write):
    rng = np.random.default_rng(3)
    size, length = (a.ravel() for a in np.meshgrid(SIZES, LENGTHS))
    time_s = 0.02 + 0.0004 * length * (1 + 0.2 * (size - 1) / size) + rng.normal(0, 0.002, 30)
    rows = [f"{s},{n},{t!r}" for s, n, t in zip(size.tolist(), length.tolist(), time_s.tolist(), strict=True)]
    model = fit.from_grid(write("\n".join([HEADER, *rows])))
    design = np.column_stack([np.ones(30), length, length * (size - 1) / size])
    alpha, beta, beta_gamma = np.linalg.lstsq(design, time_s)[0]
    assert (model.alpha_s, model.beta_s_per_token) == pytest.approx((alpha, beta), rel=1e-9)
    assert model.gamma == pytest.approx(beta_gamma / beta, rel=1e-9)
    # Times that fall as company grows: gamma would be negative, and is 0.
    falling = [f"{s},{n},{0.0004 * n * (1 - 0.2 * (s - 1) / s)!r}" for s in SIZES for n in LENGTHS]
    assert fit.from_grid(write("\n".join([HEADER, *falling]))).gamma == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        (f"{HEADER}\n", "too few"),
        ("a,b\n1,2\n", "no column batch_size"),
        ("batch_size,max_seq_len\n1,2\n", "no column mean_latency_sec"),
        (f"{HEADER}\n1,128,0.1\n2,128,fast\n", "row 1, mean_latency_sec: fast"),
        (f"{HEADER}\n1,128,0.1\n2,128,\n", "row 1, mean_latency_sec: nan"),
        (f"{HEADER}\n1,128,-0.1\n", "row 0, mean_latency_sec: -0.1"),
        (f"{HEADER}\n0,128,0.1\n", "row 0, batch_size: 0"),
        (f"{HEADER}\n1,128,inf\n", "row 0, mean_latency_sec: inf"),
        (f"{HEADER}\n1,128,0.1\n", "too few batch sizes or lengths"),
        (f"{HEADER}\n1,128,0.1\n1,256,0.2\n1,512,0.4\n", "too few batch sizes or lengths"),
        (f"{HEADER}\n1,128,0.1\n2,128,0.2\n4,128,0.4\n", "too few batch sizes or lengths"),
        (f"{HEADER}\n1,128,.4\n2,256,.3\n4,512,.2\n1,512,.2\n", "time does not grow with length"),
        (bytes(range(256)), "latency file"),
    ],
)
def test_a_grid_that_cannot_be_used_names_the_file_and_the_place(write, text, says):
    path = write(text)
    with pytest.raises(simlib.InputError) as caught:
        fit.from_grid(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_rows_longer_than_the_header_are_not_read_one_column_off(write):
    text = f"{HEADER}\n1,128,0.10,9\n2,128,0.11,9\n1,256,0.15,9\n2,256,0.17,9\n"
    with pytest.raises(simlib.InputError, match="latency file") as caught:
        fit.from_grid(write(text))
    assert "time does not grow" not in str(caught.value)


@pytest.mark.parametrize("path", ["absent.csv", os.devnull + "/x.csv"])
def test_an_absent_grid_is_named(path):
    with pytest.raises(simlib.InputError, match=r"csv: no such file .*measurements"):
        named.latency_of(path)


def test_a_folder_is_no_grid(tmp_path):
    with pytest.raises(simlib.InputError, match="latency file"):
        fit.from_grid(tmp_path)


def test_infinite_or_missing_times_are_refused_with_their_row():
    for model in (simlib.GivenTimes, simlib.GivenBatchTimes):
        with pytest.raises(simlib.InputError, match="row 1: nan"):
            model([1.0, math.nan])
        with pytest.raises(simlib.InputError, match=r"row 2: -1\.0"):
            model([1.0, 0.0, -1.0])


def test_first_tokens_of_many_batches_are_those_of_each(monkeypatch):
    def padded(size, max_prompt, sum_prompt, max_output, sum_output, max_total):
        return 0.1 + size * max_prompt + 1e3 * max_output + 1e6 * sum_output + 1e9 * max_total + 1e-3 * sum_prompt

    prompts = np.arange(1, 51)
    table = simlib.RequestTable(np.zeros(50), prompts, np.full(50, 9))
    monkeypatch.setattr(models, "PIECE", 7)
    run = simlib.simulate(table, simlib.StaticFIFO(1), padded)
    expected = [padded(1, p, p, 1, 1, p + 1) for p in prompts.tolist()]
    assert run.first_token_after_s.tolist() == pytest.approx(expected, rel=1e-12)


def test_a_first_token_before_the_batch_starts_is_refused_not_shown():
    """The function is right for whole batches, and below zero for one output token each."""

    def fitted(size, max_prompt, sum_prompt, max_output, sum_output, max_total):
        return 0.01 * sum_output - 0.05

    table = simlib.RequestTable([0.0, 0.0], [100, 100], [50, 50])
    with pytest.raises(simlib.InputError, match=r"latency: -0.03 s to the first token of batch 0, of size 2"):
        simlib.simulate(table, "static_fifo", fitted)


@pytest.mark.parametrize("kind", ["grid", "measurements", "law"])
@pytest.mark.parametrize("meant", [named.latency_of, named.step_law_of])
def test_a_files_law_comes_through_a_pipe_too(kind, meant, tmp_path, write):
    text = {"grid": original_grid(), "measurements": measurements.TEMPLATE}.get(kind, LAW)
    if (kind, meant) == ("grid", named.step_law_of):
        pytest.skip("a grid has no phases")
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    found = meant(str(pipe))
    writer.join()
    assert repr(found).replace("pipe", "grid.csv") == repr(meant(write(text)))


def test_a_device_is_no_law_and_a_folder_no_name_of_one():
    with pytest.raises(InputError, match="/dev/zero: is a device"):
        named.latency_of("/dev/zero")
    with pytest.raises(InputError, match=r"^latency: '/dev' .expected a preset"):
        named.latency_of("/dev")
