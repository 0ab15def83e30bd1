"""Cross-attention from audio to text, between the two halves of the backbone.

*Plain*: queries from the audio read keys and values of the text.

*Position-aware* (PACA: Lemerle et al. 2024, "Small-E", arXiv 2406.04467): the queries read only sinusoidal
text *positions*; a small recurrent network moves through them over time; its output attends to positions again and
so reads the values. The path through the text is thus a stream of its own, hard to lose.

Keys and values are computed once per utterance (``TextMemory``); the state is the position network's. Where utterances
lie end to end in a row, each frame reads the text of its own utterance (``TextSwaps``).
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lina.core.model.text_blocks import TextBlocks, TextSwaps, text_blocks
from lina.core.ops.rotary import apply_rotary
from lina.core.protocols import Backbone
from lina.core.state import State, tree_map


class TextMemory(NamedTuple):
    """An encoded text as the audio reads it; read-only, in no state."""

    keys: Float[Tensor, "B J D"]
    values: Float[Tensor, "B J D"]
    mask: Bool[Tensor, "B J"]
    positions: Float[Tensor, "B J P"]
    """Sinusoidal positions, which position-aware attention reads; P is 0 for plain attention."""
    text: Int[Tensor, "B J"]
    """Zeros; exported graphs name them."""


class AttentionState(NamedTuple):
    """Position of the audio in the text."""

    time: Int[Tensor, "B"]
    """Steps so far (read by rotary queries)."""
    position: State
    """The position network's state; an empty tuple for plain attention."""


