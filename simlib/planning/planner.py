"""What to deploy: the cheapest replicas and limits that meet service-level objectives with a stated confidence.

Every question is put to the same drawn requests (common random numbers). Configurations are *screened* on two draws,
those that pass with the fewest GPUs *race* at the load that the first of them can just bear (`ranking.select_best`
on the strain there: who bears more has less), and the winner is *confirmed* at the demand's own load, on draws that
nothing was chosen by. A steady-state question: requests are scored by arrival inside a window, behind a warm-up and
with arrivals going on.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simlib.checks import InputError, check_each, check_integer, check_number, check_type
from simlib.continuous.settings import Continuous
from simlib.latency import presets
from simlib.latency.steps import StepLaw
from simlib.latency.trust import MINOR, Beyond, seen
from simlib.planning import loops, objectives
from simlib.planning.capacity import SCORED
from simlib.planning.demand import Demand
from simlib.planning.fleet import Engine
from simlib.planning.plan import Configuration, Plan, Risk
from simlib.policies.dynamic import MultiBinDynamic
from simlib.requests.predictors import MultiplicativeNoise, predict
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.intervals import Interval
from simlib.stats.ranking import select_best
from simlib.stats.replications import replicate
from simlib.text import many

SCREENED, RACING, MOST_RACED = 2, 4, 40  # draws in the screening; configurations in a race, and draws of each at most
PROMISING = 1.1  # strain up to which two draws do not speak against a configuration
INDIFFERENT = 0.05  # strains that differ by less are taken for the same
CHECKED, ROOTS = 20, 10  # fresh draws that confirm, and those in which the headroom is sought
FRESH = 1_000_000  # seeds of these begin so far on
MORE_LOAD, WORSE = 1.2, 2.0  # the risks asked for: so much more load, predictions so much noisier
NUDGE = 1.1  # a coefficient of the step law that is this much larger: which one matters most?
HEADROOM = (0.25, 4.0)  # loads among which the headroom is searched


@dataclass(frozen=True)
class Planner:
    """A question: what meets these objectives for this demand, within these limits?

    Attributes
    ----------
    demand : Demand
    engines : sequence of Engine
        Of which one kind is deployed.
    objectives : str or sequence of Objective
        All of them must be met.
    max_gpus : int
        In all.
    price_per_gpu_hour : float, optional
        In `currency`.
    max_cost_per_hour : float, optional
        A limit on the price of all GPUs.
    max_seqs, token_budgets, k_bins : sequence of int
        Limits and numbers of bins to choose from. A cap beyond the batches that the engine was measured at is left
        out, unless all are.
    noise : float
        Standard deviation of the logarithm of predicted over true length, where the demand has no predictions.
    confidence : float
        That the plan meets the objectives in the mean over draws.
    seed : int
    currency : str
        What prices are called in.

    Raises
    ------
    InputError
        If a field is bad, options contradict one another, or most of the demand lies outside what an engine was
        measured at.
    """

    demand: Demand
    engines: Sequence[Engine]
    objectives: Any
    max_gpus: int = 8
    price_per_gpu_hour: float | None = None
    max_cost_per_hour: float | None = None
    max_seqs: Sequence[int] = (16, 32, 64, 128, 256)
    token_budgets: Sequence[int] = (512, 2048, 8192)
    k_bins: Sequence[int] = (1, 4)
    noise: float = 0.4
    confidence: float = 0.95
    seed: int = 42
    currency: str = "USD"
    _count: list[int] = field(default_factory=lambda: [0], init=False, repr=False)
    _hear: list[Callable[[], None]] = field(default_factory=list, init=False, repr=False)
    _drawn: dict[tuple[int, float | None], RequestTable] = field(default_factory=dict, init=False, repr=False)
    _values_s: dict[tuple, dict[str, float]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        check_type("demand", self.demand, Demand, "a demand (`simlib.planning.demand`)")
        put(
            self,
            "engines",
            [check_type("engines", one, Engine, "engines (`simlib.planning.fleet`)") for one in self.engines],
        )
        given = self.objectives
        put(self, "objectives", objectives.parse(given) if isinstance(given, str) else tuple(given))
        check_integer("number of objectives", len(self.objectives), 1)
        check_integer("max_gpus", self.max_gpus, 1, 1024)
        for name in ("max_seqs", "token_budgets", "k_bins"):
            values = check_each(name, getattr(self, name), functools.partial(check_integer, name, low=1))
            put(self, name, tuple(sorted(set(values))))
        check_number("noise", self.noise, 0.0, 5.0)
        check_number("confidence", self.confidence, 0.5, 1.0, open_low=True, open_high=True)
        check_integer("seed", self.seed, 0, FRESH - 1)
        self._check_cost()
        self._check_engines()

    def _check_cost(self) -> None:
        check_type("currency", self.currency, str, "a name such as USD")
        if self.price_per_gpu_hour is not None:
            check_number("price_per_gpu_hour", self.price_per_gpu_hour, 0.0, open_low=True)
        if self.max_cost_per_hour is None:
            return
        if self.price_per_gpu_hour is None:
            raise InputError("max_cost_per_hour: given without price_per_gpu_hour (expected both, or none)")
        check_number("max_cost_per_hour", self.max_cost_per_hour, 0.0, open_low=True)
        least = min((one.gpus for one in self.engines), default=0) * self.price_per_gpu_hour
        if self.max_cost_per_hour < least:
            raise InputError(
                f"max_cost_per_hour: {self.max_cost_per_hour:g} (expected at least {least:g}: one replica)"
            )

    def _check_engines(self) -> None:
        if not self.engines:
            raise InputError("engines: none (expected at least one)")
        if self.most_gpus < min(one.gpus for one in self.engines):
            least = min(one.gpus for one in self.engines)
            raise InputError(f"max_gpus: {self.max_gpus} (expected at least {least}: the GPUs of one replica)")
        table = self.requests(self.seed)
        longest = int((table.prompt_tokens + table.output_tokens).max())
        for one in self.engines:
            if longest > one.kv_tokens:
                raise InputError(f"{one.name}: a request of {longest} tokens exceeds its cache of {one.kv_tokens}")
            if one.measured is None:
                continue
            for name in ("prompt_tokens", "output_tokens"):
                low, high = getattr(one.measured, name)
                median = float(np.median(getattr(table, name)))
                if not low / 4 <= median <= high:
                    raise InputError(
                        f"{one.name}: measured for {name} {low:g} to {high:g}, and half of the demand's are "
                        f"{'below' if median < low else 'above'} {median:g} (expected a preset with that range)"
                    )

    @property
    def most_gpus(self) -> int:
        """By number and by cost."""
        if self.max_cost_per_hour is None:
            return self.max_gpus
        return min(self.max_gpus, int(self.max_cost_per_hour / self.price_per_gpu_hour))

    def requests(self, seed: int, noise: float | None = None) -> RequestTable:
        """One draw, with predictions; kept, as it is asked for again and again."""
        if (seed, noise) not in self._drawn:
            table = self.demand.draw(seed)
            if table.predicted_output_tokens is None or noise is not None:
                predictor = MultiplicativeNoise(self.noise if noise is None else noise)
                table = predict(table, predictor, family="plan", replication=seed)
            self._drawn[seed, noise] = table
        return self._drawn[seed, noise]

    def values_s(
        self, chosen: Configuration, seed: int, load: float = 1.0, noise: float | None = None
    ) -> dict[str, float]:
        """Each objective's value in one draw, seconds; kept, as several questions are put to the same draws."""
        case = (chosen, seed, load, noise)
        if case not in self._values_s:
            run = self.run(chosen, seed, load, noise)
            scored = slice(*(round(part * len(run.table)) for part in SCORED))
            if self.demand.clients is not None:
                scored = loops.scored(run)
            self._values_s[case] = objectives.values_s(run, self.objectives, scored)
        return self._values_s[case]

    def run(self, chosen: Configuration, seed: int, load: float = 1.0, noise: float | None = None) -> Any:
        """Serve one draw, at a multiple of its rate or number of clients."""
        self._count[0] += 1
        for hear in self._hear:
            hear()
        settings = Continuous(
            max_seqs=chosen.max_seqs,
            kv_tokens=chosen.engine.kv_tokens,
            token_budget=chosen.token_budget,
            routing="least_tokens" if chosen.replicas > 1 else "shared",
        )
        policy = "fcfs" if chosen.k_bins == 1 else MultiBinDynamic(chosen.k_bins)
        table = self.demand.at(seed, self.requests(seed, noise), load)
        return simulate(table, policy, chosen.engine.drawn(seed), chosen.replicas, settings)

    def beyond(self, chosen: Configuration) -> list[Beyond]:
        """Where a fresh draw uses the engine's law outside what it was measured at, in more than a few requests."""
        if chosen.engine.trust is None:
            return []
        run = self.run(chosen, self._fresh()[0])
        uses = seen(run.table, *run.times[1:], run.served.gpu, chosen.token_budget)
        return [one for one in chosen.engine.trust.beyond(uses) if one.share >= MINOR]

    def strain(self, chosen: Configuration, seed: int, load: float = 1.0, noise: float | None = None) -> float:
        """The largest of the objectives' values in one draw, each as a multiple of its limit."""
        return min(objectives.strain(self.values_s(chosen, seed, load, noise), self.objectives), 1e6)

    def mean_strain(self, chosen: Configuration, load: float = 1.0) -> float:
        """Over the first draws."""
        return float(np.mean([self.strain(chosen, self.seed + draw, load) for draw in range(SCREENED)]))

    def configurations(self, gpus: int) -> list[Configuration]:
        """All that have so many GPUs."""
        found = []
        for one in self.engines:
            if gpus % one.gpus:
                continue
            caps = [cap for cap in self.max_seqs if one.measured is None or cap <= one.measured.batch_size[1]]
            caps = caps or [int(one.measured.batch_size[1])]
            for cap, budget, bins in itertools.product(caps, self.token_budgets, self.k_bins):
                if cap <= budget:
                    found.append(Configuration(one, gpus // one.gpus, cap, budget, bins))
        return found

    def levels(self) -> list[int]:
        """Numbers of GPUs to look at, the fewest first: those whose replicas can keep up at all.

        With clients who wait for their answers any number can.
        """
        if self.demand.clients is not None:
            return sorted({n for one in self.engines for n in range(one.gpus, self.most_gpus + 1, one.gpus)})
        table = self.requests(self.seed)
        span_s = table.arrival_s[-1] - table.arrival_s[0]
        found: set[int] = set()
        for one in self.engines:
            # All at once, and no limit but the cache: no replica is faster.
            fastest = max(
                (each for each in self.configurations(one.gpus) if each.engine is one),
                key=lambda each: (each.max_seqs, each.token_budget, -each.k_bins),
            )
            run = self.run(fastest, self.seed, 1e6)
            busy_s = float(np.max(run.times.completion_s) - run.table.arrival_s[0])
            least = max(1, math.ceil(0.9 * busy_s / span_s))
            found |= {replicas * one.gpus for replicas in range(least, self.most_gpus // one.gpus + 1)}
        return sorted(found) or [max(one.gpus * (self.most_gpus // one.gpus) for one in self.engines)]

    def plan(self, progress: Callable[[str], None] = lambda _: None) -> Plan:
        """Find what to deploy.

        Parameters
        ----------
        progress : callable
            Told before each run, in a few words, what is done and how many runs there were.
        """
        stage = "how many GPUs"
        self._hear[:] = [lambda: progress(f"{stage}; {self._count[0]:,} runs")]
        tried: dict[Configuration, float] = {}
        attempts = 0
        for gpus in self.levels():
            stage = f"with {many(gpus, 'GPU')}"
            screened = {each: self.mean_strain(each) for each in self.configurations(gpus)}
            tried |= screened
            ranked = self.race(sorted((each for each in screened if screened[each] <= PROMISING), key=screened.get))
            for place, chosen in enumerate(ranked):
                attempts += 1
                confirmed = self.confirm(chosen, 1 - (1 - self.confidence) * 0.5**attempts)
                if confirmed:
                    stage = "how much more load, and what may go wrong"
                    others = [each for each in ranked if each is not chosen]
                    return self._found(chosen, chosen, others[:1], tried)
                if place == 1:  # the third of a race is no better
                    break
        nearest = min(tried, key=tried.get)
        return self._found(None, nearest, [], tried)

    def race(self, promising: Sequence[Configuration]) -> list[Configuration]:
        """The best of those that pass the screening, in order; by their strain at a load that the first just bears."""
        if len(promising) < 2:
            return list(promising)
        load = self.borne(promising[0], self.seed) or 1.0
        by_name = {str(each): each for each in promising}
        stressed = {name: self.mean_strain(each, load=load) for name, each in by_name.items()}
        racing = sorted(stressed, key=stressed.get)[:RACING]
        found = select_best(
            lambda name, seed: self.strain(by_name[name], seed, load),
            racing,
            indifference=INDIFFERENT,
            seed=self.seed,
            probability=self.confidence,
            most=MOST_RACED,
        )
        racing.sort(key=lambda name: (name != found.best, found.means[name]))
        return [by_name[name] for name in racing]

    def confirm(self, chosen: Configuration, confidence: float) -> bool:
        """Whether, on fresh draws, the mean strain is at most 1 with that (one-sided) confidence."""
        interval = self._interval(chosen, 2 * confidence - 1)
        return interval.ci_high <= 1

    def _fresh(self) -> range:
        """Seeds of draws that nothing was chosen by."""
        return range(self.seed + FRESH, self.seed + FRESH + CHECKED)

    def _interval(self, chosen: Configuration, confidence: float = 0.95) -> Interval:
        return intervals.mean_interval([self.strain(chosen, seed) for seed in self._fresh()], confidence)

    def borne(self, chosen: Configuration, seed: int) -> float | None:
        """Largest multiple of the load that meets the objectives in one draw; None outside `HEADROOM`."""
        from scipy.optimize import bisect

        excess = functools.cache(lambda load: self.strain(chosen, seed, math.exp(load)) - 1)
        low, high = map(math.log, HEADROOM)
        if excess(low) > 0 or excess(high) <= 0:
            return None
        return math.exp(bisect(excess, low, high, xtol=0.01))

    def headroom(self, chosen: Configuration) -> Interval | None:
        """Largest multiple of the load at which the objectives are met, a root a draw; None if one has none."""
        roots = [self.borne(chosen, seed) for seed in self._fresh()[:ROOTS]]
        return None if None in roots else intervals.mean_interval(roots)

    def _found(
        self,
        best: Configuration | None,
        nearest: Configuration,
        others: Sequence[Configuration],
        tried: dict[Configuration, float],
    ) -> Plan:
        first = self._fresh()[0]
        rows = replicate(lambda seed: self.values_s(nearest, seed), CHECKED, seed=first, progress=False)
        cost = None
        if self.price_per_gpu_hour is not None:
            cost = self.price_per_gpu_hour * nearest.gpus / (3600 * self._output_rate(nearest)) * 1e6
        return Plan(
            planner=self,
            best=best,
            nearest=nearest,
            values_s={one.name: intervals.mean_interval(rows[one.name]) for one in self.objectives},
            ranges_s={one.name: intervals.next_interval(rows[one.name]) for one in self.objectives},
            strain=self._interval(nearest),
            headroom=self.headroom(nearest),
            runner_up=others[0] if others else None,
            runner_up_headroom=self.headroom(others[0]) if others else None,
            risks=list(self._risks(nearest)),
            remeasure=self.remeasure(nearest),
            gpus_by_bins=self._gpus_by_bins(tried),
            cost_per_million_output_tokens=cost,
            runs=self._count[0],
            beyond=self.beyond(nearest),
        )

    def _output_rate(self, chosen: Configuration) -> float:
        """Tokens a second: what is asked for, or what clients get."""
        if self.demand.clients is not None:
            run = self.run(chosen, self.seed)
            return float(run.summary(within=run.at_work)["output_tokens_per_s"])
        table = self.requests(self.seed)
        return float(table.output_tokens.sum() / (table.arrival_s[-1] - table.arrival_s[0]))

    def _risks(self, chosen: Configuration) -> Iterable[Risk]:
        worse = [(f"load {MORE_LOAD - 1:+.0%}", chosen, {"load": MORE_LOAD})]
        if chosen.k_bins > 1:
            worse.append((f"predictions {WORSE:g} times as noisy", chosen, {"noise": max(WORSE * self.noise, 0.1)}))
        if chosen.engine.measured is not None and chosen.engine.measured.equal_lengths:
            for split in presets.SPLIT_RANGE:  # prefill was not told from decode: an assumption
                other = presets.load(chosen.engine.name, split=split).step_law()
                what = f"prefill's share {split:g} rather than {presets.SPLIT:g}"
                worse.append((what, replace(chosen, engine=replace(chosen.engine, law=other)), {}))
        for what, other, change in worse:
            strains = [self.strain(other, seed, **change) for seed in self._fresh()]
            yield Risk(what, intervals.mean_interval(strains), float(np.mean(np.array(strains) > 1)))

    def _gpus_by_bins(self, tried: dict[Configuration, float]) -> dict[int, int | None]:
        found: dict[int, int | None] = {}
        for bins in self.k_bins:
            met = [each.gpus for each, strain in tried.items() if each.k_bins == bins and strain <= 1]
            found[bins] = min(met) if met else None
        if all(found.values()) or not any(found.values()):
            return found
        # Some number of bins needs more: how many?
        for bins in (each for each in self.k_bins if found[each] is None):
            for gpus in range(max(filter(None, found.values())), self.most_gpus + 1):
                own = [each for each in self.configurations(gpus) if each.k_bins == bins and each not in tried]
                if any(self.mean_strain(each) <= 1 for each in own):
                    found[bins] = gpus
                    break
        return found

    def remeasure(self, chosen: Configuration) -> str:
        """Which step to time on the own engine: that of the coefficient whose error matters most."""
        law = chosen.engine.law
        if not isinstance(law, StepLaw):
            return "the step times of your own engine: the law is no sum of parts"
        run = self.run(chosen, self.seed)
        steps = max(run.identity["steps"], 1)
        running, context = run.batch_size_mean, run.identity["sum_context"] / steps
        prompt = float(np.median(run.table.prompt_tokens))
        points = {
            "a_s": "a decode step of one sequence with a short context",
            "b_s": f"a decode step of {running:.0f} sequences with short contexts",
            "c_s": f"the prefill of one prompt of {prompt:.0f} tokens alone",
            "d_s": f"a decode step of {running:.0f} sequences with {context:.0f} tokens of context in all",
        }
        chosen = replace(chosen, engine=replace(chosen.engine, law=chosen.engine.untold))  # of its draws nothing
        base = self._log_borne(chosen)
        losses = {}
        for name in points:
            slower = replace(chosen.engine, law=replace(law, trust=None, **{name: NUDGE * getattr(law, name)}))
            losses[name] = 1 - math.exp(self._log_borne(replace(chosen, engine=slower)) - base)
        most = max(losses, key=losses.get)
        return (
            f"{points[most]}: {NUDGE - 1:.0%} more than assumed costs {losses[most]:.1%} of the load that can be borne"
        )

    def _log_borne(self, chosen: Configuration) -> float:
        roots = [self.borne(chosen, self.seed + draw) or HEADROOM[0] for draw in range(3)]
        return float(np.mean(np.log(roots)))
