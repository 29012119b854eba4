"""Real traces as request tables: read a log, choose its rows, scale its rate, make it longer if that is asked for.

First in the flow, beside `workload`: what comes out is the table that every policy reads, with an account of what was
read, dropped, scaled and repeated. `formats` knows the files, `datasets` where they lie, `histograms` makes a workload
for whoever has no log.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_number, check_type
from simlib.lazy import pd
from simlib.requests.formats import known
from simlib.requests.formats.blocks import ENGINE_BLOCK_TOKENS, cached_prefix_tokens, engine_blocks
from simlib.requests.formats.layout import Asked, Log
from simlib.requests.loops import turns
from simlib.requests.streams import stream
from simlib.requests.table import COLUMNS, LABELS, SPARSE_GAP_S, RequestTable

MOST_ROWS = 100_000_000
# No clock of a trace counts finer: a shorter span is one instant, and has no rate.
SHORTEST_SPAN_S = 1e-9


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests from a file, and the account of how they came out of it; `str` gives the account as a sentence.

    Attributes
    ----------
    requests : RequestTable
        What `simulate` takes.
    log : Log
        The file as it was understood.
    rows_read : int
        Rows of the file up to the last one that is used; all of them unless `rows` ended the reading.
    filtered_out, failed_dropped : int
        Rows among these that a filter left out, and failed requests among the others that were dropped.
    rows_moved : int
        Rows read that stood before an earlier one in the file and were sorted in.
    extended_rows, block_rows : int
        Requests added by the bootstrap, and the length of its blocks; 0 without it.
    rate_factor : float, optional
        What the arrival rate was multiplied by; None where the file has no arrivals, and they were drawn.
    at_once : bool
        Whether no arrivals were asked for.
    """

    requests: RequestTable
    log: Log
    rows_read: int
    filtered_out: int = 0
    failed_dropped: int = 0
    rows_moved: int = 0
    extended_rows: int = 0
    block_rows: int = 0
    rate_factor: float | None = 1.0
    at_once: bool = False

    @property
    def source(self) -> str:
        """Name of the file, without its folder."""
        return self.log.source

    @property
    def format(self) -> str:
        """Key of the file's format."""
        return self.log.format

    @property
    def rate_rps(self) -> float | None:
        """Mean rate of arrivals that no answer decides, gaps over the time they span; None where there is no time."""
        table = self.requests
        return _mean_rate_rps(table.arrival_s if table.previous is None else table.arrival_s[table.previous < 0])

    @property
    def waiting(self) -> int:
        """How many requests wait for an answer, and come when it has come."""
        previous = self.requests.previous
        return 0 if previous is None else int(np.count_nonzero(previous >= 0))

    def __str__(self) -> str:
        said = [f"{self.source} ({self.format}): {self.rows_read:,} rows read"]
        counts = {"out of order and sorted": self.rows_moved, "filtered out": self.filtered_out}
        said += [f"{rows:,} {what}" for what, rows in counts.items() if rows]
        said += [f"{self.failed_dropped:,} failed requests dropped"] if self.failed_dropped else []
        if self.extended_rows:
            said.append(f"{self.extended_rows:,} added by bootstrap in blocks of {self.block_rows} consecutive rows")
        said.append(f"{len(self.requests):,} requests")
        if self.waiting:
            said[-1] += f", of which {self.waiting:,} wait for an answer"
            said.append(f"{len(self.requests) - self.waiting:,} conversations")
        if self.rate_rps is not None:
            said[-1] += f" at {self.rate_rps:.3g} per second"
        if self.rate_factor is None:
            said.append("arrivals drawn, as the file has none")
        elif self.rate_factor != 1.0:
            said.append(f"the rate is {self.rate_factor:.6g} times the trace's")
        cached, prompts = self.requests.cached_prompt_tokens, self.requests.prompt_tokens
        if cached is not None and prompts.any():
            said.append(f"{cached.sum() / prompts.sum():.1%} of the prompt tokens cached")
        if self.requests.block_ids is not None or self.requests.prefix_group is not None:
            said.append("with what a live prefix cache may find")
        return ", ".join(said)


