"""Order of batches whose rows are several utterances of one speaker, packed end to end.

In each epoch the utterances of a speaker are shuffled; every ``utterances`` of them make a row, the remainder a shorter
one. Rows are then batched as in ``lina.data.batch_plan``, so the order is again a pure function, with each utterance in
exactly one row per epoch.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lina.data.batch_plan import BatchPlan, Integers

SUCCESSORS = 0x5EA
"""Separates the random stream of the order within rows from that of the batches."""


class RowPlan(BatchPlan):
    """A plan over rows: ``batch`` and ``batches`` number the rows of an epoch, ``rows`` gives their utterances.

    Args:
        lengths: frames of each utterance, all at least 1.
        speakers: a number per utterance; a row has one speaker.
        utterances: utterances per row, where the speaker has as many. 1: rows are utterances, by number.
        budget: largest rows * longest per batch, in frames.
    """

    def __init__(
        self,
        lengths: Sequence[int] | Integers,
        speakers: Sequence[int] | Integers,
        utterances: int,
        budget: int,
        seed: int,
    ) -> None:
        self.utterances, self.seed = utterances, seed
        self._frames = np.asarray(lengths, dtype=np.int64)
        self._speakers = np.asarray(speakers, dtype=np.int64)
        self._rows = lru_cache(maxsize=2)(self._compute_rows)
        super().__init__(self._lengths(0) if len(self._frames) else self._frames, budget, seed)

    def rows(self, position: int) -> list[list[int]]:
        """The rows of batch ``position`` of the endless sequence, each as numbers of utterances in order."""
        order, bounds = self._rows(self.epoch_of(position)[0])
        return [order[bounds[row] : bounds[row + 1]].tolist() for row in self.batch(position)]

    def _lengths(self, epoch: int) -> Integers:
        order, bounds = self._rows(epoch)
        lengths: Integers = np.add.reduceat(self._frames[order], bounds[:-1])
        return lengths

    def _compute_rows(self, epoch: int) -> tuple[Integers, Integers]:
        """The utterances in the order of the rows, and the bounds of the rows in it."""
        count = len(self._frames)
        order = place = np.arange(count, dtype=np.int64)
        if self.utterances == 1 or not count:
            return order, np.arange(count + 1, dtype=np.int64)
        key = [(self.seed ^ SUCCESSORS) & (2**64 - 1), epoch]
        order = np.random.Generator(np.random.Philox(key=key)).permutation(order)
        order = order[np.argsort(self._speakers[order], kind="stable")]
        changes = np.append(True, np.diff(self._speakers[order]) != 0)
        since = place - np.maximum.accumulate(np.where(changes, place, 0))
        return order, np.append(place[since % self.utterances == 0], count)


def row_numbers(rows: Sequence[Sequence[int]]) -> Int[Tensor, "B N"]:
    """Numbers of each row's utterances in their batch, counted row after row; -1 where a row has fewer."""
    longest = max(map(len, rows))
    numbers = torch.full((len(rows), longest), -1)
    first = 0
    for place, row in enumerate(rows):
        numbers[place, : len(row)] = torch.arange(first, first + len(row))
        first += len(row)
    return numbers
