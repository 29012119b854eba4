"""The verb ``capacity``: the largest rate at which few enough requests are late."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from simlib.cli.outputs import check_places, plain, write


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("capacity", help="the largest rate at which few enough requests are late, by scheduler")
    own.set_defaults(verb=_capacity)
    own.add_argument("--level", default="1", help="1, 2, 3 or 4: whose requests and latency (default 1)")
    own.add_argument("--policies", default="static_fifo,dynamic_no_bins,multi_bin_dynamic", help="with commas between")
    own.add_argument("--latency", help="instead of the level's: as for simulate")
    own.add_argument("--gpus", type=int, default=2)
    own.add_argument("--k-bins", type=int, default=4, help="number of bins of multi_bin_dynamic (default 4)")
    own.add_argument(
        "--d-sla", type=float, default=1.0, help="deadline in seconds, and dynamic policies' aim (default 1.0)"
    )
    own.add_argument("--sla", help="what is late, if not what takes longer than --d-sla: such as ttft<=0.5")
    own.add_argument("--late-share", type=float, default=0.05, help="share that may be late (default 0.05)")
    own.add_argument("--requests", type=int, default=20_000, help="in a run (default 20000)")
    own.add_argument("--replications", type=int, default=40)
    own.add_argument("--seed", type=int, default=42)
    own.add_argument("--workers", type=int, default=1, help="threads")
    own.add_argument("--json", type=Path, metavar="FILE", help="write capacities, ratios and roots as JSON")


def _capacity(options: argparse.Namespace) -> None:
    from simlib import levels
    from simlib.checks import check_choice
    from simlib.planning import capacity

    check_choice("--level", options.level, list(map(str, levels.LEVELS)))
    check_places(files=[options.json])
    known = levels.policies(options.k_bins, options.d_sla)
    names = [check_choice("--policies", name, known) for name in options.policies.split(",")]
    search = capacity.Search(
        {name: known[name] for name in names},
        levels.draw_of(int(options.level)),
        options.latency or levels.of(int(options.level)).latency,
        options.gpus,
        options.d_sla if options.sla is None else options.sla,
        options.late_share,
        options.requests,
    )
    found = capacity.study(search, options.replications, seed=options.seed, workers=options.workers)
    if options.json is not None:
        frames = {"capacities": found.table, "ratios": found.ratios, "roots": found.roots}
        document = {name: frame.to_dict("records") for name, frame in frames.items()}
        write(options.json, json.dumps(plain(document), indent=2) + "\n")
        return
    for frame in (found.table, found.ratios):
        if len(frame):
            print(frame.to_string(index=False, float_format="{:.4g}".format))
