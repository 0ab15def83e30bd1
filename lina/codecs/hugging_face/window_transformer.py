"""Mimi's transformer as a stream: causal attention over a sliding window, whose keys and values are the state.

A window of W frames has the present one and W - 1 before it, which are all that the state keeps. Long inputs are
computed in blocks of W - 1 queries, each reading its own and the previous block's keys, at a cost linear in time.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional


class PastFrames(NamedTuple):
    """Keys (rotated) and values of one layer, the P = W - 1 frames before the next one, oldest first."""

    keys: Float[Tensor, "B H P D"]
    values: Float[Tensor, "B H P D"]


class WindowTransformer(nn.Module):
    """The layers of a ``MimiTransformerModel``, whose weights it shares."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        sizes = transformer.config
        self.layers: nn.ModuleList = transformer.layers
        # In transformers 5.6 each attention has its own, all the same.
        own = getattr(transformer, "rotary_emb", None)
        self.rotary: Any = transformer.layers[0].self_attn.rotary_emb if own is None else own
        self.heads: int = sizes.num_attention_heads
        self.shared_heads: int = sizes.num_key_value_heads
        self.head_size: int = sizes.head_dim
        self.past: int = sizes.sliding_window - 1

    def initial_state(self, batch: int) -> tuple[PastFrames, ...]:
        shape = (batch, self.shared_heads, self.past, self.head_size)
        weights = [layer.get_parameter("self_attn.k_proj.weight") for layer in self.layers]
        return tuple(PastFrames(weight.new_zeros(shape), weight.new_zeros(shape)) for weight in weights)

    def forward(
        self, x: Float[Tensor, "B T W"], position: Int[Tensor, "B"], state: tuple[PastFrames, ...]
    ) -> tuple[Float[Tensor, "B T W"], tuple[PastFrames, ...]]:
        """Process T frames, from ``position`` on."""
        turn = self._rotation(x, position)
        allowed = self._allowed(x.shape[1], position)
        after = []
        layer: Any
        for layer, past in zip(self.layers, state, strict=True):
            mixed, new = self._attend(layer.self_attn, layer.input_layernorm(x), turn, allowed, past)
            x = x + layer.self_attn_layer_scale(mixed)
            x = x + layer.mlp_layer_scale(layer.mlp(layer.post_attention_layernorm(x)))
            after.append(new)
        return x, tuple(after)

    def _rotation(self, x: Float[Tensor, "B T W"], position: Int[Tensor, "B"]) -> tuple[Tensor, Tensor]:
        """Cosines and sines, [B, 1, T, D / 2].

        In float64, as positions have no end: after a day, float32 rounds an angle by up to 0.1.
        """
        positions = position[:, None] + torch.arange(x.shape[1], device=x.device)
        angles = positions[:, None, :, None].double() * self.rotary.inv_freq.double()
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)

    def _attend(
        self,
        attention: Any,
        x: Float[Tensor, "B T W"],
        turn: tuple[Tensor, Tensor],
        allowed: Bool[Tensor, "rows 1 S span"],
        past: PastFrames,
    ) -> tuple[Float[Tensor, "B T W"], PastFrames]:
        time, size = x.shape[1], allowed.shape[2]
        query, key, value = (
            project(x).unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        keys = torch.cat([past.keys, _rotate(key, turn)], dim=2)
        values = torch.cat([past.values, value], dim=2)
        span = self.past + size
        mixed = functional.scaled_dot_product_attention(
            _blocks(_rotate(query, turn), size, size),
            self._for_each_head(_blocks(keys, span, size)),
            self._for_each_head(_blocks(values, span, size)),
            attn_mask=allowed,
        )
        joined = mixed.unflatten(0, (x.shape[0], -1)).transpose(2, 3).flatten(3).flatten(1, 2)[:, :time]
        return attention.o_proj(joined), PastFrames(keys[:, :, time:].clone(), values[:, :, time:].clone())

    def _for_each_head(self, x: Float[Tensor, "rows H span D"]) -> Float[Tensor, "rows heads span D"]:
        return (
            x if self.heads == self.shared_heads else x.repeat_interleave(self.heads // self.shared_heads, 1)
        )

    def _allowed(self, time: int, position: Int[Tensor, "B"]) -> Bool[Tensor, "rows 1 S span"]:
        """Keys of each query, by block: those of the window, from the first frame on. S is the size of a block."""
        size = min(time, max(self.past, 1))
        lags = torch.arange(size, device=position.device)[:, None] + self.past
        lags = lags - torch.arange(self.past + size, device=position.device)
        begins = torch.arange(0, time, size, device=position.device)[:, None, None]
        queries = position[:, None, None, None] + begins + torch.arange(size, device=position.device)[:, None]
        return ((lags >= 0) & (lags <= self.past) & (lags <= queries)).flatten(0, 1)[:, None]


def _rotate(x: Float[Tensor, "B H T D"], turn: tuple[Tensor, Tensor]) -> Float[Tensor, "B H T D"]:
    """Rotate the pairs (i, i + D / 2) of channels."""
    cos, sin = turn
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _blocks(x: Float[Tensor, "B H N D"], span: int, size: int) -> Float[Tensor, "rows H span D"]:
    """Stretches of ``span`` frames every ``size`` frames, the last filled with zeros, as rows."""
    padded = functional.pad(x, (0, 0, 0, -(x.shape[2] - span) % size))
    return padded.unfold(2, span, size).permute(0, 2, 1, 4, 3).flatten(0, 1)