def read(
    path: str | os.PathLike[str],
    format: str = "auto",
    *,
    rows: int | None = None,
    failed: Literal["drop", "keep"] = "drop",
    model: str | None = None,
    log_type: str | None = None,
    rate_factor: float | None = None,
    rate_rps: float | None = None,
    extend: Literal["bootstrap"] | None = None,
    block_rows: int = 50,
    unsorted: Literal["refuse", "sort"] = "refuse",
    cache_blocks: int | None = None,
    engine_block_tokens: int | None = None,
    seed: int = 0,
    time_unit: str | None = None,
    block_tokens: int | None = None,
    run: int | None = None,
    at_once: bool = False,
    history: Literal["as_given", "add"] = "as_given",
) -> Trace:
    """Read a trace or a benchmark's log, and choose, extend and scale what is read.

    Rows are sorted, filtered, dropped, counted off, extended and scaled, in this order. The first request that is
    kept arrives at 0; only the plain format keeps its own clock. The original's input is failures kept and a factor.

    Where the file says when each request came, that is replayed, be they turns of conversations or not. A turn that has
    a wait in its place comes so long after the answer before it (`previous`, `think_s`); where that one is left out, by
    a filter or because it failed, it counts as answered at once. Rates are then of the first turns.

    Parameters
    ----------
    path, format : str
        The file, packed or not, and a key of `known.FORMATS`; ``"auto"`` goes by the columns.
    rows : int, optional
        How many requests, after filters and drops; default all.
    failed : {"drop", "keep"}
        What happens to requests that failed: those with no output token, or that the file calls so. Kept, they have
        no output.
    model, log_type : str, optional
        Only requests with this label.
    rate_factor, rate_rps : float, optional
        Multiply the arrival rate, or bring its mean (gaps over the time they span) to so many requests per second; a
        file of lengths alone gets Poisson arrivals of that rate, which `seed` keys.
    extend : "bootstrap", optional
        Where `rows` are more than there are, add blocks of `block_rows` consecutive rows (gaps, lengths and labels
        together), drawn with replacement; `seed` keys the draw.
    unsorted : {"refuse", "sort"}
        What happens to rows out of order: an error, or a stable sort.
    cache_blocks : int, optional
        Where the file names its prompts' blocks: how many the cache holds, see
        `blocks.cached_prefix_tokens`; default no limit.
    engine_block_tokens : int, optional
        Where the file names its prompts' blocks: leave it to the engine what is cached, whose blocks have so many
        tokens (``Continuous(prefix_cache=True).block_tokens``). The table has `block_ids` then
        (`blocks.engine_blocks`), and no ``cached_prompt_tokens``.
    time_unit : {"s", "ms", "us", "ns"}, optional
        What the file's clock counts in, where it does not say so itself.
    block_tokens : int, optional
        Tokens of a block that the file names, where its rows do not say so.
    run : int, optional
        Which load of a file that holds several, from 0.
    at_once : bool
        Whether it does not matter when they came, as they are to be `workload.dealt` to clients: all arrive at 0.
    history : {"as_given", "add"}
        Whether prompts of later turns have the earlier ones in them already, or these and their answers are to be put
        before; then a live prefix cache finds them, too (`block_ids`).

    Raises
    ------
    InputError
        Naming the argument, or file, row and column, with the value and what was expected.

    Examples
    --------
    >>> from simlib.datasets import sample
    >>> print(read(sample(), rows=200, failed="keep", rate_factor=100.0))
    BurstGPT_sample.csv (burstgpt): 200 rows read, 200 requests at 0.589 per second, the rate is 100 times the trace's
    """
    rows = _check_rows(rows, extend)
    check_choice("failed", failed, ("drop", "keep"))
    check_choice("unsorted", unsorted, ("refuse", "sort"))
    check_choice("history", history, ("as_given", "add"))
    block_rows, seed = check_integer("block_rows", block_rows, 1), check_integer("seed", seed, 0, 2**32 - 1)
    if engine_block_tokens is not None:
        check_integer("engine_block_tokens", engine_block_tokens, 1)
        if cache_blocks is not None:
            what = "expected none beside engine_block_tokens: how much a live cache holds is the engine's to say"
            raise InputError(f"cache_blocks: {cache_blocks!r} ({what})")
    rate_factor, rate_rps = _check_rates(rate_factor, rate_rps)
    log = known.requests(path, format, Asked(time_unit, block_tokens, run))
    failures = failures_of(log.frame)
    if failed == "drop" and failures.all():
        raise InputError(f"{log.source}: no request was served, all {len(failures)} failed (expected at least 1)")
    if "clock" not in log.frame and rate_rps is None and not at_once:
        why = ": lengths and no times of arrival" if log.starts == "recorded" else f", {log.starts}"
        raise InputError(f"{log.source}{why} (expected the option --rate, to draw them at)")
    if extend is not None and (turns.wait(log) or "previous" in log.frame):
        raise InputError(f"extend: {extend!r} (expected none: turns of {log.source} wait for each other)")
    frame = _in_order(log, failures, failed, unsorted, rate_rps, seed)
    live = engine_block_tokens is not None and "hash_ids" in frame
    frame = frame if live else _with_cache(log, frame, cache_blocks)
    if history == "add":
        frame = turns.with_history(log.source, frame)
    frame, account = _choose(log.source, frame, rows, failed, {"model": model, "log_type": log_type}, extend)
    arrival_s = np.zeros(len(frame)) if at_once else _arrivals(log, frame, rate_rps, seed)
    if at_once:
        return Trace(_table(log, *turns.by_time(frame, arrival_s), engine_block_tokens), log, **account, at_once=True)
    extra = 0 if rows is None else rows - len(frame)
    if extra:
        if live or "block_ids" in frame:
            what = f"expected none beside the blocks of {log.source}: a live prefix cache finds a row that comes again"
            raise InputError(f"extend: {extend!r} ({what})")
        arrival_s, picked = _bootstrap(log.source, arrival_s, extra, block_rows, seed)
        frame = frame.iloc[picked]
        account |= {"extended_rows": extra, "block_rows": block_rows}
    drawn = "clock" not in log.frame
    openly = arrival_s[frame["previous"].to_numpy() < 0] if "previous" in frame else arrival_s
    factor = rate_factor or 1.0 if drawn else _factor(log.source, openly, rate_factor, rate_rps)
    table = _table(log, *turns.by_time(frame, arrival_s / factor), engine_block_tokens)
    return Trace(table, log, **account, rate_factor=None if drawn else factor)


