"""Order of batches as a pure function of lengths, budget, seed and epoch, so that no sampler state is stored.

In each epoch, items are shuffled and cut into windows. Within a window they are sorted by length, longest first, and
packed until the next one would exceed the budget of padded frames; then the batches of all windows are shuffled. Each
item is in exactly one batch per epoch; one longer than the budget is a batch of its own.

The batches of epochs 0, 1, 2, ... form one endless sequence, of which each step takes the next
``train.accumulate``, on any number of ranks. The position of a run is thus one integer.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lina.core.errors import DataError

Integers = npt.NDArray[np.int64] | npt.NDArray[np.int32]

CHUNK = 1 << 20
"""Items that are moved at once: an index of all items in int64 would be the largest array of a large plan."""

LARGEST_WINDOW = 64
SMALLEST_WINDOW = 2
WINDOWS = 4


class BatchPlan:
    """Assignment of items (utterances or rows of them) to batches.

    Items are sorted within windows of a quarter of the corpus, but at least 2 and at most 64 batches; a corpus of fewer
    than 8 batches is one window. Smaller windows mix more and pad more.

    Args:
        lengths: frames of each item, all at least 1.
        budget: largest rows * longest per batch, in frames.
        seed: orders of different seeds are unrelated.

    Raises:
        DataError: there are no items, one is empty, or the budget is not positive.
    """

    def __init__(self, lengths: Sequence[int] | Integers, budget: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        if self.lengths.ndim != 1 or not len(self.lengths):
            raise DataError("there is nothing to make batches of: no utterances on this side of the split")
        if self.lengths.min() < 1:
            raise DataError(
                f"utterance {int(self.lengths.argmin())} has no frames; it should have been rejected"
            )
        if budget < 1:
            raise DataError(f"a batch of {budget} frames holds nothing; set a positive size")
        self.budget = int(budget)
        self.seed = seed
        self.window = _window(self.lengths, self.budget)
        self._ends: list[int] = []
        self._epoch = lru_cache(maxsize=2)(self._compute)

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of one epoch, in order, as item numbers."""
        order, bounds = self._epoch(epoch)
        return [order[start:end].tolist() for start, end in pairwise(bounds)]

    def batch(self, position: int) -> list[int]:
        """Batch ``position`` of the endless sequence over all epochs."""
        epoch, first = self.epoch_of(position)
        order, bounds = self._epoch(epoch)
        within = position - first
        batch: list[int] = order[bounds[within] : bounds[within + 1]].tolist()
        return batch

    def size_of(self, epoch: int) -> tuple[int, int]:
        """Number of batches of an epoch, and their frames, padding included."""
        order, bounds = self._epoch(epoch)
        longest = self._lengths(epoch)[order[bounds[:-1]]]
        return len(longest), int((np.diff(bounds) * longest).sum())

    def epoch_of(self, position: int) -> tuple[int, int]:
        """The epoch of batch ``position``, and the position of that epoch's first batch."""
        if position < 0:
            raise ValueError(f"position {position} is before the first batch")
        while not self._ends or self._ends[-1] <= position:
            count = len(self._epoch(len(self._ends))[1]) - 1
            self._ends.append(count + (self._ends[-1] if self._ends else 0))
        epoch = int(np.searchsorted(self._ends, position, side="right"))
        return epoch, self._ends[epoch - 1] if epoch else 0

    def _lengths(self, epoch: int) -> Integers:
        """Frames of the items of an epoch."""
        return self.lengths

    def _compute(self, epoch: int) -> tuple[Integers, Integers]:
        """The items in the order of their batches, and the bounds of the batches in that order."""
        generator = np.random.Generator(np.random.Philox(key=[self.seed & (2**64 - 1), epoch]))
        lengths = self._lengths(epoch)
        # 36 million utterances (100,000 hours) are to fit in 1 GB.
        order: Integers = np.arange(len(lengths), dtype=np.int64)
        if len(lengths) < 2**31:
            order = np.arange(len(lengths), dtype=np.int32)
        generator.shuffle(order)
        for start in range(0, len(order), self.window):
            part = order[start : start + self.window]
            part[:] = part[np.argsort(-lengths[part], kind="stable")]
        bounds = _pack_windows(lengths, order, self.budget, self.window)
        return _permuted(order, bounds, generator)


def _window(lengths: Integers, budget: int) -> int:
    rows = max(1, budget // max(1, int(lengths.mean())))
    if len(lengths) < 2 * WINDOWS * rows:
        return len(lengths)
    return min(max(len(lengths) // WINDOWS, SMALLEST_WINDOW * rows), LARGEST_WINDOW * rows)


def _pack_windows(lengths: Integers, order: Integers, budget: int, window: int) -> Integers:
    """Bounds of the batches. In a window the first row of a batch is its longest, so it determines the row count."""
    bounds: list[int] = []
    for first in range(0, len(order), window):
        rows = np.maximum(1, budget // lengths[order[first : first + window]]).tolist()
        at = 0
        while at < len(rows):
            bounds.append(first + at)
            at += rows[at]
    return np.array([*bounds, len(order)], dtype=np.int64)


def _permuted(order: Integers, bounds: Integers, generator: np.random.Generator) -> tuple[Integers, Integers]:
    """The same batches in a random order."""
    permutation = generator.permutation(len(bounds) - 1)
    sizes = np.diff(bounds)[permutation]
    new_bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    shifts = bounds[:-1][permutation] - new_bounds[:-1]
    moved = np.empty_like(order)
    first = 0
    while first < len(shifts):
        last = max(first + 1, int(np.searchsorted(new_bounds, new_bounds[first] + CHUNK, side="right")) - 1)
        start, end = new_bounds[first], new_bounds[last]
        moved[start:end] = order[np.arange(start, end) + np.repeat(shifts[first:last], sizes[first:last])]
        first = last
    return moved, new_bounds
