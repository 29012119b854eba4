"""Compiled twins of plain functions: equal to the last bit, and never older than what they were made from."""

import itertools
import math
import os
import signal
import subprocess
import sys
import time

import numba
import numpy as np
import pytest

import simlib
from simlib.engine import batches
from simlib.engine.compiled import bound, compiled, is_compilable
from simlib.latency import models, phases
from simlib.policies.full_batches import decide_fixed
from simlib.policies.orders import oldest_head

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


# Machine code on disk, and who may write it.

LAWS = """
import sys
import numpy as np
from simlib.engine import batches as engine
from simlib.engine.compiled import compiled
from simlib.latency import models as latency, phases

laws = latency.affine_law, phases.padded_law, phases.packed_law, phases.power_law
batch, params = np.arange(1.0, 1.0 + len(engine.BATCH_COLUMNS)), np.linspace(0.1, 0.9, 8)

def is_right(law):
    return compiled(law, engine.signatures().law)(batch, params) == law(batch, params)
"""


def child(code, folder, *arguments):
    """What a process that keeps its compiled kernels in a folder says; it must end well."""
    surroundings = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, ended.stderr


def test_no_two_bound_kernels_share_a_name():
    policies = simlib.StaticFIFO(), simlib.DynamicNoBins()
    plans = [policy.plan(simlib.workload.original(10), 1) for policy in policies]
    laws = models.affine_law, phases.padded_law
    kernels = [
        *(bound(batches.loop_of, decide=p.decide, learn=p.learn, law=law) for p, law in itertools.product(plans, laws)),
        bound(batches.loop_of, decide=models.affine_law, learn=phases.padded_law),
        bound(batches.loop_of, decide=phases.padded_law, learn=models.affine_law),
    ]
    assert len({kernel.__qualname__ for kernel in kernels}) == len(kernels)


def test_where_nothing_can_be_written_each_law_serves_as_itself_and_it_is_said_once(tmp_path):
    code = """
import simlib
table = simlib.workload.original(400, seed=1)
for law in ("original-synthetic", "h100-vllm-llama3-8b"):
    ways = [simlib.simulate(table, "static_fifo", law, gpus=2, backend=b) for b in ("compiled", "interpreted")]
    assert len({run.times.completion_s.tobytes() for run in ways}) == 1, law
"""
    (tmp_path / "file").write_text("")
    assert child(code, tmp_path / "file" / "folder")[1].count("are not kept") == 1


def test_a_full_disk_costs_the_machine_code_and_no_result(tmp_path):
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n" + LAWS
    said = child(code + "assert all(map(is_right, laws))", tmp_path)[1]
    assert said.count("are not kept") == 1
    assert list(tmp_path.iterdir()) == []


def test_machine_code_on_disk_is_used(tmp_path):
    written = []
    for _ in range(2):
        child(LAWS + "assert all(map(is_right, laws))", tmp_path)
        written.append({(file.name, file.stat().st_ino, file.stat().st_mtime_ns) for file in tmp_path.iterdir()})
    assert written[0] == written[1] and len(written[0]) == 4


def test_machine_code_that_is_cut_damaged_or_anothers_is_compiled_again(tmp_path):
    code = LAWS + "assert all(map(is_right, laws))"
    child(code, tmp_path)
    cut, damaged, others, unreadable = files = sorted(tmp_path.iterdir())
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    foreign = unreadable.read_bytes()
    others.write_bytes(foreign)
    unreadable.unlink()
    unreadable.mkdir()
    child(code, tmp_path)
    assert others.read_bytes() != foreign
    assert sorted(tmp_path.iterdir()) == files


THREADS = """
import sys
import threading

found, went_wrong = {}, []

def in_threads(count, cases, answer):
    together = threading.Barrier(count)

    def work(number):
        try:
            together.wait()
            for place in range(len(cases)):
                case = cases[(number + place) % len(cases)]
                found.setdefault(case, set()).add(answer(case))
        except BaseException as problem:
            went_wrong.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not went_wrong, went_wrong

count = int(sys.argv[1])
"""

SMALL = """
import importlib.util

spec = importlib.util.spec_from_file_location("simlib.small", sys.argv[2])
small = sys.modules["simlib.small"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(small)

def answer(times):
    from simlib.engine.compiled import bound, called, is_compilable
    from simlib.engine.batches import signatures

    kernel, kind = bound(small.outer, inner=getattr(small, f"times_{times}")), signatures().law
    assert is_compilable(kernel, kind)[0]
    return called(kernel, kind)(small.batch, small.batch)

in_threads(count, [2, 3, 5, 7], answer)
assert found == {times: {times + 1.0} for times in found}, found
"""

