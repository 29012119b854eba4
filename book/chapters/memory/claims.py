"""What five papers claim about a full memory, each beside what this page found; `book.kit.evidence` judges.

Read were the abstracts of all, and of two what others wrote about them in detail; where that does not fix a setting,
the claim is not testable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from book.chapters.memory import theory
from book.chapters.memory.study import OUTPUT, PROMPT
from book.kit.evidence import Claim, Counted, Derived, Equal, Foremost, Repeated, Unfounded, ledger

if TYPE_CHECKING:
    import pandas as pd

PAGE = "memory_pressure"
RATE, WORK = "arXiv 2605.04595", "arXiv 2504.07347"
CYCLE, WAIT, FLOW = "arXiv 2606.15555", "arXiv 2504.11320", "arXiv 2604.11001"
TENTH = 0.1  # "deviations typically within 10 %"
LONG, SHORT = 100_000, 100  # output and prompt tokens near the limit of a half


def table_of(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The ledger, from the page's tables by name."""
    return ledger(claims_of(found))


def claims_of(found: Mapping[str, pd.DataFrame]) -> Iterator[Claim]:
    """Every claim, paper by paper."""
    yield from _service_rate(found["memory_capacity"], found["memory_labels"])
    yield from _work_conserving(found["memory_regions"])
    yield from _cycles(found)


def _service_rate(capacity: pd.DataFrame, labels: pd.DataFrame) -> Iterator[Claim]:
    within = capacity[capacity["scarcest"] == "memory"]  # a formula of memory says nothing where that is not scarce
    for row in within.itertuples():
        off = row.of_rate - 1.0, row.ci_low - 1.0, row.ci_high - 1.0
        evidence = Equal(*off, TENTH, row.replications)
        yield Claim(RATE, "abstract", f"within 10 % of the formula: {row.case}", float("nan"), 0.0, evidence, PAGE)
    for row in labels[labels["case"].isin(within["case"])].itertuples():
        runs = row.stable + row.near_critical + row.unstable + row.bistable
        word, hits = ("unstable above", row.unstable) if row.load > 1 else ("stable below", row.stable)
        said = f"{word} the rate: {row.case}, load {row.load:g}"
        yield Claim(RATE, "theorem", said, 1.0, 0.0, Counted(int(hits), int(runs)), PAGE)


def _work_conserving(regions: pd.DataFrame) -> Iterator[Claim]:
    for (shape, name), own in regions.groupby(["shape", "scheduler"], sort=False):
        most = own.iloc[-1]
        kept = most["saturated"], most["ci_low"], most["ci_high"], int(most["stable":"bistable"].sum())
        if name == "chunked":
            yield Claim(WORK, "theorem", f"stable up to b/t: {name}, {shape}", 1.0, 0.0, Repeated(*kept), PAGE)
        else:
            pair = most["saturated"] - 1.0, most["ci_low"] - 1.0, most["ci_high"] - 1.0, most["p_value"]
            evidence = Foremost([pair], kept[-1])
            yield Claim(WORK, "examples", f"not maximally stable: {name}, {shape}", float("nan"), 0.0, evidence, PAGE)


def _cycles(found: Mapping[str, pd.DataFrame]) -> Iterator[Claim]:
    limits = SHORT, LONG, float(10 * (SHORT + LONG))
    lost = 1 - theory.together_per_step(*limits) / theory.spread_per_step(*limits)
    yield Claim(CYCLE, "abstract", "up to 50 % lost where an answer starts over", 0.5, 0.005, Derived(lost), PAGE)
    engine = found["memory_share"]["keeps_tokens"].min()
    yield Claim(CYCLE, "abstract", "up to 50 % lost in an engine that keeps tokens", 0.5, 0.05,
                Derived(1 - engine, strict=False), PAGE)  # fmt: skip
    lengths = found["memory_lengths"]
    for row in lengths[lengths["input_dominated"]].itertuples():
        stable = float(row.evictions == 0)
        kind = "coprime lengths stabilise" if row.coprime else "lengths with a common factor do not"
        said = f"{kind}: {row.outputs}, prompts of {row.prompt_tokens:,}"
        yield Claim(CYCLE, "abstract", said, float(row.coprime), 0.0, Derived(stable, strict=False), PAGE)
    rate = found["memory_remedies"].set_index("remedy").loc["let in at a rate"]
    yield Claim(FLOW, "abstract", f"a rate of admission keeps it stable: {PROMPT} and {OUTPUT} tokens", 0.0, 0.0,
                Derived(float(rate["evictions"]), strict=False), PAGE)  # fmt: skip
    why = "the experiments' lengths, arrival rates and thresholds are in none of what could be read"
    yield Claim(WAIT, "abstract", "more throughput than vLLM and Sarathi", float("nan"), 0.0, Unfounded(why))
    yield Claim(FLOW, "abstract", "more throughput, lower mean and tail latency", float("nan"), 0.0, Unfounded(why))
