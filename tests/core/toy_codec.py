"""Honest codecs, small enough to read: a streaming one that lags a frame, and a whole one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lina.core.plugin import CodecPlugin
from lina.core.protocols import DecoderStream, EncoderStream

HOP, SIZES = 8, (16, 5)


class AudioTail(NamedTuple):
    last: Float[Tensor, "B 1 hop"]
    """The frame before: a code is made of a frame and the one after it."""


class Encoder(nn.Module):
    latency = 1

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Parameter(torch.randn(len(SIZES), 2 * HOP))

    def initial_state(self, batch: int) -> AudioTail:
        return AudioTail(self.filters.new_zeros(batch, 1, HOP))

    def parallel_forward(self, audio: Tensor, state: AudioTail) -> tuple[Tensor, AudioTail]:
        joined = torch.cat([state.last, audio], dim=2)
        pairs = joined[:, 0].unfold(1, 2 * HOP, HOP)
        return self.codes(pairs), AudioTail(joined[:, :, -HOP:].clone())

    def step(self, audio: Tensor, state: AudioTail) -> tuple[Tensor, AudioTail]:
        return self.codes(torch.cat([state.last, audio], dim=2)[:, 0]), AudioTail(audio.clone())

    def flush(self, state: AudioTail) -> Tensor:
        return self.step(torch.zeros_like(state.last), state)[0][:, None]

    def codes(self, pairs: Tensor) -> Tensor:
        level = (pairs @ self.filters.T).tanh() / 2 + 0.5
        sizes = torch.tensor(SIZES, device=pairs.device)
        return torch.minimum((level.nan_to_num() * sizes).long(), sizes - 1)


class AudioOverlap(NamedTuple):
    overlap: Float[Tensor, "B 1 hop"]
    """Overlap of the frames so far with the next."""


class Decoder(nn.Module):
    """Overlap-add: a frame is complete once the next has come."""

    latency = 1

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, 2 * HOP) for size in SIZES)

    def initial_state(self, batch: int) -> AudioOverlap:
        return AudioOverlap(next(self.parameters()).new_zeros(batch, 1, HOP))

    def halves(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        waves = torch.stack([table(codes[..., q]) for q, table in enumerate(self.tables)]).sum(0).tanh()
        return waves[..., :HOP], waves[..., HOP:]

    def parallel_forward(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        head, tail = self.halves(codes)
        carried = torch.cat([state.overlap, tail], dim=1)
        return (carried[:, :-1] + 0.5 * head).flatten(1)[:, None], AudioOverlap(carried[:, -1:].clone())

    def step(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        head, tail = self.halves(codes)
        return state.overlap + 0.5 * head[:, None], AudioOverlap(tail[:, None].clone())

    def flush(self, state: AudioOverlap) -> Tensor:
        return state.overlap.clone()


class ToyStreaming(nn.Module):
    sample_rate, hop, channels = 8_000, HOP, 1
    codebook_sizes: tuple[int, ...] = SIZES

    def __init__(self, encoder: EncoderStream, decoder: DecoderStream) -> None:
        super().__init__()
        self.encoder: EncoderStream = encoder
        self.decoder: DecoderStream = decoder


class ToyStreamingCodec(CodecPlugin):
    Encoder: Callable[[], EncoderStream] = Encoder
    Decoder: Callable[[], DecoderStream] = Decoder
    Whole: type[ToyStreaming] = ToyStreaming

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": {}}

    @classmethod
    def build(cls, *, config: Any) -> ToyStreaming:
        return cls.Whole(cls.Encoder(), cls.Decoder())


class Levels:
    """One code a frame: its mean level, against the loudest sample of the utterance. Not streamable."""

    sample_rate, hop, channels = 8_000, HOP, 1
    codebook_sizes: tuple[int, ...] = (16,)

    def encode(self, audio: Tensor) -> Tensor:
        peak = audio.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-6)
        level: Tensor = (audio / peak)[:, 0].unflatten(1, (-1, HOP)).mean(-1) / 2 + 0.5
        return (level * 16).long().clamp(0, 15)[..., None]

    def decode(self, codes: Tensor) -> Tensor:
        return ((codes + 0.5) / 8 - 1).expand(-1, -1, HOP).flatten(1)[:, None]


class ToyWholeCodec(CodecPlugin):
    Codec: type[Levels] = Levels

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": {}}

    @classmethod
    def build(cls, *, config: Any) -> Levels:
        return cls.Codec()
