"""Engines that make their steps together, by hand and against the engine alone."""

import numpy as np
import pytest

import simlib
from simlib.calibration.logs.lockstep import together
from simlib.calibration.logs.served import serve_log, steps_by_engine, steps_of
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.latency.parallel import Parallel

TWO = Parallel(engines=2, expert=True)


def engine(**change):
    return Continuous(**{"max_seqs": 8, "kv_tokens": 1600, "token_budget": 64, "routing": "least_requests"} | change)


@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("blocks", [4000, 320, 140], ids=["room", "preemptions", "many"])
def test_one_engine_alone_is_the_engine_that_it_was(in_flight, blocks):
    table = simlib.workload.original(60, seed=3).at_rate(30.0)
    settings = engine(kv_tokens=16 * blocks, steps_in_flight=in_flight, reuse=True, token_budget=512)
    law = simlib.StepLaw(0.01, 1e-4, 5e-5, 1e-7)
    alone = serve(table, law, settings, backend="interpreted")
    mine = together(table, law, settings, 1, 100_000)
    assert mine.first_token_s == pytest.approx(alone.first_token_s, rel=1e-12)
    assert mine.completion_s == pytest.approx(alone.completion_s, rel=1e-12)


def test_who_comes_to_a_resting_engine_waits_for_the_others_step():
    table = simlib.RequestTable([0.0, 0.5], [4, 4], [2, 2])
    served = together(table, simlib.StepLaw(1.0), engine(), 2, 100)
    assert served.gpu.tolist() == [0, 1]
    assert served.first_token_s.tolist() == [1.0, 2.0] and served.completion_s.tolist() == [2.0, 3.0]
    apart = serve(table, simlib.StepLaw(1.0), engine(), 2)
    assert apart.first_token_s.tolist() == [1.0, 1.5]


def test_a_step_is_as_long_as_what_all_engines_do_in_it():
    class Law:
        law, params, linear, spread = staticmethod(lambda shape, params: 0.0), np.zeros(1), False, False

        @staticmethod
        def together_s(shapes):
            return 1.0 + sum(shape[3] for shape in shapes)  # prompt tokens of all

    table = simlib.RequestTable([0.0, 0.0, 0.0], [4, 8, 2], [1, 1, 3])
    served = together(table, Law(), engine(), 2, 100)
    assert served.gpu.tolist() == [0, 1, 0]
    assert served.first_token_s.tolist() == [15.0, 15.0, 15.0] and served.completion_s.tolist() == [15.0, 15.0, 17.0]


def test_all_are_served_and_steps_begin_together():
    table = simlib.workload.original(80, seed=5).at_rate(20.0)
    log = type("Log", (), {"table": table})
    settings = engine(kv_tokens=400 * 16, steps_in_flight=2, reuse=True, token_budget=512)
    served = serve_log(log, simlib.StepLaw(0.01, 1e-4, 5e-5), settings, TWO)
    assert np.isfinite(served.completion_s).all() and set(served.gpu) == {0, 1}
    merged = steps_by_engine(served, TWO)[0]
    starts = [set(steps_of(served, one)["start_s"]) for one in (0, 1)]
    assert starts[0] | starts[1] == set(merged["start_s"]) and starts[0] & starts[1]
    # Nobody begins before the step before is over.
    assert (merged["start_s"][1:] >= (merged["start_s"] + merged["time_s"])[:-1] * (1 - 1e-12)).all()
    assert merged["prefill_tokens"].sum() >= table.prompt_tokens.sum()


def test_engines_that_share_no_experts_step_on_their_own():
    table = simlib.RequestTable([0.0, 0.5], [4, 4], [2, 2])
    log = type("Log", (), {"table": table})
    served = serve_log(log, simlib.StepLaw(1.0), engine(), Parallel(engines=2))
    assert served.first_token_s.tolist() == [1.0, 1.5]
