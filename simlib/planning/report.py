"""A plan in words: for a terminal, and as one page of HTML that needs nothing else."""

from __future__ import annotations

import html
from dataclasses import asdict, replace
from typing import Any

from simlib.latency.presets import SPLIT
from simlib.planning.fleet import KV_SHARE
from simlib.planning.plan import Configuration, Plan
from simlib.planning.planner import HEADROOM, Planner
from simlib.policies.bins import equal_mass
from simlib.stats.intervals import Interval
from simlib.text import many

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .4rem .6rem;
border-bottom: 1px solid #8886; } th { white-space: nowrap; } code { overflow-wrap: anywhere; }
svg { width: 100%; height: auto; background: #fff; } .answer { font-size: 1.2rem; }
"""


def answer(plan: Plan) -> str:
    """The plan in one sentence; where its law is not known to hold, that is the condition."""
    planner, trust = plan.planner, plan.nearest.engine.trust
    wanted = ", ".join(map(str, planner.objectives))
    law = f"the law of {trust.source}, which may not hold here: {'; '.join(plan.doubts)}" if plan.doubts else ""
    if plan.best is None:
        return (
            f"Nothing within {many(planner.most_gpus, 'GPU')} meets {wanted}; the nearest, {plan.nearest}, has "
            f"{plan.binding.name} at {_seconds(plan.values_s[plan.binding.name])}{f', by {law}' if law else ''}."
        )
    how = f"would meet {wanted} by {law}" if law else f"meets {wanted} with {planner.confidence:.0%} confidence"
    return f"Deploy {plan.best}: it {how}."


def flags(chosen: Configuration) -> str:
    """The replica's limits as vLLM spells them."""
    return (
        f"--tensor-parallel-size {chosen.engine.gpus} --max-num-seqs {chosen.max_seqs} "
        f"--max-num-batched-tokens {chosen.token_budget} --gpu-memory-utilization {KV_SHARE:g}"
    )


def rows(plan: Plan) -> list[tuple[str, str]]:
    """What to set, what to expect and what to fear: a heading and a sentence each."""
    planner, chosen = plan.planner, plan.nearest
    found = [("May not hold", one) for one in plan.doubts] + [
        ("Demand", planner.demand.name),
        ("Replicas", f"{chosen.replicas} of {chosen.engine.gpus} GPU(s) each: {chosen.gpus} in all"),
        ("Each replica", flags(chosen)),
        ("Step times", _law(chosen)),
        ("KV cache", f"{chosen.engine.kv_tokens:,} tokens a replica"),
        ("Routing", "each request to the replica with the fewest tokens of unfinished requests"),
        ("Order", _order(planner, chosen)),
    ]
    for one in planner.objectives:
        value, (low, high) = plan.values_s[one.name], plan.ranges_s[one.name]
        range_s = f"predicted {value.mean:.3g} s, {low:.3g} to {high:.3g}"
        found.append((one.name, f"{range_s}; mean {value.ci_low:.3g} to {value.ci_high:.3g}; limit {one.limit_s:g} s"))
    found.append(("Headroom", _headroom(plan)))
    if plan.cost_per_million_output_tokens is not None:
        hourly = planner.price_per_gpu_hour * chosen.gpus
        amounts = (
            (f"{plan.cost_per_million_output_tokens:.3g}", "a million output tokens"),
            (f"{hourly:.4g}", "an hour"),
        )
        found.append(("Cost", ", ".join(f"{amount} {planner.currency} {of}" for amount, of in amounts)))
    for risk in plan.risks:
        missed = "met" if risk.strain.ci_high <= 1 else "missed" if risk.strain.ci_low > 1 else "met or missed"
        found.append((f"Risk: {risk.what}", f"{missed}; some objective is missed in {risk.missed_share:.0%} of draws"))
    found.append(("Bins", _bins(plan)))
    if plan.runner_up is not None:
        found.append(("Runner-up", f"{plan.runner_up}{_bears(plan.runner_up_headroom)}"))
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
            "kv_tokens": chosen.engine.kv_tokens,
        },
        "confidence": plan.planner.confidence if plan.best is not None and not plan.doubts else None,
        "trust": _trust(plan),
        "objectives": [
            {"objective": str(one), **_numbers(plan.values_s[one.name]), **_range(plan.ranges_s[one.name])}
            for one in plan.planner.objectives
        ],
        "clients": plan.planner.demand.clients,
        "headroom": None if plan.headroom is None else _numbers(plan.headroom),
        "currency": plan.planner.currency,
        "cost_per_million_output_tokens": plan.cost_per_million_output_tokens,
        "risks": [{"risk": risk.what, "missed_share": risk.missed_share} for risk in plan.risks],
        "runner_up": None if plan.runner_up is None else str(plan.runner_up),
        "remeasure": plan.remeasure,
        "runs": plan.runs,
    }


