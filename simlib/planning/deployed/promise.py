"""What a plan promises of a window, and what it assumes of it: as a plan's JSON keeps it, and read from there again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simlib import reading
from simlib.checks import InputError, check_choice, check_integer, check_number, check_type, number_in, shown
from simlib.continuous.settings import ROUTING, Continuous
from simlib.latency.steps import StepLaw
from simlib.planning import objectives
from simlib.planning.objectives import Group, Objective, columns_of
from simlib.requests.clients import classes_of
from simlib.requests.table import TOKEN_COLUMNS, RequestTable
from simlib.stats.forecast import ahead
from simlib.stats.intervals import next_interval

#: What is assumed of a window, in the order in which it is said; `PACE` is the time of its steps over the law's.
RATE, PROMPTS, OUTPUTS, CACHED, FAILED, PACE = NAMES = (
    "rate_rps", "prompt_tokens", "output_tokens", "cached_share", "failed_share", "pace",
)  # fmt: skip
COVERAGE = 0.95  # of windows whose number lies in its range
KEPT = (*TOKEN_COLUMNS, "priority")
MOST = 4000  # requests of a typical window that are kept
SHORTEST_S = 1.0  # of a window
LAW = ("a_s", "b_s", "c_s", "d_s", "h_s", "way_in_s")
EXPECTED = "expected what `simlib plan --json FILE` wrote"
MICROSECONDS = 6  # digits of a kept arrival


@dataclass(frozen=True, slots=True)
class Assumed:
    """A number of a window: the one to be expected, and between which ends `COVERAGE` of the windows have it.

    Attributes
    ----------
    mean : float
    low, high : float, optional
        None where nobody knows how far it may be off, so that nothing is promised of it.
    """

    mean: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, values: Iterable[float], steps: Sequence[float] | None = None) -> Assumed:
        """That of one more, after these: draws of equal standing, or a series with so many steps behind each."""
        values = np.asarray(list(values), float)
        if len(values) < 2:
            return cls(float(values[0]))
        if not ((values > 0).all() and np.ptp(values) > 0):
            return cls(float(values.mean()), float(values.min()), float(values.max()))
        if steps is None:
            return cls(float(values.mean()), *next_interval(values, COVERAGE))
        found, tail = ahead(np.log(values), steps), (1 - COVERAGE) / 2
        return cls(*(math.exp(found.quantile(share)) for share in (0.5, tail, 1 - tail)))

    def holds(self, value: float) -> bool | None:
        """Whether a number is inside; None where nothing is promised."""
        return None if self.low is None or self.high is None else bool(self.low <= value <= self.high)

    def document(self) -> dict[str, float | None]:
        """For JSON."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Promised:
    """An objective, and in which range `COVERAGE` of the windows are predicted to have it, seconds."""

    objective: Objective
    range_s: Assumed


@dataclass(frozen=True, slots=True)
class Setup:
    """What was to be deployed, as far as a simulation needs it.

    Attributes
    ----------
    replicas, max_seqs, token_budget, kv_tokens, k_bins, steps_in_flight : int
    prefix_cache : bool
        Whether cached prompt tokens are expected, as a share of all.
    routing : str
        One of `continuous.settings.ROUTING`.
    law : StepLaw, optional
        None: it is no sum of parts, and nothing can be simulated again from JSON.
    order : {"fcfs", "priority"}
        As `plan.Configuration` has it.
    """

    replicas: int
    max_seqs: int
    token_budget: int
    kv_tokens: int
    k_bins: int = 1
    steps_in_flight: int = 1
    prefix_cache: bool = False
    routing: str = "shared"
    law: StepLaw | None = None
    order: str = "fcfs"

    def continuous(self, kv_tokens: int | None = None) -> Continuous:
        """The engine's settings; cached tokens are taken as the requests name them, wherever these are routed."""
        return Continuous(
            max_seqs=self.max_seqs,
            kv_tokens=self.kv_tokens if kv_tokens is None else kv_tokens,
            token_budget=self.token_budget,
            steps_in_flight=self.steps_in_flight,
            routing="least_tokens" if self.routing.startswith("prefix") else self.routing,
        )


