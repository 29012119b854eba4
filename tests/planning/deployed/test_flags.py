"""What a plan tells an engine is what the engine knows: flags are among those recorded of vLLM and of SGLang."""

import json
import re
from pathlib import Path

import pytest

from simlib.planning import fleet
from simlib.planning.deployed.flags import Replicas
from simlib.planning.objectives import parse
from simlib.planning.plan import Configuration

RECORDED = Path(__file__).parent / "recorded"
SLA = parse("ttft_p99<=0.70001,tpot_p99<=0.04,latency_mean<=8")
CASES = [
    Replicas(replicas, 2, 64, 2048, 100_000, k_bins=bins, steps_in_flight=steps, prefix_cache=cache, priority=priority,
             routing=routing, objectives=SLA)
    for replicas, bins, steps, cache, priority, routing in (
        (1, 1, 1, False, False, "shared"), (4, 4, 2, True, True, "least_tokens"), (2, 1, 2, True, False, "prefix"),
        (3, 1, 1, False, True, "least_requests"), (2, 1, 1, False, False, "round_robin"),
    )
]  # fmt: skip


def known(engine):
    """The options that an engine's help lists, as they were recorded."""
    lines = (RECORDED / f"{engine}_options.txt").read_text().splitlines()
    return {line for line in lines if line.startswith("--")}


@pytest.mark.parametrize("one", CASES)
def test_every_flag_is_one_that_the_engine_lists(one):
    for engine, spelled, buckets in (("vllm", one.vllm, one.buckets[0]), ("sglang", one.sglang, one.buckets[1])):
        options = re.findall(r"(?<!\S)--[a-z0-9][a-z0-9-]+", f"{spelled} {buckets}")
        assert len(options) == len(set(options)) > 6
        assert set(options) <= known(engine)
        mentioned = {word for told in spelled.unlike for word in re.findall(r"--[a-z][a-z-]+", told)}
        assert mentioned - {"--k-bins"} <= known(engine)  # ours


def test_of_a_configuration():
    engine = fleet.engine("h100x2-vllm-llama3-8b")
    one = Replicas.of(Configuration(engine, 3, 128, 8192, 4), SLA, steps_in_flight=2)
    assert (one.replicas, one.gpus, one.kv_tokens, one.k_bins) == (3, 2, engine.kv_tokens, 4)
    told = str(one.vllm)
    assert "--tensor-parallel-size 2 --data-parallel-size 3 --max-num-seqs 128 --max-num-batched-tokens 8192" in told
    assert " --async-scheduling" in told and "--no-enable-prefix-caching" in told
    told = str(one.sglang)
    assert "--tp-size 2 --dp-size 3" in told and "--max-running-requests 128 --chunked-prefill-size 8192" in told
    assert f"--max-total-tokens {engine.kv_tokens} " in told and "--disable-overlap-schedule" not in told


def test_the_same_priority_is_urgent_in_both():
    urgent = Replicas(1, 1, 8, 512, 1000, priority=True)
    assert "--scheduling-policy priority" in str(urgent.vllm)  # whose lower ones come first
    assert "--enable-priority-scheduling --schedule-low-priority-values-first" in str(urgent.sglang)


def test_what_has_no_flag_is_said_and_not_invented():
    for spelled in (CASES[1].vllm, CASES[1].sglang):
        assert any("no flag has classes of predicted length" in told for told in spelled.unlike)
    assert any("counts requests, which is not the planned least_tokens" in told for told in CASES[1].vllm.unlike)
    assert not any("least_requests" in told for told in CASES[3].vllm.unlike)
    assert any("has no prefix" in told for told in CASES[2].sglang.unlike)
    assert "mem-fraction-static" not in str(CASES[1].sglang)


def test_buckets_end_at_the_limits():
    vllm, sglang = CASES[0].buckets
    custom = json.loads(vllm.removeprefix("--custom-histogram-buckets ").strip("'"))
    assert set(custom) == {"time_to_first_token", "inter_token_latency", "request_latency"}
    for ends in custom.values():
        assert ends == sorted(set(ends)) and ends[0] > 0
    told = {words.split()[0]: words.split()[1:] for words in sglang.split("--")[1:]}
    for family, option, limit in (
        ("time_to_first_token", "bucket-time-to-first-token", "0.70001"),
        ("inter_token_latency", "bucket-inter-token-latency", "0.04"),
        ("request_latency", "bucket-e2e-request-latency", "8"),
    ):
        assert float(limit) in custom[family] and limit in told[option]
    assert Replicas(1, 1, 8, 512, 1000).buckets == ("", "")
