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

TILE = 64
"""Matrix products on a GPU are fastest in multiples of this; odd widths have slow kernels."""


class SwiGLU(nn.Module):
    """Gated channel mixing of hidden width 4 d / 3 (Shazeer 2020, arXiv 2002.05202, eq. 6).

    Over many frames on a GPU it computes with hidden channels of zeros, up to whole tiles: the same numbers, sooner.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        hidden = 4 * d_model // 3
        self.p_in = nn.Linear(d_model, 2 * hidden)
        self.p_out = nn.Linear(hidden, d_model)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        missing = -self.p_out.in_features % TILE
        if x.device.type != "cuda" or x.dim() < 3 or not missing:
            gate, value = self.p_in(x).chunk(2, dim=-1)
            mixed: Tensor = self.p_out(F.silu(gate) * value)
            return mixed
        gate, value = F.linear(x, *self.padded_entrance(missing)).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * value, F.pad(self.p_out.weight, (0, missing)), self.p_out.bias)

    def padded_entrance(self, missing: int) -> tuple[Float[Tensor, "P D"], Float[Tensor, "P"]]:
        """Weight and bias of ``p_in``, with ``missing`` rows of zeros after gates and values; P rows in all."""
        weight, bias = (value.unflatten(0, (2, -1)) for value in (self.p_in.weight, self.p_in.bias))
        return F.pad(weight, (0, 0, 0, missing)).flatten(0, 1), F.pad(bias, (0, missing)).flatten()


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
        self.p_in, self.p_out = padded_layers(block.cmix)

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


@torch.no_grad()
def padded_layers(mixing: SwiGLU) -> tuple[nn.Linear, nn.Linear]:
    """Copies of both layers with hidden channels that do nothing, up to whole tiles."""
    missing = -mixing.p_out.in_features % TILE
    leave = F.pad(mixing.p_out.weight, (0, missing))
    return linear_of(*mixing.padded_entrance(missing)), linear_of(leave, mixing.p_out.bias.clone())


class Layers(nn.Module):
    """Backbones one after the other, themselves a backbone. The state is the tuple of the layers' states."""

    def __init__(self, layers: Iterable[Backbone], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)  # type: ignore[arg-type]
        self.norm_f = norm
        """Norm of the outputs; ``lina.core.model.final_norm`` replaces it where a spec asks for one."""
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
        return self.normed(x), tuple(after)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Outputs from the initial state: the stack as an ordinary module, for training outside of lina."""
        y, _ = self.parallel_forward(x, self.initial_state(len(x)))
        return y

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        after = []
        for layer, before in zip(self._each(), state, strict=True):
            x, new = layer.step(x, before)
            after.append(new)
        return self.normed(x), tuple(after)

    def normed(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """The outputs of the last layer as the stack returns them."""
        return x if self.norm_f is None else self.norm_f(x)

    def fused_step(self) -> InPlaceStep:
        return InPlaceLayers([in_place_step(layer) for layer in self._each()], self.norm_f)

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
        super().__init__((ResidualMixer(mixer, norm()) for mixer in mixers), norm())


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
