"""Micro-batches of each training step, made while the device works on the step before (gradient accumulation)."""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from lina.config.spec import Spec
from lina.core.process.threads import use_one_thread
from lina.data.collate import drop_conditions
from lina.data.packing_plan import row_numbers
from lina.data.training_data import TrainingData
from lina.training.finite_steps import some_of
from lina.training.fixed_rows import FixedRow, fix_row
from lina.training.objective import MicroBatch
from lina.training.row_shapes import LOOKED_AT, RowShapes, need_of
from lina.training.shape_buckets import pad_to_shape, shape_of

STRIDE = 0x1E3779B97F4A7C15
"""Distance between the seeds of a step's micro-batches, so that none draws the numbers of another step."""
CONDITIONS = 0x5DEECE66D
"""Separates the draws of dropped conditions from those of dropout."""


def step_seed(seed: int, step: int, micro_batch: int = 0) -> int:
    """The RNG seed of a micro-batch of a step, on any rank, so that no RNG state goes into checkpoints."""
    return (seed * 1_000_000_007 + step + micro_batch * STRIDE) % 2**63


class StepBatches(NamedTuple):
    """Micro-batches of a step that one rank computes."""

    batches: list[MicroBatch]
    inputs: list[MicroBatch | FixedRow]
    """The same as the device gets them: padded to the shape of a CUDA graph, in page-locked memory."""
    shares: list[float]
    """Share of each in the targets of the whole step, by which its loss is weighed: the sum over the step's
    micro-batches is then the mean over its targets, on any number of ranks.
    """


