"""The order of batches, computed: a pure function of lengths, budget, seed and epoch. Nothing to save.

In an epoch, utterances are shuffled and cut into windows; in a window they are sorted by length, longest
first, and packed until the next one would pass the budget of padded frames; then the batches of all windows
are shuffled. Each utterance is in exactly one batch of an epoch; one longer than the budget is a batch by
itself.

The batches of epoch 0, 1, 2, ... form one endless sequence, and of it rank r of ``world`` takes batch
``step * world + r``. So every rank has a batch at every step, a group of ranks that reaches the end of an
epoch goes on with the next one's first batches, nothing is lost or repeated, and any number of ranks consumes
the same sequence: a run's position is one integer, the number of batches consumed. For one pass that ends
(validation), ``one_pass`` gives every rank the same number of steps, the last of them with empty batches
where nothing is left.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lina.core.errors import DataError

Integers = npt.NDArray[np.int64]

LARGEST_WINDOW = 64
SMALLEST_WINDOW = 2
WINDOWS = 4


class Plan:
    """Which utterances are in which batch.

    Args:
        lengths: frames of each utterance, all at least 1.
        budget: largest rows * longest of a batch, in frames.
        seed: orders of different seeds are unrelated.
        window: utterances sorted together. By default a quarter of the corpus, but 2 to 64 batches' worth; a
        corpus
            of fewer than 8 batches is one window. Smaller windows mix more and pad more.
        shuffle: False keeps the corpus's order and seed and epoch mean nothing, for validation.
    """

    def __init__(
        self,
        lengths: Sequence[int] | Integers,
        budget: int,
        seed: int = 0,
        *,
        window: int | None = None,
        shuffle: bool = True,
    ) -> None:
        self.lengths = np.asarray(lengths, dtype=np.int64)
        if self.lengths.ndim != 1 or not len(self.lengths):
            raise DataError("there is nothing to make batches of: no utterances on this side of the split")
        if self.lengths.min() < 1:
            raise DataError(
                f"utterance {int(self.lengths.argmin())} has no frames; it should have been rejected"
            )
        if budget < 1 or (window is not None and window < 1):
            raise DataError(
                f"a batch of {budget} frames (window {window}) holds nothing; give a positive size"
            )
        self.budget = int(budget)
        self.seed = seed
        self.window = window or _default_window(self.lengths, self.budget)
        self.shuffle = shuffle
        self._ends: list[int] = []
        self._epoch = lru_cache(maxsize=2)(self._compute)

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of one epoch, in order, as numbers of utterances."""
        order, bounds = self._epoch(epoch)
        return [order[start:end].tolist() for start, end in pairwise(bounds)]

    def batch(self, position: int) -> list[int]:
        """Batch ``position`` of the endless sequence over all epochs."""
        epoch, first = self.epoch_of(position)
        order, bounds = self._epoch(epoch)
        within = position - first
        batch: list[int] = order[bounds[within] : bounds[within + 1]].tolist()
        return batch

    def batch_at(self, step: int, rank: int = 0, world: int = 1, *, consumed: int = 0) -> list[int]:
        """The batch of ``rank`` at ``step``, counted from where all ranks had consumed ``consumed``."""
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        return self.batch(consumed + step * world + rank)

    def epoch_of(self, position: int) -> tuple[int, int]:
        """The epoch in which batch ``position`` lies, and the position of that epoch's first batch."""
        if position < 0:
            raise ValueError(f"position {position} is before the first batch")
        while not self._ends or self._ends[-1] <= position:
            count = len(self._epoch(len(self._ends))[1]) - 1
            self._ends.append(count + (self._ends[-1] if self._ends else 0))
        epoch = int(np.searchsorted(self._ends, position, side="right"))
        return epoch, self._ends[epoch - 1] if epoch else 0

    def one_pass(self, rank: int = 0, world: int = 1, *, epoch: int = 0) -> list[list[int]]:
        """One rank's batches of a pass over everything; an empty batch only keeps step with other ranks."""
        batches = self.batches(epoch)
        batches += [[]] * (-len(batches) % world)
        return batches[rank::world]

    def padding(self, epoch: int = 0) -> float:
        """The fraction of an epoch's padded frames that is padding."""
        order, bounds = self._epoch(epoch)
        lengths = self._lengths(epoch)
        longest = np.maximum.reduceat(lengths[order], bounds[:-1])
        return 1.0 - float(lengths.sum()) / float((longest * np.diff(bounds)).sum())

    def _lengths(self, epoch: int) -> Integers:
        """Frames of what is packed in an epoch."""
        return self.lengths

    def _compute(self, epoch: int) -> tuple[Integers, Integers]:
        """The utterances in the order of their batches, and the bounds of the batches in it."""
        generator = np.random.Generator(np.random.Philox(key=[self.seed & (2**64 - 1), epoch]))
        lengths = self._lengths(epoch)
        order = np.arange(len(lengths), dtype=np.int64)
        if self.shuffle:
            generator.shuffle(order)
            for start in range(0, len(order), self.window):
                part = order[start : start + self.window]
                part[:] = part[np.argsort(-lengths[part], kind="stable")]
            starts = _pack_windows(lengths[order], self.budget, self.window)
        else:
            starts = _pack_in_order(lengths, self.budget)
        bounds = np.append(starts, len(order))
        return _permuted(order, bounds, generator) if self.shuffle else (order, bounds)


def _default_window(lengths: Integers, budget: int) -> int:
    rows = max(1, budget // max(1, int(lengths.mean())))
    if len(lengths) < 2 * WINDOWS * rows:
        return len(lengths)
    return min(max(len(lengths) // WINDOWS, SMALLEST_WINDOW * rows), LARGEST_WINDOW * rows)


def _pack_windows(lengths: Integers, budget: int, window: int) -> Integers:
    """Where batches start. In a window the first row of a batch is its longest, which tells its rows."""
    rows = np.maximum(1, budget // lengths)
    starts: list[int] = []
    for first in range(0, len(lengths), window):
        window_rows = rows[first : first + window].tolist()
        at = 0
        while at < len(window_rows):
            starts.append(first + at)
            at += window_rows[at]
    return np.array(starts, dtype=np.int64)


def _pack_in_order(lengths: Integers, budget: int) -> Integers:
    starts, longest = [0], 0
    for at, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if at > starts[-1] and longest * (at - starts[-1] + 1) > budget:
            starts.append(at)
            longest = length
    return np.array(starts, dtype=np.int64)


def _permuted(order: Integers, bounds: Integers, generator: np.random.Generator) -> tuple[Integers, Integers]:
    """The same batches in a random order."""
    permutation = generator.permutation(len(bounds) - 1)
    sizes = np.diff(bounds)[permutation]
    new_bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    shifts = np.repeat(bounds[:-1][permutation] - new_bounds[:-1], sizes)
    return order[np.arange(len(order)) + shifts], new_bounds
