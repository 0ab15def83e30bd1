"""The batches of each training step, made while the device works on the step before."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from lina.config.spec import Spec
from lina.data.collate import drop_conditions
from lina.data.packing_plan import row_numbers
from lina.data.training_data import TrainingData
from lina.training.objective import MicroBatch
from lina.training.step_seed import step_seed

CONDITIONS = 0x5DEECE66D
"""Keeps the draws of what a step leaves out apart from those of its dropout."""


class Parts:
    """Parts of each step, on the CPU, each a function of the corpus, the spec, the step and its number alone.

    A step has ``train.accumulate`` of them; ``mine`` are the numbers of those that are computed in this process.
    """

    def __init__(self, spec: Spec, data: TrainingData, mine: Sequence[int] | None = None) -> None:
        train = spec.train
        self.spec, self.data = spec, data
        self.mine = range(train.accumulate) if mine is None else mine
        self.plan = data.plan(data.train, train.batch_seconds, spec.seed, train.consecutive)
        self.ahead = ThreadPoolExecutor(1)
        self.prepared: tuple[int, Future[list[MicroBatch]]] | None = None
        """The parts of a step to come."""

    @property
    def budget(self) -> int:
        """Frames of a part, padding included."""
        return self.plan.budget

    def __call__(self, step: int) -> list[MicroBatch]:
        """Of ``step``; those of the next one begin to be made."""
        known, made = self.prepared or (None, None)
        parts = made.result() if made is not None and known == step else self._prepare(step)
        if step < self.spec.train.steps:
            self.prepared = step + 1, self.ahead.submit(self._prepare, step + 1)
        return parts

    def numbers(self, step: int) -> list[list[list[int]]]:
        """The utterances of each row of each part of ``step``, by their numbers in the corpus."""
        accumulate = self.spec.train.accumulate
        planned = [self.plan.rows(part) for part in range((step - 1) * accumulate, step * accumulate)]
        return [[[self.data.train[i] for i in row] for row in rows] for rows in planned]

    def _prepare(self, step: int) -> list[MicroBatch]:
        conditions = self.spec.conditions
        drop = (conditions.drop_text, conditions.drop_speaker, conditions.prompt)
        numbers, parts = self.numbers(step), []
        for part in self.mine:
            generator = torch.Generator().manual_seed(step_seed(self.spec.seed, step, part) ^ CONDITIONS)
            parts.append(make_part(self.data, numbers[part], drop, generator))
        return parts


def make_part(
    data: TrainingData,
    rows: Sequence[Sequence[int]],
    drop: tuple[float, float, float],
    generator: torch.Generator,
) -> MicroBatch:
    """The utterances of each row, by their numbers in the corpus, and what is drawn for them (``drop_conditions``)."""
    batch = data.batch([number for row in rows for number in row])
    dropped = drop_conditions(batch.lengths, *drop, generator)
    return MicroBatch(
        **batch._asdict(),
        without_text=dropped.text,
        without_speaker=dropped.speaker,
        prompts=dropped.prompts,
        rows=row_numbers(rows),
    )