class CrossAttention(nn.Module):
    """Plain cross-attention with normalized queries, keys and values, and no output projection (as in lina-speech)."""

    def __init__(self, d_model: int, n_heads: int, rotary: bool, rotary_channels: int | None = None) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.rotary, self.rotary_channels = rotary, rotary_channels
        self.q, self.k, self.v = (nn.Linear(d_model, d_model) for _ in range(3))
        self.ln_q, self.ln_k, self.ln_v = (nn.LayerNorm(d_model) for _ in range(3))

    def remember(self, text: Float[Tensor, "B J D"], mask: Bool[Tensor, "B J"]) -> TextMemory:
        """Keys and values of an encoded text."""
        positions = torch.arange(text.shape[1], device=text.device).expand(text.shape[0], -1)
        keys, values = self._turn(self.ln_k(self.k(text)), positions), self.ln_v(self.v(text))
        one_text = torch.zeros_like(mask, dtype=torch.int64)
        return TextMemory(keys, values, mask, values.new_zeros(*mask.shape, 0), one_text)

    def initial_state(self, batch: int) -> AttentionState:
        return AttentionState(torch.zeros(batch, dtype=torch.int64, device=self.q.weight.device), ())

    def parallel_forward(
        self,
        x: Float[Tensor, "B T D"],
        state: AttentionState,
        memory: TextMemory,
        texts: TextSwaps | None = None,
    ) -> tuple[Float[Tensor, "B T D"], AttentionState, Float[Tensor, "B T J"]]:
        """Values that each frame reads, the final state, and the attention of the first head over the text.

        The first head is the one that training may guide (``lina.training.losses``) and that plots show.

        ``texts``: the text of each frame, where it is not the one of its row; the state restarts where it is swapped.
        """
        times, blocks, memory = _layout(state, x.shape[1], memory, texts)
        queries = self._queries(x, times)
        weights = _softmax(self._scores(queries if blocks is None else blocks.cut(queries), memory), memory)
        values = memory.values.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        out = (weights @ _matched(values, weights)).transpose(1, 2).flatten(2)
        first = weights[:, 0]
        if blocks is not None:
            out, first = blocks.join(out), blocks.join(first)
        return out.to(x.dtype), state._replace(time=times[:, -1] + 1), first

    def step(
        self, x: Float[Tensor, "B D"], state: AttentionState, memory: TextMemory
    ) -> tuple[Float[Tensor, "B D"], AttentionState, Float[Tensor, "B J"]]:
        out, state, weights = self.parallel_forward(x[:, None], state, memory)
        return out[:, 0], state, weights[:, 0]

    def _queries(self, x: Float[Tensor, "B T D"], times: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        return self._turn(self.ln_q(self.q(x)), times)

    def _scores(self, queries: Float[Tensor, "B T D"], memory: TextMemory) -> Float[Tensor, "B H T J"]:
        queries = queries.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        keys = memory.keys.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        scores: Tensor = queries @ _matched(keys, queries).transpose(-1, -2) * queries.shape[-1] ** -0.5
        return scores

    def _turn(self, x: Float[Tensor, "B T D"], positions: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        if not self.rotary:
            return x
        return apply_rotary(x.unflatten(-1, (self.n_heads, -1)), positions, self.rotary_channels).flatten(2)

    def maps(
        self, x: Float[Tensor, "B T D"], state: AttentionState, memory: TextMemory
    ) -> Float[Tensor, "B M T J"]:
        """All attentions over the text in ``parallel_forward``: one per head."""
        times = _times(state.time, x.shape[1], None)
        return _softmax(self._scores(self._queries(x, times), memory), memory)


class PositionCrossAttention(CrossAttention):
    """Position-aware cross-attention: content is read only where the position network points."""

    def __init__(
        self,
        d_model: int,
        position_net: Backbone,
        d_position: int,
        rotary: bool,
        rotary_channels: int | None = None,
    ) -> None:
        super().__init__(d_model, 1, rotary, rotary_channels)
        self.pos_net: Any = position_net
        self.d_position = d_position

    def remember(self, text: Float[Tensor, "B J D"], mask: Bool[Tensor, "B J"]) -> TextMemory:
        memory = super().remember(text, mask)
        positions = sinusoids(mask.shape[1], self.d_position, memory.values)
        return memory._replace(positions=positions.expand(mask.shape[0], -1, -1))

    def initial_state(self, batch: int) -> AttentionState:
        return super().initial_state(batch)._replace(position=self.pos_net.initial_state(batch))

    def parallel_forward(
        self,
        x: Float[Tensor, "B T D"],
        state: AttentionState,
        memory: TextMemory,
        texts: TextSwaps | None = None,
    ) -> tuple[Float[Tensor, "B T D"], AttentionState, Float[Tensor, "B T J"]]:
        times, blocks, memory = _layout(state, x.shape[1], memory, texts)
        queries = self._queries(x, times)
        if texts is None or blocks is None:
            where, position = self.pos_net.parallel_forward(
                self._point(queries, memory).to(x.dtype), state.position
            )
            out, weights = self._read(where, memory)
        else:
            where = blocks.join(self._point(blocks.cut(queries), memory)).to(x.dtype)
            where, position = self.pos_net.parallel_forward(where, state.position, starts=texts.swaps)
            out, weights = (blocks.join(part) for part in self._read(blocks.cut(where), memory))
        return out.to(x.dtype), AttentionState(times[:, -1] + 1, position), weights

    def step(
        self, x: Float[Tensor, "B D"], state: AttentionState, memory: TextMemory
    ) -> tuple[Float[Tensor, "B D"], AttentionState, Float[Tensor, "B J"]]:
        where, position = self.pos_net.step(self.locate(x, state, memory), state.position)
        out, weights = self.read(where, memory)
        return out.to(x.dtype), AttentionState(state.time + 1, position), weights

    def locate(
        self, x: Float[Tensor, "B D"], state: AttentionState, memory: TextMemory
    ) -> Float[Tensor, "B P"]:
        """The first half of ``step``: the mean text position that each query points at."""
        queries = self._queries(x[:, None], state.time[:, None])
        return self._point(queries, memory)[:, 0].to(x.dtype)

    def read(
        self, where: Float[Tensor, "B P"], memory: TextMemory
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B J"]]:
        """The second half of ``step``, after the position network: the values read there, and the attention."""
        out, weights = self._read(where[:, None], memory)
        return out[:, 0], weights[:, 0]

    def maps(
        self, x: Float[Tensor, "B T D"], state: AttentionState, memory: TextMemory
    ) -> Float[Tensor, "B M T J"]:
        """Attention of the queries, and of the position network's output."""
        read = self.parallel_forward(x, state, memory)[2]
        queries = self._queries(x, _times(state.time, x.shape[1], None))
        return torch.stack([self._query_weights(queries, memory), read], dim=1)

    def _query_weights(self, queries: Float[Tensor, "B T D"], memory: TextMemory) -> Float[Tensor, "B T J"]:
        return _softmax(self._scores(queries, memory)[:, 0], memory)

    def _point(self, queries: Float[Tensor, "B T D"], memory: TextMemory) -> Float[Tensor, "B T P"]:
        """The mean text position that each query points at."""
        weights = self._query_weights(queries, memory)
        return weights @ _matched(memory.positions, weights)

    def _read(
        self, where: Float[Tensor, "B T P"], memory: TextMemory
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B T J"]]:
        scores = where @ _matched(memory.positions, where).transpose(-1, -2) * self.d_position**-0.5
        weights = _softmax(scores, memory)
        return weights @ _matched(memory.values, weights), weights


def sinusoids(length: int, width: int, like: Tensor) -> Float[Tensor, "J P"]:
    """Sinusoidal positions: sines of position * 10000^(-2e / width), then their cosines."""
    exponents = torch.arange(0, width, 2, dtype=torch.float64, device=like.device) / width
    angles = torch.arange(length, dtype=torch.float64, device=like.device)[:, None] * 10000.0**-exponents
    dtype = torch.promote_types(like.dtype, torch.float32)
    return torch.cat([angles.sin(), (angles + torch.pi / 2).sin()], dim=-1).to(dtype)


def pad_memory(memory: TextMemory, positions: int) -> TextMemory:
    """The same texts with masked positions after them, up to ``positions``."""
    missing = positions - memory.mask.shape[-1]
    if missing < 0:
        raise ValueError(f"a text of {memory.mask.shape[-1]} positions does not fit into {positions}")
    if not missing:
        return memory
    flat = (memory.mask, memory.text)

    def pad(leaf: Tensor) -> Tensor:
        # Not F.pad: before PyTorch 2.8 it refuses leaves without elements.
        axis = -1 if any(leaf is one for one in flat) else -2
        return torch.cat([leaf, leaf.new_zeros([*leaf.shape[:axis], missing, *leaf.shape[axis:][1:]])], axis)

    return tree_map(pad, memory)


def _layout(
    state: AttentionState, frames: int, memory: TextMemory, texts: TextSwaps | None
) -> tuple[Int[Tensor, "B T"], TextBlocks | None, TextMemory]:
    """Steps with the present text before each frame, the blocks of packed rows, and the text of each row or block."""
    if texts is None:
        return _times(state.time, frames, None), None, memory
    blocks = text_blocks(texts, len(memory.mask))
    return _times(state.time, frames, texts.swaps), blocks, blocks.each(memory)


def _times(time: Int[Tensor, "B"], frames: int, swaps: Bool[Tensor, "B T"] | None) -> Int[Tensor, "B T"]:
    """Steps with the present text before each frame."""
    frame = torch.arange(frames, device=time.device)
    if swaps is None:
        return time[:, None] + frame
    start = torch.where(swaps, frame, -1).cummax(1).values
    return torch.where(start < 0, time[:, None] + frame, frame - start)


def _matched(x: Float[Tensor, "..."], other: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """``x`` in the dtype of its other factor, where autocast does not convert it."""
    return x if torch.is_autocast_enabled(x.device.type) else x.to(other.dtype)


def _softmax(scores: Float[Tensor, "B *H T J"], memory: TextMemory) -> Float[Tensor, "B *H T J"]:
    """Attention weights over the text, in float32 or better."""
    allowed = memory.mask[:, None, None] if scores.dim() == 4 else memory.mask[:, None]
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return scores.masked_fill(~allowed, -torch.inf).softmax(-1)
