"""RWKV-7's two mixings (Peng et al. 2025, arXiv 2503.14456, section 4), and the initialization of their parameters."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from lina.backbones.fused import delta_rule as fused_delta_rule
from lina.backbones.fused import flash_linear_attention
from lina.backbones.fused.memory_step import memory_step
from lina.backbones.rwkv.group_norm import NormInit, group_norm
from lina.core.errors import SpecError
from lina.core.ops.delta_rule import delta_rule, delta_rule_step
from lina.core.ops.dispatch import MixedPrecisionKernelConfig, use_fused_kernel

MAX_REMOVAL = 1 + math.exp(-math.exp(-0.5))
"""Removal is bounded so that no eigenvalue falls below -1: the strongest decay leaves exp(-exp(-1/2)) of a channel."""
BLENDS = ("r", "w", "k", "v", "a", "g")
"""Token-shift blends: receptance, decay, key, value, rate of removal, gate."""


class RWKV7Config(MixedPrecisionKernelConfig):
    n_heads: int = Field(default=4, ge=1)
    decay_rank: int | None = Field(default=None, ge=1)
    """Rank of the input-dependent part of the decays; by default all ranks grow with the root of the width."""
    rate_rank: int | None = Field(default=None, ge=1)
    """Rank of the input-dependent part of the removal rates."""
    value_rank: int | None = Field(default=None, ge=1)
    """Rank of the input-dependent share of the first layer's values."""
    gate_rank: int | None = Field(default=None, ge=1)
    """Rank of the output gate."""
    removal_scale: float = Field(default=1.0, gt=0, le=MAX_REMOVAL)
    """Factor of the removal alone; above 1 a memory can change its sign, and above 1.5452 it could grow."""
    norm_init: NormInit = "ones"
    """Initial weight of the group norm; ``depth``: ((layer + 1) / n_layers) ** 0.7, as in RWKV's own training."""


class Projected(NamedTuple):
    """Projections of time mixing, [..., H, channels] in the memory's dtype; the gate is [..., D]."""

    r: Tensor
    k: Tensor
    v: Tensor
    removed: Tensor
    """Unit key of the removal."""
    removal: Tensor
    """The unit key times the share that is removed, in 0 .. ``removal_scale``."""
    log_decay: Tensor
    gate: Tensor
    first_values: Tensor
    """[..., D], in the model's dtype."""


