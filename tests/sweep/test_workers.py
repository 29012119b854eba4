"""Where tasks run: every job has one outcome, whatever dies; jobs are drawn as they are needed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from simlib.checks import InputError
from simlib.sweep import workers
from simlib.sweep.workers import Job


def drawn(count, seen):
    for number in range(count):
        seen.append(number)
        yield Job(number, (number, 2))


@pytest.mark.parametrize("way", [workers.one_by_one, lambda work, jobs: workers.in_processes(work, jobs, 2)])
def test_every_job_has_its_result_and_is_drawn_when_it_is_needed(way):
    seen = []
    for outcome in way(pow, drawn(20, seen)):
        assert outcome == (outcome.number, outcome.number**2, "")
        seen.remove(outcome.number)
        assert len(seen) <= 2 * workers.UNDER_WAY + 1
    assert seen == []


def test_a_job_that_kills_its_process_has_no_result_and_the_others_do():
    def work(number):
        if number in (3, 4):
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    outcomes = sorted(workers.in_processes(work, (Job(n, (n,)) for n in range(8)), 2))
    assert [outcome.number for outcome in outcomes] == list(range(8))
    assert [outcome.number for outcome in outcomes if outcome.died] == [3, 4]
    assert all(outcome.result == outcome.number for outcome in outcomes if not outcome.died)


def test_an_error_of_the_work_itself_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(workers.in_processes(divmod, [Job(0, (1, 0))], 2))


@pytest.mark.parametrize("address", ["nonsense", "tcp://", "tcp://127.0.0.1:port", 7, "tcp://127.0.0.1:9"])
def test_an_address_that_does_not_answer_is_a_sentence(address):
    pytest.importorskip("distributed")
    refused = pytest.raises(InputError, match=r"scheduler: .* does not answer within 0\.3 s")
    with refused, workers.connected(address, 0.3):
        pass


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_is_no_scheduler_is_told_within_the_time_limit(answer):
    pytest.importorskip("distributed")

    def serve(listener):
        with contextlib.suppress(OSError):  # closed in the end
            while True:
                connections.append(listener.accept()[0])
                if answer:
                    connections[-1].sendall(answer)

    connections, started_s = [], time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=[listener], daemon=True).start()
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(InputError, match=r"does not answer within 0\.5 s"), workers.connected(address, 0.5):
            pass
    assert time.monotonic() - started_s < 10.0
    assert connections
    for connection in connections:
        connection.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's own account of memory")
@pytest.mark.parametrize(("asked", "kept"), [("", False), ("workers.keep_memory()", True)])
def test_memory_goes_back_unless_a_study_asks_for_it(asked, kept):
    code = f"""
import os
import numpy as np
import simlib
from simlib.sweep import workers

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

simlib.simulate(simlib.workload.original(1000), "static_fifo", gpus=2)
{asked}
before = resident()
large = [np.ones(2**22) for _ in range(4)]
del large
print(resident() - before > 2**26)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout
    assert said == f"{kept}\n"
