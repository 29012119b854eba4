"""GPUs dedicated to classes of length: who goes where, and how the work is shared."""

import numpy as np
import pytest
from strategies import LAW, geometric_requests

import simlib
from simlib.continuous import serve
from simlib.continuous.classes import assign, gpu_s
from simlib.continuous.settings import Continuous


@pytest.mark.parametrize(("gpus", "classes", "owned"), [(4, 2, [2, 2]), (3, 2, [1, 2]), (4, None, [1, 1, 1, 1])])
def test_each_class_has_work_like_its_gpus(gpus, classes, owned):
    table = geometric_requests(1, 2000)
    engine = Continuous(max_seqs=16, kv_tokens=4000, routing="by_class", classes=classes)
    rules = serve.rules_of(engine, LAW, gpus)
    class_of = assign(table, LAW, rules, gpus)
    work = np.bincount(class_of, gpu_s(table, LAW, rules))
    np.testing.assert_allclose(work / work.sum(), np.array(owned) / gpus, atol=0.02)
    assert (np.diff(class_of[np.argsort(table.output_tokens)]) >= 0).all()  # short ones first
    run = simlib.simulate(table, "fcfs", LAW, gpus, engine)
    first = np.cumsum([0, *owned])[class_of]
    assert (run.served.gpu >= first).all() and (run.served.gpu < first + np.array(owned)[class_of]).all()


def test_a_class_is_a_system_of_its_own():
    table = geometric_requests(2, 2000)
    engine = Continuous(max_seqs=8, kv_tokens=2400, routing="by_class")
    policy = simlib.ShortestPredictedFirst(0.01, k_bins=400)
    run = simlib.simulate(table, policy, LAW, 2, engine)
    for gpu in range(2):
        own = np.flatnonzero(run.served.gpu == gpu)
        alone = simlib.simulate(table.rows(own), policy, LAW, 1, Continuous(max_seqs=8, kv_tokens=2400))
        np.testing.assert_allclose(run.times.completion_s[own], alone.times.completion_s, rtol=1e-12)


def test_one_length_is_one_class():
    table = simlib.RequestTable(np.arange(9.0), [5] * 9, [7] * 9, [7] * 9)
    run = simlib.simulate(table, "fcfs", LAW, 2, Continuous(routing="by_class"))
    assert len(set(run.served.gpu.tolist())) == 1


def test_bad_settings_are_named():
    with pytest.raises(simlib.InputError, match=r"classes: 2 .expected routing 'by_class'"):
        Continuous(classes=2)
    with pytest.raises(simlib.InputError, match="classes: 3"):
        simlib.simulate(geometric_requests(1, 9), "fcfs", LAW, 2, Continuous(routing="by_class", classes=3))
    bare = simlib.RequestTable([0.0], [1], [1])
    with pytest.raises(simlib.InputError, match="predicted_output_tokens: missing"):
        simlib.simulate(bare, "fcfs", LAW, 2, Continuous(routing="by_class"))
