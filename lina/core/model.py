"""From a resolved spec to the language model: the one place where plugins' facts meet the model's sizes."""

from typing import Any

import torch

from lina.core.cross_attention import BlindCrossAttention, CrossAttention
from lina.core.lm import DelayLM
from lina.core.protocols import Backbone
from lina.core.resolve import Resolved
from lina.core.seams import check_seams
from lina.core.text_encoder import TextEncoder


def build_lm(
    resolved: Resolved, *, codebook_sizes: tuple[int, ...], vocab_size: int, speakers: int, seed: int
) -> DelayLM:
    """The model of a spec, initialised from ``seed`` alone; the global random state is left as it was."""
    spec = resolved.spec
    width, text = spec.backbone.d_model, spec.text
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed GPUs too
        if text.attention == "blind":
            position_net = _backbone(resolved, d_model=text.position_dim, n_layers=1)
            attention: CrossAttention = BlindCrossAttention(
                width, position_net, text.position_dim, text.rotary
            )
        else:
            attention = CrossAttention(width, text.heads_cross, text.rotary)
        check_seams(attention, resolved.backbone.record.name, spec.train.consecutive)
        return DelayLM(
            codebook_sizes=codebook_sizes,
            vocab_size=vocab_size,
            d_model=width,
            encoder=_backbone(resolved, d_model=width, n_layers=spec.backbone.n_layers),
            decoder=_backbone(resolved, d_model=width, n_layers=spec.backbone.n_layers),
            attention=attention,
            text_encoder=TextEncoder(width, text.layers, text.heads, text.dropout),
            speakers=speakers if spec.conditions.speaker else 0,
            drops_text=spec.conditions.drop_text > 0,
            dropout=spec.train.dropout,
        )


def count_parameters(module: Any) -> int:
    """Trained numbers of a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _backbone(resolved: Resolved, *, d_model: int, n_layers: int) -> Backbone:
    chosen = resolved.backbone
    return chosen.plugin.build(d_model=d_model, n_layers=n_layers, config=chosen.config)
