"""Where the explorer's controls stand: one checked position, the runs that it means, and the call that repeats them.

First in the explorer's flow: `views` makes arrays of its runs, `widget` shows them. Every control is said
once, in `CONTROLS`, with its label and its range; the browser draws its inputs from there.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from book.kit.names import EXECUTION_NAMES, SCHEDULER_NAMES
from simlib import levels, named
from simlib.checks import InputError, check_choice, check_each, check_integer, check_number, check_type
from simlib.continuous.settings import Continuous
from simlib.latency import presets
from simlib.named import EXECUTIONS, POLICIES
from simlib.policies.plan import SELECTIONS
from simlib.requests import predictors, traces
from simlib.requests.azure import azure_like
from simlib.requests.table import RequestTable
from simlib.requests.workload import original
from simlib.runs.run import Run
from simlib.simulation import simulate
from simlib.text import signed

WORKLOADS = {
    "synthetic": "synthetic, Poisson",
    "burstgpt": "BurstGPT sample",
    "burstgpt_like": "drawn like BurstGPT",
    "azure_like": "drawn like Azure's conversations",
    "own": "own table",
}
PREDICTORS: dict[str, predictors.Predictor | None] = {
    "original": predictors.OriginalFormula(),
    "oracle": predictors.Oracle(),
    "noise_0.25": predictors.MultiplicativeNoise(0.25),
    "noise_0.5": predictors.MultiplicativeNoise(0.5),
    "noise_1": predictors.MultiplicativeNoise(1.0),
    "own": None,
}
PREDICTOR_NAMES = {
    "original": "the original's formula, from the prompt",
    "oracle": "oracle: the true length",
    "noise_0.25": "noise, log-sd 0.25",
    "noise_0.5": "noise, log-sd 0.5",
    "noise_1": "noise, log-sd 1",
    "own": "the table's own",
}
GPU_NAMES = {"a100-80gb": "Nvidia A100, 80 GB (Splitwise)", "h100-80gb": "Nvidia H100, 80 GB (Splitwise)"}
FAMILY = "explorer"  # of the random streams that its predictors draw from


@dataclass(frozen=True, slots=True)
class Control:
    """One control: its label, and what it takes.

    Parameters
    ----------
    name, label : str
        The position's field; what a reader sees.
    kind : {"number", "choice", "several", "text"}
        A number with a slider; one of the choices, or any of them; a text, for which the choices are suggestions.
    low, high, step : float
        Range of a number, and its slider's step.
    unit : str
        Of a number.
    hint : str
        Of a text: what is expected.
    choices : mapping of str to str
        Values, and what a reader sees in their place.
    groups : mapping of str to mapping of str to str
        Choices by what they have in common; of a text, those beside which another may be typed.
    main : bool
        Whether it is always shown, or under *More*.
    """

    name: str
    label: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0
    unit: str = ""
    hint: str = ""
    choices: Mapping[str, str] | None = None
    groups: Mapping[str, Mapping[str, str]] | None = None
    main: bool = False


CHOSEN_FROM = (*levels.SCHEDULERS, "multi_bin_fixed", "shortest_predicted_first")
_SCHEDULERS = {name: SCHEDULER_NAMES[name] for name in CHOSEN_FROM}
_ENGINE = Continuous()
SELECTION_NAMES = {name: name.replace("_", " ") for name in SELECTIONS}
CONTROLS = (
    Control("schedulers", "Schedulers", "several", choices=_SCHEDULERS, main=True),
    Control("execution", "Execution", "choice", choices=EXECUTION_NAMES, main=True),
    Control("d_sla", "D_SLA", "number", 0.05, 5.0, 0.05, "s", main=True),
    Control("k_bins", "K_BINS", "number", 1, 32, 1, main=True),
    Control("gpus", "GPUs", "number", 1, 16, 1, main=True),
    Control("load", "Load", "number", 0.1, 4.0, 0.1, "× rate", main=True),
    Control("bin_select", "Bin selection", "choice", choices=SELECTION_NAMES),
    Control("edges", "Bin edges (tokens)", "text", hint="none, or 100,300"),
    Control("max_seqs", "Engine: sequences at once", "number", 1, 1024, 1),
    Control("token_budget", "Engine: tokens a step", "number", 16, 16_384, 16),
    Control("workload", "Workload", "choice", choices=WORKLOADS),
    Control("table", "Own table (file)", "text", hint="a path: CSV, BurstGPT's rows, a benchmark's result"),
    Control("latency", "Latency", "text", hint="alpha,beta,gamma in seconds, or a CSV of measurements"),
    Control("predictor", "Predicted lengths", "choice", choices=PREDICTOR_NAMES),
    Control("requests", "Requests", "number", 100, 20_000, 100),
    Control("seed", "Seed", "number", 0, 1000, 1),
)
RANGES = {control.name: control for control in CONTROLS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One position of the controls.

    Parameters
    ----------
    schedulers : sequence of str
        At least one policy's name.
    d_sla : float
        Deadline, seconds; also what dynamic policies steer to.
    k_bins, gpus : int
    load : float
        Factor on the workload's own arrival rate.
    bin_select : str
        As in `dynamic.MultiBinDynamic`.
    edges : str
        Inner edges of the bins, predicted tokens, ascending, between commas, in place of `k_bins` equally filled ones.
    max_seqs, token_budget : int
        Of continuous batching, as in `Continuous`.
    workload : {"synthetic", "burstgpt", "burstgpt_like", "azure_like", "own"}
        The original's recipe at 50 requests/s, the BurstGPT rows at 100 times their rate, draws from their population
        at that rate, draws from an hour of Azure's conversations, or a table of your own.
    table : str
        Path of a file that `traces.read` understands, for the workload ``own``.
    latency : str
        A preset, or ``"alpha,beta,gamma"`` in seconds.
    execution : {"run_to_completion", "continuous"}
    predictor : str
        One of `PREDICTORS`; ``own``: predictions that the table has.
    requests, seed : int
        At most so many requests; the recipe's seed.
    own : RequestTable, optional
        The workload ``own``, in place of a file.

    Raises
    ------
    InputError
        If a value is out of its control's range, or unknown.
    """

    schedulers: tuple[str, ...] = levels.SCHEDULERS
    d_sla: float = 1.0
    k_bins: int = 4
    gpus: int = 2
    load: float = 1.0
    bin_select: str = "round_robin"
    edges: str = ""
    max_seqs: int = _ENGINE.max_seqs
    token_budget: int = _ENGINE.token_budget
    workload: str = "synthetic"
    table: str = ""
    latency: str = "original-synthetic"
    execution: str = "run_to_completion"
    predictor: str = "original"
    requests: int = 10_000
    seed: int = 42
    own: Any = None

    def __post_init__(self) -> None:
        put = functools.partial(object.__setattr__, self)
        chosen = check_each("schedulers", self.schedulers, lambda name: check_choice("schedulers", name, CHOSEN_FROM))
        put("schedulers", tuple(name for name in CHOSEN_FROM if name in chosen))
        for name in ("d_sla", "load"):
            put(name, check_number(name, getattr(self, name), RANGES[name].low, RANGES[name].high))
        for name in ("k_bins", "gpus", "max_seqs", "token_budget"):
            put(name, check_integer(name, getattr(self, name), int(RANGES[name].low), int(RANGES[name].high)))
        put("requests", check_integer("requests", self.requests, 1, int(RANGES["requests"].high)))
        put("seed", check_integer("seed", self.seed, 0, 2**31))
        check_choice("bin_select", self.bin_select, SELECTIONS)
        check_choice("workload", self.workload, WORKLOADS)
        check_choice("execution", self.execution, EXECUTIONS)
        check_choice("predictor", self.predictor, PREDICTORS)
        check_type("table", self.table, str, "the path of a CSV")
        edges_of(self.edges)
        check_type("latency", self.latency, str, "a preset's name, or alpha,beta,gamma in seconds")
        named.latency_of(self.latency)
        if self.workload == "own" and self.own is None and not self.table:
            raise InputError("table: '' (expected the path of a file with arrival_s, prompt_tokens, output_tokens)")
        if self.own is not None:
            put("own", RequestTable.of(self.own))

    def settings(self) -> dict[str, Any]:
        """The controls' values by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "own"}

    def moved(self, moves: Mapping[str, Any]) -> Position:
        """The position after moves of some controls, values by name."""
        check_type("moves", moves, Mapping, "values by control")
        for name in moves:
            check_choice("control", name, RANGES)
        return Position(**(self.settings() | {"own": self.own} | dict(moves)))

    @property
    def is_random(self) -> bool:
        """Whether replications differ: a fixed table with lengths known for sure leaves nothing to chance."""
        return self.workload in ("synthetic", "burstgpt_like", "azure_like") or self.predictor not in ("oracle", "own")

    @property
    def is_conditional(self) -> bool:
        """Whether intervals are conditional on a fixed trace, of which replications vary the predictions alone."""
        return self.workload in ("burstgpt", "own")

    def drawn(self, replication: int = 0) -> RequestTable:
        """The requests of one replication, seed + replication; 0 is what the views show."""
        seed = self.seed + replication
        if self.workload == "own":
            table = _read(self.table, _modified_ns(self.table)) if self.own is None else self.own
            table = _predicted(table.head(self.requests), self.predictor, seed)
        else:
            table = _drawn(self.workload, self.requests, seed, self.predictor)
        return table.at_rate(self.load)

    def policies(self, d_sla: float | None = None) -> dict[str, Any]:
        """The chosen schedulers by name, under this deadline or another."""
        return {name: POLICIES[name](**self._parameters(name, d_sla)) for name in self.schedulers}

    def served(self, table: RequestTable, scheduler: str, d_sla: float | None = None) -> Run:
        """One run: a table under a scheduler, with the position's deadline or another."""
        deadline_s = self.d_sla if d_sla is None else d_sla
        policy = POLICIES[scheduler](**self._parameters(scheduler, deadline_s))
        return simulate(table, policy, self.latency, self.gpus, self._execution(), deadline_s, oversize="reject")

    def runs(self) -> Iterator[Run]:
        """The runs that the views show, one a scheduler."""
        table = self.drawn()
        return (self.served(table, name) for name in self.schedulers)

    def code(self) -> str:
        """Python that repeats the shown runs: ``summaries``, by scheduler, are equal to the last bit."""
        of = f"{self.requests}, seed={self.seed}"
        made = {
            "synthetic": f"simlib.workload.original({of})",
            "burstgpt": f"simlib.levels.requests_of(2, {of})[0]",
            "burstgpt_like": f'simlib.levels.requests_of(2, {of}, requests_from="population")[0]',
            "azure_like": f"simlib.requests.azure.azure_like({self.requests}, {self.seed})",
            "own": f"simlib.traces.read({self.table!r}).requests.head({self.requests})",
        }[self.workload]
        lines = ["import simlib", ""]
        if self.own is not None:
            made = f"simlib.RequestTable.of(requests).head({self.requests})  # your own"
        lines.append(f"requests = {made}")
        noise = PREDICTORS[self.predictor]
        if self.predictor == "original" and self.workload in ("azure_like", "own"):
            call = f"simlib.predictors.original_predictions(requests.prompt_tokens, {self.seed})"
            lines.append(f"requests = requests.with_predictions({call})")
        elif noise is not None and self.predictor != "original":
            call = f'requests, simlib.predictors.{noise!r}, family="{FAMILY}", replication={self.seed}'
            lines.append(f"requests = simlib.predictors.predict({call})")
        if self.load != 1.0:
            lines.append(f"requests = requests.at_rate({self.load})")
        lines.append("policies = [")
        for name in self.schedulers:
            given = ", ".join(f"{key}={value!r}" for key, value in self._parameters(name, None).items())
            lines.append(f"    simlib.{POLICIES[name].__name__}({given}),")
        how = repr(self.execution)
        if self.execution == "continuous":
            how = f"simlib.Continuous(max_seqs={self.max_seqs}, token_budget={self.token_budget})"
        given = f'execution={how}, sla={self.d_sla!r}, oversize="reject"'
        lines += ["]", f"options = dict({given})", "runs = {"]
        lines.append(f"    policy.name: simlib.simulate(requests, policy, {self.latency!r}, {self.gpus}, **options)")
        lines += ["    for policy in policies", "}"]
        return "\n".join([*lines, "summaries = {name: run.summary() for name, run in runs.items()}"])

    def _parameters(self, scheduler: str, d_sla: float | None) -> dict[str, Any]:
        deadline, edges = {"d_sla": self.d_sla if d_sla is None else d_sla}, edges_of(self.edges)
        binned: dict[str, Any] = {"k_bins": len(edges) + 1, "bounds": edges} if edges else {"k_bins": self.k_bins}
        return {
            "dynamic_no_bins": deadline,
            "multi_bin_dynamic": {**binned, **deadline, "bin_select": self.bin_select},
            "multi_bin_fixed": binned,
        }.get(scheduler, {})

    def _execution(self) -> str | Continuous:
        if self.execution == "continuous":
            return Continuous(max_seqs=self.max_seqs, token_budget=self.token_budget)
        return self.execution


