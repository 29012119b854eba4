"""ServeGen: a generated workload, a job in batch, and rates of clients, which are no requests."""

import pytest

from simlib.checks import InputError

WORKLOAD = "request_id,timestamp,input_tokens,output_tokens\n" + "".join(
    f"{row},{0.1 + 0.25 * row},{10 + row},{20 + row}\n" for row in range(10)
)
JOB = [
    {"request_id": row, "type": "text", "input_length": 61 + row, "output_length": 70 - row, "duration": 14000 + row}
    for row in range(10)
]
CLIENT = "0,1.5,8.5,Weibull,0.375,0.396\n600,0,0,,0,0\n1200,0.5,6.5,Gamma,0.06,103.6\n" + "".join(
    f"{600 * row},0,0,,0,0\n" for row in range(3, 10)
)


def test_ten_requests_of_a_workload(parsed):
    log = parsed(WORKLOAD, "workload.csv")
    assert (log.format, log.clock.unit) == ("servegen", "s")
    assert log.seconds(log.frame["clock"].to_numpy())[-1] == pytest.approx(2.25)
    assert log.frame["output_tokens"].tolist() == list(range(20, 30))


def test_a_job_in_batch_has_lengths_and_times_of_service_and_no_arrivals(parsed):
    log = parsed(JOB)
    assert log.format == "servegen_job" and log.clock is None and "clock" not in log.frame
    assert log.frame["latency_s"].tolist()[:2] == [14.0, 14.001]
    with pytest.raises(InputError, match=r"f.jsonl, output_length: missing column"):
        parsed([{"request_id": 0, "type": "text", "input_length": 20, "hash_ids": [0, 1], "img_ids": []}])


def test_rates_of_a_client_without_a_head_are_added_up(parsed):
    summary = parsed(CLIENT, "chunk-0-trace.csv")
    (load,) = summary.loads
    # 600 s at 1.5/s and at 0.5/s, of 6,000 s.
    assert (summary.format, load.requests, load.span_s, load.rate_rps) == ("servegen_rates", 1200, 6000.0, 0.2)
    assert load.state["requests a second, busiest window"] == 1.5 and load.state["clients"] == 1
    assert load.state["cv of a client's gaps, mean by rate"] == 8.0
    assert "rates of clients, and no requests" in summary.refusal and "\n" not in summary.refusal


def test_rates_of_several_clients_are_added_up_by_window(parsed):
    head = "client,window_start_s,rate_req_per_s,iat_cv,iat_dist,param1,param2\n"
    summary = parsed(head + "a,0,1,1,Gamma,1,1\nb,0,2,1,Gamma,1,1\nb,600,3,1,Gamma,1,1\n", "rates.csv")
    (load,) = summary.loads
    assert (load.rate_rps, load.state["clients"], load.state["requests a second, busiest window"]) == (3.0, 2, 3.0)
    assert summary.unused == ("iat_dist", "param1", "param2")
    with pytest.raises(InputError, match=r"rates.csv, row 1, rate_req_per_s: -2"):
        parsed(head + "a,0,1,1,Gamma,1,1\nb,0,-2,1,Gamma,1,1\n", "rates.csv")
