"""Windows between scrapes of ``/metrics``: what counters and histograms have grown by, vLLM's or SGLang's.

Means are exact, a sum over a count; of several replicas, told apart by labels or by files, counts are added up. A
quantile is known by the bucket that it lies in, and given as its two ends. A scrape does not say when it was made,
unless Prometheus wrote the time behind each value (``/federate`` does).
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simlib.checks import InputError, number_in
from simlib.planning.deployed.promise import CACHED, FAILED, OUTPUTS, PROMPTS, RATE
from simlib.planning.deployed.window import ITL, KV, SHORT, TTFT, Observed
from simlib.planning.objectives import Objective
from simlib.requests.formats.aggregates import metrics
from simlib.requests.formats.document import Document
from simlib.text import many, span

Key = tuple[str, tuple[tuple[str, str], ...]]
Grown = Mapping[tuple[str, str], float]  # by name and bucket or reason; others have ""
REPLICA = "replica"  # a label of ours, of scrapes that were put together
ENGINE = (REPLICA, "instance", "engine", "dp_rank")  # labels that tell engines apart
PARTS = ("le", "finished_reason")
STARTED = "process_start_time_seconds"
CACHE_CONFIG, CACHE_TOKENS = "cache_config_info", "max_total_num_tokens"
PREEMPTED = ("num_preemptions_total", "num_retracted_requests_total")
REFUSED = "admission_rejections_total"
STEPS = "iteration_tokens_total"
MADE_TOKENS = "generation_tokens_total"
INSIDE = tuple(name for state, names in metrics.STATE.items() if state.startswith("requests ") for name in names)


@dataclass(frozen=True)
class Scrape:
    """One scrape: the engine's name, its series by name and labels, and when it was made, if it says so, seconds.

    Of several replicas' scrapes, `together`, `files` has each one's.
    """

    source: str
    engine: str
    series: Mapping[Key, float]
    time_s: float | None
    files: tuple[str, ...] = ()

    @classmethod
    def of(cls, document: Document) -> Scrape:
        """The scrape that a document is; `InputError` where it has no requests, or is two scrapes."""
        source, engine, series, time_s = document.source, "", {}, None
        for name, labels, value, time, *_ in metrics.samples(source, document.text or ""):
            prefix, _, own = name.partition(":")
            if any(labels.get(rank, "0") not in ("", "0") for rank in metrics.RANKS) or labels.get("priority"):
                continue
            if name != STARTED and (prefix not in metrics.ENGINES or not own):
                continue
            key = (own or name, tuple(sorted(labels.items())))
            if key in series:
                said = ", ".join(f"{label}={text}" for label, text in key[1])
                raise InputError(f"{source}, {name}: {said!r} twice (expected one scrape in a file)")
            series[key] = value
            engine = metrics.ENGINES.get(prefix, engine)
            time_s = time if time_s is None or (time or 0.0) > time_s else time_s
        if not any(name == f"{theirs}_count" for name, _ in series for theirs in metrics.HISTOGRAMS["ttft_s"]):
            raise InputError(
                f"{source}: no times to first tokens (expected vLLM's or SGLang's /metrics, after requests)"
            )
        return cls(source, engine, series, time_s)

    @classmethod
    def together(cls, scrapes: Sequence[Scrape], apart_s: float) -> Scrape:
        """Scrapes of replicas as one; `InputError` if of several models, or further apart than so many seconds."""
        if len(scrapes) == 1:
            return scrapes[0]
        first = scrapes[0]
        for one in scrapes:
            if (one.engine, one.models) != (first.engine, first.models):
                about = [f"{each.engine}, {', '.join(sorted(each.models)) or 'no model'}" for each in (one, first)]
                raise InputError(f"{one.source}: of {about[0]} (expected {about[1]}, as in {first.source})")
        times = sorted((one.time_s, one.source) for one in scrapes if one.time_s is not None)
        if times and times[-1][0] - times[0][0] > apart_s:
            late_s = times[-1][0] - times[0][0]
            expected = f"expected replicas' scrapes of one moment, within {span(apart_s)}"
            raise InputError(f"{times[-1][1]}: {span(late_s)} after {times[0][1]} ({expected})")
        series = {
            (name, tuple(sorted((*labels, (REPLICA, str(number)))))): value
            for number, one in enumerate(scrapes)
            for (name, labels), value in one.series.items()
        }
        source = ",".join(one.source for one in scrapes)
        time_s = times[-1][0] if len(times) == len(scrapes) else None
        return cls(source, first.engine, series, time_s, tuple(one.source for one in scrapes))

    def file_of(self, key: Key) -> str:
        """The file that a series is in."""
        number = dict(key[1]).get(REPLICA, "")
        return self.files[int(number)] if self.files else self.source

    @property
    def models(self) -> set[str]:
        """Names of the models that it speaks of."""
        return {text for _, labels in self.series for label, text in labels if label == "model_name"}

    @property
    def engines(self) -> set[tuple[str, ...]]:
        """Engines that have counted first tokens, by the labels that tell them apart."""
        found = [dict(labels) for name, labels in self.series if name.endswith("time_to_first_token_seconds_count")]
        return {tuple(labels.get(label, "") for label in ENGINE) for labels in found}

    def sum(self, *names: str) -> float | None:
        """Of all series with the first of these names that there is."""
        for name in names:
            if found := [value for (own, _), value in self.series.items() if own == name]:
                return sum(found)
        return None

    @property
    def kv_tokens(self) -> float | None:
        """Tokens of one replica's cache; vLLM keeps a block for itself."""
        for (name, labels), value in self.series.items():
            if name == CACHE_TOKENS:
                return value
            if name == CACHE_CONFIG:
                about = dict(labels)
                blocks, size = (number_in(about.get(word, "")) for word in ("num_gpu_blocks", "block_size"))
                return (blocks - 1) * size if blocks > 1 and size > 0 else None
        return None


