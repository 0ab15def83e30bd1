"""RWKV-6 "Finch" (Peng et al. 2024, "Eagle and Finch", arXiv 2404.05892), its channel mixing included.

Time mixing: one matrix memory per head with an input-dependent decay per channel, read before the present frame is
written, which counts with a bonus instead. Both mixings blend each frame with the previous one ("token shift"); in time
mixing the share depends on the input too, for each of decay, key, value, receptance and gate. Parameters are named as
in RWKV's own checkpoints, with norm1, norm2, tmix and cmix for ln1, ln2, att, ffn.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from lina.backbones.fused import flash_linear_attention
from lina.backbones.fused import gated_linear_attention as fused_gla
from lina.backbones.fused.memory_step import has_kernel, memory_step, store_memory
from lina.backbones.rwkv.group_norm import NormInit, group_norm
from lina.backbones.rwkv.state import RWKVState, empty_state, state_after
from lina.backbones.rwkv.token_shift import shifted
from lina.backbones.rwkv.weights import layers_for_half
from lina.core.errors import SpecError
from lina.core.model.in_place import InPlaceStep
from lina.core.model.stack import Layers
from lina.core.ops.dispatch import KernelConfig, use_fused_kernel
from lina.core.ops.rwkv6_attention import rwkv6_attention, rwkv6_attention_step
from lina.core.plugin import BackbonePlugin, Half
from lina.core.state import S

BLENDS = ("w", "k", "v", "r", "g")
"""Token-shift blends: decay, key, value, receptance, gate; in the order of ``time_maa_w2``."""

PUBLISHED_SIZES = {
    "backbone.d_model": ("norm1.weight", 0),
    "backbone.config.n_heads": ("tmix.time_faaaa", 0),
    "backbone.config.mix_rank": ("tmix.time_maa_w2", 1),
    "backbone.config.decay_rank": ("tmix.time_decay_w1", 1),
}
"""Key of a spec -> tensor of a layer and its dimension with that size."""


class RWKV6Config(KernelConfig):
    n_heads: int = Field(default=4, ge=1)
    mix_rank: int = Field(default=32, ge=1)
    """Rank of the input-dependent part of each blend with the previous frame."""
    decay_rank: int = Field(default=64, ge=1)
    """Rank of the input-dependent part of the decays."""
    norm_init: NormInit = "ones"
    """Initial weight of the group norm; ``depth``: ((layer + 1) / n_layers) ** 0.7, as in RWKV's own training."""


