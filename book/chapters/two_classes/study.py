"""Two classes in one engine: interactive requests with a short deadline, batch jobs, longer, with a loose one.

Requests are drawn like Azure's conversations; those of batch jobs have `TIMES` the prompt and the answer. An
interactive request is in time with its first token within `TTFT_S` and the others within `TPOT_S` each on average, a
batch job with its last token within `LATENCY_S`. What is compared are orders of admission, who is refused, and how much
a step may hold. What arrives between the first and the last tenth of a run is scored. Where whoever is late is refused
that is a steady state at any load; where nobody is, a run in overload is terminating.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.checks import check_choice, check_integer, check_number
from simlib.continuous.settings import Continuous
from simlib.engine.shapes import Request, Waiting
from simlib.latency import presets
from simlib.policies.custom import Custom
from simlib.policies.priority import PriorityFirst
from simlib.requests.azure import azure_like
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable
from simlib.runs.engine_run import EngineRun
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.estimates import as_row

if TYPE_CHECKING:
    import pandas as pd


PRESET, MEMORY_TOKENS = "h100-vllm-llama3-8b", 400_000  # about what one has beside the weights
SCARCE_TOKENS = 100_000
CLASSES = ("interactive", "batch")  # by priority: 0 and 1
TTFT_S, TPOT_S, LATENCY_S = 1.0, 0.05, 60.0
TIMES = 2  # a batch job's prompt and answer are so many times as long
HALF, MIXES = 0.5, (0.25, 0.5, 0.75)  # interactive requests among all
LOADS, MAIN_LOAD, OVERLOAD = (0.7, 0.9, 1.1, 1.3), 1.1, 1.3
PACES_S = (0.03, 0.05, 0.1)  # limits on the time of a token of interactive requests
PLACES, BUDGETS = (64, 96, 128, 256), (512, 768, 1024, 2048)
PACE_S = 0.04  # of a token of output, about, where somebody asks whether a job can still be in time
MEAN_TOKENS = 211  # of an answer like Azure's
NEVER_S = 1e9
TUNING, TUNING_SEED = 2, 10_000  # replications on which settings are picked, and what is added to the seed
METRICS = ("interactive", "batch", "both")
COMES, LIMIT, PROMPT, TOKEN, SLACK = 0, 2, 4, 5, 7  # where the rule's numbers begin, the first three by line


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """What an engine allows: sequences that run at once, and tokens of a step."""

    places: int
    budget_tokens: int

    def engine(self, memory_tokens: int = MEMORY_TOKENS, **more: Any) -> Continuous:
        """The engine."""
        return Continuous(self.places, memory_tokens, token_budget=self.budget_tokens, **more)


DEFAULT = Setting(256, 2048)
GRID = tuple(Setting(places, budget) for places in PLACES for budget in BUDGETS)


@functools.cache
def law() -> Any:
    """How long steps take."""
    return presets.load(PRESET).step_law()


def requests(count: int, seed: int, share: float = HALF) -> RequestTable:
    """Requests of both classes: ``priority`` 0 and label ``client`` for interactive ones, which the first one is, 1.

    Parameters
    ----------
    count, seed : int
    share : float
        Of interactive requests, in [0, 1].

    Examples
    --------
    >>> table = requests(2000, 1, 0.25)
    >>> jobs = table.priority == 1
    >>> bool(1.8 < table.prompt_tokens[jobs].mean() / table.prompt_tokens[~jobs].mean() < 2.2), int(jobs.sum())
    (True, 1473)
    """
    share = check_number("share", share, 0.0, 1.0)
    table = azure_like(check_integer("count", count, 10), check_integer("seed", seed, 0))
    job = stream("two classes", seed, "service").random(len(table)) >= share
    job[0] = share == 0.0  # an engine's lines are in order of first appearance
    times = np.where(job, TIMES, 1)
    output = table.output_tokens * times
    return RequestTable(
        table.arrival_s, table.prompt_tokens * times, output, output,
        priority=job.astype(np.int64), labels={"client": job.astype(np.int64)},
    )  # fmt: skip


def at_rate(table: RequestTable, rate_rps: float) -> RequestTable:
    """The same requests, so many a second on average."""
    span_s = float(table.arrival_s[-1] - table.arrival_s[0])
    return table.at_rate(rate_rps * span_s / (len(table) - 1))


def alone(table: RequestTable, which: int) -> RequestTable:
    """The requests of one class."""
    return table.rows(table.priority == which)


def decide_two(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel: refuse a head that cannot be in time, else serve the class whose head is due first."""
    best, least = 0, 1e300
    for line in range(len(waiting.head)):
        if waiting.tail[line] > waiting.head[line]:
            request = waiting.order[waiting.head[line]]
            arrival_s, tokens = waiting.arrival_s[request], waiting.predicted_output_tokens[request]
            service_s = params[PROMPT] * waiting.prompt_tokens[request] + params[TOKEN + line] * tokens
            if now_s + service_s > arrival_s + params[LIMIT + line]:
                return line, -1
            due_s = arrival_s + params[COMES + line] - params[SLACK] * service_s
            if due_s < least:
                best, least = line, due_s
    return best, 1


