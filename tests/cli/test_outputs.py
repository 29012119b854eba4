"""Tables for a spreadsheet."""

import pandas as pd

from simlib.cli import main
from simlib.cli.outputs import sheet
from simlib.requests import traces


def test_texts_are_guarded_and_numbers_are_not():
    frame = pd.DataFrame({"client": ["=1", "a", 3], "loss": [-1.5, 0.0, 2.0]})
    assert sheet(frame) == "client,loss\n'=1,-1.5\na,0.0\n3,2.0\n"
    assert frame["client"].tolist() == ["=1", "a", 3]


def test_labels_come_back_from_a_results_table(tmp_path):
    given, out = tmp_path / "given.csv", tmp_path / "out.csv"
    given.write_text("arrival_s,prompt_tokens,output_tokens,client\n0,10,5,=1+1\n1,10,5,-2\n2,10,5,@a\n")
    assert main(["simulate", str(given), "--policy", "static_fifo", "--out", str(out)]) == 0
    assert "'=1+1," in out.read_text() and "\n-2," in out.read_text()
    assert list(traces.read(out).requests.labels["client"]) == ["=1+1", "-2", "@a"]
