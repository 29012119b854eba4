"""Where tasks run: every job has one outcome, whatever dies; jobs are drawn as they are needed."""

import os
import signal

import pytest

from simlib import backends
from simlib.backends import Job
from simlib.checks import InputError


def drawn(count, seen):
    for number in range(count):
        seen.append(number)
        yield Job(number, (number, 2))


@pytest.mark.parametrize("way", [backends.one_by_one, lambda work, jobs: backends.in_processes(work, jobs, 2)])
def test_every_job_has_its_result_and_is_drawn_when_it_is_needed(way):
    seen = []
    for outcome in way(pow, drawn(20, seen)):
        assert outcome == (outcome.number, outcome.number**2, "")
        seen.remove(outcome.number)
        assert len(seen) <= 2 * backends.UNDER_WAY + 1
    assert seen == []


def test_a_job_that_kills_its_process_has_no_result_and_the_others_do():
    def work(number):
        if number in (3, 4):
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    outcomes = sorted(backends.in_processes(work, (Job(n, (n,)) for n in range(8)), 2))
    assert [outcome.number for outcome in outcomes] == list(range(8))
    assert [outcome.number for outcome in outcomes if outcome.died] == [3, 4]
    assert all(outcome.result == outcome.number for outcome in outcomes if not outcome.died)


def test_an_error_of_the_work_itself_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(backends.in_processes(divmod, [Job(0, (1, 0))], 2))


@pytest.mark.parametrize("address", ["nonsense", "tcp://", "tcp://127.0.0.1:port", 7, "tcp://127.0.0.1:9"])
def test_an_address_that_does_not_answer_is_a_sentence(address):
    pytest.importorskip("distributed")
    refused = pytest.raises(InputError, match=r"scheduler: .* does not answer within 0\.3 s")
    with refused, backends.connected(address, 0.3):
        pass
