"""The verb ``validate``: replay a real engine's log, or recorded steps of its scheduler, and say how far we are."""

from __future__ import annotations

import argparse
from typing import Any

from simlib.checks import InputError, check_integer
from simlib.cli.inspect import tell
from simlib.cli.numbers import integer, number, place
from simlib.cli.outputs import add_json, aligned, answer, check_outputs, plain

NEEDED = ("--profile", "--log", "--max-num-seqs", "--kv-blocks", "--token-budget")


def add(verbs: Any) -> None:
    """Add the verb."""
    replay = verbs.add_parser("validate", help="replay a real engine's log, and say how far the simulated times are")
    replay.set_defaults(verb=_validate)
    replay.add_argument(
        "--scheduler-steps",
        type=place,
        metavar="FILE",
        help="recorded cases of a scheduler, replayed step by step (alone)",
    )
    replay.add_argument("--profile", type=place, metavar="DIR", help="folder of a kernel profile")
    replay.add_argument("--prefix", default="", help="how the profile's files begin, if the folder holds several")
    replay.add_argument("--log", type=place, metavar="REQUESTS.jsonl.gz", help="one JSON object a line")
    replay.add_argument("--time-unit", help="of the log's clock: s, ms, us or ns (default: as the file tells)")
    replay.add_argument("--timeseries", type=place, metavar="FILE", help="the log's series of running and waiting")
    replay.add_argument("--max-num-seqs", type=integer, metavar="N", help="sequences that run at once")
    replay.add_argument("--kv-blocks", type=integer, metavar="N", help="usable blocks of the KV cache")
    replay.add_argument("--token-budget", type=integer, metavar="N", help="tokens of a step")
    replay.add_argument("--block-size", type=integer, default=16, help="tokens of a block (default 16)")
    replay.add_argument("--layers", type=integer, default=32, help="layers of the model (default 32)")
    replay.add_argument("--steps-in-flight", type=integer, default=2, help="1 or 2 (default 2)")
    replay.add_argument(
        "--watermark", type=number, default=0.0, help="share of the cache kept free at admission (default 0)"
    )
    replay.add_argument(
        "--reuse",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether a preempted sequence finds its blocks again that nobody was given meanwhile (default: yes)",
    )
    replay.add_argument(
        "--known-ends",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the engine knows when a sequence ends before its last token is sampled; not so with stop tokens, "
        "and of two steps in flight the second one computes it once more (default: yes)",
    )
    replay.add_argument(
        "--long-prefill-tokens",
        type=integer,
        default=0,
        metavar="N",
        help="tokens to which a chunk is cut (default: not)",
    )
    replay.add_argument("--step-overhead", type=number, metavar="S", help="seconds a step beside its kernels (fitted)")
    replay.add_argument("--fitted", type=integer, default=150, help="requests that laws are fitted to (default 150)")
    replay.add_argument("--step-model", default="profile", help="profile, affine or affine-from-log")
    add_json(replay, "settings and rows")


def _validate(options: argparse.Namespace) -> None:
    from simlib.calibration import replay as validation
    from simlib.continuous.settings import Continuous
    from simlib.requests.formats import known
    from simlib.requests.formats.layout import Asked

    check_outputs(options)
    missing = [name for name in NEEDED if getattr(options, name[2:].replace("-", "_")) is None]
    if options.scheduler_steps is not None:
        if given := next((name for name in NEEDED if name not in missing), None):
            raise InputError(f"{given}: given beside --scheduler-steps (expected one of them)")
        return _scheduler_steps(options)
    if missing:
        raise InputError(f"{', '.join(missing)}: missing (expected a log and its engine, or --scheduler-steps FILE)")
    block = check_integer("--block-size", options.block_size, 1)
    settings = Continuous(
        max_seqs=check_integer("--max-num-seqs", options.max_num_seqs, 1),
        kv_tokens=check_integer("--kv-blocks", options.kv_blocks, 1) * block,
        block_tokens=block,
        token_budget=options.token_budget,
        steps_in_flight=check_integer("--steps-in-flight", options.steps_in_flight, 1, 2),
        watermark=options.watermark,
        reuse=options.reuse,
        known_ends=options.known_ends,
        long_prefill_tokens=options.long_prefill_tokens,
    )
    log = known.requests(options.log, asked=Asked(options.time_unit))
    found = validation.validate(
        options.profile,
        log,
        settings,
        [options.step_model],
        layers=options.layers,
        prefix=options.prefix,
        overhead_s=options.step_overhead,
        fitted=options.fitted,
        timeseries=options.timeseries,
    )
    tell(log)
    document = {"settings": found.settings, "rows": found.rows.to_dict("records")}
    answer(options.json, document, f"{_sentence(found.settings)}\n\n{aligned(found.rows)}")


def _scheduler_steps(options: argparse.Namespace) -> None:
    from simlib.calibration import scheduler_steps
    from simlib.lazy import pd

    compared = [scheduler_steps.compare(case) for case in scheduler_steps.read(options.scheduler_steps)]
    outcome = scheduler_steps.by_mode(compared)
    rows = pd.DataFrame([{"mode": mode, **row} for mode, row in outcome.items()])
    equal, cases = rows["equal"].sum(), rows["cases"].sum()
    said = f"{equal:,} of {cases:,} recorded cases are equal: every time to 1e-9 s, and every step."
    answer(options.json, outcome, f"{said}\n\n{aligned(rows)}")


def _sentence(settings: Any) -> str:
    """What was replayed, and by which laws."""
    engine, apart = settings["engine"], settings.get("series", {})
    said = (
        f"Replayed with at most {engine['max_seqs']:,} sequences at once, {engine['token_budget']:,} tokens a step, a "
        f"cache of {engine['kv_tokens'] // engine['block_tokens']:,} blocks of {engine['block_tokens']} tokens and "
        f"{engine['steps_in_flight']} steps in flight; laws fitted to {settings['fitted_requests']:,} requests."
    )
    laws = settings["laws"] | {f"{name}, mean difference from the series": one for name, one in apart.items()}
    return "\n".join([said, *(f"{name}: {_numbers(law)}" for name, law in laws.items())])


def _numbers(law: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in plain(law).items() if value is not None)
