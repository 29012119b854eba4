"""splitwise-sim's traces: seconds, and a row a request."""

import pytest

from simlib.checks import InputError

HEAD = "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n"
ROWS = [f"{row},2,{row % 2},{0.7 * row:.1f},1,{900 + row},{14 + row}\n" for row in range(10)]


def test_ten_requests(parsed):
    log = parsed(HEAD + "".join(ROWS), "rr_code_50.csv")
    assert (log.format, log.clock.unit, log.unused) == ("splitwise_sim", "s", ())
    assert log.seconds(log.frame["clock"].to_numpy())[-1] == 6.3
    assert log.frame["prompt_tokens"].tolist()[-1] == 909 and log.frame["client"].nunique() == 2


def test_a_row_that_stands_for_several_requests_is_named(parsed):
    with pytest.raises(InputError, match=r"f.csv, row 1, batch_size: 4 \(expected 1: a row is a request\)"):
        parsed(HEAD + ROWS[0] + "1,2,0,0.7,4,930,15\n", "f.csv")
