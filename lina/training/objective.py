"""Forward pass and loss of one micro-batch, as a pure function of tensors, so that a CUDA graph can capture it."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.config.spec import Spec
from lina.config.training_choices import training_choices
from lina.core.errors import PluginError
from lina.core.model.auxiliary import collect_auxiliary_losses
from lina.core.model.delay_lm import DelayLM
from lina.core.model.tokens import teacher_forcing
from lina.core.ops.dispatch import log_once
from lina.core.training.loss_inputs import Loss, LossInputs, LossResult, names_read
from lina.runs.device import mixed_precision
from lina.training.losses import accuracy, fused_cross_entropy, guided_attention
from lina.training.packing import RowStarts, pack_columns, share_speakers
from lina.training.results import check_loss


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
    groups: Int[Tensor, "U"]
    """Number of the first utterance of each one's group, within which the state is carried over."""

    def pin_memory(self) -> "MicroBatch":
        return MicroBatch._make(tensor.pin_memory() for tensor in self)

    def to(self, device: torch.device) -> "MicroBatch":
        return MicroBatch._make(tensor.to(device, non_blocking=True) for tensor in self)


class StepMeasures(NamedTuple):
    loss: Float[Tensor, ""]
    guided_attention_loss: Float[Tensor, ""]
    """Distance of the attention from the diagonal (``losses.guided_attention``); 0 if it is no part of the loss."""
    auxiliary_loss: Float[Tensor, ""]
    """Sum of the backbone's auxiliary losses; 0 if it has none, or the loss reads them itself."""
    n_correct: Int[Tensor, "Q"]
    n_targets: Int[Tensor, "Q"]


class Objective:
    """The loss of a model on a micro-batch, without a synchronization with the device."""

    def __init__(
        self,
        model: DelayLM,
        loss: Loss,
        device: torch.device,
        *,
        guided: bool,
        name: str = "loss",
        plugin: str = "",
    ) -> None:
        """``name`` of the loss, and ``plugin``, its name with its distribution, are for messages.

        Raises:
            SpecError: the loss reads something that there is not.
        """
        self.model, self.loss, self.device, self.guided = model, loss, device, guided
        self.plugin = plugin or name
        self.checked = False
        self.reads = names_read(loss, name)
        if "logits" in self.reads:
            size = f"{len(model.codebook_sizes)} x {model.vocab:,}"
            log_once(f"train.loss: {name} reads logits, so all {size} of every frame are kept in memory")

    def __call__(
        self,
        batch: MicroBatch,
        steps: int,
        precision: torch.dtype,
        starts: RowStarts | None = None,
    ) -> StepMeasures:
        """``steps``: columns of the longest row, or more. ``starts``: of packed rows, if they are known already."""
        model = self.model
        columns = teacher_forcing(batch.codes, batch.lengths, batch.prompts)
        columns, texts = pack_columns(columns, batch.lengths, batch.rows, steps)
        if starts is not None:
            texts = texts._replace(swaps=starts.utterances)
        speaker = batch.speaker.masked_fill(batch.without_speaker, 0)
        without = batch.without_text if model.no_text is not None else None
        with mixed_precision(self.device, precision), collect_auxiliary_losses() as collected:
            conditions = model.conditions(batch.text, batch.text_mask, speaker, without)
            if several := batch.rows.shape[1] > 1:
                conditions = share_speakers(conditions, batch.groups)
            hidden, _, attention = model.hidden_states(
                columns.inputs,
                model.initial_state(len(columns.inputs)),
                conditions,
                None if starts is None else starts.groups,
                texts if several else None,
            )
        attention_loss = attention.new_zeros(())
        if self.guided and model.training:
            attention_loss = guided_attention(attention, columns.progress, conditions.text, texts.text)
        if precision != torch.float32:
            hidden = hidden.to(precision)
        inputs = LossInputs(model, hidden, attention, columns, conditions.text, texts.text, collected)
        loss, n_correct = self._evaluate(inputs)
        further = collected.values() if model.training and "auxiliary" not in self.reads else ()
        auxiliary = sum((one.float() for one in further), attention.new_zeros((), dtype=torch.float32))
        return StepMeasures(loss, attention_loss, auxiliary, n_correct, columns.loss_mask.sum((0, 1)))

    def _evaluate(self, inputs: LossInputs) -> LossResult:
        loss = self.loss(**{name: getattr(inputs, name) for name in self.reads})
        if not self.checked:
            check_loss(loss, self.plugin, len(self.model.codebook_sizes))
            self.checked = True
        if isinstance(loss, LossResult):
            return loss
        if "logits" in self.reads:
            return LossResult(loss, accuracy(inputs.logits, inputs.targets, inputs.loss_mask))
        with torch.no_grad():
            result = fused_cross_entropy(inputs.hidden, inputs.heads, inputs.targets, inputs.loss_mask)
        return LossResult(loss, result.n_correct)


def build_objective(spec: Spec, model: DelayLM, device: torch.device) -> Objective:
    """The objective of a spec, with the loss that it names.

    Raises:
        SpecError, PluginError: the loss or its options cannot be used.
    """
    chosen = training_choices(spec).loss
    loss = chosen.plugin.build(config=chosen.config)
    guided = spec.train.guided_attention > 0
    if not callable(loss):
        raise PluginError(f"{chosen.record}: build returned {loss!r}; it must return a function of tensors")
    return Objective(model, loss, device, guided=guided, name=chosen.record.name, plugin=str(chosen.record))
