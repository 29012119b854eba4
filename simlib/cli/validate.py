"""The verb ``validate``: replay a real engine's log, and say how far we are."""

from __future__ import annotations

import argparse
from typing import Any

from simlib.checks import InputError, check_choice
from simlib.cli.benches import judge
from simlib.cli.inspect import tell
from simlib.cli.numbers import check_used, integer, number, place
from simlib.cli.outputs import add_json, aligned, answer, check_outputs, plain

NEEDED = ("--profile", "--log")
ALL = "all"
# Options of the engine and its model, by what the library calls them (`LoggedEngine.of`).
SAID = ("max_num_seqs", "kv_blocks", "token_budget", "block_size", "steps_in_flight", "watermark", "reuse")
SAID += ("known_ends", "long_prefill_tokens", "layers", "hidden_size", "tensor_parallel", "data_parallel")
SAID += ("expert_parallel",)
LINKS = {"link_bandwidth_bytes_s": "--link-bandwidth", "link_latency_s": "--link-latency"}
WORDS = {rf"(?<!-)(?<!json, ){name}(?=[,:])": f"--{name.replace('_', '-')}" for name in SAID} | LINKS
WORDS |= {"model_config": "--model-config"}
MEANING = {
    "layers": "", "overhead_s": " a step beside its kernels", "token_s": " a token beside them", "a_s": " a step",
    "b_s": " a decode", "c_s": " a prompt token", "d_s": " a token of context",
}  # fmt: skip


def add(verbs: Any) -> None:
    """Add the verb."""
    replay = verbs.add_parser("validate", help="replay a real engine's log, and say how far the simulated times are")
    replay.set_defaults(verb=_validate, words=WORDS)
    replay.add_argument(
        "--profile",
        type=place,
        nargs="+",
        metavar="DIR",
        help="folder of a kernel profile, or its files one by one; what meta.json and config.json beside it or the log "
        "say of the engine and its model need not be said again",
    )
    replay.add_argument("--prefix", default="", help="how the profile's files begin, if the folder holds several")
    replay.add_argument("--log", type=place, metavar="REQUESTS.jsonl", help="one JSON object a line, packed or not")
    replay.add_argument("--meta", type=place, metavar="DIR", help="where meta.json and config.json are, if elsewhere")
    replay.add_argument("--model-config", type=place, metavar="FILE", help="the model's config.json, if elsewhere")
    replay.add_argument("--time-unit", help="of the log's clock: s, ms, us or ns (default: as the file tells)")
    replay.add_argument("--timeseries", type=place, metavar="FILE", help="the log's series of running and waiting")
    replay.add_argument("--max-num-seqs", type=integer, metavar="N", help="sequences that run at once")
    replay.add_argument("--kv-blocks", type=integer, metavar="N", help="usable blocks of an engine's KV cache")
    replay.add_argument("--token-budget", type=integer, metavar="N", help="tokens of a step")
    replay.add_argument("--block-size", type=integer, metavar="N", help="tokens of a block (else 16)")
    replay.add_argument("--steps-in-flight", type=integer, metavar="N", help="1 or 2 (else 2)")
    replay.add_argument("--watermark", type=number, help="share of the cache kept free at admission (else 0)")
    replay.add_argument(
        "--reuse",
        action=argparse.BooleanOptionalAction,
        help="whether a preempted sequence finds its blocks again that nobody was given meanwhile (else yes)",
    )
    replay.add_argument(
        "--known-ends",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the engine knows when a sequence ends before its last token is sampled; not so with stop tokens, "
        "and of two steps in flight the second one computes it once more (default: yes)",
    )
    replay.add_argument(
        "--long-prefill-tokens", type=integer, metavar="N", help="tokens to which a chunk is cut (else not)"
    )
    replay.add_argument("--layers", type=integer, metavar="N", help="layers of the model")
    replay.add_argument("--hidden-size", type=integer, metavar="N", help="numbers of a token between two layers")
    replay.add_argument("--tensor-parallel", type=integer, metavar="N", help="cards of an engine (else 1)")
    replay.add_argument("--data-parallel", type=integer, metavar="N", help="engines that share the requests (else 1)")
    replay.add_argument(
        "--expert-parallel",
        action=argparse.BooleanOptionalAction,
        help="whether a mixture's experts are cut by rank over all cards (else not)",
    )
    replay.add_argument("--link-bandwidth", type=number, metavar="GB/S", help="between two cards, in one direction")
    replay.add_argument("--link-latency", metavar="TIME", help="of a message between two cards: 20us")
    replay.add_argument("--step-overhead", type=number, metavar="S", help="seconds a step beside its kernels (fitted)")
    replay.add_argument("--fitted", type=integer, metavar="N", help="first requests that laws are fitted to (half)")
    replay.add_argument("--step-model", default="profile", help="profile, affine, affine-from-log, or all of them")
    judge.add(replay)
    add_json(replay, "settings and rows")


def _validate(options: argparse.Namespace) -> None:
    check_outputs(options)
    if options.bench is not None:
        return judge.judge(options)
    check_used(options, "without --bench", "--latency")
    if missing := [name for name in NEEDED if getattr(options, name[2:]) is None]:
        raise InputError(f"{', '.join(missing)}: missing (expected a log and its engine, or --bench)")
    return _replay(options)


