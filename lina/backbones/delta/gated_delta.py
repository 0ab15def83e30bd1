"""Common base of Gated DeltaNet and Kimi Delta Attention: short convolutions, unit keys, the gated delta rule."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from lina.backbones.fused import delta_rule as fused_delta_rule
from lina.backbones.fused import flash_linear_attention
from lina.backbones.fused.memory_step import MemoryStep, has_kernel, memory_step
from lina.core.errors import SpecError
from lina.core.model.in_place import InPlaceStep
from lina.core.ops.causal_conv import causal_convolution, causal_convolution_step
from lina.core.ops.delta_rule import gated_delta_rule, gated_delta_rule_step
from lina.core.ops.dispatch import MixedPrecisionKernelConfig, use_fused_kernel


class GatedDeltaConfig(MixedPrecisionKernelConfig):
    n_heads: int = Field(default=4, ge=1)
    convolution: int = Field(default=4, ge=2)
    """Taps, in frames, of the causal convolutions of queries, keys and values."""
    allow_neg_eigval: bool = False
    """Beta in 0 .. 2 instead of 0 .. 1, so that a memory can change its sign (Grazzi et al. 2024, arXiv 2411.12537)."""


class GatedDeltaState(NamedTuple):
    tail: Float[Tensor, "B W_minus_1 C"]
    """The last inputs of the convolutions: queries, keys and values side by side."""
    memory: Float[Tensor, "B H K V"]


class GatedDeltaMixer(nn.Module, ABC):
    """Time mixer without its two gates, the decay and the output gate."""

    plugin: str

    def __init__(self, d_model: int, d_key: int, d_value: int, config: GatedDeltaConfig) -> None:
        super().__init__()
        self.config = config
        self.n_heads = config.n_heads
        for name, width in (("key", d_key), ("value", d_value)):
            if width % config.n_heads or not width:
                raise SpecError(
                    f"{self.plugin}: {name} width {width} (d_model = {d_model} times its expansion) is not a "
                    f"multiple of n_heads = {config.n_heads}"
                )
        self.q_proj = nn.Linear(d_model, d_key, bias=False)
        self.k_proj = nn.Linear(d_model, d_key, bias=False)
        self.v_proj = nn.Linear(d_model, d_value, bias=False)
        self.b_proj = nn.Linear(d_model, config.n_heads, bias=False)
        self.q_conv1d, self.k_conv1d, self.v_conv1d = (
            nn.Conv1d(width, width, config.convolution, groups=width, bias=False)
            for width in (d_key, d_key, d_value)
        )
        self.o_norm = nn.RMSNorm(d_value // config.n_heads, eps=1e-5)
        self.o_proj = nn.Linear(d_value, d_model, bias=False)
        self.scale = (d_key // config.n_heads) ** -0.5

    @abstractmethod
    def log_decay(self, x: Float[Tensor, "*B D"], dtype: torch.dtype) -> Float[Tensor, "*B H G"]:
        """Log-decay <= 0 in ``dtype``, per key channel or (G = 1) per head."""

    @abstractmethod
    def out_gate(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B H_V"]:
        """Output gate, a factor of the normalized outputs."""

    def initial_state(self, batch: int) -> GatedDeltaState:
        weight = self.q_proj.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        d_key, d_value = self.q_proj.out_features, self.v_proj.out_features
        tail = (batch, self.config.convolution - 1, 2 * d_key + d_value)
        memory = (batch, self.n_heads, d_key // self.n_heads, d_value // self.n_heads)
        return GatedDeltaState(
            *(torch.zeros(shape, dtype=dtype, device=weight.device) for shape in (tail, memory))
        )

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: GatedDeltaState, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], GatedDeltaState]:
        dtype = state.memory.dtype
        mixed, tail = causal_convolution(
            self._projected(x, dtype), self._taps(dtype), None, state.tail, starts
        )
        q, k, v, beta, log_decay = self._heads(mixed, x)
        obstacle = flash_linear_attention.obstacle
        # The kernels do not support float64.
        fused = dtype == torch.float32 and use_fused_kernel(
            self.plugin, self.config, obstacle, x.device, starts
        )
        operator = fused_delta_rule.gated_delta_rule if fused else gated_delta_rule
        with torch.autocast(x.device.type, enabled=False):
            out, memory = operator(q, k, v, beta, log_decay, state.memory, self.scale, starts)
        return self._output(out, x), GatedDeltaState(tail, memory)

    def step(
        self, x: Float[Tensor, "B D"], state: GatedDeltaState
    ) -> tuple[Float[Tensor, "B D"], GatedDeltaState]:
        dtype = state.memory.dtype
        mixed, tail = causal_convolution_step(self._projected(x, dtype), self._taps(dtype), None, state.tail)
        q, k, v, beta, log_decay = self._heads(mixed, x)
        with torch.autocast(x.device.type, enabled=False):
            out, memory = gated_delta_rule_step(q, k, v, beta, log_decay, state.memory, self.scale)
        return self._output(out, x), GatedDeltaState(tail, memory)

    def step_in_place(self, x: Float[Tensor, "B D"], state: GatedDeltaState) -> Float[Tensor, "B D"]:
        dtype = state.tail.dtype
        mixed, tail = causal_convolution_step(self._projected(x, dtype), self._taps(dtype), None, state.tail)
        q, k, v, beta, log_decay = self._heads(mixed, x)
        restore = beta[..., None] * k
        out = memory_step(q, restore, v, log_decay, state.memory, self.scale, -log_decay.exp() * k, restore)
        state.tail.copy_(tail)
        return self._output(out, x)

    def fused_step(self) -> InPlaceStep | None:
        return MemoryStep(self) if has_kernel() else None

    def _projected(self, x: Float[Tensor, "*B D"], dtype: torch.dtype) -> Float[Tensor, "*B C"]:
        return torch.cat([project(x) for project in (self.q_proj, self.k_proj, self.v_proj)], -1).to(dtype)

    def _taps(self, dtype: torch.dtype) -> Float[Tensor, "C 1 W"]:
        return torch.cat([self.q_conv1d.weight, self.k_conv1d.weight, self.v_conv1d.weight]).to(dtype)

    def _heads(
        self, mixed: Float[Tensor, "*B C"], x: Float[Tensor, "*B D"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """q, k, v [..., H, channels], beta [..., H] and log-decay [..., H, G], in the memory's dtype."""
        d_key, d_value = self.q_proj.out_features, self.v_proj.out_features
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1))
            for part in F.silu(mixed).split([d_key, d_key, d_value], dim=-1)
        )
        beta = torch.sigmoid(self.b_proj(x).to(mixed.dtype))
        if self.config.allow_neg_eigval:
            beta = 2 * beta
        return _unit(q), _unit(k), v, beta, self.log_decay(x, mixed.dtype)

    def _output(self, out: Float[Tensor, "*B H V"], x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        gate = self.out_gate(x)
        mixed: Tensor = self.o_proj(self.o_norm(out).flatten(-2).to(gate.dtype) * gate)
        return mixed


def inverse_softplus(steps: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """Inverse of softplus."""
    return steps + torch.log(-torch.expm1(-steps))


def _unit(x: Float[Tensor, "*B K"]) -> Float[Tensor, "*B K"]:
    """Normalize to length 1, or less near zero."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)
