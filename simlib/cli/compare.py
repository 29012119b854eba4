"""The verb ``compare``: the three schedulers at the four fidelity levels."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from simlib.checks import check_integer
from simlib.cli.outputs import check_places, make, plain, write
from simlib.lazy import pd


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("compare", help="the three schedulers at the own fidelity levels, with intervals")
    own.set_defaults(verb=_compare)
    own.add_argument("--level", default="all", help="1, 2, 3, 4 or all")
    own.add_argument("--requests", type=int, default=1000)
    own.add_argument("--seed", type=int, default=42)
    own.add_argument("--replications", type=int, default=100)
    own.add_argument("--json", type=Path, metavar="FILE", help="write rows and differences as JSON")
    own.add_argument("--out", type=Path, metavar="DIR", help="write levels*.csv into this folder")


def _compare(options: argparse.Namespace) -> None:
    from simlib import levels
    from simlib.checks import check_choice

    check_choice("--level", options.level, (*map(str, levels.LEVELS), "all"))
    check_integer("--replications", options.replications, 2)
    check_places(files=[options.json], folders=[options.out])
    chosen = list(levels.LEVELS) if options.level == "all" else [int(options.level)]
    settings = {"requests": options.requests, "seed": options.seed}
    runs = pd.concat(
        [levels.runs_of(level, replications=options.replications, **settings) for level in chosen], ignore_index=True
    )
    as_claimed = options.requests == 1000 and options.seed == 42
    rows, differences = levels.table_of(runs, as_claimed), levels.differences(runs, settings)
    if options.json is not None:
        document = {"rows": rows.to_dict("records"), "differences": differences.to_dict("records")}
        write(options.json, json.dumps(plain(document), indent=2) + "\n")
    if options.out is not None:
        make(options.out)
        times = levels.times_of(chosen, **settings)
        for name, frame in (("levels", rows), ("levels_differences", differences), ("levels_times", times)):
            write(options.out / f"{name}.csv", frame.to_csv(index=False))
    if options.json is None:
        print(_readable(rows), levels.readable_differences(differences).to_string(index=False), sep="\n\n")


def _readable(rows: pd.DataFrame) -> str:
    """The levels as a table for eyes: shares in per cent."""
    percent = "{:.1f}".format
    frame = pd.DataFrame(
        {
            "level": rows["level"],
            "scheduler": rows["scheduler"],
            "n": rows["requests"],
            "claimed %": [percent(100 * v) if pd.notna(v) else "" for v in rows["claimed_violation_share"]],
            "this seed %": [percent(100 * v) for v in rows["seed42_violation_share"]],
            "mean % [95 % interval]": [
                f"{100 * m:.1f}" + (f" [{100 * low:.1f}, {100 * high:.1f}]" if pd.notna(low) else " [too few]")
                for m, low, high in zip(rows["mean_violation_share"], rows["ci_low"], rows["ci_high"], strict=True)
            ],
            "latency s": [f"{v:.3f}" for v in rows["latency_mean_s"]],
            "claim inside": [{True: "yes", False: "no"}.get(v, "") for v in rows["claim_inside"]],
            "requests from": [
                f"conditional on {trace}" if trace else source
                for trace, source in zip(rows["trace"], rows["requests_from"], strict=True)
            ],
        }
    )
    return frame.to_string(index=False)
