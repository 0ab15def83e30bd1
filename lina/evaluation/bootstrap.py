"""Means, rates and medians with bootstrap confidence intervals."""

import numpy as np
from numpy.typing import NDArray

from lina.runs.records import Interval

RESAMPLES = 2000


def interval(values: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> Interval | None:
    """Return sum(values) / sum(weights) with its 95 % confidence interval by the percentile bootstrap (Efron 1979).

    Weights are 1 by default. NaN is left out; None if nothing is left, or if all weights are 0. The resamples are the
    same in every call, so systems over one set of texts are resampled alike, and the interval of their differences is
    a paired one.
    """
    weights = np.ones_like(values) if weights is None else weights
    kept = ~(np.isnan(values) | np.isnan(weights))
    values, weights = values[kept], weights[kept]
    if not weights.sum() > 0:
        return None
    resamples = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    totals = weights[resamples].sum(axis=1)
    rates = values[resamples].sum(axis=1)[totals > 0] / totals[totals > 0]
    low, high = np.percentile(rates, (2.5, 97.5))
    return Interval(value=float(values.sum() / weights.sum()), low=float(low), high=float(high))


def median_interval(values: NDArray[np.float64]) -> Interval | None:
    """Return the median and its 95 % interval, resampled as in ``interval``; None if all are NaN."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    resamples = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.median(values[resamples], axis=1), (2.5, 97.5))
    return Interval(value=float(np.median(values)), low=float(low), high=float(high))
