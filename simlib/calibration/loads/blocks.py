"""Steps of several loads, summed over blocks of time, which are drawn anew; each load has a pace of its own.

Machines drift: all steps of a load may be some percent slower than those of another one. That pace is a random effect,
one a load, and how far paces differ is found by restricted maximum likelihood (Patterson and Thompson, Biometrika
58, 1971, 545-554).
"""

from __future__ import annotations

import math

import numpy as np

from simlib.calibration.step_fit import BLOCKS, Steps

DRIFTS = (0.0, *np.geomspace(1e-4, 0.5, 60).tolist())  # that are tried
KNOWN = 1e-9  # of the largest eigenvalue: smaller ones are none


class Blocks:
    """Sums over ten blocks of time of each load, by which laws are found without the steps.

    Parameters
    ----------
    data : Steps
    load : ndarray of int
        Whose load each step is, in order of loads and of time.
    value : ndarray
        A law that is near: errors are relative to its steps.
    """

    def __init__(self, data: Steps, load: np.ndarray, value: np.ndarray) -> None:
        counts = np.bincount(load)
        self.loads, self.scale = len(counts), np.maximum(np.abs(data.design).max(axis=0), 1e-300)
        self.value = value * self.scale
        self.of = np.concatenate([k * BLOCKS + np.arange(count) * BLOCKS // count for k, count in enumerate(counts)])
        expected_s = np.maximum(data.design @ value, data.step_s.min())
        design, weight = data.design / self.scale, data.weight / expected_s**2

        def sums(values: np.ndarray) -> np.ndarray:
            """Of what each step has, shape (loads, blocks, …)."""
            found = np.zeros((self.loads * BLOCKS, *values.shape[1:]))
            np.add.at(found, self.of, values)
            return found.reshape(self.loads, BLOCKS, *values.shape[1:])

        weighed = design * weight[:, None]
        self.squares = sums(weighed[:, :, None] * design[:, None, :])
        self.products, self.own = sums(weighed * data.step_s[:, None]), sums(weight * data.step_s**2)
        self.totals, times_s = sums(data.design * data.weight[:, None]), sums(data.step_s * data.weight)
        slower = np.log(times_s / sums(expected_s * data.weight))
        self.spans_s = times_s.sum(axis=1)
        #: Standard deviation of the logarithm of what one second's steps take over what the law says.
        self.noise = math.sqrt(np.mean(slower.var(axis=1, ddof=1) / BLOCKS * self.spans_s))
        sizes = self.squares.sum(axis=1) @ self.value @ self.value
        self.variance = max(float(np.mean(self.noise**2 / self.spans_s * sizes)), 1e-300)

    @property
    def once(self) -> np.ndarray:
        """Each block as it is."""
        return np.ones((self.loads, BLOCKS))

    def drawn(self, rng: np.random.Generator) -> np.ndarray:
        """How often each block counts; one less than there are is drawn, by which the spread is that of the mean."""
        return rng.multinomial(BLOCKS - 1, np.full(BLOCKS, 1 / BLOCKS), self.loads) * BLOCKS / (BLOCKS - 1)

    def solve(self, times: np.ndarray, drift: float, slower: np.ndarray | float = 1.0) -> np.ndarray:
        """The law, no coefficient below zero.

        Parameters
        ----------
        times : ndarray, shape (loads, blocks)
            How often each block counts.
        drift : float
            Standard deviation of the logarithm of a load's pace.
        slower : ndarray, shape (loads,), optional
            As if the loads had been so much slower.
        """
        from scipy.optimize import nnls

        squares, products, *_ = self._equations(times, drift, slower)
        values, vectors = np.linalg.eigh(squares)
        root = np.sqrt(np.maximum(values, 1e-12 * values[-1]))
        return nnls((vectors * root).T, (vectors / root).T @ products)[0] / self.scale

    def paces(self, laws: np.ndarray) -> np.ndarray:
        """By how much each load's steps were slower than by some laws, shape (laws, loads)."""
        return self.spans_s / (laws @ self.totals.sum(axis=1).T)

    def drift(self) -> float:
        """How much loads are slower or faster, as a standard deviation of the logarithm."""
        return min(DRIFTS, key=self._unlikely)

    def _equations(
        self, times: np.ndarray, drift: float, slower: np.ndarray | float = 1.0
    ) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        """Normal equations, the squares of the times less what the paces take of them, the variances of the paces.

        The more unknown paces are, beside the noise, the less a load's mean counts, and the more what differs within.
        """
        squares, products, own = (
            np.einsum("fb,fb...->f...", times, each) for each in (self.squares, self.products, self.own)
        )
        products = products * np.reshape(slower, (-1, 1))
        along = squares @ self.value
        size, seen = along @ self.value, products @ self.value
        variance = self.variance / size
        share = drift**2 / (variance + drift**2) / size
        left = squares.sum(axis=0) - np.einsum("f,fi,fj->ij", share, along, along)
        return left, products.sum(axis=0) - (share * seen) @ along, float(own.sum() - share @ seen**2), variance

    def _unlikely(self, drift: float) -> float:
        """Minus twice the logarithm of the restricted likelihood, but for a constant."""
        squares, products, own, variance = self._equations(self.once, drift)
        left = (own - products @ np.linalg.lstsq(squares, products, rcond=None)[0]) / self.variance
        values = np.linalg.eigvalsh(squares)
        return float(np.log1p(drift**2 / variance).sum() + left + np.log(values[values > KNOWN * values[-1]]).sum())

    def held_out(self, data: Steps, drift: float) -> tuple[float, float]:
        """Relative error, and share of the variance explained, of blocks predicted from the others."""
        error_s = np.empty(len(data.step_s))
        for number in range(self.loads * BLOCKS):
            others, own = self.once, self.of == number
            others.flat[number] = 0
            error_s[own] = data.step_s[own] - data.design[own] @ self.solve(others, drift)
        mean_s = np.average(data.step_s, weights=data.weight)
        spread = np.average((data.step_s - mean_s) ** 2, weights=data.weight)
        mape = np.average(np.abs(error_s / data.step_s), weights=data.weight)
        return float(mape), float(1 - np.average(error_s**2, weights=data.weight) / spread) if spread else math.nan
