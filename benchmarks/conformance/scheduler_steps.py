"""What vLLM's own scheduler did with request tables, step by step, and whether the step engine does the same.

A file of recorded cases is a JSON object with a list, `cases`: in each the requests, the engine's settings, a law of
steps, and what came out (`cases` draws them, ``record.py`` records them, ``data/README.md`` says what each key means).
A case is equal if all of it is: the times of every request, what every step was made of, and how often memory was
taken.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simlib import reading
from simlib.checks import InputError, check_choice, check_integer, check_number, check_type
from simlib.continuous.columns import NUMBERS
from simlib.continuous.serve import rules_of, served
from simlib.continuous.settings import Continuous
from simlib.continuous.state import LOGGED
from simlib.latency.steps import StepLaw
from simlib.policies.plan import Order
from simlib.requests.table import RequestTable

WITHIN_S = 1e-9
MOST = 2**62  # of tokens in a step
MODES = (
    "sync", "async", "sync_reuse", "async_reuse", "priority", "shared_prefix",
    "async_priority", "priority_reuse", "async_priority_reuse", "async_shared_prefix", "priority_shared_prefix",
)  # fmt: skip
COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens")
MODE_COLUMNS = {"priority": ("priority",), "shared_prefix": ("group", "shared_tokens")}
NAMES = {"group": "prefix_group", "shared_tokens": "prefix_tokens"}  # as a request table calls them
LIMITS = ("max_num_seqs", "max_num_batched_tokens", "num_blocks", "block_size")
OPTIONS = {"watermark": "watermark", "long_prefill_token_threshold": "long_prefill_tokens"}  # as `Continuous` has them
SOME = (*OPTIONS, "max_tokens", "cancel_s")  # a case may have them
OUTCOME = ("first_s", "completion_s", "steps", "preemptions")
NOTES = ("kind", "events", "seed", "name")  # what a recorder may add, and nobody reads here
STEP = ("duration_s", "decodes", "prefill_tokens", "context_tokens", "sequences")


@dataclass(frozen=True, slots=True)
class Case:
    """A recorded case: what the engine was asked, and what it did.

    Parameters
    ----------
    mode : str
        One of `MODES`.
    table : RequestTable
    engine : Continuous
    law : StepLaw
    order : Order
    first_s, completion_s : ndarray of float, shape (n_requests,)
        When the first token and the last one came, seconds; NaN: never.
    steps : ndarray of int, shape (n_steps, 4)
        Decodes, prefill tokens, context tokens of the decodes, sequences.
    preemptions : int
    """

    mode: str
    table: RequestTable
    engine: Continuous
    law: StepLaw
    order: Order
    first_s: np.ndarray
    completion_s: np.ndarray
    steps: np.ndarray
    preemptions: int


@dataclass(frozen=True, slots=True)
class Compared:
    """A case beside its replay: whether all is equal, which requests are, and the mean latency's relative error."""

    mode: str
    equal: bool
    requests_equal: np.ndarray
    mean_latency_error: float


def read(path: str | os.PathLike[str]) -> list[Case]:
    """Read the recorded cases of a file, packed or not.

    Raises
    ------
    InputError
        If it is another file; naming the case, the key and what was expected of it, where one is missing, unknown, of
        another length or out of range.
    """
    source, text = reading.text(path, "recorded cases of a scheduler, as JSON")
    document = reading.json_of(text, source)
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list):
        raise InputError(f"{source}: no list of cases (expected a JSON object with the key 'cases')")
    if not document["cases"]:
        raise InputError(f"{source}, cases: an empty list (expected at least 1)")
    return [case_of(given, f"{source}, case {number}") for number, given in enumerate(document["cases"])]


def case_of(given: Any, place: str) -> Case:
    """One recorded case, checked; `place` is how messages call it."""
    try:
        return _case(given)
    except InputError as problem:
        raise InputError(f"{place}, {problem}") from None


