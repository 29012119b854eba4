"""Compiled twins of plain functions: equal to the last bit, and never older than what they were made from."""

import math
import subprocess
import sys

import numba
import numpy as np
import pytest

import simlib
from simlib.engine.compiled import compiled, is_compilable

FLOAT = numba.types.float64
SCALE = 3.0


def halve(x):
    return x / 2.0


def scaled_halves(values):
    total = 0.0
    for value in values:
        total += SCALE * halve(value) + math.sqrt(value)
    return total


def looks_up(x):
    return {"a": x}["a"] if isinstance(x, dict) else open(str(x))


def counts_down(n):
    return 0 if n <= 0 else counts_down(n - 1)


def test_a_twin_and_what_it_calls_agree_with_the_plain_function_to_the_last_bit():
    values = np.random.default_rng(1).exponential(size=1000)
    assert compiled(scaled_halves)(values) == scaled_halves(values)


def test_a_signature_compiles_at_once():
    twin = compiled(halve, FLOAT(FLOAT))
    assert twin.nopython_signatures == [FLOAT(FLOAT)]
    assert twin(3.0) == 1.5


def test_a_closure_keeps_its_values():
    def scaled_by(factor):
        def scale(x):
            return factor * halve(x)

        return scale

    double, triple = scaled_by(4.0), scaled_by(6.0)
    assert (compiled(double)(3.0), compiled(triple)(3.0)) == (6.0, 9.0)


def test_what_can_be_compiled_is_told_from_what_cannot_with_a_reason():
    assert is_compilable(halve, FLOAT(FLOAT)) == (True, "")
    possible, why = is_compilable(looks_up, FLOAT(FLOAT))
    assert not possible and why and "\n" not in why


def test_a_callable_that_is_no_plain_function_is_not_compiled():
    class Halving:
        def __call__(self, x):
            return x / 2

    assert not is_compilable(Halving(), FLOAT(FLOAT))[0]


def test_a_function_that_calls_itself_does_not_exhaust_the_stack():
    is_compilable(counts_down, numba.types.int64(numba.types.int64))  # either answer


def test_compiling_leaves_numbas_settings_alone():
    before = numba.config.CACHE_DIR
    compiled(halve)
    assert before == numba.config.CACHE_DIR


# In a notebook the globals of a policy change from cell to cell.

BATCH = 4


def helper():
    return 4


def takes_a_global(now_s, gpu, waiting, params, memory, note):
    return 0, BATCH


def takes_what_a_helper_says(now_s, gpu, waiting, params, memory, note):
    return 0, helper()


def longest_batch(decide) -> int:
    requests = simlib.RequestTable(np.zeros(20), np.ones(20), np.ones(20))
    run = simlib.simulate(requests, simlib.Custom("mine", decide))
    assert run.backend == "compiled"
    return int(run.served.size.max())


def test_a_policy_sees_its_global_as_it_is_when_it_runs(monkeypatch):
    assert longest_batch(takes_a_global) == 4
    monkeypatch.setitem(globals(), "BATCH", 8)
    assert longest_batch(takes_a_global) == 8


def test_a_policy_calls_its_helper_as_it_is_when_it_runs(monkeypatch):
    assert longest_batch(takes_what_a_helper_says) == 4
    monkeypatch.setitem(globals(), "helper", lambda: 8)
    assert longest_batch(takes_what_a_helper_says) == 8


SECONDS = 0.5


def takes_so_long(size, a, b, c, d, e):
    return SECONDS


def test_a_latency_function_sees_its_global_as_it_is_when_it_runs(monkeypatch):
    requests = simlib.RequestTable([0.0], [1], [1])
    assert simlib.simulate(requests, "static_fifo", takes_so_long).times.completion_s.tolist() == [0.5]
    monkeypatch.setitem(globals(), "SECONDS", 0.25)
    assert simlib.simulate(requests, "static_fifo", takes_so_long).times.completion_s.tolist() == [0.25]


def test_a_policy_sees_what_its_closure_holds_when_it_runs():
    size = 4

    def takes_a_cell(now_s, gpu, waiting, params, memory, note):
        return 0, size

    assert longest_batch(takes_a_cell) == 4
    size = 8
    assert longest_batch(takes_a_cell) == 8


def test_a_helper_of_a_policy_may_call_itself():
    def takes_one(now_s, gpu, waiting, params, memory, note):
        return 0, 1 + counts_down(3)

    requests = simlib.RequestTable([0.0], [1], [1])
    assert simlib.simulate(requests, simlib.Custom("mine", takes_one)).served.size.tolist() == [1]


def test_a_policy_that_cannot_be_compiled_is_refused_where_it_must_be():
    held = {"size": 1}

    def takes_from_a_dict(now_s, gpu, waiting, params, memory, note):
        return 0, held["size"]

    requests, policy = simlib.RequestTable([0.0], [1], [1]), simlib.Custom("mine", takes_from_a_dict)
    assert simlib.simulate(requests, policy).backend == "stepped"
    with pytest.raises(simlib.InputError, match=r"mine|compiled"):
        simlib.simulate(requests, policy, backend="compiled")


def test_a_fresh_process_answers_in_plain_python_first_and_compiles_when_it_pays():
    code = """
import sys, simlib
requests = simlib.workload.original(1000)
first = simlib.simulate(requests, "multi_bin_dynamic", gpus=2)
assert (first.backend, "numba" in sys.modules) == ("interpreted", False), first.backend
runs = [simlib.simulate(requests, "multi_bin_dynamic", gpus=2) for _ in range(20)]
assert runs[0].backend == "interpreted" and runs[-1].backend == "compiled"
assert len({run.times.completion_s.tobytes() for run in [first, *runs]}) == 1
assert simlib.simulate(requests.head(5), "static_fifo").backend == "compiled"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
