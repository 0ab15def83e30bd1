"""From numbers of single recordings to means, error rates and what is certain of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lina.evaluation import bootstrap

MEANS = ("pesq", "stoi", "visqol", "dnsmos", "distill_mos", "mel")
Row = Mapping[str, Sequence[float | None]]
"""Values of one codec by measure, one a recording."""


def interval(
    values: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> dict[str, float] | None:
    """``lina.evaluation.bootstrap.interval`` over recordings, as JSON holds it."""
    found = bootstrap.interval(values, weights)
    return None if found is None else found.model_dump()


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
    for name, transcripts in (("wer", english), ("wer_other", ~english)):
        errors = np.where(transcripts, _numbers(row, "errors"), np.nan)
        found[name] = interval(errors, count)
        found[f"{name}_minus_original"] = interval(errors - _numbers(original, "errors"), count)
    if against is not None:
        found["against"] = {
            name: interval(_numbers(row, name) - _numbers(against, name))
            for name in ("pesq", "stoi", "visqol", "dnsmos", "distill_mos", "mel")
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
