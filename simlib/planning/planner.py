"""What to deploy: the cheapest replicas and limits that meet service-level objectives in the windows to come.

Every question is put to the same requests (common random numbers): to a record as it was, or to draws of a description.
With the fewest GPUs first, all configurations are *screened* at the demand's load; those that pass are put to a load
that the first of them just bears, and the best *race*: who may be given most load (`planning.allowed`)?
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simlib.checks import InputError, check_choice, check_each, check_integer, check_number, check_type
from simlib.planning import objectives
from simlib.planning.allowed import Allowed, allowed
from simlib.planning.demand import Demand
from simlib.planning.fleet import Engine
from simlib.planning.plan import Case, Configuration, Plan, Recorded, Spread
from simlib.planning.trials import COARSE, FINE, Trials, settings
from simlib.planning.whatif import risks, short
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.forecast import ahead
from simlib.text import many

SCREENED, DRAWS, RACED = 2, 8, 3  # draws that screen, and of an answer; configurations in a race
SHAPES = 4  # pairs of limits with which orders and ways to route are tried
PROMISING = 1.1  # strain up to which two draws do not speak against a configuration
RULED_OUT = 1.5  # strain from which on one draw does
FEW = 2000  # requests that tell how many a replica can serve at most
SAME = math.log(1.02)  # loads that differ by less are taken for the same
ORDERS, ROUTING = ("fcfs", "priority"), ("least_tokens", "prefix")  # the second needs something of the demand
FRESH = 1_000_000  # seeds of draws that nothing was chosen by begin so far on
RESERVE = 0.3  # more load than a description says


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
    orders, routing : sequence of str, optional
        Of ``fcfs, priority`` and ``least_tokens, prefix``, to choose from (`plan.Configuration`); by default what the
        demand makes possible: priorities where its requests have several, prefixes where it says what prompts share.
    prefix_cache : bool, optional
        By default where the demand says what prompts share.
    noise : float
        Standard deviation of the logarithm of predicted over true length, where the demand has no predictions.
    confidence : float
        Share of the windows to come in which all objectives are met, where the demand is a record of two or more.
    reserve : float
        Of a description, or a record of fewer windows: so much more load is to be borne, as a share.
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
    orders: Sequence[str] | None = None
    routing: Sequence[str] | None = None
    prefix_cache: bool | None = None
    noise: float = 0.4
    confidence: float = 0.95
    reserve: float = RESERVE
    seed: int = 42
    currency: str = "USD"
    trials: Trials = field(init=False, repr=False)

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
        self._check_promise()
        check_integer("seed", self.seed, 0, FRESH - 1)
        put(self, "trials", Trials(self.demand, self.objectives, self.noise))
        drawn = self.trials.requests(self.seed)
        for table in (drawn, self.demand.at(self.seed, drawn, 1.0)):  # dealt to clients, these are its own
            objectives.check_classes(self.objectives, table)
        self._check_space()
        self._check_cost()
        self._check_engines()

    def _check_space(self) -> None:
        """Take what the demand makes possible, where nobody chose; refuse what it does not."""
        table, put = self.trials.requests(self.seed), object.__setattr__
        urgent = table.priority is not None and len(np.unique(table.priority)) > 1
        shared = table.block_ids is not None or table.prefix_group is not None
        chosen = self.prefix_cache
        cache = shared if chosen is None else check_type("prefix_cache", chosen, bool, "True or False")
        if cache and not shared:
            raise InputError("prefix_cache: True (expected False: nothing says what the demand's prompts share)")
        put(self, "prefix_cache", cache)
        for name, known, possible, why in (
            ("orders", ORDERS, urgent, "the demand's requests do not have several priorities"),
            ("routing", ROUTING, cache, "no prefix is cached"),
        ):
            given = getattr(self, name)
            one_of = functools.partial(check_choice, name, choices=known)
            values = known[: 1 + possible] if given is None else check_each(name, given, one_of)
            if known[1] in values and not possible:
                raise InputError(f"{name}: {known[1]!r} (expected {known[0]!r} alone: {why})")
            put(self, name, tuple(one for one in known if one in values))

    def _check_promise(self) -> None:
        check_number("reserve", self.reserve, 0.0, 10.0)
        if self.confidence == 1:
            raise InputError("confidence: 1 (expected less: nobody can promise every window to come)")
        check_number("confidence", self.confidence, 0.5, 1.0, open_low=True, open_high=True)

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
        table = self.trials.requests(self.seed)
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

    def configurations(self, gpus: int) -> list[Configuration]:
        """All that have so many GPUs; bins are of predicted lengths, and make no order of priorities."""
        found = []
        for one in self.engines:
            if gpus % one.gpus:
                continue
            caps = [cap for cap in self.max_seqs if one.measured is None or cap <= one.measured.batch_size[1]]
            caps = caps or [int(one.measured.batch_size[1])]
            replicas = gpus // one.gpus
            orders = [("fcfs", bins) for bins in self.k_bins if "fcfs" in self.orders]
            orders += [("priority", 1)] * ("priority" in self.orders)
            routing = self.routing if replicas > 1 else self.routing[:1]
            for cap, budget, (order, bins), rule in itertools.product(caps, self.token_budgets, orders, routing):
                if cap <= budget:
                    found.append(Configuration(one, replicas, cap, budget, bins, order, self.prefix_cache, rule))
        return found

    def screened(self, gpus: int) -> dict[Configuration, float]:
        """How near to its limits each configuration is that may be the best with so many GPUs.

        Priorities and routing by prefix hardly change which limits are good: they are tried with the best `SHAPES`.
        """
        space = self.configurations(gpus)
        plain = [each for each in space if (each.order, each.routing) == (self.orders[0], self.routing[0])]
        found = self.screen(plain)
        best = [_limits(each) for each in sorted(found, key=found.get)[:SHAPES]]
        return found | self.screen([each for each in space if each not in found and _limits(each) in best])

    def levels(self) -> list[int]:
        """Numbers of GPUs to look at, the fewest first: those whose replicas can keep up at all.

        With clients who wait for their answers any number can.
        """
        if self.demand.clients is not None:
            return sorted({n for one in self.engines for n in range(one.gpus, self.most_gpus + 1, one.gpus)})
        every = 1 if self.prefix_cache else max(self.demand.requests // FEW, 1)  # what is shared, all find
        table = self.trials.requests(self.seed).rows(slice(None, None, every))
        span_s = float(table.arrival_s[-1] - table.arrival_s[0]) / every
        found: set[int] = set()
        for one in self.engines:
            # All at once, and no limit but the cache: no replica is faster.
            fastest = max(
                (each for each in self.configurations(one.gpus) if each.engine is one),
                key=lambda each: (each.max_seqs, each.token_budget, -each.k_bins),
            )
            if self.prefix_cache:  # several replicas keep more than one: nothing is forgotten
                everything = int((table.prompt_tokens + table.output_tokens).sum())
                fastest = replace(fastest, engine=replace(one, kv_tokens=max(everything, one.kv_tokens)))
            run = simulate(table.at_rate(1e6), "fcfs", fastest.engine.untold, 1, settings(fastest))
            busy_s = float(np.max(run.times.completion_s) - run.table.arrival_s[0])
            least = max(1, math.ceil(0.9 * busy_s / span_s))
            found |= {replicas * one.gpus for replicas in range(least, self.most_gpus // one.gpus + 1)}
        return sorted(found) or [max(one.gpus * (self.most_gpus // one.gpus) for one in self.engines)]

    @property
    def margin(self) -> float:
        """So many times the demand's load must be borne: once, where its windows tell how it varies."""
        return 1.0 if self.demand.promises else 1.0 + self.reserve

    def seeds(self, chosen: Configuration, count: int, first: int = 0) -> Sequence[int]:
        """Of draws that differ: of a record only the law may, and predictions that are drawn."""
        known = chosen.k_bins == 1 or self.demand.draw(self.seed).predicted_output_tokens is not None
        differ = not self.demand.recorded or not known or getattr(chosen.engine.trust, "draws", ())
        return range(self.seed + first, self.seed + first + (count if differ else 1))

    def screen(self, chosen: Sequence[Configuration], load: float | None = None) -> dict[Configuration, float]:
        """How near to its limits each is, or beyond: at most 1 is what a plan may have.

        Of a record its strain in all; of a description the mean over draws, at so much more load as is kept in reserve.
        """
        load = load or self.margin
        found: dict[Configuration, list[float]] = {each: [] for each in chosen}
        for draw in range(SCREENED):  # another draw only for those that the first ones do not rule out
            left = [each for each, strains in found.items() if not strains or max(strains) <= RULED_OUT]
            cases = [Case(each, self.seed + draw, load) for each in left if draw < len(self.seeds(each, SCREENED))]
            for case, strains in zip(cases, self.trials.together(cases), strict=True):
                found[case.chosen].append(strains[-1])
        return {each: float(np.mean(strains)) for each, strains in found.items()}

    def allowed(self, chosen: Configuration, seeds: Sequence[int], fine: float = FINE, start: float = 1.0) -> Allowed:
        """What it may be given (`planning.allowed`)."""
        return allowed(self.trials, chosen, seeds, self.confidence, self.reserve, fine, start)

    def plan(self, progress: Callable[[str], None] = lambda _: None) -> Plan:
        """Find what to deploy.

        Parameters
        ----------
        progress : callable
            Told before each run, in a few words, what is done and how many runs there were.
        """
        stage = "how many GPUs"

        def hear() -> None:
            progress(f"{stage}; {self.trials.count:,} runs")

        self.trials.hear = hear
        tried: dict[Configuration, float] = {}
        for gpus in self.levels():
            stage = f"with {many(gpus, 'GPU')}"
            screened = self.screened(gpus)
            tried |= screened
            ranked = self.race([each for each in screened if screened[each] <= PROMISING], screened)
            for place, chosen in enumerate(ranked):
                found = self.allowed(chosen, self.seeds(chosen, DRAWS, FRESH))
                if found.load >= 1:
                    stage = "how much more load, and what may go wrong"
                    return self._found(chosen, found, ranked[:place] + ranked[place + 1 :], tried)
        stage = "how many GPUs would do"
        nearest = min(tried, key=tried.get)
        return self._found(nearest, self.allowed(nearest, self.seeds(nearest, DRAWS, FRESH)), [], tried, met=False)

    def race(self, promising: Sequence[Configuration], screened: dict[Configuration, float]) -> list[Configuration]:
        """The best of those that pass the screening, in order of the load that they may be given."""
        if len(promising) < 2:
            return list(promising)
        first = min(promising, key=_nearest(screened))
        load = self.allowed(first, self.seeds(first, 1), COARSE).load
        stressed = self.screen(promising, max(load, 1.0) * self.margin)
        racing = sorted(promising, key=_nearest(stressed))[:RACED]
        with ThreadPoolExecutor(min(len(racing), os.cpu_count() or 1)) as pool:
            found = list(pool.map(lambda each: self.allowed(each, self.seeds(each, SCREENED)), racing))
        # Of a description by the mean: an interval of two draws is as wide as chance has it.
        loads = [each.load if self.demand.promises else each.middle for each in found]
        return [racing[place] for place in sorted(range(len(loads)), key=loads.__getitem__, reverse=True)]

    def _found(
        self,
        nearest: Configuration,
        found: Allowed,
        others: Sequence[Configuration],
        tried: dict[Configuration, float],
        met: bool = True,
    ) -> Plan:
        seeds = self.seeds(nearest, DRAWS, FRESH)
        second = self.allowed(others[0], self.seeds(others[0], DRAWS, FRESH)) if others else None
        cost = None
        if self.price_per_gpu_hour is not None:
            cost = self.price_per_gpu_hour * nearest.gpus / (3600 * self._output_rate(nearest)) * 1e6
        return Plan(
            planner=self,
            best=nearest if met else None,
            nearest=nearest,
            allowed=found,
            values_s={one.name: self._range(nearest, one.name, seeds) for one in self.objectives},
            recorded=self._recorded(nearest),
            runner_up=others[0] if others else None,
            runner_up_allowed=second,
            tie=second is not None and _tied(found.borne, second.borne),
            risks=list(risks.risks(self, nearest)),
            remeasure=risks.remeasure(self, nearest),
            gpus_by_order=self._gpus_by_order(nearest, tried),
            cost_per_million_output_tokens=cost,
            short=None if met else short.needed(self, nearest, found),
            beyond=risks.beyond(self, nearest),
            runs=self.trials.count,
        )

    def _range(self, chosen: Configuration, name: str, seeds: Sequence[int]) -> Spread:
        """Between which ends the next window, or draw, has an objective's value, seconds."""
        values = [np.log(np.clip(self.trials.values_s(Case(chosen, seed))[name], 1e-9, 1e9)) for seed in seeds]
        if self.demand.promises and np.isfinite(values[0][:-1]).sum() > 1:
            there = ~np.isnan(values[0][:-1])
            steps = self.demand.windows.between(there)
            forecasts = [ahead(each[:-1][there], steps).values for each in values]
            return Spread(*np.exp(np.quantile(np.concatenate(forecasts), (0.025, 0.5, 0.975))).tolist())
        each = np.exp(np.concatenate(values))
        each = each[~np.isnan(each)] if np.isfinite(each).any() else np.zeros(1)
        low, high = intervals.next_interval(each) if len(each) > 1 else (float(each[0]), float(each[0]))
        return Spread(low, float(np.median(each)), high)

    def _recorded(self, chosen: Configuration) -> Recorded | None:
        """What becomes of the record itself."""
        if not self.demand.recorded:
            return None
        strains = self.trials.strains(Case(chosen, self.seed))
        windows = strains[:-1] if self.demand.promises else strains
        return Recorded(float(strains[-1]), len(windows), int(np.sum(windows > 1)), float(windows.max()))

    def _output_rate(self, chosen: Configuration) -> float:
        """Tokens a second: what is asked for, or what clients get."""
        if self.demand.clients is not None:
            run = self.trials.run(Case(chosen, self.seed))
            return float(run.summary(within=run.at_work)["output_tokens_per_s"])
        table = self.trials.requests(self.seed)
        return float(table.output_tokens.sum() / (table.arrival_s[-1] - table.arrival_s[0]))

    def _gpus_by_order(self, chosen: Configuration, tried: dict[Configuration, float]) -> dict[str, int | None]:
        """Fewest GPUs with each way to admit on screening; beyond those tried, at the limits of the chosen one."""
        ways = {each.admits: (each.order, each.k_bins) for each in tried}
        found: dict[str, int | None] = {}
        for way in ways:
            met = [each.gpus for each, strain in tried.items() if each.admits == way and strain <= 1]
            found[way] = min(met) if met else None
        if all(found.values()) or not any(found.values()):
            return found
        for way in (each for each in ways if found[each] is None):
            order, bins = ways[way]
            for replicas in range(chosen.replicas + 1, self.most_gpus // chosen.engine.gpus + 1):
                more = replace(chosen, replicas=replicas, order=order, k_bins=bins)
                if self.screen([more])[more] <= 1:
                    found[way] = more.gpus
                    break
        return found


def _limits(chosen: Configuration) -> tuple[str, int, int]:
    return chosen.engine.name, chosen.max_seqs, chosen.token_budget


def _nearest(strains: dict[Configuration, float]) -> Callable[[Configuration], tuple[float, int, int, int]]:
    """An order by strain. Of equals, as where hardly anything waits, what is simplest and has most room to grow."""
    return lambda each: (strains[each], each.k_bins, -each.max_seqs, -each.token_budget)


def _tied(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two bear the same load, as far as the same windows or draws tell."""
    if len(first) < 2 or len(first) != len(second):
        return bool(abs(first.mean() - second.mean()) < SAME)
    pair = intervals.paired_difference(first, second)
    return pair.ci_low < SAME and pair.ci_high > -SAME