class TimeMixing(nn.Module):
    def __init__(self, d_model: int, layer: int, n_layers: int, config: RWKV7Config) -> None:
        super().__init__()
        if d_model % config.n_heads:
            raise SpecError(f"rwkv7: d_model = {d_model} is not a multiple of n_heads = {config.n_heads}")
        self.config = config
        self.n_heads = config.n_heads
        depth, rest = layer / max(n_layers - 1, 1), 1 - layer / n_layers
        channel = torch.arange(d_model) / d_model
        for name, exponent in {"r": 0.2, "w": 0.9, "k": 0.7, "v": 0.7, "a": 0.9, "g": 0.2}.items():
            self.register_parameter(f"x_{name}", _row(1 - channel ** (exponent * rest)))

        place = torch.arange(d_model) / max(d_model - 1, 1)
        in_head = torch.linspace(-1, 1, d_model // self.n_heads).repeat(self.n_heads)
        zigzag = in_head * in_head.abs()
        self.w0 = _row(-5.5 + 6 * place ** (1 + depth**0.3) + 2.5 * zigzag)
        self.w1, self.w2 = _low_rank(d_model, config.decay_rank or _rank(2.5, d_model))
        self.a0 = _row(-0.19 + 0.3 * zigzag + 0.4 * (place - 0.5))
        self.a1, self.a2 = _low_rank(d_model, config.rate_rank or _rank(2.5, d_model))
        self.has_value_residual = layer > 0
        if self.has_value_residual:
            self.v0 = _row(0.73 - 0.4 * (place - 0.5))
            self.v1, self.v2 = _low_rank(d_model, config.value_rank or _rank(1.7, d_model))
        self.g1, self.g2 = _low_rank(d_model, config.gate_rank or _rank(5.0, d_model))
        self.k_k = _row(0.71 - 0.1 * (place - 0.5))
        self.k_a = _row(torch.full((d_model,), 1.02))
        self.r_k = nn.Parameter(torch.full((self.n_heads, d_model // self.n_heads), -0.04))

        self.receptance = _linear(d_model, d_model, 0.5)
        self.key = _linear(d_model, d_model, 0.05)
        self.value = _linear(d_model, d_model, 0.5)
        self.output = _linear(d_model, d_model, 0.0)
        self.ln_x = group_norm(self.n_heads, d_model, layer, n_layers, config.norm_init)

    def parallel_forward(
        self,
        x: Float[Tensor, "B T D"],
        before: Float[Tensor, "B T D"],
        memory: Float[Tensor, "B H K V"],
        first_values: Float[Tensor, "B T D"] | None,
        starts: Bool[Tensor, "B T"] | None,
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B H K V"], Float[Tensor, "B T D"]]:
        """Mixed frames, final memory, and the first layer's values for later layers."""
        p = self._project(x, before, first_values, memory.dtype)
        obstacle = flash_linear_attention.obstacle
        # The kernels do not support float64.
        fused = memory.dtype == torch.float32 and use_fused_kernel(
            "rwkv7", self.config, obstacle, x.device, starts
        )
        operator = fused_delta_rule.delta_rule if fused else delta_rule
        with torch.autocast(x.device.type, enabled=False):
            out, memory = operator(p.r, p.k, p.v, -p.removed, p.removal, p.log_decay, memory, 1.0, starts)
        return self._output(out, p), memory, p.first_values

    def step(
        self,
        x: Float[Tensor, "B D"],
        before: Float[Tensor, "B D"],
        memory: Float[Tensor, "B H K V"],
        first_values: Float[Tensor, "B D"] | None,
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B H K V"], Float[Tensor, "B D"]]:
        p = self._project(x, before, first_values, memory.dtype)
        with torch.autocast(x.device.type, enabled=False):
            out, memory = delta_rule_step(p.r, p.k, p.v, -p.removed, p.removal, p.log_decay, memory, 1.0)
        return self._output(out, p), memory, p.first_values

    def step_in_place(
        self,
        x: Float[Tensor, "B D"],
        before: Float[Tensor, "B D"],
        memory: Float[Tensor, "B H K V"],
        first_values: Float[Tensor, "B D"] | None,
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        p = self._project(x, before, first_values, torch.float32)
        out = memory_step(p.r, p.k, p.v, p.log_decay, memory, 1.0, -p.removed, p.removal)
        return self._output(out, p), p.first_values

    def _project(
        self,
        x: Float[Tensor, "*B D"],
        before: Float[Tensor, "*B D"],
        first_values: Float[Tensor, "*B D"] | None,
        dtype: torch.dtype,
    ) -> Projected:
        difference = before - x
        blends = (torch.addcmul(x, difference, getattr(self, f"x_{name}").flatten()) for name in BLENDS)
        for_receptance, for_decay, for_key, for_value, for_rate, for_gate = blends

        def heads(tensor: Tensor) -> Tensor:
            split: Tensor = tensor.unflatten(-1, (self.n_heads, -1))
            return split.to(dtype)

        def moved(start: Tensor, by: Tensor) -> Tensor:
            return heads(start.flatten().to(dtype) + by.to(dtype))

        decay = torch.sigmoid(moved(self.w0, torch.tanh(for_decay @ self.w1) @ self.w2))
        rate = torch.sigmoid(moved(self.a0, (for_rate @ self.a1) @ self.a2))
        key, own = self.key(for_key), self.value(for_value)
        k, v = heads(key), heads(own)
        if self.has_value_residual:
            share = torch.sigmoid(moved(self.v0, (for_value @ self.v1) @ self.v2))
            assert first_values is not None, "only the first layer has none"
            v = torch.lerp(v, heads(first_values), share)
        removed = F.normalize(k * heads(self.k_k.flatten()), dim=-1)
        removal = removed * rate
        if self.config.removal_scale != 1:
            removal = self.config.removal_scale * removal
        k = k * torch.addcmul(torch.ones_like(rate), rate - 1, heads(self.k_a.flatten()))
        gate = torch.sigmoid(for_gate @ self.g1) @ self.g2
        r = heads(self.receptance(for_receptance))
        first = own if first_values is None else first_values
        return Projected(r, k, v, removed, removal, -fused_delta_rule.STRONGEST_DECAY * decay, gate, first)

    def _output(self, out: Float[Tensor, "*B H V"], p: Projected) -> Float[Tensor, "*B D"]:
        dtype = self.ln_x.weight.dtype
        normed = self.ln_x(out.reshape(-1, p.gate.shape[-1]).to(dtype)).view_as(p.gate)
        bonus = (p.r * p.k * self.r_k.to(p.r.dtype)).sum(-1, keepdim=True) * p.v
        mixed: Tensor = self.output((normed + bonus.flatten(-2)).to(p.gate.dtype) * p.gate)
        return mixed


class ChannelMixing(nn.Module):
    def __init__(self, d_model: int, layer: int, n_layers: int) -> None:
        super().__init__()
        self.x_k = _row(1 - (torch.arange(d_model) / d_model) ** ((1 - layer / n_layers) ** 4))
        self.key = _linear(d_model, 4 * d_model, 0.5)
        self.value = _linear(4 * d_model, d_model, 0.0)

    def forward(self, x: Float[Tensor, "*B D"], before: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        key = self.key(torch.addcmul(x, before - x, self.x_k.flatten()))
        mixed: Tensor = self.value(F.relu(key).square())
        return mixed


def _row(values: Float[Tensor, "D"]) -> nn.Parameter:
    return nn.Parameter(values.view(1, 1, -1))


def _rank(factor: float, d_model: int) -> int:
    """Round to a multiple of 32, as RWKV suggests."""
    return max(32, round(factor * math.sqrt(d_model) / 32) * 32)


def _low_rank(d_model: int, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Two factors, the first zero, so that the product starts at zero."""
    second = torch.empty(rank, d_model)
    nn.init.orthogonal_(second, gain=0.1 * max(rank / d_model, 1.0) ** 0.5)
    return nn.Parameter(torch.zeros(d_model, rank)), nn.Parameter(second)


def _linear(inputs: int, outputs: int, size: float) -> nn.Linear:
    """Linear layer without bias, uniform in -bound .. bound for bound = ``size`` / sqrt(d_model)."""
    linear = nn.Linear(inputs, outputs, bias=False)
    bound = size * min(inputs, outputs) ** -0.5
    nn.init.uniform_(linear.weight, -bound, bound)
    return linear
