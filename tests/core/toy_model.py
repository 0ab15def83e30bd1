"""A language model small enough for a test, with weights that make its choices sharp."""

from typing import Any

import torch
from torch import Tensor

from lina.backbones.gla import GLA, GLAConfig
from lina.core.model.cross_attention import CrossAttention, PositionCrossAttention
from lina.core.model.delay_lm import Conditions, DelayLM
from lina.core.model.text_encoder import TextEncoder
from lina.core.model.tokens import STOP

SIZES = (7, 4, 11)
VOCABULARY = 20
WIDTH = 16


def toy_lm(
    *,
    attention: str = "position",
    rotary: bool = True,
    sizes: tuple[int, ...] = SIZES,
    vocabulary: int = VOCABULARY,
    seed: int = 0,
    **rest: Any,
) -> DelayLM:
    config = GLAConfig(n_heads=2, gate_rank=4)

    def backbone(width: int) -> Any:
        return GLA.build(d_model=width, n_layers=1, config=config)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cross = (
            PositionCrossAttention(WIDTH, backbone(8), 8, rotary)
            if attention == "position"
            else CrossAttention(WIDTH, 2, rotary)
        )
        lm = DelayLM(
            codebook_sizes=sizes,
            vocab_size=vocabulary,
            d_model=WIDTH,
            encoder=backbone(WIDTH),
            decoder=backbone(WIDTH),
            attention=cross,
            text_encoder=TextEncoder(WIDTH, 1, 2, 0.0),
            **rest,
        ).eval()
        for table in (lm.txt_embed, lm.rvq_embed, lm.logits_head):
            torch.nn.init.normal_(table.weight, std=1.0)
    return lm


def push_stop(lm: DelayLM, much: float) -> DelayLM:
    """Make codebook 0 say STOP more (or less) often, whatever it has heard."""
    norm = lm.head_norm
    with torch.no_grad():
        norm.weight.mul_(0.5)  # type: ignore[operator]
        norm.bias.copy_(lm.logits_head.weight[STOP] * much)  # type: ignore[operator]
    return lm


def toy_conditions(lm: DelayLM, *texts: list[int], width: int | None = None, **rest: Any) -> Conditions:
    """Conditions of ragged texts, padded to ``width`` with an id that is itself a letter."""
    longest = width or max(len(text) for text in texts)
    ids = torch.tensor([text + [13] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[True] * len(text) + [False] * (longest - len(text)) for text in texts])
    return lm.conditions(ids, mask, **rest)


def random_codes(rows: int, frames: int, sizes: tuple[int, ...] = SIZES, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(0, size, (rows, frames), generator=generator) for size in sizes], -1)
