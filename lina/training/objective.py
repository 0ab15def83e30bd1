"""Forward pass and loss of one micro-batch, as a pure function of tensors, so that a CUDA graph can capture it."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.model.delay_lm import DelayLM
from lina.core.model.tokens import teacher_forcing
from lina.runs.device import mixed_precision
from lina.training.losses import accuracy, guided_attention
from lina.training.packing import pack_columns, pack_conditions

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


class MicroBatch(NamedTuple):
    """U utterances packed in B rows of up to N, and the conditions that are dropped for each."""

    codes: Int[Tensor, "U T Q"]
    lengths: Int[Tensor, "U"]
    text: Int[Tensor, "U J"]
    text_mask: Bool[Tensor, "U J"]
    speaker: Int[Tensor, "U"]
    without_text: Bool[Tensor, "U"]
    without_speaker: Bool[Tensor, "U"]
    prompts: Int[Tensor, "U"]
    """Frames that serve as a prompt, outside of the loss mask."""
    rows: Int[Tensor, "B N"]
    """Numbers of the utterances packed in each row, end to end; -1 after the last."""

    def to(self, device: torch.device) -> "MicroBatch":
        return MicroBatch._make(tensor.to(device, non_blocking=True) for tensor in self)


class StepMeasures(NamedTuple):
    loss: Float[Tensor, ""]
    guided_attention_loss: Float[Tensor, ""]
    """Distance of the attention from the diagonal (``losses.guided_attention``); 0 if it is no part of the loss."""
    n_correct: Int[Tensor, "Q"]
    n_targets: Int[Tensor, "Q"]


class Objective:
    """The loss of a model on a micro-batch, without a synchronization with the device."""

    def __init__(self, model: DelayLM, loss: Loss, device: torch.device, *, guided: bool) -> None:
        self.model, self.loss, self.device, self.guided = model, loss, device, guided

    def __call__(self, batch: MicroBatch, steps: int, precision: torch.dtype) -> StepMeasures:
        """``steps``: columns of the longest row, or more. In a row of several utterances the texts change."""
        model, several = self.model, batch.rows.shape[1] > 1
        columns = teacher_forcing(batch.codes, batch.lengths, batch.prompts)
        columns, starts = pack_columns(columns, batch.lengths, batch.rows, steps)
        inputs, targets, loss_mask, progress = columns
        speaker = batch.speaker.masked_fill(batch.without_speaker, 0)
        without = batch.without_text if model.no_text is not None else None
        with mixed_precision(self.device, precision):
            conditions = model.conditions(batch.text, batch.text_mask, speaker, without)
            conditions = pack_conditions(conditions, batch.rows)
            logits, _, attention = model.parallel_forward(
                inputs, model.initial_state(len(inputs)), conditions, starts if several else None
            )
        attention_loss = attention.new_zeros(())
        if self.guided and model.training:
            attention_loss = guided_attention(attention, progress, conditions.text, batch.rows.shape[1])
        return StepMeasures(
            self.loss(logits, targets, loss_mask), attention_loss, *accuracy(logits, targets, loss_mask)
        )
