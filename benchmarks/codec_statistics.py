"""From numbers of single recordings to means, error rates and what is certain of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
MEANS = ("pesq", "stoi", "dnsmos", "mel")
Row = Mapping[str, Sequence[float | None]]
"""Values of one codec by measure, one a recording."""


def interval(
    values: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> dict[str, float] | None:
    """sum(values) / sum(weights) with its 95 % interval by the percentile bootstrap over recordings (Efron 1979).

    Weights are 1 by default. NaN is left out; None if nothing is left. The same draws every time, so rows of one
    set of recordings are resampled alike.
    """
    weights = np.ones_like(values) if weights is None else weights
    kept = ~np.isnan(values)
    values, weights = values[kept], weights[kept]
    if not len(values):
        return None
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    spread = values[draws].sum(axis=1) / weights[draws].sum(axis=1)
    low, high = np.percentile(spread, (2.5, 97.5))
    return {"value": float(values.sum() / weights.sum()), "low": float(low), "high": float(high)}


def summary(
    row: Row, original: Row, against: Row | None, words: Sequence[int], languages: Sequence[str]
) -> Any:
    """Means and rates of one codec on one set.

    ``wer`` is of the English recordings, ``wer_other`` of the others; both with their difference to the original's,
    and all of the differences to ``against`` are paired over recordings.
    """
    found: dict[str, Any] = {name: interval(_numbers(row, name)) for name in MEANS}
    lags = _numbers(row, "lag")
    found["lag"] = float(np.median(lags)) if len(lags) and not np.isnan(lags).all() else None
    english = np.array([language == "en" for language in languages])
    count = np.array(words, dtype=np.float64)
    for name, heard in (("wer", english), ("wer_other", ~english)):
        errors = np.where(heard, _numbers(row, "errors"), np.nan)
        found[name] = interval(errors, count)
        found[f"{name}_minus_original"] = interval(errors - _numbers(original, "errors"), count)
    if against is not None:
        found["against"] = {
            name: interval(_numbers(row, name) - _numbers(against, name)) for name in ("pesq", "stoi", "mel")
        } | {
            "wer": interval(
                np.where(english, _numbers(row, "errors") - _numbers(against, "errors"), np.nan), count
            )
        }
    return found


def usage(counts: Sequence[NDArray[np.int64]]) -> dict[str, Any]:
    """Of each codebook: the entropy of its codes in bits, and the share of its entries that occur at all."""
    entropies, shares = [], []
    for codebook in counts:
        probability = codebook[codebook > 0] / codebook.sum()
        entropies.append(float(-(probability * np.log2(probability)).sum()))
        shares.append(float((codebook > 0).mean()))
    return {"frames": int(counts[0].sum()), "entropy_bits": entropies, "share_used": shares}


def _numbers(row: Row, name: str) -> NDArray[np.float64]:
    values = row.get(name)
    if values is None:
        return np.full(len(next(iter(row.values()), ())), np.nan)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
