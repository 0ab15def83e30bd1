"""What is trained on, by number, whatever holds it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from lina.data.collate import Batch, collate
from lina.data.packing_plan import RowPlan


@dataclass(frozen=True)
class TrainingData:
    """Utterances by number: ``codes(i)`` gives [T, Q] of the modelled codebooks."""

    codes: Callable[[int], Int[Tensor, "T Q"]]
    lengths: Sequence[int]
    texts: Sequence[Sequence[int]]
    speakers: Sequence[int]
    ids: Sequence[str]
    train: Sequence[int]
    valid: Sequence[int]
    frame_rate: float
    identity: str
    """Tells corpora apart: training goes on only on what it began with."""

    def batch(self, numbers: Sequence[int]) -> Batch:
        return collate(
            [self.codes(i) for i in numbers],
            [self.texts[i] for i in numbers],
            [self.speakers[i] for i in numbers],
        )

    def plan(self, numbers: Sequence[int], budget_seconds: float, seed: int, utterances: int = 1) -> RowPlan:
        """Batches of positions in ``numbers``; with so many utterances in a row."""
        budget = max(1, int(budget_seconds * self.frame_rate))
        lengths, speakers = ([of[i] for i in numbers] for of in (self.lengths, self.speakers))
        return RowPlan(lengths, speakers, utterances, budget, seed)