def _check_rows(rows: int | None, extend: str | None) -> int | None:
    if extend is not None:
        check_choice("extend", extend, ("bootstrap",))
        if rows is None:
            raise InputError(f"rows: None (expected a number of rows, as extend is {extend!r})")
    return None if rows is None else check_integer("rows", rows, 1, MOST_ROWS)


def _check_rates(factor: float | None, rate_rps: float | None) -> tuple[float | None, float | None]:
    if factor is not None and rate_rps is not None:
        raise InputError(f"rate_factor: {factor!r} and rate_rps: {rate_rps!r} (expected at most one of them)")
    if factor is not None:
        factor = check_number("rate_factor", factor, 1e-12, 1e12)
    if rate_rps is not None:
        rate_rps = check_number("rate_rps", rate_rps, 1e-12, 1e9)
    return factor, rate_rps


def failures_of(frame: pd.DataFrame) -> np.ndarray:
    """Which requests were not served."""
    failed = frame["output_tokens"].to_numpy() == 0
    return failed | frame["failed"].to_numpy(bool) if "failed" in frame else failed


def _in_order(
    log: Log, failures: np.ndarray, failed: str, unsorted: str, rate_rps: float | None, seed: int
) -> pd.DataFrame:
    """The rows in order of arrival; `moved` marks those that stood after a later one in the file.

    Turns that wait for an answer stand where they could arrive first.
    """
    frame, open_ = log.frame.assign(failed=failures, moved=False), np.ones(len(failures), bool)
    if turns.wait(log):
        frame = turns.linked(log, frame, rate_rps, seed)
    if "previous" in frame:
        open_ = frame["previous"].to_numpy() < 0
    if "clock" not in frame:
        return frame
    clock = frame["clock"].to_numpy()
    # The start of a request that failed may be anything: where these are dropped, it is not looked at.
    counts = open_ & ~failures if failed == "drop" else open_
    before = np.maximum.accumulate(np.where(counts, clock, -np.inf))
    moved = counts & (clock < before)
    if moved.any() and unsorted == "refuse":
        row = int(np.argmax(moved))
        value = np.datetime64(int(clock[row]), "ns") if log.clock.unit == "date" else f"{clock[row]:.16g}"
        early_s = (before[row] - clock[row]) / log.clock.ticks_per_s
        raise InputError(
            f"{log.source}, row {row}, {log.arrival}: {value} (expected ascending times, this is {early_s:.6g} s "
            "before a row above; unsorted='sort' puts them in order)"
        )
    frame = frame.assign(moved=moved)
    if "previous" in frame:
        return turns.by_time(frame, clock, log.clock.ticks_per_s if log.clock else 1.0)[0]
    return frame.iloc[np.argsort(np.where(counts, clock, before), kind="stable")]


