"""The step engine with one rule wrong: recorded cases that cannot tell it from the right one would prove little."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.conformance import scheduler_steps

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 1200.0  # a wrong rule may let somebody wait for ever


class Mutant(NamedTuple):
    """A rule, the file of `simlib` that has it, how it stands there (once), and what stands there instead."""

    rule: str
    file: str
    right: str
    wrong: str


MUTANTS = (
    Mutant(
        "a prompt is admitted only where all of it fits",
        "continuous/compose.py",
        "total if rules.whole else computed + tokens",
        "computed + tokens",
    ),
    Mutant(
        "nobody is admitted in a step that took memory",
        "continuous/compose.py",
        "decodes, not preempted,",
        "decodes, True,",
    ),
    Mutant(
        "decodes are taken off the budget of prompts",
        "continuous/compose.py",
        "budget = n[at.ROOM] - decodes",
        "budget = n[at.ROOM]",
    ),
    Mutant(
        "the last token alone, computed again, is a decode",
        "continuous/compose.py",
        "if tokens == 1 and state.done[request] > 0",
        "if tokens == 0 and state.done[request] > 0",
    ),
    Mutant(
        "a token in flight is not known when memory is taken",
        "continuous/running/victims.py",
        "known -= int(served == 1 or not rested)",
        "known -= 0",
    ),
    Mutant(
        "whoever lost its memory comes before all that wait",
        "continuous/compose.py",
        "resumed = request >= 0\n",
        "resumed = request >= 0 and state.numbers[own(gpu, rules), at.WAITING] == 0\n",
    ),
    Mutant(
        "of equal priority the one who came last loses its memory",
        "continuous/priority.py",
        "ask.urgency[request] >> TIES >= ask.urgency[found] >> TIES",
        "ask.urgency[request] >> TIES > ask.urgency[found] >> TIES",
    ),
    Mutant(
        "the last token is computed, even where its block is found",
        "continuous/prefix.py",
        "(total - 1) >> rules.bits, 0, 0",
        "total >> rules.bits, 0, 0",
    ),
    Mutant(
        "of a sequence's free blocks the last one is given out first",
        "continuous/running/line.py",
        "            content = row[place]\n",
        "            content = row[record[LISTED] - 1 - place]\n",
    ),
    Mutant(
        "blocks that others use already take no memory",
        "continuous/prefix.py",
        "        used += int(used_by(users[row[found]]) > 0)",
        "        used += 0",
    ),
    Mutant(
        "the watermark is a share of all blocks, with the engine's own",
        "continuous/serve.py",
        "settings.watermark * (settings.blocks + 1)",
        "settings.watermark * settings.blocks",
    ),
    Mutant(
        "the prompt of a sequence alone is not cut",
        "continuous/running/chunks.py",
        "return count > 1",
        "return count > 0",
    ),
    Mutant(
        "after a stop token one more step may have been composed",
        "continuous/state.py",
        "if rules.unknown == 0:",
        "if rules.unknown < 2:",
    ),
)


def failing(path: str) -> list[int]:
    """The recorded cases of a file in which the engine differs, or breaks."""
    found = []
    for number, case in enumerate(scheduler_steps.read(path)):
        try:
            if not scheduler_steps.compare(case).equal:
                found.append(number)
        except (ArithmeticError, LookupError, ValueError):
            found.append(number)
    return found


def found_by(mutant: Mutant, cases: Path) -> int | None:
    """In how many recorded cases an engine with this rule wrong differs; None: it never ended."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("simlib", "benchmarks"):
            shutil.copytree(ROOT / part, Path(folder, part), ignore=shutil.ignore_patterns("__pycache__"))
        place = Path(folder, "simlib", mutant.file)
        text = place.read_text()
        if text.count(mutant.right) != 1:
            raise ValueError(
                f"{mutant.file}: {mutant.right!r} is there {text.count(mutant.right)} times (expected once)"
            )
        place.write_text(text.replace(mutant.right, mutant.wrong))
        words = [sys.executable, "-m", "benchmarks.conformance.mutants", str(cases.resolve())]
        try:
            done = subprocess.run(words, cwd=folder, timeout=LONGEST_S, check=True, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            return None
    return len(json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(failing(sys.argv[1])))
