"""What could go wrong with a plan: more load, worse predictions, a law that is used where nobody measured it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from simlib.latency import presets
from simlib.latency.steps import StepLaw
from simlib.latency.trust import MINOR, Beyond, seen
from simlib.planning.plan import Case, Configuration, Judge, Risk

MORE_LOAD, WORSE = 1.2, 2.0  # the risks asked for: so much more load, predictions so much noisier
NUDGE = 1.1  # a coefficient of the step law that is this much larger: which one matters most?
FINE = 0.05  # as `planning.trials.FINE`: how much a coefficient matters need not be known as well
DRAWS = 4


def risks(planner: Judge, chosen: Configuration) -> Iterator[Risk]:
    """What becomes of a configuration when something is worse than planned, at the load that is promised.

    That is a record's; of a description one with the reserve, which a risk is not to eat.
    """
    worse = [(f"load {MORE_LOAD - 1:+.0%}", chosen, {"load": MORE_LOAD})]
    if chosen.k_bins > 1:
        worse.append((f"predictions {WORSE:g} times as noisy", chosen, {"noise": max(WORSE * planner.noise, 0.1)}))
    if chosen.prefix_cache:
        alone = replace(chosen, prefix_cache=False, routing="least_tokens")
        worse.append(("nothing is found in the prefix cache", alone, {}))
    if chosen.engine.measured is not None and chosen.engine.measured.equal_lengths:
        for split in presets.SPLIT_RANGE:  # prefill was not told from decode: an assumption
            other = presets.load(chosen.engine.name, split=split).step_law()
            what = f"prefill's share {split:g} rather than {presets.SPLIT:g}"
            worse.append((what, replace(chosen, engine=replace(chosen.engine, law=other)), {}))
    for what, other, change in worse:
        change = change | {"load": planner.margin * change.get("load", 1.0)}
        cases = [Case(other, seed, **change) for seed in planner.seeds(other, DRAWS)]
        strains = planner.trials.together(cases)
        windows = np.concatenate([each[:-1] if planner.demand.promises else each for each in strains])
        yield Risk(what, float(np.mean([each[-1] for each in strains])), float(np.mean(windows > 1)))


def remeasure(planner: Judge, chosen: Configuration) -> str:
    """Which step to time on the own engine: that of the coefficient whose error matters most."""
    law = chosen.engine.law
    if not isinstance(law, StepLaw):
        return "the step times of your own engine: the law is no sum of parts"
    run = planner.trials.run(Case(chosen, planner.seed))
    steps = max(run.identity["steps"], 1)
    running, context = run.batch_size_mean, run.identity["sum_context"] / steps
    prompt = float(np.median(run.table.prompt_tokens))
    points = {
        "a_s": "a decode step of one sequence with a short context",
        "b_s": f"a decode step of {running:.0f} sequences with short contexts",
        "c_s": f"the prefill of one prompt of {prompt:.0f} tokens alone",
        "d_s": f"a decode step of {running:.0f} sequences with {context:.0f} tokens of context in all",
    }
    plain = replace(chosen, engine=replace(chosen.engine, law=chosen.engine.untold))  # of its draws nothing
    base = planner.trials.borne(Case(plain, planner.seed), FINE)
    losses = {}
    for name in points:
        slower = replace(plain.engine, law=replace(law, trust=None, **{name: NUDGE * getattr(law, name)}))
        start = math.exp(float(np.median(base)))
        borne = planner.trials.borne(Case(replace(plain, engine=slower), planner.seed, start), FINE)
        losses[name] = -math.expm1(float(np.mean(borne - base)))
    most = max(losses, key=losses.get)
    lost = max(0.0, losses[most])  # in this order: no minus before nothing
    return f"{points[most]}: {NUDGE - 1:.0%} more than assumed costs {lost:.1%} of the load that can be borne"


def beyond(planner: Judge, chosen: Configuration) -> list[Beyond]:
    """Where a draw uses the engine's law outside what it was measured at, in more than a few requests."""
    if chosen.engine.trust is None:
        return []
    run = planner.trials.run(Case(chosen, planner.seed))
    uses = seen(run.table, *run.times[1:], run.served.gpu, chosen.token_budget)
    return [one for one in chosen.engine.trust.beyond(uses) if one.share >= MINOR]