def edges_of(text: str) -> tuple[float, ...]:
    """The inner edges of bins that a text lists, tokens.

    Examples
    --------
    >>> edges_of("100, 300")
    (100.0, 300.0)

    Raises
    ------
    InputError
        If they are not numbers above 0, each above the one before, or too many.
    """
    check_type("edges", text, str, "numbers between commas")
    most = int(RANGES["k_bins"].high)
    try:
        edges = tuple(float(part) for part in text.split(",")) if text.strip() else ()
        if not all(low < high < math.inf for low, high in itertools.pairwise((0.0, *edges))) or len(edges) >= most:
            raise ValueError
    except ValueError:
        expected = f"fewer than {most} numbers above 0 between commas, each above the one before"
        raise InputError(f"edges: {text!r} (expected {expected})") from None
    return edges


def position_of(level: int, **settings: Any) -> Position:
    """A fidelity level's position: its workload (on the trace, the rows that there are) and its latency.

    Parameters
    ----------
    level : {1, 2, 3, 4}
    **settings
        Of `Position`, in place of the level's.
    """
    given = levels.of(level)
    for name in settings:
        check_choice("setting", name, [field.name for field in fields(Position)])
    source = "burstgpt" if given.on_trace else "synthetic"
    return Position(**({"workload": source, "latency": given.latency} | settings))


