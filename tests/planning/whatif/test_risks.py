"""Risks by hand: what is promised with a reserve has to hold with it when something is worse."""

from __future__ import annotations

import pytest

from simlib import StepLaw
from simlib.planning import demand, fleet
from simlib.planning.planner import Planner
from simlib.planning.whatif.risks import risks
from simlib.requests.lengths import Fixed


@pytest.mark.parametrize(
    ("rate_rps", "reserve", "met"),
    [
        (8.0, 0.0, True),  # 9.6 a second of the ten that are served
        (7.0, 0.3, False),  # 8.4, and with the reserve 10.9
        (6.0, 0.3, True),  # 9.4 with the reserve
    ],
)
def test_a_fifth_more_load_comes_on_top_of_the_reserve(rate_rps, reserve, met):
    asked = demand.described(rate_rps, Fixed(10), Fixed(1), gap_cv=0.05, requests=600)
    ours = Planner(asked, [fleet.engine(StepLaw(0.1), kv_tokens=1000)], "ttft_p99<=1", max_seqs=(1,), reserve=reserve,
                   token_budgets=(512,), k_bins=(1,))  # fmt: skip
    (risk,) = risks(ours, ours.configurations(1)[0])
    assert risk.what == "load +20%" and (risk.strain <= 1) is met and risk.missed_share == (not met)
