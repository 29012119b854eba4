"""Prompts beside decodes or in steps of their own: what is served, and who is late.

Saturated engines have as many clients as seats, each of whom sends the next
request when the last is answered; what completes in the middle of the run counts. Chunk sizes and numbers of gathered
prompts are picked on other seeds than those that judge. Who is late is simulated in Poisson traffic, without its start
and its end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.prefill_modes.kernels import DENSE, MEASURED_DECODES, MOST_TOKENS, SYSTEMS, law_of
from book.chapters.prefill_modes.steps import told_ratio
from simlib.checks import InputError, check_integer
from simlib.continuous.settings import Continuous
from simlib.engine.shapes import Waiting
from simlib.latency.kernel_profile import ProfileLaw
from simlib.policies.custom import Custom
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable
from simlib.requests.workload import dealt
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.estimates import as_row, ratio
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


MIXES: Mapping[str, tuple[int, int]] = {  # mean tokens of prompt and output
    "long outputs": (128, 1024),
    "even": (512, 512),
    "long prompts": (1024, 128),
}
LONGEST = 8  # an output is cut at so many times its mean
CHUNKS = (512, 2048)  # most tokens of a step that are tried where the engine is saturated
GATHERED = (1, 4, 8)  # prompts that are waited for
EACH, LEAST = 8, 512  # requests of a client; of a run
SCORED = (0.25, 0.75)  # of the completions of a saturated run
TUNING, TUNING_SEED = 2, 10_000  # replications on which settings are picked, and what is added to the seed

LOAD = 0.7  # of what mixed steps carry at most
DEADLINE_MIXES = ("even", "long prompts")
DEADLINE_CHUNKS = (256, 512, 1024, 2048)
TTFT_S, TPOTS_S = 2.0, (0.06, 0.08, 0.12, 0.2)
ALONE = "alone"  # a prompt in a step of its own


def gather(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel of `gathering`: nobody, until so many wait; then all who do, in as many steps as it takes."""
    first = waiting.head[0]
    count = waiting.tail[0] - first
    if count == 0 or waiting.tail[0] == waiting.end[0]:
        return 0, count
    if memory[0, 0] > 0.0 and waiting.arrival_s[waiting.order[first]] <= memory[0, 1]:
        return 0, count
    if count >= params[0]:
        memory[0, 0], memory[0, 1] = 1.0, now_s
        return 0, count
    return 0, 0


def gathering(prompts: int) -> str | Custom:
    """First come, first served, but nobody is let in before so many wait."""
    if check_integer("prompts", prompts, 1) == 1:
        return "fcfs"
    return Custom("gathering", gather, params=(float(prompts),), memory=((0.0, 0.0),))


def requests(count: int, mix: str, seed: int) -> RequestTable:
    """Requests that are all there: prompts uniform within half of their mean, outputs geometric."""
    count, (prompt, output) = check_integer("count", count, 1), MIXES[mix]
    prompts, outputs = stream("prefill modes", check_integer("seed", seed, 0), "lengths").spawn(2)
    prompt_tokens = np.maximum(np.rint(prompt * prompts.uniform(0.5, 1.5, count)), 1).astype(int)
    output_tokens = np.minimum(outputs.geometric(1.0 / output, count), LONGEST * output)
    return RequestTable(np.zeros(count), prompt_tokens, output_tokens)


def loop(mix: str, clients: int, seed: int) -> RequestTable:
    """The requests of as many clients, each of whom sends the next when the last is answered."""
    return dealt(requests(max(EACH * clients, LEAST), mix, seed), clients)


@dataclass(frozen=True, slots=True)
class Arm:
    """How prompts are let in.

    Attributes
    ----------
    mode : {"mixed", "exclusive"}
        Beside the decodes, the last one cut to fit; or in steps of their own.
    chunk_tokens : int
        Most tokens of a step.
    prompts : int
        How many have to wait before any is let in.
    """

    mode: str
    chunk_tokens: int = MOST_TOKENS
    prompts: int = 1

    def __post_init__(self) -> None:
        if self.mode not in ("mixed", "exclusive"):
            raise InputError(f"mode: {self.mode!r} (expected 'mixed' or 'exclusive')")

    @property
    def kind(self) -> str:
        """What the arm is an arm of: the mode, and whether prompts are gathered."""
        return self.mode if self.prompts == 1 else f"{self.mode}, gathered"

    def engine(self, system: str, seats: int) -> Continuous:
        """The engine's settings."""
        prefill = "chunked" if self.mode == "mixed" else "first"
        kv_tokens = SYSTEMS[system].kv_tokens
        return Continuous(max_seqs=seats, kv_tokens=kv_tokens, token_budget=self.chunk_tokens, prefill=prefill)

    def served_rps(self, system: str, law: ProfileLaw, seats: int, table: RequestTable) -> float:
        """Requests a second of a closed loop's clients, in the middle of the run."""
        run = simulate(table, gathering(self.prompts), law, 1, self.engine(system, seats), backend="compiled")
        ends_s = np.sort(run.times.completion_s)
        first, last = (int(share * len(ends_s)) for share in SCORED)
        return (last - first) / float(ends_s[last] - ends_s[first])


