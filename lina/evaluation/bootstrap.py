"""Means, rates and medians with what is certain of them."""

import numpy as np
from numpy.typing import NDArray

from lina.runs.records import Interval

RESAMPLES = 2000


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
    return Interval(value=float(values.sum() / weights.sum()), low=float(low), high=float(high))


def median_interval(values: NDArray[np.float64]) -> Interval | None:
    """The median with its 95 % interval, resampled as in ``interval``; NaN is left out, None if nothing is left."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.median(values[draws], axis=1), (2.5, 97.5))
    return Interval(value=float(np.median(values)), low=float(low), high=float(high))
