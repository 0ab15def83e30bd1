"""Batches padded to a few shapes: what a GPU has captured for a shape can be replayed for every batch of it.

Steps grow by a twelfth from one shape to the next, and rows are as many as the budget of a batch allows for the
shortest batch of a shape, so padding costs little more than an eighth in all.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad

from lina.training.objective import MicroBatch

GROWTH = 12
SMALLEST = 32
ROWS, TEXT = 8, 32
"""What rows and texts are multiples of. Texts are at least half the steps long: few are longer."""


class Shape(NamedTuple):
    rows: int
    utterances: int
    """In a row."""
    steps: int
    text: int


def columns_of(part: MicroBatch) -> int:
    """Steps of the longest row."""
    codebooks = part.codes.shape[2]
    steps = torch.where(part.rows >= 0, part.lengths[part.rows.clamp(min=0)] + codebooks, 0)
    return int(steps.sum(1).max())


def shape_of(part: MicroBatch, budget: int) -> Shape:
    """The smallest shape that holds a part of a plan with a budget of so many frames."""
    rows, utterances = part.rows.shape
    wanted = columns_of(part)
    steps, before = SMALLEST, 0
    while steps < wanted:
        steps, before = steps + max(1, steps // GROWTH // 8) * 8, steps
    shortest = max(steps // 2, before + 1 - utterances * part.codes.shape[2])
    rows, text = max(rows, budget // shortest), max(part.text.shape[1], steps // 2)
    return Shape(rows + -rows % ROWS, utterances, steps, text + -text % TEXT)


def padded(part: MicroBatch, shape: Shape) -> MicroBatch:
    """The same part with empty rows, steps and texts added, none of which counts."""
    more = shape.rows * shape.utterances - len(part.lengths)
    wide = shape.steps - part.codes.shape[2] - part.codes.shape[1]
    rows: Int[Tensor, "B N"] = pad(part.rows, (0, 0, 0, shape.rows - len(part.rows)), value=-1)
    letters = shape.text - part.text.shape[1]
    mask = pad(part.text_mask, (0, letters, 0, more))
    mask[len(part.lengths) :, 0] = True  # attention needs something to read
    return MicroBatch(
        codes=pad(part.codes, (0, 0, 0, wide, 0, more)),
        lengths=pad(part.lengths, (0, more), value=1),
        text=pad(part.text, (0, letters, 0, more)),
        text_mask=mask,
        speaker=pad(part.speaker, (0, more)),
        without_text=pad(part.without_text, (0, more)),
        without_speaker=pad(part.without_speaker, (0, more)),
        prompts=pad(part.prompts, (0, more)),
        rows=rows,
    )
