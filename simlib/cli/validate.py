"""The verb ``validate``: replay a real engine's log, or recorded steps of its scheduler, and say how far we are."""

from __future__ import annotations

import argparse
from typing import Any

from simlib.checks import InputError, check_choice, check_integer
from simlib.cli.benches import judge
from simlib.cli.inspect import tell
from simlib.cli.numbers import check_used, integer, number, place
from simlib.cli.outputs import add_json, aligned, answer, check_outputs, plain

NEEDED = ("--profile", "--log")
ALL = "all"
# What options say, or else the files beside the log: what is taken where neither does, None: it is asked for.
LIMITS = {
    "max_num_seqs": None, "kv_blocks": None, "token_budget": None, "block_size": 16, "steps_in_flight": 2,
    "watermark": 0.0, "reuse": True, "whole_prompt": True, "long_prefill_tokens": 0,
}  # fmt: skip
SIZES = {
    "layers": None, "hidden_size": None, "tensor_parallel": 1, "data_parallel": 1, "expert_parallel": False,
    "element_bytes": 2, "link_bandwidth_bytes_s": None, "link_latency_s": None,
}  # fmt: skip
MEANING = {
    "layers": "", "overhead_s": " a step beside its kernels", "token_s": " a token beside them", "a_s": " a step",
    "b_s": " a decode", "c_s": " a prompt token", "d_s": " a token of context",
}  # fmt: skip
ASKED = {
    "max_num_seqs": "sequences that run at once",
    "kv_blocks": "usable blocks of each engine's KV cache, tokens of it by those of a block in its start-up messages",
    "token_budget": "tokens of a step",
    "layers": "of the model, num_hidden_layers of its config.json, or that file as --model-config",
    "hidden_size": "of the model, as its config.json has it, for what its cards tell each other",
    "link_bandwidth": "GB/s between two cards",
    "link_latency": "of a message between two cards, such as 20us",
}


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
    given = [name for name in NEEDED if getattr(options, name[2:]) is not None]
    if options.scheduler_steps is not None:
        if given:
            raise InputError(f"{given[0]}: given beside --scheduler-steps (expected one of them)")
        return _scheduler_steps(options)
    if missing := [name for name in NEEDED if name not in given]:
        raise InputError(
            f"{', '.join(missing)}: missing (expected a log and its engine, --bench or --scheduler-steps FILE)"
        )
    return _replay(options)


