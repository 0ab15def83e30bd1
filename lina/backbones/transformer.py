"""Sliding-window attention, the baseline: softmax over the last W frames, kept in a ring buffer of constant size.

Windowed causal attention as in Beltagy et al. 2020 ("Longformer", arXiv 2004.05150, section 3.1) with rotary
positions. Long inputs are computed in blocks of W queries, each reading its own and the previous block's keys.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from lina.core.errors import SpecError
from lina.core.model.in_place import InPlaceStep
from lina.core.model.stack import MixerPlugin
from lina.core.ops.dispatch import operand_dtype
from lina.core.ops.rotary import apply_rotary
from lina.core.plugin import PluginConfig
from lina.core.protocols import Backbone
from lina.core.state import S, State


class TransformerConfig(PluginConfig):
    n_heads: int = Field(default=4, ge=1)
    window: int = Field(default=512, ge=1)
    """Frames in the window, the present one included."""


class WindowState(NamedTuple):
    """The last W frames' keys (already rotated) and values; frame p lies in slot p mod W."""

    keys: Float[Tensor, "B W H D"]
    values: Float[Tensor, "B W H D"]
    position: Int[Tensor, "B"]
    """Frames seen so far."""


class WindowAttention(nn.Module):
    def __init__(self, d_model: int, config: TransformerConfig) -> None:
        super().__init__()
        if d_model % config.n_heads:
            raise SpecError(
                f"transformer: d_model = {d_model} is not a multiple of n_heads = {config.n_heads}"
            )
        self.n_heads, self.window = config.n_heads, config.window
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def initial_state(self, batch: int) -> WindowState:
        weight = self.qkv.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        shape = (batch, self.window, self.n_heads, self.qkv.in_features // self.n_heads)
        empty = torch.zeros(shape, dtype=dtype, device=weight.device)
        return WindowState(empty, empty.clone(), torch.zeros(batch, dtype=torch.int64, device=weight.device))

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: WindowState
    ) -> tuple[Float[Tensor, "B T D"], WindowState]:
        frames, window = x.shape[1], self.window
        positions = state.position[:, None] + torch.arange(frames, device=x.device)
        q, k, v = self._project(x, positions, state)
        # Time order: the window before the input (oldest first), then the input.
        age = torch.arange(window, device=x.device)
        slots = (state.position[:, None] + age) % window
        keys = torch.cat([_take(state.keys, slots), k], dim=1)
        values = torch.cat([_take(state.values, slots), v], dim=1)
        exists = F.pad(age >= window - state.position[:, None], (0, frames), value=True)
        out = self._blocks(q, keys, values, exists)

        last = torch.arange(window, device=x.device) + frames  # the last W of the W + T in time order
        slots = (state.position[:, None] + last) % window
        new = WindowState(
            torch.zeros_like(state.keys).scatter(1, _spread(slots, state.keys), keys[:, frames:]),
            torch.zeros_like(state.values).scatter(1, _spread(slots, state.values), values[:, frames:]),
            state.position + frames,
        )
        mixed: Tensor = self.out(out.flatten(2).to(x.dtype))
        return mixed, new

    def step(self, x: Float[Tensor, "B D"], state: WindowState) -> tuple[Float[Tensor, "B D"], WindowState]:
        q, k, v = self._project(x[:, None], state.position[:, None], state)
        slot = (state.position % self.window)[:, None]
        keys = state.keys.scatter(1, _spread(slot, k), k)
        values = state.values.scatter(1, _spread(slot, v), v)
        filled = torch.arange(self.window, device=x.device) <= state.position[:, None]
        with torch.autocast(x.device.type, enabled=False):
            out = F.scaled_dot_product_attention(
                q.transpose(1, 2),
                keys.transpose(1, 2),
                values.transpose(1, 2),
                attn_mask=filled[:, None, None],
            )
        mixed: Tensor = self.out(out.transpose(1, 2).flatten(1).to(x.dtype))
        return mixed, WindowState(keys, values, state.position + 1)

    def _project(
        self, x: Float[Tensor, "B T D"], positions: Int[Tensor, "B T"], state: WindowState
    ) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(x).unflatten(-1, (3, self.n_heads, -1))
        qkv = qkv.to(torch.promote_types(state.keys.dtype, torch.float32))
        q, k = apply_rotary(qkv[:, :, :2].flatten(2, 3), positions).unflatten(2, (2, -1)).unbind(2)
        return q, k, qkv[:, :, 2]

    def _blocks(
        self,
        q: Float[Tensor, "B T H D"],
        keys: Float[Tensor, "B W_plus_T H D"],
        values: Float[Tensor, "B W_plus_T H D"],
        exists: Bool[Tensor, "B W_plus_T"],
    ) -> Float[Tensor, "B T H D"]:
        """Attention of query t to keys t + 1 .. t + W of the W + T, computed W queries at a time."""
        frames, size = q.shape[1], min(self.window, q.shape[1])
        padding = -frames % size
        if q.device.type == "cuda":
            operands = operand_dtype(q.device, q.dtype)
            q, keys, values = (tensor.to(operands) for tensor in (q, keys, values))
        # Blocks are rows: fused kernels take four axes.
        q = F.pad(q, (0, 0, 0, 0, 0, padding)).unflatten(1, (-1, size)).permute(0, 1, 3, 2, 4).flatten(0, 1)
        span = self.window + size
        keys, values = (
            F.pad(t, (0, 0, 0, 0, 0, padding)).unfold(1, span, size).permute(0, 1, 2, 4, 3).flatten(0, 1)
            for t in (keys, values)
        )
        exists = F.pad(exists, (0, padding), value=True).unfold(1, span, size)
        lag = torch.arange(size, device=q.device)[:, None] + self.window - torch.arange(span, device=q.device)
        allowed = exists.flatten(0, 1)[:, None, None] & (lag >= 0) & (lag < self.window)
        with torch.autocast(q.device.type, enabled=False):
            out = F.scaled_dot_product_attention(q, keys, values, attn_mask=allowed)
        joined: Tensor = out.transpose(1, 2).unflatten(0, (-1, (frames + padding) // size)).flatten(1, 2)
        return joined[:, :frames]

    def fused_step(self) -> InPlaceStep:
        return WindowStep(self)

    def extreme(self) -> None:
        """Sharpen the attention, short of ties that rounding decides, for the laws; there are no gates."""
        with torch.no_grad():
            self.qkv.weight.mul_(4.0)


def _spread(slots: Int[Tensor, "B N"], like: Float[Tensor, "B M H D"]) -> Int[Tensor, "B N H D"]:
    return slots[..., None, None].expand(-1, -1, *like.shape[2:])


def _take(ring: Float[Tensor, "B W H D"], slots: Int[Tensor, "B W"]) -> Float[Tensor, "B W H D"]:
    return ring.gather(1, _spread(slots, ring))


class WindowStep(InPlaceStep):
    """A step that writes its frame into the ring, which is not copied: at 2,000 frames it is nearly all of a state."""

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Float[Tensor, "B D"], state: State) -> Float[Tensor, "B D"]:
        assert isinstance(state, WindowState)
        own = self.attention
        q, k, v = own._project(x[:, None], state.position[:, None], state)
        slot = _spread((state.position % own.window)[:, None], k)
        state.keys.scatter_(1, slot, k.to(state.keys.dtype))
        state.values.scatter_(1, slot, v.to(state.values.dtype))
        filled = torch.arange(own.window, device=x.device) <= state.position[:, None]
        with torch.autocast(x.device.type, enabled=False):
            out = F.scaled_dot_product_attention(
                q.transpose(1, 2).to(state.keys.dtype),
                state.keys.transpose(1, 2),
                state.values.transpose(1, 2),
                attn_mask=filled[:, None, None],
            )
        state.position.add_(1)
        mixed: Tensor = own.out(out.transpose(1, 2).flatten(1).to(x.dtype))
        return mixed

    def stored(self, state: S, dtype: torch.dtype) -> S:
        assert isinstance(state, WindowState)
        return state._replace(keys=state.keys.to(dtype), values=state.values.to(dtype))


class Transformer(MixerPlugin):
    """The plugin."""

    Config = TransformerConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 32, "n_layers": 2, "config": TransformerConfig(n_heads=2, window=8)}

    @classmethod
    def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: TransformerConfig) -> Backbone:
        return WindowAttention(d_model, config)
