"""What each GPU did when, as a file that a viewer opens: slices of time, and the requests that went through them.

Reads a run of either kind; Chrome's trace-event format is read by https://ui.perfetto.dev and ``chrome://tracing``.
There a row is a GPU, and an arrow a request: from its arrival, by the slice that gives its first token, to the one that
gives its last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from simlib import writing
from simlib.runs.metrics import Finished, check_run

# The viewer's two groups of rows, and their first row: one of a group's number is a main thread's, and comes first.
ARRIVALS, GPUS, FIRST = 1, 2, 3
SHOWN_NS = 1_000_000  # an arrival takes no time, but a slice that is to be seen does; at most, until the next one


def write(run: Finished, path: str | Path) -> Path:
    """Write a run as a trace in Chrome's trace-event format (JSON object form), aside, then renamed.

    Parameters
    ----------
    run : metrics.Finished
        One of continuous batching is served once more, for its steps.
    path : str or Path
        The file, new or to be replaced; ``.json`` by custom.

    Raises
    ------
    InputError
        If the folder does not exist, the path is a folder or cannot be written, or the run is none.

    Notes
    -----
    Times are microseconds since the first arrival, to the nanosecond. A request that was rejected, or whose client had
    gone, has an instant event in place of arrows. Slices carry what the run's `slices` says of them.
    """
    check_run(run)
    with writing.opened(path) as file:
        file.write(b'{"displayTimeUnit": "ms", "traceEvents": [\n')
        for number, event in enumerate(_events(run)):
            file.write(((",\n" if number else "") + json.dumps(event)).encode())
        file.write(b"\n]}\n")
    return Path(path)


def _events(run: Finished) -> Iterator[dict[str, Any]]:
    """The trace's events: names of rows, slices, and arrows behind the slices that they touch."""
    yield {"ph": "M", "name": "process_name", "pid": ARRIVALS, "tid": FIRST, "args": {"name": "requests"}}
    yield {"ph": "M", "name": "thread_name", "pid": ARRIVALS, "tid": FIRST, "args": {"name": "arrivals"}}
    yield {"ph": "M", "name": "process_name", "pid": GPUS, "tid": FIRST, "args": {"name": f"GPUs, {run.policy}"}}
    for gpu in range(run.gpus):
        yield {"ph": "M", "name": "thread_name", "pid": GPUS, "tid": FIRST + gpu, "args": {"name": f"GPU {gpu}"}}
    first_s = run.table.arrival_s[0]
    arrival_ns = _nanoseconds(run.table.arrival_s, first_s)
    yield from _arrivals(arrival_ns, run)
    done = run.slices()
    start_ns = _nanoseconds(done["start_s"], first_s)
    end_ns = _nanoseconds(done["start_s"] + done["time_s"], first_s)
    # Two instants that are one but for rounding may differ by a nanosecond.
    follows = np.flatnonzero(np.diff(done["gpu"]) == 0)
    end_ns[follows] = np.minimum(end_ns[follows], start_ns[follows + 1])
    columns = [name for name in done if name not in ("gpu", "start_s", "time_s", "name")]
    about = zip(*(done[name].tolist() for name in columns), strict=True)
    for gpu, name, start, end, values in zip(done["gpu"], done["name"], start_ns, end_ns, about, strict=True):
        place = {"ph": "X", "pid": GPUS, "tid": FIRST + int(gpu), "ts": start / 1e3, "dur": (end - start) / 1e3}
        yield {"name": name, "cat": "gpu", **place, "args": dict(zip(columns, values, strict=True))}
    yield from _arrows(arrival_ns, start_ns, done["gpu"].to_numpy(), run.passed(done))


def _arrivals(arrival_ns: np.ndarray, run: Finished) -> Iterator[dict[str, Any]]:
    """A slice for each instant at which requests arrive, and an instant event for each that was never served."""
    row = {"pid": ARRIVALS, "tid": FIRST}
    starts = np.flatnonzero(np.diff(arrival_ns, prepend=-1))
    ends = np.append(starts[1:], len(arrival_ns))
    next_ns = np.append(arrival_ns[starts[1:]], arrival_ns[-1] + SHOWN_NS)
    for first, last, until in zip(starts, ends, next_ns, strict=True):
        ts, count = int(arrival_ns[first]), int(last - first)
        name = f"request {first}" if count == 1 else f"requests {first} to {last - 1}"
        lengths = {
            f"{kind}_tokens": getattr(run.table, f"{kind}_tokens")[first:last].tolist() for kind in ("prompt", "output")
        }
        place = {"ph": "X", **row, "ts": ts / 1e3, "dur": min(int(until) - ts, SHOWN_NS) / 1e3}
        yield {"name": name, "cat": "request", **place, "args": lengths}
    for request in np.flatnonzero(np.isnan(run.times.completion_s)).tolist():
        name = f"request {request} is not served"
        yield {"name": name, "cat": "request", "ph": "i", "s": "t", **row, "ts": int(arrival_ns[request]) / 1e3}


def _arrows(
    arrival_ns: np.ndarray, start_ns: np.ndarray, gpus: np.ndarray, passed: tuple[np.ndarray, np.ndarray]
) -> Iterator[dict[str, Any]]:
    """Each request's flow: from its arrival, by the slice of its first token if that is not the last one's, to that."""
    for request, (first, last) in enumerate(zip(*passed, strict=True)):
        if last < 0:
            continue
        flow = {"name": "request", "cat": "request", "id": request}
        yield {**flow, "ph": "s", "pid": ARRIVALS, "tid": FIRST, "ts": int(arrival_ns[request]) / 1e3}
        for phase, place in (("t", first), ("f", last)):
            if phase == "f" or first != last:
                at = {"pid": GPUS, "tid": FIRST + int(gpus[place]), "ts": int(start_ns[place]) / 1e3}
                yield {**flow, "ph": phase, "bp": "e", **at}


def _nanoseconds(times_s: Any, first_s: float) -> np.ndarray:
    """Whole nanoseconds, so that a slice that ends where another begins still does so in the file."""
    return np.rint((np.asarray(times_s) - first_s) * 1e9).astype(np.int64)
