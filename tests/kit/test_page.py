"""What every notebook does first and last, tried without one."""

import pandas as pd
import pytest

from book.kit.page import begin
from simlib.checks import InputError

GOOD = {
    "LEVEL": 1,
    "NUM_REQUESTS": 10,
    "RATE_RPS": 50.0,
    "RPS_SCALE": 100.0,
    "NUM_GPUS": 2,
    "K_BINS": 4,
    "D_SLA": 1.0,
    "SEED": 42,
    "REPLICATIONS": 2,
}


def test_parameters_are_checked_and_folders_made_up_where_none_is_named(tmp_path):
    namespace = GOOD | {"NUM_REQUESTS": 10.0, "RESULTS_DIR": str(tmp_path), "FIGURES_DIR": ""}
    page = begin("level", namespace, " ".join(GOOD))
    assert namespace["NUM_REQUESTS"] == 10 and isinstance(namespace["NUM_REQUESTS"], int)
    assert page.results == tmp_path
    assert page.parameters["FIGURES_DIR"].is_dir()


def test_an_unknown_parameter_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"D_SLAA: notebook level has no such parameter .*did you mean D_SLA\?"):
        begin("level", GOOD | {"D_SLAA": 1.0}, " ".join(GOOD))


def test_an_unknown_parameter_given_to_papermill_is_named_whatever_its_case():
    given = GOOD | {"d_sla": 0.5, "In": ["", "D_SLA = 1.0", "# Parameters\nd_sla = 0.5\n", "some = code"]}
    with pytest.raises(InputError, match=r"d_sla: notebook level has no such parameter .*did you mean D_SLA\?"):
        begin("level", given, " ".join(GOOD))
    begin("level", given | {"In": ["", "# Parameters\nD_SLA = 0.5\n"], "some": 1}, " ".join(GOOD))


def test_a_parameter_of_another_notebook_is_refused():
    with pytest.raises(InputError, match="K_BINS"):
        begin("workloads", {"SEED": 1, "K_BINS": 4}, "SEED")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("LEVEL", v) for v in (0, 5, 1.5, "1", True, None)),
        *(("NUM_REQUESTS", v) for v in (0, -1, 1e9, float("nan"))),
        *(("RATE_RPS", v) for v in (0, -1.0, float("inf"), "fast")),
        *(("RPS_SCALE", v) for v in (0, None)),
        *(("NUM_GPUS", v) for v in (0, 65, 1.5)),
        *(("K_BINS", v) for v in (0, 257, "4")),
        *(("D_SLA", v) for v in (0, -0.5, float("nan"), "1 s")),
        *(("SEED", v) for v in (-1, 0.5)),
        *(("REPLICATIONS", v) for v in (1, 0, "many")),
        *(("RESULTS_DIR", v) for v in (3, None)),
    ],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(InputError, match=name):
        begin("level", GOOD | {name: value}, " ".join(GOOD))


def test_a_table_is_written_whole(tmp_path):
    page = begin("level", GOOD | {"RESULTS_DIR": tmp_path / "new", "FIGURES_DIR": tmp_path}, " ".join(GOOD))
    page.table("numbers", pd.DataFrame({"a": [0.1, 0.2]}))
    assert (tmp_path / "new" / "numbers.csv").read_text() == "a\n0.1\n0.2\n"
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "numbers.csv"]


def test_the_footer_names_parameters_versions_and_data(tmp_path):
    data = tmp_path / "rows.csv"
    data.write_text("a\n1\n")
    text = begin("level", dict(GOOD), " ".join(GOOD)).footer(data).data
    assert "`D_SLA = 1.0`" in text and "numpy" in text and "rows.csv" in text and "Run time" in text
