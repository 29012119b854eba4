"""From an explorer's position to what its views draw: small arrays and numbers, no pictures.

Two steps: `view` of one run a scheduler, at once; then `following`, piece by piece, the intervals over replications
and the deadline's curve, so that whoever drags a slider is never kept waiting for them.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

from book.explorer import against
from book.explorer.replications import Replications, late, replicated, served
from book.explorer.state import Position
from book.kit.names import SCHEDULER_NAMES
from simlib import levels
from simlib.checks import check_integer, check_type
from simlib.continuous.serve import SAMPLES
from simlib.runs import metrics
from simlib.runs.engine_run import EngineRun
from simlib.runs.run import Run
from simlib.stats import intervals, shares

REPLICATIONS = 20
CURVE_S = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
LOADS, K_BINS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0), (1, 2, 3, 4, 6, 8, 12, 16, 32)
OCTAVE = 4  # bins of the latency distribution in each factor of two
BUCKETS, MOST_BLOCKS, BATCHES_SHOWN, SAMPLES_SHOWN = 160, 800, 10, 40
DEADLINE_BLIND = (
    "static_fifo",
    "multi_bin_fixed",
    "shortest_predicted_first",
)  # their batches do not depend on the deadline


def view(position: Position) -> dict[str, Any]:
    """What the views show of one position.

    Returns
    -------
    dict
        ``d_sla``, ``runs`` (one a scheduler: name, summary, latency distribution, series, blocks), ``window_s`` of the
        blocks, ``notes`` (what the simulation warned of), ``code``. Nothing in it is infinite or not a number.
    """
    check_type("position", position, Position, "a position of the controls")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = list(position.runs())
    table, low_s, high_s = runs[0].table, *_window(runs)
    notes = list(dict.fromkeys(str(warning.message) for warning in caught))
    if position.edges and any(name.startswith("multi") for name in position.schedulers):
        notes.append(f"bins are cut at {position.edges}: K_BINS does not count")
    if len(table) < position.requests:
        notes.append(f"{len(table)} requests: as many as there are")
    if rejected := max(run.rejected for run in runs):
        notes.append(f"{rejected} requests alone exceed a GPU's memory: rejected, and late")
    return {
        "d_sla": position.d_sla,
        "requests": len(table),
        "rate_rps": _rate_rps(table.arrival_s),
        "runs": [shown(run, position.d_sla) | _over_time(run, low_s, high_s) for run in runs],
        "window_s": [low_s, high_s],
        "gpus": position.gpus,
        "pending": position.is_random,
        "notes": notes,
        "code": position.code(),
        "settings": position.settings(),
    }


def shown(run: Run, d_sla: float) -> dict[str, Any]:
    """A run in numbers, and its latency distribution (`counts`)."""
    summary = {key: _finite(value) for key, value in run.summary().items()}
    first, number = counts(run, d_sla)
    return {
        "scheduler": run.policy,
        "name": SCHEDULER_NAMES[run.policy],
        "summary": summary,
        "first": first,
        "counts": number,
    }


def counts(run: Run, d_sla: float) -> tuple[int, np.ndarray]:
    """How many requests have which latency, in bins whose edges are the deadline times powers of two.

    Returns
    -------
    int, ndarray of int
        k of the first bin, and counts of it and the following; bin k is (d 2^(k/4), d 2^((k+1)/4)], so that the
        requests of k >= 0 are the late ones. Rejected requests have no latency and are in none.
    """
    late = metrics.violations(run, d_sla)
    latency_s = run.times.completion_s - run.table.arrival_s
    there = ~np.isnan(latency_s)
    late, latency_s = late[there], np.maximum(latency_s[there], d_sla * 1e-4)
    if not len(latency_s):
        return 0, np.zeros(1, dtype=np.int64)
    places = np.ceil(OCTAVE * np.log2(latency_s / d_sla)).astype(np.int64) - 1
    places = np.where(late, np.maximum(places, 0), np.minimum(places, -1))  # a deadline met to the last bit is met
    first = int(places.min())
    return first, np.bincount(places - first)


def following(
    position: Position, replications: int = REPLICATIONS, kept: against.Kept | None = None
) -> Iterator[dict[str, Any] | None]:
    """What follows a view: intervals and paired differences over replications, then late requests by deadline and more.

    Parameters
    ----------
    position : Position
    replications : int
        Where there is chance.
    kept : against.Kept, optional
        A position to compare with.

    Yields
    ------
    dict or None
        None after each piece of work, some milliseconds long, so that it can be left off; ``{"intervals":
        …, "differences": …}``, ``{"against": …}`` (as `against.compared` gives it), ``{"curve": …}``,
        ``{"load_curve": …}`` and ``{"k_curve": …}`` when they are there, ``{"settled": True}`` at the end.
    """
    check_type("position", position, Position, "a position of the controls")
    count = check_integer("replications", replications, 1, 10_000)
    found = yield from replicated(position, count)
    if len(found.tables) > 1:
        yield _intervals(position, found.late, found.trials)
    if kept is not None:
        yield {"against": (yield from against.compared(kept, found, count))}
    lines: dict[str, list[list[int]]] = {name: [[] for _ in CURVE_S] for name in position.schedulers}
    for table in found.tables:
        for name in position.schedulers:
            blind = served(position, table, name, position.d_sla) if name in DEADLINE_BLIND else None
            for place, d_sla in enumerate(CURVE_S):
                lines[name][place].append(late(position, table, name, d_sla, blind))
            yield None
    yield {"curve": [_line(name, CURVE_S, line, found.trials) for name, line in lines.items()]}
    yield {"load_curve": (yield from _curve("load", LOADS, found))}
    if any(name.startswith("multi") for name in position.schedulers) and not position.edges:
        yield {"k_curve": (yield from _curve("k_bins", K_BINS, found))}
    yield {"settled": True}


def _curve(axis: str, places: tuple[float, ...], found: Replications) -> Generator[None, None, list[dict[str, Any]]]:
    """The share of late requests along one control, the others where they are; who knows no bins is served once."""
    lines = []
    for name in found.position.schedulers:
        hits = []
        for place in places:
            at = found.position.moved({axis: place})
            if axis == "k_bins" and not name.startswith("multi"):
                hits.append(found.late[name])
                continue
            hits.append([])
            for replication in range(len(found.tables)):
                hits[-1].append(late(at, at.drawn(replication), name, at.d_sla))
                yield
        lines.append(_line(name, places, hits, found.trials))
    return lines


def compared(late: dict[str, Any]) -> list[dict[str, Any]]:
    """Differences of the schedulers' violation shares, paired over replications: ``a, b, mean, low, high``."""
    pairs = [pair for pair in levels.PAIRS if late.keys() >= set(pair)]
    found = []
    for a, b in pairs:
        pair = intervals.paired_difference(late[a], late[b])
        found.append({"a": a, "b": b, "mean": pair.mean, "low": pair.ci_low, "high": pair.ci_high})
    return found


