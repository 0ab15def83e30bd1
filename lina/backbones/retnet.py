"""Retention (Sun et al. 2023, "Retentive Network", arXiv 2307.08621): linear attention whose decays are fixed.

Head h decays by gamma_h = 1 - 2^(-5 - h) per frame (eq. 8); queries and keys are rotated by their positions, so that a
score depends on the distance alone (eq. 6); each head's output is normed, then gated. Initial values are those of the
paper's code.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from lina.backbones.fused import flash_linear_attention
from lina.backbones.fused import scalar_decay_attention as fused_scalar_decay
from lina.backbones.fused.memory_step import MemoryStep, has_kernel, memory_step
from lina.backbones.short_conv import ShortConvolutions
from lina.core.errors import SpecError
from lina.core.model.in_place import InPlaceStep
from lina.core.model.stack import MixerPlugin
from lina.core.ops.dispatch import KernelConfig, use_fused_kernel
from lina.core.ops.scalar_decay_attention import scalar_decay_attention, scalar_decay_attention_step
from lina.core.protocols import Backbone


class RetNetConfig(KernelConfig):
    n_heads: int = Field(default=4, ge=1)
    expand_v: float = Field(default=2.0, gt=0)
    """Value width over model width."""
    short_conv: int = Field(default=0, ge=0, le=64)
    """Taps, in frames, of causal convolutions of queries, keys and values; 0 or 1: none."""


class RetNetState(NamedTuple):
    memory: Float[Tensor, "B H K V"]
    position: Int[Tensor, "B"]
    """Frames seen so far."""


class ConvolvedRetNetState(NamedTuple):
    """The state with ``short_conv``."""

    tail: Float[Tensor, "B W_minus_1 C"]
    """The last inputs of the convolutions: queries, keys and values side by side."""
    memory: Float[Tensor, "B H K V"]
    position: Int[Tensor, "B"]


AnyState = RetNetState | ConvolvedRetNetState


class RetNetMixer(nn.Module):
    log_decay: Tensor

    def __init__(self, d_model: int, config: RetNetConfig) -> None:
        super().__init__()
        self.config = config
        self.n_heads = config.n_heads
        d_value = int(d_model * config.expand_v)
        if d_model % (2 * config.n_heads):
            raise SpecError(
                f"retnet: d_model = {d_model} is not a multiple of 2 * n_heads = {2 * config.n_heads}"
            )
        if d_value % config.n_heads or not d_value:
            raise SpecError(
                f"retnet: d_model * expand_v = {d_value} is not a multiple of n_heads = {config.n_heads}"
            )
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, d_value, bias=False)
        self.g_proj = nn.Linear(d_model, d_value, bias=False)
        self.o_proj = nn.Linear(d_value, d_model, bias=False)
        self.group_norm = nn.GroupNorm(config.n_heads, d_value, eps=1e-6)
        log_decay = torch.log1p(-torch.exp2(-5.0 - torch.arange(config.n_heads, dtype=torch.float64)))
        self.register_buffer("log_decay", log_decay.float(), persistent=False)
        self.scale = (d_model // config.n_heads) ** -0.5
        taps = config.short_conv
        self.short_conv = ShortConvolutions((d_model, d_model, d_value), taps) if taps > 1 else None
        for projection in (self.q_proj, self.k_proj, self.v_proj, self.g_proj):
            nn.init.xavier_uniform_(projection.weight, gain=2**-2.5)
        nn.init.xavier_uniform_(self.o_proj.weight, gain=2**-1)

    def initial_state(self, batch: int) -> AnyState:
        weight = self.q_proj.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        d_key, d_value = (size // self.n_heads for size in (weight.shape[0], self.v_proj.out_features))
        memory = torch.zeros(batch, self.n_heads, d_key, d_value, dtype=dtype, device=weight.device)
        position = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        tail = None if self.short_conv is None else self.short_conv.initial_tail(batch, dtype)
        return _state(tail, memory, position)

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: AnyState, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], AnyState]:
        positions = _positions(x.shape[1], state.position, starts)
        projected, tail = self._project(x, state.memory.dtype), None
        if self.short_conv is not None and isinstance(state, ConvolvedRetNetState):
            projected, tail = self.short_conv.parallel_forward(projected, state.tail, starts)
        q, k, v = self._heads(projected, positions)
        log_decay = self.log_decay.to(q.dtype).expand(*x.shape[:2], -1)
        obstacle = flash_linear_attention.obstacle
        # The kernels do not support float64.
        fused = q.dtype == torch.float32 and use_fused_kernel(
            "retnet", self.config, obstacle, x.device, starts
        )
        operator = fused_scalar_decay.scalar_decay_attention if fused else scalar_decay_attention
        with torch.autocast(x.device.type, enabled=False):
            out, memory = operator(q, k, v, log_decay, state.memory, self.scale, starts)
        return self._output(out, x), _state(tail, memory, positions[:, -1] + 1)

    def step(self, x: Float[Tensor, "B D"], state: AnyState) -> tuple[Float[Tensor, "B D"], AnyState]:
        q, k, v, tail = self._project_frame(x, state)
        log_decay = self.log_decay.to(q.dtype).expand(x.shape[0], -1)
        with torch.autocast(x.device.type, enabled=False):
            out, memory = scalar_decay_attention_step(q, k, v, log_decay, state.memory, self.scale)
        return self._output(out, x), _state(tail, memory, state.position + 1)

    def step_in_place(self, x: Float[Tensor, "B D"], state: AnyState) -> Float[Tensor, "B D"]:
        q, k, v, tail = self._project_frame(x, state, torch.float32)
        log_decay = self.log_decay.expand(x.shape[0], -1)[..., None]
        out = memory_step(q, k, v, log_decay, state.memory, self.scale)
        state.position.add_(1)
        if tail is not None and isinstance(state, ConvolvedRetNetState):
            state.tail.copy_(tail)
        return self._output(out, x)

    def fused_step(self) -> InPlaceStep | None:
        return MemoryStep(self) if has_kernel() else None

    def _project(self, x: Float[Tensor, "*B D"], dtype: torch.dtype) -> tuple[Tensor, ...]:
        """q, k and v of all heads, in the memory's dtype."""
        return tuple(project(x).to(dtype) for project in (self.q_proj, self.k_proj, self.v_proj))

    def _heads(
        self, projected: tuple[Tensor, ...], positions: Int[Tensor, "*B"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q and k, rotated, and v, as [..., H, channels]."""
        q, k, v = (part.unflatten(-1, (self.n_heads, -1)) for part in projected)
        return turn(q, positions), turn(k, positions), v

    def _project_frame(
        self, x: Float[Tensor, "B D"], state: AnyState, dtype: torch.dtype | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """q, k and v of one frame, and the next tail of the convolutions, if there are any."""
        projected, tail = self._project(x, dtype or state.memory.dtype), None
        if self.short_conv is not None and isinstance(state, ConvolvedRetNetState):
            projected, tail = self.short_conv.step(projected, state.tail)
        return *self._heads(projected, state.position), tail

    def _output(self, out: Float[Tensor, "*B H V"], x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        gate = self.g_proj(x)
        norm = self.group_norm  # over the channels of a head, frame by frame, in the recurrence's dtype
        normed = F.layer_norm(out, out.shape[-1:], eps=norm.eps).flatten(-2)
        normed = torch.addcmul(norm.bias.to(out.dtype), normed, norm.weight.to(out.dtype))
        mixed: Tensor = self.o_proj(normed.to(gate.dtype) * F.silu(gate))
        return mixed

    def extreme(self) -> None:
        """Set the decays, which are fixed in training, to -1e-4 to -1e4 per step, for the laws."""
        self.log_decay.copy_(-torch.logspace(-4, 4, self.n_heads))


def _state(tail: Tensor | None, memory: Tensor, position: Tensor) -> AnyState:
    return RetNetState(memory, position) if tail is None else ConvolvedRetNetState(tail, memory, position)


def turn(x: Float[Tensor, "*B H D"], positions: Int[Tensor, "*B"]) -> Float[Tensor, "*B H D"]:
    """Rotate all channel pairs (2i, 2i + 1) by positions * 10000^(-i / (D / 2 - 1))."""
    pairs = x.shape[-1] // 2
    exponents = torch.arange(pairs, device=x.device, dtype=torch.float64) / max(pairs - 1, 1)
    angles = positions[..., None].double() * 10000.0**-exponents
    cos, sin = (f(angles)[..., None, :].to(x.dtype) for f in (torch.cos, torch.sin))
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)


def _positions(
    frames: int, before: Int[Tensor, "B"], starts: Bool[Tensor, "B T"] | None
) -> Int[Tensor, "B T"]:
    """Position of each frame: continued from ``before``, and 0 at ``starts``."""
    count = torch.arange(frames, device=before.device)
    positions = before[:, None] + count
    if starts is None:
        return positions
    origin = torch.where(starts, count, -1).cummax(dim=1).values
    return torch.where(origin >= 0, count - origin, positions)


class RetNet(MixerPlugin):
    """The plugin."""

    Config = RetNetConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 32, "n_layers": 2, "config": RetNetConfig(n_heads=2)}

    @classmethod
    def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: RetNetConfig) -> Backbone:
        return RetNetMixer(d_model, config)