def _case(given: Any) -> Case:
    if not isinstance(given, Mapping):
        raise InputError(f"{given!r:.60} (expected a JSON object)")
    given = {key: value for key, value in given.items() if value is not None}
    mode = check_choice("mode", _of(given, "mode"), MODES)
    columns = [*COLUMNS, *(name for word, names in MODE_COLUMNS.items() if word in mode for name in names)]
    known = {"mode", *columns, *LIMITS, "law", *SOME, *OUTCOME, *NOTES}
    strange = next((key for key in given if key not in known), None)
    if strange is not None:
        raise InputError(f"{strange}: unknown to mode {mode!r} (expected {', '.join(sorted(known - {'mode'}))})")
    requests = len(_list(given, "arrival_s"))
    values = {name: _list(given, name, requests) for name in columns}
    options = {OPTIONS[key]: given[key] for key in OPTIONS if key in given}
    if "max_tokens" in given:  # a stop token comes before it
        values["max_tokens"], options["known_ends"] = _list(given, "max_tokens", requests), False
    if "cancel_s" in given:
        values["cancel_s"] = [np.nan if at_s is None else at_s for at_s in _list(given, "cancel_s", requests)]
    begins = {NAMES[key]: values.pop(key) for key in NAMES if key in values}
    table = RequestTable(**values, **begins)
    limit = {name: check_integer(name, _of(given, name), 1) for name in LIMITS}
    law = _list(given, "law", 4)
    case = Case(
        mode=mode,
        table=table,
        engine=Continuous(
            max_seqs=limit["max_num_seqs"],
            kv_tokens=limit["num_blocks"] * limit["block_size"],
            block_tokens=limit["block_size"],
            token_budget=limit["max_num_batched_tokens"],
            steps_in_flight=2 if mode.startswith("async") else 1,
            prefix_cache=mode.endswith(("reuse", "shared_prefix")),
            **options,
        ),
        law=StepLaw(*(check_number(f"law, number {place}", value, 0.0) for place, value in enumerate(law))),
        order=Order(priority="priority" in mode),
        first_s=_times(given, "first_s", requests),
        completion_s=_times(given, "completion_s", requests),
        steps=_steps(given),
        preemptions=check_integer("preemptions", _of(given, "preemptions"), 0),
    )
    needed = case.engine.needed_blocks(case.table)
    if (needed > limit["num_blocks"]).any():
        row = int(np.argmax(needed > limit["num_blocks"]))
        raise InputError(f"num_blocks: {limit['num_blocks']} (expected at least {needed[row]}, which row {row} needs)")
    if begins:
        ids = _contents(table, limit["block_size"])
        return dataclasses.replace(case, table=RequestTable(**values, block_ids=ids))
    return case


def _contents(table: RequestTable, block: int) -> list[list[int]]:
    """What the blocks of prompts and answers contain, where prompts of a group begin alike.

    All sampled tokens are the same one, so that equal prompts have equal answers: these blocks can be found, too.
    """
    same: dict[tuple[int, ...], int] = {}

    def contents(row: int) -> list[int]:
        prompt, tokens = int(table.prompt_tokens[row]), int(table.prompt_tokens[row] + table.output_tokens[row])
        of, alike = int(table.prefix_group[row]), int(table.prefix_tokens[row])
        whole = (of, prompt) if alike == prompt else (of, prompt, row)  # of whom it is the same from there on
        keys = ((of,) if end <= alike else whole for end in range(block, tokens + 1, block))
        return [same.setdefault((place, *key), len(same)) for place, key in enumerate(keys)]

    return [contents(row) for row in range(len(table))]


def _of(given: Mapping[str, Any], key: str) -> Any:
    if key not in given:
        raise InputError(f"{key}: missing key")
    return given[key]


def _list(given: Mapping[str, Any], key: str, length: int | None = None) -> list[Any]:
    values = check_type(key, _of(given, key), list, "a list")
    if length is not None and len(values) != length:
        raise InputError(f"{key}: {len(values)} values (expected {length})")
    return values