def _replay(options: argparse.Namespace) -> None:
    from simlib.calibration import replay as validation
    from simlib.calibration.logs.logged_engine import LoggedEngine
    from simlib.requests.formats import known
    from simlib.requests.formats.layout import Asked

    check_choice("--step-model", options.step_model, (ALL, *validation.MODELS))
    models = validation.MODELS if options.step_model == ALL else (options.step_model,)
    places = [options.meta] if options.meta is not None else [options.log, *options.profile]
    kernels = options.step_model != "affine-from-log"
    engine = LoggedEngine.of(places, _given(options), model_config=options.model_config, kernels=kernels)
    log = known.requests(options.log, asked=Asked(options.time_unit))
    replayed = validation.validate(
        options.profile,
        log,
        engine,
        models,
        prefix=options.prefix,
        overhead_s=options.step_overhead,
        fitted=options.fitted,
        timeseries=options.timeseries,
    )
    tell(log)
    about, rows = replayed.settings, replayed.rows
    if len(models) > 1:  # what is to be compared stands together
        shown = rows.sort_values(["metric", "statistic"], key=lambda column: column.map(list(rows[column.name]).index))
    else:
        shown = rows
    said, parallel = _sentence(about, engine.found), engine.parallel
    text = "\n".join([said, *_laws(about, parallel), *(f"But {one}." for one in about["doubts"])])
    answer(options.json, {"settings": about, "rows": rows.to_dict("records")}, f"{text}\n\n{aligned(shown)}")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """What options say of the engine and its model."""
    from simlib.durations import wait_s

    given = {name: getattr(options, name) for name in SAID if getattr(options, name) is not None}
    if options.link_bandwidth is not None:
        given["link_bandwidth_bytes_s"] = 1e9 * options.link_bandwidth
    if options.link_latency is not None:
        given["link_latency_s"] = wait_s("--link-latency", options.link_latency)
    return given


def _sentence(about: dict[str, Any], found: Any) -> str:
    """What was replayed, and who said so."""
    engine, parallel = about["engine"], about["parallel"]
    many = f"{parallel['engines']} engines, each" if parallel["engines"] > 1 else "one engine"
    cards = f" on {parallel['tensor']} cards" if parallel["tensor"] > 1 else ""
    said = (
        f"Replayed by {many}{cards} with at most {engine['max_seqs']:,} sequences at once, {engine['token_budget']:,} "
        f"tokens a step, a cache of {engine['kv_tokens'] // engine['block_tokens']:,} blocks of "
        f"{engine['block_tokens']} tokens and {engine['steps_in_flight']} steps in flight."
    )
    if link := parallel["link"]:
        said += f" Its cards have {link['bandwidth_bytes_s'] / 1e9:.3g} GB/s and {1e6 * link['latency_s']:.3g} us."
    for source in dict.fromkeys(found.sources.values()):
        values = {name: value for name, value in found.values.items() if found.sources[name] == source}
        said += f"\n{source}: {_named(values)}."
    usual = {name: value for name, value in about["usual"].items() if value is not None}
    return said + (f"\nSaid by no file or option, and taken as usual: {_named(usual)}." if usual else "")


def _named(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:g}" if type(value) in (int, float) else f"{name} {value}" for name, value in values.items()
    )


def _laws(about: dict[str, Any], parallel: Any) -> list[str]:
    """What was fitted, to which requests, with its limits, and what it means."""
    lines, first = [], f"{about['fitted_requests']:,}"
    for name, law in about["laws"].items():
        limits, later = about["limits"][name], about["later_laws"].get(name)
        fitted = f", fitted to the first {first} requests" if later or limits else ""
        fitted = ", nearest to that profile at its steps" if name == "affine" else fitted
        lines.append(f"{name}: {_values(law, limits)}{fitted}{' (95 % limits)' if limits else ''}.")
        if later:
            lines.append(f"{name}: {_values(later, {})}, fitted to the later ones; each part is judged by the other's.")
        if "token_s" in law and parallel.tensor > 1:
            lines.append(f"{name}: {_meaning(law, limits, parallel)}")
    for name, apart in about.get("series", {}).items():
        lines.append(f"{name}, mean difference from the series: {_numbers(apart)}.")
    return lines


def _values(law: dict[str, Any], limits: dict[str, Any]) -> str:
    """A law's numbers, each with its limits and what it is of."""
    said = []
    for name, value in law.items():
        reach = " ({:.3g} to {:.3g})".format(*limits[name]) if name in limits else ""
        said.append(f"{name} {value:.4g}{reach}{MEANING[name]}")
    return ", ".join(said)


def _meaning(law: dict[str, Any], limits: dict[str, Any], parallel: Any) -> str:
    """What seconds a step and a token are as a link between cards."""
    messages = law["layers"] * parallel.messages
    latencies = [1e6 * one / messages for one in (law["overhead_s"], *limits.get("overhead_s", ()))]
    said = f"of {messages} messages a step, one after another, that is {latencies[0]:.3g} us each"
    said += " ({:.3g} to {:.3g})".format(*latencies[1:]) if latencies[1:] else ""
    if parallel.hidden_size is None:
        return f"{said} (--hidden-size would tell the bandwidth)."
    if law["token_s"] <= 0:
        return f"{said}, whatever they carry."
    bytes_of = messages * parallel.hidden_size * parallel.element_bytes / parallel.tensor
    speeds = [bytes_of / one / 1e9 if one > 0 else float("inf") for one in (law["token_s"], *limits.get("token_s", ()))]
    return f"{said}, and {speeds[0]:.3g} GB/s" + (
        " ({:.3g} to {:.3g}).".format(*sorted(speeds[1:])) if speeds[1:] else "."
    )


def _numbers(law: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in plain(law).items() if value is not None)
