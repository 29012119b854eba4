"""The ledger of engines: every run that can be held against a measurement, and what its errors come to.

Puts together what the sources' modules foretell; counts by series and by model, for the runs of one engine are wrong
together. Not a simulation of a population: real engines, each measured once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.engines import closed_loops, logs, measured_here, preset_checks, rows, saturated
from book.chapters.trust import real_engine
from simlib import datasets
from simlib.checks import InputError

if TYPE_CHECKING:
    import pandas as pd


TABLE, PRESETS_TABLE = "engines", "engines_presets"
GIVEN: tuple[str, ...] = ()  # files of `data` with rows of other engines, yours
BY = ["kind", "metric", "statistic"]
ALL = "all"
DRAWS, SEED = 2000, 0


def ledger(results: Path) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """All rows (`rows.COLUMNS`), the presets' (`preset_checks.COLUMNS`), and why they were not predicted anew, if so.

    Parameters
    ----------
    results : Path
        The folder with the tables of replayed logs (`logs.LOGS`).
    """
    import pandas as pd

    try:
        closed, full = (pd.read_csv(datasets.locate(source.FILE)) for source in (closed_loops, saturated))
        found = [*closed_loops.ledger(closed), *saturated.ledger(full), *logs.ledger(results)]
        table, note = pd.DataFrame(found).reindex(columns=list(rows.COLUMNS)), "Predicted anew here."
        checked = preset_checks.checks(closed, full)
    except InputError as reason:
        table, checked = (pd.read_csv(datasets.committed(name)) for name in (TABLE, PRESETS_TABLE))
        here = table["kind"].isin(measured_here.KINDS.values())
        table, note = table[~here], f"Not predicted anew: data absent ({reason})."
    own = [rows.given(measured_here.ledger(run), f"data/engine/{run}.csv") for run in real_engine.runs()]
    own += [rows.given(pd.read_csv(datasets.shipped(name)), f"data/{name}") for name in GIVEN]
    return pd.concat([table, *own], ignore_index=True), checked, note


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """What the errors come to, by what is foretold and by circumstance, of all rows and of those that are blind.

    Returns
    -------
    pandas.DataFrame
        ``kind, metric, statistic, circumstance, blind`` (`ALL` stands for every circumstance; blind: of these alone),
        ``rows, series, models``; the absolute errors in per cent, median and P90 over series, each with the median of
        its own, as ``error_percent, error_p90_percent``, over models ``model_percent``; the same of the null model;
        ``skill`` of the two medians, with the ends of 95 % of `DRAWS` in which models are drawn again.
    """
    import pandas as pd

    found = []
    for blind, part in ((False, table), (True, table[table["blind"].astype(bool)])):
        for circumstance in (ALL, *dict.fromkeys(part["circumstance"])):
            own = part if circumstance == ALL else part[part["circumstance"] == circumstance]
            for key, group in own.groupby(BY, sort=False):
                found.append(
                    {**dict(zip(BY, key, strict=True)), "circumstance": circumstance, "blind": blind} | _of(group)
                )
    return pd.DataFrame(found)


def _of(group: pd.DataFrame) -> dict[str, float]:
    off = group.assign(
        network=group["model"].str.split(",").str[0].replace("DeepSeek-R1", "DeepSeek-V3"),  # one network
        error=group["error_percent"].abs(),
        null=group["null_error_percent"].abs(),
    )
    series = off.groupby("series").agg({"error": "median", "null": "median", "network": "first"})
    models = series.groupby("network")[["error", "null"]].median()
    (error, null), (worst, null_worst) = series[["error", "null"]].quantile([0.5, 0.9]).to_numpy()
    low, high = _redrawn(series)
    counts = {"rows": len(off), "series": len(series), "models": len(models)}
    numbers = {"error_percent": error, "error_p90_percent": worst, "model_percent": models["error"].median()}
    numbers |= {"null_percent": null, "null_p90_percent": null_worst, "null_model_percent": models["null"].median()}
    numbers |= {"skill": rows.skill(error, null), "skill_low": low, "skill_high": high}
    return counts | {name: rows.rounded(value) for name, value in numbers.items()}


def _redrawn(series: pd.DataFrame) -> tuple[float, float]:
    """The ends of 95 % of the skills with models drawn again; none where there are fewer than four."""
    parts = [own[["error", "null"]].to_numpy() for _, own in series.groupby("network")]
    if len(parts) < 4:
        return float("nan"), float("nan")
    rng = np.random.default_rng(SEED)
    drawn = [np.concatenate([parts[i] for i in rng.integers(0, len(parts), len(parts))]) for _ in range(DRAWS)]
    skills = [1.0 - error / null for error, null in (np.median(one, axis=0) for one in drawn)]
    low, high = np.quantile(skills, [0.025, 0.975])
    return float(low), float(high)


def carried(table: pd.DataFrame) -> pd.DataFrame:
    """Whether the spread of the series that methods were chosen on holds for the blind ones.

    Returns
    -------
    pandas.DataFrame
        ``kind, metric, statistic``, with ``error_p90_percent``, what nine tenths of the first kind are within, and
        ``within``, the share of the ``series`` of the second that are.
    """
    import pandas as pd

    off = table.assign(error=table["error_percent"].abs())
    found = []
    for key, group in off.groupby(BY, sort=False):
        blind = group["blind"].astype(bool)
        if blind.any() and not blind.all():
            seen, others = (own.groupby("series")["error"].median() for own in (group[~blind], group[blind]))
            most = seen.quantile(0.9)
            found.append({**dict(zip(BY, key, strict=True)), "error_p90_percent": most}
                         | {"within": (others <= most).mean(), "series": len(others)})  # fmt: skip
    return pd.DataFrame(found)


def worst(table: pd.DataFrame, most: int = 10) -> pd.DataFrame:
    """The series that are furthest off in the time between tokens: ``series, runs, error_percent, null_percent``."""
    own = table[table["metric"].isin(("tpot", "itl")) & table["statistic"].isin(("mean", "p50"))]
    off = own.assign(error=own["error_percent"].abs(), null=own["null_error_percent"].abs())
    by = off.groupby(["kind", "series"], sort=False).agg(
        runs=("error", "size"), error_percent=("error", "median"), null_percent=("null", "median"),
        circumstance=("circumstance", lambda values: values.mode()[0]), afterwards=("afterwards", "first"),
    )  # fmt: skip
    return by.reset_index().nlargest(most, "error_percent")
