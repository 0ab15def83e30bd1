"""RWKV-7 "Goose" (Peng et al. 2025, arXiv 2503.14456), its channel mixing and its value residual included.

Time mixing: one matrix memory per head that decays per channel, at most by exp(-exp(-1/2)) per frame; the value stored
under one unit key is removed in part (the rate depends on channel and input) and a new value is written. Both mixings
blend each frame with the previous one ("token shift"). From the second layer on, values are interpolated towards those
of the first layer for the same frame. Parameters are named as in RWKV's own checkpoints, with norm1,
norm2, tmix and cmix for ln1, ln2, att, ffn.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lina.backbones.fused.memory_step import has_kernel, store_memory
from lina.backbones.rwkv.rwkv7_mixing import ChannelMixing, RWKV7Config, TimeMixing
from lina.backbones.rwkv.state import RWKVState, empty_state, state_after
from lina.backbones.rwkv.token_shift import shifted
from lina.backbones.rwkv.weights import layers_for_half
from lina.core.model.in_place import CopiedStep, InPlaceStep
from lina.core.model.stack import Layers
from lina.core.plugin import BackbonePlugin, Half
from lina.core.state import S, State

PUBLISHED_SIZES = {
    "backbone.d_model": ("norm1.weight", 0),
    "backbone.config.n_heads": ("tmix.r_k", 0),
    "backbone.config.decay_rank": ("tmix.w1", 1),
    "backbone.config.rate_rank": ("tmix.a1", 1),
    "backbone.config.value_rank": ("tmix.v1", 1),
    "backbone.config.gate_rank": ("tmix.g1", 1),
}
"""Key of a spec -> tensor of a layer and its dimension with that size."""


class RWKV7Layer(nn.Module):
    def __init__(self, d_model: int, layer: int, n_layers: int, config: RWKV7Config) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.tmix = TimeMixing(d_model, layer, n_layers, config)
        self.norm2 = nn.LayerNorm(d_model)
        self.cmix = ChannelMixing(d_model, layer, n_layers)

    def initial_state(self, batch: int) -> RWKVState:
        return empty_state(self.tmix.r_k, self.norm1.normalized_shape[0], batch)

    def parallel_forward(
        self,
        x: Float[Tensor, "B T D"],
        state: RWKVState,
        first_values: Float[Tensor, "B T D"] | None,
        starts: Bool[Tensor, "B T"] | None,
    ) -> tuple[Float[Tensor, "B T D"], RWKVState, Float[Tensor, "B T D"]]:
        seen = self.norm1(x)
        before = shifted(seen, state.time_shift, starts)
        mixed, memory, first_values = self.tmix.parallel_forward(
            seen, before, state.memory, first_values, starts
        )
        x = x + mixed
        refined = self.norm2(x)
        x = x + self.cmix(refined, shifted(refined, state.channel_shift, starts))
        return x, state_after(state, seen, memory, refined), first_values

    def step(
        self, x: Float[Tensor, "B D"], state: RWKVState, first_values: Float[Tensor, "B D"] | None
    ) -> tuple[Float[Tensor, "B D"], RWKVState, Float[Tensor, "B D"]]:
        seen = self.norm1(x)
        before = state.time_shift.to(seen.dtype)
        mixed, memory, first_values = self.tmix.step(seen, before, state.memory, first_values)
        x = x + mixed
        refined = self.norm2(x)
        x = x + self.cmix(refined, state.channel_shift.to(refined.dtype))
        dtype = state.time_shift.dtype
        return x, RWKVState(seen.to(dtype), memory, refined.to(dtype)), first_values


class RWKV7Step(InPlaceStep):
    """A layer's step in place; it passes the first layer's values on."""

    def __init__(self, layer: RWKV7Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "B D"], state: RWKVState, first_values: Float[Tensor, "B D"] | None
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        layer = self.layer
        seen = layer.norm1(x)
        before = state.time_shift.to(seen.dtype)
        mixed, first_values = layer.tmix.step_in_place(seen, before, state.memory, first_values)
        state.time_shift.copy_(seen)
        x = x + mixed
        refined = layer.norm2(x)
        x = x + layer.cmix(refined, state.channel_shift.to(refined.dtype))
        state.channel_shift.copy_(refined)
        return x, first_values

    def stored(self, state: S, dtype: torch.dtype) -> S:
        return store_memory(state, dtype)


class RWKV7StackStep(InPlaceStep):
    """All layers' steps in place."""

    compiles_alone = False

    def __init__(self, layers: Iterable[RWKV7Layer], norm: nn.Module | None) -> None:
        super().__init__()
        self.steps = nn.ModuleList(RWKV7Step(layer) for layer in layers)
        self.norm = norm

    def forward(self, x: Float[Tensor, "B D"], state: tuple[RWKVState, ...]) -> Float[Tensor, "B D"]:
        first_values = None
        for step, own in zip(self.steps, state, strict=True):
            x, first_values = step(x, own, first_values)
        return x if self.norm is None else self.norm(x)

    def stored(self, state: S, dtype: torch.dtype) -> S:
        return tuple(store_memory(own, dtype) for own in state)  # type: ignore[return-value, attr-defined]