KERNELS = """
import numpy as np

batch, inner = np.ones(1), None

def outer(batch, params):
    return inner(batch[0]) + 1.0
""" + "".join(f"def times_{times}(x):\n    return {times}.0 * x\n" for times in (2, 3, 5, 7))

ALL_POLICIES = """
import itertools
import simlib

table = simlib.predictors.predict(simlib.workload.original(300, seed=1), simlib.predictors.Oracle(), family="threads")
policies = "static_fifo", "dynamic_no_bins", "multi_bin_dynamic", "multi_bin_fixed"
laws = "original-synthetic", "h100-vllm-llama3-8b"

def completions(case, backend="compiled"):
    policy, law = case
    return simlib.simulate(table, policy, law, gpus=2, backend=backend).times.completion_s.tobytes()

cases = list(itertools.product(policies, laws))
in_threads(count, cases, completions)
assert found == {case: {completions(case, "interpreted")} for case in cases}
"""


@pytest.mark.parametrize("turn", range(9))
def test_threads_may_be_the_first_to_compile(turn, tmp_path):
    (tmp_path / "small.py").write_text(KERNELS)
    for count in ("8", "1"):
        child(THREADS + SMALL, tmp_path / "cache", count, tmp_path / "small.py")


def test_policies_and_laws_compiled_by_eight_threads_serve_right_and_so_does_what_they_leave_on_disk(tmp_path):
    for count in ("8", "1"):
        child(THREADS + ALL_POLICIES, tmp_path, count)


@pytest.mark.parametrize(
    ("latency_name", "execution"), [("original-synthetic", "run_to_completion"), ("0.01,1e-5,1e-4,1e-8", "continuous")]
)
def test_a_compiled_run_hears_ctrl_c(latency_name, execution):
    code = f"""
import signal
import simlib
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a shell's background has it ignored
many = simlib.workload.original(1_000_000, seed=1)
for table, gpus in ((many.head(100), 2), (many, 4096)):
    print("serving", gpus, flush=True)
    simlib.simulate(table, "static_fifo", {latency_name!r}, gpus, {execution!r}, backend="compiled")
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"serving 2\n"
            assert process.stdout.readline() == b"serving 4096\n"
            time.sleep(2.0)  # for the run alone takes a minute
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            process.wait(10.0)  # a second where nothing else runs
        finally:
            process.kill()
        assert process.stderr.read().endswith(b"KeyboardInterrupt\n")


@pytest.mark.parametrize("backend", ["compiled", "stepped"])
def test_ctrl_c_is_heard_while_a_kernel_starts_where_numba_swallows_what_is_raised(backend, monkeypatch):
    from numba.core import serialize

    table, law = simlib.workload.original(50, seed=1), "0.01,1e-5,1e-4,1e-8"
    arguments = (table, "static_fifo", law, 2, "continuous")
    simlib.simulate(*arguments, backend=backend)
    pressed = []

    class Pressing(dict):
        def __getitem__(self, key):
            if not pressed:
                pressed.append(key)
                signal.raise_signal(signal.SIGINT)
            return super().__getitem__(key)

    monkeypatch.setattr(serialize, "_unpickled_memo", Pressing(serialize._unpickled_memo))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of the tests has it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            simlib.simulate(*arguments, backend=backend)
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed


def first_or_oldest(now_s, gpu, waiting, params, memory, note):
    queue, size = decide_fixed(now_s, gpu, waiting, params, memory, note)  # which calls `oldest_head` itself
    return (queue, size) if size > 0 else oldest_head(now_s, gpu, waiting, params, memory, note)


def test_a_users_function_may_call_a_kernel_that_another_of_its_kernels_calls():
    assert is_compilable(first_or_oldest, batches.signatures().decide) == (True, "")
    requests = simlib.workload.original(200, seed=3)
    own = simlib.Custom("own", first_or_oldest, k_bins=4, params=[8.0] * 4)
    twin, plain = (simlib.simulate(requests, own, gpus=2, backend=way) for way in ("compiled", "interpreted"))
    assert np.array_equal(twin.times.completion_s, plain.times.completion_s)