def windows(
    scrapes: Sequence[Scrape], objectives: Sequence[Objective], window_s: float, every_s: float | None, replicas: int
) -> list[Observed]:
    """The windows between scrapes, in the order in which they were made.

    Parameters
    ----------
    scrapes : sequence of Scrape
        At least two, of one model on one kind of engine.
    objectives : sequence of Objective
    window_s : float
        What is promised of. Scrapes that are nearer to each other are taken together.
    every_s : float, optional
        From one to the next, where they do not say when they were made.
    replicas : int
        Of which a scrape may show some: the rate of all is then taken to be as many times theirs.

    Raises
    ------
    InputError
        If nobody knows how long it is from one to the next, or that is less than a window in all; if they are of
        several engines or models; if the engine was started again, and nothing is left.
    """
    if len(scrapes) < 2:
        raise InputError(f"{scrapes[0].source}: one scrape (expected two or more: counts are differences of them)")
    times_s, ordered = _times(scrapes, every_s)
    _check_alike(ordered)
    found, cut = [], []
    first = 0
    for number in range(1, len(ordered)):
        if again := _restarted(ordered[number - 1], ordered[number]):
            cut.append(again)
            first = number
        elif times_s[number] - times_s[first] >= (1 - SHORT) * window_s:
            span_s = times_s[number] - times_s[first]
            found.append(_window(ordered[first], ordered[number], span_s, objectives, replicas))
            first = number
    if not found:
        least = f"expected at least {span(window_s)}, one window of the plan, of one life of the engine"
        raise InputError(cut[0] if cut else f"{ordered[0].source}: {span(times_s[-1])} to the last scrape ({least})")
    for said in cut:
        warnings.warn(f"{said}; what was counted before is left out", stacklevel=2)
    if found[0].span_s > 2 * window_s:
        text = f"{found[0].name}: {span(found[0].span_s)}, taken as one window though {span(window_s)} were promised"
        warnings.warn(f"{text} (expected scrapes that far apart)", stacklevel=2)
    return [one for one in found if one.requests]


