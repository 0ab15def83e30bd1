"""The codec vocoder for lina: a channel vocoder, which represents speech by the loudness of its frequency bands.

The encoder measures the mean power of each band over two frames and rounds its logarithm; the decoder shapes noise
to these powers and adds up the overlapping pieces (Dudley 1939, "Remaking Speech"; noise for every sound as in
Shannon et al. 1995, "Speech Recognition with Primarily Temporal Cues"). There is no pitch, so all speech comes out
whispered: intelligible, but without a speaker's voice.

It is a start: ``lina check vocoder`` checks that the two forms of your version still agree.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from lina.core import CodecPlugin, DecoderStream, EncoderStream, PluginConfig

SAMPLE_RATE, HOP = 16_000, 320
LEVELS, DECIBELS = 32, 2.5
"""Codes per band, and the decibels between two of them. Code 0 is silence."""
LOUDEST = 25.0
"""Decibels of the highest code, about those of a tone at full scale."""
NOISE_FRAMES = 512
"""Period of the noise in frames: about ten seconds."""


class VocoderConfig(PluginConfig):
    bands: int = Field(default=20, ge=2, le=64)


class EncoderState(NamedTuple):
    last: Float[Tensor, "B 1 hop"]
    """The previous frame."""


class Encoder(nn.Module):
    """Codes of a frame from the previous frame and itself: latency 0."""

    latency = 0
    window: Tensor
    bank: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        window = torch.hann_window(2 * HOP)
        self.register_buffer("window", window / window.square().mean().sqrt(), persistent=False)
        self.register_buffer("bank", filter_bank(bands), persistent=False)

    def initial_state(self, batch: int) -> EncoderState:
        return EncoderState(self.window.new_zeros(batch, 1, HOP))

    def parallel_forward(
        self, audio: Float[Tensor, "B 1 samples"], state: EncoderState
    ) -> tuple[Int[Tensor, "B T Q"], EncoderState]:
        joined = torch.cat([state.last, audio], dim=2)
        codes = self._codes(joined[:, 0].unfold(1, 2 * HOP, HOP))
        return codes, EncoderState(joined[:, :, -HOP:].clone())

    def step(
        self, audio: Float[Tensor, "B 1 hop"], state: EncoderState
    ) -> tuple[Int[Tensor, "B Q"], EncoderState]:
        return self._codes(torch.cat([state.last, audio], dim=2)[:, 0]), EncoderState(audio.clone())

    def flush(self, state: EncoderState) -> Int[Tensor, "B 0 Q"]:
        shape = (len(state.last), 0, self.bank.shape[1])
        return torch.zeros(shape, dtype=torch.int64, device=state.last.device)

    def _codes(self, pieces: Float[Tensor, "*B two_hops"]) -> Int[Tensor, "*B Q"]:
        spectrum = torch.fft.rfft(pieces * self.window, norm="ortho")
        power = spectrum.abs().square() @ self.bank / self.bank.sum(0)
        level = (10 * power.clamp_min(1e-20).log10() - LOUDEST) / DECIBELS + LEVELS - 1
        codes: Tensor = level.round().nan_to_num().clamp(0, LEVELS - 1).long()
        return codes


class DecoderState(NamedTuple):
    overlap: Float[Tensor, "B 1 hop"]
    """Second half of the last piece, to be added to the next frame."""
    position: Int[Tensor, "B"]
    """Frames decoded so far; they index the noise, so that decoding is deterministic."""


class Decoder(nn.Module):
    """Overlap-add of one piece of two frames per code: a frame is complete with the next code, so latency is 1."""

    latency = 1
    window: Tensor
    bank: Tensor
    noise: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        noise = torch.randn(NOISE_FRAMES, 2 * HOP, generator=torch.Generator().manual_seed(0))
        # Neighboring pieces are independent noise, so their powers must add up to one.
        self.register_buffer("window", torch.hann_window(2 * HOP).sqrt(), persistent=False)
        self.register_buffer("bank", filter_bank(bands), persistent=False)
        self.register_buffer("noise", noise, persistent=False)

    def initial_state(self, batch: int) -> DecoderState:
        position = torch.zeros(batch, dtype=torch.int64, device=self.window.device)
        return DecoderState(self.window.new_zeros(batch, 1, HOP), position)

    def parallel_forward(
        self, codes: Int[Tensor, "B T Q"], state: DecoderState
    ) -> tuple[Float[Tensor, "B 1 samples"], DecoderState]:
        frames = codes.shape[1]
        piece = self._piece(codes, state.position[:, None] + torch.arange(frames, device=codes.device))
        tails = torch.cat([state.overlap, piece[..., HOP:]], dim=1)
        audio = (tails[:, :-1] + piece[..., :HOP]).flatten(1)[:, None]
        return audio.clamp(-1, 1), DecoderState(tails[:, -1:].clone(), state.position + frames)

    def step(
        self, codes: Int[Tensor, "B Q"], state: DecoderState
    ) -> tuple[Float[Tensor, "B 1 hop"], DecoderState]:
        piece = self._piece(codes, state.position)[:, None]
        audio = state.overlap + piece[..., :HOP]
        return audio.clamp(-1, 1), DecoderState(piece[..., HOP:].clone(), state.position + 1)

    def flush(self, state: DecoderState) -> Float[Tensor, "B 1 hop"]:
        return state.overlap.clamp(-1, 1)

    def _piece(self, codes: Int[Tensor, "*B Q"], position: Int[Tensor, "*B"]) -> Float[Tensor, "*B two_hops"]:
        decibels = LOUDEST + DECIBELS * (codes - (LEVELS - 1)).to(self.bank.dtype)
        power = torch.where(codes > 0, 10 ** (decibels / 10), 0.0)
        spectrum = torch.fft.rfft(self.noise[position % NOISE_FRAMES]) * (power @ self.bank.T).sqrt()
        piece: Tensor = torch.fft.irfft(spectrum) * self.window
        return piece


def filter_bank(bands: int) -> Float[Tensor, "bins Q"]:
    """Triangular filters over the bins of a spectrum of two frames, evenly spaced in mel; they sum to 1 at each bin."""
    hertz = torch.linspace(0, SAMPLE_RATE / 2, HOP + 1)
    mel = torch.log1p(hertz / 700)
    place = (mel / mel[-1] * bands - 0.5).clamp(0, bands - 1)
    return (1 - (place[:, None] - torch.arange(bands)).abs()).clamp_min(0)


class Vocoder(nn.Module):
    sample_rate, hop, channels = SAMPLE_RATE, HOP, 1
    encoder: EncoderStream
    decoder: DecoderStream

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.codebook_sizes = (LEVELS,) * bands
        self.encoder, self.decoder = Encoder(bands), Decoder(bands)


class VocoderCodec(CodecPlugin):
    """The plugin, which the entry point in pyproject.toml names."""

    Config = VocoderConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": VocoderConfig(bands=8)}

    @classmethod
    def build(cls, *, config: VocoderConfig) -> Vocoder:
        return Vocoder(config.bands)
