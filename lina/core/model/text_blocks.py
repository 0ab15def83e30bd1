"""Frames of packed rows in blocks of one text each, so that attention never computes [a whole row x all its texts].

A packed row holds utterances end to end, each with a text of its own. Cut into blocks of ``BLOCK`` frames, each block
attends to one text: a row of 32,000 frames holds [500 blocks x 64 frames x one text] of weights per head.
"""

from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from lina.core.state import State, tree_map

BLOCK = 64
"""Frames per block; an utterance's last block is half empty on average."""

S = TypeVar("S", bound=State)


class TextSwaps(NamedTuple):
    """Texts that the steps of packed rows read."""

    swaps: Bool[Tensor, "B S"]
    """First step of each utterance: from there the next text is read, from its beginning."""
    text: Int[Tensor, "B S"]
    """Index of the text among those of the ``TextMemory``. Each text is read by one row, without interruption."""


class TextBlocks(NamedTuple):
    """K blocks of up to F frames of B rows of S frames; their number depends on shapes alone."""

    text: Int[Tensor, "K"]
    """The text of each block; 0 for a block without frames."""
    frames: Int[Tensor, "K F"]
    """The frames of each block, counted over all rows; 0 where it has none."""
    filled: Bool[Tensor, "K F"]
    places: Int[Tensor, "B S"]
    """Place of each frame among the places of all blocks."""

    def cut(self, x: Float[Tensor, "B S *D"]) -> Float[Tensor, "K F *D"]:
        """Frames to blocks; zeros where a block has no frame."""
        cut: Tensor = _Exchange.apply(  # type: ignore[no-untyped-call]
            x.flatten(0, 1), self.frames, self.filled, self.places.flatten(), None
        )
        return cut

    def join(self, blocks: Float[Tensor, "K F *D"]) -> Float[Tensor, "B S *D"]:
        """Blocks to frames."""
        joined: Tensor = _Exchange.apply(  # type: ignore[no-untyped-call]
            blocks.flatten(0, 1), self.places, None, self.frames.flatten(), self.filled.flatten()
        )
        return joined

    def each(self, memory: S) -> S:
        """The text of each block, from tensors with a row per text."""

        def take(leaf: Shaped[Tensor, "U ..."]) -> Shaped[Tensor, "K ..."]:
            if not leaf.is_floating_point() or not leaf.numel():
                return leaf[self.text]
            # An embedding's gradient adds up in a fixed order on a GPU, that of an index does not.
            chosen: Tensor = F.embedding(self.text, leaf.flatten(1)).unflatten(1, leaf.shape[1:])
            return chosen

        taken: S = tree_map(take, memory)
        return taken


def text_blocks(texts: TextSwaps, count: int) -> TextBlocks:
    """Cut rows into blocks, without a synchronization with the device. ``count``: number of all texts."""
    rows, steps = texts.swaps.shape
    step = torch.arange(steps, device=texts.swaps.device)
    within = step - torch.where(texts.swaps, step, 0).cummax(1).values
    place = within % BLOCK
    block = (place == 0).flatten().cumsum(0).view_as(place) - 1
    places = block * BLOCK + place
    blocks = rows * steps // BLOCK + rows + count
    frames = torch.full((blocks * BLOCK,), -1, device=step.device)
    frames[places.flatten()] = torch.arange(rows * steps, device=step.device)
    frames = frames.view(blocks, BLOCK)
    text = torch.zeros(blocks, dtype=torch.int64, device=step.device)
    text[block.flatten()] = texts.text.flatten()
    return TextBlocks(text, frames.clamp(min=0), frames >= 0, places)


class _Exchange(torch.autograd.Function):
    """Rows ``index`` of x, zeros where ``filled`` is false. Its gradient is such a choice as well, by ``back``."""

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        index: Tensor,
        filled: Tensor | None,
        back: Tensor,
        back_filled: Tensor | None,
    ) -> Tensor:
        context.dims = index.dim()
        context.save_for_backward(back, back_filled)
        return _choose(x, index, filled)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = gradients
        return _choose(gradient.flatten(0, context.dims - 1), *context.saved_tensors), None, None, None, None


def _choose(x: Tensor, index: Tensor, filled: Tensor | None) -> Tensor:
    chosen = x[index]
    if filled is None:
        return chosen
    return chosen.masked_fill(~filled.view(*filled.shape, *[1] * (x.dim() - 1)), 0.0)
