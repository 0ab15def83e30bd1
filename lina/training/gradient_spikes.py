"""Spikes of the gradient norm: steps far above those before them, which ``train.max_spike`` leaves out."""

import math
from collections.abc import Sequence
from typing import NamedTuple

WINDOW = 100
"""Steps over which mean and variance of the norm decay; none is a spike before so many have been applied."""


class NormStatistics(NamedTuple):
    """Mean and variance of the gradient norms of the steps applied so far, newer ones with more weight."""

    mean: float = 0.0
    variance: float = 0.0
    steps: int = 0

    @classmethod
    def of(cls, stored: Sequence[float]) -> "NormStatistics":
        """The statistics of a checkpoint; an early one has none."""
        return cls(stored[0], stored[1], int(stored[2])) if stored else cls()

    def limit(self, sigmas: float | None) -> float:
        """The norm above which a step is a spike."""
        if sigmas is None or self.steps < WINDOW:
            return math.inf
        return self.mean + sigmas * math.sqrt(self.variance)

    def after(self, norm: float) -> "NormStatistics":
        """The statistics with the norm of one more step (West 1979, with a decaying weight)."""
        weight = max(1 / (self.steps + 1), 1 / WINDOW)
        apart = norm - self.mean
        variance = (1 - weight) * (self.variance + weight * apart**2)
        return NormStatistics(self.mean + weight * apart, variance, self.steps + 1)
