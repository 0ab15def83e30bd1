"""A part padded to a fixed shape costs what it costs as it is, and few shapes hold all batches of a plan."""

import pytest
import torch

from lina.data.packing_plan import RowPlan, row_numbers
from lina.training.losses import cross_entropy
from lina.training.objective import MicroBatch, Objective
from lina.training.shape_buckets import columns_of, pad_to_shape, padded_shape, shape_of
from tests.core.toy_model import toy_lm

CODEBOOKS = 3


def part(lengths: list[list[int]], letters: int = 5) -> MicroBatch:
    generator = torch.Generator().manual_seed(0)
    flat = torch.tensor([one for row in lengths for one in row])
    count, longest = len(flat), int(flat.max())
    text_mask = torch.arange(letters) < torch.randint(1, letters + 1, (count, 1), generator=generator)
    return MicroBatch(
        codes=torch.randint(0, 4, (count, longest, CODEBOOKS), generator=generator),
        lengths=flat,
        text=torch.randint(0, 10, (count, letters), generator=generator) * text_mask,
        text_mask=text_mask,
        speaker=torch.zeros(count, dtype=torch.int64),
        without_text=torch.zeros(count, dtype=torch.bool),
        without_speaker=torch.zeros(count, dtype=torch.bool),
        prompts=torch.arange(count) % 2,
        rows=row_numbers([range(len(row)) for row in lengths]),
        groups=torch.tensor(
            [sum(map(len, lengths[:row])) for row, group in enumerate(lengths) for _ in group]
        ),
    )


@pytest.mark.parametrize("lengths", [[[7, 5], [9], [3, 2]], [[6], [4]]])
def test_padding_changes_neither_loss_nor_gradients(lengths: list[list[int]]) -> None:
    lm = toy_lm(attention="plain", sizes=(4,) * CODEBOOKS).double().train()
    objective = Objective(lm, cross_entropy, torch.device("cpu"), guided=True)
    inputs = part(lengths)
    shape = shape_of(inputs, budget=60)
    grown = pad_to_shape(inputs, shape)
    assert padded_shape(grown) == shape
    assert grown.rows.shape[0] > inputs.rows.shape[0]
    assert grown.codes.shape[1] + CODEBOOKS == shape.steps > columns_of(inputs)
    assert grown.text.shape[1] > inputs.text.shape[1]
    found = []
    for one, steps in ((inputs, columns_of(inputs)), (grown, shape.steps)):
        lm.zero_grad()
        measured = objective(one, steps, torch.float32)
        torch.autograd.backward(measured.loss + measured.guided_attention_loss)
        gradients = [p.grad.clone() for p in lm.parameters() if p.grad is not None]
        assert float(measured.loss.detach()) > 0
        assert float(measured.guided_attention_loss.detach()) > 0
        found.append([*(value.detach() for value in measured), *gradients])
    for plain, fixed in zip(*found, strict=True):
        torch.testing.assert_close(fixed, plain)


@pytest.mark.parametrize("utterances", [1, 2])
def test_few_shapes_hold_all_batches(utterances: int) -> None:
    generator = torch.Generator().manual_seed(1)
    frames = (torch.randn(3000, generator=generator).exp() * 40).clamp(10, 500).long().tolist()
    plan = RowPlan(frames, [0] * len(frames), utterances, 4000, 0)
    shapes, real, fixed = set(), 0, 0
    for batch in range(len(plan.batches(0))):
        inputs = part([[frames[i] for i in row] for row in plan.rows(batch)])
        shape = shape_of(inputs, plan.budget)
        grown = pad_to_shape(inputs, shape)
        assert grown.rows.shape == (shape.rows, utterances)
        assert columns_of(grown) == columns_of(inputs) <= shape.steps
        shapes.add(shape)
        real += inputs.rows.shape[0] * columns_of(inputs)
        fixed += shape.rows * shape.steps
    assert len(shapes) < 40
    assert fixed < 1.5 * real
