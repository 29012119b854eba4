"""The verb ``compare``: the three schedulers at the four fidelity levels."""

from __future__ import annotations

import argparse
from typing import Any

from simlib.checks import check_integer
from simlib.cli.numbers import integer, place
from simlib.cli.outputs import add_json, answer, check_outputs, sheet, wrote
from simlib.lazy import pd
from simlib.writing import make, write

ESTABLISHED = 0.05  # p-value up to which a difference is told as one


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("compare", help="the three schedulers at the four fidelity levels, with intervals")
    own.set_defaults(verb=_compare)
    own.add_argument("--level", default="all", help="1, 2, 3, 4 or all")
    own.add_argument("--requests", type=integer, default=1000, help="in a run")
    own.add_argument("--seed", type=integer, default=42, help="of the first replication")
    own.add_argument("--replications", type=integer, default=100, help="runs of each scheduler")
    add_json(own, "rows, differences and verdicts")
    own.add_argument("--out", type=place, metavar="DIR", help="write levels*.csv into this folder")


def _compare(options: argparse.Namespace) -> None:
    from simlib import levels
    from simlib.checks import check_choice

    check_choice("--level", options.level, (*map(str, levels.LEVELS), "all"))
    check_integer("--replications", options.replications, 2)
    check_outputs(options, folders=[options.out])
    chosen = list(levels.LEVELS) if options.level == "all" else [int(options.level)]
    settings = {"requests": options.requests, "seed": options.seed}
    runs = pd.concat(
        [levels.runs_of(level, replications=options.replications, **settings) for level in chosen], ignore_index=True
    )
    as_claimed = options.requests == 1000 and options.seed == 42
    rows, differences = levels.table_of(runs, as_claimed), levels.differences(runs, settings)
    told = verdicts(rows, differences)
    if options.out is not None:
        make(options.out)
        times = levels.times_of(chosen, **settings)
        for name, frame in (("levels", rows), ("levels_differences", differences), ("levels_times", times)):
            write(options.out / f"{name}.csv", sheet(frame))
    document = {"rows": rows.to_dict("records"), "differences": differences.to_dict("records"), "verdicts": told}
    differing = levels.readable_differences(differences).to_string(index=False)
    answer(options.json, document, "\n\n".join([_readable(rows), differing, "\n".join(told)]))
    wrote(options.out)


def verdicts(rows: pd.DataFrame, differences: pd.DataFrame) -> list[str]:
    """One sentence a study: which scheduler is late least often, and by how much less than the next."""
    from simlib import levels
    from simlib.policies.plan import short_name
    from simlib.text import p_value, three

    told = []
    pairs = differences[differences["metric"] == levels.VIOLATIONS]
    for (level, source), group in rows.groupby(levels.STUDY, sort=False):
        best, second = group.sort_values("mean_violation_share", kind="stable")["scheduler"].head(2)
        study = pairs[(pairs["level"] == level) & (pairs["requests_from"] == source)]
        pair = study[study["scheduler_a"].isin([best, second]) & study["scheduler_b"].isin([best, second])].iloc[0]
        ends = [100 * pair[name] for name in ("difference", "ci_low", "ci_high")]  # of A minus B
        if pair["scheduler_a"] == best:
            ends = [-end for end in (ends[0], ends[2], ends[1])]
        more, low, high = (three(end).replace("-", "−") for end in ends)
        by = (
            f"{more} points (95 % interval {low} to {high}, p {p_value(pair['p_holm'])}) less than {short_name(second)}"
        )
        found = "late least often is" if pair["p_holm"] <= ESTABLISHED else "not established; late least often would be"
        told.append(f"Verdict at {levels.place(level, source)}: {found} {short_name(best)}, by {by}.")
    return told


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
