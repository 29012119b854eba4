"""Where the tasks of a sweep run: in this process, in processes of this machine, on a Dask cluster.

Each way takes numbered jobs, draws them as they can be started, and yields their results as they come, in any order.
A function that fails raises here; a *process* that dies takes nobody's result with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from simlib.checks import InputError

UNDER_WAY = 2  # jobs a worker: one that runs, one to follow at once


class Job(NamedTuple):
    """What a task's function is called with."""

    number: int
    arguments: tuple


class Outcome(NamedTuple):
    """What became of a job: its result, or why there is none."""

    number: int
    result: Any
    died: str = ""


def keep_memory() -> None:
    """Let this process keep the memory that it frees, for good: for one that runs a study, never for a user's own.

    A study asks for the columns of a run, and frees them, thousands of times. glibc gives what is freed back to the
    system, whose page faults then cost as much as the loop; it is told to keep what a run of ten million needs.
    """
    trim_threshold, mmap_max = -1, -4
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library has no such settings
        c = ctypes.CDLL(None)
        c.mallopt(trim_threshold, 2**31 - 1)
        c.mallopt(mmap_max, 0)  # a mapping of its own goes back as a whole


def one_by_one(work: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[Outcome]:
    """In this process, in order."""
    for job in jobs:
        yield Outcome(job.number, work(*job.arguments))


def in_processes(work: Callable[..., Any], jobs: Iterable[Job], workers: int) -> Iterator[Outcome]:
    """In processes of this machine.

    A process that dies (killed, out of memory) breaks the pool, and whatever was under way with it. Those jobs are run
    again one at a time; one that is alone with a process that dies is to blame, and has no result.
    """
    jobs = iter(jobs)
    while True:
        broken: list[Job] = []
        with _pool(workers) as pool:
            for job, future in _under_way(_submitting(pool, work), _while_none(broken, jobs), UNDER_WAY * workers):
                if isinstance(future.exception(), BrokenExecutor):
                    broken.append(job)
                else:
                    yield Outcome(job.number, future.result())
        if not broken:
            return
        yield from _alone(work, broken)


def _alone(work: Callable[..., Any], jobs: list[Job]) -> Iterator[Outcome]:
    """One at a time, each process serving until it dies."""
    left = iter(jobs)
    while True:
        with _pool(1) as pool:
            for job, future in _under_way(_submitting(pool, work), left, 1):
                if isinstance(future.exception(), BrokenExecutor):
                    yield Outcome(job.number, None, "the worker process died")
                    break
                yield Outcome(job.number, future.result())
            else:
                return


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[Any]:
    from loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(workers, initializer=_begin, initargs=(os.getpid(),))
    try:
        yield pool
    finally:
        pool.shutdown(kill_workers=True)


def _begin(parent: int) -> None:
    keep_memory()
    _end_with(parent)


def _end_with(parent: int) -> None:
    """Let a worker end with the process that started it, which may be killed before it can say so."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _submitting(pool: Any, work: Callable[..., Any]) -> Callable[[Job], Future]:
    def submit(job: Job) -> Future:
        try:
            return pool.submit(work, *job.arguments)
        except BrokenExecutor as problem:  # it broke before this job
            future: Future = Future()
            future.set_exception(problem)
            return future

    return submit


def _while_none(broken: list[Job], jobs: Iterator[Job]) -> Iterator[Job]:
    while not broken and (job := next(jobs, None)) is not None:
        yield job


def _under_way(
    submit: Callable[[Job], Future],
    jobs: Iterable[Job],
    most: int,
    check_s: float | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Job, Future]]:
    """Keep so many jobs under way, and yield each with its future when it has ended; `check` while none does."""
    running: dict[Future, Job] = {}
    jobs = iter(jobs)
    while True:
        while len(running) < most and (job := next(jobs, None)) is not None:
            running[submit(job)] = job
        if not running:
            return
        ended = wait(running, check_s, FIRST_COMPLETED).done
        if not ended:
            check()
        for future in ended:
            yield running.pop(future), future


@contextlib.contextmanager
def connected(scheduler: Any, timeout_s: float) -> Iterator[Any]:
    """A client of a Dask scheduler that has a worker; a client that was given is not closed.

    Raises
    ------
    InputError
        If there is no `distributed`, the address does not answer, or no worker comes within the time limit.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError(f"scheduler: {scheduler!r} (expected dask and distributed to be installed)") from None
    if isinstance(scheduler, Client):
        yield scheduler
        return
    try:
        # A client waits for ever for what takes the connection and says nothing. A thread, as notebooks have a loop.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, _greeted(scheduler, timeout_s)).result()
        client = Client(scheduler, timeout=timeout_s, set_as_default=False)
    except Exception as problem:  # anything may sit at an address
        raise InputError(
            f"scheduler: {scheduler!r} does not answer within {timeout_s:g} s ({type(problem).__name__}; expected the "
            "address of a Dask scheduler, as tcp://host:port)"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=timeout_s)
        except TimeoutError:
            raise InputError(f"scheduler: {scheduler!r} has no worker within {timeout_s:g} s") from None
        yield client


async def _greeted(address: str, timeout_s: float) -> None:
    """Exchange greetings with a Dask scheduler."""
    from distributed.comm import connect

    comm = await asyncio.wait_for(connect(address, timeout=timeout_s), timeout_s)
    await comm.close()


def on_cluster(work: Callable[..., Any], jobs: Iterable[Job], client: Any, timeout_s: float) -> Iterator[Outcome]:
    """On the workers of a Dask cluster; the scheduler gives the job of a worker that dies to another one.

    Raises
    ------
    InputError
        If the scheduler is lost, has been without workers for the time limit, or its workers cannot run the function.
    """
    from distributed import KilledWorker

    def check() -> None:
        if client.status != "running":
            raise InputError(f"scheduler: {client.scheduler.address} is gone")
        if not client.nthreads():
            raise InputError(f"scheduler: {client.scheduler.address} has no worker left")

    executor = client.get_executor(pure=False)
    most = UNDER_WAY * max(16, sum(client.nthreads().values()))  # workers may still join
    try:
        submit = lambda job: executor.submit(work, *job.arguments)  # noqa: E731
        for job, future in _under_way(submit, jobs, most, timeout_s, check):
            try:
                yield Outcome(job.number, future.result())
            except KilledWorker:
                yield Outcome(job.number, None, "the worker process died, and so did those that tried after it")
            except CancelledError:
                raise InputError(f"scheduler: {client.scheduler.address} is gone") from None
            except ImportError as problem:
                raise InputError(f"scheduler: a worker cannot run the sweep ({problem})") from None
    finally:
        executor.shutdown(wait=False)
