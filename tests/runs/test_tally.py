"""One pass over a run: what it counts is what the columns say, interpreted as compiled."""

import numpy as np
import pytest

import simlib
from simlib.runs import metrics, tally
from simlib.runs.sla import METRICS, SLA

SLAS = (0.3, "ttft<=0.2,tpot<=0.002", "latency<=0.4,tpot<=0.002")


def run_of(policy: str = "multi_bin_dynamic", requests: int = 700) -> simlib.Run:
    """A busy run in which some requests have fewer than two tokens, and some are too large for the memory."""
    rng = np.random.default_rng(8)
    tokens = rng.integers(0, 5, requests) * rng.integers(0, 200, requests)
    tokens[::97] = 3_000_000
    arrival_s = np.floor(np.cumsum(rng.exponential(1 / 60, requests)) * 20) / 20  # ties
    table = simlib.RequestTable(arrival_s, rng.integers(1, 300, requests), tokens, tokens)
    return simlib.simulate(table, policy, gpus=2, oversize="reject")


def tallied(run, sla, monkeypatch, compiled):
    monkeypatch.setattr(tally, "is_worthwhile", lambda rows: compiled)
    limits_s = SLA.of(sla).limits_s
    most_s = np.array([limits_s.get(metric, np.inf) for metric in METRICS])
    return tally.tally(run.table.arrival_s, run.table.output_tokens, *run.rows, most_s)


@pytest.mark.parametrize("sla", SLAS)
def test_the_tally_is_that_of_the_columns(sla, monkeypatch):
    run = run_of()
    found = tallied(run, sla, monkeypatch, compiled=False)
    times, done = metrics.request_times(run), ~np.isnan(run.times.completion_s)
    assert 0 < run.rejected < len(run.table) and found.sums[tally.COMPLETED] == done.sum()
    assert found.sums[tally.MISSED] == metrics.violations(run, sla).sum() > run.rejected
    assert found.sums[tally.TOKENS] == run.table.output_tokens[done].sum()
    assert found.sums[tally.LAST] == run.times.completion_s[done].max()
    for place, metric in ((tally.LATENCY, "latency"), (tally.QUEUEING, "queueing"), (tally.SERVICE, "service")):
        assert found.sums[place] == pytest.approx(times[metric][done].sum(), rel=1e-12)
    per_token = ~np.isnan(times["tpot"])
    assert 0 < per_token.sum() < done.sum()
    assert np.array_equal(found.completion_s, run.times.completion_s[done])
    assert np.array_equal(found.latency_s, times["latency"][done])
    failed, late = run.table.output_tokens == 0, metrics.violations(run, sla)
    assert 0 < (failed & done).sum() < found.sums[tally.FAILED] + found.sums[tally.ANSWERED] == done.sum()
    assert found.sums[tally.FAILED] == failed.sum() and found.sums[tally.GOOD] == (done & ~failed & ~late).sum() > 0
    assert np.array_equal(found.ttft_s, times["ttft"][done & ~failed])
    assert np.array_equal(found.tpot_s, times["tpot"][per_token])
    assert np.array_equal(found.gaps, run.table.output_tokens[per_token] - 1)


@pytest.mark.parametrize("sla", SLAS)
def test_it_is_the_same_to_the_last_bit_compiled(sla, monkeypatch):
    run = run_of()
    plain, fast = (tallied(run, sla, monkeypatch, compiled) for compiled in (False, True))
    assert all(np.array_equal(one, other) for one, other in zip(plain, fast, strict=True))


@pytest.mark.parametrize("stride", [1, 3])
def test_windows_are_the_same_to_the_last_bit_compiled_whatever_their_memory(stride, monkeypatch):
    rng = np.random.default_rng(9)
    arrival_s = np.cumsum(rng.exponential(1.0, 1003 * stride))[::stride]
    completion_s = arrival_s + rng.exponential(40.0, 1003)
    arrival_s.flags.writeable = False
    found = []
    for compiled in (False, True):
        monkeypatch.setattr(tally, "is_worthwhile", lambda rows, compiled=compiled: compiled)
        found.append(tally.windows(arrival_s, completion_s, 20))
    assert found[0] == found[1]
    assert found[0][1] == pytest.approx((completion_s - arrival_s)[:1000].reshape(20, 50).mean(axis=1), rel=1e-12)
