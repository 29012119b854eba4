"""`make conformance`: record new random cases from vLLM's scheduler, replay them, try wrong engines on them.

vLLM lives in an environment of its own, in the folder that CONFORMANCE_ENV names (by default one of the user's cache);
it is made where there is none. Nothing else of the project needs it.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.conformance import scheduler_steps
from benchmarks.conformance.cases import draw
from benchmarks.conformance.environment import environment
from benchmarks.conformance.mutants import MUTANTS, ROOT, found_by
from simlib import reading
from simlib.checks import InputError

HERE = Path(__file__).resolve().parent
RESULTS, RECORDED = ROOT / "data" / "results", ROOT / "data" / "scheduler_steps.json.gz"
CASES, LEAST = 600, 50  # cases; of them with each event


def record(cases: list[dict], out: Path, python: Path) -> None:
    """Let vLLM's scheduler serve the cases."""
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder, "cases.json")
        asked.write_text(json.dumps(cases))
        subprocess.run([python, HERE / "record.py", asked, out], check=True, cwd=folder)


def outcome(recorded: list[dict], compared: list[scheduler_steps.Compared]) -> pd.DataFrame:
    """By mode and kind: cases, how many are equal, the share of equal requests, the worst error of the mean latency."""
    rows = {}
    for given, found in zip(recorded, compared, strict=True):
        rows.setdefault((given["mode"], given["kind"]), []).append(found)
    return pd.DataFrame(
        [{"mode": mode, "kind": kind} | scheduler_steps.of_all(found) for (mode, kind), found in sorted(rows.items())]
    )


def events(recorded: list[dict]) -> pd.DataFrame:
    """Each event: in how many cases it occurs, and how often in all."""
    names = sorted({name for given in recorded for name in given["events"]})
    counts = {name: [given["events"].get(name, 0) for given in recorded] for name in names}
    return pd.DataFrame([{"event": name, "cases": sum(map(bool, of)), "times": sum(of)} for name, of in counts.items()])


def replay(path: Path) -> int:
    """Say how many recorded cases are equal; 0 if all are, 1 if not, 2 for a file that cannot be used."""
    try:
        compared = [scheduler_steps.compare(case) for case in scheduler_steps.read(path)]
    except InputError as problem:
        print(problem, file=sys.stderr)
        return 2
    rows = pd.DataFrame([{"mode": mode, **row} for mode, row in scheduler_steps.by_mode(compared).items()])
    equal = rows["equal"].sum()
    print(f"{equal:,} of {len(compared):,} recorded cases are equal: every time to 1e-9 s, and every step.")
    print(rows.to_string(index=False))
    return int(equal < len(compared))


def main(words: list[str]) -> int:
    """Record, compare, try wrong engines; write the tables and the cases; 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=CASES, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=int, help="of the cases (default: another one each time)")
    parser.add_argument("--recorded", type=Path, metavar="FILE", help="take recorded cases instead (default: none)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="only replay recorded cases, and write nothing")
    options = parser.parse_args(words)
    if options.replay is not None:
        return replay(options.replay)
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    aside = options.recorded or RECORDED.with_suffix(".part")
    if options.recorded is None:
        print(f"recording {options.cases} cases, seed {seed} …", flush=True)
        record(draw(options.cases, seed), aside, environment())
    document = json.loads(reading.text(aside, "recorded cases")[1])
    recorded, version = document["cases"], document["vllm"]
    print("replaying them …", flush=True)
    found = outcome(recorded, [scheduler_steps.compare(case) for case in scheduler_steps.read(aside)])
    occurred = events(recorded)
    print(found.to_string(index=False), occurred.to_string(index=False), "trying wrong engines …", sep="\n", flush=True)
    wrong = pd.DataFrame([{"rule": each.rule, "cases_that_differ": found_by(each, aside)} for each in MUTANTS])
    tables = {"conformance": found, "conformance_events": occurred, "conformance_mutants": wrong}
    for name, table in tables.items():
        table = table.assign(vllm=version, of_cases=len(recorded))
        table.to_csv(RESULTS / f"benchmarks_{name}.csv", index=False, float_format="%.3g")
    print(wrong.to_string(index=False))
    if options.recorded is None:
        os.replace(aside, RECORDED)
    faults = [
        f"{row.mode}, {row.kind}: {row.equal} of {row.cases} cases are equal"
        for row in found.itertuples() if row.equal < row.cases
    ]  # fmt: skip
    faults += [f"{row.event}: in {row.cases} cases" for row in occurred.itertuples() if row.cases < LEAST]
    faults += [f"not found: {row.rule}" for row in wrong.itertuples() if row.cases_that_differ == 0]
    print("\n".join(faults) or "All cases are equal, each event occurs often enough, every wrong engine is found.")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
