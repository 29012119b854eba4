"""A real server beside the simulator: what was predicted before it was measured, read again from what was kept.

`benchmarks.engine` measures; here its folder is read: predictions are held against the hash that the seeds were drawn
after, made anew from the law and the requests, and set beside what the clients measured. Steady only at the lighter
loads; above saturation a terminating run, in which a queue grows from nothing.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib import reading
from simlib.calibration import designed
from simlib.calibration.loads.load import MeasuredLoad
from simlib.checks import InputError
from simlib.continuous.settings import Continuous
from simlib.latency import law_file
from simlib.latency.steps import StepLaw
from simlib.predicted.benchmarks import measured, numbers
from simlib.requests.formats import known
from simlib.simulation import simulate

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).resolve().parents[3] / "data" / "engine"
DEVICES = ("clock", "cpu")
TARGETS = {("tpot", "mean"): 2.0, ("e2e", "mean"): 3.0, ("ttft", "mean"): 5.0, ("e2e", "p99"): 5.0}
FULL_RPS, NEAR_FULL_RPS = 15.0, 14.0  # at which the clock's server is full, or nearly
SWITCHES = {  # which load is beside which, the same requests at the same rate
    "cache-on": "cache-off", "two-steps": "11-0", "tight": "8-0", "cap": "11-0",
    "priority-11": "11-0", "priority-14": "14-0", "priority-19.5": "19.5-0",
}  # fmt: skip
CLOCK_LAW = (0.015, 0.0003, 0.00006, 0.0000002)  # seconds, as `law_file.NAMES`
RUNS = ("clock", "cpu", "clock-full", "cpu-full")  # as `benchmarks.engine` calls them


def runs(folder: Path = FOLDER) -> list[str]:
    """Which runs are there."""
    return [name for name in RUNS if (folder / f"{name}.csv").is_file()]


def ledger(folder: Path = FOLDER) -> pd.DataFrame:
    """Predicted and measured of all runs that are there, one row a number, with `run` and `rate_rps`.

    Raises
    ------
    InputError
        If predictions are not those that the seeds were drawn after.
    """
    import pandas as pd

    each = []
    for name in runs(folder):
        seeds = json.loads((folder / name / "seeds.json").read_text())["predicted"]
        if seeds["after_sha256"] != hashlib.sha256((folder / name / "ahead.csv").read_bytes()).hexdigest():
            raise InputError(f"{folder / name / 'ahead.csv'}: not the predictions that seeds were drawn after")
        rows = pd.read_csv(folder / f"{name}.csv").assign(run=name)
        ahead = pd.read_csv(folder / name / "ahead.csv").rename(columns={"low": "ahead_low", "high": "ahead_high"})
        rows = rows.merge(ahead.drop(columns="predicted"), on=["load", "metric", "statistic"], validate="1:1")
        rate = {load: about["rate_rps"] for load, about in loads(folder / name)}
        each.append(rows.assign(rate_rps=rows["load"].map(rate)))
    return pd.concat(each, ignore_index=True)


def law_of(run: str, folder: Path = FOLDER) -> StepLaw:
    """The law that a run fitted to its light loads."""
    path = folder / run / "law.csv"
    return law_file.parse(path.read_text(), path.name)


def loads(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The loads of a run, and what each was: rate, span, server's settings."""
    for path in sorted(folder.glob("*.json.gz")):
        about = json.loads(reading.text(path, "a benchmark's result")[1]).get("load")
        if about is not None:
            yield about["name"], about


def engine_of(settings: dict[str, Any]) -> Continuous:
    """The simulator's settings of a server without switches."""
    return Continuous(max_seqs=settings["max_seqs"], token_budget=settings["token_budget"], block_tokens=32)


def kept(folder: Path, load: str) -> MeasuredLoad:
    """What the clients of one load measured, from its file."""
    [found] = MeasuredLoad.of(known.parse(folder / f"{load}.json.gz"))
    return found


def brackets(folder: Path, load: str) -> list[MeasuredLoad]:
    """What clients measured before and after a load, where the machine drifts; else nothing."""
    result = json.loads(reading.text(folder / f"{load}.json.gz", "a benchmark's result")[1])
    return [kept(folder, name) for name in result.get("brackets", ())]


def again(folder: Path = FOLDER) -> pd.DataFrame:
    """Means of the clock's plain loads, simulated anew from the law and the requests as they were sent.

    Returns
    -------
    DataFrame
        ``load, metric, measured, predicted``; seconds, tokens a second.
    """
    import pandas as pd

    rows = []
    for name in (name for name in runs(folder) if name.startswith("clock")):
        law = law_of(name, folder)
        for load, about in loads(folder / name):
            settings = about["settings"]
            if any(settings[switch] for switch in ("prefix_cache", "two_steps", "priorities", "blocks")):
                continue
            found = kept(folder / name, load)
            bare = StepLaw(*law.params, way_in_s=law.way_in_s)
            simulated = numbers(simulate(found.table, "fcfs", bare, 1, engine_of(settings)))
            rows += [(name, load, *key.split(), value, simulated[key]) for key, value in measured(found).items()]
    return pd.DataFrame(rows, columns=["run", "load", "metric", "statistic", "measured", "predicted"])


