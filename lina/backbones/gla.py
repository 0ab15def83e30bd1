"""Gated linear attention (Yang et al. 2023, arXiv 2312.06635), in lina-speech's sizes.

One matrix memory of K x V per head, with an input-dependent decay per key channel. Keys have
the model's width, values twice that; the decay is sigmoid(low-rank projection)^(1/16).
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from lina.backbones.fused import flash_linear_attention
from lina.backbones.fused import gated_linear_attention as fused_gla
from lina.backbones.fused.gated_norm import gated_norm
from lina.backbones.fused.memory_step import (
    MemoryStep,
    has_kernel,
    memory_step,
    packed_memory_step,
    store_memory,
)
from lina.backbones.short_conv import ShortConvolutions
from lina.core.errors import SpecError
from lina.core.model.in_place import InPlaceStep, linear_of
from lina.core.model.stack import MixerPlugin
from lina.core.ops.dispatch import KernelConfig, operand_dtype, use_fused_kernel
from lina.core.ops.gated_linear_attention import gated_linear_attention, gated_linear_attention_step
from lina.core.ops.small_linear import is_small, small_linear
from lina.core.protocols import Backbone
from lina.core.state import S


class GLAConfig(KernelConfig):
    n_heads: int = Field(default=4, ge=1)
    expand_k: float = Field(default=1.0, gt=0)
    """Key width over model width."""
    expand_v: float = Field(default=2.0, gt=0)
    """Value width over model width."""
    gate_rank: int = Field(default=16, ge=1)
    gate_temperature: float = Field(default=16.0, gt=0)
    """The log-decay is logsigmoid(gate) / gate_temperature: higher remembers longer."""
    short_conv: int = Field(default=0, ge=0, le=64)
    """Taps, in frames, of causal convolutions of queries, keys and values; 0 or 1: none."""


class GLAState(NamedTuple):
    memory: Float[Tensor, "B H K V"]


class ConvolvedGLAState(NamedTuple):
    """The state with ``short_conv``."""

    tail: Float[Tensor, "B W_minus_1 C"]
    """The last inputs of the convolutions: queries, keys and values side by side."""
    memory: Float[Tensor, "B H K V"]


AnyState = GLAState | ConvolvedGLAState


class GLAMixer(nn.Module):
    def __init__(self, d_model: int, config: GLAConfig) -> None:
        super().__init__()
        self.config = config
        self.n_heads = config.n_heads
        d_key, d_value = int(d_model * config.expand_k), int(d_model * config.expand_v)
        for name, width in (("d_model * expand_k", d_key), ("d_model * expand_v", d_value)):
            if width % config.n_heads or not width:
                raise SpecError(f"gla: {name} = {width} is not a multiple of n_heads = {config.n_heads}")
        self.q_proj = nn.Linear(d_model, d_key, bias=False)
        self.k_proj = nn.Linear(d_model, d_key, bias=False)
        self.v_proj = nn.Linear(d_model, d_value, bias=False)
        self.g_proj = nn.Linear(d_model, d_value, bias=False)
        self.gk_proj = nn.Sequential(
            nn.Linear(d_model, config.gate_rank, bias=False), nn.Linear(config.gate_rank, d_key)
        )
        self.o_proj = nn.Linear(d_value, d_model, bias=False)
        self.g_norm_swish_gate = nn.RMSNorm(d_value // config.n_heads, eps=1e-5)
        self.scale = (d_key // config.n_heads) ** -0.5
        taps = config.short_conv
        self.short_conv = ShortConvolutions((d_key, d_key, d_value), taps) if taps > 1 else None

    def initial_state(self, batch: int) -> AnyState:
        d_key, d_value = self.q_proj.out_features // self.n_heads, self.v_proj.out_features // self.n_heads
        weight = self.q_proj.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        memory = torch.zeros(batch, self.n_heads, d_key, d_value, dtype=dtype, device=weight.device)
        if self.short_conv is None:
            return GLAState(memory)
        return ConvolvedGLAState(self.short_conv.initial_tail(batch, dtype), memory)

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: AnyState, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], AnyState]:
        exact = state.memory.dtype
        # The kernels do not support float64.
        obstacle = flash_linear_attention.obstacle
        fused = exact == torch.float32 and use_fused_kernel("gla", self.config, obstacle, x.device, starts)
        operands = operand_dtype(x.device, exact) if fused else exact
        operator = fused_gla.gated_linear_attention if fused else gated_linear_attention
        projected, tail = self._project(x), None
        if self.short_conv is not None and isinstance(state, ConvolvedGLAState):
            exactly = tuple(part.to(exact) for part in projected)
            projected, tail = self.short_conv.parallel_forward(exactly, state.tail, starts)
        q, k, v = self._heads(projected, operands)
        log_decay = self._gates(x, exact)
        with torch.autocast(x.device.type, enabled=False):
            out, memory = operator(q, k, v, log_decay, state.memory, self.scale, starts)
        return self.output(out, self.g_proj(x)), _state(tail, memory)

    def step(self, x: Float[Tensor, "B D"], state: AnyState) -> tuple[Float[Tensor, "B D"], AnyState]:
        q, k, v, log_decay, tail = self._project_frame(x, state)
        with torch.autocast(x.device.type, enabled=False):
            out, memory = gated_linear_attention_step(q, k, v, log_decay, state.memory, self.scale)
        return self.output(out, self.g_proj(x)), _state(tail, memory)

    def step_in_place(self, x: Float[Tensor, "B D"], state: ConvolvedGLAState) -> Float[Tensor, "B D"]:
        q, k, v, log_decay, tail = self._project_frame(x, state, torch.float32)
        out = memory_step(q, k, v, log_decay, state.memory, self.scale)
        state.tail.copy_(cast(Tensor, tail))
        return self.output(out, self.g_proj(x))

    def fused_step(self) -> InPlaceStep | None:
        if not has_kernel():
            return None
        return GLAStep(self) if self.short_conv is None else MemoryStep(self)

    def _project(self, x: Float[Tensor, "*B D"]) -> tuple[Tensor, ...]:
        """q, k and v of all heads."""
        return self.q_proj(x), self.k_proj(x), self.v_proj(x)

    def _heads(self, projected: tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
        """q, k and v as [..., H, channels]."""
        return [part.unflatten(-1, (self.n_heads, -1)).to(dtype) for part in projected]

    def _gates(self, x: Float[Tensor, "*B D"], dtype: torch.dtype) -> Float[Tensor, "*B H K"]:
        return self.log_decay(self.gk_proj(x).unflatten(-1, (self.n_heads, -1)).to(dtype))

    def _project_frame(
        self, x: Float[Tensor, "B D"], state: AnyState, dtype: torch.dtype | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """q, k, v and log-decay of one frame, and the next tail of the convolutions, if there are any."""
        dtype = dtype or state.memory.dtype
        projected, tail = self._project(x), None
        if self.short_conv is not None and isinstance(state, ConvolvedGLAState):
            projected, tail = self.short_conv.step(tuple(part.to(dtype) for part in projected), state.tail)
        q, k, v = self._heads(projected, dtype)
        return q, k, v, self._gates(x, dtype), tail

    def log_decay(self, gate: Float[Tensor, "*B H K"]) -> Float[Tensor, "*B H K"]:
        return F.logsigmoid(gate) / self.config.gate_temperature

    def output(self, out: Float[Tensor, "*B H V"], gate: Float[Tensor, "*B H_V"]) -> Float[Tensor, "*B D"]:
        """The readings of all heads, normed, gated and mixed."""
        normed = self.g_norm_swish_gate(out).flatten(-2).to(gate.dtype)
        mixed: Tensor = self.o_proj(normed * F.silu(gate))
        return mixed

    def extreme(self) -> None:
        """Spread the gate biases so that log-decays run from about -1e-4 to -1e4 per step, for the laws."""
        gate = cast(nn.Linear, self.gk_proj[1])
        spread = torch.logspace(-4, 4, gate.out_features, dtype=torch.float64) * self.config.gate_temperature
        bias = torch.where(spread < 1, -torch.log(torch.expm1(spread.clamp(max=1))), -spread)
        with torch.no_grad():
            gate.bias.copy_(bias[torch.randperm(gate.out_features)])


def _state(tail: Tensor | None, memory: Tensor) -> AnyState:
    return GLAState(memory) if tail is None else ConvolvedGLAState(tail, memory)


class GLAStep(InPlaceStep):
    """One frame in place: one product for all that is projected from the input, one pass over the memory."""

    def __init__(self, mixer: GLAMixer) -> None:
        super().__init__()
        self.mixer = mixer
        layers = [mixer.q_proj, mixer.k_proj, mixer.v_proj, mixer.g_proj, cast(nn.Linear, mixer.gk_proj[0])]
        self.widths = [layer.out_features for layer in layers]
        self.offsets = [sum(self.widths[:place]) for place in range(len(layers))]
        self.enter = linear_of(torch.cat([layer.weight.detach() for layer in layers]))

    def forward(self, x: Float[Tensor, "B D"], state: AnyState) -> Float[Tensor, "B D"]:
        mixer = self.mixer
        packed = self.enter(x)
        gate, low = packed[:, self.offsets[3] :].split(self.widths[3:], -1)
        gates = mixer.gk_proj[1](low).unflatten(-1, (mixer.n_heads, -1))
        by = 1 / mixer.config.gate_temperature
        out = packed_memory_step(packed, self.offsets[:3], gates, state.memory, mixer.scale, by)
        norm = mixer.g_norm_swish_gate
        mixed: Tensor = mixer.o_proj(gated_norm(out, norm.weight, gate, cast(float, norm.eps)))
        return mixed

    def add(self, x: Float[Tensor, "B D"], norm: nn.LayerNorm, state: AnyState) -> Float[Tensor, "B D"]:
        mixer = self.mixer
        if not is_small(x, self.enter.in_features, mixer.o_proj.in_features):
            return super().add(x, norm, state)
        packed = small_linear(x, self.enter.weight, None, norm.weight, norm.bias, norm.eps)
        gate, low = packed[:, self.offsets[3] :].split(self.widths[3:], -1)
        gates, temperature = cast(nn.Linear, mixer.gk_proj[1]), mixer.config.gate_temperature
        log_decay = small_linear(low, gates.weight, gates.bias, log_sigmoid=1 / temperature)
        log_decay = log_decay.unflatten(-1, (mixer.n_heads, -1))
        out = packed_memory_step(packed, self.offsets[:3], log_decay, state.memory, mixer.scale)
        normed = mixer.g_norm_swish_gate
        return small_linear(
            out.flatten(1),
            mixer.o_proj.weight,
            norm_weight=normed.weight,
            eps=cast(float, normed.eps),
            gate=gate,
            heads=mixer.n_heads,
            residual=x,
        )

    def stored(self, state: S, dtype: torch.dtype) -> S:
        return store_memory(state, dtype)


class GLA(MixerPlugin):
    """The plugin."""

    Config = GLAConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 32, "n_layers": 2, "config": GLAConfig(n_heads=2)}

    @classmethod
    def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: GLAConfig) -> Backbone:
        return GLAMixer(d_model, config)
