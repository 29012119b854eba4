"""The verb ``inspect``: what was understood of a file, before anything is done with it; and its options everywhere."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simlib.checks import InputError
from simlib.cli.numbers import integer
from simlib.cli.outputs import add_json, answer, check_outputs, inputs

PARQUET = b"PAR1"
READING = ("--format", "--time-unit", "--block-tokens", "--run")


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("inspect", help="what a file holds, in which units and why, and which verbs can use it")
    own.set_defaults(verb=_inspect)
    own.add_argument("files", nargs="*", metavar="FILE", help="a trace, a request table, a benchmark's result, metrics")
    add_reading(own)
    add_json(own, "the account of each file")


def add_reading(own: argparse.ArgumentParser) -> None:
    """Add the options that say of a file what it does not say itself."""
    own.add_argument("--format", default="auto", help="of the file; auto goes by its columns")
    own.add_argument("--time-unit", help="of the file's clock: s, ms, us or ns (default: as the file tells)")
    own.add_argument(
        "--block-tokens", type=integer, metavar="N", help="of a block of hash_ids (default: as its rows tell)"
    )
    own.add_argument("--run", type=integer, metavar="N", help="which load of a file that holds several, from 0")


def asked_of(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_reading` added, as `traces.read` takes it."""
    names = (option.removeprefix("--").replace("-", "_") for option in READING)
    return {name: getattr(options, name) for name in names}


def parsed(path: str, options: argparse.Namespace) -> Any:
    """A file as it was understood, with what the options say of it."""
    from simlib.requests.formats import known
    from simlib.requests.formats.layout import Asked

    asked = asked_of(options)
    return known.parse(path, asked.pop("format"), Asked(**asked))


def tell(given: Any) -> None:
    """Say the first lines of a file's account on standard error; of a log, a trace or a summary."""
    from simlib.requests.account import Account

    for line in Account.of(given).head.splitlines():
        print(f"simlib: {line}", file=sys.stderr)


def _inspect(options: argparse.Namespace) -> int:
    options.files = inputs(options, options.files)
    check_outputs(options)
    shown, documents, refused = [], [], 0
    for path in options.files:
        try:
            text, document = _account(path, options)
        except InputError as problem:
            refused += 1
            warnings.warn(str(problem), stacklevel=2)
            documents.append({"source": path, "error": str(problem)})
            continue
        shown.append(text)
        documents.append(document)
    if refused < len(options.files):
        answer(options.json, documents if len(options.files) > 1 else documents[0], "\n\n".join(shown))
    return 2 if refused else 0


def _account(path: str, options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The account of a file of requests, or what else it is."""
    from simlib.requests.account import KEYS, Account

    try:
        account = Account.of(parsed(path, options))
    except InputError:
        kind, verb, sentence = _other(Path(path)) if options.format == "auto" else ("", "", "")
        if not kind:
            raise
        text = f"{Path(path).name}: {sentence}"
        return text, dict.fromkeys(KEYS) | {
            "source": Path(path).name,
            "format": kind,
            "verbs": [verb],
            "about": sentence,
        }
    return str(account), account.document()


# What else is brought, by its columns: kind, verb, what it is and how it is used.
TABLES: Sequence[tuple[set[str], str, str, str]] = (
    (
        {"batch_size", "prompt_tokens", "output_tokens", "total_s"},
        "measurements",
        "simulate",
        "measured times of batches, for `simlib simulate REQUESTS --latency {file}`",
    ),
    (
        {"batch_size", "max_seq_len", "mean_latency_sec"},
        "latency_grid",
        "simulate",
        "a grid of mean times of batches, for `simlib simulate REQUESTS --latency {file}`",
    ),
    (
        {"coefficient", "value"},
        "step_law",
        "simulate",
        "a law of steps, for `simlib simulate REQUESTS --execution continuous --policy fcfs --latency {file}`",
    ),
    (
        {"t", "running", "kv_cache_pct"},
        "engine_series",
        "validate",
        "how many requests ran and waited when, for `simlib validate --timeseries {file}`",
    ),
    (
        {"time_us"},
        "kernel_profile",
        "validate",
        "times of kernels, a part of a profile, for `simlib validate --profile` with the folder that it is in",
    ),
)


def _other(path: Path) -> tuple[str, str, str]:
    """What a file without requests is: its kind, the verb that reads it, and a sentence; empty if nobody knows."""
    if path.is_dir():
        names = [file.name for file in path.iterdir()]
        if any("attention.csv" in name for name in names):
            return (
                "kernel_profile",
                "validate",
                f"a folder with a kernel profile, for `simlib validate --profile {path}`",
            )
        if "manifest.json" in names:
            return (
                "sweep_results",
                "sweep",
                f"results of a sweep, which `simlib sweep FILE.yaml --out {path}` goes on with",
            )
        return "", "", ""
    if not path.is_file():
        return "", "", ""
    with path.open("rb") as file:
        if file.read(len(PARQUET)) == PARQUET:
            return _stored(path)
    from simlib import reading

    text = reading.beginning(path)
    if path.name.lower().endswith((".yaml", ".yml")) and re.search(r"^(vary|replications)\s*:", text, re.MULTILINE):
        return "sweep", "sweep", f"a sweep's grid, for `simlib sweep {path} --out DIR`"
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    names = {name.strip().strip('"') for name in re.split("[,;\t]", first)}
    for columns, kind, verb, sentence in TABLES:
        if columns <= names:
            return kind, verb, sentence.format(file=path)
    if first.startswith("{") and '"traceEvents"' in text[:1000]:
        return "timeline", "", "what each GPU did when, to be looked at in ui.perfetto.dev"
    return "", "", ""


def _stored(path: Path) -> tuple[str, str, str]:
    """Of a Parquet file whether it is a run that was saved."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from simlib.runs.parquet import KEY

    try:
        mine = KEY in (pq.read_schema(path).metadata or {})
    except (OSError, pa.ArrowException):
        mine = False
    return ("run", "", f"a saved run, for simlib.load({str(path)!r}) in Python") if mine else ("", "", "")
