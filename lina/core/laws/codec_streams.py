"""Both directions of a streaming codec, as streams of frames: [C, hop] of audio, [Q] of codes."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.laws.stream import Frame, Frames, Stream, output_and_state
from lina.core.state import State


def random_audio(
    codec: Any, batch: int, frames: int, generator: torch.Generator
) -> Float[Tensor, "B C samples"]:
    """Noise of varying loudness, far from clipping."""
    shape = (batch, codec.channels, frames, codec.hop)
    loudness = torch.rand(*shape[:3], 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (0.2 * loudness * noise).clamp(-0.5, 0.5).flatten(2)


def random_codes(codec: Any, batch: int, frames: int, generator: torch.Generator) -> Int[Tensor, "B T Q"]:
    books = [torch.randint(size, (batch, frames), generator=generator) for size in codec.codebook_sizes]
    return torch.stack(books, dim=-1)


class _CodecStream(Stream):
    frames = 24
    long_frames = 160
    differentiable = False

    def to_audio(self, frames: Float[Tensor, "B T C hop"]) -> Float[Tensor, "B C samples"]:
        return frames.transpose(1, 2).flatten(2)

    def to_frames(self, audio: Float[Tensor, "B C samples"]) -> Float[Tensor, "B T C hop"]:
        batch, channels, samples = audio.shape
        hop: int = self.owner.hop
        return audio.reshape(batch, channels, samples // hop, hop).transpose(1, 2)


class EncodingStream(_CodecStream):
    def part(self, owner: Any) -> Any:
        return owner.encoder

    def random_frames(self, batch: int, frames: int, generator: torch.Generator) -> Frames:
        audio = random_audio(self.owner, batch, frames, generator)
        return self.to_frames(audio).to(device=self.device, dtype=self.dtype)

    def strange_frames(self, batch: int, frames: int, generator: torch.Generator) -> Frames:
        return self.random_frames(batch, frames, generator).sign()

    def parallel(self, x: Frames, state: State) -> tuple[Frames, State]:
        return output_and_state(self.module.parallel_forward(self.to_audio(x), state), "parallel_forward")

    def step(self, x: Frame, state: State) -> tuple[Frame, State]:
        return output_and_state(self.module.step(x, state), "step")

    def flush(self, state: State) -> Frames:
        codes: Frames = self.module.flush(state)
        return codes


class DecodingStream(_CodecStream):
    def part(self, owner: Any) -> Any:
        return owner.decoder

    def random_frames(self, batch: int, frames: int, generator: torch.Generator) -> Frames:
        return random_codes(self.owner, batch, frames, generator).to(self.device)

    def strange_frames(self, batch: int, frames: int, generator: torch.Generator) -> Frames:
        last = torch.tensor(self.owner.codebook_sizes, device=self.device) - 1
        return last.expand(batch, frames, -1).clone()

    def parallel(self, x: Frames, state: State) -> tuple[Frames, State]:
        audio, final = output_and_state(self.module.parallel_forward(x, state), "parallel_forward")
        return self.to_frames(audio), final

    def step(self, x: Frame, state: State) -> tuple[Frame, State]:
        return output_and_state(self.module.step(x, state), "step")

    def flush(self, state: State) -> Frames:
        return self.to_frames(self.module.flush(state))
