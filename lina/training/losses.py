"""Training losses over delayed columns: cross-entropy of codebook tokens, accuracy, guided attention.

Guided attention asks the attention to move through the text evenly, as speech does: Tachibana, Uenoyama & Aihara 2018,
"Efficiently Trainable Text-to-Speech System Based on Deep Convolutional Networks with Guided Attention", arXiv
1710.08969, section 4.1.
"""

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from lina.core.model.cross_attention import TextMemory
from lina.core.model.delay_lm import Heads
from lina.core.ops.codebook_cross_entropy import codebook_cross_entropy
from lina.core.plugin import PluginConfig
from lina.core.training.loss_inputs import Loss, LossResult
from lina.core.training.plugin import LossPlugin

IGNORE_INDEX = -100
WIDTH = 0.2
"""g of the paper: the distance from the diagonal, as a share of the text, that costs little."""


def cross_entropy(
    logits: Float[Tensor, "B S Q V"], targets: Int[Tensor, "B S Q"], loss_mask: Bool[Tensor, "B S Q"]
) -> Float[Tensor, ""]:
    """Mean negative log-likelihood, in nats, of the targets under ``loss_mask`` over all codebooks."""
    # Masked by target rather than by selection, whose size a GPU would have to synchronize for.
    masked = targets.masked_fill(~loss_mask, IGNORE_INDEX)
    return F.cross_entropy(logits.flatten(0, -2), masked.flatten(), ignore_index=IGNORE_INDEX)


def fused_cross_entropy(
    hidden: Float[Tensor, "B S D"],
    heads: Heads,
    targets: Int[Tensor, "B S Q"],
    loss_mask: Bool[Tensor, "B S Q"],
) -> LossResult:
    """``cross_entropy`` and ``accuracy``, up to rounding, without the logits of the whole batch in memory."""
    flat = hidden.flatten(0, 1), *heads, targets.flatten(0, 1), loss_mask.flatten(0, 1)
    return LossResult(*codebook_cross_entropy(*flat))


def z_loss(logits: Float[Tensor, "B S Q V"], loss_mask: Bool[Tensor, "B S Q"]) -> Float[Tensor, ""]:
    """Mean of log(sum(exp(logits)))^2 (Chowdhery et al. 2022, arXiv 2204.02311, section 5)."""
    squares = logits.logsumexp(-1).square()
    return (squares * loss_mask).sum() / loss_mask.sum().clamp(min=1)


def accuracy(
    logits: Float[Tensor, "B S Q V"], targets: Int[Tensor, "B S Q"], loss_mask: Bool[Tensor, "B S Q"]
) -> Int[Tensor, "Q"]:
    """Targets per codebook that are the likeliest token."""
    correct = (logits.detach().argmax(-1) == targets) & loss_mask
    return correct.sum((0, 1))


def guided_attention(
    attention: Float[Tensor, "B S J"],
    progress: Float[Tensor, "B S"],
    memory: TextMemory,
    text: Int[Tensor, "B S"],
) -> Float[Tensor, ""]:
    """Mean over the frames of sum_j attention_j (1 - exp(-(j / J - t / T)^2 / (2 g^2))), in 0 to 1.

    ``progress`` is t / T; steps at 1 or beyond are no frames. ``text``: index of the text that a step reads. Frames
    of a text with a single position, such as a dropped one, do not count: its attention has nowhere else to go.
    """
    length = memory.mask.sum(1, keepdim=True)
    place = (memory.mask.cumsum(1) - 1) / length
    paths = (memory.mask & (length > 1))[text]
    distance = place[text] - progress[..., None]
    penalty = 1 - torch.exp(-(distance**2) / (2 * WIDTH**2))
    frames = (progress < 1) & (attention.detach() * paths > 0).any(-1)
    cost = (attention.float() * penalty.masked_fill(~paths, 0.0)).sum(-1)
    return (cost * frames).sum() / frames.sum().clamp(min=1)


class CrossEntropyConfig(PluginConfig):
    z_loss: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.0
    """Weight of the mean square of the logits' log-normalizers, which keeps them small; above 0, logits are kept."""


class CrossEntropy(LossPlugin):
    Config = CrossEntropyConfig

    @classmethod
    def build(cls, *, config: CrossEntropyConfig) -> Loss:
        if not config.z_loss:
            return fused_cross_entropy

        def loss(
            logits: Float[Tensor, "B S Q V"], targets: Int[Tensor, "B S Q"], loss_mask: Bool[Tensor, "B S Q"]
        ) -> Float[Tensor, ""]:
            return cross_entropy(logits, targets, loss_mask) + config.z_loss * z_loss(logits, loss_mask)

        return loss

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": cls.Config()}