def _times(scrapes: Sequence[Scrape], every_s: float | None) -> tuple[list[float], list[Scrape]]:
    """When they were made, from the first on, and the scrapes in that order."""
    if every_s is not None:
        return [number * every_s for number in range(len(scrapes))], list(scrapes)
    if silent := [one.source for one in scrapes if one.time_s is None]:
        raise InputError(f"{silent[0]}: a scrape without times (expected --every, how long it is from one to the next)")
    ordered = sorted(scrapes, key=lambda one: one.time_s)
    return [one.time_s - ordered[0].time_s for one in ordered], ordered


def _check_alike(scrapes: Sequence[Scrape]) -> None:
    first = scrapes[0]
    for one in scrapes:
        if len(one.models) > 1:
            raise InputError(f"{one.source}: models {', '.join(sorted(one.models))} (expected one)")
        if len(one.files) != len(first.files):
            mine, other = (max(len(each.files), 1) for each in (one, first))
            raise InputError(f"{one.source}: {many(mine, 'replica')} (expected {other}, as in {first.source})")
        for what, mine, other in (
            ("of", {one.engine}, {first.engine}),
            ("of model", one.models, first.models),
            ("of engines", {"/".join(each).strip("/") or "0" for each in one.engines},
             {"/".join(each).strip("/") or "0" for each in first.engines}),
        ):  # fmt: skip
            if mine != other:
                mine, other = (", ".join(sorted(each)) or "none" for each in (mine, other))
                raise InputError(f"{one.source}: {what} {mine} (expected {other}, as in {first.source})")


def _restarted(before: Scrape, after: Scrape) -> str:
    """A sentence if the engine was started again between two scrapes, else nothing."""
    for key, old in before.series.items():
        name, new = key[0], after.series.get(key)
        if name == STARTED or name.endswith("_created"):
            reset = new is not None and new != old
        else:
            reset = name.endswith(metrics.SUMS) and (new is None or new < old)
        if reset:
            said = "gone" if new is None else f"{new:g}"
            theirs, ours = (one.file_of(key) for one in (before, after))
            return f"{ours}, {name}: {said} after {old:g} in {theirs}: the engine was started in between"
    return ""


def _window(before: Scrape, after: Scrape, span_s: float, objectives: Sequence[Objective], replicas: int) -> Observed:
    grown: dict[tuple[str, str], float] = defaultdict(float)
    for (name, labels), value in after.series.items():
        if name.endswith(metrics.SUMS):
            part = next((text for label, text in labels if label in PARTS), "")
            grown[name, part] += value - before.series.get((name, labels), 0.0)
    name = f"{before.source} to {after.source}"
    spreads = {ours: _spread(grown, names) for ours, names in metrics.HISTOGRAMS.items()}
    known = {ITL: _mean(spreads["itl_s"]), TTFT: _mean(spreads["ttft_s"]), KV: after.kv_tokens}
    finished, failed = _ended(grown)
    if finished is None:  # nobody counts how they ended
        finished = spreads["ttft_s"].count if spreads["ttft_s"] else 0.0
    inside = [sum(one.sum(each) or 0.0 for each in INSIDE) for one in (before, after)]
    refused = _of(grown, REFUSED) or 0.0
    came = max(finished + refused + inside[1] - inside[0], 0.0)
    known[FAILED] = None if failed is None else (failed + refused) / max(finished + refused, 1.0)
    known[RATE] = came / span_s * replicas / min(len(after.engines), replicas)
    known[PROMPTS] = _mean(spreads["prompt_tokens"], _of(grown, metrics.PROMPTS), finished)
    known[OUTPUTS] = _mean(spreads["output_tokens"], _of(grown, MADE_TOKENS), finished)
    known[CACHED] = _cached(grown)
    steps = _of(grown, f"{STEPS}_count")
    about = {
        "preemptions": next(filter(None, (_of(grown, each) for each in PREEMPTED)), None),
        "tokens a step": _of(grown, f"{STEPS}_sum") / steps if steps else None,
        "engines seen": len(after.engines),
    }
    return Observed(
        name,
        span_s,
        round(finished),
        _values_s(spreads, objectives),
        {what: value for what, value in known.items() if value is not None},
        engine=after.engine,
        model=next(iter(after.models), ""),
        about={what: value for what, value in about.items() if value is not None},
    )