def _with_cache(log: Log, frame: pd.DataFrame, cache_blocks: int | None) -> pd.DataFrame:
    """The rows with their cached tokens where the trace names its blocks; failed requests fill the cache too."""
    if "hash_ids" not in frame:
        if cache_blocks is not None:
            raise InputError(f"cache_blocks: {cache_blocks!r} (expected none: {log.source} has no hash_ids)")
        return frame
    prompts = frame["prompt_tokens"].tolist()
    cached = cached_prefix_tokens(frame["hash_ids"].tolist(), prompts, cache_blocks, log.block_tokens)
    return frame.assign(cached_prompt_tokens=cached)


def _arrivals(log: Log, frame: pd.DataFrame, rate_rps: float | None, seed: int) -> np.ndarray:
    """Arrivals in seconds, before scaling: the file's, or drawn at the rate that was asked for."""
    if "clock" in frame:
        return log.seconds(frame["clock"].to_numpy())
    gaps_s = stream("trace arrivals", seed, "arrivals").exponential(1.0 / rate_rps, size=len(frame))
    return np.cumsum(gaps_s) - gaps_s[0]


def _choose(
    source: str,
    frame: pd.DataFrame,
    rows: int | None,
    failed: str,
    labels: Mapping[str, str | None],
    extend: str | None,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows that are used, and the counts of those read and left out, under the names that `Trace` has for them."""
    matching = np.logical_and.reduce([_matching(source, frame, label, wanted) for label, wanted in labels.items()])
    kept = matching & (~frame["failed"].to_numpy() | (failed == "keep"))
    which = np.flatnonzero(kept)[:rows]
    read = int(which[-1]) + 1 if len(which) == rows else len(frame)
    account = {
        "rows_read": read,
        "filtered_out": int((~matching)[:read].sum()),
        "failed_dropped": int((matching & ~kept)[:read].sum()),
        "rows_moved": int(frame["moved"].to_numpy()[:read].sum()),
    }
    left_out = f"{read} rows, {account['filtered_out']} filtered out, {account['failed_dropped']} failed and dropped"
    if len(which) == 0:
        raise InputError(f"{source}: no requests left ({left_out}; expected at least 1)")
    if rows is not None and len(which) < rows and extend is None:
        raise InputError(
            f"rows: {rows} asked for, {source} has {len(which)} requests ({left_out}; expected at most {len(which)}, "
            "or extend='bootstrap')"
        )
    return turns.chosen(frame, which), account


def _matching(source: str, frame: pd.DataFrame, label: str, wanted: str | None) -> np.ndarray:
    """Which rows have the label that is wanted."""
    if wanted is None:
        return np.ones(len(frame), dtype=bool)
    check_type(label, wanted, str, "a name")
    if label not in frame:
        raise InputError(f"{label}: {wanted!r} (expected none: {source} has no such column)")
    check_choice(f"{label} in {source}", wanted, sorted(frame[label].unique()))
    return (frame[label] == wanted).to_numpy()


def _bootstrap(
    source: str, arrival_s: np.ndarray, extra: int, block_rows: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Arrivals and row numbers of the trace followed by `extra` rows in blocks, each row with the gap before it."""
    real = len(arrival_s)
    # The first row has no gap before it, so that no block begins there.
    if block_rows > real - 1:
        raise InputError(f"block_rows: {block_rows} (expected at most {real - 1}, as {source} gives {real} requests)")
    blocks = -(-extra // block_rows)
    starts = stream("trace bootstrap", seed, "arrivals").integers(1, real - block_rows, size=blocks, endpoint=True)
    picked = (starts[:, None] + np.arange(block_rows)).ravel()[:extra]
    gaps_s = np.diff(arrival_s)[picked - 1]
    longer_s = np.concatenate([arrival_s, arrival_s[-1] + np.cumsum(gaps_s)])
    return longer_s, np.concatenate([np.arange(real), picked])


def _mean_rate_rps(arrival_s: np.ndarray) -> float | None:
    span_s = arrival_s[-1] - arrival_s[0]
    return float((len(arrival_s) - 1) / span_s) if span_s >= SHORTEST_SPAN_S else None


def _factor(source: str, arrival_s: np.ndarray, factor: float | None, rate_rps: float | None) -> float:
    if rate_rps is None:
        return 1.0 if factor is None else factor
    rate = _mean_rate_rps(arrival_s)
    if rate is None:
        what = "1 request" if len(arrival_s) == 1 else f"{len(arrival_s)} requests, all at the same instant"
        raise InputError(f"rate_rps: {rate_rps:g} ({source} gives {what}; expected two times of arrival to scale)")
    return rate_rps / rate


def _table(log: Log, frame: pd.DataFrame, arrival_s: np.ndarray, engine_block_tokens: int | None) -> RequestTable:
    gap_s = (arrival_s[-1] - arrival_s[0]) / max(len(arrival_s) - 1, 1)
    frame = frame.assign(output_tokens=frame["output_tokens"].where(~frame["failed"], 0))
    if log.starts_at_0 and len(arrival_s) >= 10 and gap_s >= SPARSE_GAP_S:
        # The table would take such gaps for milliseconds; here the unit is known, and the rate is what is wrong.
        raise InputError(
            f"{log.source}: mean gap {gap_s:.6g} s after filters and scaling (expected below {SPARSE_GAP_S:g} s; "
            "rate_factor or rate_rps brings it there)"
        )
    columns = {name: frame[name].to_numpy() for name in COLUMNS[1:] if name in frame}
    if "text" in frame:
        columns["block_ids"] = turns.contents(frame, engine_block_tokens or ENGINE_BLOCK_TOKENS)
    if engine_block_tokens is not None and "hash_ids" in frame:
        blocks = frame["hash_ids"].tolist(), columns["prompt_tokens"], log.block_tokens
        columns["block_ids"] = engine_blocks(*blocks, engine_block_tokens)
    try:
        labels = {name: frame[name].to_numpy() for name in LABELS if name in frame}
        return RequestTable(arrival_s=arrival_s, labels=labels, **columns)
    except InputError as error:
        raise InputError(f"{log.source}, {error}") from None
