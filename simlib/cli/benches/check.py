"""The part of the verb ``plan`` that comes after deployment: is what was measured inside what was promised?"""

from __future__ import annotations

import argparse
import itertools
import os
from typing import Any

from simlib.checks import InputError
from simlib.cli.inspect import READING, asked_of, tell
from simlib.cli.numbers import check_used
from simlib.cli.outputs import aligned, answer, check_outputs

OUTSIDE = 3  # exit code, as where nothing meets the limits of a plan
OWN = ("--check", "--every", "--json", *READING)


def add(own: argparse.ArgumentParser) -> None:
    """Add the options."""
    own.add_argument(
        "--check",
        nargs="+",
        metavar="FILE",
        help="RESULT … PLAN.json, after deployment and alone: what was measured, and last the plan that --json wrote; "
        "a result is a benchmark or a request table with each request's times, or scrapes of /metrics, two or more in "
        "order, of several replicas those of one moment with commas (a0.prom,b0.prom a1.prom,b1.prom …); of a plan by "
        "class rows say the class (a column priority; vLLM's --metadata priority=0, a result a class); ends with 3 "
        "where what was measured is outside what was promised",
    )
    own.add_argument("--every", metavar="T", help="with --check: from one scrape to the next, such as 10min")


def check(options: argparse.Namespace) -> int:
    """Hold results against a plan; the exit code."""
    from simlib.durations import wait_s
    from simlib.planning.deployed import causes, told, verdict

    check_outputs(options)
    check_used(options, "beside --check", *sorted(options.given & set(options.known) - set(OWN)))
    if len(options.check) < 2:
        raise InputError(f"--check: {options.check[0]} (expected results, and behind them the plan that --json wrote)")
    *results, plan = options.check
    moments = [[path] if os.path.isfile(path) else path.split(",") for path in results]
    every = list(itertools.chain.from_iterable(moments))
    twice = [path for path in every if every.count(path) > 1]
    if twice:
        raise InputError(f"--check: {twice[0]} twice (expected each result once: its windows would count double)")
    every_s = None if options.every is None else wait_s("--every", options.every)
    promised, windows = _windows(moments, plan, every_s, options)
    found = verdict.judge(promised, windows)
    if len(found.unmeasured) == len(promised.promised):
        names = ", ".join(found.unmeasured)
        raise InputError(f"{windows[0].name}: nothing of {names} (expected times of at least one of the objectives)")
    window, worst = found.worst
    why = causes.causes(promised, window, worst.objective)
    answer(options.json, told.document(found, why), told.text(found, why, aligned))
    return OUTSIDE if found.inside is False else 0


def _windows(
    moments: list[list[str]], plan: str, every_s: float | None, options: argparse.Namespace
) -> tuple[Any, list[Any]]:
    """What is promised of the windows of all results, which are scrapes or benchmarks; and these."""
    from simlib.planning.deployed import classes, logs, promise, scrapes, told
    from simlib.planning.deployed.window import SHORT
    from simlib.requests.formats.document import document
    from simlib.requests.formats.known import understood
    from simlib.requests.formats.layout import Asked

    promised = promise.read(plan)
    documents = [document(path) for paths in moments for path in paths]
    scraped = [one for one in documents if one.text is not None]
    if scraped and len(scraped) < len(documents):
        other = next(one.source for one in documents if one.text is None)
        raise InputError(f"{other}: no scrape, beside {scraped[0].source} (expected scrapes, or benchmarks' results)")
    if scraped:
        check_used(options, "beside scrapes of /metrics", *READING)
        if every_s == 0:
            raise InputError(f"--every: {options.every} (expected a time > 0)")
        each, said = iter([scrapes.Scrape.of(one) for one in documents]), ""
        apart_s = SHORT * promised.window_s
        seen = [scrapes.Scrape.together(list(itertools.islice(each, len(paths))), apart_s) for paths in moments]
        if promised.by:
            promised = classes.whole(promised)
            said = classes.said_of_whole(promised, seen[0].source)
        found = scrapes.windows(seen, promised.objectives, promised.window_s, every_s, promised.setup.replicas)
        doubts = [scrapes.said_of(seen, promised.setup.replicas), said]
    else:
        check_used(options, "beside a benchmark's result, which has its times", "--every")
        if several := next((paths for paths in moments if len(paths) > 1), None):
            joined = ",".join(several)
            raise InputError(
                f"--check: {joined} (expected scrapes of replicas with commas, and benchmarks with blanks)"
            )
        asked, found, doubts = asked_of(options), [], []
        form, models = asked.pop("format"), list(map(_model, documents))
        labels = [promised.by] if promised.by else []
        labels += ["priority"] * (promised.setup.order == "priority" and promised.by != "priority")
        read = [understood(one, form, Asked(**asked, labels=labels)) for one in documents]
        for log in read:
            tell(log)
        for log, model in zip(classes.complete(read, promised.objectives), models, strict=False):
            found += logs.windows(log, promised.objectives, promised.window_s, model)
            doubts.append(classes.said_of_others(log, promised.objectives))
    if not found:
        raise InputError(f"{documents[0].source}: no window has a request that was answered (expected at least one)")
    _say([told.unsimulated(promised), *doubts], promised, found)
    return promised, found


def _model(found: Any) -> str:
    """The model as a benchmark's result names it; empty where it does not."""
    names = [
        record[key]
        for record in found.records or ()
        for key in ("model_id", "model")
        if isinstance(record.get(key), str)
    ]
    return names[0] if names else ""


def _say(doubts: list[str], promised: Any, found: list[Any]) -> None:
    """Warn of what makes this another engine than was planned."""
    import warnings

    first = found[0]
    if promised.engine and first.engine and promised.engine.lower() != first.engine.lower():
        doubts.append(f"{first.name}: {first.engine}, where the plan's law is of {promised.engine}")
    if promised.model and first.model and promised.model != first.model:
        doubts.append(f"{first.name}: model {first.model}, where the plan's law is of {promised.model}")
    if promised.version:
        doubts.append(f"the plan's law is of {promised.engine} {promised.version}; no result says its engine's version")
    for doubt in filter(None, doubts):
        warnings.warn(doubt, stacklevel=2)
