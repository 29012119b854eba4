"""Streams: the same numbers for the same key, wherever and whenever it is asked for."""

import itertools
import os
import subprocess
import sys

import pytest

from simlib.checks import InputError
from simlib.requests.streams import PURPOSES, stream

# First draws of ("chat", 0, purpose), in the order of PURPOSES.
RECORDED = [0.6828714812603425, 0.3498836139728839, 0.9725790974083444, 0.8786873466295826]


def test_a_key_gives_the_same_numbers_for_ever():
    # Recorded when the streams were chosen: a change here changes every result of the project.
    assert [stream("chat", 0, purpose).random() for purpose in PURPOSES] == RECORDED


def test_another_process_with_another_hash_seed_draws_the_same():
    code = "from simlib.requests.streams import stream; print(repr(float(stream('chat', 7, 'service').random())))"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert float(out.stdout) == stream("chat", 7, "service").random()


def test_each_part_of_the_key_makes_another_stream():
    families = ["a", "b", "1/a", "arrivals/0/a", "ä", "\ud800"]
    keys = list(itertools.product(families, [0, 1, 11, 2**32 - 1], PURPOSES))
    draws = {stream(*key).random() for key in keys}
    assert len(keys) == 96
    assert len(draws) == 96


def test_a_stream_starts_anew_at_each_call():
    first = stream("chat", 0, "lengths")
    first.random(1000)
    first.spawn(3)
    again, fresh = stream("chat", 0, "lengths"), stream("chat", 0, "lengths")
    assert (again.random(5) == fresh.random(5)).all()
    assert again.spawn(1)[0].random() == fresh.spawn(1)[0].random()


@pytest.mark.parametrize(
    ("key", "named"),
    [
        (("", 0, "arrivals"), "family"),
        ((None, 0, "arrivals"), "family"),
        ((3, 0, "arrivals"), "family"),
        ((b"chat", 0, "arrivals"), "family"),
        (("chat", -1, "arrivals"), "replication: -1"),
        (("chat", 2**32, "arrivals"), "replication: 4294967296"),
        (("chat", 0.5, "arrivals"), "replication: 0.5"),
        (("chat", True, "arrivals"), "replication: True"),
        (("chat", None, "arrivals"), "replication: None"),
        (("chat", 0, "arrival"), "purpose: 'arrival'.*did you mean 'arrivals'"),
        (("chat", 0, ""), "purpose"),
        (("chat", 0, None), "purpose"),
    ],
)
def test_a_bad_key_is_refused_by_name_and_value(key, named):
    with pytest.raises(InputError, match=named):
        stream(*key)