ARMS = (
    *(Arm("mixed", chunk) for chunk in CHUNKS),
    *(Arm("mixed", MOST_TOKENS, prompts) for prompts in GATHERED[1:]),
    *(Arm("exclusive", MOST_TOKENS, prompts) for prompts in GATHERED),
)
UNDISTURBED = tuple(arm for arm in ARMS if arm.chunk_tokens == MOST_TOKENS and (arm.mode, arm.prompts) != ("mixed", 8))


@dataclass(frozen=True)
class Saturated:
    """All arms on the requests of one seed: a function for `replicate`."""

    system: str
    law: ProfileLaw
    apart: ProfileLaw
    mix: str
    seats: int

    def __call__(self, seed: int) -> dict[str, float]:
        """Requests a second, ``law|mode|chunk_tokens|prompts``."""
        table, found = loop(self.mix, self.seats, seed), {}
        laws = {"measured": (self.law, ARMS)}
        if self.seats >= MEASURED_DECODES:
            laws["apart"] = self.apart, UNDISTURBED
        for name, (law, arms) in laws.items():
            for arm in arms:
                key = f"{name}|{arm.mode}|{arm.chunk_tokens}|{arm.prompts}"
                found[key] = arm.served_rps(self.system, law, self.seats, table)
        return found


def saturated(
    kernels: pd.DataFrame, systems: Iterable[str] = tuple(SYSTEMS), *, seed: int = 42, replications: int = 6,
    workers: int = 1,
) -> pd.DataFrame:  # fmt: skip
    """What saturated engines serve in each replication.

    Returns
    -------
    pandas.DataFrame
        ``system, mix, seats, law, mode, chunk_tokens, prompts, replication, tuning, served_rps``; `law` is
        ``measured``, or ``apart`` where neither disturbs the other; `tuning` says which replications are of seeds to
        pick settings on.
    """
    import pandas as pd

    frames = []
    for system in systems:
        laws = law_of(kernels, system), law_of(kernels, system, apart=True)
        for mix in MIXES:
            for seats in SYSTEMS[system].seats:
                case = Saturated(system, *laws, mix, seats)
                for tuning, count, first in ((True, TUNING, seed + TUNING_SEED), (False, replications, seed)):
                    found = replicate(case, count, seed=first, workers=workers, progress=False)
                    tidy = found.rename_axis("replication").reset_index()
                    tidy = tidy.melt("replication", value_name="served_rps")
                    tidy[["law", "mode", "chunk_tokens", "prompts"]] = tidy.pop("variable").str.split("|", expand=True)
                    tidy = tidy.astype({"chunk_tokens": int, "prompts": int})
                    frames.append(tidy.assign(system=system, mix=mix, seats=seats, tuning=tuning))
    return pd.concat(frames, ignore_index=True)


KINDS = {"exclusive": ("exclusive", False), "best exclusive": ("exclusive", True), "mixed, gathered": ("mixed", True)}