def shortest_job(
    now_s: float, request: Request, given_to_client: float, params: np.ndarray, memory: np.ndarray
) -> float:
    """Kernel: interactive requests as they come, of batch jobs the shortest."""
    if request.priority == 0:
        return request.arrival_s
    return params[PROMPT] * request.prompt_tokens + params[TOKEN + 1] * request.predicted_output_tokens


@dataclass(frozen=True, slots=True)
class Rule:
    """In which order two classes are admitted, and who is refused.

    Attributes
    ----------
    comes_s : (float, float)
        What is added to the arrivals of a class, whose heads are compared: (0, 0) is first come, first served.
    refuses : str
        Whether whoever waits and cannot be in time is turned away: ``""``, ``"told"`` the jobs' lengths, or
        ``"untold"``, with the mean length for all.
    slack : bool
        Whether what is left until the deadline counts less the time to serve.
    shortest : bool
        Whether of the jobs the shortest is first.
    """

    comes_s: tuple[float, float] = (0.0, 0.0)
    refuses: str = ""
    slack: bool = False
    shortest: bool = False

    def policy(self, classes: tuple[int, ...] = (0, 1)) -> Custom:
        """For an engine that serves these classes, a line each."""
        mean_s = TIMES * MEAN_TOKENS * PACE_S if self.refuses == "untold" else 0.0
        limits = (TTFT_S, LATENCY_S - mean_s) if self.refuses else (NEVER_S, NEVER_S)
        token_s = (0.0, 0.0 if self.refuses == "untold" else PACE_S)
        both = [[column[which] for which in (*classes, classes[-1])[:2]] for column in (self.comes_s, limits, token_s)]
        params = (*both[0], *both[1], law().c_s, *both[2], float(self.slack))
        key = shortest_job if self.shortest else None
        return Custom("two classes", decide_two, key=key, lines="client", params=params)


FIRST, FIRST_REFUSES = "first come", "first come, refuses"
PRIORITY, PREEMPTS, REFUSES = "priority", "priority, preempts", "priority, refuses"
EARLIEST, UNTOLD, SHORTEST = "earliest deadline", "priority, refuses untold", "priority, shortest job"
NEXT = (0.0, NEVER_S)
RULES: Mapping[str, Rule | None] = {
    FIRST: Rule(),
    FIRST_REFUSES: Rule(refuses="told"),
    EARLIEST: Rule((TTFT_S, LATENCY_S)),
    f"{EARLIEST}, refuses": Rule((TTFT_S, LATENCY_S), "told"),
    "least slack": Rule((TTFT_S, LATENCY_S), slack=True),
    PRIORITY: Rule(NEXT),
    PREEMPTS: None,
    UNTOLD: Rule(NEXT, "untold"),
    REFUSES: Rule(NEXT, "told"),
    SHORTEST: Rule(NEXT, shortest=True),
    f"{SHORTEST}, refuses": Rule(NEXT, "told", shortest=True),
}
AT_DEFAULT = (FIRST, EARLIEST, PRIORITY, REFUSES)


