"""A plan in words: for a terminal, and as one page of HTML that needs nothing else."""

from __future__ import annotations

import html
from dataclasses import asdict, replace
from typing import Any

from simlib.latency.presets import SPLIT
from simlib.planning import objectives
from simlib.planning.allowed import Allowed
from simlib.planning.demand import Demand
from simlib.planning.deployed import kept
from simlib.planning.deployed.flags import Replicas
from simlib.planning.objectives import Objective
from simlib.planning.plan import Configuration, Plan
from simlib.planning.planner import Planner
from simlib.planning.trials import LOADS
from simlib.policies.bins import equal_mass
from simlib.text import many, span

CACHE = {False: "", True: "; what prompts have in common is kept in it and found"}
ROUTED = {
    "least_tokens": "each request to the replica with the fewest tokens of unfinished requests",
    "prefix": "each request to the replica whose cache holds most of its prompt, of equals to that of fewest requests",
}
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .4rem .6rem;
border-bottom: 1px solid #8886; } th { width: 28%; } code { overflow-wrap: anywhere; }
svg { width: 100%; height: auto; background: #fff; } .answer { font-size: 1.2rem; }
figure { margin: 1rem 0; } .batches { max-width: 34rem; }
"""
BATCHES = """<h2>How these engines may form their batches</h2>
<figure role="img" aria-label="Whether the limits hold, how much load may be given and what gives way first, by token
budget and sequences at once" class="batches">{batches}</figure>"""


def answer(plan: Plan) -> str:
    """The plan in one sentence; where its law is not known to hold, that is the condition."""
    planner, trust = plan.planner, plan.nearest.engine.trust
    wanted = objectives.spelled(planner.objectives)
    law = f"the law of {trust.source}, which may not hold here: {'; '.join(plan.doubts)}" if plan.doubts else ""
    if plan.best is None:
        return (
            f"Nothing within {many(planner.most_gpus, 'GPU')} meets {wanted} {_asked(planner)}; {_needed(plan)}. The "
            f"nearest is {plan.nearest}{f', by {law}' if law else ''}."
        )
    how = f"would meet {wanted} {_asked(planner)}, by {law}" if law else f"meets {wanted} {_asked(planner)}"
    return f"Deploy {plan.best}: it {how}{_rests_on(planner)}."


def _asked(planner: Planner) -> str:
    """Of which windows to come the plan speaks."""
    demand = planner.demand
    if not demand.promises:
        return f"with {planner.reserve:.0%} more load in reserve"
    like = f"windows of {span(demand.windows.window_s)} like these {len(demand.windows)}"
    return f"in {100 * planner.confidence:g} of 100 {like}"


def _rests_on(planner: Planner) -> str:
    """Why more, or nothing, can be promised than windows alone support."""
    demand = planner.demand
    if not demand.promises:
        return f"; no share of windows is promised, as {_untold(demand)}"
    windows = len(demand.windows)
    if windows / (windows + 1) >= planner.confidence - 1e-9:
        return ""
    alone = 100 * windows // (windows + 1)
    return f"; these alone support {alone} of 100, the rest is a model: what windows bear drifts and scatters"


def _untold(demand: Demand) -> str:
    """Why nobody knows how it varies."""
    if not demand.recorded:
        return "how demand varies was not recorded"
    if len(demand.windows):
        return "one window does not tell how it varies"
    return "no whole window is without a gap" if demand.windows.gaps else "the record is shorter than a window"


def _needed(plan: Plan) -> str:
    """How many GPUs would do."""
    found = plan.short
    if found.gpus is None:
        return f"no number of GPUs would do, as what limits it is {found.limit}"
    return f"about {many(found.gpus, 'GPU')} would do ({found.low} to {found.high}), as what limits it is {found.limit}"


def rows(plan: Plan) -> list[tuple[str, str]]:
    """What to set, what to expect and what to fear: a heading and a sentence each."""
    planner, chosen = plan.planner, plan.nearest
    found = [("May not hold", one) for one in plan.doubts] + [
        ("Demand", planner.demand.name),
        ("Replicas", _replicas(chosen)),
        *_spelled(plan),
        ("Step times", _law(chosen)),
        ("KV cache", f"{chosen.engine.kv_tokens:,} tokens a replica{CACHE[chosen.prefix_cache]}"),
        ("Routing", ROUTED[chosen.routing] if chosen.replicas > 1 else "none, as one replica takes all"),
        ("Order", _order(planner, chosen)),
    ]
    for one in planner.objectives:
        low, middle, high = plan.values_s[one.name]
        near = f"limit {one.limit_s:g} s, {high / one.limit_s:.0%} of it used at the upper end"
        found.append((one.name, f"predicted {middle:.3g} s, {low:.3g} to {high:.3g}; {near}"))
    found.append(("Load", _load(plan)))
    if plan.recorded is not None:
        found.append(("The record itself", _recorded(plan)))
    if plan.cost_per_million_output_tokens is not None:
        hourly = planner.price_per_gpu_hour * chosen.gpus
        amounts = (
            (f"{plan.cost_per_million_output_tokens:.3g}", "a million output tokens"),
            (f"{hourly:.4g}", "an hour"),
        )
        found.append(("Cost", ", ".join(f"{amount} {planner.currency} {of}" for amount, of in amounts)))
    for risk in plan.risks:
        missed = "met" if risk.strain <= 1 else f"missed, at {risk.strain:.3g} times the limit"
        of = "windows" if planner.demand.promises else "draws"
        of += f", each with the reserve of {planner.reserve:.0%}" if planner.margin > 1 else ""
        found.append((f"Risk: {risk.what}", f"{missed}; some objective is missed in {risk.missed_share:.0%} of {of}"))
    found.append(("GPUs by order", _by_order(plan)))
    if plan.runner_up is not None:
        same = "; a tie, as far as can be told" if plan.tie else ""
        found.append(("Runner-up", f"{plan.runner_up}; may be given {plan.runner_up_allowed.load:.2f} times{same}"))
    found.append(("Measure again", plan.remeasure))
    if plan.best is None:
        found.append(("What would have to change", _change(plan)))
    return found


def text(plan: Plan) -> str:
    """For a terminal."""
    told = rows(plan)
    width = max(len(name) for name, _ in told)
    return "\n".join([answer(plan), "", *(f"{name:<{width}}  {value}" for name, value in told)])


def document(plan: Plan) -> dict[str, Any]:
    """For a machine: settings, values with intervals, headroom, cost, risks."""
    chosen = plan.nearest
    return {
        "met": plan.best is not None,
        "configuration": {
            "engine": chosen.engine.name,
            "replicas": chosen.replicas,
            "tensor_parallel": chosen.engine.gpus,
            "gpus": chosen.gpus,
            "max_num_seqs": chosen.max_seqs,
            "max_num_batched_tokens": chosen.token_budget,
            "k_bins": chosen.k_bins,
            "order": chosen.order,
            "prefix_caching": chosen.prefix_cache,
            "routing": chosen.routing if chosen.replicas > 1 else None,
            "kv_tokens": chosen.engine.kv_tokens,
        },
        "confidence": _confidence(plan),
        "promise": _promised(plan.planner),
        **kept.of_plan(plan),
        "trust": _trust(plan),
        "objectives": [
            {"objective": str(one), "class": _class(one), "limit_s": one.limit_s, **plan.values_s[one.name]._asdict()}
            for one in plan.planner.objectives
        ],
        "clients": plan.planner.demand.clients,
        "load": plan.allowed.bounds,
        "record": None if plan.recorded is None else plan.recorded._asdict(),
        "needed": None if plan.short is None else plan.short._asdict(),
        "currency": plan.planner.currency,
        "cost_per_million_output_tokens": plan.cost_per_million_output_tokens,
        "risks": [asdict(risk) for risk in plan.risks],
        "runner_up": None if plan.runner_up is None else str(plan.runner_up),
        "tie": plan.tie,
        "remeasure": plan.remeasure,
        "runs": plan.runs,
    }


def page(plan: Plan, drawn: str, batches: str = "") -> str:
    """One page of HTML: the answer, a figure of the objectives against the load (`figure.svg`), and `rows`.

    `batches` is a figure of how the fleet may form its batches (`figure.by_batches`).
    """
    lines = "\n".join(
        f"<tr><th scope='row'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows(plan)
    )
    said = html.escape(answer(plan))
    known = bool(getattr(plan.nearest.engine.trust, "draws", ()))
    drawn_law = (
        "The law is drawn, too, as its benchmarks leave it open."
        if known
        else 'They say nothing of errors of the latency model, which is why the line "Measure again" is there.'
    )
    of = "windows to come" if plan.planner.demand.promises else "draws of the requests"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>What to deploy</title><style>{STYLE}</style></head><body>
<h1>What to deploy</h1>
<p class="answer">{said}</p>
<figure role="img" aria-label="Each objective as a share of its limit, against the load">{drawn}</figure>
<table>{lines}</table>
{BATCHES.format(batches=batches) if batches else ""}
<p>Simulated: {plan.runs} runs of {plan.planner.demand.requests} requests under continuous batching with chunked
prefill. Between the ends lie 95 % of the {of}. {drawn_law}</p>
</body></html>
"""


def _spelled(plan: Plan) -> list[tuple[str, str]]:
    """The configuration in engines' words, and what these do not say."""
    cached = plan.planner.trials.requests(plan.planner.seed).cached_prompt_tokens
    cache = plan.nearest.prefix_cache or (cached is not None and bool(cached.any()))
    words = Replicas.of(plan.nearest, plan.planner.objectives, prefix_cache=cache)
    found = []
    for name, spelled, buckets in (("vLLM", words.vllm, words.buckets[0]), ("SGLang", words.sglang, words.buckets[1])):
        found += [(name, str(spelled)), *((f"{name} differs", one) for one in spelled.unlike)]
        found.append((f"{name}, for --check", buckets))
    return found


def _replicas(chosen: Configuration) -> str:
    each = many(chosen.engine.gpus, "GPU")
    return f"1, on {each}" if chosen.replicas == 1 else f"{chosen.replicas}, each on {each}: {chosen.gpus} GPUs in all"


def _law(chosen: Configuration) -> str:
    measured, trust, name = chosen.engine.measured, chosen.engine.trust, chosen.engine.name
    if trust is None:
        return f"{name}: {chosen.engine.law}, typed: not measured"
    if measured is None:
        numbers = ", ".join(f"{value:.4g}" for value in chosen.engine.law.params[:4])
        return f"a, b, c, d = {numbers} s, of {trust}"
    assumed = (
        f"; prefill's share is assumed to be {SPLIT:g}, measured at equal lengths" if measured.equal_lengths else ""
    )
    return f"{name}, measured for {measured}{assumed}"


def _trust(plan: Plan) -> dict[str, Any] | None:
    """How far to trust the law; none where it was typed."""
    trust = plan.nearest.engine.trust
    if trust is None:
        return None
    return asdict(replace(trust, draws=())) | {"beyond": [one._asdict() for one in plan.beyond], "doubts": plan.doubts}


def _class(one: Objective) -> str | None:
    return None if one.group is None else str(one.group)


def _order(planner: Planner, chosen: Configuration) -> str:
    if chosen.order == "priority":
        return "the most urgent first, the lowest `priority`; others lose their memory to them where it is full"
    if chosen.k_bins == 1:
        return chosen.admits
    edges = equal_mass(planner.trials.requests(planner.seed).predicted_output_tokens, chosen.k_bins)
    inner = ", ".join(f"{edge:g}" for edge in edges[1:-1])
    return f"{chosen.k_bins} classes of predicted output, cut at {inner} tokens, admitted in turn"


def _load(plan: Plan) -> str:
    """What it may be given, and what it bears."""
    found, planner = plan.allowed, plan.planner
    who = "the next window" if planner.demand.promises else "steady traffic"
    bears = f"{who} bears {found.middle:.2f} times ({found.low:.2f} to {found.high:.2f})"
    text = f"may be given {found.load:.2f} times the demand's; {bears}{_ends(found)}"
    if (clients := planner.demand.clients) is None:
        return text
    return f"{text}; that is {clients * found.load:.0f} clients of {clients * found.middle:.0f} that it bears"


def _ends(found: Allowed) -> str:
    low, high = LOADS
    return f"; not sought beyond {low:g} to {high:g}" if found.low <= 1.01 * low or found.high >= 0.99 * high else ""


def _recorded(plan: Plan) -> str:
    found, windows = plan.recorded, len(plan.planner.demand.windows)
    whole = f"{found.strain:.2f} of its nearest limit in all"
    if not plan.planner.demand.promises:
        return f"{whole}; a promise takes two windows ({plan.planner.demand.windows})"
    missed = f"{found.missed} of {many(windows, 'window')} missed, the worst at {found.worst:.2f}"
    return f"{whole}; {missed} ({plan.planner.demand.windows})"


def _confidence(plan: Plan) -> float | None:
    sure = plan.best is not None and not plan.doubts and plan.planner.demand.promises
    return plan.planner.confidence if sure else None


def _promised(planner: Planner) -> dict[str, Any]:
    """What is promised, for a machine."""
    demand = planner.demand
    if not demand.promises:
        return {"reserve": planner.reserve}
    windows = len(demand.windows)
    model = windows / (windows + 1) < planner.confidence - 1e-9
    return {
        "share_of_windows": planner.confidence,
        "window_s": demand.windows.window_s,
        "windows": windows,
        "rests_on": "a model of what windows bear" if model else "the windows",
    }


def _by_order(plan: Plan) -> str:
    told = []
    for name, gpus in plan.gpus_by_order.items():
        needed = f"more than {many(plan.planner.most_gpus, 'GPU')}" if gpus is None else many(gpus, "GPU")
        told.append(f"{name}: {needed}")
    return "; ".join(told)


def _change(plan: Plan) -> str:
    worst = plan.binding
    return (
        f"{worst.name} within {plan.values_s[worst.name].high:.3g} s rather than {worst.limit_s:g} s, or "
        f"{plan.allowed.load:.2f} times the load, or {_needed(plan)}"
    )
