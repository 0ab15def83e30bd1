"""Rows end to end in the fixed shapes of CUDA graphs.

The groups of a micro-batch lie in one row, and behind them padding up to the length of its shape (``row_shapes``). A
graph also needs a fixed number of restarts: behind the last utterance each frame of padding begins a group of its own,
until there are as many groups as the shape has; the last one takes the rest.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor
from torch.nn.functional import pad

from lina.core.ops.segments import keep_segments, segments_of
from lina.core.process.chunk_tables import fix_chunks
from lina.training.objective import MicroBatch
from lina.training.packing import RowStarts
from lina.training.shape_buckets import pad_utterances

MULTIPLE = 64
"""Rows are multiples of so many steps, the chunks of kernels."""


class RowShape(NamedTuple):
    groups: int
    utterances: int
    frames: int
    """Of the longest utterance."""
    steps: int
    text: int


class RowTables(NamedTuple):
    """First steps of groups and of utterances, those of the padding too; G + 1 and U + 1 of them in all."""

    groups: Bool[Tensor, "1 S"]
    group_offsets: Int[Tensor, "G2"]
    """First step of each group, and the number of all steps."""
    utterances: Bool[Tensor, "1 S"]
    utterance_offsets: Int[Tensor, "U2"]

    @property
    def starts(self) -> RowStarts:
        return RowStarts(self.groups, self.utterances)


class FixedRow(NamedTuple):
    """A micro-batch whose utterances lie in one row, and where the states restart there."""

    batch: MicroBatch
    tables: RowTables

    def pin_memory(self) -> "FixedRow":
        return FixedRow(
            self.batch.pin_memory(), RowTables._make(tensor.pin_memory() for tensor in self.tables)
        )

    @property
    def shape(self) -> RowShape:
        batch, tables = self.batch, self.tables
        groups, utterances = (len(one) - 2 for one in (tables.group_offsets, tables.utterance_offsets))
        frames, text = batch.codes.shape[1], batch.text.shape[1]
        return RowShape(groups, utterances, frames, tables.groups.shape[1], text)


def fix_row(batch: MicroBatch, shape: RowShape) -> FixedRow:
    """The micro-batch in the given shape."""
    count, codebooks = len(batch.lengths), batch.codes.shape[2]
    ends = (batch.lengths + codebooks).cumsum(0)
    begins = torch.cat([ends.new_zeros(1), ends[:-1]])
    first = batch.groups == torch.arange(count)
    end = int(ends[-1])
    rows: Int[Tensor, "1 N"] = pad(torch.arange(count)[None], (0, shape.utterances - count), value=-1)
    return FixedRow(
        pad_utterances(batch, rows, shape.utterances, shape.frames, shape.text),
        RowTables(
            *_table(begins[first], end, shape.groups + 1, shape.steps),
            *_table(begins, end, shape.utterances + 1, shape.steps),
        ),
    )


def place_row(
    tensors: Sequence[Shaped[Tensor, "..."]], device: torch.device
) -> tuple[Shaped[Tensor, "..."], ...]:
    """Copies of a row's tensors, those of ``batch`` and ``tables``, for all batches of its shape.

    Kernels find the segments of the copies, whose tables of chunks serve any batch of the shape.
    """
    placed = [tensor.to(device, copy=True) for tensor in tensors]
    first = len(placed) - len(RowTables._fields)
    for starts, offsets in ((first, first + 1), (first + 2, first + 3)):
        keep_segments(placed[starts], tensors[starts].cpu())
        placed[offsets] = segments_of(placed[starts]).offsets
        fix_chunks(placed[offsets], placed[starts].shape[1])
    return tuple(placed)


def _table(
    begins: Int[Tensor, "N"], end: int, count: int, steps: int
) -> tuple[Bool[Tensor, "1 S"], Int[Tensor, "count1"]]:
    """``count`` restarts in ``steps``: at ``begins``, and from ``end`` on."""
    offsets = torch.cat([begins, torch.arange(end, end + count - len(begins))])
    starts = torch.zeros(1, steps, dtype=torch.bool)
    starts[0, offsets] = True
    return starts, pad(offsets, (0, 1), value=steps)