def controls() -> list[dict[str, Any]]:
    """The controls as the browser is given them."""
    given = [asdict(control) for control in CONTROLS]
    for control in given:
        if control["name"] == "latency":
            control["groups"] = latencies()
    return given


def latencies() -> dict[str, dict[str, str]]:
    """Presets by where their times come from: assumed, or measured on a GPU.

    Examples
    --------
    >>> list(latencies()["Assumed by the original"])
    ['original-synthetic', 'original-calibrated']
    """
    offered, off = presets.table().drop_duplicates("name"), presets.off_percent()
    offered = offered[offered["name"].isin(presets.names())]
    groups: dict[str, dict[str, str]] = {"Assumed by the original": {name: name for name in presets.PRESETS}}
    for row in offered[~offered["name"].isin(presets.PRESETS)].sort_values("gpu", kind="stable").itertuples():
        remark = f" (time between tokens {signed(off[row.name], 0)} % against an engine)" if row.name in off else ""
        gpu = GPU_NAMES.get(row.gpu, row.gpu.removesuffix(" GPU"))
        groups.setdefault(f"Measured on {gpu}", {})[row.name] = row.name + remark
    return groups


@functools.lru_cache(maxsize=128)
def _drawn(source: str, requests: int, seed: int, predictor: str) -> RequestTable:
    if source == "synthetic":
        table = original(requests, seed)
    elif source == "azure_like":
        return _predicted(azure_like(requests, seed), predictor, seed)
    else:
        of = "trace" if source == "burstgpt" else "population"
        table = levels.requests_of(2, requests, seed, requests_from=of)[0]
    return table if predictor == "original" else _predicted(table, predictor, seed)


def _predicted(table: RequestTable, predictor: str, seed: int) -> RequestTable:
    made = PREDICTORS[predictor]
    if predictor == "original":
        return table.with_predictions(predictors.original_predictions(table.prompt_tokens, seed))
    return table if made is None else predictors.predict(table, made, family=FAMILY, replication=seed)


@functools.lru_cache(maxsize=4)
def _read(path: str, modified_ns: int) -> RequestTable:
    try:
        return traces.read(path).requests
    except InputError as problem:
        raise InputError(f"table: {problem}") from None
    except (OSError, ValueError) as problem:
        raise InputError(f"table: {path!r} ({problem})") from None


def _modified_ns(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except (OSError, ValueError):
        raise InputError(f"table: {path!r} (expected a file that is there)") from None
