"""Mamba-2 (Dao & Gu 2024, "Transformers are SSMs", arXiv 2405.21060), a whole stack without channel mixing.

A short convolution over values, keys and queries (x, B, C there), then linear attention with one decay per head, both
scaled by a step size dt that depends on the input; a skip, a gate, a norm. Initial values are those of the paper's
code: A in 1 .. 16, dt log-uniform in 0.001 .. 0.1, D = 1, the output projection scaled down by the root of the depth.
"""

import math
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from lina.backbones.fused import flash_linear_attention
from lina.backbones.fused import scalar_decay_attention as fused_scalar_decay
from lina.backbones.fused.memory_step import MemoryStep, has_kernel, memory_step
from lina.core.errors import SpecError
from lina.core.model.in_place import InPlaceStep
from lina.core.model.pattern import ModelPart
from lina.core.model.stack import MixerStack
from lina.core.ops.causal_conv import causal_convolution, causal_convolution_step
from lina.core.ops.dispatch import KernelConfig, use_fused_kernel
from lina.core.ops.scalar_decay_attention import scalar_decay_attention, scalar_decay_attention_step
from lina.core.plugin import BackbonePlugin

A_RANGE = (1.0, 16.0)
DT_RANGE = (1e-3, 1e-1)


class Mamba2Config(KernelConfig):
    expand: int = Field(default=2, ge=1)
    """Inner width over model width."""
    head_dim: int = Field(default=64, ge=1)
    """Value channels per head; the inner width ``d_model * expand`` is a multiple of it."""
    d_state: int = Field(default=128, ge=1)
    """Key channels per head. 128 is the paper's; the memory is as large as that of gla at d_model 512."""
    n_groups: int = Field(default=1, ge=1)
    """Sets of keys and queries, each shared by the heads of a group; the number of heads is a multiple of it."""
    d_conv: int = Field(default=4, ge=1)
    """Taps of the convolution."""


class Mamba2State(NamedTuple):
    tail: Float[Tensor, "B W_minus_1 C"]
    """The last inputs of the convolution: values, keys and queries."""
    memory: Float[Tensor, "B H K V"]


