"""What each GPU did when: batches or steps as slices of time, and the requests that went through them.

Reads a finished run of either execution model; `slices` is a table for figures, `write` a file in Chrome's trace-event
format, which https://ui.perfetto.dev and ``chrome://tracing`` open. There a row is a GPU, and an arrow a request: from
its arrival, by the slice that gives its first token, to the one that gives its last.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.checks import InputError, check_type
from simlib.runs.engine_run import EngineRun
from simlib.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd


# The viewer's two groups of rows, and their first row: one of a group's number is a main thread's, and comes first.
ARRIVALS, GPUS, FIRST = 1, 2, 3
SHOWN_NS = 1_000_000  # an arrival takes no time, but a slice that is to be seen does; at most, until the next one
KINDS = ("decode", "prefill", "mixed")


def slices(run: Run) -> pd.DataFrame:
    """What the GPUs did, one row a batch or step, in order of start on each GPU.

    Parameters
    ----------
    run : Run
        Of either execution model.

    Returns
    -------
    pandas.DataFrame
        ``gpu, start_s, time_s, size, name`` and what else is known: of a batch ``batch, bin``, of a step ``steps`` (of
        equal membership, that share the row), ``decodes, prefill_tokens, context_tokens, kv_tokens``. `size` is the
        number of requests; slices of one GPU do not overlap.

    Examples
    --------
    >>> import simlib
    >>> table = simlib.RequestTable([0.0, 0.1, 0.2], [10, 10, 10], [5, 5, 5])
    >>> run = simlib.simulate(table, simlib.StaticFIFO(2), gpus=1, backend="interpreted")
    >>> slices(run)[["gpu", "size", "name"]].to_numpy().tolist()
    [[0, 1, 'batch of 1'], [0, 1, 'batch of 1'], [0, 1, 'batch of 1']]
    """
    check_type("run", run, Run, "a run, as simulate returns it")
    if isinstance(run, EngineRun):
        steps = run.steps.rename(columns={"seats": "size"})
        kind = np.where(steps["chunks"] == 0, 0, np.where(steps["decodes"] == 0, 1, 2))
        names = [
            f"{KINDS[number]} of {size}" + (f", {count} steps" if count > 1 else "")
            for number, size, count in zip(kind, steps["size"], steps["steps"], strict=True)
        ]
        columns = ["steps", "decodes", "prefill_tokens", "context_tokens", "kv_tokens"]
        return steps[["gpu", "start_s", "time_s", "size"]].assign(name=names, **steps[columns])
    batches = run.batches.reset_index(names="batch").rename(columns={"service_s": "time_s"})
    batches = batches.sort_values(["gpu", "batch"], ignore_index=True)  # as they started
    names = [
        f"batch of {size}" + (f", bin {bin}" if bin >= 0 else "") for size, bin in batches[["size", "bin"]].to_numpy()
    ]
    return batches[["gpu", "start_s", "time_s", "size"]].assign(name=names, **batches[["batch", "bin"]])


def occupancy(run: Run) -> pd.DataFrame:
    """How many places of each GPU are taken, and how many of them by requests whose last token is there already.

    Parameters
    ----------
    run : Run
        Of either execution model.

    Returns
    -------
    pandas.DataFrame
        ``gpu, start_s, time_s, size, finished``, one row a stretch in which nothing changes. A batch's tokens are taken
        to come at equal distances from its first token to its end; a request leaves an engine with its last token.

    Examples
    --------
    >>> import simlib
    >>> table = simlib.RequestTable([0.0, 0.0], [10, 10], [2, 3])
    >>> run = simlib.simulate(table, simlib.StaticFIFO(2), simlib.Phases(0.0, 0.0, 1.0, 0.0), backend="interpreted")
    >>> occupancy(run)[["start_s", "time_s", "size", "finished"]].to_numpy().tolist()
    [[0.0, 1.0, 2.0, 0.0], [1.0, 1.0, 2.0, 1.0]]
    """
    import pandas as pd

    done = slices(run)
    columns = ["gpu", "start_s", "time_s", "size"]
    if isinstance(run, EngineRun):
        return done[columns].assign(finished=0)
    members = run.requests.loc[run.served.batch_of >= 0, ["batch", "output_tokens"]]
    most = members.groupby("batch")["output_tokens"].transform("max")
    shares = (members["output_tokens"] - 1).clip(lower=0) / (most - 1).clip(lower=1)
    rows = []
    for batch in done.itertuples():
        own = np.sort(shares[members["batch"] == batch.batch].to_numpy())
        first_s = min(run.first_token_after_s[batch.batch], batch.time_s)
        ends_s = np.append(0.0, first_s + own * (batch.time_s - first_s))
        for finished, (start_s, end_s) in enumerate(pairwise(ends_s)):
            if end_s > start_s:
                rows.append((batch.gpu, batch.start_s + start_s, end_s - start_s, batch.size, finished))
    return pd.DataFrame(rows, columns=[*columns, "finished"])


def write(run: Run, path: str | Path) -> Path:
    """Write a run as a trace in Chrome's trace-event format (JSON object form), aside, then renamed.

    Parameters
    ----------
    run : Run
        Of either execution model; one of continuous batching is served once more, for its steps.
    path : str or Path
        The file, new or to be replaced; ``.json`` by custom.

    Raises
    ------
    InputError
        If the folder does not exist, the path is a folder or cannot be written, or the run is none.

    Notes
    -----
    Times are microseconds since the first arrival, to the nanosecond. A request that was rejected, or whose client had
    gone, has an instant event in place of arrows. Slices carry what `slices` says of them.
    """
    check_type("run", run, Run, "a run, as simulate returns it")
    path = _writable(path)
    aside = path.with_name(path.name + ".part")
    try:
        with open(aside, "w", encoding="utf-8") as file:
            file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
            for number, event in enumerate(_events(run)):
                file.write((",\n" if number else "") + json.dumps(event))
            file.write("\n]}\n")
        os.replace(aside, path)
    except (OSError, ValueError) as problem:
        with contextlib.suppress(OSError, ValueError):
            aside.unlink(missing_ok=True)
        if isinstance(problem, InputError):
            raise
        raise InputError(f"{path}: the trace cannot be written ({problem})") from None
    return path


def _writable(path: Any) -> Path:
    path = Path(check_type("path", path, (str, Path), "the path of a file"))
    try:
        folder, is_folder = path.parent.is_dir(), path.is_dir()
    except (OSError, ValueError) as problem:
        raise InputError(f"{path}: {problem} (expected the path of a file)") from None
    if not folder:
        raise InputError(f"{path}: no folder {path.parent} (expected an existing one)")
    if is_folder:
        raise InputError(f"{path}: is a folder (expected a file)")
    return path


def _events(run: Run) -> Iterator[dict[str, Any]]:
    """The trace's events: names of rows, slices, and arrows behind the slices that they touch."""
    yield {"ph": "M", "name": "process_name", "pid": ARRIVALS, "tid": FIRST, "args": {"name": "requests"}}
    yield {"ph": "M", "name": "thread_name", "pid": ARRIVALS, "tid": FIRST, "args": {"name": "arrivals"}}
    yield {"ph": "M", "name": "process_name", "pid": GPUS, "tid": FIRST, "args": {"name": f"GPUs, {run.policy}"}}
    for gpu in range(run.gpus):
        yield {"ph": "M", "name": "thread_name", "pid": GPUS, "tid": FIRST + gpu, "args": {"name": f"GPU {gpu}"}}
    first_s = run.table.arrival_s[0]
    arrival_ns = _nanoseconds(run.table.arrival_s, first_s)
    yield from _arrivals(arrival_ns, run)
    done = slices(run)
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
    yield from _arrows(arrival_ns, start_ns, done["gpu"].to_numpy(), _passed(run, done))


def _arrivals(arrival_ns: np.ndarray, run: Run) -> Iterator[dict[str, Any]]:
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


def _passed(run: Run, done: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The slices in which each request had its first and its last token; -1 where it was not served."""
    if not isinstance(run, EngineRun):
        place = np.append(np.argsort(done["batch"].to_numpy()), -1)
        return place[run.served.batch_of], place[run.served.batch_of]
    first, last = (np.full(len(run.table), -1) for _ in range(2))
    gpus, ends_s = done["gpu"].to_numpy(), (done["start_s"] + done["time_s"]).to_numpy()
    for gpu in range(run.gpus):
        own, rows = np.flatnonzero(gpus == gpu), np.flatnonzero(run.served.gpu == gpu)
        for found, times_s in ((first, run.times.first_token_s), (last, run.times.completion_s)):
            place = np.searchsorted(ends_s[own], times_s[rows] * (1 - 1e-12))
            found[rows] = own[np.minimum(place, len(own) - 1)]
    return first, last


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
