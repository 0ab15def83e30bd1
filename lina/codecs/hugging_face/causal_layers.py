"""Causal convolutions as streams: each keeps the past input that its next output reads.

Stages run the convolutions of a model of transformers, whose weights they share, on consecutive pieces of a signal. A
stage consumes its tails (past inputs, [B, channels, samples]) from an iterator and returns the next ones, in the
order of ``initial_tails``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

PAD_MODES = ("constant", "replicate")
"""Paddings at the start of a signal that need no later sample."""


class Stage(nn.Module, ABC):
    @abstractmethod
    def initial_tails(self, batch: int) -> list[Tensor]:
        """Tails before the first sample."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "B C N"], begins: Bool[Tensor, "B"], tails: Iterator[Tensor]
    ) -> tuple[Float[Tensor, "B D M"], list[Tensor]]:
        """Process the next samples; ``begins``: rows of which they are the first."""


class Pointwise(Stage):
    """A layer without a past, such as an activation."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def initial_tails(self, batch: int) -> list[Tensor]:
        return []

    def forward(
        self, x: Float[Tensor, "B C N"], begins: Bool[Tensor, "B"], tails: Iterator[Tensor]
    ) -> tuple[Float[Tensor, "B C N"], list[Tensor]]:
        return self.layer(x), []


class CausalConv(Stage):
    """A convolution, perhaps strided or dilated, of a signal padded on the left. N is a multiple of its stride."""

    def __init__(self, conv: nn.Conv1d, *, replicate: bool) -> None:
        """``replicate``: pad with the first sample instead of zeros."""
        super().__init__()
        (kernel,), (stride,), (dilation,) = conv.kernel_size, conv.stride, conv.dilation
        self.conv, self.replicate = conv, replicate
        self.past = (kernel - 1) * dilation + 1 - stride

    def initial_tails(self, batch: int) -> list[Tensor]:
        return [self.conv.weight.new_zeros(batch, self.conv.in_channels, self.past)] if self.past else []

    def forward(
        self, x: Float[Tensor, "B C N"], begins: Bool[Tensor, "B"], tails: Iterator[Tensor]
    ) -> tuple[Float[Tensor, "B D M"], list[Tensor]]:
        if not self.past:
            return self.conv(x), []
        tail = next(tails)
        if self.replicate:
            tail = torch.where(begins[:, None, None], x[..., :1], tail)
        seen = torch.cat([tail, x], dim=2)
        return self.conv(seen), [seen[..., seen.shape[-1] - self.past :].clone()]


class CausalUpConv(Stage):
    """A transposed convolution whose surplus samples are all trimmed on the right."""

    def __init__(self, conv: nn.ConvTranspose1d) -> None:
        super().__init__()
        (kernel,), (self.ratio,) = conv.kernel_size, conv.stride
        self.conv, self.past = conv, (kernel - 1) // self.ratio

    def initial_tails(self, batch: int) -> list[Tensor]:
        return [self.conv.weight.new_zeros(batch, self.conv.in_channels, self.past)] if self.past else []

    def forward(
        self, x: Float[Tensor, "B C N"], begins: Bool[Tensor, "B"], tails: Iterator[Tensor]
    ) -> tuple[Float[Tensor, "B D M"], list[Tensor]]:
        seen = torch.cat([next(tails), x], dim=2) if self.past else x
        y = self.conv(seen)[..., self.past * self.ratio : seen.shape[-1] * self.ratio]
        kept = [seen[..., seen.shape[-1] - self.past :].clone()] if self.past else []
        return y, kept


class Chain(Stage):
    """Stages one after another."""

    def __init__(self, stages: Iterable[Stage]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def initial_tails(self, batch: int) -> list[Tensor]:
        return [tail for stage in self._stages() for tail in stage.initial_tails(batch)]

    def forward(
        self, x: Float[Tensor, "B C N"], begins: Bool[Tensor, "B"], tails: Iterator[Tensor]
    ) -> tuple[Float[Tensor, "B D M"], list[Tensor]]:
        kept: list[Tensor] = []
        for stage in self._stages():
            x, new = stage(x, begins, tails)
            kept += new
        return x, kept

    def _stages(self) -> Iterator[Stage]:
        for stage in self.stages:
            assert isinstance(stage, Stage)
            yield stage


class Residual(Stage):
    """A chain added to a shortcut: the input itself, or a convolution of it."""

    def __init__(self, block: Chain, shortcut: Stage) -> None:
        super().__init__()
        self.block, self.shortcut = block, shortcut

    def initial_tails(self, batch: int) -> list[Tensor]:
        return [*self.block.initial_tails(batch), *self.shortcut.initial_tails(batch)]

    def forward(
        self, x: Float[Tensor, "B C N"], begins: Bool[Tensor, "B"], tails: Iterator[Tensor]
    ) -> tuple[Float[Tensor, "B C N"], list[Tensor]]:
        inner, kept = self.block(x, begins, tails)
        around, more = self.shortcut(x, begins, tails)
        return around + inner, [*kept, *more]


def stage_of(layer: Any) -> Stage:
    """The stream of a layer of Mimi's convolutional networks."""
    if hasattr(layer, "block"):
        return Residual(chain_of(layer.block), stage_of(layer.shortcut))
    conv = getattr(layer, "conv", None)
    if isinstance(conv, nn.Conv1d):
        return CausalConv(conv, replicate=layer.pad_mode == "replicate")
    if isinstance(conv, nn.ConvTranspose1d):
        return CausalUpConv(conv)
    return Pointwise(layer)


def chain_of(layers: Iterable[Any]) -> Chain:
    """The stream of consecutive layers."""
    return Chain([stage_of(layer) for layer in layers])
