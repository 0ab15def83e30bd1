"""Audio tokens: codes with three marks before them, and the delayed columns that the model reads and predicts.

PAD 0, START 1, STOP 2, and code c is c + 3, in every codebook. A row of T frames and Q codebooks becomes T + Q + 1
columns: one of START, then the frames skewed by the delay pattern between START ramp and STOP tail.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from lina.core.model.delay_pattern import delay

PAD, START, STOP = 0, 1, 2
MARKS = 3


class Columns(NamedTuple):
    """Inputs, targets, loss mask and progress of a batch of rows."""

    inputs: Int[Tensor, "B S Q"]
    targets: Int[Tensor, "B S Q"]
    loss_mask: Bool[Tensor, "B S Q"]
    progress: Float[Tensor, "B S"]
    """Share of the row's frames before codebook 0's target; 1 from the last frame on."""


def delayed_columns(codes: Integer[Tensor, "B T Q"], lengths: Int[Tensor, "B"]) -> Int[Tensor, "B S1 Q"]:
    """Delayed columns of each row, S + 1 = T + Q + 1; after a row's ``lengths`` frames comes STOP."""
    batch, frames, codebooks = codes.shape
    time = torch.arange(frames, device=codes.device)
    tokens = torch.where(time[None, :, None] < lengths[:, None, None], codes.long() + MARKS, STOP)
    tail = tokens.new_full((batch, codebooks, codebooks), STOP)
    skew = delay(codebooks, START, codes.device)
    skewed, _ = skew.parallel_forward(torch.cat([tokens, tail], 1), skew.initial_state(batch))
    return torch.cat([tokens.new_full((batch, 1, codebooks), START), skewed], dim=1)


def teacher_forcing(
    codes: Integer[Tensor, "B T Q"], lengths: Int[Tensor, "B"], prompts: Int[Tensor, "B"] | None = None
) -> Columns:
    """Teacher forcing: inputs and targets, S = T + Q. The loss covers the codes and codebook 0's first STOP.

    ``prompts``: number of first frames per row that are a prompt, without loss.
    """
    columns = delayed_columns(codes, lengths)
    steps, codebooks = columns.shape[1] - 1, columns.shape[2]
    book = torch.arange(codebooks, device=codes.device)
    frame = torch.arange(steps, device=codes.device)[:, None] - book
    ends = lengths[:, None, None] + (book == 0)
    first = torch.zeros_like(lengths) if prompts is None else prompts
    loss_mask = (frame >= first[:, None, None]) & (frame < ends)
    progress = (torch.arange(steps, device=codes.device) / lengths[:, None]).clamp(max=1.0)
    return Columns(columns[:, :-1], columns[:, 1:], loss_mask, progress)
