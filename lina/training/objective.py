"""What a batch costs: from its codes and texts to the loss and the measures of a step, as one function of tensors."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.model.delay_lm import DelayLM
from lina.core.model.tokens import teacher_forcing
from lina.runs.device import mixed_precision
from lina.training.guided_attention import guided_attention
from lina.training.loss import accuracy
from lina.training.packing import join_columns, join_conditions

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


class MicroBatch(NamedTuple):
    """U utterances that lie in B rows of up to N, and what of their conditions is left out."""

    codes: Int[Tensor, "U T Q"]
    lengths: Int[Tensor, "U"]
    text: Int[Tensor, "U J"]
    text_mask: Bool[Tensor, "U J"]
    speaker: Int[Tensor, "U"]
    without_text: Bool[Tensor, "U"]
    without_speaker: Bool[Tensor, "U"]
    prompts: Int[Tensor, "U"]
    """Frames given as a prompt, which do not count in the loss."""
    rows: Int[Tensor, "B N"]
    """Which utterances lie end to end in each row; -1 after the last one of a row with fewer."""

    def to(self, device: torch.device) -> "MicroBatch":
        return MicroBatch._make(tensor.to(device, non_blocking=True) for tensor in self)


class Measured(NamedTuple):
    loss: Float[Tensor, ""]
    strayed: Float[Tensor, ""]
    """How far the attention is from the diagonal; 0 where that is not asked."""
    right: Int[Tensor, "Q"]
    counted: Int[Tensor, "Q"]


class Objective:
    """The loss of a model on a part. It never waits for the device."""

    def __init__(self, model: DelayLM, loss: Loss, device: torch.device, *, guides: bool) -> None:
        self.model, self.loss, self.device, self.guides = model, loss, device, guides

    def __call__(self, part: MicroBatch, steps: int, precision: torch.dtype) -> Measured:
        """``steps``: columns of the longest row, or more. With a row of more than one utterance, texts follow texts."""
        model, several = self.model, part.rows.shape[1] > 1
        columns = teacher_forcing(part.codes, part.lengths, part.prompts)
        columns, starts = join_columns(columns, part.lengths, part.rows, steps)
        inputs, targets, counted, progress = columns
        speaker = part.speaker.masked_fill(part.without_speaker, 0)
        without = part.without_text if model.no_text is not None else None
        with mixed_precision(self.device, precision):
            given = model.conditions(part.text, part.text_mask, speaker, without)
            given = join_conditions(given, part.rows)
            logits, _, attention = model.parallel_forward(
                inputs, model.initial_state(len(inputs)), given, starts if several else None
            )
        strayed = attention.new_zeros(())
        if self.guides and model.training:
            strayed = guided_attention(attention, progress, given.text, part.rows.shape[1])
        return Measured(self.loss(logits, targets, counted), strayed, *accuracy(logits, targets, counted))
