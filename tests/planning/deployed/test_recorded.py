"""A real server's scrapes beside what its client measured of the same requests, and a plan held against them."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine.loads import CLOCK_LAW, SHARED_TOKENS, Load, draw
from simlib import RequestTable, StepLaw
from simlib.planning.deployed import causes, promise, scrapes, verdict
from simlib.planning.deployed.promise import Assumed
from simlib.planning.objectives import parse
from simlib.requests.formats.document import document

RECORDED = Path(__file__).parent / "recorded"
METRICS = ("ttft", "tpot", "latency")
SLA = parse(",".join(f"{metric}_{of}<=5s" for metric in METRICS for of in ("mean", "p50", "p99")))
LAW, APART_S = StepLaw(*CLOCK_LAW), 63.0


@pytest.fixture(scope="module")
def windows():
    seen = [scrapes.Scrape.of(document(RECORDED / f"vllm-{number}.prom")) for number in range(3)]
    return scrapes.windows(seen, SLA, 60.0, APART_S, 1)


@pytest.fixture(scope="module")
def clients():
    return json.loads((RECORDED / "vllm-clients.json").read_text())


def test_the_server_counts_what_its_client_sent(windows, clients):
    assert [one.requests for one in windows] == [one["requests"] for one in clients] == [300, 540]
    for window, client in zip(windows, clients, strict=True):
        for name in ("prompt_tokens", "output_tokens"):
            assert window.known[name] == pytest.approx(client[name], abs=1e-5)
        # Eight groups of prompts begin alike, each with six blocks of 32 tokens that are found again.
        assert window.known["cached_share"] == pytest.approx(SHARED_TOKENS / client["prompt_tokens"], abs=0.02)
        assert window.known["failed_share"] == 0
        assert window.known["kv_tokens"] == 8191 * 32
        assert window.known["rate_rps"] == pytest.approx(client["requests"] / APART_S)


def test_means_are_the_clients_but_for_its_way_to_the_server(windows, clients):
    for window, client in zip(windows, clients, strict=True):
        for metric in METRICS:
            ours, theirs = window.values_s[f"{metric}_mean"][0], client[metric]["mean"]
            way_s = 0.006 if metric != "tpot" else 0.0
            assert -0.0002 < theirs - ours < way_s + 0.0002
        assert window.known["itl_s"] == pytest.approx(client["tpot"]["mean"], rel=0.01)


def test_quantiles_of_the_client_lie_in_the_servers_buckets(windows, clients):
    for window, client in zip(windows, clients, strict=True):
        for metric in METRICS:
            for of in ("p50", "p99"):
                low, high = window.values_s[f"{metric}_{of}"]
                assert low < client[metric][of] < high + 0.006


def requests(rate_rps, seed):
    """Requests such as the server had, with what its cache finds of each."""
    table = draw(Load("x", rate_rps, 60.0, traffic="shared"), seed).table
    first = np.unique(table.prefix_group, return_index=True)[1]
    cached = np.where(np.isin(np.arange(len(table)), first), 0, SHARED_TOKENS)
    return RequestTable(table.arrival_s, table.prompt_tokens, table.output_tokens, cached_prompt_tokens=cached)


def plan():
    """What a plan for five requests a second would promise; the clock's law is without the host's own time."""
    drawn = [requests(5.0, seed) for seed in range(20)]
    assumed = promise.assumed(drawn, drawn[0], Assumed(1.1, 1.0, 1.2), LAW, engine="vLLM", model="model")
    assumed["rate_rps"] = Assumed(5.0, 4.4, 5.6).document()  # all of the draws have as many requests
    configuration = {"replicas": 1, "max_num_seqs": 32, "max_num_batched_tokens": 512, "kv_tokens": 262_112,
                     "prefix_caching": True}  # fmt: skip
    rows = [{"objective": "tpot_p99<=0.025", "mean": 0.0235, "low": 0.02, "high": 0.025},
            {"objective": "ttft_p99<=0.08", "mean": 0.07, "low": 0.05, "high": 0.08}]  # fmt: skip
    return promise.of({"met": True, "configuration": configuration, "window_s": 60.0, "confidence": 0.95,
                       "objectives": rows, "assumed": assumed})  # fmt: skip


def test_a_plan_holds_at_the_load_that_it_was_made_for_and_breaks_by_its_rate_above(windows):
    promised = plan()
    for window, broken in zip(windows, ([], ["rate_rps"]), strict=True):
        found = verdict.judge(promised, [window])
        assert found.inside is (not broken)
        why = causes.causes(promised, window, found.worst[1].objective)
        assert [one.name for one in why.broken] == broken
        pace = next(one.measured for one in why.rows if one.name == "pace")
        assert 1.05 < pace < 1.15
