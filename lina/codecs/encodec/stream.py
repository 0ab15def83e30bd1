"""EnCodec 24 kHz as a pair of streams.

Its causal convolutions pad by reflection at the start of the signal: sample -n is sample n. Inside the
network this stays within the first frame, but the convolutions at the frame rate (the decoder's first, the
encoder's last) reflect ``kernel - 1`` = 6 frames, so the first output frame needs 7 input frames. That is the
whole latency: outputs lag by 6 frames in both directions, the fewest that are exact. If a stream ends before 7
frames, the missing ones are zeros, as for the network as a whole.

Tensors carry the position of their first element for each row (int64 [B], negative before the start), so rows
may be at different positions. Values at negative positions are fillers that are never read; in a state they do not
depend on the split of time.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lina.codecs.encodec.network import Conv, Memory, Network, Residual, UpConv


class Recurrent(NamedTuple):
    """The LSTM's state, batch first."""

    hidden: Float[Tensor, "B layers width"]
    cell: Float[Tensor, "B layers width"]


class EncoderState(NamedTuple):
    position: Int[Tensor, " B"]
    """Input frames so far."""
    tails: tuple[Tensor, ...]
    """Past input of each convolution but the last, [B, channels, samples]."""
    recurrent: Recurrent
    remembered: Tensor
    """Past input of the last convolution, [B, width, frames]."""


class DecoderState(NamedTuple):
    position: Int[Tensor, " B"]
    latents: Tensor
    """Past input of the first convolution, [B, dimension, frames]."""
    recurrent: Recurrent
    tails: tuple[Tensor, ...]
    """Past input of each later convolution, [B, channels, samples]."""


def from_start(x: Tensor, first: Tensor, value: float = 0.0) -> Tensor:
    """Fill negative positions of x [B, C, N], whose first sample is at position ``first``, with ``value``."""
    positions = first[:, None] + torch.arange(x.shape[-1], device=x.device)
    return torch.where((positions >= 0)[:, None], x, value)


def reflected(x: Tensor, first: Tensor, length: int) -> Tensor:
    """First ``length`` samples of x [B, C, N], with position n in place of a negative position -n."""
    positions = first[:, None] + torch.arange(length, device=x.device)
    index = (positions.abs() - first[:, None]).clamp(max=x.shape[-1] - 1)
    return x.gather(2, index[:, None].expand(-1, x.shape[1], -1))


