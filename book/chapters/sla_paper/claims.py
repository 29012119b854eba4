"""The SLA paper's claims (arXiv 2503.05248v1), one by one: what its own figures give, and what awaits a test.

Enumerated by this rule: each cell of its two tables that is a result, each percentage of abstract and text, each
quantity of a figure, each equation that promises a figure. Simulates nothing. What only runs can tell is judged by
tables of other chapters:

``sla_throughput`` and ``sla_capacity`` for gains over a static batch size. The paper names none ("as configured by
vLLM"): they are judged over vLLM's default of its time, 256 sequences, with lengths that vary, or without variance
where the paper gives one length. ``batch_size_overflow`` and ``batch_size_fixed_points`` for what equations promise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from book.kit.evidence import Claim, Derived, Foremost, Repeated, Unfounded, contradiction
from simlib import datasets
from simlib.checks import check_choice

if TYPE_CHECKING:
    import pandas as pd


Tables: TypeAlias = "dict[str, pd.DataFrame]"

SOURCE = "SLA paper"
TABLES = ("sla_capacity", "sla_throughput", "batch_size_overflow", "batch_size_fixed_points")  # that judge a claim
STATIC = "static 256"
PAGE, GAINS = "claims", "sla_capacity"  # the chapters of what needs no runs, and of the gains
UNSTATED = "engine version, GPUs and the static batch size are not stated"
LENGTHS = (646.0, 400.0, 100_000.0)  # mean and deviation of a request's tokens, tokens that fit: an example for (12)
OVERFLOW = 0.05


@cache
def paper() -> pd.DataFrame:
    """What the paper prints or shows: ``where, setting, quantity, rate_rps, value, read``; values as texts."""
    import pandas as pd

    return pd.read_csv(datasets.shipped("sla_paper.csv"), dtype=str, keep_default_na=False)


def capacity_gain(setting: str) -> float:
    """By what share the dynamic capacity of a row of Table II is more than the static one.

    Examples
    --------
    >>> round(capacity_gain("LLaMA3-70B"), 3)
    0.222
    """
    static, dynamic = (_printed("Table II", setting, f"{kind}_capacity_rps") for kind in ("static", "dynamic"))
    return dynamic / static - 1


def claims_of(results: Path) -> Iterator[Claim]:
    """Every claim, in the paper's order, from the folder of the chapters' tables."""
    import pandas as pd

    tables = {name: pd.read_csv(Path(results) / f"{name}.csv") for name in TABLES}
    yield from _abstract(tables)
    yield from _figure_3()
    yield from _equations()
    yield from _in_runs(tables)
    yield from _tables(tables)
    yield from _figure_4()


def _printed(where: str, setting: str, quantity: str) -> float:
    rows = paper()
    rows = rows[rows["where"] == where]
    check_choice("setting", setting, set(rows["setting"]))
    return float(rows[(rows["setting"] == setting) & (rows["quantity"] == quantity)]["value"].iloc[0])


def _slack(text: str) -> float:
    """Half a unit of the last digit printed."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def _gain(tables: Tables, where: str, setting: str) -> Repeated:
    """The gain that was found.

    Of Table II one serves for capacity and throughput: at its capacity a system completes what arrives.
    """
    if where == "Table I":
        rows = tables["sla_throughput"]
        prompt, output = (_printed(where, setting, f"{part}_tokens") for part in ("prompt", "output"))
        kind = rows["lengths"] == ("fixed" if prompt == output else "geometric")
        rows = rows[kind & np.isclose(rows["prompt_tokens"], prompt) & np.isclose(rows["output_tokens"], output)]
    else:
        rows = tables["sla_capacity"]
        rows = rows[rows["outputs"] == "geometric"]
    row = rows[rows["engine"] == STATIC].iloc[0]
    limits = (row["gain"] - 1, row["gain_ci_low"] - 1, row["gain_ci_high"] - 1)
    return Repeated(*limits, int(row["replications"]), base=0.0)