def _replay(options: argparse.Namespace) -> None:
    from simlib.calibration import replay as validation
    from simlib.calibration.logs import left_behind
    from simlib.continuous.settings import Continuous
    from simlib.latency.parallel import Link, Parallel
    from simlib.requests.formats import known
    from simlib.requests.formats.layout import Asked

    check_choice("--step-model", options.step_model, (ALL, *validation.MODELS))
    models = validation.MODELS if options.step_model == ALL else (options.step_model,)
    places = [options.meta] if options.meta is not None else [options.log, *options.profile]
    found = left_behind.beside(places, options.model_config)
    given = _given(options)
    limits, sizes = _settled(given, found, models)
    profile = left_behind.profile_of(options.profile, sizes["tensor_parallel"])
    left_behind.check_profile(profile, found)
    block = check_integer("--block-size", limits["block_size"], 1)
    parallel = Parallel(
        tensor=check_integer("--tensor-parallel", sizes["tensor_parallel"], 1),
        engines=check_integer("--data-parallel", sizes["data_parallel"], 1),
        expert=bool(sizes["expert_parallel"]),
        hidden_size=sizes["hidden_size"],
        element_bytes=sizes["element_bytes"],
        link=Link(sizes["link_bandwidth_bytes_s"], sizes["link_latency_s"]) if sizes["linked"] else None,
    )
    settings = Continuous(
        max_seqs=check_integer("--max-num-seqs", limits["max_num_seqs"], 1),
        kv_tokens=check_integer("--kv-blocks", limits["kv_blocks"], 1) * block,
        block_tokens=block,
        token_budget=limits["token_budget"],
        steps_in_flight=check_integer("--steps-in-flight", limits["steps_in_flight"], 1, 2),
        watermark=limits["watermark"],
        reuse=bool(limits["reuse"]),
        whole_prompt=bool(limits["whole_prompt"]),
        known_ends=options.known_ends,
        long_prefill_tokens=limits["long_prefill_tokens"],
        routing="least_requests" if parallel.engines > 1 else "shared",
    )
    log = known.requests(options.log, asked=Asked(options.time_unit))
    replayed = validation.validate(
        profile,
        log,
        settings,
        models,
        layers=sizes["layers"] or 1,
        prefix=options.prefix,
        overhead_s=options.step_overhead,
        fitted=options.fitted,
        timeseries=options.timeseries,
        parallel=parallel,
    )
    tell(log)
    usual = {name: value for name, value in (LIMITS | SIZES).items() if name not in found.values and name not in given}
    about = replayed.settings | {"sources": found.sources, "usual": usual}
    rows = replayed.rows
    if len(models) > 1:  # what is to be compared stands together
        shown = rows.sort_values(["metric", "statistic"], key=lambda column: column.map(list(rows[column.name]).index))
    else:
        shown = rows
    text = "\n".join([_sentence(about, found), *_laws(about, parallel), *(f"But {one}." for one in about["doubts"])])
    answer(options.json, {"settings": about, "rows": rows.to_dict("records")}, f"{text}\n\n{aligned(shown)}")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """What options say of the engine and its model, by the names of `LIMITS` and `SIZES`."""
    from simlib.durations import wait_s

    given = {name: getattr(options, name) for name in (*LIMITS, *SIZES) if getattr(options, name, None) is not None}
    if options.link_bandwidth is not None:
        given["link_bandwidth_bytes_s"] = 1e9 * options.link_bandwidth
    if options.link_latency is not None:
        given["link_latency_s"] = wait_s("--link-latency", options.link_latency)
    return given


def _settled(given: dict[str, Any], found: Any, models: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Limits and sizes by options, by files, and by what else is usual; a size that files have otherwise is refused."""
    for name in ("layers", "hidden_size", "tensor_parallel", "data_parallel", "expert_parallel"):
        if name in given and found.values.get(name, given[name]) != given[name]:
            option, source = "--" + name.replace("_", "-"), found.sources[name]
            raise InputError(f"{option}: {given[name]} (expected {found.values[name]}, as {source} has it)")
    limits, sizes = (
        {name: given.get(name, found.values.get(name, usual[name])) for name in usual} for usual in (LIMITS, SIZES)
    )
    talks = sizes["tensor_parallel"] > 1 or (sizes["data_parallel"] > 1 and sizes["expert_parallel"])
    link = {name: sizes[f"{name}_{unit}"] for name, unit in (("link_bandwidth", "bytes_s"), ("link_latency", "s"))}
    sizes["linked"] = talks and any(value is not None for value in link.values())
    asked = [name for name in ("max_num_seqs", "kv_blocks", "token_budget") if limits[name] is None]
    asked += ["layers"] if sizes["layers"] is None and set(models) - {"affine-from-log"} else []
    if sizes["linked"]:
        asked += [name for name, value in ({"hidden_size": sizes["hidden_size"]} | link).items() if value is None]
    if asked:
        what = "; ".join(f"--{name.replace('_', '-')}: {ASKED[name]}" for name in asked)
        raise InputError(f"{', '.join('--' + name.replace('_', '-') for name in asked)}: missing (expected {what})")
    return limits, sizes


def _scheduler_steps(options: argparse.Namespace) -> None:
    from simlib.calibration import scheduler_steps
    from simlib.lazy import pd

    compared = [scheduler_steps.compare(case) for case in scheduler_steps.read(options.scheduler_steps)]
    outcome = scheduler_steps.by_mode(compared)
    rows = pd.DataFrame([{"mode": mode, **row} for mode, row in outcome.items()])
    equal, cases = rows["equal"].sum(), rows["cases"].sum()
    said = f"{equal:,} of {cases:,} recorded cases are equal: every time to 1e-9 s, and every step."
    answer(options.json, outcome, f"{said}\n\n{aligned(rows)}")


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