@dataclass(frozen=True)
class Promise:
    """What a plan says of each window to come.

    Attributes
    ----------
    source : str
        The plan's file.
    window_s : float
    confidence : float or None
        Share of the windows that meet every objective; None: all should, and no share is promised.
    promised : tuple of Promised
    assumed : mapping of str to Assumed
        By `NAMES`; and by `share_of` the shares of classes with objectives of their own, but that of the last, which
        is the rest.
    setup : Setup
    typical : RequestTable, optional
        A window's requests, such as the plan was made for, or its first `MOST`.
    engine, version, model : str
        Whose law it is; empty where nobody knows.
    necessary : bool
        Whether the objectives only have to hold where those do that were promised (`classes.whole`): they can be
        missed, and do not tell that all is well.
    """

    source: str
    window_s: float
    confidence: float | None
    promised: tuple[Promised, ...]
    assumed: Mapping[str, Assumed]
    setup: Setup
    typical: RequestTable | None = None
    engine: str = ""
    version: str = ""
    model: str = ""
    necessary: bool = False

    @property
    def by(self) -> str:
        """The column of the classes that the objectives are of; empty where they are of all requests."""
        return next(iter(columns_of(self.objectives)), "")

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All of which are to be met."""
        return tuple(one.objective for one in self.promised)


def assumed(
    windows: Sequence[RequestTable],
    typical: RequestTable,
    pace: Assumed,
    law: Any = None,
    *,
    steps: Sequence[float] | None = None,
    by: str = "",
    engine: str = "",
    version: str = "",
    model: str = "",
) -> dict[str, Any]:
    """What a plan assumes of a window, for its JSON: the block ``assumed``, which `read` takes.

    Parameters
    ----------
    windows : sequence of RequestTable
        Those of a record, in order; or draws of what may come, each as likely as the others.
    typical : RequestTable
        The window that stands for them when something is simulated again.
    pace : Assumed
        Of `pace_range`.
    law : StepLaw, optional
    steps : sequence of float, optional
        Of a record: how many windows later the next one comes, behind each (`windows.Windows`).
    by : str
        The column whose values are classes with objectives of their own.
    engine, version, model : str
        Whose law it is, as the engine itself says it, such as ``"vLLM"`` and a served model's name.
    """
    numbers: dict[str, Callable[[RequestTable], float]] = {
        RATE: rate_rps,
        PROMPTS: lambda one: float(one.prompt_tokens.mean()),
        OUTPUTS: lambda one: float(one.output_tokens.mean()),
        CACHED: _cached_share,
    }
    ranges = {name: Assumed.of(map(number, windows), steps) for name, number in numbers.items()}
    ranges |= {FAILED: Assumed(0.0, 0.0, 0.0), PACE: pace}
    typical = typical.head(min(MOST, len(typical)))
    mix = _mix(windows, typical, by, steps) if by else None
    columns = {name: getattr(typical, name) for name in KEPT if getattr(typical, name) is not None}
    rows = {name: " ".join(map(str, values.tolist())) for name, values in columns.items()}
    rows["arrival_s"] = " ".join(f"{one:.{MICROSECONDS}f}" for one in typical.arrival_s - typical.arrival_s[0])
    kept = {name: getattr(law, name) for name in LAW} if isinstance(law, StepLaw) else None
    about = {"engine": engine, "version": version, "model": model}
    return {name: one.document() for name, one in ranges.items()} | {"law": kept, "mix": mix, "typical": rows, **about}


def classes_in(table: RequestTable, by: str) -> np.ndarray:
    """The class of each request, as text."""
    codes, values = classes_of(table, by)
    return np.array(list(map(str, values)))[codes]


def share_of(by: str, name: str) -> str:
    """What the share of a class among the requests is called."""
    return f"{by}={name}"


def _mix(
    windows: Sequence[RequestTable], typical: RequestTable, by: str, steps: Sequence[float] | None
) -> dict[str, Any]:
    """The shares of classes, and of which each request of the typical window is."""
    each = [classes_in(one, by) for one in windows]
    names = sorted(set(np.concatenate(each).tolist()))
    ranges = {name: Assumed.of([float(np.mean(one == name)) for one in each], steps) for name in names[:-1]}
    shares = {name: one.document() for name, one in ranges.items()}
    place = {name: str(number) for number, name in enumerate(names)}
    return {"by": by, "names": names, "shares": shares, "typical": " ".join(map(place.get, classes_in(typical, by)))}


def rate_rps(table: RequestTable) -> float:
    """Gaps over the time that they span."""
    span_s = float(table.arrival_s[-1] - table.arrival_s[0])
    return (len(table) - 1) / span_s if span_s > 0 else math.nan


def _cached_share(table: RequestTable) -> float:
    if table.cached_prompt_tokens is None or not table.prompt_tokens.any():
        return 0.0
    return float(table.cached_prompt_tokens.sum() / table.prompt_tokens.sum())


def pace_range(law: Any, run: Any, window_s: float, draws: int = 200, seed: int = 0) -> Assumed:
    """How much longer a window's steps may take than the law says, as its draws have it for the steps of a run.

    Parameters
    ----------
    law : StepLaw
        Without draws in its trust nothing is known.
    run : EngineRun
        The typical window, served by the law.
    window_s : float
        Over which the noise of steps averages out.
    draws, seed : int

    Returns
    -------
    Assumed
        Around 1.
    """
    drawn = law.drawn(draws, window_s, seed) if isinstance(law, StepLaw) else []
    if not drawn:
        return Assumed(1.0)
    sums = np.array([run.identity[name] for name in ("steps", "sum_decodes", "sum_prefill", "sum_context")])
    paces = [float(one.base.params[:4] @ sums / (law.params[:4] @ sums)) for one in drawn]
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(paces, (tail, 1 - tail))
    return Assumed(1.0, min(float(low), 1.0), max(float(high), 1.0))


def read(path: Any) -> Promise:
    """The promise of a plan that was written as JSON.

    Raises
    ------
    InputError
        If it is another kind of file, or promises nothing.
    """
    source, text = reading.text(path, "a plan")
    return of(reading.json_of(text, source), source)


def of(plan: Any, source: str = "plan") -> Promise:
    """The promise of a plan, as its JSON has it; `InputError` names the key that is missing, or not as expected."""
    if not isinstance(plan, Mapping) or not {"met", "configuration", "objectives"} <= set(plan):
        raise InputError(f"{source}: no plan ({EXPECTED})")
    if "assumed" not in plan or "window_s" not in plan:
        raise InputError(f"{source}: a plan that says nothing of windows ({EXPECTED}, of this version)")
    if not plan["met"]:
        raise InputError(f"{source}: nothing met its objectives, and nothing was promised (expected a plan that is)")
    block, chosen = _object(source, plan, "assumed"), _object(source, plan, "configuration")
    place = f"{source}, window_s"
    confidence = plan.get("confidence")
    if confidence is not None:
        confidence = check_number(f"{source}, confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    about = {name: str(block.get(name) or "") for name in ("engine", "version", "model")}
    return Promise(
        source=source,
        window_s=check_number(place, plan["window_s"], SHORTEST_S),
        confidence=confidence,
        promised=_promised(source, plan["objectives"]),
        assumed={name: _range(f"{source}, assumed, {name}", block.get(name)) for name in NAMES}
        | _shares(source, block),
        setup=_setup(source, chosen, block.get("law")),
        typical=_typical(source, block.get("typical"), block.get("mix")),
        **about,
    )


def _object(source: str, plan: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return check_type(f"{source}, {name}", plan[name], Mapping, f"an object; {EXPECTED}")


def _promised(source: str, found: Any) -> tuple[Promised, ...]:
    rows = check_type(f"{source}, objectives", found, list, f"an array; {EXPECTED}")
    places = [f"{source}, objectives, {number}" for number in range(len(rows))]
    for place, row in zip(places, rows, strict=True):
        check_type(place, row, Mapping, f"an object; {EXPECTED}")
        if row.get("class") is not None:
            check_type(f"{place}, class", row["class"], str, "a class such as priority=0")
    named = dict.fromkeys(row["class"].partition("=")[2] for row in rows if "=" in (row.get("class") or ""))
    promised = []
    for place, row in zip(places, rows, strict=True):
        text = check_type(place, row.get("objective"), str, "an objective such as ttft_p99<=1")
        text = text.removeprefix(f"{row.get('class')}: ")
        try:
            (objective,) = objectives.parse(text if text.endswith("s") else f"{text}s")
        except InputError as problem:
            raise InputError(f"{place}, {problem}") from None
        if row.get("class"):
            objective = replace(objective, group=_group(place, row["class"], tuple(named)))
        promised.append(Promised(objective, _range(place, row)))
    if not promised:
        raise InputError(f"{source}, objectives: none (expected at least one)")
    return tuple(promised)


def _group(place: str, text: str, named: tuple[str, ...]) -> Group:
    """The class ``priority=0``, or ``priority not 0``: all others."""
    by, equals, of = text.partition("=")
    if not equals:
        by, others, _ = text.partition(" not ")
        if not others or not named:
            raise InputError(f"{place}, class: {shown(text)} (expected a class such as priority=0)")
    return Group(by, of, () if of else named)


def _shares(source: str, block: Mapping[str, Any]) -> dict[str, Assumed]:
    """What is assumed of how many requests are of which class; of a plan without classes nothing."""
    place, mix = f"{source}, assumed, mix", block.get("mix")
    if mix is None:
        return {}
    check_type(place, mix, Mapping, f"an object; {EXPECTED}")
    by = check_type(f"{place}, by", mix.get("by"), str, "a column's name")
    found = check_type(f"{place}, shares", mix.get("shares"), Mapping, f"ranges; {EXPECTED}")
    return {share_of(by, name): _range(f"{place}, shares, {name}", one) for name, one in found.items()}


def _range(place: str, found: Any) -> Assumed:
    check_type(place, found, Mapping, f"mean, low and high; {EXPECTED}")
    ends = {end: found.get(end) for end in ("low", "high")}
    ends = {end: None if value is None else check_number(f"{place}, {end}", value) for end, value in ends.items()}
    middle = "mean" if "mean" in found else "middle"  # of objectives half the windows have more
    return Assumed(check_number(f"{place}, {middle}", found.get(middle)), **ends)


def _setup(source: str, chosen: Mapping[str, Any], law: Any) -> Setup:
    def count(name: str, usual: int | None = None) -> int:
        given = chosen.get(name, usual)
        return check_integer(f"{source}, configuration, {name}", given, 1)

    replicas = count("replicas")
    routing = chosen.get("routing") or ("least_tokens" if replicas > 1 else "shared")
    if routing not in ROUTING:
        raise InputError(f"{source}, configuration, routing: {shown(routing)} (expected one of {', '.join(ROUTING)})")
    if law is not None:
        check_type(f"{source}, assumed, law", law, Mapping, "a law's numbers")
        law = StepLaw(**{name: check_number(f"{source}, assumed, law, {name}", law.get(name), 0.0) for name in LAW})
    return Setup(
        replicas,
        count("max_num_seqs"),
        count("max_num_batched_tokens"),
        count("kv_tokens"),
        count("k_bins", 1),
        count("steps_in_flight", 1),
        bool(chosen.get("prefix_caching")),
        routing,
        law,
        check_choice(f"{source}, configuration, order", chosen.get("order", "fcfs"), ("fcfs", "priority")),
    )


def _typical(source: str, found: Any, mix: Any = None) -> RequestTable | None:
    if found is None:
        return None
    place = f"{source}, assumed, typical"
    texts = {name: text for name, text in check_type(place, found, Mapping, "columns").items() if text is not None}
    columns = {
        name: check_type(f"{place}, {name}", text, str, "numbers with blanks between").split()
        for name, text in texts.items()
        if name in ("arrival_s", *KEPT)
    }
    by = mix["by"] if mix else "priority"
    if by != "priority":
        columns[by] = _labels(f"{source}, assumed, mix", mix)
    try:
        return RequestTable.of(columns, [] if by == "priority" else [by])
    except InputError as problem:
        raise InputError(f"{place}, {problem}") from None


def _labels(place: str, mix: Mapping[str, Any]) -> np.ndarray:
    """The class of each request of the typical window."""
    names = check_type(f"{place}, names", mix.get("names"), list, "names of classes")
    codes = check_type(f"{place}, typical", mix.get("typical"), str, "numbers with blanks between").split()
    numbers = [check_integer(f"{place}, typical", number_in(code), 0, len(names) - 1) for code in codes]
    return np.array(list(map(str, names)), object)[numbers]
