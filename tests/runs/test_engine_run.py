"""A run of continuous batching: what it says, and that it comes back from disk as it was."""

import numpy as np
import pandas as pd
import pytest

import simlib
from simlib.continuous.settings import Continuous
from simlib.latency.kernel_profile import ProfileLaw
from simlib.runs.engine_run import EngineRun

LAW = simlib.StepLaw(0.0078, 0.0001, 73e-6, 58e-9, 1e-9)
# A profile with two points an axis: dense layers by tokens, head by sequences, a grid of attention of 2 x 2 x 2 x 2.
PROFILE = ProfileLaw(
    np.array(
        [2.0, 2, 1, 2048, 0.01, 0.2, 1, 256, 0.001, 0.002, 2, 2, 2, 2, *[0.0, 2048] * 4, *np.linspace(0, 1e-3, 16)]
    ),
    overhead_s=0.001,
    layers=2,
)


def frame(requests=150, rate_rps=20.0, **columns):
    rng = np.random.default_rng(8)
    arrivals, outputs = np.cumsum(rng.exponential(1 / rate_rps, requests)), rng.integers(0, 150, requests)
    lengths = {"prompt_tokens": rng.integers(1, 200, requests), "output_tokens": outputs}
    return pd.DataFrame({"arrival_s": arrivals, **lengths, "predicted_output_tokens": outputs, **columns})


def grouped():
    return frame(prefix_group=[3, 1, 2] * 50, prefix_tokens=np.minimum(frame()["prompt_tokens"], 70))


