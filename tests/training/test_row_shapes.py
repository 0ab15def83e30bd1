"""Shapes chosen from a plan: few, tight, and a function of the plan alone."""

import math

import pytest
import torch

from lina.data.packing_plan import RowPlan
from lina.data.training_data import TrainingData
from lina.training.fixed_rows import fix_row
from lina.training.row_shapes import SHAPES, Need, RowShapes, need_of
from tests.training.test_fixed_rows import end_to_end


def corpus(count: int) -> TrainingData:
    """Utterances spread as sentences are, and two letters for three frames."""
    generator = torch.Generator().manual_seed(0)
    spread = (torch.randn(count, generator=generator) * math.log(1.7)).exp()
    lengths = (spread * 75).clamp(15, 500).long().tolist()
    codes = torch.zeros(500, 3, dtype=torch.int64)
    texts = [[1] * (2 * frames // 3 + 1) for frames in lengths]
    numbers = range(count)
    return TrainingData(
        lambda number: codes[: lengths[number]],
        lengths,
        texts,
        [0] * count,
        list(map(str, numbers)),
        numbers,
        [],
        25.0,
        "",
    )


@pytest.mark.parametrize("consecutive", [1, 2])
def test_few_shapes_hold_the_micro_batches_of_many_epochs(consecutive: int) -> None:
    data = corpus(3000)
    plan = RowPlan(data.lengths, [0] * 3000, consecutive, 5000, 0)
    epoch = len(plan.batches(0))
    needs = [need_of(data, plan.rows(number)) for number in range(10 * epoch)]
    shapes = RowShapes(needs[: 4 * epoch], consecutive, plan.budget)
    assert shapes.shapes == RowShapes(needs[: 4 * epoch], consecutive, plan.budget).shapes
    assert len(shapes.shapes) <= SHAPES
    chosen = [shapes.of(need) for need in needs]
    assert len(set(chosen)) < SHAPES + 16
    real = sum(need.steps for need in needs)
    assert sum(shape.steps for shape in chosen) < 1.08 * real
    for number in (0, 1, epoch, 5 * epoch + 3):
        groups = [[data.lengths[i] for i in group] for group in plan.rows(number)]
        assert fix_row(end_to_end(groups), chosen[number]).shape == chosen[number]


def test_equal_micro_batches_have_one_shape_and_others_one_of_their_own() -> None:
    need = Need(groups=16, frames=2000, steps=32_048, text=60)
    shapes = RowShapes([need] * 5, 1, 32_000)
    [shape] = set(shapes.shapes)
    assert (shape.groups, shape.utterances, shape.text) == (16, 16, 64)
    assert 32_065 <= shape.steps < 32_065 + 64
    assert shapes.of(need) == shapes.of(Need(15, 1900, 30_000, 50)) == shape
    longer = shapes.of(need._replace(text=90))
    assert longer.text >= 90
    assert longer.steps >= 32_065


def test_a_plan_of_one_micro_batch_has_a_shape() -> None:
    assert len(RowShapes([Need(1, 10, 40, 3)], 1, 100).shapes) == 1