class MicroBatches:
    """Micro-batches of each step, on the CPU, each a function of (corpus, spec, step, its number).

    A step has ``train.accumulate`` of them; ``own`` are the numbers of those that this rank computes. ``end_to_end``:
    all groups of a micro-batch lie in one row, so that nothing is padded. ``captured``: inputs have the shapes of CUDA
    graphs. ``pinned``: they are in page-locked memory, from which a GPU copies while it computes.
    """

    def __init__(
        self,
        spec: Spec,
        data: TrainingData,
        own: Sequence[int] | None = None,
        end_to_end: bool = False,
        captured: bool = False,
        pinned: bool = False,
    ) -> None:
        train = spec.train
        self.spec, self.data, self.end_to_end = spec, data, end_to_end
        self.captured, self.pinned = captured, pinned
        self.own = range(train.accumulate) if own is None else own
        self.plan = data.plan(data.train, train.fixed_batch_seconds, spec.seed, train.consecutive)
        self.row_shapes = self._row_shapes() if captured and end_to_end else None
        self.executor = ThreadPoolExecutor(1, initializer=use_one_thread)
        self.prefetched: tuple[int, Future[StepBatches]] | None = None
        """A coming step and its micro-batches."""

    @property
    def budget(self) -> int:
        """Frames per micro-batch, padding included."""
        return self.plan.budget

    def __call__(self, step: int) -> StepBatches:
        """The micro-batches of ``step``; begin to prefetch those of the next step."""
        prefetched, future = self.prefetched or (None, None)
        found = future.result() if future is not None and prefetched == step else self._prepare(step)
        if step < self.spec.train.steps:
            self.prefetched = step + 1, self.executor.submit(self._prepare, step + 1)
        return found

    def numbers(self, step: int) -> list[list[list[int]]]:
        """Utterances, by their numbers in the corpus, per row, per micro-batch of ``step``."""
        accumulate = self.spec.train.accumulate
        planned = [self.plan.rows(number) for number in range((step - 1) * accumulate, step * accumulate)]
        return [[[self.data.train[i] for i in row] for row in rows] for rows in planned]

    def ids(self, step: int) -> list[str]:
        """The utterances of ``step``."""
        return [self.data.ids[i] for rows in self.numbers(step) for row in rows for i in row]

    def largest(self, step: int) -> str:
        """Size of the largest micro-batch of ``step``, in words."""
        lengths, batches = self.data.lengths, self.numbers(step)
        sizes = [(len(rows), max(sum(lengths[i] for i in row) for row in rows)) for rows in batches]
        number = max(range(len(sizes)), key=lambda one: math.prod(sizes[one]))
        rows, longest = sizes[number]
        ids = [self.data.ids[i] for row in batches[number] for i in row]
        return f"{rows} rows of up to {longest:,} frames of {some_of(ids)}"

    def _prepare(self, step: int) -> StepBatches:
        conditions = self.spec.conditions
        drop = (conditions.drop_text, conditions.drop_speaker, conditions.prompt)
        numbers = self.numbers(step)
        batches = [
            make_micro_batch(self.data, numbers[own], drop, self._generator(step, own), self.end_to_end)
            for own in self.own
        ]
        inputs = [self._input(batch, numbers[own]) for own, batch in zip(self.own, batches, strict=True)]
        if len(numbers) == 1:
            return StepBatches(batches, inputs, [1.0])
        known = {
            own: count_targets(batch.lengths, batch.prompts, batch.codes.shape[2])
            for own, batch in zip(self.own, batches, strict=True)
        }
        targets = [
            known[number] if number in known else self._count(rows, drop, self._generator(step, number))
            for number, rows in enumerate(numbers)
        ]
        return StepBatches(batches, inputs, [targets[own] / sum(targets) for own in self.own])

    def _row_shapes(self) -> RowShapes:
        first = [self.numbers(step) for step in range(1, -(-LOOKED_AT // self.spec.train.accumulate) + 1)]
        needs = [need_of(self.data, groups) for batches in first for groups in batches]
        return RowShapes(needs, self.spec.train.consecutive, self.budget)

    def _input(self, batch: MicroBatch, groups: Sequence[Sequence[int]]) -> MicroBatch | FixedRow:
        fixed: MicroBatch | FixedRow = batch
        if self.row_shapes is not None:
            fixed = fix_row(batch, self.row_shapes.of(need_of(self.data, groups)))
        elif self.captured:
            fixed = pad_to_shape(batch, shape_of(batch, self.budget))
        return fixed.pin_memory() if self.pinned else fixed

    def _generator(self, step: int, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(step_seed(self.spec.seed, step, number) ^ CONDITIONS)

    def _count(
        self, rows: Sequence[Sequence[int]], drop: tuple[float, float, float], generator: torch.Generator
    ) -> int:
        """Targets of a micro-batch that another rank computes."""
        lengths = torch.tensor([self.data.lengths[number] for row in rows for number in row])
        prompts = drop_conditions(lengths, *drop, generator).prompts
        return count_targets(lengths, prompts, self.data.codes(rows[0][0]).shape[1])


def count_targets(lengths: Int[Tensor, "U"], prompts: Int[Tensor, "U"], codebooks: int) -> int:
    """Size of the loss mask of ``teacher_forcing``: each frame after the prompt, and one STOP."""
    return int(((lengths - prompts) * codebooks + 1).sum())


def make_micro_batch(
    data: TrainingData,
    groups: Sequence[Sequence[int]],
    drop: tuple[float, float, float],
    generator: torch.Generator,
    end_to_end: bool = False,
) -> MicroBatch:
    """Collate the utterances of each group, by their numbers in the corpus, and draw their dropped conditions.

    A row is a group, or with ``end_to_end`` all of them.
    """
    batch = data.batch([number for group in groups for number in group])
    dropped = drop_conditions(batch.lengths, *drop, generator)
    sizes = torch.tensor([len(group) for group in groups])
    rows = torch.arange(len(batch.lengths))[None] if end_to_end else row_numbers(groups)
    return MicroBatch(
        **batch._asdict(),
        without_text=dropped.text,
        without_speaker=dropped.speaker,
        prompts=dropped.prompts,
        rows=rows,
        groups=(sizes.cumsum(0) - sizes).repeat_interleave(sizes),
    )
