"""A run as a person reads it: times by their units, the deadline, the objectives, the label, what was assumed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simlib.text import interval, percent, span, three

WIDTH, MARGIN, CELL = 100, 16, 10
TIMES = {
    "latency": "latency",
    "queueing": "  queueing",
    "service": "  service",
    "ttft": "first token",
    "tpot": "a token",
    "itl": "token gaps",
}
STATISTICS = ("mean", "p50", "p95", "p99")
LIMITS = {"latency": "end to end", "ttft": "to the first token", "tpot": "a token"}
STABILITY = {
    "stable": "stable: queues do not grow",
    "near_critical": "near critical: whether queues grow cannot be told",
    "unstable": "unstable: queues grow, and these times with the length of the run",
    "unknown": "unknown: too few requests to tell (5,000)",
    "closed": "closed: no queue is longer than there are clients; the rate is what they get",
}


def text(
    run: Any,
    head: str,
    objectives: Sequence[Mapping[str, Any]],
    assumed: Sequence[str],
    within: Any = None,
    ranges: Mapping[str, Any] | None = None,
) -> str:
    """A run's table.

    Parameters
    ----------
    run : Run
    head : str
        What was simulated, in a line.
    objectives : sequence of mapping
        Each with ``objective, value_s, met``.
    assumed : sequence of str
        What nobody said.
    within : clients.Window, optional
        Of a closed loop: the time that counts.
    ranges : mapping of str to Predicted, optional
        Its numbers with their intervals, where the law keeps draws of itself.
    """
    numbers = run.summary(within=within)
    abandoned, cancelled = (getattr(run, name, 0) for name in ("abandoned", "cancelled"))
    served = len(run.table) - run.rejected - abandoned - cancelled
    many = [f"{served:,} served", f"{run.rejected:,} rejected"]
    many += [f"{abandoned:,} gone before they were admitted"] if abandoned else []
    many += [f"{cancelled:,} cancelled by their clients"] if cancelled else []
    many += [f"{numbers['failed']:,} failed among them"] if numbers.get("failed") else []
    late = f"{percent(numbers['sla_violation_share'])}, deadline {_limits(run.sla)}"
    late += " (assumed)" if run.sla.assumed else ""
    if on_time := failed_on_time(run):
        late += f"; of the rest {on_time:,} failed, and were judged by when they ended"
    engine = hasattr(run, "preemptions")
    sizes = f"{three(numbers['batch_size_mean'])} {'decode in a step' if engine else 'in a batch'} on average"
    rows = [
        ("requests", ", ".join(many)),
        ("clients", "" if within is None else _clients(run, within, numbers["requests"])),
        ("late", f"{late}; goodput {three(numbers['goodput_rps'])}/s"),
        *(
            ("objective" if number == 0 else "", f"{each['objective']}: {span(each['value_s'])}, {_met(each)}")
            for number, each in enumerate(objectives)
        ),
        ("", "".join(f"{name.upper() if name != 'mean' else name:>{CELL}}" for name in STATISTICS)),
        *((label, _times(numbers, name)) for name, label in TIMES.items()),
        *(
            ("predicted" if number == 0 else "", f"{label}: {said}")
            for number, (label, said) in enumerate(_predicted(ranges or {}))
        ),
        (
            "throughput",
            f"{three(numbers['throughput_rps'])} requests/s, {three(numbers['output_tokens_per_s'])} tokens/s",
        ),
        ("GPUs", f"{percent(numbers['gpu_utilization'])} busy over {_over(numbers, within)}, {sizes}"),
        *([("preempted", f"{run.preemptions:,} times")] if engine and run.preemptions else []),
        ("prefix cache", _cached(numbers)),
        ("stability", STABILITY[numbers["stability"]]),
        ("controller", f"collapsed: its target is missed at its least size, {run.least}" if run.collapsed else ""),
        ("assumed", "; ".join(assumed)),
    ]
    return "\n".join([head, *(line for label, said in rows if said for line in _wrapped(label, said))])


def closed(run: Any, within: Any) -> dict[str, Any]:
    """Of a closed loop, for a machine: the time that counts, and the interactive law N = X (R + Z) in it."""
    from simlib.runs.clients import interactive_clients

    law = interactive_clients(run.table, run.times.completion_s, within)
    return {**within._asdict(), "interactive_law_clients": law}


def _clients(run: Any, within: Any, answered: int) -> str:
    law = three(closed(run, within)["interactive_law_clients"])
    return (
        f"{within.clients:,}, all at work from {span(within.start_s)} to {span(within.end_s)}; what follows is of the "
        f"{answered:,} requests answered then; throughput x (latency + thinking) = {law} clients"
    )


def _over(numbers: Mapping[str, Any], within: Any) -> str:
    return span(numbers["makespan_s"]) if within is None else "the whole run"


def by_class(frame: Any) -> str:
    """What each class got (`metrics.by_class`), a row a class."""
    from simlib.cli.outputs import aligned
    from simlib.lazy import pd

    by = frame.columns[0]
    rows = []
    for row in frame.to_dict("records"):
        known = row["ci_low"] == row["ci_low"]
        limits = f" ({interval(row['ci_low'], row['ci_high'])})" if known else ""
        shown = {by: str(row[by]), "requests": row["requests"], "late": percent(row["sla_violation_share"]) + limits}
        for name in ("ttft", "tpot", "latency"):
            mean_s, p99_s = (row[f"{name}_{statistic}_s"] for statistic in ("mean", "p99"))
            shown[f"{TIMES[name]}, mean, P99"] = f"{span(mean_s)}, {span(p99_s)}"
        rows.append(shown)
    return aligned(pd.DataFrame(rows))


def _limits(sla: Any) -> str:
    """An SLA for eyes; by class, each with its own."""
    limits = ", ".join(f"{span(limit_s)} {LIMITS[metric]}" for metric, limit_s in sla.limits_s.items())
    classes = [f"{sla.by} {name}: {_limits(own)}" for name, own in sla.classes.items()]
    return "; ".join([*classes, *([f"others: {limits}" if classes else limits] if limits else [])])


def failed_on_time(run: Any) -> int:
    """How many failed requests, kept as in the original system, ended in time; none of them is goodput."""
    from simlib.runs.metrics import violations

    return int(((run.table.output_tokens == 0) & ~violations(run)).sum())


def _cached(numbers: Mapping[str, Any]) -> str:
    share = numbers.get("prefix_hit_share", float("nan"))
    return f"{percent(share)} of the prompt tokens found" if share == share else ""


def _met(objective: Mapping[str, Any]) -> str:
    return "met" if objective["met"] else "NOT met"


def _times(numbers: Mapping[str, Any], name: str) -> str:
    """Statistics of a time, each in its own unit; those that a summary does not have are left blank."""
    values = [numbers.get(f"{name}_{statistic}_s") for statistic in STATISTICS]
    return "".join(f"{'' if value is None else span(value):>{CELL}}" for value in values)


def _predicted(ranges: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What another such run may have, in 95 of 100: mean and P99 of each time."""
    for name, label in TIMES.items():
        if f"{name}_mean_s" in ranges:
            (mean, *mean_ends), (p99, *p99_ends) = ranges[f"{name}_mean_s"], ranges[f"{name}_p99_s"]
            yield label, f"{span(mean)}, {_ends(mean_ends)}; P99 {span(p99)}, {_ends(p99_ends)}"


def _ends(ends: Sequence[float]) -> str:
    return " to ".join(map(span, ends))


def _wrapped(label: str, said: str) -> list[str]:
    first, next_ = f"  {label:<{MARGIN - 2}}", " " * MARGIN
    if said.startswith(" "):  # columns of a table
        return [(first + said).rstrip()]
    return textwrap.wrap(said, WIDTH, initial_indent=first, subsequent_indent=next_)
