"""The page's reader of files against simlib's, on the same bytes: accounts to the last digit, refusals to the word.

The reader runs where it does on the page, in a worker of a browser that opened a file, and asks nothing of the network.
"""

import base64
import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, opened

from book.explorer import formats
from simlib.checks import InputError
from simlib.cli.outputs import plain
from simlib.datasets import sample
from simlib.requests import traces
from simlib.requests.account import Account
from simlib.requests.formats import known

pytestmark = pytest.mark.filterwarnings("ignore:.*lines before the header")
ROOT = Path(__file__).resolve().parents[2]
CASES = [folder / "shared" / "cases" for folder in (ROOT.parent, ROOT)]
OURS = ("plain", "burstgpt", "serving_benchmark")
BEYOND = "in a page; `simlib inspect` in Python reads"
WORKER = """
onmessage = async ({ data }) => {
  const answers = [];
  for (const [name, bytes] of data)
    try { answers.push(await reader.open(name, bytes)); }
    catch ({ name, message, stack }) { answers.push(name === "InputError" ? { refusal: message } : { fault: stack }); }
  postMessage(answers);
};
"""
ASK = """
async ([script, files]) => {
  const worker = new Worker(URL.createObjectURL(new Blob([script])));
  const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer;
  const lists = (table) => table && Object.fromEntries(Object.entries(table).map(([name, of]) => [name, [...of]]));
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data.map((answer) => ({ ...answer, table: lists(answer.table) })));
    worker.postMessage(files.map(([name, text]) => [name, bytes(text)]));
  });
}
"""

CELLS = ["", "-1", "1.5", "2147483649", "1e3", "1_0", "nan", "inf", "many", "٣", '"it\'s ""so"""', " 7", "+7", "x" * 70]
PIECES = ['"', '""', ",", ";", "\t", "\n", "\r\n", " ", "-", "1e400", "null", "1.5", "é", "'", "9007199254740993", "#"]
TABLE = b"arrival_s,prompt_tokens,output_tokens\n0.0,100,9\n0.4,101,10\n0.85,102,0\n1.2,0,12\n0.9,104,13\n"
FULL = """arrival_ms,client,prompt_tokens,output_tokens,predicted_output_tokens,cached_prompt_tokens,model,priority,note
0.5,a,100,9,8,64,m,1,x
250,"b, c",200,12,10,0,m,-1,"two
lines"
625.25,,300,7,9,100,m,0,"a ""quote"" "
"""
TABLED = """arrival_s,prompt_tokens,output_tokens,priority,ttft_s,tpot_s,latency_s
0.0,100,9,0,0.05,0.011,0.138
0.4,101,1,1,0.35,,0.35
0.9,102,0,1,,,
1.3,80,12,0,0.041,0.0125,0.1785
"""
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
ROWS = [{"arrival_s": 0.25 * row, "prompt_tokens": 100 + row, "output_tokens": 5} for row in range(30)]
BENCH = {
    "backend": "openai", "endpoint_type": "openai", "request_rate": 5.0, "max_concurrency": None, "completed": 3,
    "duration": 1.5, "input_lens": [100, 90, 80], "output_lens": [3, 2, 0], "ttfts": [0.02, 0.031, 0.0],
    "itls": [[0.01, 0.012], [0.011], []], "start_times": [1000.0, 1000.4, 0.0], "errors": ["", "", "refused"],
}  # fmt: skip
MEANS = {"request_rate": 7.0, "duration": 11.2, "completed": 80, "failed": 2, "total_input_tokens": 8800}
MEANS |= {"total_output_tokens": 5200, "mean_ttft_ms": 31.5, "p99_e2el_ms": 812.0, "backend": "sglang"}


def table(name: str, ticks) -> str:
    return f"{name},prompt_tokens,output_tokens\n" + "".join(f"{tick},100,20\n" for tick in ticks)


def burst(ticks) -> str:
    return BURST + "".join(f"{tick},M,10,20,30,L\n" for tick in ticks)


def many(size: int) -> str:
    """A benchmark of `size` requests, five in flight."""
    rng = np.random.default_rng(1)
    lens, ttfts = rng.integers(2, 200, size).tolist(), rng.exponential(0.03, size).tolist()
    itls = [rng.exponential(0.02, length - 1).tolist() for length in lens]
    known = {"input_lens": lens, "output_lens": lens, "ttfts": ttfts, "itls": itls, "start_times": ..., "errors": ...}
    return bench(**known, request_rate="inf", max_concurrency=5)


