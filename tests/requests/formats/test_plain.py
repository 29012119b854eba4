"""The request table's own names, with a clock in any unit."""

import json

import pytest

from simlib.checks import InputError
from simlib.requests import traces
from simlib.requests.account import Account


def table(name, ticks):
    return f"{name},prompt_tokens,output_tokens\n" + "".join(f"{tick},100,20\n" for tick in ticks)


@pytest.mark.parametrize("name, per_s", [("arrival_ms", 1000), ("arrival_us", 10**6), ("arrival_ns", 10**9)])
def test_a_clock_that_is_named_after_its_unit_is_read_by_its_name(tmp_path, name, per_s):
    (tmp_path / "f.csv").write_text(table(name, [0, per_s // 2, 2 * per_s]))
    assert traces.read(tmp_path / "f.csv").requests.arrival_s.tolist() == [0.0, 0.5, 2.0]


def test_a_clock_since_1970_names_the_option_that_takes_it(tmp_path):
    (tmp_path / "f.csv").write_text(table("arrival_s", [1_788_000_000, 1_788_000_000.5, 1_788_000_002]))
    with pytest.raises(InputError, match=r"arrival_s: 1788000000.* since 1970, which the option --time-unit"):
        traces.read(tmp_path / "f.csv")
    assert traces.read(tmp_path / "f.csv", time_unit="s").requests.arrival_s.tolist() == [0.0, 0.5, 2.0]


def test_a_label_that_some_records_lack_is_said(parsed):
    row = {"prompt_tokens": 10, "output_tokens": 5}
    log = parsed([row | {"arrival_s": 0, "client": "a"}, row | {"arrival_s": 1}, row | {"arrival_s": 2, "client": "a"}])
    assert log.warnings == ("client: none in 1 of 3 rows",)


FULL = """arrival_s,prompt_tokens,output_tokens,priority,prefix_group,prefix_tokens
0,100,20,0,1,64
1,100,20,-1,2,0
2,100,20,5,1,32
"""


def test_priorities_and_prefixes_are_read_by_their_names(tmp_path):
    (tmp_path / "f.csv").write_text(FULL)
    trace = traces.read(tmp_path / "f.csv")
    table = trace.requests
    assert table.priority.tolist() == [0, -1, 5]
    assert table.prefix_group.tolist() == [1, 2, 1]
    assert table.prefix_tokens.tolist() == [64, 0, 32]
    assert {"priority", "prefix_group", "prefix_tokens"} <= set(trace.log.columns)
    assert Account.of(trace).prefix["cached_share"] == Account.of(trace.log).prefix["cached_share"] == 32 / 300
    assert "10.7 % of the prompt tokens can be cached" in str(Account.of(trace))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_blocks_contain_is_read_from_a_cell_or_an_array(tmp_path, kind):
    path = tmp_path / f"f.{kind}"
    if kind == "csv":
        path.write_text('arrival_s,prompt_tokens,output_tokens,block_ids\n0,40,1,"[7, 8]"\n1,20,1,7\n2,9,1,[]\n')
    else:
        rows = zip([40, 20, 9], [[7, 8], [7], []], strict=True)
        lines = [
            json.dumps({"arrival_s": row, "prompt_tokens": prompt, "output_tokens": 1, "block_ids": ids})
            for row, (prompt, ids) in enumerate(rows)
        ]
        path.write_text("\n".join(lines))
    assert [row.tolist() for row in traces.read(path).requests.block_ids] == [[7, 8], [7], []]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1,100,20,-1", "1,100,20,0.5", r"f.csv, row 1, priority: 0.5 .expected an integer"),
        ("2,100,20,5,1", "2,100,20,5,a", r"f.csv, row 2, prefix_group: 'a' .expected an integer"),
        ("prefix_group,", "group,", r"f.csv, prefix_group: missing column"),
        ("prefix_tokens\n", "tokens\n", r"f.csv, prefix_tokens: missing column"),
        ("2,100,20,5,1,32", "2,100,20,5,1,-1", r"f.csv, row 2, prefix_tokens: -1 .expected 0 to the row's"),
        ("2,100,20,5,1,32", "2,100,20,5,1,101", r"f.csv, row 2, prefix_tokens: 101 .expected 0 to the row's"),
    ],
)
def test_a_bad_cell_is_named_by_its_row(tmp_path, old, new, message):
    (tmp_path / "f.csv").write_text(FULL.replace(old, new, 1))
    with pytest.raises(InputError, match=f"^{message}"):
        traces.read(tmp_path / "f.csv")
