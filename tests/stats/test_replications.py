"""Replications: seeds, order, threads, failures named."""

import math
import sys
import threading
import warnings

import numpy as np
import pandas as pd
import pytest

from simlib.checks import InputError
from simlib.stats.replications import replicate


def noisy(seed):
    return {"latency_s": np.random.default_rng(seed).exponential(), "seed": seed}


def test_replicate_gives_one_row_a_replication_with_consecutive_seeds():
    frame = replicate(noisy, 4, seed=42)
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.name == "replication"
    assert frame.index.tolist() == [0, 1, 2, 3]
    assert frame["seed"].tolist() == [42.0, 43.0, 44.0, 45.0]
    assert frame["latency_s"].tolist() == [np.random.default_rng(s).exponential() for s in range(42, 46)]


@pytest.mark.parametrize("workers", [2, 5])
def test_results_do_not_depend_on_the_workers(workers):
    pd.testing.assert_frame_equal(
        replicate(noisy, 30, seed=7, workers=workers),
        replicate(noisy, 30, seed=7),
        check_exact=True,
    )


def test_workers_run_at_the_same_time():
    together = threading.Barrier(2, timeout=30)

    def meet(seed):
        if seed:  # replication 0 runs alone
            together.wait()
        return {"met": 1}

    assert len(replicate(meet, 5, seed=0, workers=2)) == 5


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("first_bad", [0, 4])
def test_the_first_failing_replication_is_named_with_its_seed_and_cause(workers, first_bad):
    def fails(seed):
        if seed >= 100 + first_bad:
            raise ZeroDivisionError("no requests")
        return {"x": 1.0}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            RuntimeError, match=rf"replication {first_bad} \(seed {100 + first_bad}\): .*no requests"
        ) as caught:
            replicate(fails, 20, seed=100, workers=workers)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_bad_input_found_by_the_function_stays_bad_input():
    def refuses(seed):
        raise InputError("gpus: 0 (expected an integer >= 1)")

    with pytest.raises(InputError, match=r"replication 0 \(seed 3\): .*gpus: 0"):
        replicate(refuses, 2, seed=3)


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        (None, "None"),
        ({}, "{}"),
        (3.0, "3.0"),
        ({"x": math.nan}, "x: nan"),
        ({"x": math.inf}, "x: inf"),
        ({"x": "fast"}, "x: 'fast'"),
        ({"x": True}, "x: True"),
        ({"y": 1.0}, "returned y .expected x"),
    ],
)
def test_a_replication_that_returns_something_else_is_named(returned, named):
    with pytest.raises(InputError, match=rf"replication 1 \(seed 6\).*{named}"):
        replicate(lambda seed: {"x": 1.0} if seed == 5 else returned, 3, seed=5)


def test_the_progress_bar_goes_to_standard_error_and_only_where_wanted(capsys, monkeypatch):
    replicate(noisy, 3, seed=0)  # standard error is no terminal here
    replicate(noisy, 3, seed=0, progress=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    replicate(noisy, 3, seed=0)  # a terminal, but too short a work for a bar
    assert capsys.readouterr() == ("", "")
    replicate(noisy, 3, seed=0, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "replications" in err
    assert "/3" in err


GOOD = {"function": noisy, "replications": 2, "seed": 42, "workers": 1, "progress": None}
NO_NUMBER = [math.nan, math.inf, "1", None, [1.0], 10**400]
BAD = {
    "function": [None, 3.0, "noisy"],
    "replications": [*NO_NUMBER, True, 0, -1, 1.5],
    "seed": [*NO_NUMBER, True, -1, 1.5, 2**32],
    "workers": [*NO_NUMBER, True, 0, -1, 1.5, 10**6],
    "progress": [1, "yes", math.nan],
}


@pytest.mark.parametrize(("argument", "value"), [(argument, value) for argument in GOOD for value in BAD[argument]])
def test_a_bad_argument_is_named(argument, value):
    with pytest.raises(InputError, match=rf"^{argument}\b"):
        replicate(**{**GOOD, argument: value})
