"""The verb ``capacity``: the largest rate, or the most clients, at which few enough requests are late."""

from __future__ import annotations

import argparse
from typing import Any

from simlib.cli.numbers import check_used, deadline, integer, number
from simlib.cli.outputs import add_json, aligned, answer, check_outputs
from simlib.lazy import pd

UNITS = {"capacity_rps": "requests/s", "capacity_clients": "clients"}
VERDICTS = {
    "stable": "yes",
    "short": "no: --requests is too small for a tenth to be a warm-up",
    "moves": "no: --requests is too small",
    "unclear": "not established: more --replications",
}


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("capacity", help="the most load at which few enough requests are late, by scheduler")
    own.set_defaults(verb=_capacity, words={"think_s": "--think"})
    own.add_argument("--level", default="1", help="1, 2, 3 or 4: whose requests and latency")
    own.add_argument("--policies", default="static_fifo,dynamic_no_bins,multi_bin_dynamic", help="with commas between")
    own.add_argument("--latency", help="as for simulate (default: the level's)")
    own.add_argument("--gpus", type=integer, default=2, help="that serve side by side")
    own.add_argument("--k-bins", type=integer, default=4, help="number of bins of multi_bin_dynamic")
    own.add_argument("--d-sla", type=deadline, default=1.0, help="deadline in seconds, and dynamic policies' aim")
    own.add_argument(
        "--think",
        metavar="T",
        help="in clients, not requests a second: each sends the next so long after an answer, 2s or exponential:2s",
    )
    own.add_argument("--sla", help="what is late, such as ttft<=0.5 (default: what takes longer than --d-sla)")
    own.add_argument("--late-share", type=number, default=0.05, help="share that may be late")
    own.add_argument("--requests", type=integer, default=20_000, help="in a run")
    own.add_argument("--replications", type=integer, default=40, help="runs of each policy")
    own.add_argument("--seed", type=integer, default=42, help="of the first replication")
    own.add_argument("--workers", type=integer, default=1, help="threads")
    add_json(own, "capacities, ratios and roots")


def _capacity(options: argparse.Namespace) -> None:
    from simlib import levels
    from simlib.checks import check_choice
    from simlib.planning.carried import capacity, loops
    from simlib.text import many

    check_choice("--level", options.level, list(map(str, levels.LEVELS)))
    check_outputs(options)
    known = levels.policies(options.k_bins, options.d_sla)
    names = [check_choice("--policies", name, known) for name in options.policies.split(",")]
    if "multi_bin_dynamic" not in names:
        check_used(options, "without multi_bin_dynamic among --policies", "--k-bins")
    if options.sla is not None and not any(hasattr(known[name], "d_sla") for name in names):
        check_used(options, "beside --sla (and none of --policies aims at it)", "--d-sla")
    kind, more = (capacity.Search, {}) if options.think is None else (loops.ClientSearch, {"think": options.think})
    search = kind(
        {name: known[name] for name in names},
        levels.draw_of(int(options.level)),
        options.latency or levels.of(int(options.level)).latency,
        options.gpus,
        options.d_sla if options.sla is None else options.sla,
        options.late_share,
        options.requests,
        **more,
    )
    found = capacity.study(search, options.replications, seed=options.seed, workers=options.workers)
    unit = "capacity_rps" if options.think is None else "capacity_clients"
    table = found.table.rename(columns={"capacity_rps": unit})
    frames = {"capacities": table, "ratios": found.ratios, "roots": found.roots}
    document = {name: frame.to_dict("records") for name, frame in frames.items()}
    limits = (
        str(search.sla)
        if search.sla.by
        else " and ".join(f"{name} <= {limit_s:g} s" for name, limit_s in search.sla.limits_s.items())
    )
    assumed = (
        f"Met: {limits}, but for {100 * options.late_share:g} % of requests. Requests of level {options.level}, times "
        f"of {search.latency}, {many(options.gpus, 'GPU')}, batches that run to completion; "
        f"on average over {options.replications} runs of {options.requests:,} requests, with 95 % intervals where they "
        "are long enough."
    )
    if options.think is not None:
        assumed += f" Clients wait for their answers, then think ({options.think}); what is answered while all are at "
        assumed += "work counts, but for the first tenth and each one's first request."
    answer(options.json, document, "\n\n".join([assumed, *map(aligned, _readable(table, found.ratios, unit))]))


def _readable(table: pd.DataFrame, ratios: pd.DataFrame, unit: str) -> list[pd.DataFrame]:
    """For eyes: what each policy carries, and how many times what another one does."""
    carried = pd.DataFrame(
        {
            "policy": table["policy"],
            f"carries, {UNITS[unit]}": _intervals(table, unit),
            "warm-up, requests": table["warmup_requests"],
            "memory, requests": table["memory_requests"].round(),
            "runs twice as long": _intervals(table, "doubled_ratio", "doubled_"),
            "long enough": table["verdict"].map(VERDICTS),
        }
    )
    if not len(ratios):
        return [carried]
    times = pd.DataFrame(
        {
            "policy": ratios["policy"],
            "over": ratios["over"],
            "carries, times": _intervals(ratios, "ratio"),
            "p (Holm)": ratios["p_holm"],
            "established": ["yes" if p <= 0.05 else "no" for p in ratios["p_holm"]],
        }
    )
    return [carried, times]


def _intervals(frame: pd.DataFrame, name: str, prefix: str = "") -> list[str]:
    from simlib.text import three

    columns = (frame[column] for column in (name, f"{prefix}ci_low", f"{prefix}ci_high"))
    return [
        f"{three(mean)} ({three(low)} to {three(high)})" if low == low else f"{three(mean)} (no interval)"
        for mean, low, high in zip(*columns, strict=True)
    ]