class TimeMixing(nn.Module):
    time_maa_x: nn.Parameter

    def __init__(self, d_model: int, layer: int, n_layers: int, config: RWKV6Config) -> None:
        super().__init__()
        if d_model % config.n_heads:
            raise SpecError(f"rwkv6: d_model = {d_model} is not a multiple of n_heads = {config.n_heads}")
        self.config = config
        self.n_heads = config.n_heads
        depth, rest = layer / max(n_layers - 1, 1), 1 - layer / n_layers
        channel = torch.arange(d_model) / d_model
        exponents = {"x": rest, "w": rest, "k": rest, "v": rest, "r": rest / 2, "g": rest / 2}
        for name, exponent in exponents.items():
            ratio = 1 - channel**exponent - (0.3 * depth if name == "v" else 0.0)
            self.register_parameter(f"time_maa_{name}", nn.Parameter(ratio.view(1, 1, -1)))
        self.time_maa_w1 = _uniform(1e-4, d_model, len(BLENDS) * config.mix_rank)
        self.time_maa_w2 = _uniform(1e-2, len(BLENDS), config.mix_rank, d_model)

        place = torch.arange(d_model) / max(d_model - 1, 1)
        self.time_decay = nn.Parameter((-6 + 5 * place ** (0.7 + 1.3 * depth)).view(1, 1, -1))
        self.time_decay_w1 = _uniform(1e-4, d_model, config.decay_rank)
        self.time_decay_w2 = _uniform(1e-2, config.decay_rank, d_model)
        zigzag = 0.1 * ((torch.arange(d_model) + 1) % 3 - 1)
        self.time_faaaa = nn.Parameter((depth * (1 - place) + zigzag).view(self.n_heads, -1))

        self.receptance = nn.Linear(d_model, d_model, bias=False)
        self.key = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_model, d_model, bias=False)
        self.gate = nn.Linear(d_model, d_model, bias=False)
        self.output = nn.Linear(d_model, d_model, bias=False)
        self.ln_x = group_norm(self.n_heads, d_model, layer, n_layers, config.norm_init)

    def parallel_forward(
        self,
        x: Float[Tensor, "B T D"],
        before: Float[Tensor, "B T D"],
        memory: Float[Tensor, "B H K V"],
        starts: Bool[Tensor, "B T"] | None,
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B H K V"]]:
        r, k, v, log_decay, gate = self._project(x, before, memory.dtype)
        obstacle = flash_linear_attention.obstacle
        # The kernels do not support float64.
        fused = memory.dtype == torch.float32 and use_fused_kernel(
            "rwkv6", self.config, obstacle, x.device, starts
        )
        bonus = self.time_faaaa.to(memory.dtype)
        with torch.autocast(x.device.type, enabled=False):
            if fused:
                log_decay = log_decay.clamp(min=fused_gla.FORGOTTEN)
                inner = fused_gla.gated_linear_attention
                out, memory = rwkv6_attention(r, k, v, log_decay, bonus, memory, starts, inner)
            else:
                out, memory = rwkv6_attention(r, k, v, log_decay, bonus, memory, starts)
        return self._output(out, gate), memory

    def step(
        self, x: Float[Tensor, "B D"], before: Float[Tensor, "B D"], memory: Float[Tensor, "B H K V"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B H K V"]]:
        r, k, v, log_decay, gate = self._project(x, before, memory.dtype)
        bonus = self.time_faaaa.to(memory.dtype)
        with torch.autocast(x.device.type, enabled=False):
            out, memory = rwkv6_attention_step(r, k, v, log_decay, bonus, memory)
        return self._output(out, gate), memory

    def step_in_place(
        self, x: Float[Tensor, "B D"], before: Float[Tensor, "B D"], memory: Float[Tensor, "B H K V"]
    ) -> Float[Tensor, "B D"]:
        r, k, v, log_decay, gate = self._project(x, before, torch.float32)
        out = memory_step(r, k, v, log_decay, memory, 1.0, bonus=self.time_faaaa)
        return self._output(out, gate)

    def _project(
        self, x: Float[Tensor, "*B D"], before: Float[Tensor, "*B D"], dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """r, k, v and log-decay as [..., H, channels] in the memory's dtype, and the gate [..., D]."""
        blends = torch.stack([getattr(self, f"time_maa_{name}").flatten() for name in BLENDS])
        difference = before - x
        low = torch.tanh((x + difference * self.time_maa_x.flatten()) @ self.time_maa_w1)
        added = torch.einsum("...nr,nrd->n...d", low.unflatten(-1, (len(BLENDS), -1)), self.time_maa_w2)
        blends = blends.view(-1, *[1] * (x.dim() - 1), x.shape[-1])
        for_decay, for_key, for_value, for_receptance, for_gate = torch.addcmul(x, difference, blends + added)
        heads = (self.n_heads, -1)
        r, k, v = (
            project(frames).unflatten(-1, heads).to(dtype)
            for project, frames in (
                (self.receptance, for_receptance),
                (self.key, for_key),
                (self.value, for_value),
            )
        )
        moved = torch.tanh(for_decay @ self.time_decay_w1) @ self.time_decay_w2
        decay = self.time_decay.flatten().to(dtype) + moved.to(dtype)
        return r, k, v, -decay.unflatten(-1, heads).exp(), F.silu(self.gate(for_gate))

    def _output(self, out: Float[Tensor, "*B H V"], gate: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        normed = self.ln_x(out.reshape(-1, gate.shape[-1]).to(self.ln_x.weight.dtype)).view_as(gate)
        mixed: Tensor = self.output(normed.to(gate.dtype) * gate)
        return mixed


class ChannelMixing(nn.Module):
    def __init__(self, d_model: int, layer: int, n_layers: int) -> None:
        super().__init__()
        hidden = max(32, int(3.5 * d_model // 32 * 32))
        ratio = (1 - (torch.arange(d_model) / d_model) ** (1 - layer / n_layers)).view(1, 1, -1)
        self.time_maa_k = nn.Parameter(ratio)
        self.time_maa_r = nn.Parameter(ratio.clone())
        self.key = nn.Linear(d_model, hidden, bias=False)
        self.receptance = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(hidden, d_model, bias=False)

    def forward(self, x: Float[Tensor, "*B D"], before: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        difference = before - x
        key = self.key(x + difference * self.time_maa_k.flatten())
        receptance = self.receptance(x + difference * self.time_maa_r.flatten())
        mixed: Tensor = torch.sigmoid(receptance) * self.value(F.relu(key).square())
        return mixed


class RWKV6Layer(nn.Module):
    def __init__(self, d_model: int, layer: int, n_layers: int, config: RWKV6Config) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.tmix = TimeMixing(d_model, layer, n_layers, config)
        self.norm2 = nn.LayerNorm(d_model)
        self.cmix = ChannelMixing(d_model, layer, n_layers)

    def initial_state(self, batch: int) -> RWKVState:
        return empty_state(self.tmix.time_faaaa, self.norm1.normalized_shape[0], batch)

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: RWKVState, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], RWKVState]:
        seen = self.norm1(x)
        before = shifted(seen, state.time_shift, starts)
        mixed, memory = self.tmix.parallel_forward(seen, before, state.memory, starts)
        x = x + mixed
        refined = self.norm2(x)
        x = x + self.cmix(refined, shifted(refined, state.channel_shift, starts))
        return x, state_after(state, seen, memory, refined)

    def step(self, x: Float[Tensor, "B D"], state: RWKVState) -> tuple[Float[Tensor, "B D"], RWKVState]:
        seen = self.norm1(x)
        mixed, memory = self.tmix.step(seen, state.time_shift.to(seen.dtype), state.memory)
        x = x + mixed
        refined = self.norm2(x)
        x = x + self.cmix(refined, state.channel_shift.to(refined.dtype))
        dtype = state.time_shift.dtype
        return x, RWKVState(seen.to(dtype), memory, refined.to(dtype))

    def fused_step(self) -> InPlaceStep | None:
        return RWKV6Step(self) if has_kernel() else None


class RWKV6Step(InPlaceStep):
    """A layer's step in place."""

    def __init__(self, layer: RWKV6Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Float[Tensor, "B D"], state: RWKVState) -> Float[Tensor, "B D"]:
        layer = self.layer
        seen = layer.norm1(x)
        x = x + layer.tmix.step_in_place(seen, state.time_shift.to(seen.dtype), state.memory)
        state.time_shift.copy_(seen)
        refined = layer.norm2(x)
        x = x + layer.cmix(refined, state.channel_shift.to(refined.dtype))
        state.channel_shift.copy_(refined)
        return x

    def stored(self, state: S, dtype: torch.dtype) -> S:
        return store_memory(state, dtype)


def _uniform(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class RWKV6(BackbonePlugin):
    """The plugin."""

    Config = RWKV6Config

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 32, "n_layers": 2, "config": RWKV6Config(n_heads=2, mix_rank=4, decay_rank=4)}

    @classmethod
    def build(cls, *, d_model: int, n_layers: int, config: RWKV6Config) -> Layers:
        return Layers(RWKV6Layer(d_model, layer, n_layers, config) for layer in range(n_layers))

    @classmethod
    def import_weights(
        cls,
        tensors: Mapping[str, Tensor],
        *,
        d_model: int,
        n_layers: int,
        config: RWKV6Config,
        half: Half,
    ) -> dict[str, Tensor]:
        """Import layers of a published RWKV-6 model: the first ``n_layers`` before the text, the next after it."""
        with torch.device("meta"):
            target = cls.build(d_model=d_model, n_layers=n_layers, config=config).state_dict()
        return layers_for_half(
            tensors, target, plugin="rwkv6", sizes=PUBLISHED_SIZES, n_layers=n_layers, half=half
        )

    @classmethod
    def extreme(cls, backbone: nn.Module) -> None:
        """Spread log-decays from -1e-4 to -1e4 per step, and make blends depend on the input.

        Blends stay moderate: larger weights amplify the rounding of a sum to another result.
        """
        for module in backbone.modules():
            if not isinstance(module, TimeMixing):
                continue
            decay = module.time_decay
            with torch.no_grad():
                spread = torch.logspace(-4, 4, decay.numel(), dtype=torch.float64).log()
                decay.copy_(spread[torch.randperm(decay.numel())].view_as(decay))
                for low in (module.time_maa_w1, module.time_maa_w2, module.time_decay_w1):
                    low.normal_(std=low.shape[-2] ** -0.5)