def bench(**changed) -> str:
    return json.dumps({name: value for name, value in (BENCH | changed).items() if value is not ...})


FILES: dict[str, bytes | str] = {
    "plain.csv": TABLE,
    "mark.csv": b"\xef\xbb\xbf" + TABLE,
    "semicolons.csv": TABLE.replace(b",", b";").replace(b"0.4", b"0,4"),
    "spaces.csv": TABLE.replace(b",", b",  "),
    "returns.csv": TABLE.replace(b"\n", b"\r\n"),
    "comments.csv": b"# from a log\n" + TABLE,
    "packed.csv.gz": gzip.compress(TABLE),
    "full.csv": FULL,
    "full_bad_priority.csv": FULL.replace("-1", "0.5"),
    "full_cached_more.csv": FULL.replace(",64,", ",640,"),
    "timed_in_part.csv": "arrival_s,prompt_tokens,output_tokens,ttft_s,latency_s\n"
    "0,10,2,0.02,0.75\n1,9,0,,\n2,8,3,,1.25\n",
    "timed_badly.csv": FULL.replace("note", "tpot_s"),
    "full_failed.csv": FULL.replace(",9,8,64", ",0,8,64"),
    "full_no_model.csv": FULL.replace(",m,1", ",,1"),
    "timed.csv": TABLED,
    "timed_bad.csv": TABLED.replace("0.35", "-0.35"),
    "timed_endless.csv": TABLED.replace("0.35", "inf"),
    "latin.csv": TABLE + "é,1,2\n".encode("latin-1"),
    "cut.csv": TABLE + "é".encode()[:1],
    "empty.csv": b" \n\t\n",
    "nothing.csv": b"",
    "header.csv": TABLE.partition(b"\n")[0],
    "binary.csv": TABLE + b"\0",
    "wide.csv": TABLE.decode().encode("utf-16"),
    "sheet.xlsx": b"PK\x03\x04",
    "rows.parquet": b"PAR1",
    "long_row.csv": TABLE + b"1,2,3,4\n",
    "open_quote.csv": TABLE + b'1,2,"3\n',
    "twice.csv": b"a,b,a\n1,2,3\n",
    "unnamed.csv": b",\n1,2\n",
    "near.csv": TABLE.replace(b"output_tokens", b"output"),
    "other_columns.csv": b"a,b\n1,2\n",
    "two_formats.csv": b"arrival_s,prompt_tokens,output_tokens,timestamp,input_length,output_length\n0,1,1,0,1,1\n",
    "chats.json": '[{"conversations": []}]',
    "yaml.yaml": "vary:\n  rate: [1]\n",
    **{f"cell_{n}.csv": TABLE + f"2,{cell},5\n".encode() for n, cell in enumerate(CELLS)},
    "burst.csv": BURST + "5,ChatGPT,10,20,30,Conversation log\n45,GPT-4,7,0,7,API log\n118,GPT-4,9,3,12,API log\n",
    "burst_dates.csv": BURST + "2023-01-01,ChatGPT,10,20,30,Conversation log\n",
    "burst_no_log.csv": BURST + "5,ChatGPT,10,20,30,\n",
    "burst_epoch.csv": burst([1_788 * 10**15 + n * 77_000_001 for n in range(9)]),
    "burst_epoch_slow.csv": burst([1_788_000_000 + 300 * n for n in range(9)]),
    "burst_since_ever.csv": burst([5e8 + 1.5 * n for n in range(9)]),
    "epoch.csv": table("arrival_s", [1_788_000_000, 1_788_000_001]),
    "uptime.csv": table("arrival_ns", [90_071_992_547_409_931 + 70_000_003 * n * n for n in range(30)]),
    "once.csv": table("arrival_us", [7] * 5),
    "one.csv": table("arrival_s", [3]),
    "fast.csv": table("arrival_s", [n * 1e-4 for n in range(40)]),
    "rare.csv": table("arrival_s", [n * 700.5 for n in range(40)]),
    "rare_and_few.csv": table("arrival_s", [n * 700.5 for n in range(5)]),
    "thin.csv": table("arrival_s", [n * 1e5 for n in range(40)]),
    "odd_unit.csv": table("arrival_ms", [n * 0.001 for n in range(40)]),
    "bursts.csv": table("arrival_s", np.cumsum(np.random.default_rng(1).pareto(1.5, 700)).tolist()),
    "rows.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "rows.json": json.dumps(ROWS, indent=1),
    "some_clients.jsonl": "".join(json.dumps(row | {"client": n // 2 or None}) + "\n" for n, row in enumerate(ROWS)),
    "bad_line.jsonl": json.dumps(ROWS[0]) + '\n\n{"arrival_s": 1, "prompt_tokens" 2}\n',
    "no_object.jsonl": json.dumps(ROWS[0]) + "\n[1]\n",
    "array_of_numbers.json": '[1, "it\'s"]',
    "no_rows.json": "[]",
    "key_twice.json": '{"a": 1,\n "b": {},\n "a": 2}',
    "deep.json": "[" * 101 + "]" * 101,
    **{f"broken_{n}.json": text for n, text in enumerate(
        ['{"a": }', '{"a" 1}', '{"a": 1 "b"}', '{a: 1}', '{"a": "x', '{"a": "x\ny"}', '{"a": "\\q"}', '{"a": "\\u12"}',
         '{"a": 01}', '{"a": tru}', '{"a": 1} x', '{"a": [1', '{"a": -}', '{"a": 1.}', '[{"a": 1}\n {"b": 2}]']
    )},
    "bench.json": bench(),
    "bench_spread.json": json.dumps([BENCH], indent=2),
    "bench_packed.json.gz": gzip.compress(bench().encode()),
    "bench_before_2026.json": bench(start_times=...),
    "bench_at_once.json": bench(start_times=..., request_rate="inf", prompts=["a", "b", "c"]),
    "bench_in_flight.json": bench(start_times=..., request_rate=float("inf"), max_concurrency=2),
    "bench_in_flight_none.json": bench(start_times=..., request_rate="inf", max_concurrency=0),
    "bench_in_flight_word.json": bench(start_times=..., request_rate="inf", max_concurrency="two"),
    "bench_in_flight_untimed.json": bench(start_times=..., request_rate="inf", max_concurrency=2, itls=...),
    "bench_all_failed.json": bench(output_lens=[0, 0, 0]),
    "bench_none_sent.json": bench(output_lens=[0, 0, 0], start_times=[0.0, 0.0, 0.0]),
    "bench_no_ttft.json": bench(ttfts=[None, 0.03, 0.02]),
    "bench_milliseconds.json": bench(ttfts=[20.0, 31.0, 9.0], itls=[[10.0, 12.0], [11.0], []]),
    "bench_against_itself.json": bench(ttfts=[20.0, 31.0, 0.0], mean_ttft_ms=25.5),
    "bench_long_start.json": bench(start_times=[1000.0, 400000.0, 0.0]),
    "bench_unlike_duration.json": bench(duration=0.3),
    "bench_short.json": bench(itls=[[0.01]]),
    "bench_scalar.json": bench(input_lens=5),
    "bench_nothing.json": bench(input_lens=[]),
    "bench_bad_gap.json": bench(itls=[[0.01, -1], [0.011], []]),
    "bench_bad_length.json": bench(input_lens=[100, -3, None]),
    "bench_small_length.json": bench(input_lens=[100, 1e-5, 3]),
    "bench_many.json": many(31),
    "bench_bad_start.json": bench(start_times=[1000.0, "soon", 0.0]),
    "means.json": json.dumps(MEANS),
    "means_of_nothing.json": json.dumps(MEANS | {"completed": 0, "backend": "vllm", "burstiness": 1}),
    "means_bad.json": json.dumps(MEANS | {"duration": "long"}),
}  # fmt: skip
FORMS = {
    "azure.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,10,3\n",
    "mooncake.jsonl": '{"timestamp": 0, "input_length": 10, "output_length": 3}\n',
    "chunk-0-trace.csv": "0,1.5,8.5,Weibull,0.375,0.396\n600,1.25,7.5,Gamma,0.4,0.4\n",
    "scrape.txt": '# HELP vllm:x y\nvllm:request_success_total{engine="0"} 5\nvllm:prompt_tokens_total 7\n',
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What the page's reader answers to files: account, table and notes, or a refusal."""
    page = tmp_path_factory.mktemp("reader") / "page.html"
    page.write_text("<!doctype html><title>A page</title>")
    script = "\n".join((formats.SCRIPT.parent / f"{name}.js").read_text() for name in formats.SCRIPTS) + WORKER
    with chromium() as browser, opened(browser, page) as (tab, complaints):
        yield lambda files: tab.evaluate(
            ASK, [script, [[name, base64.b64encode(data).decode()] for name, data in files.items()]]
        )
        assert complaints == []  # no error, and no request


def expected(path: Path) -> dict:
    """What simlib says of a file; of one in a format that the page does not read, only which that is."""
    try:
        found = known.document(path)
        other = known.format_of(found)
        if other not in OURS:
            return {"other": other}
        return {"account": plain(Account.of(known.parse(path)).document())}
    except InputError as problem:
        return {"refusal": str(problem)}


def differences(answers, folder: Path, files: dict[str, bytes | str]) -> dict[str, tuple]:
    """Files of which the page says something else than simlib, with both."""
    files = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    wrong = {}
    for (name, data), found in zip(files.items(), answers(files), strict=True):
        (folder / name).write_bytes(data)
        wanted = expected(folder / name)
        if "other" in wanted:
            agree = "which the page reads; `simlib inspect` in Python reads it" in found.get("refusal", "")
        else:
            agree = all(found.get(key) == value for key, value in wanted.items())
        if not agree:
            wrong[name] = found, wanted
    return wrong


def test_account_and_refusals_are_simlibs(answers, tmp_path):
    assert differences(answers, tmp_path, FILES | FORMS | {"burstgpt.csv": sample().read_bytes()}) == {}


def test_recorded_faults_of_users_files_are_told_alike(answers, tmp_path):
    cases = next((folder for folder in CASES if folder.is_dir()), None)
    if cases is None:
        pytest.skip("needs ../shared/cases")
    files = {path.name: path.read_bytes() for path in cases.iterdir()}
    assert len(files) > 20
    assert differences(answers, tmp_path, files) == {}


def test_broken_tables_are_refused_alike(answers, tmp_path):
    """300 tables with a few bytes replaced; seed 1, whoever changes it may meet a file that nobody has."""
    rng, files = random.Random(1), {}
    for number in range(300):
        data = rng.choice([TABLE.decode(), FULL, str(FILES["burst.csv"])])
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.randrange(len(data))
            data = data[:at] + rng.choice(PIECES) + data[at + rng.randrange(3) :]
        files[f"{number}.csv"] = data
    assert differences(answers, tmp_path, files) == {}


def test_its_table_is_the_one_that_is_simulated(answers, tmp_path):
    names = ["plain.csv", "semicolons.csv", "full.csv", "burst.csv", "burst_epoch.csv", "uptime.csv", "bursts.csv"]
    names += ["rows.jsonl", "bench.json", "bench_at_once.json", "bench_in_flight.json", "bench_many.json"]
    files = {name: FILES[name] if isinstance(FILES[name], bytes) else FILES[name].encode() for name in names}
    for (name, data), found in zip(files.items(), answers(files), strict=True):
        (tmp_path / name).write_bytes(data)
        frame = traces.read(tmp_path / name, unsorted="sort").requests.frame()
        given = {column: frame[column].tolist() for column in found["table"]}
        assert found["table"] == given, name
        assert ("predicted_output_tokens" in frame) == ("predicted_output_tokens" in found["table"])


def test_without_arrivals_there_is_no_table_and_the_account_says_why(answers):
    [found] = answers({"b.json": FILES["bench_before_2026.json"].encode()})
    assert found["table"] is None
    assert found["account"]["lacks"]["simulate"] == "needs times of arrival, or --rate to draw them at"


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("a.csv", FULL.replace("priority", "previous"), f"a.csv, previous: {formats.BEYOND['previous']}"),
        ("b.csv", FULL.replace("note", "block_ids"), "b.csv, block_ids: what prompts contain"),
        ("c.jsonl", f"{bench()}\n{bench()}\n", "c.jsonl: 2 loads in one file"),
        ("d.csv", b"\x28\xb5\x2f\xfd", "d.csv: packed by zstd"),
        ("e.csv", gzip.compress(b"7" * 51_000_000), "e.csv: more than 50 MB"),
    ],
)
def test_what_only_python_reads_is_said(answers, name, data, what):
    [found] = answers({name: data.encode() if isinstance(data, str) else data})
    assert found["refusal"].startswith(f"{what} (expected ")
    assert BEYOND in found["refusal"]


def test_names_of_formats_and_columns_are_those_of_simlib():
    assert formats.SCRIPT.read_text() == formats.script(), "python -m book.explorer.formats writes it"
