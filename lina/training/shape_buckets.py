"""Shape buckets: micro-batches are padded to a few shapes, each captured in a CUDA graph once and then replayed.

Steps grow by a twelfth from one bucket to the next, and rows are as many as the frame budget allows for the shortest
micro-batch of a bucket, so padding costs little more than an eighth in all.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad

from lina.training.objective import MicroBatch

GROWTH = 12
SMALLEST = 32
ROWS, TEXT = 8, 16
"""Rows are padded to a multiple of the one, texts to multiples of the other that grow by half."""


class Shape(NamedTuple):
    rows: int
    utterances: int
    """Per row."""
    steps: int
    text: int


def next_size(value: int, smallest: int, parts: int = 4) -> int:
    """The smallest size from ``smallest`` on that holds ``value``; each is larger than the last by one of ``parts``."""
    size = smallest
    while size < value:
        size += max(1, size // parts)
    return size


def columns_of(batch: MicroBatch) -> int:
    """Steps of the longest row."""
    codebooks = batch.codes.shape[2]
    steps = torch.where(batch.rows >= 0, batch.lengths[batch.rows.clamp(min=0)] + codebooks, 0)
    return int(steps.sum(1).max())


def shape_of(batch: MicroBatch, budget: int) -> Shape:
    """The smallest bucket for a micro-batch of a plan with a budget of ``budget`` frames."""
    rows, utterances = batch.rows.shape
    columns = columns_of(batch)
    steps, before = SMALLEST, 0
    while steps < columns:
        steps, before = steps + max(1, steps // GROWTH // 8) * 8, steps
    shortest = max(steps // 2, before + 1 - utterances * batch.codes.shape[2])
    rows = max(rows, budget // shortest)
    return Shape(
        rows + -rows % ROWS, utterances, steps, TEXT * next_size(-(-batch.text.shape[1] // TEXT), 2, 2)
    )


def padded_shape(batch: MicroBatch) -> Shape:
    """The shape to which ``pad_to_shape`` has padded a micro-batch."""
    rows, utterances = batch.rows.shape
    return Shape(rows, utterances, batch.codes.shape[1] + batch.codes.shape[2], batch.text.shape[1])


def pad_to_shape(batch: MicroBatch, shape: Shape) -> MicroBatch:
    """The micro-batch with empty rows, steps and texts added, outside of the loss mask."""
    rows: Int[Tensor, "B N"] = pad(batch.rows, (0, 0, 0, shape.rows - len(batch.rows)), value=-1)
    frames = shape.steps - batch.codes.shape[2]
    return pad_utterances(batch, rows, shape.rows * shape.utterances, frames, shape.text)


def pad_utterances(
    batch: MicroBatch, rows: Int[Tensor, "B N"], utterances: int, frames: int, text: int
) -> MicroBatch:
    """The micro-batch with as many utterances, frames and letters, in ``rows``; those added are in no row."""
    more, letters = utterances - len(batch.lengths), text - batch.text.shape[1]
    mask = pad(batch.text_mask, (0, letters, 0, more))
    mask[len(batch.lengths) :, 0] = True  # attention needs something to read
    # One value per utterance: speaker, dropped conditions.
    scalars = {name: pad(value, (0, more)) for name, value in batch._asdict().items() if value.dim() == 1}
    tensors = {
        "codes": pad(batch.codes, (0, 0, 0, frames - batch.codes.shape[1], 0, more)),
        "lengths": pad(batch.lengths, (0, more), value=1),
        "text": pad(batch.text, (0, letters, 0, more)),
        "text_mask": mask,
        "rows": rows,
    }
    return MicroBatch(**(scalars | tensors))
