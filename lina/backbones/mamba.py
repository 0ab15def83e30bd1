"""Mamba (Gu & Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752).

A layer is x + mixer(norm(x)): a short causal convolution, the selective scan, and a gate around both; it has no channel
mixing of its own, and the stack ends in a norm, so this plugin is a whole stack. Names of parameters are those of the
seed system's released checkpoints.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lina.backbones import mamba_fast
from lina.core.kernels import FastFormConfig, use_fast
from lina.core.plugin import BackbonePlugin
from lina.core.protocols import Backbone
from lina.core.selective_scan import selective_scan, selective_scan_step

NORM_EPS = 1e-5


class MambaConfig(FastFormConfig):
    expand: int = Field(default=2, ge=1)
    """Inner width over model width."""
    d_state: int = Field(default=16, ge=1)
    """Numbers of state for each inner channel."""
    d_conv: int = Field(default=4, ge=2)
    """Frames that the short convolution sees, the present one among them."""


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
        self.A_log = nn.Parameter(torch.arange(1.0, config.d_state + 1).log().repeat(self.d_inner, 1))
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
        seen = torch.cat([state.tail, inner.to(state.tail.dtype)], dim=1)
        u = F.silu(self._convolve(seen, starts)).to(inner.dtype)
        delta, b, c = self._select(u, state)
        dtype = state.memory.dtype
        # The kernels know no float64; they read bfloat16 as it is.
        fast = dtype == torch.float32 and use_fast("mamba", self.config.kernels, mamba_fast.obstacle, x.is_cuda)
        operator = mamba_fast.selective_scan if fast else selective_scan
        u, b, c = (tensor if fast else tensor.to(dtype) for tensor in (u, b, c))
        with torch.autocast(x.device.type, enabled=False):
            y, memory = operator(u, delta, self._rate(state), b, c, self._skip(state), state.memory, starts)
        return self._output(y, gate), MambaState(self._tail(seen, starts), memory)

    def step(self, x: Float[Tensor, "B D"], state: MambaState) -> tuple[Float[Tensor, "B D"], MambaState]:
        inner, gate = self.in_proj(x).chunk(2, dim=-1)
        seen = torch.cat([state.tail, inner[:, None].to(state.tail.dtype)], dim=1)
        u = F.silu(self._convolve(seen, None)[:, 0]).to(inner.dtype)
        delta, b, c = self._select(u, state)
        u, b, c = (tensor.to(state.memory.dtype) for tensor in (u, b, c))
        with torch.autocast(x.device.type, enabled=False):
            y, memory = selective_scan_step(u, delta, self._rate(state), b, c, self._skip(state), state.memory)
        return self._output(y, gate), MambaState(seen[:, 1:], memory)

    def _convolve(
        self, seen: Float[Tensor, "B W_plus_T D"], starts: Bool[Tensor, "B T"] | None
    ) -> Float[Tensor, "B T D"]:
        """Each frame with the ``d_conv - 1`` before it; those before a start are as zero."""
        taps = self.conv1d.weight[:, 0].to(seen.dtype).unbind(-1)
        frames = seen.shape[1] - len(taps) + 1
        out = self.conv1d.bias.to(seen.dtype)  # type: ignore[union-attr]
        for tap, weight in enumerate(taps):
            heard = seen[:, tap : tap + frames]
            lag = len(taps) - 1 - tap
            if starts is not None and lag:
                heard = heard.masked_fill(_started_within(starts, lag)[..., None], 0.0)
            out = torch.addcmul(out, heard, weight)
        return out

    def _tail(
        self, seen: Float[Tensor, "B W_plus_T D"], starts: Bool[Tensor, "B T"] | None
    ) -> Float[Tensor, "B W D"]:
        width = self.config.d_conv - 1
        tail = seen[:, -width:]
        if starts is None:
            return tail.clone()
        # Forgotten is what lies before the last start: a frame is kept if nothing after it starts.
        later = F.pad(starts, (width + 1, 0))[:, -width:].flip(1).cumsum(1).flip(1)
        after = F.pad(later[:, 1:], (0, 1))
        return tail.masked_fill((after > 0)[..., None], 0.0)

    def _select(
        self, u: Float[Tensor, "*B D"], state: MambaState
    ) -> tuple[Float[Tensor, "*B D"], Float[Tensor, "*B N"], Float[Tensor, "*B N"]]:
        """Step sizes, in the memory's dtype, and the directions of writing and reading."""
        sizes = [self.dt_rank, self.config.d_state, self.config.d_state]
        rank, b, c = self.x_proj(u).split(sizes, dim=-1)
        return F.softplus(self.dt_proj(rank).to(state.memory.dtype)), b, c

    def _rate(self, state: MambaState) -> Float[Tensor, "D N"]:
        return -self.A_log.to(state.memory.dtype).exp()

    def _skip(self, state: MambaState) -> Float[Tensor, "D"]:
        return self.D.to(state.memory.dtype)

    def _output(self, y: Float[Tensor, "*B D"], gate: Float[Tensor, "*B D"]) -> Float[Tensor, "*B E"]:
        mixed: Tensor = self.out_proj(y.to(gate.dtype) * F.silu(gate))
        return mixed