class Mamba2Mixer(nn.Module):
    """Names of parameters and the layout of ``in_proj`` are those of the paper's code."""

    def __init__(self, d_model: int, n_layers: int, config: Mamba2Config) -> None:
        super().__init__()
        self.config = config
        d_inner = d_model * config.expand
        self.head_dim, self.n_groups = config.head_dim, config.n_groups
        if d_inner % self.head_dim:
            raise SpecError(
                f"mamba2: d_model * expand = {d_inner} is not a multiple of head_dim = {config.head_dim}; "
                f"write head_dim: {_largest_divisor(d_inner, config.head_dim)}"
            )
        self.n_heads = d_inner // self.head_dim
        if self.n_heads % self.n_groups:
            raise SpecError(
                f"mamba2: its {self.n_heads} heads (d_model * expand / head_dim) are not a multiple of "
                f"n_groups = {config.n_groups}; write n_groups: {_largest_divisor(self.n_heads, config.n_groups)}"
            )
        shared = self.n_groups * config.d_state
        self.widths = (d_inner, shared, shared)
        channels = sum(self.widths)
        self.in_proj = nn.Linear(d_model, d_inner + channels + self.n_heads, bias=False)
        self.conv1d = nn.Conv1d(channels, channels, config.d_conv, groups=channels)
        self.dt_bias = nn.Parameter(torch.empty(self.n_heads))
        self.A_log = nn.Parameter(torch.empty(self.n_heads))
        self.D = nn.Parameter(torch.ones(self.n_heads))
        self.norm = GatedNorm(d_inner, self.n_groups)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)
        with torch.no_grad():
            self.A_log.uniform_(*A_RANGE).log_()
            dt = torch.empty(self.n_heads).uniform_(math.log(DT_RANGE[0]), math.log(DT_RANGE[1])).exp()
            self.dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # softplus of it is dt
            self.out_proj.weight.div_(math.sqrt(n_layers))

    def initial_state(self, batch: int) -> Mamba2State:
        weight, config = self.in_proj.weight, self.config
        dtype = torch.promote_types(weight.dtype, torch.float32)
        tail = torch.zeros(batch, config.d_conv - 1, sum(self.widths), dtype=dtype, device=weight.device)
        memory = tail.new_zeros(batch, self.n_heads, config.d_state, self.head_dim)
        return Mamba2State(tail, memory)

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: Mamba2State, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], Mamba2State]:
        gate, mixed, dt = self._project(x, state)
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self._taps(state)
            mixed, tail = causal_convolution(mixed, weight, bias, state.tail, starts)
            q, k, v, log_decay, skip = self._heads(mixed, dt)
            obstacle = flash_linear_attention.obstacle
            # The kernels do not support float64.
            fused = q.dtype == torch.float32 and use_fused_kernel(
                "mamba2", self.config, obstacle, x.device, starts
            )
            operator = fused_scalar_decay.scalar_decay_attention if fused else scalar_decay_attention
            out, memory = operator(q, k, v, log_decay, state.memory, 1.0, starts)
            normed = self.norm((out + skip).flatten(-2), gate)
        return self.out_proj(normed.to(x.dtype)), Mamba2State(tail, memory)

    def step(self, x: Float[Tensor, "B D"], state: Mamba2State) -> tuple[Float[Tensor, "B D"], Mamba2State]:
        gate, mixed, dt = self._project(x, state)
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self._taps(state)
            mixed, tail = causal_convolution_step(mixed, weight, bias, state.tail)
            q, k, v, log_decay, skip = self._heads(mixed, dt)
            out, memory = scalar_decay_attention_step(q, k, v, log_decay, state.memory, 1.0)
            normed = self.norm((out + skip).flatten(-2), gate)
        return self.out_proj(normed.to(x.dtype)), Mamba2State(tail, memory)

    def step_in_place(self, x: Float[Tensor, "B D"], state: Mamba2State) -> Float[Tensor, "B D"]:
        gate, mixed, dt = self._project(x, state)
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self._taps(state)
            mixed, tail = causal_convolution_step(mixed, weight, bias, state.tail)
            q, k, v, log_decay, skip = self._heads(mixed, dt)
            out = memory_step(q, k, v, log_decay[..., None], state.memory, 1.0)
            normed = self.norm((out + skip).flatten(-2), gate)
        state.tail.copy_(tail)
        return self.out_proj(normed.to(x.dtype))  # type: ignore[no-any-return]

    def fused_step(self) -> InPlaceStep | None:
        return MemoryStep(self) if has_kernel() else None

    def _project(self, x: Float[Tensor, "*B D"], state: Mamba2State) -> tuple[Tensor, Tensor, Tensor]:
        """Gate, input of the convolution, and raw step sizes, in the tail's dtype."""
        widths = (self.widths[0], sum(self.widths), self.n_heads)
        gate, mixed, dt = self.in_proj(x).to(state.tail.dtype).split(widths, dim=-1)
        return gate, mixed, dt

    def _taps(self, state: Mamba2State) -> tuple[Tensor, Tensor]:
        bias = cast(Tensor, self.conv1d.bias)
        return self.conv1d.weight.to(state.tail.dtype), bias.to(state.tail.dtype)

    def _heads(
        self, mixed: Float[Tensor, "*B C"], dt: Float[Tensor, "*B H"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """q, k, v as [..., heads or groups, channels], the log-decay [..., heads], and the skip connection."""
        value, k, q = F.silu(mixed).split(self.widths, dim=-1)
        q, k = (tensor.unflatten(-1, (self.n_groups, -1)) for tensor in (q, k))
        value = value.unflatten(-1, (self.n_heads, -1))
        dt = F.softplus(dt + self.dt_bias.to(dt.dtype))
        log_decay = -self.A_log.to(dt.dtype).exp() * dt
        return q, k, value * dt[..., None], log_decay, value * self.D.to(dt.dtype)[:, None]

    def extreme(self) -> None:
        """Set step sizes to about 1, and spread A: log-decays from about -1e-4 to -1e4 per step, for the laws."""
        with torch.no_grad():
            self.dt_bias.fill_(0.5413)
            self.A_log.copy_(torch.linspace(-4, 4, self.n_heads) * math.log(10))


class GatedNorm(nn.Module):
    """Root-mean-square norm of x silu(gate), per group of channels."""

    def __init__(self, width: int, n_groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.n_groups = n_groups

    def forward(self, x: Float[Tensor, "*B D"], gate: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        grouped = (x * F.silu(gate)).unflatten(-1, (self.n_groups, -1))
        normed = F.rms_norm(grouped, grouped.shape[-1:], eps=1e-5).flatten(-2)
        return normed * self.weight.to(normed.dtype)


class Mamba2(BackbonePlugin):
    """The plugin."""

    Config = Mamba2Config

    @classmethod
    def example(cls) -> dict[str, Any]:
        config = Mamba2Config(head_dim=16, d_state=16, n_groups=2)
        return {"d_model": 32, "n_layers": 2, "config": config}

    @classmethod
    def build(
        cls, *, d_model: int, n_layers: int, config: Mamba2Config, part: ModelPart = "encoder"
    ) -> MixerStack:
        if part == "position":  # much narrower, with the configuration of the others
            config = _narrowed(config, d_model)
        mixers = [Mamba2Mixer(d_model, n_layers, config) for _ in range(n_layers)]
        return MixerStack(mixers, lambda: nn.RMSNorm(d_model, eps=1e-5))


def _narrowed(config: Mamba2Config, d_model: int) -> Mamba2Config:
    """The configuration with heads and groups that fit a narrow stack."""
    inner = d_model * config.expand
    head_dim = _largest_divisor(inner, config.head_dim)
    n_groups = _largest_divisor(inner // head_dim, config.n_groups)
    return config.model_copy(update={"head_dim": head_dim, "n_groups": n_groups})


def _largest_divisor(number: int, limit: int) -> int:
    return next(size for size in range(min(number, limit), 0, -1) if number % size == 0)
