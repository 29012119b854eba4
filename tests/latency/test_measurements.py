"""CSVs of measured times: what is read, what is refused with row and column, what is warned of."""

import itertools
import warnings

import pytest

import simlib
from simlib.cli import main
from simlib.latency import measurements

HEADER = ",".join(measurements.COLUMNS)
GOOD = "1,16,1,0,0.02,0,0.02,ok\n1,16,8,0,0.02,0.08,0.1,ok\n4,16,8,0,0.03,0.1,0.13,ok\n"


@pytest.fixture
def write(tmp_path):
    def to_file(text):
        path = tmp_path / "mine.csv"
        path.write_text(text)
        return path

    return to_file


def test_a_file_is_read_with_its_header_and_without_what_failed(write):
    text = (
        f"# device: a processor: fast\n# a remark\n{HEADER}\n{GOOD}8,16,8,0,,,,out_of_memory\n8,16,8,1,,,,interrupted\n"
    )
    found = measurements.read(write(text))
    assert found.header == {"device": "a processor: fast"}
    assert found.frame["total_s"].tolist() == [0.02, 0.1, 0.13]
    assert found.failed["status"].tolist() == ["out_of_memory", "interrupted"]
    assert found.failed.index.tolist() == [3, 4]
    assert found.frame[["prefill_s", "decode_s"]].notna().all(axis=None)
    assert tuple(found.frame) == measurements.COLUMNS


def test_the_template_is_a_file_that_can_be_read(write):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measurements.read(write(measurements.TEMPLATE))
    assert len(found.frame) == 5 and len(found.failed) == 1 and "device" in found.header


def test_repetition_status_and_phases_may_be_absent(write):
    found = measurements.read(write("batch_size,prompt_tokens,output_tokens,total_s\n1,16,8,0.1\n2,16,8,0.2\n"))
    assert found.frame["repetition"].tolist() == [0, 0]
    assert found.frame["prefill_s"].isna().all()


def test_the_originals_grid_is_read(write):
    text = "batch_size,max_seq_len,mean_latency_sec,std_latency_sec,num_trials\n1,128,0.1,0,3\n2,256,0.2,0,3\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measurements.read(write(text))
    assert tuple(found.frame) == measurements.GRID_COLUMNS
    assert found.summary()["mean_latency_spread_sec"].tolist() == [0, 0]


def test_a_summary_has_medians_and_spreads_of_raw_repetitions(write):
    rows = "".join(f"1,16,8,{r},0.02,{t},{0.02 + t},ok\n" for r, t in enumerate([0.1, 0.4, 0.2]))
    first = measurements.read(write(f"{HEADER}\n{rows}{GOOD}")).summary().iloc[1]
    assert first["repetitions"] == 4 and first["decode_s"] == pytest.approx(0.15)
    assert first["decode_spread_s"] == pytest.approx(0.32)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ("a,b\n1,2\n", "no column batch_size (found a, b;"),
        (f"{HEADER.replace('total_s', 'sum')}\n{GOOD}", "no column total_s"),
        (f"{HEADER}\n{GOOD}2,16,8,0,0.02,nan,0.1,ok\n", "row 3, decode_s: nan (expected a time"),
        (f"{HEADER}\n{GOOD}2,16,8,0,0.02,0.08,,ok\n", "row 3, total_s: nan (expected seconds > 0"),
        (f"{HEADER}\n{GOOD}2,16,8,0,0.02,fast,0.1,ok\n", "row 3, decode_s: fast"),
        (f"{HEADER}\n{GOOD}2,16,8,0,0,0.1,0.1,ok\n", "row 3, prefill_s: 0 (expected seconds > 0)"),
        (f"{HEADER}\n{GOOD}2,16,8,0,0.2,-0.1,0.1,ok\n", "row 3, decode_s: -0.1"),
        (f"{HEADER}\n{GOOD}2,16,8,0,0.02,inf,0.1,ok\n", "row 3, decode_s: inf"),
        (f"{HEADER}\n{GOOD}2,16,8,0,0.02,80,0.1,ok\n", "row 3, total_s: 0.1 (expected prefill_s + decode_s"),
        (f"{HEADER}\n{GOOD}0,16,8,0,0.02,0.08,0.1,ok\n", "row 3, batch_size: 0 (expected an integer >= 1)"),
        (f"{HEADER}\n{GOOD}2,1.5,8,0,0.02,0.08,0.1,ok\n", "row 3, prompt_tokens: 1.5"),
        (f"{HEADER}\n{GOOD}2,16,8,-1,0.02,0.08,0.1,ok\n", "row 3, repetition: -1"),
        (f"{HEADER}\n{GOOD}2,16,8,0,0.02,0.08,0.1,fine\n", "row 3, status: fine (expected one of ok"),
        (f"{HEADER}\n{GOOD}2,16,8,0,0.02,0.08,0.1,out_of_memory\n", "row 3, prefill_s: 0.02 (expected no time"),
        (f"{HEADER}\n{GOOD}2,16,8,0,0.02,0.08,0.1,ok,9\n", "mine.csv"),
        (f"{HEADER}\n", "batch_size with times: none"),
        (f"{HEADER}\n1,16,8,0,0.02,0.08,0.1,ok\n", "batch_size with times: 1;"),
        (f"{HEADER}\n1,16,8,0,0.02,0.08,0.1,ok\n1,32,8,0,0.02,0.08,0.1,ok\n", "expected at least 2 of each"),
        ("batch_size,max_seq_len\n1,2\n", "no column mean_latency_sec"),
        ("batch_size,max_seq_len,mean_latency_sec\n1,128,0\n", "row 0, mean_latency_sec: 0"),
    ],
)
def test_a_file_that_cannot_be_used_names_the_place(write, text, says):
    path = write(text)
    with pytest.raises(simlib.InputError) as caught:
        measurements.read(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{HEADER},colour\n{GOOD.replace('ok', 'ok,red')}", "column colour is not read"),
        (f"{HEADER}\n1,16,8,0,2e-5,8e-5,1e-4,ok\n4,16,8,0,3e-5,1e-4,1.3e-4,ok\n", "look like kiloseconds"),
        (f"{HEADER}\n{GOOD}1,16,8,1,0.2,0.9,1.1,ok\n", r"rows 1 and 3, total_s: 0.1 and 1.1 s at batch_size 1"),
        ("batch_size,max_seq_len,mean_latency_sec\n1,128,50\n2,128,60\n", "look like milliseconds"),
        ("batch_size,max_seq_len,mean_latency_sec\n1,128,0.05\n1,128,0.6\n2,128,0.6\n", "rows 0 and 1"),
    ],
)
def test_what_can_be_used_but_looks_wrong_is_warned_of(write, text, says):
    with pytest.warns(UserWarning, match=says):
        measurements.read(write(text))


