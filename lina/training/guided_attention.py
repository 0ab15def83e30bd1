"""Guided attention: a training loss that asks the attention to move through the text as speech does, evenly.

Tachibana, Uenoyama & Aihara 2018, "Efficiently Trainable Text-to-Speech System Based on Deep Convolutional Networks
with Guided Attention", arXiv 1710.08969, section 4.1.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from lina.core.model.cross_attention import TextMemory

WIDTH = 0.2
"""g of the paper: how far, as a share of the text, attention may stray from the diagonal at little cost."""


def guided_attention(
    attention: Float[Tensor, "B S J"], progress: Float[Tensor, "B S"], memory: TextMemory, texts: int
) -> Float[Tensor, ""]:
    """Mean over the frames of sum_j attention_j (1 - exp(-(j / J - t / T)^2 / (2 g^2))); 0 to 1.

    ``progress`` is t / T; steps at 1 or beyond are no frames. A row reads up to ``texts`` texts in turn. Where a text
    has a single position, as one that is dropped has, there is nowhere to stray: its frames do not count.
    """
    of_text = memory.text[..., None] == torch.arange(texts, device=memory.text.device)
    lengths = (of_text & memory.mask[..., None]).sum(1)
    before = lengths.cumsum(1) - lengths
    own = lengths.gather(1, memory.text)
    place = (memory.mask.cumsum(1) - 1 - before.gather(1, memory.text)) / own
    distance = place[:, None] - progress[..., None]
    penalty = 1 - torch.exp(-(distance**2) / (2 * WIDTH**2))
    paths = (memory.mask & (own > 1))[:, None]
    frames = (progress < 1) & (attention.detach() * paths > 0).any(-1)
    strayed = (attention.float() * penalty.masked_fill(~paths, 0.0)).sum(-1)
    return (strayed * frames).sum() / frames.sum().clamp(min=1)
