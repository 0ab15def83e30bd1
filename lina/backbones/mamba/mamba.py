"""Mamba (Gu & Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752).

A layer is x + mixer(norm(x)): a short causal convolution, the selective scan, and a gate around both. There is no
channel mixing, and the stack ends in a norm, so this plugin is a whole stack. Names of parameters are those of
lina-speech's released checkpoints.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from lina.backbones.fused import selective_scan as fused_scan
from lina.backbones.fused import selective_scan_mamba_ssm
from lina.backbones.fused.memory_step import MemoryStep, has_kernel
from lina.backbones.fused.selective_step import selective_step
from lina.core.model.in_place import InPlaceStep
from lina.core.model.stack import MixerStack
from lina.core.ops.causal_conv import causal_convolution, causal_convolution_step
from lina.core.ops.dispatch import KernelConfig, use_fused_kernel
from lina.core.ops.selective_scan import selective_scan, selective_scan_step
from lina.core.plugin import BackbonePlugin

NORM_EPS = 1e-5


class MambaConfig(KernelConfig):
    expand: int = Field(default=2, ge=1)
    """Inner width over model width."""
    d_state: int = Field(default=16, ge=1)
    """Numbers of state per inner channel."""
    d_conv: int = Field(default=4, ge=2)
    """Taps of the short convolution, in frames."""
    a_min: float = Field(default=1.0, gt=0)
    """Initial decay rates A are ``a_min`` times 1 .. d_state, as in the paper for 1; less remembers longer."""
    fast_form: Literal["triton", "mamba-ssm"] = "triton"
    """Fused kernels to use: lina's in Triton, or mamba-ssm's extension (float32, no restarts)."""


class MambaState(NamedTuple):
    tail: Float[Tensor, "B W D"]
    """The last ``d_conv - 1`` inputs of the convolution, oldest first."""
    memory: Float[Tensor, "B D N"]


class MambaMixer(nn.Module):
    def __init__(self, d_model: int, config: MambaConfig) -> None:
        super().__init__()
        self.config = config
        self.d_inner = config.expand * d_model
        self.dt_rank = math.ceil(d_model / 16)
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=False)
        self.conv1d = nn.Conv1d(self.d_inner, self.d_inner, config.d_conv, groups=self.d_inner)
        self.x_proj = nn.Linear(self.d_inner, self.dt_rank + 2 * config.d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, self.d_inner)
        rates = config.a_min * torch.arange(1.0, config.d_state + 1)
        self.A_log = nn.Parameter(rates.log().repeat(self.d_inner, 1))
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)
        self._initialise_step_sizes()

    @torch.no_grad()
    def _initialise_step_sizes(self) -> None:
        """Section 3.6 of the paper: softplus of the bias is log-uniform from 0.001 to 0.1."""
        delta = 10 ** (-3 + 2 * torch.rand(self.d_inner))
        self.dt_proj.bias.copy_(_inverse_softplus(delta))
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)

    def initial_state(self, batch: int) -> MambaState:
        weight = self.in_proj.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        tail = torch.zeros(batch, self.config.d_conv - 1, self.d_inner, dtype=dtype, device=weight.device)
        memory = torch.zeros(batch, self.d_inner, self.config.d_state, dtype=dtype, device=weight.device)
        return MambaState(tail, memory)

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: MambaState, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], MambaState]:
        inner, gate = self.in_proj(x).chunk(2, dim=-1)
        convolved, tail = causal_convolution(
            inner.to(state.tail.dtype), *self._taps(state), state.tail, starts
        )
        u = F.silu(convolved).to(inner.dtype)
        delta, b, c = self._select(u, state)
        operator = self._fused_kernels(x, state, starts)
        if operator is None:
            operator = functools.partial(selective_scan, starts=starts)
            u, b, c = (tensor.to(delta.dtype) for tensor in (u, b, c))
        with torch.autocast(x.device.type, enabled=False):
            y, memory = operator(u, delta, self._rate(state), b, c, self._skip(state), state.memory)
        return self._output(y, gate), MambaState(tail, memory)

    def step(self, x: Float[Tensor, "B D"], state: MambaState) -> tuple[Float[Tensor, "B D"], MambaState]:
        inner, gate = self.in_proj(x).chunk(2, dim=-1)
        convolved, tail = causal_convolution_step(inner.to(state.tail.dtype), *self._taps(state), state.tail)
        u = F.silu(convolved).to(inner.dtype)
        delta, b, c = self._select(u, state)
        u, b, c = (tensor.to(state.memory.dtype) for tensor in (u, b, c))
        with torch.autocast(x.device.type, enabled=False):
            y, memory = selective_scan_step(
                u, delta, self._rate(state), b, c, self._skip(state), state.memory
            )
        return self._output(y, gate), MambaState(tail, memory)

    def step_in_place(self, x: Float[Tensor, "B D"], state: MambaState) -> Float[Tensor, "B D"]:
        entered = self.in_proj(x)
        inner = entered[:, : self.d_inner]
        convolved, tail = causal_convolution_step(inner.to(state.tail.dtype), *self._taps(state), state.tail)
        u = F.silu(convolved)
        selected = self.x_proj(u.to(inner.dtype))
        size = self.dt_proj(selected[:, : self.dt_rank])
        y = selective_step(u, size, self.A_log, self.D, selected, entered, state.memory)
        state.tail.copy_(tail)
        return self.out_proj(y.to(inner.dtype))  # type: ignore[no-any-return]

    def fused_step(self) -> InPlaceStep | None:
        return MemoryStep(self) if has_kernel() else None

    def _fused_kernels(
        self, x: Float[Tensor, "B T D"], state: MambaState, starts: Bool[Tensor, "B T"] | None
    ) -> Callable[..., tuple[Tensor, Tensor]] | None:
        """Fused kernels to use, if any; they support no float64, and read bfloat16 as it is."""
        if state.memory.dtype != torch.float32:
            return None
        published = self.config.fast_form == "mamba-ssm" and starts is None
        form: Any = selective_scan_mamba_ssm if published else fused_scan
        if not use_fused_kernel("mamba", self.config, form.obstacle, x.device):
            return None
        scan: Callable[..., tuple[Tensor, Tensor]] = form.selective_scan
        return scan if starts is None else functools.partial(scan, starts=starts)

    def _select(
        self, u: Float[Tensor, "*B D"], state: MambaState
    ) -> tuple[Float[Tensor, "*B D"], Float[Tensor, "*B N"], Float[Tensor, "*B N"]]:
        """Step sizes, and the vectors B and C of writing and reading, in the memory's dtype."""
        sizes = [self.dt_rank, self.config.d_state, self.config.d_state]
        rank, b, c = self.x_proj(u).split(sizes, dim=-1)
        return F.softplus(self.dt_proj(rank).to(state.memory.dtype)), b, c

    def _taps(self, state: MambaState) -> tuple[Float[Tensor, "D 1 W"], Float[Tensor, "D"]]:
        """Weight and bias of the convolution, in the state's dtype."""
        weight, bias = self.conv1d.weight, cast(Tensor, self.conv1d.bias)
        return weight.to(state.tail.dtype), bias.to(state.tail.dtype)

    def _rate(self, state: MambaState) -> Float[Tensor, "D N"]:
        return -self.A_log.to(state.memory.dtype).exp()

    def _skip(self, state: MambaState) -> Float[Tensor, "D"]:
        return self.D.to(state.memory.dtype)

    def _output(self, y: Float[Tensor, "*B D"], gate: Float[Tensor, "*B D"]) -> Float[Tensor, "*B E"]:
        mixed: Tensor = self.out_proj(y.to(gate.dtype) * F.silu(gate))
        return mixed

    def extreme(self) -> None:
        """Spread step sizes and rates so that log-decays run from about -1e-4 to -1e4 per step, for the laws."""
        delta = torch.logspace(-2, 1, self.d_inner)[torch.randperm(self.d_inner)]
        rate = torch.logspace(-2, 3, self.config.d_state)
        with torch.no_grad():
            self.dt_proj.bias.copy_(_inverse_softplus(delta))
            self.A_log.copy_(rate.log().expand_as(self.A_log))


class Mamba(BackbonePlugin):
    """The plugin."""

    Config = MambaConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 32, "n_layers": 2, "config": MambaConfig(d_state=8)}

    @classmethod
    def build(cls, *, d_model: int, n_layers: int, config: MambaConfig) -> MixerStack:
        mixers = [MambaMixer(d_model, config) for _ in range(n_layers)]
        with torch.no_grad():  # so that the sum of all layers is of the size of one (GPT-2's scheme)
            for mixer in mixers:
                mixer.out_proj.weight.div_(math.sqrt(n_layers))
        return MixerStack(mixers, lambda: nn.LayerNorm(d_model, eps=NORM_EPS))


def _inverse_softplus(x: Tensor) -> Tensor:
    return x + torch.log(-torch.expm1(-x))