def test_an_absent_file_is_named():
    with pytest.raises(simlib.InputError, match=r"latency file absent\.csv"):
        measurements.read("absent.csv")


# In the terminal, as `--latency FILE.csv`: one bad file of each kind, of a good one


GRID = [
    [b, p, o, r, 0.01 + 1e-4 * b * p, (o - 1) * (0.02 + 1e-3 * b)]
    for r in (0, 1)
    for b, p, o in itertools.product((1, 4, 8), (64, 256), (8, 32))
]


UP_TO_TOTAL = HEADER.removesuffix(",status")


def text_of(rows=GRID, header=UP_TO_TOTAL, scale=1.0) -> str:
    lines = [[*row[:4], row[4] * scale, row[5] * scale, (row[4] + row[5]) * scale, *row[6:]] for row in rows]
    return "\n".join([header, *(",".join(map(str, line)) for line in lines)]) + "\n"


def changed(row, total_s) -> str:
    lines = text_of().splitlines()
    lines[1 + row] = ",".join([*lines[1 + row].split(",")[:6], total_s])
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (text_of(), 0, ""),
        (text_of(header=text_of().splitlines()[0].replace("total_s", "seconds")), 2, "bad.csv: no column total_s"),
        (text_of([[*row, "a100"] for row in GRID], text_of().splitlines()[0] + ",gpu"), 0, "column gpu is not read"),
        (changed(2, "-1"), 2, "bad.csv, row 2, total_s: -1 (expected seconds > 0)"),
        (changed(3, "0"), 2, "bad.csv, row 3, total_s: 0 (expected seconds > 0)"),
        (changed(4, "nan"), 2, "bad.csv, row 4, total_s: nan (expected seconds > 0)"),
        (text_of(GRID[:1]), 2, "too few batch sizes or lengths (batch_size with times: 1"),
        (text_of([[8, *row[1:]] for row in GRID]), 2, "too few batch sizes or lengths (batch_size with times: 8"),
        (text_of([*GRID, [1, 64, 8, 2, 0.4, 3.0]]), 0, "total_s: 0.1634 and 3.4 s at batch_size 1, prompt_tokens 64"),
        (text_of(scale=1000.0), 2, "seconds look like milliseconds"),
        ("# unit: s\n" + text_of(scale=1000.0), 0, ""),
    ],
)
def test_a_bad_file_stops_the_terminal_or_warns_with_its_place(tmp_path, capsys, text, code, says):
    path, requests = tmp_path / "bad.csv", tmp_path / "requests.csv"
    path.write_text(text)
    requests.write_text("arrival_s,prompt_tokens,output_tokens\n0,100,20\n0.1,90,10\n")
    out = str(tmp_path / "run.csv")
    assert main(["simulate", str(requests), "--policy", "static_fifo", "--latency", str(path), "--out", out]) == code
    printed = capsys.readouterr()
    assert says in printed.err and ("bad.csv" in printed.err) == bool(says) and (code == 0 or printed.out == "")


def test_a_benchmark_without_requests_stops_the_terminal_with_its_place(tmp_path, capsys):
    path = tmp_path / "bench.json"
    path.write_text('{"duration": 1.0, "request_throughput": 2.0, "mean_ttft_ms": 5.0}')
    assert main(["calibrate", "--from-bench", str(path)]) == 2
    assert "simlib: bench.json" in capsys.readouterr().err
