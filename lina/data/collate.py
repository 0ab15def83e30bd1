"""Padded batches of utterances, and condition dropout in training."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lina.core.model.text_encoder import pad_texts


class Batch(NamedTuple):
    codes: Int[Tensor, "B T Q"]
    lengths: Int[Tensor, "B"]
    """Frames of each row; the rest is padding."""
    text: Int[Tensor, "B J"]
    text_mask: Bool[Tensor, "B J"]
    speaker: Int[Tensor, "B"]
    """0 is nobody."""

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


class DroppedConditions(NamedTuple):
    """Dropped conditions of each row of a training batch."""

    text: Bool[Tensor, "B"]
    speaker: Bool[Tensor, "B"]
    prompts: Int[Tensor, "B"]
    """Prompt frames of each row, which do not count in the loss."""


def collate(
    codes: Sequence[Int[Tensor, "_ Q"]], texts: Sequence[Sequence[int]], speakers: Sequence[int]
) -> Batch:
    """Right-pad utterances to one batch."""
    lengths = torch.tensor([len(row) for row in codes])
    padded = torch.nn.utils.rnn.pad_sequence(list(codes), batch_first=True)
    ids, mask = pad_texts(texts)
    return Batch(padded, lengths, ids, mask, torch.tensor(speakers, dtype=torch.int64))


KEEP_ALL = (0.0, 0.0, 0.0)
"""Probabilities for ``drop_conditions`` that drop nothing."""


def drop_conditions(
    lengths: Int[Tensor, "B"], text: float, speaker: float, prompt: float, generator: torch.Generator
) -> DroppedConditions:
    """Draw the dropped conditions with these probabilities. A prompt is up to half of its row."""
    draws = torch.rand(4, len(lengths), generator=generator)
    share = torch.where(draws[2] < prompt, draws[3] / 2, 0.0)
    return DroppedConditions(draws[0] < text, draws[1] < speaker, (share * lengths).long())