@dataclass(frozen=True)
class _Spread:
    """A histogram's growth."""

    buckets: Mapping[float, float]
    total: float | None

    @property
    def count(self) -> float:
        return max(self.buckets.values())


def _of(grown: Grown, name: str) -> float | None:
    return grown.get((name, ""))


def _spread(grown: Grown, names: Sequence[str]) -> _Spread | None:
    for name in names:
        buckets = {metrics.upper_edge(part): count for (own, part), count in grown.items() if own == f"{name}_bucket"}
        if buckets and None not in buckets and math.inf in buckets and max(buckets.values()) > 0:
            return _Spread(dict(sorted(buckets.items())), _of(grown, f"{name}_sum"))
    return None


def _mean(found: _Spread | None, total: float | None = None, count: float = 0.0) -> float | None:
    if found is not None and found.total is not None:
        return found.total / found.count
    return total / count if total is not None and count else None


def _ended(grown: Grown) -> tuple[float | None, float | None]:
    """Requests that ended, and those among them that failed."""
    reasons = {part: count for (name, part), count in grown.items() if name == metrics.FINISHED}
    if reasons:
        return sum(reasons.values()), sum(reasons.get(reason, 0.0) for reason in metrics.FAILURES)
    made = _of(grown, metrics.MADE)
    return made, None if made is None else _of(grown, metrics.ABORTED) or 0.0


def _cached(grown: Grown) -> float | None:
    """The share of prompt tokens that the cache had; an engine without one has not counted a query."""
    queries, hits = (next((_of(grown, one) for one in names if (one, "") in grown), None)
                     for names in (metrics.QUERIES, metrics.HITS))  # fmt: skip
    if queries is not None:
        return (hits or 0.0) / queries if queries else 0.0
    cached, prompts = _of(grown, metrics.CACHED), _of(grown, metrics.PROMPTS)
    return None if cached is None or not prompts else min(cached / prompts, 1.0)


def _values_s(spreads: Mapping[str, _Spread | None], objectives: Sequence[Objective]) -> dict[str, tuple[float, float]]:
    """Each objective that the histograms know: its mean, or the ends of the buckets that its quantile lies in."""
    found = {}
    for one in objectives:
        spread = spreads[f"{one.metric}_s"]
        if spread is None:
            continue
        if one.quantile is None:
            mean_s = _mean(spread)
            if mean_s is not None:
                found[one.name] = mean_s, mean_s
        else:  # between two requests, as a run's quantile is
            place = (spread.count - 1) * one.quantile
            ends = [metrics.bounds(spread.buckets, rank + 1) for rank in (math.floor(place), math.ceil(place))]
            found[one.name] = ends[0][0], ends[1][1]
    return found


def said_of(scrapes: Sequence[Scrape], replicas: int) -> str:
    """A sentence where scrapes show other engines than a plan has; else nothing."""
    seen = len(scrapes[0].engines)
    if seen == replicas:
        return ""
    planned = f"where the plan has {many(replicas, 'replica')}"
    if seen > replicas:
        return f"{scrapes[0].source}: {many(seen, 'engine')}, {planned}"
    return f"{scrapes[0].source}: {many(seen, 'engine')}, {planned}: the rate of all is taken to be in proportion"