class RWKV7Stack(Layers):
    """Layers, with the first one's values passed to the others within each frame."""

    def __init__(self, d_model: int, n_layers: int, config: RWKV7Config) -> None:
        layers: Iterable[Any] = (RWKV7Layer(d_model, i, n_layers, config) for i in range(n_layers))
        super().__init__(layers)

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: State, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], State]:
        def run(layer: RWKV7Layer, *arguments: Any) -> Any:
            forward = partial(layer.parallel_forward, starts=starts)
            if self.gradient_checkpointing and self.training:
                return checkpoint(forward, *arguments, use_reentrant=False)
            return forward(*arguments)

        return self._through(x, state, run)

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        return self._through(x, state, RWKV7Layer.step)

    def fused_step(self) -> InPlaceStep:
        return RWKV7StackStep(self._each(), self.norm_f) if has_kernel() else CopiedStep(self)

    def _through(
        self, x: Float[Tensor, "*B D"], state: State, run: Callable[..., Any]
    ) -> tuple[Float[Tensor, "*B D"], State]:
        after, first_values = [], None
        for layer, before in zip(self._each(), state, strict=True):
            x, new, first_values = run(layer, x, before, first_values)
            after.append(new)
        return self.normed(x), tuple(after)


class RWKV7(BackbonePlugin):
    """The plugin."""

    Config = RWKV7Config

    @classmethod
    def example(cls) -> dict[str, Any]:
        config = RWKV7Config(n_heads=2, decay_rank=4, rate_rank=4, value_rank=4, gate_rank=8)
        return {"d_model": 32, "n_layers": 2, "config": config}

    @classmethod
    def build(cls, *, d_model: int, n_layers: int, config: RWKV7Config) -> RWKV7Stack:
        return RWKV7Stack(d_model, n_layers, config)

    @classmethod
    def import_weights(
        cls,
        tensors: Mapping[str, Tensor],
        *,
        d_model: int,
        n_layers: int,
        config: RWKV7Config,
        half: Half,
    ) -> dict[str, Tensor]:
        """Import layers of a published RWKV-7 model: the first ``n_layers`` before the text, the next after it.

        Each half has its own first values, so the first layer after the text has no value residual.
        """
        with torch.device("meta"):
            target = cls.build(d_model=d_model, n_layers=n_layers, config=config).state_dict()
        return layers_for_half(
            tensors, target, plugin="rwkv7", sizes=PUBLISHED_SIZES, n_layers=n_layers, half=half
        )

    @classmethod
    def extreme(cls, backbone: nn.Module) -> None:
        """Spread log-decays from -1e-4 per step to the strongest, rates from 0 to 1; draw parameters that are zero."""
        with torch.no_grad():
            for module in backbone.modules():
                if isinstance(module, TimeMixing):
                    for start, ends in ((module.w0, 9.0), (module.a0, 7.0)):
                        spread = torch.linspace(-ends, ends, start.numel())
                        start.copy_(spread[torch.randperm(start.numel())].view_as(start))
            for parameter in backbone.parameters():
                if not parameter.any():
                    parameter.normal_(std=parameter.shape[-1] ** -0.5)
