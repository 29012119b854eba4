"""The SLA paper's claims (arXiv 2503.05248v1), one by one: what its own figures give, and what awaits a test.

Enumerated by this rule: each cell of its two tables that is a result, each percentage of abstract and text, each value
that a figure shows or the text reads off it, each equation that promises a figure. Simulates nothing. What only runs
can tell is judged by tables of other chapters once there are such, and is not yet tested until then:

``sla_throughput`` and ``sla_capacity`` for gains over a static batch size. The paper names none ("as configured by
vLLM"): they are judged over vLLM's default of its time, 256 sequences, with lengths that vary, or without variance
where the paper gives one length. ``batch_size_overflow`` and ``batch_size_fixed_points`` for what equations promise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from book.kit.evidence import Claim, Derived, Foremost, Repeated, Unfounded, Untested, contradiction
from simlib import datasets
from simlib.checks import check_choice

if TYPE_CHECKING:
    import pandas as pd


Tables: TypeAlias = "dict[str, pd.DataFrame | None]"

SOURCE = "SLA paper"
GAIN = ("engine", "gain", "gain_ci_low", "gain_ci_high", "replications")
TABLES = {  # that judge a claim once they are there: the columns that are read
    "sla_capacity": ("outputs", *GAIN),
    "sla_throughput": ("prompt_tokens", "output_tokens", "lengths", *GAIN),
    "batch_size_overflow": ("epsilon_m", "requests_seen", "overflow_share", "ci_low", "ci_high", "replications"),
    "batch_size_fixed_points": ("sla_rule", "deadline_s", "running", "ci_low", "ci_high", "replications"),
}
STATIC = "static 256"
PAGE = "claims"  # the chapter of what needs no runs
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


def claims_of(*folders: Path) -> Iterator[Claim]:
    """Every claim, in the paper's order.

    Parameters
    ----------
    *folders : Path
        Where the tables of other chapters are looked for, in this order.
    """
    tables = {name: _table(name, folders) for name in TABLES}
    yield from _abstract(tables)
    yield from _figure_3()
    yield from _equations()
    yield from _in_runs(tables)
    yield from _tables(tables)
    yield from _figure_4()


def _table(name: str, folders: tuple[Path, ...]) -> pd.DataFrame | None:
    """A table by its name, if it is there with the columns that are needed."""
    import pandas as pd

    for folder in folders:
        file = Path(folder) / f"{name}.csv"
        if file.is_file():
            table = pd.read_csv(file)
            return table if set(TABLES[name]) <= set(table) else None
    return None


def _printed(where: str, setting: str, quantity: str) -> float:
    rows = paper()
    rows = rows[rows["where"] == where]
    check_choice("setting", setting, set(rows["setting"]))
    return float(rows[(rows["setting"] == setting) & (rows["quantity"] == quantity)]["value"].iloc[0])


def _slack(text: str) -> float:
    """Half a unit of the last digit printed."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def _gain(tables: Tables, where: str, setting: str) -> Any:
    """The gain that was found, or that it is not tested yet.

    Of Table II one serves for capacity and throughput: at its capacity a system completes what arrives.
    """
    name = "sla_throughput" if where == "Table I" else "sla_capacity"
    rows = tables[name]
    if rows is None:
        return Untested(name)
    if where == "Table I":
        prompt, output = (_printed(where, setting, f"{part}_tokens") for part in ("prompt", "output"))
        kind = rows["lengths"] == ("fixed" if prompt == output else "geometric")
        rows = rows[kind & np.isclose(rows["prompt_tokens"], prompt) & np.isclose(rows["output_tokens"], output)]
    else:
        rows = rows[rows["outputs"] == "geometric"]
    rows = rows[rows["engine"] == STATIC]
    if not len(rows):
        return Untested(name)
    row = rows.iloc[0]
    limits = (row["gain"] - 1, row["gain_ci_low"] - 1, row["gain_ci_high"] - 1)
    return Repeated(*limits, int(row["replications"]), base=0.0)


def _words(quantity: str) -> str:
    return quantity.replace("_per_s", "/s").replace("_rps", " (requests/s)").replace("_", " ")


def _chapter(found: Any) -> str:
    """A slip is one without a test."""
    return PAGE if isinstance(found, Untested) else "sla_capacity"


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
        yield Claim(SOURCE, "Abstract", text, claimed, 0.005, found, _chapter(found), against)
    claimed = _printed("Abstract", "LLaMA3-70B", "capacity_gain")
    found = _gain(tables, "Table II", "LLaMA3-70B")
    against = contradiction(capacity_gain("LLaMA3-70B"), claimed, 0.005)
    text = f"LLaMA3-70B: gain of capacity ({_pair('Table II', 'LLaMA3-70B', 'capacity_rps')})"
    yield Claim(SOURCE, "Abstract", text, claimed, 0.005, found, _chapter(found), against)
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
            read = _printed("Figure 3", setting, quantity)
            yield Claim(SOURCE, "Figure 3", text, read, unit / 2, Derived(found[quantity]), PAGE)
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
    found: Any = Untested("batch_size_overflow")
    if overflow is not None:
        rows = overflow[np.isclose(overflow["epsilon_m"], OVERFLOW) & (overflow["requests_seen"] == 0)]
        # No p is given for a bound of one side: the interval says whether it is kept.
        above = rows[["overflow_share", "ci_low", "ci_high"]] - OVERFLOW
        pairs = [(*map(float, row), float(row[-1] > 0)) for row in above.to_numpy()]
        found = Foremost(pairs, int(rows["replications"].min())) if pairs else found
    text = "probability of overflow less epsilon, of each kind of lengths that was tried: at most zero"
    yield Claim(SOURCE, "Equation (11)", text, 0.0, 0.0, found, "batch_size_rules")
    slope_ms, fixed_ms = (_printed("Figure 3", "", name) for name in ("slope_ms", "intercept_ms"))
    found = Untested("batch_size_fixed_points")
    if settled is not None:
        rows = settled[(settled["sla_rule"] == "paper") & np.isclose(settled["deadline_s"], 0.05)]
        for row in rows.itertuples():
            found = Repeated(row.running, row.ci_low, row.ci_high, int(row.replications))
    text = "batch size at which the controller settles for a step of 50 ms"
    yield Claim(SOURCE, "Algorithm 2", text, (50 - fixed_ms) / slope_ms, 0.0, found, "batch_size_rules")


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
        yield Claim(SOURCE, row.where, text, claimed, slack, found, _chapter(found), against)


def _rounding(where: str, setting: str, slack: float) -> float:
    """The slack of a ratio of two printed figures: its own, and that of the two."""
    static, dynamic = (_printed(where, setting, f"{kind}_tokens_per_s") for kind in ("static", "dynamic"))
    return slack + dynamic / static * (0.5 / static + 0.5 / dynamic)


def _figure_4() -> Iterator[Claim]:
    for row in paper().itertuples():
        if row.where == "Figure 4":
            text = f"time between tokens at {row.rate_rps} requests/s, {row.setting} batching, ms"
            yield Claim(SOURCE, row.where, text, float(row.value), _slack(row.value), Unfounded(UNSTATED))
