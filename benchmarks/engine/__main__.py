"""`make engine`: fit the lightest loads of a real vLLM server, predict the others, then measure them.

Two devices. *clock*: a worker whose step lasts exactly what a law says, while scheduler, queue, HTTP and streaming run
as they are. *cpu*: a small random model on the processor; as shared machines drift, a minute at one load stands before
and after each measurement. In this order: the lightest loads are measured and fitted; all others are predicted, and the
predictions written, for seeds that nobody knows; seeds are drawn; what their requests should see is written, too; then
the loads are measured. What is there already is not measured again. *steps*: no server; the engines are asked
themselves how long their steps take.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.conformance.environment import environment
from benchmarks.engine import fitted, loads, predict, server, steps
from benchmarks.engine.fitted import Measured
from benchmarks.engine.kept import COLUMNS, INDEX, Kept
from benchmarks.engine.loads import Load, Requests
from benchmarks.engine.predict import DRAWS
from simlib.calibration import designed
from simlib.checks import InputError
from simlib.latency.steps import StepLaw

DEVICES, STEPS = ("clock", "cpu"), "steps"
MODEL, ENGINE = "qwen3, 4 layers of 256, random", "vllm"
BRACKET_SEED = 7
SHOWN = COLUMNS[6:-2]
LEAST_DRIFT = 0.05  # of an hour that nobody has seen


class Bench:
    """One device: its folder, its environment, and a server that is started anew where settings change."""

    def __init__(self, device: str, full: bool, folder: Path, python: Path, span_s: float | None = None) -> None:
        self.device, self.python = device, python
        self.kept = Kept(folder / (f"{device}-full" if full else device))
        self.kept.folder.mkdir(parents=True, exist_ok=True)
        self.version = server.version_of(python)
        self.light, self.judged = loads.planned(device, full, span_s)
        self.brackets = device == "cpu"

    def measure(self, asked: Sequence[tuple[Load, Requests]]) -> None:
        """Measure what is not there yet, a server for each run of equal settings."""
        missing = [each for each in asked if self.kept.result(each[0].name) is None]
        for settings, group in itertools.groupby(missing, key=lambda each: each[0].settings):
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                say(f"{self.device}: starting vLLM {self.version} …")
                running = stack.enter_context(server.started(self.python, settings, folder, self.version))
                before = self.bracket(running, folder) if self.brackets else None
                for load, requests in group:
                    say(f"{self.device}: {load.name}, {len(requests.table)} requests in {load.span_s:.0f} s …")
                    result = running.ask(requests.sent(), folder)
                    if self.brackets:
                        after = self.bracket(running, folder)
                        result |= {"brackets": [before, after]}
                        before = after
                    self.kept.keep_result(load.name, result | {"load": asdict(load)})

    def bracket(self, running: server.Server, folder: Path) -> str:
        """A minute at one load, always with the same requests; its name."""
        number = next(k for k in itertools.count() if self.kept.result(f"bracket-{k}") is None)
        load, requests = bracket_of(f"bracket-{number}")
        say(f"{self.device}: {load.name}, {load.rate_rps:g} requests/s …")
        self.kept.keep_result(load.name, running.ask(requests.sent(), folder))
        return load.name

    def measured(self, load: Load, requests: Requests) -> Measured:
        return Measured(load, requests, self.kept.result(load.name))

    def around(self, load: Load) -> tuple[Measured, Measured]:
        """The brackets of a load."""
        before, after = self.kept.result(load.name)["brackets"]
        return self.measured(*bracket_of(before)), self.measured(*bracket_of(after))

    def law(self, light: Sequence[tuple[Load, Requests]]) -> StepLaw:
        """What the light loads give, fitted once."""
        if self.kept.law() is None:
            runs = [self.measured(*each) for each in light]
            if self.brackets:  # their brackets tell more of the law, each at a speed of its own
                names = {name for load, _ in light for name in self.kept.result(load.name)["brackets"]}
                runs += [self.measured(*bracket_of(name)) for name in sorted(names)]
            self.kept.keep_law((fitted.fit_each if self.brackets else fitted.fit)(runs))
        return self.kept.law()

    def slow(self, law: StepLaw, load: Load) -> tuple[float, float]:
        """How slow the machine was before and after a load, by its brackets."""
        before, after = (fitted.slowness(law, bracket) for bracket in self.around(load))
        return before, after

    def of(self, law: StepLaw, load: Load) -> StepLaw:
        """The law of a load's device: with two steps in flight the clock hides its host, and its own law is known.

        What the host's time varies by is not hidden: where it is late, a step is.
        """
        if not load.settings.two_steps:
            return law
        draws = tuple((*loads.CLOCK_LAW, draw[-1]) for draw in law.trust.draws)
        return StepLaw(*loads.CLOCK_LAW, way_in_s=law.way_in_s, trust=replace(law.trust, draws=draws))

    def ahead(self, law: StepLaw, load: Load, seed: int) -> pd.DataFrame:
        """What a load should see, before anything of it is known."""
        times = np.ones(DRAWS)
        if self.brackets:  # as slow as it was last, give or take what it changed by within a load
            ends = np.log([self.slow(law, each) for each in self.light])
            drift = max(LEAST_DRIFT, float(np.sqrt(np.mean(np.diff(ends, axis=1) ** 2))))
            times = np.exp(np.random.default_rng(seed).normal(ends[-1, -1], drift, DRAWS))
        return predict.ahead(load, self.of(law, load), lambda one, k: fitted.slower(one, times[k]), seed)

    def given(self, law: StepLaw, load: Load, requests: Requests) -> pd.DataFrame:
        """What a load's requests should see; of a machine that drifts, as slow as its brackets are."""
        times = np.ones(DRAWS)
        if self.brackets:
            times = np.exp(np.random.default_rng(0).uniform(*sorted(np.log(self.slow(law, load))), DRAWS))
        return predict.given(load, requests, self.of(law, load), lambda one, k: fitted.slower(one, times[k]))

    def run(self) -> pd.DataFrame:
        """All of it, in order; the rows of the ledger."""
        light = list(self.drawn(self.light, "fitted"))
        self.measure(light)
        law = self.law(light)
        say(meaning(law, self.device))
        if self.kept.predictions("ahead") is None:
            each = {load.name: self.ahead(law, load, seed) for seed, load in enumerate(self.judged)}
            self.kept.keep_predictions("ahead", pd.concat(each, names=INDEX))
        ahead = self.kept.hash_of("ahead")
        say(f"{self.device}: predictions written, SHA-256 {ahead}; now the seeds are drawn")
        judged = list(self.drawn(self.judged, "predicted", ahead))
        if not self.brackets and self.kept.predictions("given") is None:
            self.kept.keep_predictions("given", self.all_given(law, judged))
        self.measure(judged)
        if self.brackets:
            self.kept.keep_predictions("given", self.all_given(law, judged))
        return self.ledger(judged)

    def drawn(self, asked: Sequence[Load], part: str, after: str | None = None) -> Iterator[tuple[Load, Requests]]:
        """Loads with the requests of their seeds."""
        seeds = self.kept.seeds(part, 1 + max(load.seed_number for load in asked), after)
        return ((load, loads.draw(load, seeds[load.seed_number])) for load in asked)

    def all_given(self, law: StepLaw, judged: Sequence[tuple[Load, Requests]]) -> pd.DataFrame:
        return pd.concat({load.name: self.given(law, load, requests) for load, requests in judged}, names=INDEX)

    def ledger(self, judged: Sequence[tuple[Load, Requests]]) -> pd.DataFrame:
        """Predicted and measured, in the columns of the ledger of engines."""
        rows = {
            (load.name, *name.split()): value for load, requests in judged
            for name, value in self.measured(load, requests).numbers().items()
        }  # fmt: skip
        seen = pd.Series(rows, name="measured").rename_axis(INDEX)
        table = self.kept.predictions("given").join(seen).reset_index()
        return table.assign(
            source=f"engine {self.device}", engine=ENGINE, version=self.version, model=MODEL, gpu=self.device,
            parallel="TP1", error_percent=100 * (table["predicted"] / table["measured"] - 1),
            fitted_on=" ".join(load.name for load in self.light), blind=True,
        )[list(COLUMNS)]  # fmt: skip


