"""The request table's own names, with a clock in any unit."""

import pytest

from simlib.checks import InputError
from simlib.requests import traces


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
