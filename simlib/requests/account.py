"""What was understood of a file of requests, in one screen: before it is simulated, planned with or calibrated by."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simlib.lazy import pd
from simlib.requests.arrivals import dispersion_index, gap_variation
from simlib.requests.formats import known
from simlib.requests.formats.aggregates.summary import Load, Summary
from simlib.requests.formats.blocks import ENGINE_BLOCK_TOKENS, cached_prefix_tokens, shared_in_part
from simlib.requests.formats.layout import TIMES, Log, listed
from simlib.requests.table import RequestTable
from simlib.requests.traces import Trace, failures_of
from simlib.text import percent, span, three

WIDTH, MOST_LINES, MOST_WARNED, MARGIN = 100, 24, 8, 15
LINES, READ_AS = 3, "read as"  # that an entry may have; the entry that has more where the screen has room
WINDOW_S, FEWEST_WINDOWS = 10.0, 20  # in which arrivals are counted
ROUNDING = 1e-9  # variation of gaps that are all alike
FEWEST_PLANNED = 20  # requests of a record that a plan is made from
STAMPS = ("queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts")  # of an engine's log that is replayed
WORDS = {"mean": "mean", "median": "median", "p99": "P99"}
LABELS = {"ttft_s": "first token", "itl_s": "token gaps", "tpot_s": "a token", "latency_s": "a request"}
NAMED = 8  # columns that are named; the rest are counted
KEYS = (
    *("format", "version", "columns", "time_unit", "rows", "dropped", "span_s", "rate_rps", "burstiness"),
    *("prompt_tokens", "output_tokens", "prefix", "clients", "failed", "verbs", "warnings"),
)


@dataclass(frozen=True, slots=True)
class Account:
    """What a file is, what its columns were taken for, and what can be done with it.

    Attributes
    ----------
    source, format, version : str
        Name of the file, key of its format, and which of the format's forms.
    rows, failed, requests : int
        Rows read, how many of them are requests that failed, and the requests that the numbers below are of; a file
        without rows may speak of requests all the same.
    warnings : tuple of str
        What a user should know before she believes the rest.
    columns : mapping of str to str
        Columns that are used, and what each was taken for, in which unit and why.
    unused : tuple of str
        Columns that are not.
    arrivals : str
        How it is known when requests came.
    time_unit : str, optional
        Of the clock.
    dropped : mapping of str to int
        Rows that are left out of the numbers below, by reason.
    span_s, rate_rps : float, optional
        From the first arrival to the last, and gaps over that time.
    burstiness : mapping of str to float
        ``gap_cv``, coefficient of variation of the gaps, and ``dispersion_10s``, variance over mean of the number of
        arrivals in 10 s; both are 1 for a Poisson stream, and None where there are too few.
    prompt_tokens, output_tokens : mapping of str to float, optional
        ``mean, median, p99, min, max`` of lengths; of a file without rows what it says of them.
    times : mapping of str to mapping
        The same of measured times: ``ttft_s, itl_s, tpot_s, latency_s, queue_s``, those that there are.
    prefix : mapping, optional
        ``block_tokens``; ``cached_share`` of the prompt tokens that a cache without limit would have; requests whose
        last block, not full, was ``shared_in_part``: equal content, and no hit.
    clients, sessions : int, optional
        How many there are.
    loads : tuple of str
        What they are called, where a file has several.
    state : mapping of str to float
        Of an engine, when it was looked at.
    lacks : mapping of str to str
        For each verb what the file lacks to be used by it; empty where nothing.
    instead : str
        What can be done with a file that lacks rows.
    """

    source: str
    format: str
    version: str = ""
    rows: int = 0
    failed: int = 0
    requests: int = 0
    warnings: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    arrivals: str = ""
    time_unit: str | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    span_s: float | None = None
    rate_rps: float | None = None
    burstiness: Mapping[str, float | None] = field(default_factory=dict)
    prompt_tokens: Mapping[str, float] | None = None
    output_tokens: Mapping[str, float] | None = None
    times: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prefix: Mapping[str, Any] | None = None
    clients: int | None = None
    sessions: int | None = None
    loads: tuple[str, ...] = ()
    state: Mapping[str, float] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    instead: str = ""

    @classmethod
    def of(cls, given: Log | Summary | Trace) -> Account:
        """The account of a file that was parsed (`known.parse`), or of a trace, as it was chosen and scaled.

        Examples
        --------
        >>> from simlib.datasets import sample
        >>> account = Account.of(known.parse(sample()))
        >>> print("\\n".join(line[:80] for line in account.head.splitlines()))
        warning: 17 of 400 requests failed: dropped
        warning: Timestamp: taken for seconds (the format's), though these are rare rate
        BurstGPT_sample.csv: BurstGPT's trace, 383 of 400 requests in 10.4 h, 0.0102/s
        arrivals: Timestamp, seconds (the format's); not used: Total tokens
        """
        if isinstance(given, Summary):
            return _of_summary(given)
        log = given.log if isinstance(given, Trace) else given
        frame = log.frame
        failures = failures_of(frame)
        kept = frame if failures.all() else frame[~failures]
        arrival_s, tokens, dropped = _arrivals_s(log, kept), kept, {"failed": int(failures.sum())}
        rows = len(frame)
        if isinstance(given, Trace):
            arrival_s, tokens, rows = given.requests.arrival_s, given.requests.frame(), given.rows_read
            arrival_s = arrival_s if given.requests.previous is None else arrival_s[given.requests.previous < 0]
            dropped = {"failed": given.failed_dropped, "filtered out": given.filtered_out}
        arrival_s = np.zeros(0) if isinstance(given, Trace) and given.at_once else arrival_s
        apart_s = float(arrival_s[-1] - arrival_s[0]) if len(arrival_s) else None
        return cls(
            log.source,
            log.format,
            log.version,
            rows + sum(log.dropped.values()),
            int(failures.sum()),
            len(tokens),
            (*_said(given, failures, tokens["prompt_tokens"]), *log.warnings),
            log.columns,
            log.unused,
            _arrivals(given, log),
            log.clock.unit if log.clock else None,
            {reason: count for reason, count in (dropped | dict(log.dropped)).items() if count},
            apart_s,
            (len(arrival_s) - 1) / apart_s if apart_s else None,
            _burstiness(arrival_s),
            _spread(tokens["prompt_tokens"]),
            _spread(tokens["output_tokens"]),
            {name: found for name in TIMES if name in frame and (found := _spread(_flat(frame[name][~failures])))},
            _prefix(log, kept, given.requests if isinstance(given, Trace) else None),
            _distinct(kept, "client"),
            _distinct(kept, "session"),
            log.runs if len(log.runs) > 1 else (),
            lacks=_lacks(log, failures, arrival_s),
        )

    @property
    def verbs(self) -> list[str]:
        """The verbs that can use the file as it is."""
        return [verb for verb, lacking in self.lacks.items() if not lacking]

    def document(self) -> dict[str, Any]:
        """The account as JSON has it: `KEYS` first, all of them there."""
        found = dataclasses.asdict(self)
        found |= found.pop("times") | {
            "version": self.version or None,
            "columns": dict(self.columns),
            "verbs": self.verbs,
            "lacks": {verb: lacking for verb, lacking in self.lacks.items() if lacking},
        }
        return {name: found[name] for name in (*KEYS, *(name for name in found if name not in KEYS))}

    @property
    def head(self) -> str:
        """What every verb says of a file: what is wrong, what it is, its clock, what is not read; a line each."""
        warned = [f"warning: {text}" for text in self.warnings]
        return "\n".join([*warned, self._what(), f"arrivals: {self.arrivals}; {_unused(self.unused)}"])

    def __str__(self) -> str:
        *warned, what, arrivals = self.head.splitlines()
        warned = _cut([line for text in warned for line in _wrapped(text)], MOST_WARNED)
        head = [*warned, *_wrapped(what), *_wrapped(arrivals)]
        rows = [(label, text) for label, text in self._rows() if text]
        others = sum(len(_wrapped(text, label)) for label, text in rows if label != READ_AS)
        most = max(LINES, MOST_LINES - len(head) - others)  # what is left of the screen
        body = [x for label, text in rows for x in _wrapped(text, label, most if label == READ_AS else LINES)]
        return "\n".join(head + _cut(body, MOST_LINES - len(head)))

    def _what(self) -> str:
        """The file in a line: its format, how many requests, over which time, how many of them failed."""
        format = known.FORMATS.get(self.format)
        text = f"{self.source}: {format.about if format else self.format}{f' ({self.version})' if self.version else ''}"
        text += f", {self.requests:,} {f'of {self.rows:,} ' if self.requests < self.rows else ''}requests"
        text += f" in {span(self.span_s)}" if self.span_s is not None else ""
        text += f", {three(self.rate_rps)}/s" if self.rate_rps else ""
        text += "".join(f"; {count:,} {reason}" for reason, count in self.dropped.items() if reason != "failed")
        return text + ("" if self.failed else "; none failed")

    def _rows(self) -> list[tuple[str, str]]:
        """What the screen has below its head, each with its label."""
        who = {"client": self.clients, "session": self.sessions}.items()
        who = [f"{count:,} {what}{'s' * (count != 1)}" for what, count in who if count is not None]
        return [
            ("loads", listed(self.loads) if self.loads else ""),
            (READ_AS, "; ".join(f"{name}: {taken}" for name, taken in self.columns.items())),
            ("burstiness", _bursts(self.burstiness)),
            ("prompts", _in_words(self.prompt_tokens, three, " tokens")),
            ("outputs", _in_words(self.output_tokens, three, " tokens")),
            ("prefixes", _shared(self.prefix)),
            ("from", ", ".join(who)),
            *((LABELS.get(name, name), _in_words(found, span)) for name, found in self.times.items()),
            ("engine", ", ".join(f"{name} {three(value)}" for name, value in self.state.items())),
            ("usable by", ", ".join(self.verbs) or "no verb as it is"),
            *(("not by", f"{verbs}: {lacking}") for lacking, verbs in self._lacking().items()),
            ("instead", self.instead),
        ]

    def _lacking(self) -> dict[str, str]:
        """What is lacked, and the verbs that lack it."""
        found = [text for text in dict.fromkeys(self.lacks.values()) if text]
        return {text: ", ".join(verb for verb, lacking in self.lacks.items() if lacking == text) for text in found}


def _cut(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], "… and more, which --json has"]


def _wrapped(text: str, label: str = "", most: int = LINES) -> list[str]:
    """Lines no longer than the screen's, those after the first indented."""
    margin = " " * (MARGIN if label else 2)
    wrap = textwrap.TextWrapper(WIDTH, f"{label:<{MARGIN}}" if label else "", margin, max_lines=most, placeholder=" …")
    return wrap.wrap(text)


def _unused(names: Sequence[str]) -> str:
    if not names:
        return "all columns are used"
    return f"not used: {', '.join(names[:NAMED])}" + (f", … ({len(names)} in all)" if len(names) > NAMED else "")


def _in_words(found: Mapping[str, Any] | None, say: Callable[[float], str], unit: str = "") -> str:
    """Statistics of a column; of some only the bounds are known between which they lie."""
    if not found:
        return ""
    texts = {
        name: f"{say(value[0])} to {say(value[1])}" if isinstance(value, Sequence) else say(value)
        for name, value in found.items()
    }
    parts = [f"{WORDS[name]} {texts[name]}" for name in WORDS if name in texts]
    return ", ".join([*parts, *([f"from {texts['min']} to {texts['max']}"] if "min" in texts else [])]) + unit


def _bursts(found: Mapping[str, float | None]) -> str:
    if found.get("gap_cv") is None:
        return ""
    counts = found["dispersion_10s"]
    text = f"gaps have a coefficient of variation of {three(found['gap_cv'])} (1 is Poisson)"
    return text + (f", counts in 10 s a variance of {three(counts)} times their mean" if counts is not None else "")


def _shared(prefix: Mapping[str, Any] | None) -> str:
    if prefix is None:
        return ""
    blocks = f"blocks of {prefix['block_tokens']} tokens, " if prefix["block_tokens"] else ""
    might = "can be" if prefix.get("engine_block_tokens") else "were"
    text = f"{blocks}{percent(prefix['cached_share'])} of the prompt tokens {might} cached"
    part = prefix["shared_in_part"]
    blocks = f"{part:,} last block{'s are' if part != 1 else ' is'} shared in part, which is no hit"
    return f"{text}; {blocks}" if part else text


def _arrivals_s(log: Log, frame: pd.DataFrame) -> np.ndarray:
    """Times of arrival in seconds and in order, of the requests that have one; several loads have several clocks."""
    if "clock" not in frame or len(log.runs) > 1:
        return np.zeros(0)
    openly = frame if "previous" not in frame else frame[frame["previous"] < 0]
    ticks = np.sort(openly["clock"].dropna().to_numpy())
    return log.seconds(ticks) if len(ticks) else ticks


def _arrivals(given: Log | Trace, log: Log) -> str:
    waits = f", but for {waiting:,} turns that come after an answer" if (waiting := _waiting(log.frame)) else ""
    if isinstance(given, Trace) and given.at_once:
        return "not used: a client's next request comes after an answer"
    if isinstance(given, Trace) and given.rate_factor is None:
        return f"drawn, as the file has none{waits}"
    if "clock" not in log.frame:
        return ("none in the file" if log.starts == "recorded" else log.starts) + waits
    said = (f"{log.arrival}, {log.clock}" if log.clock else log.starts) + waits
    scaled = isinstance(given, Trace) and given.rate_factor != 1.0
    return said + (f", at {three(given.rate_factor)} times their rate" if scaled else "")


def _waiting(frame: pd.DataFrame) -> int:
    """How many requests come after an answer."""
    if "previous" in frame:
        return int((frame["previous"] >= 0).sum())
    return int(frame["delay_s"].notna().sum()) if "delay_s" in frame else 0


def _said(given: Log | Trace, failures: np.ndarray, prompts: pd.Series) -> list[str]:
    """What became of requests that failed, how many prompts are empty, and how many rows are out of order."""
    failed, empty = int(failures.sum()), int((prompts == 0).sum())
    kept = isinstance(given, Trace) and bool((given.requests.output_tokens == 0).any())
    what = f"{failed:,} of {len(failures):,} requests failed: {'kept, with no output' if kept else 'dropped'}"
    what = what if failed < len(failures) else f"all {failed:,} requests failed: none was served"
    zeros = f"prompts of 0 tokens: {empty:,} of {len(prompts):,}, which an engine refuses; served as they stand"
    moved = given.rows_moved if isinstance(given, Trace) else _moved(given, failures)
    order = f"{moved:,} of {len(failures):,} rows stand behind a later one: "
    order += "sorted" if isinstance(given, Trace) else "refused by simulate and plan, but for --unsorted sort"
    return [text for count, text in ((failed, what), (empty, zeros), (moved, order)) if count]


def _moved(log: Log, failures: np.ndarray) -> int:
    """How many rows stand behind one of a later arrival, of the requests of one load that arrive, and did not fail."""
    if "clock" not in log.frame or len(log.runs) > 1:
        return 0
    arrive = ~failures & (log.frame["previous"] < 0 if "previous" in log.frame else True)
    clock = log.frame["clock"][arrive].dropna().to_numpy()
    return int((clock < np.maximum.accumulate(clock)).sum())


def _burstiness(arrival_s: np.ndarray) -> dict[str, float | None]:
    enough = len(arrival_s) > 2 and arrival_s[-1] > arrival_s[0]
    windows = (arrival_s[-1] - arrival_s[0]) / WINDOW_S if enough else 0.0
    counted = FEWEST_WINDOWS <= windows <= 1e6
    cv = gap_variation(arrival_s) if enough else None
    return {
        "gap_cv": cv if cv is None or cv > ROUNDING else 0.0,
        "dispersion_10s": dispersion_index(arrival_s, WINDOW_S) if counted else None,
    }


def _spread(values: Any) -> dict[str, float] | None:
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    numbers = {"mean": found.mean(), "median": np.median(found), "p99": np.percentile(found, 99)}
    return {name: float(value) for name, value in (numbers | {"min": found.min(), "max": found.max()}).items()}


def _flat(values: pd.Series) -> Any:
    """Numbers of a column, or those of the arrays in it."""
    return np.concatenate(values.to_list()) if values.dtype == object and len(values) else values


def _prefix(log: Log, kept: pd.DataFrame, table: RequestTable | None) -> dict[str, Any] | None:
    """What a cache without limit would have of the prompts: by their blocks, or as the file says itself."""
    if not {"hash_ids", "prefix_tokens", "cached_prompt_tokens"} & set(log.frame):
        return None
    part, engine = 0, None
    prompts, cached = kept["prompt_tokens"], kept.get("cached_prompt_tokens")
    if "hash_ids" in log.frame:
        frame = log.frame if "clock" not in log.frame else log.frame.sort_values("clock", kind="stable")
        ids, lengths, engine = frame["hash_ids"].tolist(), frame["prompt_tokens"].to_numpy(), ENGINE_BLOCK_TOKENS
        part = shared_in_part(ids, lengths, log.block_tokens)
        if table is None or table.cached_prompt_tokens is None:  # then an engine's live cache says what it has
            table = None
            cached = pd.Series(cached_prefix_tokens(ids, lengths, None, log.block_tokens), frame.index)[kept.index]
    if "prefix_tokens" in log.frame:
        table, engine = None, ENGINE_BLOCK_TOKENS
        cached = _of_groups(kept)
    if table is not None:
        prompts, cached = table.prompt_tokens, table.cached_prompt_tokens
    share = float(cached.sum() / max(prompts.sum(), 1))
    about = {"block_tokens": log.block_tokens, "engine_block_tokens": engine}
    return about | {"cached_share": share, "shared_in_part": part}


def _of_groups(frame: pd.DataFrame) -> pd.Series:
    """Prompt tokens that a cache without limit has of each request, where groups share prefixes."""
    frame = frame.sort_values("clock", kind="stable")
    group, prefix = frame["prefix_group"], frame["prefix_tokens"]
    longest = prefix.groupby(group).cummax().groupby(group).shift(fill_value=0)  # that somebody brought before
    found = np.minimum(np.minimum(longest, prefix), np.maximum(frame["prompt_tokens"] - 1, 0))
    return found // ENGINE_BLOCK_TOKENS * ENGINE_BLOCK_TOKENS


def _distinct(frame: pd.DataFrame, column: str) -> int | None:
    return int(frame[column].replace("", np.nan).nunique()) if column in frame else None


def _lacks(log: Log, failures: np.ndarray, arrival_s: np.ndarray) -> dict[str, str]:
    """For each verb what the file lacks to be used by it."""
    frame, served = log.frame, int((~failures).sum())
    rows = "" if served else "needs a request that was served"
    loads = "holds several loads: --run says which" if len(log.runs) > 1 else ""
    simulate = rows or loads or ("" if len(arrival_s) else "needs times of arrival, or --rate to draw them at")
    timed = {"ttft_s", "itl_s"} <= set(frame)
    calibrate = rows or ("" if timed else "needs each request's time to its first token and gaps between tokens")
    calibrate = calibrate or ("" if "clock" in frame else "needs the start of each request")
    plan = simulate
    if not plan and (served < FEWEST_PLANNED or not arrival_s[-1] > arrival_s[0]):
        plan = f"needs {FEWEST_PLANNED} requests over some time (these are {served})"
    if not calibrate:
        plan = ""  # by its times: --bench
    stamped = set(STAMPS) <= {*log.columns, *log.unused}
    validate = rows or ("" if stamped else f"needs an engine's log with {', '.join(STAMPS)}")
    return {"simulate": simulate, "plan": plan, "calibrate": calibrate, "validate": validate}


def _of_summary(summary: Summary) -> Account:
    """The account of a file without rows: of its one load, or of several their names."""
    load = summary.loads[0] if len(summary.loads) == 1 else Load()
    failed, served = (sum(getattr(each, name) or 0 for each in summary.loads) for name in ("failed", "requests"))
    share, open_ = load.cached_share, summary.missing.count("(") > summary.missing.count(")")  # as it goes on there
    return Account(
        summary.source,
        summary.format,
        summary.version,
        failed=failed,
        requests=served,
        warnings=(*([f"{failed:,} of {failed + served:,} requests failed"] if failed else []), *summary.warnings),
        columns=summary.columns,
        unused=summary.unused,
        arrivals="none in the file",
        span_s=load.span_s,
        rate_rps=load.rate_rps,
        burstiness=_burstiness(np.zeros(0)),
        prompt_tokens=load.spreads.get("prompt_tokens"),
        output_tokens=load.spreads.get("output_tokens"),
        times={name: found for name, found in load.spreads.items() if name.endswith("_s")},
        prefix=None if share is None else {"block_tokens": None, "cached_share": share, "shared_in_part": 0},
        loads=tuple(str(each).splitlines()[0] for each in summary.loads) if len(summary.loads) > 1 else (),
        state=load.state,
        lacks=dict.fromkeys(("simulate", "plan", "calibrate", "validate"), summary.missing + ")" * open_),
        instead=summary.instead,
    )