def bracket_of(name: str) -> tuple[Load, Requests]:
    """The load that stands before and after each, with its requests, always the same."""
    load = Load(name, loads.BRACKET_RPS, loads.BRACKET_S)
    return load, loads.draw(load, BRACKET_SEED)


def meaning(law: StepLaw, device: str) -> str:
    """The law in words, and of the clock, whose law is known, what the host adds."""
    a, b, c, d = law.params[:4]
    text = (
        f"{device}: a step takes {1e3 * a:.3g} ms, {1e3 * b:.3g} ms a sequence that decodes, {1e6 * c:.3g} µs a prompt "
        f"token and {1e6 * d:.2g} µs a token of context; the way in, from client to queue and back, "
        f"{1e3 * law.way_in_s:.3g} ms"
    )
    if device == "clock":
        step_s, sequence_s = np.subtract(law.params[:2], loads.CLOCK_LAW[:2])
        text += f"; the host's are {1e3 * step_s:.3g} ms a step, {1e3 * sequence_s:.3g} ms a sequence"
    return text


def ask_all(folder: Path) -> None:
    """Ask engines themselves, and show the laws of their steps."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in steps.ENGINES:
        say(f"steps of {name} …")
        steps.ask(name, folder / f"{name}.csv", environment())
        print(designed.from_steps(folder / f"{name}.csv").card())


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def main(words: list[str]) -> int:
    """Run the devices; write and show their tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__.splitlines()[0])
    parser.add_argument("devices", nargs="*", metavar="DEVICE", help=f"{', '.join(DEVICES)} (default: both), {STEPS}")
    parser.add_argument(
        "--full", action="store_true", default=bool(os.environ.get("FULL")), help="all loads and switches"
    )
    parser.add_argument("--folder", type=Path, default=Path("_build/engine"), help="of results (default %(default)s)")
    parser.add_argument("--seconds", type=float, help="that each load lasts (default: 90 clock, 75 cpu)")
    options = parser.parse_args(words)
    unknown = [device for device in options.devices if device not in (*DEVICES, STEPS)]
    if unknown:
        parser.error(f"{unknown[0]} (expected some of {', '.join(DEVICES)}, {STEPS})")
    for device in options.devices or DEVICES:
        try:
            if device == STEPS:
                ask_all(options.folder / STEPS)
                continue
            table = Bench(device, options.full, options.folder, environment(), options.seconds).run()
        except InputError as problem:
            print(f"engine, {device}: {problem}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print(f"engine, {device}: stopped; what was measured is kept, and another run goes on", file=sys.stderr)
            return 130
        name = f"{device}-full" if options.full else device
        table.to_csv(options.folder / f"{name}.csv", index=False, float_format="%.6g")
        print(table[list(SHOWN)].to_string(index=False, float_format="{:.4g}".format))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
