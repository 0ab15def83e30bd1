"""Stacks of layers around time mixers: norms, channel mixing and residuals, so that a plugin is only its mixer.

``ResidualStack`` has pre-norm blocks as in lina-speech: x + mixer(norm(x)), then x + swiglu(norm(x)). ``MixerStack`` is
for mixers that need no channel mixing, as in Mamba: x + mixer(norm(x)), and a norm at the end.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lina.core.extreme_gates import saturate
from lina.core.model.in_place import InPlaceLayers, InPlaceStep, in_place_step, linear_of
from lina.core.ops.small_linear import is_small, small_linear
from lina.core.plugin import BackbonePlugin
from lina.core.protocols import Backbone, takes_starts
from lina.core.state import S, State


class SwiGLU(nn.Module):
    """Gated channel mixing of hidden width 4 d / 3 (Shazeer 2020, arXiv 2002.05202, eq. 6)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        hidden = 4 * d_model // 3
        self.p_in = nn.Linear(d_model, 2 * hidden)
        self.p_out = nn.Linear(hidden, d_model)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        gate, value = self.p_in(x).chunk(2, dim=-1)
        mixed: Tensor = self.p_out(F.silu(gate) * value)
        return mixed


class Block(nn.Module):
    """One layer: time mixing, then channel mixing; itself a stream with its mixer's state."""

    def __init__(self, mixer: Backbone, d_model: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.tmix = mixer
        self.norm2 = nn.LayerNorm(d_model)
        self.cmix = SwiGLU(d_model)
        self.takes_starts = takes_starts(mixer)

    def initial_state(self, batch: int) -> State:
        return self.tmix.initial_state(batch)

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: State, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], State]:
        options = {} if starts is None else {"starts": starts}
        mixed, state = self.tmix.parallel_forward(self.norm1(x), state, **options)
        x = x + mixed
        return x + self.cmix(self.norm2(x)), state

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        mixed, state = self.tmix.step(self.norm1(x), state)
        x = x + mixed
        return x + self.cmix(self.norm2(x)), state

    def fused_step(self) -> InPlaceStep:
        return BlockStep(self)

    def extreme(self) -> None:
        """Saturate the mixer's gates, for the laws."""
        saturate(cast(nn.Module, self.tmix))


class BlockStep(InPlaceStep):
    """A block's step in place; the channel mixing's hidden width is padded to whole tiles of a matrix product."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.tmix = in_place_step(block.tmix)
        self.p_in, self.p_out = padded_hidden(block.cmix)

    def forward(self, x: Float[Tensor, "B D"], state: State) -> Float[Tensor, "B D"]:
        x = self.tmix.add(x, self.norm1, state)
        norm, enter, leave = self.norm2, self.p_in, self.p_out
        if is_small(x, enter.in_features, leave.in_features):
            own = norm.weight, norm.bias, norm.eps
            hidden = small_linear(x, enter.weight, enter.bias, *own, swiglu=True)
            return small_linear(hidden, leave.weight, leave.bias, residual=x)
        gate, value = enter(norm(x)).chunk(2, dim=-1)
        return x + leave(F.silu(gate) * value)  # type: ignore[no-any-return]

    def stored(self, state: S, dtype: torch.dtype) -> S:
        return self.tmix.stored(state, dtype)


def padded_hidden(mixing: SwiGLU, multiple: int = 64) -> tuple[nn.Linear, nn.Linear]:
    """Copies of both layers with hidden channels that do nothing, up to a multiple (odd widths have slow kernels)."""
    hidden = mixing.p_out.in_features
    missing = -hidden % multiple
    weight, bias = mixing.p_in.weight.detach(), mixing.p_in.bias.detach()
    enter = linear_of(
        F.pad(weight.unflatten(0, (2, hidden)), (0, 0, 0, missing)).flatten(0, 1),
        F.pad(bias.unflatten(0, (2, hidden)), (0, missing)).flatten(),
    )
    return enter, linear_of(F.pad(mixing.p_out.weight.detach(), (0, missing)), mixing.p_out.bias.detach())


class Layers(nn.Module):
    """Backbones one after the other, themselves a backbone. The state is the tuple of the layers' states."""

    def __init__(self, layers: Iterable[Backbone]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)  # type: ignore[arg-type]
        self.takes_starts = all(takes_starts(layer) for layer in self._each())
        self.gradient_checkpointing = False
        """Set by the trainer: save only each layer's input for the backward pass and recompute the rest."""

    def initial_state(self, batch: int) -> State:
        return tuple(layer.initial_state(batch) for layer in self._each())

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: State, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """``starts``: frames at which the state restarts; only if all layers take it."""
        options = {} if starts is None else {"starts": starts}
        after = []
        for layer, before in zip(self._each(), state, strict=True):
            if self.gradient_checkpointing and self.training:
                x, new = checkpoint(
                    partial(layer.parallel_forward, **options), x, before, use_reentrant=False
                )
            else:
                x, new = layer.parallel_forward(x, before, **options)
            after.append(new)
        return x, tuple(after)

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        after = []
        for layer, before in zip(self._each(), state, strict=True):
            x, new = layer.step(x, before)
            after.append(new)
        return x, tuple(after)

    def fused_step(self) -> InPlaceStep:
        return InPlaceLayers([in_place_step(layer) for layer in self._each()])

    def extreme(self) -> None:
        """Saturate the gates of each layer, for the laws."""
        for layer in self._each():
            saturate(layer)

    def _each(self) -> list[Any]:
        return list(self.layers)