def _words(quantity: str) -> str:
    return quantity.replace("_per_s", "/s").replace("_rps", " (requests/s)").replace("_", " ")


def _pair(where: str, setting: str, quantity: str) -> str:
    """The two printed figures that a gain is of."""
    return "/".join(f"{_printed(where, setting, f'{kind}_{quantity}'):g}" for kind in ("dynamic", "static"))


def _ratio(where: str, setting: str) -> float:
    return _printed(where, setting, "dynamic_tokens_per_s") / _printed(where, setting, "static_tokens_per_s") - 1


def _abstract(tables: Tables) -> Iterator[Claim]:
    rows = paper()
    settings = list(dict.fromkeys(rows[rows["where"] == "Table I"]["setting"]))
    gains = {setting: _ratio("Table I", setting) for setting in settings}
    for name, pick in (("least", min), ("most", max)):
        claimed, setting = _printed("Abstract", name, "throughput_gain"), pick(gains, key=lambda one: gains[one])
        text = f"the {name} gain of throughput when all requests are there at once"
        found = _gain(tables, "Table I", setting)
        against = contradiction(gains[setting], claimed, 0.005)
        yield Claim(SOURCE, "Abstract", text, claimed, 0.005, found, GAINS, against)
    claimed = _printed("Abstract", "LLaMA3-70B", "capacity_gain")
    found = _gain(tables, "Table II", "LLaMA3-70B")
    against = contradiction(capacity_gain("LLaMA3-70B"), claimed, 0.005)
    text = f"LLaMA3-70B: gain of capacity ({_pair('Table II', 'LLaMA3-70B', 'capacity_rps')})"
    yield Claim(SOURCE, "Abstract", text, claimed, 0.005, found, GAINS, against)
    for kind in ("static", "dynamic"):
        claimed, text = _printed("Experiments", kind, "gpu_utilization"), f"GPU utilisation of {kind} batching"
        yield Claim(SOURCE, "Experiments", text, claimed, 0.05, Unfounded(UNSTATED))


def _figure_3() -> Iterator[Claim]:
    slope_ms, fixed_ms = (_printed("Figure 3", "", name) for name in ("slope_ms", "intercept_ms"))
    for setting in ("50 ms", "80 ms"):
        batch = (float(setting.split()[0]) - fixed_ms) / slope_ms
        found = {"batch_size": batch, "tokens_per_s": 1000 * batch / float(setting.split()[0])}
        # Read off the drawing by eye: to the nearest ten and hundred.
        for quantity, unit in (("batch_size", 10.0), ("tokens_per_s", 100.0)):
            text = f"{_words(quantity)} at a step of {setting}, by the law printed beside it"
            read, one = _printed("Figure 3", setting, quantity), f"{_words(quantity)} by the law printed beside it"
            yield Claim(SOURCE, "Figure 3", text, read, unit / 2, Derived(found[quantity]), PAGE, part_of=one)
    rate = np.arange(1, 401) / (slope_ms * np.arange(1, 401) + fixed_ms)
    for name, wrong in (("increasing", np.diff(rate) <= 0), ("concave", np.diff(rate, 2) >= 0)):
        text = f"throughput is {name} in the batch size: batch sizes of 1 to 400 at which it is not"
        yield Claim(SOURCE, "Equation (6)", text, 0.0, 0.0, Derived(float(wrong.sum())), PAGE)


