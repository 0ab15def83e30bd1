"""Steps that advance a state in place, for an engine that holds states in static buffers.

A backbone's ``step`` is pure: it reads a state and returns another one, which costs a pass over the state to write it
and one more to bring it into the buffer. A *fused step* reads and writes the buffer once. It is an optional
capability (``lina.core.protocols.FusesStep``).
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lina.core.protocols import Backbone, FusesStep, implements
from lina.core.state import S, State, leaves


class InPlaceStep(nn.Module):
    """One frame, with the state advanced in place."""

    compiles_alone = True
    """A region for a compiler: layers of one kind then share compiled code. False for containers of other regions."""

    def forward(self, x: Float[Tensor, "B D"], state: State) -> Float[Tensor, "B D"]:
        raise NotImplementedError

    def add(self, x: Float[Tensor, "B D"], norm: nn.LayerNorm, state: State) -> Float[Tensor, "B D"]:
        """x + step(norm(x)); a step that can do it in fewer kernels has a form of its own."""
        y: Tensor = x + self(norm(x), state)
        return y

    def stored(self, state: S, dtype: torch.dtype) -> S:
        """The state with the memories of this step converted to ``dtype``; sums are in float32 regardless."""
        return state


class CopiedStep(InPlaceStep):
    """The step of any backbone, its new state copied over the old one."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone: Any = backbone

    def forward(self, x: Float[Tensor, "B D"], state: State) -> Float[Tensor, "B D"]:
        y, after = self.backbone.step(x, state)
        copy_into(state, after)
        return y  # type: ignore[no-any-return]


class InPlaceLayers(InPlaceStep):
    """Steps one after the other, with the tuple of their states."""

    compiles_alone = False

    def __init__(self, steps: list[InPlaceStep], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.norm = norm

    def forward(self, x: Float[Tensor, "B D"], state: State) -> Float[Tensor, "B D"]:
        for step, own in zip(self.steps, state, strict=True):
            x = step(x, own)
        return x if self.norm is None else self.norm(x)

    def stored(self, state: S, dtype: torch.dtype) -> S:
        own = [
            cast(InPlaceStep, step).stored(part, dtype)
            for step, part in zip(self.steps, cast(Any, state), strict=True)
        ]
        return cast(S, tuple(own))


def in_place_step(backbone: Any) -> InPlaceStep:
    """The fused step of a backbone that has one for this machine, or else its step with a copy."""
    step: InPlaceStep | None = backbone.fused_step() if implements(backbone, FusesStep) else None
    return CopiedStep(backbone) if step is None else step


def copy_into(buffers: State, values: State) -> None:
    """Write the leaves of ``values`` over those of ``buffers``; a leaf that is its own buffer is there already."""
    for buffer, value in zip(leaves(buffers), leaves(values), strict=True):
        if value is not buffer:
            buffer.copy_(value)


def linear_of(weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None = None) -> nn.Linear:
    """A linear layer with these weights."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias.contiguous(), requires_grad=False)
    return linear
