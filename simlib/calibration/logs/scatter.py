"""How far what was fitted to a log's stamps may be off: steps scatter about a law, and ends of steps add them up.

Step times are taken to be off by independent shares, so that how late a stamp is walks at random, by the squares of
the steps' times. How much they scatter is seen in stretches between stamps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STRETCHES, CONFIDENCE, ROUNDS = 10, 0.95, 10


@dataclass(frozen=True, slots=True)
class Stamps:
    """Ends of steps that a log has, one after another of each engine.

    Attributes
    ----------
    late_s : ndarray
        By how much the engine was later than the fitted law.
    clock_s2 : ndarray
        Squares of the times of all steps until then.
    engine : ndarray
        Whose step it was; -1: all engines' together.
    """

    late_s: np.ndarray
    clock_s2: np.ndarray
    engine: np.ndarray

    def parts(self, least: float) -> tuple[float, float, float] | None:
        """Variances of a step's share and of a stamp, squared seconds; of how many stretches the first is known.

        Stretches have equal clocks. Neighbours among stamps tell what a stamp has of its own; what remains of a stretch
        is the walk, each weighed by how well it is known (moments, with Satterthwaite's degrees of freedom). Where that
        is less than is asked for, all is put down to the walk; None: there are no more stretches than that, either.
        """
        stretches, neighbours = [], []
        for engine in np.unique(self.engine):
            mine = self.engine == engine
            order = np.argsort(self.clock_s2[mine], kind="stable")
            clock, late = self.clock_s2[mine][order], self.late_s[mine][order]
            ends = np.unique(np.searchsorted(clock, np.linspace(0, clock[-1], STRETCHES + 1)[1:] * (1 - 1e-9)))
            stretches.append([np.diff(column[ends], prepend=0.0) for column in (clock, late)])
            neighbours.append([np.diff(column) for column in (clock, late)])
        (passed, added), (near, off) = (np.concatenate(each, axis=1) for each in (stretches, neighbours))
        added, passed = added[passed > 0], passed[passed > 0]
        if len(passed) < least:
            return None
        share = whole = float((added**2 / passed).mean())
        for _ in range(ROUNDS):
            own = max(float((off**2 - share * near).mean()), 0.0)
            weights = 1 / np.maximum(share * passed + own, 1e-300) ** 2
            share = max(float((weights * passed * (added**2 - own)).sum() / (weights * passed**2).sum()), 0.0)
        known = float(((share * passed / np.maximum(share * passed + own, 1e-300)) ** 2).sum())
        return (share, own / 2, known) if known >= least else (whole, 0.0, float(len(passed)))

    def reach(self, influence: np.ndarray) -> np.ndarray | None:
        """Half of each fitted value's 95 % interval; None where there are too few stretches.

        Parameters
        ----------
        influence : ndarray
            By how much a value changes with each stamp, shape (values, stamps).
        """
        from scipy.stats import t

        found = self.parts(len(influence) + 1)
        if found is None:
            return None
        share, own, known = found
        together = np.minimum(self.clock_s2[:, None], self.clock_s2) * (self.engine[:, None] == self.engine)
        spread = np.einsum("vi,ij,vj->v", influence, share * together + own * np.eye(len(self.late_s)), influence)
        return t.ppf(0.5 + CONFIDENCE / 2, known - len(influence)) * np.sqrt(np.maximum(spread, 0.0))