def _times(given: Mapping[str, Any], key: str, requests: int) -> np.ndarray:
    """A column of times, NaN where there is none (null)."""
    values = _list(given, key, requests)
    return np.array(
        [np.nan if value is None else check_number(f"{key}, row {row}", value, 0.0) for row, value in enumerate(values)]
    )


def _steps(given: Mapping[str, Any]) -> np.ndarray:
    rows = _list(given, "steps")
    wrong = (number for number, row in enumerate(rows) if not isinstance(row, list) or len(row) != len(STEP))
    if (number := next(wrong, None)) is not None:
        raise InputError(f"steps, step {number}: {rows[number]!r:.60} (expected {', '.join(STEP)})")
    if any(type(value) is not int or not 0 <= value <= MOST for row in rows for value in row[1:]):
        for number, row in enumerate(rows):
            for name, value in zip(STEP[1:], row[1:], strict=True):
                check_integer(f"steps, step {number}, {name}", value, 0, MOST)
    return np.array([row[1:] for row in rows], np.int64).reshape(-1, len(STEP) - 1)


def replayed(case: Case, backend: str = "interpreted") -> tuple[Any, np.ndarray]:
    """A case's requests in the step engine: what `serve` returns, and its steps in the form of `Case.steps`."""
    rules = rules_of(case.engine, case.law, 1, case.order)
    _, found, _ = served(case.table, case.law, 1, rules, case.order, backend, None, len(case.steps) + 1)
    log = found.steps[0, : found.numbers[0, NUMBERS.index("stored")]]
    count, decodes, prefill, context, chunks = (
        log[:, LOGGED.index(name)].astype(int)
        for name in ("steps", "decodes", "prefill_tokens", "context_tokens", "chunks")
    )
    count = np.clip(len(case.steps) + 1 - (np.cumsum(count) - count), 0, count)  # there may be many more, at once
    row = np.repeat(np.arange(len(log)), count)
    later = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)  # each decode's context grows by a token
    steps = (decodes[row], prefill[row], context[row] + later * decodes[row], decodes[row] + chunks[row])
    return found, np.transpose(steps)


def compare(case: Case, backend: str = "interpreted") -> Compared:
    """Replay a case, and hold every time and every step against the recorded ones."""
    found, steps = replayed(case, backend)
    same = [
        np.isclose(ours, theirs, rtol=0, atol=WITHIN_S, equal_nan=True)
        for ours, theirs in ((found.first_token_s, case.first_s), (found.completion_s, case.completion_s))
    ]
    requests_equal = same[0] & same[1]
    preemptions = int(found.numbers[:, NUMBERS.index("preemptions")].sum())
    both = np.isfinite(found.completion_s) & np.isfinite(case.completion_s)
    ours, theirs = (np.sum((times - case.table.arrival_s)[both]) for times in (found.completion_s, case.completion_s))
    return Compared(
        mode=case.mode,
        equal=bool(requests_equal.all()) and np.array_equal(steps, case.steps) and preemptions == case.preemptions,
        requests_equal=requests_equal,
        mean_latency_error=abs(float(ours / theirs) - 1.0) if theirs > 0 else 0.0,
    )


def by_mode(compared: list[Compared]) -> dict[str, dict[str, float]]:
    """For each mode: cases, of them equal; share of requests equal; worst relative error of the mean latency."""
    modes = dict.fromkeys(each.mode for each in compared)
    return {mode: of_all([each for each in compared if each.mode == mode]) for mode in modes}


def of_all(compared: list[Compared]) -> dict[str, float]:
    """The same of all cases together."""
    return {
        "cases": len(compared),
        "equal": sum(each.equal for each in compared),
        "requests_equal": float(np.concatenate([each.requests_equal for each in compared]).mean()),
        "worst_mean_latency_error": max(each.mean_latency_error for each in compared),
    }