def fluid_e2e_s(law: StepLaw, load: MeasuredLoad, engine: Continuous) -> float:
    """Mean end-to-end latency of a fluid queue: requests wait behind those before them, and then take a full engine's.

    The engine serves at the rate of its full steps: ``max_seqs`` decode, and as many prompts begin as answers end.
    """
    prompt, output = (load.requests[f"{name}_tokens"].to_numpy(float) for name in ("prompt", "output"))
    n = engine.max_seqs
    begin = n / output.mean()  # requests a step
    context = n * np.average(prompt + output / 2, weights=output)
    step_s = law.step_s(n, begin * prompt.mean(), context)
    rate_rps = begin / step_s
    wait_s = np.maximum(np.arange(len(output)) / rate_rps - load.requests["start_s"].to_numpy(), 0.0)
    return float(wait_s.mean() + n / rate_rps)


def overload(folder: Path = FOLDER) -> pd.DataFrame:
    """Of the clock's plain loads about saturation and beyond: the mean end to end, measured, simulated, of a fluid."""
    import pandas as pd

    rows, found = [], ledger(folder)
    for name in (name for name in runs(folder) if name.startswith("clock")):
        law = law_of(name, folder)
        for load, about in loads(folder / name):
            own = found[(found["run"] == name) & (found["load"] == load)].set_index(["metric", "statistic"])
            if own.empty or load[0].isalpha() or about["rate_rps"] < NEAR_FULL_RPS:
                continue
            fluid_s = fluid_e2e_s(law, kept(folder / name, load), engine_of(about["settings"]))
            row = own.loc[("e2e", "mean")]
            rows.append((name, load, about["rate_rps"], row["measured"], row["predicted"], fluid_s))
    return pd.DataFrame(rows, columns=["run", "load", "rate_rps", "measured_s", "predicted_s", "fluid_s"])


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """By load: errors of what is promised (`TARGETS`), per cent, and which numbers lie in their intervals.

    Returns
    -------
    DataFrame
        ``run, load, rate_rps``, an error for each target, named ``tpot_mean`` and so on, ``inside`` and ``ahead``: the
        numbers in the intervals of known requests, and in those for an unknown seed, of ``count``.
    """
    import pandas as pd

    rows = []
    for (run, load, rate), own in found.groupby(["run", "load", "rate_rps"], sort=False):
        error = own.set_index(["metric", "statistic"])["error_percent"]
        inside = (own["low"] <= own["measured"]) & (own["measured"] <= own["high"])
        ahead = (own["ahead_low"] <= own["measured"]) & (own["measured"] <= own["ahead_high"])
        errors = {"_".join(key): error[key] for key in TARGETS}
        rows.append({"run": run, "load": load, "rate_rps": rate, **errors, "inside": inside.sum(), "ahead": ahead.sum(),
                     "count": len(own)})  # fmt: skip
    return pd.DataFrame(rows)


def switches(found: pd.DataFrame) -> pd.DataFrame:
    """What one switch does, measured and predicted: the ratio of a number to that without it.

    Returns
    -------
    DataFrame
        ``switch, base, metric, statistic, measured, predicted, error_percent``, the last of the load with the switch.
    """
    import pandas as pd

    table = found.set_index(["run", "load", "metric", "statistic"])
    rows = []
    for (run, load, metric, statistic), own in table.iterrows():
        base = (run, SWITCHES.get(load), metric, statistic)
        if base in table.index:
            ratios = (own[name] / table.loc[base, name] for name in ("measured", "predicted"))
            rows.append((load, base[1], metric, statistic, *ratios, own["error_percent"]))
    columns = ["switch", "base", "metric", "statistic", "measured", "predicted", "error_percent"]
    return pd.DataFrame(rows, columns=columns)


def drift(folder: Path = FOLDER) -> pd.DataFrame:
    """Of each predicted load of the processor: time per token of the minutes before and after it, and what was hit.

    Returns
    -------
    DataFrame
        ``run, load, rate_rps, before_s, after_s``, the brackets' mean times per token; ``drift_percent`` between them;
        of the load's mean end to end ``error_percent``, ``half_width_percent`` of its interval, and whether it is
        ``inside``.
    """
    import pandas as pd

    rows, found = [], ledger(folder)
    for name in (name for name in runs(folder) if name.startswith("cpu")):
        for load, about in loads(folder / name):
            own = found[(found["run"] == name) & (found["load"] == load)].set_index(["metric", "statistic"])
            if own.empty:
                continue
            before_s, after_s = (measured(one)["tpot mean"] for one in brackets(folder / name, load))
            row = own.loc[("e2e", "mean")]
            half = 50 * (row["high"] - row["low"]) / row["predicted"]
            inside = row["low"] <= row["measured"] <= row["high"]
            apart = 100 * abs(after_s / before_s - 1)
            rows.append((name, load, about["rate_rps"], before_s, after_s, apart, row["error_percent"], half, inside))
    columns = ["run", "load", "rate_rps", "before_s", "after_s", "drift_percent", "error_percent"]
    return pd.DataFrame(rows, columns=[*columns, "half_width_percent", "inside"])


def asked(folder: Path = FOLDER / "steps") -> pd.DataFrame:
    """The laws of engines that were asked themselves: ``engine``, its `law_file.NAMES` and their ends, steps, error."""
    import pandas as pd

    rows: list[pd.DataFrame] = []
    for path in sorted(folder.glob("*.csv")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its card says it
            found = designed.from_steps(path)
        table = found.table().assign(engine=path.stem, steps=found.steps, mape=found.mape)
        rows.append(table[["engine", "coefficient", "value", "ci_low", "ci_high", "steps", "mape"]])
    return pd.concat(rows, ignore_index=True)