def stream_layers(
    layers: Iterable[nn.Module], x: Tensor, first: Tensor, tails: Iterator[Tensor]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Run convolutions on the next input x [B, C, N] at ``first``; returns y, its position and the new tails."""
    kept: list[Tensor] = []
    for layer in layers:
        if isinstance(layer, Residual):
            inner, _, tail = stream_layers(layer.block, x, first, tails)
            x = layer.shortcut(x) + inner
            kept += tail
        elif isinstance(layer, Conv) and layer.padding:
            seen = torch.cat([next(tails), x], dim=2)
            kept.append(seen[..., -layer.padding :])
            x = layer.conv(reflected(seen, first - layer.padding, seen.shape[-1]))
            first = first // layer.stride
        elif isinstance(layer, UpConv):
            seen = from_start(torch.cat([next(tails), x], dim=2), first - 1)
            kept.append(seen[..., -1:])
            x = layer.conv(seen)[..., layer.ratio : -layer.ratio]
            first = first * layer.ratio
        else:
            x = layer(x)
    return x, first, kept


def initial_tails(layers: Iterable[nn.Module], batch: int) -> list[Tensor]:
    """Zeros for every convolution with past input, in the order of ``stream_layers``."""
    tails: list[Tensor] = []
    for layer in layers:
        if isinstance(layer, Residual):
            tails += initial_tails(layer.block, batch)
        elif isinstance(layer, Conv) and layer.padding:
            tails.append(layer.conv.weight.new_zeros(batch, layer.conv.in_channels, layer.padding))
        elif isinstance(layer, UpConv):
            tails.append(layer.conv.weight.new_zeros(batch, layer.conv.in_channels, 1))
    return tails


def initial_recurrent(memory: Memory, batch: int) -> Recurrent:
    lstm = memory.lstm
    zeros = next(lstm.parameters()).new_zeros(batch, lstm.num_layers, lstm.hidden_size)
    return Recurrent(zeros, zeros.clone())


def stream_memory(
    memory: Memory, x: Tensor, first: Tensor, state: Recurrent, fillers: int
) -> tuple[Tensor, Recurrent]:
    """Run the LSTM over x [B, C, N]. At most the first ``fillers`` frames of x may be at negative positions.

    Those frames must not change the state in their rows, so they run one by one; the rest run at once.
    """
    pieces = []
    slow = min(fillers, x.shape[-1])
    for frame in range(slow):
        y, after = _run_frame(memory, x[..., frame], state)
        started = (first + frame >= 0)[:, None, None]
        state = Recurrent(*(torch.where(started, new, old) for new, old in zip(after, state, strict=True)))
        pieces.append(y)
    if slow == x.shape[-1] - 1:
        y, state = _run_frame(memory, x[..., slow], state)
        pieces.append(y)
    elif slow < x.shape[-1]:
        y, state = _run(memory, x[..., slow:], state)
        pieces.append(y)
    return torch.cat(pieces, dim=2), state


def _run(memory: Memory, x: Tensor, state: Recurrent) -> tuple[Tensor, Recurrent]:
    over_time = x.permute(2, 0, 1)
    layers_first = tuple(part.transpose(0, 1).contiguous() for part in state)
    y, after = memory.lstm(over_time, layers_first)
    return (y + over_time).permute(1, 2, 0), Recurrent(*(part.transpose(0, 1) for part in after))


def _run_frame(memory: Memory, x: Tensor, state: Recurrent) -> tuple[Tensor, Recurrent]:
    """Run one frame x [B, C], by cells: on CPUs, ``nn.LSTM`` packs its weights again at each call."""
    y, after = x, []
    for layer, (hidden, cell) in enumerate(zip(state.hidden.unbind(1), state.cell.unbind(1), strict=True)):
        after.append(torch.lstm_cell(y, (hidden, cell), *memory.lstm.all_weights[layer]))
        y = after[-1][0]
    hiddens, cells = zip(*after, strict=True)
    return (x + y)[..., None], Recurrent(torch.stack(hiddens, 1), torch.stack(cells, 1))


class EnCodecDecoder(nn.Module):
    """``DecoderStream``. Fillers are silence."""

    def __init__(self, network: Network, hop: int) -> None:
        super().__init__()
        first, memory, *rest = network.decoder.layers
        assert isinstance(first, Conv)
        assert isinstance(memory, Memory)
        self.quantizer, self.first, self.memory, self.rest = (
            network.quantizer,
            first,
            memory,
            nn.ModuleList(rest),
        )
        self.latency = first.padding
        self.hop = hop

    def initial_state(self, batch: int) -> DecoderState:
        weight = self.first.conv.weight
        return DecoderState(
            position=torch.zeros(batch, dtype=torch.int64, device=weight.device),
            latents=weight.new_zeros(batch, weight.shape[1], self.first.padding + self.latency),
            recurrent=initial_recurrent(self.memory, batch),
            tails=tuple(initial_tails(self.rest, batch)),
        )

    def parallel_forward(
        self, codes: Int[Tensor, "B T Q"], state: DecoderState
    ) -> tuple[Float[Tensor, "B C samples"], DecoderState]:
        return self._decode(self.quantizer.decode(codes), state)

    def step(
        self, codes: Int[Tensor, "B Q"], state: DecoderState
    ) -> tuple[Float[Tensor, "B C hop"], DecoderState]:
        return self.parallel_forward(codes[:, None], state)

    def flush(self, state: DecoderState) -> Float[Tensor, "B C samples"]:
        batch, dimension, _ = state.latents.shape
        return self._decode(state.latents.new_zeros(batch, dimension, self.latency), state)[0]

    def _decode(self, latents: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        time = latents.shape[-1]
        out = state.position - self.latency
        seen = torch.cat([state.latents, latents], dim=2)
        x = self.first.conv(reflected(seen, out - self.first.padding, self.first.padding + time))
        x, recurrent = stream_memory(self.memory, x, out, state.recurrent, fillers=self.latency)
        audio, start, tails = stream_layers(self.rest, x, out, iter(state.tails))
        after = DecoderState(state.position + time, seen[..., time:], recurrent, tuple(tails))
        return from_start(audio, start), after


class EnCodecEncoder(nn.Module):
    """``EncoderStream``. Fillers are code 0.

    The last downsampling reflects exactly one frame, so frame 0 is known only with frame 1. The LSTM therefore
    stores its state one frame behind and runs one frame ahead of it, without further latency.
    """

    def __init__(self, network: Network, hop: int) -> None:
        super().__init__()
        *front, down, memory, elu, last = network.encoder.layers
        assert isinstance(down, Conv)
        assert isinstance(memory, Memory)
        assert isinstance(last, Conv)
        self.front, self.down, self.memory, self.elu, self.last = (
            nn.ModuleList(front),
            down,
            memory,
            elu,
            last,
        )
        self.quantizer = network.quantizer
        self.latency = last.padding
        self.hop = hop

    def initial_state(self, batch: int) -> EncoderState:
        weight = self.down.conv.weight
        return EncoderState(
            position=torch.zeros(batch, dtype=torch.int64, device=weight.device),
            tails=(
                *initial_tails(self.front, batch),
                weight.new_zeros(batch, weight.shape[1], 2 * self.down.stride),
            ),
            recurrent=initial_recurrent(self.memory, batch),
            remembered=weight.new_zeros(batch, weight.shape[0], self.last.padding + self.latency - 1),
        )

    def parallel_forward(
        self, audio: Float[Tensor, "B C samples"], state: EncoderState
    ) -> tuple[Int[Tensor, "B T Q"], EncoderState]:
        *tails, down_tail = state.tails
        x, _, kept = stream_layers(self.front, audio, state.position * self.hop, iter(tails))
        codes, after = self._encode(x, down_tail, state, ended=False)
        return codes, after._replace(tails=(*kept, *after.tails))

    def step(
        self, audio: Float[Tensor, "B C hop"], state: EncoderState
    ) -> tuple[Int[Tensor, "B Q"], EncoderState]:
        codes, after = self.parallel_forward(audio, state)
        return codes[:, 0], after

    def flush(self, state: EncoderState) -> Int[Tensor, "B latency Q"]:
        down_tail = state.tails[-1]
        batch, width, _ = down_tail.shape
        silence = down_tail.new_zeros(batch, width, self.latency * self.down.stride)
        return self._encode(silence, down_tail, state, ended=True)[0]

    def _encode(
        self, x: Tensor, down_tail: Tensor, state: EncoderState, *, ended: bool
    ) -> tuple[Tensor, EncoderState]:
        stride, position = self.down.stride, state.position
        time = x.shape[-1] // stride
        seen = torch.cat([down_tail, x], dim=2)
        y = self.down.conv(reflected(seen, (position - 2) * stride, seen.shape[-1]))
        settled, recurrent = stream_memory(self.memory, y[..., :-1], position - 1, state.recurrent, fillers=1)
        ahead, _ = stream_memory(self.memory, y[..., -1:], position + time - 1, recurrent, fillers=0)
        if ended:
            nothing = torch.zeros_like(settled[..., 1:])
            settled, ahead = torch.cat([settled[..., :1], nothing], dim=2), torch.zeros_like(ahead)
        settled = from_start(settled, position - 1)
        remembered = torch.cat([state.remembered, settled, ahead], dim=2)
        window = reflected(remembered, position - self.latency - self.last.padding, self.last.padding + time)
        codes = self.quantizer.encode(self.last.conv(self.elu(window)))
        frames = position[:, None] - self.latency + torch.arange(time, device=x.device)
        codes = torch.where((frames >= 0)[..., None], codes, 0)
        after = EncoderState(
            position + time, (seen[..., -2 * stride :],), recurrent, remembered[..., time:-1]
        )
        return codes, after
