"""Lina's codec as a pair of streams: the encoder lags by its lookahead, the decoder has latency 0."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lina.codecs.lina.frame_step import FrameStep
from lina.codecs.lina.network import Network, States


class CodecState(NamedTuple):
    layers: States
    """State of each layer, in the order in which they run."""


class LinaEncoder(nn.Module):
    """``EncoderStream``. Fillers are the codes of the silence before the start."""

    def __init__(self, network: Network, codebooks: int) -> None:
        super().__init__()
        self.network, self.quantizer, self.codebooks = network.encoder, network.quantizer, codebooks
        self.latency, self.hop = network.sizes.lookahead, network.hop

    def initial_state(self, batch: int) -> CodecState:
        return CodecState(self.network.initial_state(batch))

    def parallel_forward(
        self, audio: Float[Tensor, "B C samples"], state: CodecState
    ) -> tuple[Int[Tensor, "B T Q"], CodecState]:
        latents, layers = self.network(audio[:, 0], state.layers)
        return self.quantizer.encode(latents, self.codebooks), CodecState(layers)

    def step(
        self, audio: Float[Tensor, "B C hop"], state: CodecState
    ) -> tuple[Int[Tensor, "B Q"], CodecState]:
        codes, after = self.parallel_forward(audio, state)
        return codes[:, 0], after

    def flush(self, state: CodecState) -> Int[Tensor, "B latency Q"]:
        first = state.layers[0]
        silence = first.new_zeros(len(first), 1, max(self.latency, 1) * self.hop)
        return self.parallel_forward(silence, state)[0][:, : self.latency]


class LinaDecoder(nn.Module):
    """``DecoderStream`` of a network in evaluation."""

    latency = 0

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.quantizer, self.hop = network.decoder, network.quantizer, network.hop
        self.frame_step = FrameStep(self.network, self.quantizer)

    def initial_state(self, batch: int) -> CodecState:
        return CodecState(self.network.initial_state(batch))

    def parallel_forward(
        self, codes: Int[Tensor, "B T Q"], state: CodecState
    ) -> tuple[Float[Tensor, "B C samples"], CodecState]:
        audio, layers = self.network(self.quantizer.decode(codes), state.layers)
        return audio.clamp(-1.0, 1.0)[:, None], CodecState(layers)

    def step(
        self, codes: Int[Tensor, "B Q"], state: CodecState
    ) -> tuple[Float[Tensor, "B C hop"], CodecState]:
        if len(codes) > 1 or not _shares_with_numpy(state):
            return self.parallel_forward(codes[:, None], state)
        audio, layers = self.frame_step(codes[0].cpu(), state.layers)
        return audio.clamp(-1.0, 1.0)[:, None], CodecState(layers)

    def flush(self, state: CodecState) -> Float[Tensor, "B C samples"]:
        last = state.layers[-1]
        return last.new_zeros(len(last), 1, 0)


def _shares_with_numpy(state: CodecState) -> bool:
    """Check for tensors that NumPy can share."""
    tensors = state.layers
    return all(t.device.type == "cpu" and t.dtype == torch.float32 and not t.requires_grad for t in tensors)
