import math

import pytest
import torch
from torch import Tensor

from lina.core.model.cross_attention import TextMemory
from lina.core.model.tokens import teacher_forcing
from lina.training.losses import WIDTH, guided_attention
from lina.training.packing import pack_columns


def first(progress: Tensor) -> Tensor:
    """Every step reads the first text."""
    return torch.zeros_like(progress, dtype=torch.int64)


def memory(lengths: list[int], width: int) -> TextMemory:
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    nothing = torch.zeros(len(lengths), width, 0)
    return TextMemory(nothing, nothing, mask, nothing, torch.zeros_like(mask, dtype=torch.int64))


def pointing(at: Tensor, width: int) -> Tensor:
    return torch.nn.functional.one_hot(at, width).float()


def test_the_papers_formula() -> None:
    """One row of 4 frames over 5 of 7 positions, the attention anything."""
    attention = torch.rand(1, 6, 7, generator=torch.Generator().manual_seed(0))
    progress = torch.arange(6)[None] / 4
    total = sum(
        float(attention[0, t, j]) * (1 - math.exp(-((j / 5 - t / 4) ** 2) / (2 * WIDTH**2)))
        for t in range(4)
        for j in range(5)
    )
    assert float(guided_attention(attention, progress, memory([5], 7), first(progress))) == pytest.approx(
        total / 4, rel=1e-5
    )


def test_the_diagonal_costs_least() -> None:
    frames, places = 40, 20
    progress = torch.arange(frames)[None] / frames
    diagonal = torch.arange(frames)[None] * places // frames
    costs = [
        float(guided_attention(pointing(at, places), progress, memory([places], places), first(progress)))
        for at in (diagonal, torch.zeros_like(diagonal), diagonal.flip(1))
    ]
    assert costs[0] < 1e-2 < 0.3 < costs[1]
    assert costs[0] < costs[2]


def test_utterances_end_to_end_cost_what_they_cost_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    lengths, texts, width = torch.tensor([5, 9]), memory([3, 6], 6), 6
    columns = teacher_forcing(torch.zeros(2, 9, 2, dtype=torch.int64), lengths)
    attention = torch.rand(2, 11, width, generator=generator) * texts.mask[:, None]
    rows = torch.tensor([[0, 1]])
    joined, swaps = pack_columns(columns, lengths, rows)
    beside = torch.cat([attention[:1, :7], attention[1:]], 1)
    together = guided_attention(beside, joined.progress, texts, swaps.text)
    alone = [
        guided_attention(attention[i : i + 1], own, memory([length], width), first(own))
        for i, (length, own) in enumerate(zip((3, 6), columns.progress.split(1), strict=True))
    ]
    torch.testing.assert_close(together, (5 * alone[0] + 9 * alone[1]) / 14)


def test_a_text_of_one_position_has_no_path_and_does_not_count() -> None:
    """As a text that is dropped in training: the others cost what they cost without it."""
    lengths, width = torch.tensor([5, 9]), 6
    texts = memory([1, 6], width)
    columns = teacher_forcing(torch.zeros(2, 9, 2, dtype=torch.int64), lengths)
    attention = torch.rand(2, 11, width, generator=torch.Generator().manual_seed(2)) * texts.mask[:, None]
    both = guided_attention(attention, columns.progress, texts, torch.arange(2)[:, None].expand(-1, 11))
    kept = guided_attention(
        attention[1:], columns.progress[1:], memory([6], width), first(columns.progress[1:])
    )
    torch.testing.assert_close(both, kept)
    assert kept > 0
    nothing = guided_attention(
        attention[:1], columns.progress[:1], memory([1], width), first(columns.progress[:1])
    )
    assert float(nothing) == 0