class MambaLayer(nn.Module):
    def __init__(self, d_model: int, config: MambaConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model, eps=NORM_EPS)
        self.mixer = MambaMixer(d_model, config)

    def forward(
        self, x: Float[Tensor, "B T D"], state: MambaState, starts: Bool[Tensor, "B T"] | None
    ) -> tuple[Float[Tensor, "B T D"], MambaState]:
        mixed, state = self.mixer.parallel_forward(self.norm(x), state, starts)
        return x + mixed, state

    def step(self, x: Float[Tensor, "B D"], state: MambaState) -> tuple[Float[Tensor, "B D"], MambaState]:
        mixed, state = self.mixer.step(self.norm(x), state)
        return x + mixed, state


class MambaStack(nn.Module):
    """Layers one after the other, then a norm. The state is the tuple of the layers' states."""

    def __init__(self, d_model: int, n_layers: int, config: MambaConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MambaLayer(d_model, config) for _ in range(n_layers))
        self.norm_f = nn.LayerNorm(d_model, eps=NORM_EPS)
        self.gradient_checkpointing = False
        """Set by the trainer: keep only each layer's input for the backward pass and compute the rest again."""
        with torch.no_grad():  # so that the sum of all layers is of the size of one (GPT-2's scheme)
            for layer in self._layers():
                layer.mixer.out_proj.weight.div_(math.sqrt(n_layers))

    def initial_state(self, batch: int) -> tuple[MambaState, ...]:
        return tuple(layer.mixer.initial_state(batch) for layer in self._layers())

    def parallel_forward(
        self,
        x: Float[Tensor, "B T D"],
        state: tuple[MambaState, ...],
        starts: Bool[Tensor, "B T"] | None = None,
    ) -> tuple[Float[Tensor, "B T D"], tuple[MambaState, ...]]:
        """``starts``: frames at which the state restarts."""
        after = []
        for layer, before in zip(self._layers(), state, strict=True):
            if self.gradient_checkpointing and self.training:
                x, new = checkpoint(layer, x, before, starts, use_reentrant=False)
            else:
                x, new = layer(x, before, starts)
            after.append(new)
        return self.norm_f(x), tuple(after)

    def step(
        self, x: Float[Tensor, "B D"], state: tuple[MambaState, ...]
    ) -> tuple[Float[Tensor, "B D"], tuple[MambaState, ...]]:
        after = []
        for layer, before in zip(self._layers(), state, strict=True):
            x, new = layer.step(x, before)
            after.append(new)
        return self.norm_f(x), tuple(after)

    def _layers(self) -> list[Any]:
        return list(self.layers)


class Mamba(BackbonePlugin):
    """The plugin."""

    Config = MambaConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 32, "n_layers": 2, "config": MambaConfig(d_state=8)}

    @classmethod
    def build(cls, *, d_model: int, n_layers: int, config: MambaConfig) -> Backbone:
        return MambaStack(d_model, n_layers, config)

    @classmethod
    def extreme(cls, backbone: nn.Module) -> None:
        """Step sizes and rates spread so that the log-decays run from about -1e-4 to -1e4 a step."""
        for module in backbone.modules():
            if isinstance(module, MambaMixer):
                delta = torch.logspace(-2, 1, module.d_inner)[torch.randperm(module.d_inner)]
                rate = torch.logspace(-2, 3, module.config.d_state)
                with torch.no_grad():
                    module.dt_proj.bias.copy_(_inverse_softplus(delta))
                    module.A_log.copy_(rate.log().expand_as(module.A_log))


def _inverse_softplus(x: Tensor) -> Tensor:
    return x + torch.log(-torch.expm1(-x))


def _started_within(starts: Bool[Tensor, "B T"], lag: int) -> Bool[Tensor, "B T"]:
    """Whether any of the last ``lag`` frames, the present one among them, starts."""
    return F.pad(starts, (lag - 1, 0)).unfold(1, lag, 1).any(-1)
