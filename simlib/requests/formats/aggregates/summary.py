"""What is known of requests of which a file has only counts, means and quantiles."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from simlib.text import percent, span, three

# A number, or the bounds between which it lies.
Known = float | tuple[float, float]
LARGEST = 1e15  # of a count, a length or a time


@dataclass(frozen=True, slots=True)
class Load:
    """The numbers of one load, or of one model behind one engine; what a file does not say is None, or absent.

    Attributes
    ----------
    name : str
        What it is called; empty where a file has one.
    requests, failed : int, optional
        Served, and failed beside them.
    span_s, rate_rps : float, optional
        How long it took, and how many came a second.
    spreads : mapping of str to mapping of str to (float or (float, float))
        ``mean``, ``median`` and ``p99`` (a number, or the bounds between which it lies) of ``prompt_tokens``,
        ``output_tokens``, and in seconds of ``ttft_s``, ``itl_s``, ``tpot_s``, ``latency_s`` and ``queue_s``.
    histograms : mapping of str to (list of float, list of float)
        Edges and counts of ``prompt_tokens`` and ``output_tokens``, as `from_histograms` takes them.
    cached_share : float, optional
        Prompt tokens that the prefix cache had.
    state : mapping of str to float
        The engine when it was looked at.
    """

    name: str = ""
    requests: int | None = None
    failed: int | None = None
    span_s: float | None = None
    rate_rps: float | None = None
    spreads: Mapping[str, Mapping[str, Known]] = field(default_factory=dict)
    histograms: Mapping[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    cached_share: float | None = None
    state: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        head = [self.name] if self.name else []
        head += [f"{self.requests:,} requests"] if self.requests is not None else []
        head += [f"{self.failed:,} failed"] if self.failed else []
        head += [span(self.span_s)] if self.span_s is not None else []
        head += [f"{three(self.rate_rps)}/s"] if self.rate_rps is not None else []
        head += [f"{percent(self.cached_share)} of the prompt tokens cached"] if self.cached_share is not None else []
        lines = [", ".join(head)] + [f"  {what}: {_said(found)}" for what, found in self.spreads.items()]
        lines += [f"  {what}: {three(value)}" for what, value in self.state.items()]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Summary:
    """A file that has no row a request; `str` gives its numbers.

    Attributes
    ----------
    source, format, version : str
        As a `Log`'s.
    loads : tuple of Load
        One or more.
    columns : mapping of str to str
        What was read, and what each was taken for.
    missing : str
        What it lacks for a simulation, and what would record it.
    unused, warnings : tuple of str
        As a `Log`'s.
    """

    source: str
    format: str
    loads: tuple[Load, ...]
    columns: Mapping[str, str]
    missing: str
    version: str = ""
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self.loads))

    @property
    def instead(self) -> str:
        """What can be done with it."""
        known = [load for load in self.loads if load.requests != 0] or self.loads
        load = max(known, key=lambda load: (load.rate_rps or 0.0, load.requests or 0))
        if "prompt_tokens" in load.histograms and "output_tokens" in load.histograms:
            return (
                "simlib.requests.histograms.from_histograms draws requests from its histograms of lengths, at a rate "
                "that you know"
            )
        lengths = [_log_normal(load.spreads.get(name, {})) for name in ("prompt_tokens", "output_tokens")]
        if None in lengths:
            return "simlib plan --rate RPS --prompt MEDIAN,SIGMA --output MEDIAN,SIGMA plans for what you know of them"
        rate = "RPS" if load.rate_rps is None else f"{load.rate_rps:.3g}"
        which = f" (the load {shlex.quote(load.name)})" if len(self.loads) > 1 and load.name else ""
        spread = ", SIGMA being how the lengths spread" if any("SIGMA" in text for text in lengths) else ""
        return (
            f"simlib plan --rate {rate} --prompt {lengths[0]} --output {lengths[1]} plans with its means{which}{spread}"
        )

    @property
    def refusal(self) -> str:
        """Why there are no requests in it, and what can be done: one sentence."""
        return f"{self.source}: {self.missing}; {self.instead}"


def spread(
    found: Mapping[str, object], names: Mapping[str, tuple[str, ...]], per_unit: float = 1.0
) -> dict[str, float]:
    """The statistics that an object has, by the first of each one's names, in units of which one has `per_unit`."""
    values = {ours: next((found[name] for name in theirs if name in found), None) for ours, theirs in names.items()}
    return {ours: value / per_unit for ours, value in values.items() if is_number(value)}


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def _said(found: Mapping[str, Known]) -> str:
    texts = {
        name: f"{three(known[0])} to {three(known[1])}" if isinstance(known, tuple) else three(known)
        for name, known in found.items()
    }
    return ", ".join(f"{name} {text}" for name, text in texts.items())


def _log_normal(found: Mapping[str, Known]) -> str | None:
    """Lengths as ``plan`` takes them; the spread is told where mean and median are both known."""
    mean, median = (found.get(name) for name in ("mean", "median"))
    if not isinstance(mean, float) or mean <= 0:
        return None
    if isinstance(median, float) and 0 < median < mean:
        return f"{median:.4g},{math.sqrt(2 * math.log(mean / median)):.2g}"
    return f"{mean:.4g},SIGMA"