def named():
    """Contents of blocks, equal in the first three of every other prompt."""
    blocks = [[0, 1, 2, *range(9 * row, 9 * row + 9)][: n // 16] for row, n in enumerate(frame()["prompt_tokens"])]
    return frame(block_ids=[ids if row % 2 else [row, *ids[1:]][: len(ids)] for row, ids in enumerate(blocks)])


def run_of(policy="fcfs", law=LAW, gpus=2, table=None, **settings):
    engine = Continuous(**{"max_seqs": 8, "kv_tokens": 640, "token_budget": 64, **settings})
    return simlib.simulate(frame() if table is None else table, policy, law, gpus, engine, "ttft<=1,tpot<=0.05",
                           oversize="reject", backend="interpreted")  # fmt: skip


RUNS = {
    "preempted": lambda: run_of(),
    "bins": lambda: run_of(simlib.MultiBinDynamic(3), watermark=0.1, routing="least_tokens", block_tokens=1),
    "a profile's law": lambda: run_of(law=PROFILE, steps_in_flight=2),
    "some rejected": lambda: run_of(gpus=1, kv_tokens=160, prefill="first"),
    "all rejected": lambda: run_of(kv_tokens=16, table=frame(5, prompt_tokens=100)),
    "bins, some rejected": lambda: run_of(simlib.MultiBinDynamic(2), kv_tokens=160),
    "clients leave": lambda: run_of(timeout_s=0.2, max_seqs=1),
    "labels and an index": lambda: run_of(table=frame(client=["x", "y"] * 75).set_axis([f"r{i}" for i in range(150)])),
    "a prefix cache": lambda: run_of(table=grouped(), prefix_cache=True, steps_in_flight=2),
    "a prefix cache, some rejected": lambda: run_of(table=named(), prefix_cache=True, kv_tokens=160),
    "priorities": lambda: run_of("priority", table=frame(priority=[0, 2, -1] * 50)),
    "no limit": lambda: run_of(kv_tokens=None, max_seqs=64, token_budget=2048),
}
NUMBERS = ("gpus", "sla", "policy", "backend", "settings", "rules", "rejected", "abandoned", "preemptions", "busy_s")
NUMBERS += ("batch_size_mean", "kv_peak_tokens", "blocks", "block_tokens")


@pytest.mark.parametrize("name", RUNS)
def test_a_run_comes_back_from_disk_as_it_was(name, tmp_path):
    run = RUNS[name]()
    path = run.save(tmp_path / "run.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["run.parquet"]
    back = simlib.load(path)
    assert type(back) is EngineRun
    pd.testing.assert_frame_equal(back.requests, run.requests, check_exact=True)
    pd.testing.assert_frame_equal(back.kv, run.kv, check_exact=True)
    pd.testing.assert_frame_equal(back.steps, run.steps, check_exact=True)
    assert back.prefix_hits.tolist() == run.prefix_hits.tolist()
    if run.table.block_ids is not None:
        assert [row.tolist() for row in back.table.block_ids] == [row.tolist() for row in run.table.block_ids]
    for column in NUMBERS:
        assert getattr(back, column) == getattr(run, column), column
    pd.testing.assert_series_equal(pd.Series(back.identity), pd.Series(run.identity), check_exact=True)
    for sla in (None, 0.5, "ttft<=0.2,tpot<=0.03"):
        pd.testing.assert_series_equal(pd.Series(back.summary(sla)), pd.Series(run.summary(sla)), check_exact=True)
    for share in (0.0, 0.5, 0.9, 0.99, 1.0):
        assert back.itl_s(share) == run.itl_s(share) or (np.isnan(back.itl_s(share)) and np.isnan(run.itl_s(share)))
    assert (back.edges is None) == (run.edges is None)
    assert back.edges is None or np.array_equal(back.edges, run.edges)


def test_the_runs_above_are_what_they_say():
    for cached in (RUNS["a prefix cache"](), RUNS["a prefix cache, some rejected"]()):
        assert cached.prefix_hits.sum() > 0 and cached.preemptions > 0
    assert 0 < cached.rejected < 150 and cached.served.hits.min() == -1
    assert RUNS["preempted"]().preemptions > 0 and RUNS["a profile's law"]().preemptions > 0
    assert 0 < RUNS["some rejected"]().rejected < 150 and RUNS["all rejected"]().rejected == 5
    assert RUNS["clients leave"]().abandoned > 0 and RUNS["clients leave"]().rejected == 0


def test_an_overloaded_run_is_unstable_and_its_means_are_those_of_what_it_served_on_disk_as_before(tmp_path):
    outputs = np.full(5000, 20)
    table = simlib.RequestTable(np.arange(5000) / 100.0, outputs, outputs)  # 2 at once, 47 ms or more each
    run = simlib.simulate(table, "fcfs", simlib.StepLaw(0.00235), 1, Continuous(2), backend="interpreted")
    for summary in (run.summary(), simlib.load(run.save(tmp_path / "run.parquet")).summary()):
        assert summary["stability"] == "unstable" and summary["throughput_rps"] < 50
        assert all(summary[name] > 1.0 for name in ("latency_mean_s", "queueing_mean_s", "ttft_mean_s"))


def test_quantiles_of_gaps_reach_from_the_least_to_the_most():
    run = run_of()
    assert 0 < run.itl_s(0.0) <= run.itl_s(0.5) <= run.itl_s(1.0)
    for share in (-0.1, 1.1, "0.5", None):
        with pytest.raises(simlib.InputError, match="share"):
            run.itl_s(share)


def test_both_sides_of_the_identity_are_reported():
    sides = run_of(kv_tokens=None).identity
    assert sides["recomputed"] == 0 and sides["busy_s"] == pytest.approx(sides["from_totals_s"], rel=1e-9)
    sides = RUNS["a profile's law"]().identity  # not linear: there is no other side
    assert np.isnan(sides["from_totals_s"]) and sides["busy_s"] > 0


def test_a_law_of_ones_own_is_not_saved_and_nothing_is_left_behind(tmp_path):
    class Constant:
        law, params, linear, spread = staticmethod(lambda shape, params: 0.01), np.zeros(1), False, False

    with pytest.raises(simlib.InputError, match="StepLaw or ProfileLaw"):
        run_of(law=Constant()).save(tmp_path / "run.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["absent/run.parquet", "folder", "x" * 300])
def test_a_run_that_cannot_be_saved_leaves_nothing_behind(where, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(simlib.InputError, match=rf"^{tmp_path / where}: .*\(expected"):
        run_of().save(tmp_path / where)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_a_log_of_too_many_steps_is_refused(monkeypatch):
    monkeypatch.setattr("simlib.runs.engine_run.MOST_STEPS", 10)
    with pytest.raises(simlib.InputError, match=r"steps of a GPU \(expected at most 10"):
        _ = run_of().steps


# The prefix cache


def test_hits_are_told_by_request_over_time_and_in_all():
    """Of prompts of 64 tokens the second and the third have 48 in the cache; the one that is alone has nothing."""
    table = simlib.RequestTable([0.0, 1.0, 2.0, 9.5], [64] * 4, [1] * 4, block_ids=[[1, 2, 3, 4]] * 3 + [[5, 6, 7, 8]])
    run = run_of(table=table, gpus=1, prefix_cache=True)
    assert run.prefix_hits.tolist() == run.requests["prefix_hits"].tolist() == [0, 48, 48, 0]
    assert run.prefix_hit_share == run.summary()["prefix_hit_share"] == 96 / 256
    by_time = run.prefix_hits_over_time(2.0)
    assert by_time["start_s"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert by_time["requests"].tolist() == [2, 1, 0, 0, 1]
    assert by_time["prompt_tokens"].tolist() == [128, 64, 0, 0, 64]
    assert by_time["prefix_hits"].tolist() == [48, 48, 0, 0, 0]
    assert by_time["prefix_hit_share"].fillna(-1).tolist() == [48 / 128, 48 / 64, -1, -1, 0]
    whole = run.prefix_hits_over_time()
    assert len(whole) == 100 and whole["prefix_hits"].sum() == 96 and whole["requests"].sum() == 4
    for window_s in (0, -1, np.nan, 1e-9, "1"):
        with pytest.raises(simlib.InputError, match=r"^window_s"):
            run.prefix_hits_over_time(window_s)


def test_without_a_cache_nothing_is_said_of_it():
    run = run_of(table=grouped())
    assert run.prefix_hits.sum() == 0
    assert "prefix_hits" not in run.requests and "prefix_hit_share" not in run.summary()
    assert len(run_of(table=frame(1), gpus=1, prefix_cache=True).prefix_hits_over_time()) == 1
    assert len(RUNS["all rejected"]().prefix_hits_over_time()) == 0