class ResidualStack(Layers):
    """Blocks around mixers. The state is the tuple of the mixers' states."""

    def __init__(self, mixers: Sequence[Backbone], d_model: int) -> None:
        super().__init__(Block(mixer, d_model) for mixer in mixers)


class ResidualMixer(nn.Module):
    """x + mixer(norm(x)); itself a stream with its mixer's state."""

    def __init__(self, mixer: Backbone, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.mixer = mixer
        self.takes_starts = takes_starts(mixer)

    def initial_state(self, batch: int) -> State:
        return self.mixer.initial_state(batch)

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: State, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], State]:
        options = {} if starts is None else {"starts": starts}
        mixed, state = self.mixer.parallel_forward(self.norm(x), state, **options)
        return x + mixed, state

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        mixed, state = self.mixer.step(self.norm(x), state)
        return x + mixed, state

    def fused_step(self) -> InPlaceStep:
        return ResidualStep(self)

    def extreme(self) -> None:
        """Saturate the mixer's gates, for the laws."""
        saturate(cast(nn.Module, self.mixer))


class ResidualStep(InPlaceStep):
    """x + mixer(norm(x)) in place."""

    def __init__(self, layer: ResidualMixer) -> None:
        super().__init__()
        self.norm, self.mixer = layer.norm, in_place_step(layer.mixer)

    def forward(self, x: Float[Tensor, "B D"], state: State) -> Float[Tensor, "B D"]:
        return x + self.mixer(self.norm(x), state)  # type: ignore[no-any-return]

    def stored(self, state: S, dtype: torch.dtype) -> S:
        return self.mixer.stored(state, dtype)


class MixerStack(Layers):
    """Mixers with norms and residuals around them. The state is the tuple of the mixers' states."""

    def __init__(self, mixers: Iterable[Backbone], norm: Callable[[], nn.Module]) -> None:
        super().__init__(ResidualMixer(mixer, norm()) for mixer in mixers)
        self.norm_f = norm()

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: State, starts: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], State]:
        x, after = super().parallel_forward(x, state, starts)
        return self.norm_f(x), after

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        x, after = super().step(x, state)
        return self.norm_f(x), after

    def fused_step(self) -> InPlaceStep:
        return InPlaceLayers([in_place_step(layer) for layer in self._each()], self.norm_f)


class MixerPlugin(BackbonePlugin):
    """A backbone plugin that defines only its time mixer; core builds the stack around it."""

    @classmethod
    @abstractmethod
    def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: Any) -> Backbone:
        """Build the time mixer (an ``nn.Module`` with the ``Backbone`` protocol) of layer ``layer`` of ``n_layers``."""

    @classmethod
    @final
    def build(cls, *, d_model: int, n_layers: int, config: Any) -> Backbone:
        mixers = [
            cls.mixer(d_model=d_model, layer=layer, n_layers=n_layers, config=config)
            for layer in range(n_layers)
        ]
        return ResidualStack(mixers, d_model)
