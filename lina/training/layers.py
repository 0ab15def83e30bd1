"""Backbones of a model, and the layers of which training treats each alike."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from lina.core.model.cross_attention import PositionCrossAttention
from lina.core.model.delay_lm import DelayLM


def backbones_of(model: DelayLM) -> list[tuple[Any, int]]:
    """The backbones of both halves and the position network, if there is one, each with the width of its input."""
    width = model.rvq_embed.embedding_dim
    found: list[tuple[Any, int]] = [(model.encoder, width), (model.decoder, width)]
    if isinstance(model.cross_att, PositionCrossAttention):
        found.append((model.cross_att.pos_net, model.cross_att.d_position))
    return found


def layers_of(backbone: Any) -> Iterator[Any]:
    """The modules of the ``ModuleList`` named ``layers``; none where there is none."""
    layers = getattr(backbone, "layers", ())
    yield from layers if isinstance(layers, nn.ModuleList) else ()
