"""A plan's own JSON is enough to check it by: what a planner writes is read as a promise, and holds what it saw."""

import json

import numpy as np
import pytest
from promised import LAW, window

from simlib import RequestTable
from simlib.cli.outputs import plain
from simlib.planning import demand, fleet, report
from simlib.planning.deployed import promise, told
from simlib.planning.deployed.promise import rate_rps
from simlib.planning.planner import Planner
from simlib.requests.lengths import LogNormal

ONE = {"max_gpus": 1, "max_seqs": (32,), "token_budgets": (512,), "k_bins": (1,)}
WINDOWS, LONG_S = 8, 100.0


def written(asked, **more):
    """A plan's JSON, read again."""
    planner = Planner(asked, [fleet.engine(LAW, kv_tokens=60_000)], "ttft_p99<=5s,tpot_p99<=0.05", **ONE | more)
    plan = planner.plan()
    return plan, promise.of(json.loads(json.dumps(plain(report.document(plan)))), "plan.json")


def record():
    """Windows one after the other, of three requests a second."""
    each = [window(seed, rate_rps=3.0) for seed in range(WINDOWS)]
    arrival_s = np.concatenate([number * LONG_S + one.arrival_s * LONG_S / 1.001 / one.arrival_s[-1]
                                for number, one in enumerate(each)])  # fmt: skip
    columns = (np.concatenate([getattr(one, name) for one in each]) for name in ("prompt_tokens", "output_tokens"))
    return RequestTable(arrival_s, *columns)


def test_of_a_record_each_number_is_forecast_and_a_middle_window_kept():
    table = record()
    plan, found = written(demand.of_table(table, "mine", LONG_S))
    assert (found.window_s, found.confidence) == (LONG_S, 0.95)
    assert (found.setup.max_seqs, found.setup.token_budget, found.setup.kv_tokens) == (32, 512, 60_000)
    assert found.setup.law == LAW
    for name, value in (("rate_rps", 3.0), ("prompt_tokens", table.prompt_tokens.mean()),
                        ("output_tokens", table.output_tokens.mean())):  # fmt: skip
        one = found.assumed[name]
        assert one.low < value < one.high and 0.5 < one.low / one.mean < one.high / one.mean < 2.0
    assert found.assumed["pace"] == promise.Assumed(1.0)  # a typed law says nothing of its errors
    assert 200 < len(found.typical) < 400 and rate_rps(found.typical) == pytest.approx(3.0, rel=0.1)
    assert [one.range_s.high for one in found.promised] == [plan.values_s[one.name].high for one in found.objectives]


def test_of_a_description_only_the_rate_has_a_range_up_to_the_reserve():
    asked = demand.described(3.0, LogNormal(400, 0.5, 1, 2000), LogNormal(120, 0.5, 1, 1000), requests=400)
    _, found = written(asked, reserve=0.5)
    assert found.confidence is None
    rate = found.assumed["rate_rps"]
    assert rate.low == 0.0 and rate.high == pytest.approx(1.5 * rate.mean)
    assert found.assumed["output_tokens"].low is None
    assert len(found.typical) == 400


def test_of_clients_no_requests_are_kept():
    asked = demand.described(1.0, LogNormal(400, 0.5, 1, 2000), LogNormal(120, 0.5, 1, 1000), requests=400)
    _, found = written(demand.of_clients(asked, 8, think=1.0))
    assert found.typical is None and told.unsimulated(found).endswith("on the engine; causes stand by their ranges")
    rate = found.assumed["rate_rps"]  # eight clients: 1 s to think, 136 steps of 10 to 12.4 ms, prompts beside them
    assert rate.low == 0.0 and 8 / (1.2 + 136 * 0.0124) < rate.mean < 8 / (1.0 + 136 * 0.0103)
    assert 1.15 * rate.mean < rate.high < 1.3 * rate.mean
