"""A log that cannot be one engine's run is refused."""

import json

import pytest
from replayed import ENGINE, made_log, written

import simlib
from simlib.calibration.logs.engine_log import read_log
from simlib.requests.formats import known
from simlib.requests.formats.layout import Asked


@pytest.fixture
def path(tmp_path):
    return written(made_log(simlib.StepLaw(0.02, 1e-4), ENGINE, count=5), tmp_path / "log.jsonl")


def changed(path, row, **change):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[row] |= change
    path.write_text("\n".join(map(json.dumps, rows)))


def test_what_was_written_is_read(path):
    assert len(read_log(path).table) == 5


def test_two_runs_in_one_file_are_named_by_a_request_that_is_there_twice(path):
    changed(path, 4, request_id="r1")
    with pytest.raises(simlib.InputError, match=r"row 4, request_id: 'r1' .*one engine's run"):
        read_log(path)


def test_two_runs_in_one_file_are_named_by_clocks_that_jump(path):
    for row, late_s in enumerate((0.0, 0.0, 0.0, 0.0, 70.0)):
        queued_ts = 50 + 100 * row + late_s
        stamps = {"queued_ts": queued_ts, "scheduled_ts": queued_ts, "first_token_ts": queued_ts + 1}
        changed(path, row, arrival_time=1.7e9 + 100 * row, last_token_ts=queued_ts + 2, **stamps)
    with pytest.raises(simlib.InputError, match="are 70 s further apart for some requests"):
        read_log(known.requests(path, asked=Asked("s")))
