"""What configurations do for a demand: every question is put to the same draws (common random numbers), and kept.

A trial serves one draw at a multiple of its load. What comes out are objectives' values by *window*: those of a record,
and last of all its requests; or one, where a demand is described, behind a warm-up and with arrivals going on, as in a
steady state.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from simlib.continuous.settings import Continuous
from simlib.engine.compiled import is_worthwhile
from simlib.planning import objectives
from simlib.planning.carried import loops
from simlib.planning.carried.capacity import SCORED
from simlib.planning.demand import Demand
from simlib.planning.objectives import Objective
from simlib.planning.plan import Case, Configuration
from simlib.planning.windows import LABEL
from simlib.policies.dynamic import MultiBinDynamic
from simlib.policies.priority import PriorityFirst
from simlib.requests.predictors import MultiplicativeNoise, predict
from simlib.requests.table import RequestTable
from simlib.runs.run import Run
from simlib.simulation import simulate

LOADS = (0.25, 4.0)  # among which the load that can be borne is sought, multiples of the demand's
COARSE, FINE = math.log(1.25), 0.02  # steps in which it is sought, as logarithms of loads
ENDLESS = 1e6  # a strain that stands for all above
LIKELY = 50  # runs at least that a plan takes, which tells whether compiled kernels pay from its first on


class Trials:
    """Trials of one demand against its objectives.

    Parameters
    ----------
    demand : Demand
    wanted : sequence of Objective
    noise : float
        Standard deviation of the logarithm of predicted over true length, where the demand has no predictions.
    """

    def __init__(self, demand: Demand, wanted: Iterable[Objective], noise: float) -> None:
        self.demand, self.objectives, self.noise = demand, tuple(wanted), noise
        self.count = 0
        self.hear: Callable[[], None] = lambda: None
        self._drawn: dict[tuple[int, float | None], RequestTable] = {}
        self._values_s: dict[Case, dict[str, np.ndarray]] = {}

    @property
    def windows(self) -> int:
        """In a draw."""
        return len(self.demand.windows) if self.demand.promises else 1

    def requests(self, seed: int, noise: float | None = None) -> RequestTable:
        """One draw, with predictions; kept, as it is asked for again and again."""
        if (seed, noise) not in self._drawn:
            table = self.demand.draw(seed)
            if table.predicted_output_tokens is None or noise is not None:
                predictor = MultiplicativeNoise(self.noise if noise is None else noise)
                table = predict(table, predictor, family="plan", replication=seed)
            if not self._drawn:
                is_worthwhile(LIKELY * len(table))
            self._drawn[seed, noise] = table
        return self._drawn[seed, noise]

    def run(self, case: Case) -> Run:
        """Serve one draw, at a multiple of its rate or number of clients."""
        self.count += 1
        self.hear()
        chosen, seed, load, noise = case
        table = self.demand.at(seed, self.requests(seed, noise), load)
        return simulate(table, policy(chosen), chosen.engine.drawn(seed), chosen.replicas, settings(chosen))

    def values_s(self, case: Case) -> dict[str, np.ndarray]:
        """Each objective's value in one trial, seconds, shape (n_windows,); of a record with windows, last, in all."""
        if case not in self._values_s:
            run = self.run(case)
            found = objectives.by_window(run, self.objectives, self._window(run), self.windows)
            if self.demand.promises:
                whole = objectives.values_s(run, self.objectives)
                found = {name: np.append(values, whole[name]) for name, values in found.items()}
            self._values_s[case] = found
        return self._values_s[case]

    def _window(self, run: Run) -> np.ndarray:
        """Of each request of a run."""
        if self.demand.promises:
            return run.table.labels[LABEL]
        if self.demand.clients is not None:
            return np.where(loops.scored(run), 0, -1)
        number = np.full(len(run.table), -1)
        number[slice(*(round(part * len(number)) for part in SCORED)) if not self.demand.recorded else slice(None)] = 0
        return number

    def strains(self, case: Case) -> np.ndarray:
        """The largest of the objectives' values, each as a multiple of its limit, as `values_s`."""
        return np.minimum(objectives.strain(self.values_s(case), self.objectives), ENDLESS)

    def together(self, cases: Iterable[Case]) -> list[np.ndarray]:
        """The strains of several trials, on as many threads as there are cores: kernels run side by side."""
        cases = list(cases)
        for case in cases:  # drawn one by one, as draws are kept
            self.requests(case.seed, case.noise)
        with ThreadPoolExecutor(min(len(cases), os.cpu_count() or 1) or 1) as pool:
            return list(pool.map(self.strains, cases))

    def borne(self, case: Case, fine: float = FINE) -> np.ndarray:
        """The logarithm of the largest load that each window bears, as a multiple of the demand's; last, the record.

        The first load at which a window's strain exceeds 1, sought from that of the case, all windows in one trial at
        a time; between two loads less than `fine` apart it is interpolated. The ends of `LOADS` stand for all beyond.
        """
        low, high = map(math.log, LOADS)
        start = math.log(case.load)
        found: dict[float, np.ndarray] = {}

        def at(place: float) -> np.ndarray:
            found[place] = np.log(np.maximum(self.strains(case._replace(load=math.exp(place))), 1e-9))
            return found[place]

        place, bears = start, at(start) <= 0
        while bears.any() and place < high:
            place = min(place + COARSE, high)
            bears &= at(place) <= 0
        place = start
        while (found[place] > 0).any() and place > low:
            place = max(place - COARSE, low)
            at(place)
        while True:
            places = np.array(sorted(found))
            strains = np.array([found[each] for each in places])
            roots, gaps = _crossings(places, strains)
            wide = {gap: roots[gaps == gap] for gap in set(gaps[gaps >= 0].tolist())}
            wide = {gap: float(np.median(some)) for gap, some in wide.items() if np.diff(places)[gap] > fine}
            if not wide:
                return roots
            for gap, root in wide.items():
                width = places[gap + 1] - places[gap]
                at(float(np.clip(root, places[gap] + 0.25 * width, places[gap + 1] - 0.25 * width)))


def _crossings(places: np.ndarray, strains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each window's logarithm of strain first exceeds 0, and in which gap between places; -1 for none of them."""
    above = strains > 0
    first = np.where(above.any(axis=0), above.argmax(axis=0), len(places))
    gaps = np.where((first > 0) & (first < len(places)), first - 1, -1)
    roots = np.where(first == 0, places[0], places[-1])
    inside = np.flatnonzero(gaps >= 0)
    low, high = strains[gaps[inside], inside], strains[gaps[inside] + 1, inside]
    left, right = places[gaps[inside]], places[gaps[inside] + 1]
    roots[inside] = left + (right - left) * -low / (high - low)
    return roots, gaps


def policy(chosen: Configuration) -> Any:
    """The order in which a configuration's replicas admit."""
    if chosen.order == "priority":
        return PriorityFirst()
    return "fcfs" if chosen.k_bins == 1 else MultiBinDynamic(chosen.k_bins)


def settings(chosen: Configuration) -> Continuous:
    """The engine's settings of a configuration."""
    return Continuous(
        max_seqs=chosen.max_seqs,
        kv_tokens=chosen.engine.kv_tokens,
        token_budget=chosen.token_budget,
        prefix_cache=chosen.prefix_cache,
        routing=chosen.routing if chosen.replicas > 1 else "shared",
    )