def over_mixed(runs: pd.DataFrame, kernels: pd.DataFrame) -> pd.DataFrame:
    """Throughput over that of mixed steps with the best chunk, prompts let in at once, on the same requests.

    Parameters
    ----------
    runs : pandas.DataFrame
        Of `saturated`; settings are picked on its tuning rows.
    kernels : pandas.DataFrame
        As of `kernels.kernels`, for the closed form (`steps.told_ratio`).

    Returns
    -------
    pandas.DataFrame
        ``system, mix, seats, law, kind, chunk_tokens, prompts, ratio, ci_low, ci_high, p_value, replications, told``.
        `kind`: ``exclusive``, prompts let in at once; ``best exclusive`` and ``mixed, gathered``, with as many gathered
        as is best, one or more. `told` is the closed form's, of exclusive steps.
    """
    import pandas as pd

    laws, rows = {system: law_of(kernels, system) for system in runs["system"].unique()}, []
    for (system, mix, seats, law), cell in runs.groupby(["system", "mix", "seats", "law"], sort=False):
        keys = ["mode", "chunk_tokens", "prompts"]
        means = np.log(cell[cell["tuning"]].set_index(keys)["served_rps"]).groupby(level=keys).mean()
        judged = cell[~cell["tuning"]].set_index([*keys, "replication"])["served_rps"].sort_index()
        at_once = means[means.index.get_level_values("prompts") == 1]
        base = at_once[["mixed"]].idxmax()
        told = told_ratio(laws[system], seats, *MIXES[mix]) if law == "measured" else math.nan
        for kind, (mode, gathered) in KINDS.items():
            among = (means if gathered else at_once)[[mode]]
            best = among.idxmax()
            pair = intervals.paired_difference(np.log(judged.loc[best]), np.log(judged.loc[base]))
            rows.append(
                {"system": system, "mix": mix, "seats": seats, "law": law, "kind": kind}
                | dict(zip(keys[1:], best[1:], strict=True))
                | as_row(ratio(pair), "ratio")
                | {"p_value": pair.p_value, "replications": pair.replications, "told": told}
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Deadlines:
    """Who is late with each chunk and with exclusive steps, on the requests of one seed: a function for `replicate`."""

    law: ProfileLaw
    mix: str
    rate_rps: float
    count: int
    system: str = DENSE

    def __call__(self, seed: int) -> dict[str, float]:
        """Late shares, ``chunk|tpot_s``."""
        own, found = requests(self.count, self.mix, seed), {}
        gap = stream("prefill modes", seed, "arrivals").exponential(1.0, self.count)
        table = replace(own, arrival_s=np.cumsum(gap) / self.rate_rps)
        scored = slice(self.count // 5, self.count - self.count // 10)
        for name, arm in deadline_arms().items():
            run = simulate(table, "fcfs", self.law, 1, arm.engine(self.system, MEASURED_DECODES), backend="compiled")
            first_s, outputs = run.times.first_token_s, table.output_tokens
            tpot_s = ((run.times.completion_s - first_s) / np.maximum(outputs - 1, 1))[scored]
            slow = (first_s - table.arrival_s)[scored] > TTFT_S
            for limit_s in TPOTS_S:
                found[f"{name}|{limit_s}"] = float((slow | (tpot_s > limit_s)).mean())
        return found


def deadline_arms() -> dict[str, Arm]:
    """Mixed steps by their most tokens, and exclusive ones."""
    return {str(chunk): Arm("mixed", chunk) for chunk in DEADLINE_CHUNKS} | {ALONE: Arm("exclusive")}


def deadlines(
    kernels: pd.DataFrame, count: int, *, seed: int = 42, replications: int = 6, workers: int = 1
) -> pd.DataFrame:
    """Late shares at a TTFT and several TPOT deadlines, at `LOAD` of what mixed steps carry, 32B on two cards.

    Returns
    -------
    pandas.DataFrame
        ``mix, tpot_s, steps, late, ci_low, ci_high, over, over_ci_low, over_ci_high, picked, replications``; `steps` is
        the most tokens of a mixed step, or ``alone``; `picked` marks the chunk with the fewest late on other seeds, and
        `over` is how much larger the late share is than that one's, paired.
    """
    import pandas as pd

    count, law, rows = check_integer("count", count, 100), law_of(kernels, DENSE), []
    for mix in DEADLINE_MIXES:
        most = loop(mix, MEASURED_DECODES, seed + TUNING_SEED)
        rate_rps = LOAD * Arm("mixed").served_rps(DENSE, law, MEASURED_DECODES, most)
        case = Deadlines(law, mix, rate_rps, count)
        tuned, judged = (
            replicate(case, number, seed=first, workers=workers, progress=False)
            for number, first in ((TUNING, seed + TUNING_SEED), (replications, seed))
        )
        for limit_s in TPOTS_S:
            best = min(map(str, DEADLINE_CHUNKS), key=lambda chunk: tuned[f"{chunk}|{limit_s}"].mean())
            for name in deadline_arms():
                own, base = judged[f"{name}|{limit_s}"], judged[f"{best}|{limit_s}"]
                rows.append(
                    {"mix": mix, "tpot_s": limit_s, "steps": name}
                    | as_row(intervals.mean_interval(own), "late")
                    | as_row(intervals.paired_difference(own, base), "over", "over_")
                    | {"picked": name == best, "replications": len(own)}
                )
    return pd.DataFrame(rows)