def _intervals(position: Position, late: dict[str, list[int]], trials: list[int]) -> dict[str, Any]:
    share = {name: np.array(hits) / trials for name, hits in late.items()}
    return {
        "replications": len(trials),
        "conditional": position.is_conditional,
        "intervals": {name: _interval(hits, trials) for name, hits in late.items()},
        "differences": compared(share),
    }


def _interval(hits: list[int], trials: list[int]) -> dict[str, Any]:
    found = shares.share_interval(hits, trials)
    return {"mean": found.value, "low": found.ci_low, "high": found.ci_high, "reason": found.reason or ""}


def _line(name: str, places: tuple[float, ...], hits: list[list[int]], trials: list[int]) -> dict[str, Any]:
    points = [_interval(each, trials) for each in hits]
    parts = {part: [point[part] for point in points] for part in ("mean", "low", "high")}
    return {"scheduler": name, "name": SCHEDULER_NAMES[name], "x": list(places), "share": parts["mean"]} | {
        part: parts[part] if len(trials) > 1 else [None] * len(points) for part in ("low", "high")
    }


def _window(runs: list[Run]) -> tuple[float, float]:
    """A piece of time, in the middle of the arrivals, that holds a few batches of each GPU."""
    arrival_s = runs[0].table.arrival_s
    middle_s = float(arrival_s[len(arrival_s) // 2])
    batches_s = [np.median(run.served.service_s) for run in runs if not isinstance(run, EngineRun) and run.busy_s]
    if batches_s:
        width_s = BATCHES_SHOWN * float(max(batches_s))
    else:  # continuous batching is sampled, so often in the time that it takes
        width_s = SAMPLES_SHOWN * float(arrival_s[-1] - arrival_s[0]) / SAMPLES
    return middle_s, middle_s + max(width_s, 1e-3)


def _over_time(run: Run, low_s: float, high_s: float) -> dict[str, Any]:
    """Batch sizes and the controller's window in buckets of time; and the batches that run in a piece of it."""
    if isinstance(run, EngineRun):
        start_s, end_s, gpu, size, notes = _samples(run)
    else:
        served = run.served
        start_s, gpu, size = served.start_s, served.gpu, served.size
        end_s, notes = start_s + served.service_s, dict(zip(run.notes, served.notes.T, strict=True))
    if not len(start_s):
        return {"series": {}, "blocks": {}}
    width_s = max(float(start_s[-1]), 1e-9) / BUCKETS
    firsts = np.unique(np.minimum(start_s // width_s, BUCKETS - 1), return_index=True)[1]
    number = np.diff(np.append(firsts, len(start_s)))
    series = {"time_s": start_s[firsts], "size": np.add.reduceat(size.astype(float), firsts) / number}
    if "b_low" in notes:
        target = np.minimum(notes["b_mem"], notes["b_sla"])
        series |= {"low": np.minimum.reduceat(notes["b_low"], firsts), "target": target[firsts]}
        series["high"] = np.maximum.reduceat(notes["b_high"], firsts)
    inside = np.flatnonzero((end_s > low_s) & (start_s < high_s) & (size > 0))[:MOST_BLOCKS]
    blocks = {"start_s": start_s[inside], "end_s": end_s[inside], "gpu": gpu[inside], "size": size[inside]}
    return {"series": series, "blocks": blocks}


def _samples(run: EngineRun) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Of continuous batching, how many ran on each GPU, from one sample to its next."""
    kv = run.kv.sort_values(["gpu", "start_s"])
    start_s, gpu = kv["start_s"].to_numpy(), kv["gpu"].to_numpy()
    end_s = np.append(start_s[1:], start_s[-1:])
    last = np.append(np.diff(gpu) != 0, True)[: len(gpu)]
    end_s = np.where(last, start_s, end_s)
    order = np.argsort(start_s, kind="stable")
    return start_s[order], end_s[order], gpu[order], kv["running"].to_numpy()[order], {}


def _rate_rps(arrival_s: np.ndarray) -> float | None:
    span_s = float(arrival_s[-1] - arrival_s[0])
    return (len(arrival_s) - 1) / span_s if span_s > 0 else None


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
