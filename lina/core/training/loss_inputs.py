"""Interface of training losses: functions whose parameters name the tensors of a micro-batch that they read."""

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.errors import SpecError, did_you_mean
from lina.core.model.cross_attention import TextMemory
from lina.core.model.delay_lm import DelayLM, Heads
from lina.core.model.tokens import Columns

Loss = Callable[..., "Tensor | LossResult"]
"""A training loss. Its parameters are named as attributes of ``LossInputs``; only those are computed and passed."""


class LossResult(NamedTuple):
    """Result of a loss that counts right predictions as it goes, which saves a pass over the logits."""

    loss: Float[Tensor, ""]
    n_correct: Int[Tensor, "Q"]


class LossInputs:
    """All that a loss may read of B rows of S steps."""

    def __init__(
        self,
        model: DelayLM,
        hidden: Float[Tensor, "B S D"],
        attention: Float[Tensor, "B S J"],
        columns: Columns,
        memory: TextMemory,
        text: Int[Tensor, "B S"],
        auxiliary: dict[str, Float[Tensor, ""]],
    ) -> None:
        self.model = model
        self.hidden: Float[Tensor, "B S D"] = hidden
        """Inputs of the heads, in the precision of matrix products."""
        self.attention: Float[Tensor, "B S J"] = attention
        """Attention of the first head over each step's own text."""
        self.targets: Int[Tensor, "B S Q"] = columns.targets
        self.loss_mask: Bool[Tensor, "B S Q"] = columns.loss_mask
        self.progress: Float[Tensor, "B S"] = columns.progress
        self.memory: TextMemory = memory
        """The encoded texts, one per utterance."""
        self.text: Int[Tensor, "B S"] = text
        """Index of the text in ``memory`` that each step reads."""
        self.auxiliary: dict[str, Float[Tensor, ""]] = auxiliary
        """Auxiliary losses of the backbone by name; they are added to a loss that does not read them."""

    @property
    def heads(self) -> Heads:
        return self.model.heads

    @cached_property
    def logits(self) -> Float[Tensor, "B S Q V"]:
        """Logits of every step in float32: hundreds of times larger than ``hidden`` for large codebooks."""
        logits = self.hidden @ self.heads.weight.to(self.hidden.dtype).t()
        return self.model.by_codebook(logits.to(torch.promote_types(logits.dtype, torch.float32)))


READABLE = (
    "hidden",
    "heads",
    "logits",
    "targets",
    "loss_mask",
    "attention",
    "progress",
    "memory",
    "text",
    "model",
    "auxiliary",
)


def names_read(loss: Loss, name: str) -> tuple[str, ...]:
    """Names of the inputs that a loss reads, from its parameters.

    Raises:
        SpecError: there is no such input.
    """
    names = tuple(inspect.signature(loss).parameters)
    for one in names:
        if one not in READABLE:
            raise SpecError(
                f"train.loss: loss {name!r} has a parameter {one!r}{did_you_mean(one, READABLE)}; a loss reads some of "
                f"{', '.join(READABLE)}"
            )
    return names
