"""Indexable training set, independent of its storage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from lina.data.collate import Batch, collate
from lina.data.packing_plan import RowPlan


@dataclass(frozen=True)
class TrainingData:
    """Utterances by number; ``codes(i)`` gives [T, Q] int64."""

    codes: Callable[[int], Int[Tensor, "T Q"]]
    lengths: Sequence[int]
    texts: Sequence[Sequence[int]]
    speakers: Sequence[int]
    ids: Sequence[str]
    train: Sequence[int]
    valid: Sequence[int]
    frame_rate: float
    identity: str
    """Hash of the corpus: training resumes only on the corpus that it started with."""

    def batch(self, numbers: Sequence[int]) -> Batch:
        """The padded batch of these utterances."""
        return collate(
            [self.codes(i) for i in numbers],
            [self.texts[i] for i in numbers],
            [self.speakers[i] for i in numbers],
        )

    def plan(self, numbers: Sequence[int], budget_seconds: float, seed: int, utterances: int = 1) -> RowPlan:
        """Batches of indices into ``numbers``, of at most ``budget_seconds`` each, ``utterances`` per row."""
        budget = max(1, int(budget_seconds * self.frame_rate))
        lengths, speakers = ([of[i] for i in numbers] for of in (self.lengths, self.speakers))
        return RowPlan(lengths, speakers, utterances, budget, seed)
