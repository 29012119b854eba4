"""The server that was measured here, in the ledger: its loads as they were predicted, beside processor sharing.

The errors are another page's (`real_engine`). Processor sharing gets the same light loads that the law was fitted to,
the rates and lengths of a judged load, its places, and of a machine that drifts the minutes before and after it; it
knows of no switch but these places.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.engines import rows
from book.chapters.engines.sharing import Sharing
from book.chapters.trust import real_engine
from simlib.predicted.benchmarks import measured

if TYPE_CHECKING:
    import pandas as pd


KINDS = {"clock": rows.CLOCK, "cpu": rows.CPU}  # by what the server's device is called


def ledger(run: str, folder: Path = real_engine.FOLDER) -> pd.DataFrame:
    """The rows of one run (`real_engine.runs`), a series by itself, with what processor sharing says of each."""
    import pandas as pd

    table, own = pd.read_csv(folder / f"{run}.csv"), folder / run
    about, light = dict(real_engine.loads(own)), table["fitted_on"][0].split()
    fitted = [real_engine.kept(own, name) for name in light]
    fitted += {load.name: load for name in light for load in real_engine.brackets(own, name)}.values()
    line = Sharing.fit(fitted)
    around = {load: real_engine.brackets(own, load) for load in table["load"].unique()}
    found, slow = {}, {}
    for load, brackets in around.items():
        places = about[load]["settings"]["max_seqs"]
        slow |= {one.name: line.slowness(one, places) for one in brackets if one.name not in slow}
        times = np.exp(np.mean(np.log([slow[one.name] for one in brackets]))) if brackets else 1.0
        null = measured(line.slower(float(times)).served(real_engine.kept(own, load), places))
        found |= {(load, *name.split()): value for name, value in null.items()}
    keys = zip(table["load"], table["metric"], table["statistic"], strict=True)
    switched = table["load"].str[0].str.isalpha()
    return table.assign(
        null_predicted=[found[key] for key in keys],
        kind=table["gpu"].map(KINDS),
        series=f"server here, {run}",
        circumstance=switched.map({True: rows.SWITCHED, False: rows.DENSE}),
    )
