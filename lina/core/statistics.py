"""Means and rates with what is certain of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean or a rate, and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def interval(values: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> Interval | None:
    """sum(values) / sum(weights) with its 95 % interval by the percentile bootstrap (Efron 1979).

    Weights are 1 by default. NaN is left out; None if nothing is left, or if all weights are 0. The same draws every
    time, so rows over one set of texts are resampled alike, and the interval of differences is a paired one.
    """
    weights = np.ones_like(values) if weights is None else weights
    kept = ~(np.isnan(values) | np.isnan(weights))
    values, weights = values[kept], weights[kept]
    if not weights.sum() > 0:
        return None
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    drawn = weights[draws].sum(axis=1)
    spread = values[draws].sum(axis=1)[drawn > 0] / drawn[drawn > 0]
    low, high = np.percentile(spread, (2.5, 97.5))
    return Interval(float(values.sum() / weights.sum()), float(low), float(high))
