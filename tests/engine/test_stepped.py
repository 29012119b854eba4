"""What is called back in plain Python, and what stays compiled between the steps."""

import numpy as np
import pytest

import simlib
from simlib.engine import stepped


def in_python(now_s, gpu, waiting, params, memory, note):
    return 0, {"size": 4}["size"]  # no dictionary of texts and numbers is compiled


def a_second(size, max_prompt_tokens, sum_prompt_tokens, max_output_tokens, sum_output_tokens, max_total_tokens):
    return 1.0


def counts(now_s, gpu, batch, params, memory):
    memory[0, 0] += 1.0


@pytest.mark.parametrize(
    ("latency", "learn", "called"),
    [
        ("original-synthetic", {}, {"ask"}),
        (a_second, {}, {"ask", "measure"}),
        ("original-synthetic", {"learn": counts}, {"ask", "tell"}),
    ],
    ids=["the package's law", "a law of the user's", "a user's learn"],
)
def test_only_what_is_the_users_is_called_back(latency, learn, called, monkeypatch):
    seen = set()
    for name in ("ask", "tell", "measure"):
        called_back = getattr(stepped, name)

        def noted(*given, name=name, called_back=called_back):
            seen.add(name)
            return called_back(*given)

        monkeypatch.setattr(stepped, name, noted)
    stepped.bridges.__wrapped__.cache_clear()  # they hold the functions that they were made with
    policy = simlib.Custom("mine", in_python, **learn)
    table = simlib.workload.original(200, seed=3)
    run = simlib.simulate(table, policy, latency, gpus=2, backend="stepped")
    stepped.bridges.__wrapped__.cache_clear()
    assert seen == called
    again = simlib.simulate(table, policy, latency, gpus=2, backend="interpreted")
    assert np.array_equal(run.times.completion_s, again.times.completion_s)
