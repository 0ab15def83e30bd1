"""A row of fixed shape costs what its utterances cost, and restarts where they do."""

import pytest
import torch

from lina.core.ops.segments import segments_of
from lina.training.fixed_rows import RowShape, RowTables, fix_row, place_row
from lina.training.losses import cross_entropy
from lina.training.objective import MicroBatch, Objective
from lina.training.packing import row_starts
from tests.core.toy_model import toy_lm
from tests.training.test_shape_buckets import CODEBOOKS, part

CPU = torch.device("cpu")


def end_to_end(lengths: list[list[int]]) -> MicroBatch:
    batch = part(lengths)
    return batch._replace(rows=torch.arange(len(batch.lengths))[None])


@pytest.mark.parametrize("attention", ["plain", "position"])
def test_a_fixed_row_changes_neither_loss_nor_gradients(attention: str) -> None:
    lm = toy_lm(attention=attention, sizes=(4,) * CODEBOOKS, speakers=1, drops_text=True).double().train()
    objective = Objective(lm, cross_entropy, CPU, guided=True)
    batch = end_to_end([[7, 5], [9], [3, 2], [1]])
    shape = RowShape(groups=5, utterances=10, frames=12, steps=64, text=9)
    row = fix_row(batch, shape)
    assert row.shape == shape
    *tensors, groups, group_offsets, utterances, offsets = place_row([*row.batch, *row.tables], CPU)
    assert segments_of(groups).offsets is group_offsets
    assert segments_of(utterances).offsets is offsets
    fixed = RowTables(groups, group_offsets, utterances, offsets).starts
    known = row_starts(batch.lengths, batch.rows, batch.groups, CODEBOOKS, CPU)
    assert known is not None
    found = []
    for one, starts in ((batch, known), (MicroBatch._make(tensors), fixed)):
        lm.zero_grad()
        measured = objective(one, starts.utterances.shape[1], torch.float32, starts)
        torch.autograd.backward(measured.loss + measured.guided_attention_loss)
        gradients = [p.grad.clone() for p in lm.parameters() if p.grad is not None]
        found.append([*(value.detach() for value in measured), *gradients])
    for as_it_is, padded in zip(*found, strict=True):
        torch.testing.assert_close(padded, as_it_is)


def test_restarts_are_those_of_the_row_and_then_one_per_frame() -> None:
    batch = end_to_end([[7, 5], [9], [3, 2, 14], [1]])
    shape = RowShape(groups=4, utterances=12, frames=32, steps=128, text=16)
    row = fix_row(batch, shape)
    known = row_starts(batch.lengths, batch.rows, batch.groups, CODEBOOKS, CPU)
    assert known is not None
    assert known.groups is not None
    end = known.utterances.shape[1]
    for starts, offsets, expected, count in (
        (row.tables.groups, row.tables.group_offsets, known.groups, shape.groups + 1),
        (row.tables.utterances, row.tables.utterance_offsets, known.utterances, shape.utterances + 1),
    ):
        assert torch.equal(starts[:, :end], expected)
        missing = count - int(expected.sum())
        assert starts[0, end:].nonzero().flatten().tolist() == list(range(missing))
        assert offsets.tolist() == [*starts[0].nonzero().flatten().tolist(), shape.steps]