def _equations() -> Iterator[Claim]:
    from scipy.special import ndtr, ndtri

    mean, spread, fits = LENGTHS
    theta = ndtri(1 - OVERFLOW)

    def overflow(batch: float) -> float:
        return float(1 - ndtr((fits - batch * mean) / (spread * math.sqrt(batch))))

    def bound(mean: float, spread: float) -> float:
        root = math.sqrt((spread * theta) ** 2 + 4 * mean * fits) - spread * theta
        return (root / (2 * mean)) ** 2

    right = bound(mean, spread)
    text = "probability of overflow at the bound, with mean and deviation of one request"
    yield Claim(SOURCE, "Equation (12)", text, OVERFLOW, 1e-6, Derived(overflow(right)), PAGE)
    printed = bound(right * mean, math.sqrt(right) * spread)
    text = "the bound as printed, with mean and deviation of the sum, over the bound that meets (11)"
    yield Claim(SOURCE, "Equation (12)", text, 1.0, 1e-6, Derived(printed / right), PAGE)
    text = "probability of overflow with the slack L0 as printed, which is zero at the bound"
    yield Claim(SOURCE, "Equations (13), (14)", text, OVERFLOW, 1e-6, Derived(overflow(fits / mean)), PAGE)


def _in_runs(tables: Tables) -> Iterator[Claim]:
    """What equations promise of runs: a probability, and where the controller settles."""
    overflow, settled = tables["batch_size_overflow"], tables["batch_size_fixed_points"]
    rows = overflow[np.isclose(overflow["epsilon_m"], OVERFLOW) & (overflow["requests_seen"] == 0)]
    # No p is given for a bound of one side: the interval says whether it is kept.
    above = rows[["overflow_share", "ci_low", "ci_high"]] - OVERFLOW
    pairs = [(*map(float, row), float(row[-1] > 0)) for row in above.to_numpy()]
    found = Foremost(pairs, int(rows["replications"].min()))
    text = "probability of overflow less epsilon, of each kind of lengths that was tried: at most zero"
    yield Claim(SOURCE, "Equation (11)", text, 0.0, 0.0, found, "batch_size_rules")
    slope_ms, fixed_ms = (_printed("Figure 3", "", name) for name in ("slope_ms", "intercept_ms"))
    row = settled[(settled["sla_rule"] == "paper") & np.isclose(settled["deadline_s"], 0.05)].iloc[-1]
    batch = Repeated(row["running"], row["ci_low"], row["ci_high"], int(row["replications"]))
    text = "batch size at which the controller settles for a step of 50 ms"
    yield Claim(SOURCE, "Algorithm 2", text, (50 - fixed_ms) / slope_ms, 0.0, batch, "batch_size_rules")


def _tables(tables: Tables) -> Iterator[Claim]:
    for row in paper().itertuples():
        if not str(row.where).startswith("Table") or row.quantity in ("prompt_tokens", "output_tokens", "requests"):
            continue
        text = f"{row.setting}: {_words(row.quantity)}"
        claimed, slack = float(row.value), _slack(row.value)
        if row.quantity != "throughput_gain":
            yield Claim(SOURCE, row.where, text, claimed, slack, Unfounded(UNSTATED))
            continue
        text = f"{row.setting}: gain of throughput ({_pair(row.where, row.setting, 'tokens_per_s')})"
        against = contradiction(_ratio(row.where, row.setting), claimed, _rounding(row.where, row.setting, slack))
        found = _gain(tables, row.where, row.setting)
        yield Claim(SOURCE, row.where, text, claimed, slack, found, GAINS, against)


def _rounding(where: str, setting: str, slack: float) -> float:
    """The slack of a ratio of two printed figures: its own, and that of the two."""
    static, dynamic = (_printed(where, setting, f"{kind}_tokens_per_s") for kind in ("static", "dynamic"))
    return slack + dynamic / static * (0.5 / static + 0.5 / dynamic)


def _figure_4() -> Iterator[Claim]:
    for row in paper().itertuples():
        if row.where == "Figure 4":
            one = f"time between tokens with {row.setting} batching, ms"
            text = f"{one}, at {row.rate_rps} requests/s"
            slack, why = _slack(row.value), Unfounded(UNSTATED)
            yield Claim(SOURCE, row.where, text, float(row.value), slack, why, part_of=one)