def page(plan: Plan, drawn: str) -> str:
    """One page of HTML: the answer, a figure of the objectives against the load (`figure.svg`), and `rows`."""
    lines = "\n".join(
        f"<tr><th scope='row'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows(plan)
    )
    said = html.escape(answer(plan))
    known = bool(getattr(plan.nearest.engine.trust, "draws", ()))
    drawn_law = (
        " and of the law, as its benchmarks leave it open"
        if known
        else '; they say nothing of errors of the latency model, which is why the line "Measure again" is there'
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>What to deploy</title><style>{STYLE}</style></head><body>
<h1>What to deploy</h1>
<p class="answer">{said}</p>
<figure role="img" aria-label="Each objective as a share of its limit, against the load">{drawn}</figure>
<table>{lines}</table>
<p>Simulated: {plan.runs} runs of {plan.planner.demand.requests} requests under continuous batching with chunked
prefill, scored behind a warm-up. Intervals are of 95 % over draws of the requests{drawn_law}.</p>
</body></html>
"""


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


def _order(planner: Planner, chosen: Configuration) -> str:
    if chosen.k_bins == 1:
        return "first come, first served"
    edges = equal_mass(planner.requests(planner.seed).predicted_output_tokens, chosen.k_bins)
    inner = ", ".join(f"{edge:g}" for edge in edges[1:-1])
    return f"{chosen.k_bins} classes of predicted output, cut at {inner} tokens, admitted in turn"


def _headroom(plan: Plan) -> str:
    if plan.headroom is None:
        return "the objectives are met, or missed, at every load from a quarter to four times the demand's"
    text = f"the objectives are met up to {_interval(plan.headroom)} times the load"
    if (clients := plan.planner.demand.clients) is None:
        return text
    low, mean, high = (clients * getattr(plan.headroom, part) for part in ("ci_low", "mean", "ci_high"))
    return f"{text}, which is {mean:.0f} clients ({low:.0f} to {high:.0f})"


def _bears(headroom: Interval | None) -> str:
    return "" if headroom is None else f"; bears {_interval(headroom)} times the load"


def _bins(plan: Plan) -> str:
    told = []
    for k_bins, gpus in plan.gpus_by_bins.items():
        name = "first come, first served" if k_bins == 1 else f"{k_bins} bins"
        needed = f"more than {many(plan.planner.most_gpus, 'GPU')}" if gpus is None else many(gpus, "GPU")
        told.append(f"{name}: {needed}")
    return "; ".join(told)


def _change(plan: Plan) -> str:
    worst, planner = plan.binding, plan.planner
    looser = f"{worst.name} within {plan.values_s[worst.name].ci_high:.3g} s rather than {worst.limit_s:g} s"
    if plan.headroom is not None:
        return f"{looser}, or {plan.headroom.mean:.2f} times the load, or more GPUs"
    alone = planner.strain(plan.nearest, planner.seed, HEADROOM[0]) <= 1
    return (
        f"{looser}, or more GPUs"
        if alone
        else f"{looser}, or a faster engine: at a quarter of the load it is missed too"
    )


def _seconds(value: Interval) -> str:
    return f"{value.mean:.3g} s ({value.ci_low:.3g} to {value.ci_high:.3g})"


def _interval(value: Interval) -> str:
    return f"{value.mean:.2f} ({value.ci_low:.2f} to {value.ci_high:.2f})"


def _range(ends: tuple[float, float]) -> dict[str, float]:
    return {"low": ends[0], "high": ends[1]}


def _numbers(value: Interval) -> dict[str, float | None]:
    return {"mean": value.mean, "ci_low": value.ci_low, "ci_high": value.ci_high, "draws": value.replications}