def policy_of(order: str) -> Any:
    """An order of `RULES` as a policy."""
    rule = RULES[check_choice("order", order, tuple(RULES))]
    return PriorityFirst() if rule is None else rule.policy()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is scored, by request: whether it is a batch job, and its times, NaN where it was refused."""

    job: np.ndarray
    ttft_s: np.ndarray
    tpot_s: np.ndarray
    latency_s: np.ndarray

    @classmethod
    def of(cls, run: EngineRun, scored: np.ndarray) -> Outcome:
        """From a run, of the rows that count."""
        table, times = run.table, run.times
        first_s, last_s = times.first_token_s[scored], times.completion_s[scored]
        came_s = table.arrival_s[scored]
        tpot_s = (last_s - first_s) / np.maximum(table.output_tokens[scored] - 1, 1)
        return cls(table.priority[scored] == 1, first_s - came_s, tpot_s, last_s - came_s)

    def in_time(self, tpot_s: float = TPOT_S) -> np.ndarray:
        """Who met its own deadline."""
        interactive = (self.ttft_s <= TTFT_S) & (self.tpot_s <= tpot_s)
        return np.where(self.job, self.latency_s <= LATENCY_S, interactive)

    def shares(self, tpot_s: float = TPOT_S) -> dict[str, float]:
        """Goodput: the share of each class that is in time, of both on average, and who keeps which limit."""
        good, there = self.in_time(tpot_s), [way for way in (~self.job, self.job) if way.any()]
        found = {name: float(good[way].mean()) if way.any() else np.nan
                 for name, way in zip(CLASSES, (~self.job, self.job), strict=True)}  # fmt: skip
        found["both"] = float(np.mean([good[way].mean() for way in there]))
        if not self.job.all():
            first, pace = self.ttft_s[~self.job] <= TTFT_S, self.tpot_s[~self.job] <= tpot_s
            found |= {"first_token": float(first.mean()), "pace": float(pace.mean())}
        return found


def middle(count: int) -> np.ndarray:
    """The rows of a run that are scored."""
    place = np.arange(count)
    return (place >= count // 10) & (place < count - count // 10)


def serve(table: RequestTable, policy: Any, setting: Setting, gpus: int = 1, memory: int = MEMORY_TOKENS) -> Outcome:
    """Serve a table under a policy, and score its middle."""
    return Outcome.of(simulate(table, policy, law(), gpus, setting.engine(memory)), middle(len(table)))


@functools.cache
def capacity_rps(count: int, seed: int, share: float = HALF) -> float:
    """What first come, first served completes a second at `DEFAULT`, late or not, of requests that all wait."""
    table = requests(count, seed, share)
    waiting = replace(table, arrival_s=np.zeros(count))
    ends_s = np.sort(simulate(waiting, policy_of(FIRST), law(), 1, DEFAULT.engine()).times.completion_s)
    first, last = count // 5, 7 * count // 10
    return (last - first) / float(ends_s[last] - ends_s[first])


def drawn(count: int, seed: int, load: float, share: float = HALF) -> RequestTable:
    """Requests at a load: a share of what one engine completes (`capacity_rps`, on a seed that judges nothing)."""
    return at_rate(requests(count, seed, share), load * capacity_rps(count, 2 * TUNING_SEED, share))


def picked(count: int, seed: int, orders: Iterable[str] = tuple(RULES), load: float = MAIN_LOAD) -> dict[str, Setting]:
    """For each order the setting that has most in time, each class counting half, on draws kept for that."""
    tables = [drawn(count, seed + TUNING_SEED + each, load) for each in range(TUNING)]
    found = {}
    for order in orders:
        policy = policy_of(order)
        shares = {each: np.mean([serve(t, policy, each).shares()["both"] for t in tables]) for each in GRID}
        found[order] = max(shares, key=lambda each: (shares[each], each))
    return found


def orders_of(seed: int, count: int, own: Mapping[str, Setting], loads: Iterable[float] = LOADS) -> list[dict]:
    """One replication: every order at its own setting, and some at the default one."""
    rows = []
    for load in loads:
        table = drawn(count, seed, load)
        for order, setting in own.items():
            for name, each in (("default", DEFAULT), ("own", setting)):
                if name == "own" or order in AT_DEFAULT:
                    shares = serve(table, policy_of(order), each).shares()
                    rows.append({"load": load, "setting": name, "order": order} | shares)
    return rows


def mixes_of(seed: int, count: int, own: Mapping[str, Setting]) -> list[dict]:
    """One replication: some orders by the share of interactive requests, at the same load."""
    rows = []
    for share in MIXES:
        table = drawn(count, seed, MAIN_LOAD, share)
        for order, setting in own.items():
            rows.append({"mix": share, "order": order} | serve(table, policy_of(order), setting).shares())
    return rows


def paces_of(seed: int, count: int, own: Mapping[str, Setting]) -> list[dict]:
    """One replication: some orders by the limit on the time of a token, at the default setting and at their own."""
    rows, table = [], drawn(count, seed, MAIN_LOAD)
    for order, setting in own.items():
        for name, each in (("default", DEFAULT), ("own", setting)):
            outcome = serve(table, policy_of(order), each)
            rows += [{"tpot_s": pace, "setting": name, "order": order} | outcome.shares(pace) for pace in PACES_S]
    return rows


def scarce_of(seed: int, count: int, own: Mapping[str, Setting]) -> list[dict]:
    """One replication: some orders where memory is scarce, so that somebody who runs loses it."""
    table = drawn(count, seed, MAIN_LOAD)
    return [
        {"memory_tokens": SCARCE_TOKENS, "order": order}
        | serve(table, policy_of(order), setting, memory=SCARCE_TOKENS).shares()
        for order, setting in own.items()
    ]


def summary(
    runs: pd.DataFrame, by: list[str], arm: str = "order", base: str = FIRST, metrics: Iterable[str] = METRICS
) -> pd.DataFrame:
    """Shares with 95 % intervals, and how they differ from those of one arm on the same requests.

    Parameters
    ----------
    runs : pandas.DataFrame
        A row a replication, place and arm.
    by : list of str
        The columns that are a place.
    arm, base : str
        The column of what is compared, and the one that the others are held against.
    metrics : iterable of str

    Returns
    -------
    pandas.DataFrame
        `by`, `arm`, ``metric, share, ci_low, ci_high, difference, difference_ci_low, difference_ci_high, p_holm,
        replications``; Holm's correction is over all arms and metrics
        of a place; limits of shares are kept in [0, 1].
    """
    import pandas as pd

    rows = []
    for key, group in runs.groupby(by, sort=False):
        for metric in metrics:
            wide = group.pivot_table(index="replication", columns=arm, values=metric, sort=False)
            for name in wide:
                row = dict(zip(by, key, strict=True)) | {arm: name, "metric": metric}
                row |= as_row(intervals.mean_interval(wide[name]), "share")
                if name != base and base in wide:
                    pair = intervals.paired_difference(wide[name], wide[base])
                    row |= as_row(pair, "difference", "difference_") | {"p_holm": pair.p_value}
                rows.append(row | {"replications": len(wide)})
    table = pd.DataFrame(rows)
    table["ci_low"] = table["ci_low"].clip(lower=0.0)
    is_share = table["share"] <= 1.0
    table.loc[is_share, "ci_high"] = table.loc[is_share, "ci_high"].clip(upper=1.0)
    for _, place in table[table["p_holm"].notna()].groupby(by):
        table.loc[place.index, "p_holm"] = intervals.holm(place["p_holm"].astype(float))
    return table
