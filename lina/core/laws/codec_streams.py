"""Both directions of a streaming codec, as streams of frames ([C, hop] of audio, [Q] of codes), and their own laws."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.laws.compare import require_as_good, require_equal, require_finite
from lina.core.laws.law import Violation
from lina.core.laws.stream import (
    Frame,
    Frames,
    Stream,
    clone,
    fold,
    output_and_state,
    parallel,
)
from lina.core.state import State, named_leaves, take_rows


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


def padded_rows_code_as_alone(stream: Stream) -> None:
    """A row followed by padding with silence gives the same codes as alone."""
    x = stream.input()
    latency, total = stream.module.latency, x.shape[1]
    lengths = (total, total // 2, latency + 3)
    padded = x.clone()
    for row, length in enumerate(lengths):
        padded[row, length:] = 0.0
    with torch.no_grad():
        together, _ = stream.parallel(padded, stream.module.initial_state(x.shape[0]))
        for row, length in enumerate(lengths):
            alone, _ = stream.parallel(x[row : row + 1, :length], stream.module.initial_state(1))
            expected = {"codes": together[row : row + 1, :length]}
            label = f"row {row} of {length} frames, padded to {total}, against alone:"
            require_as_good(label, {"codes": alone}, expected, expected, stream.dtype)


def flush_completes(stream: Stream) -> None:
    """flush gives the last ``latency`` frames, row by row, from the state alone, without changing it."""
    latency = stream.module.latency
    with torch.no_grad():
        for frames in (1, latency + 2, stream.frames):
            x = stream.input(frames)
            initial = stream.module.initial_state(x.shape[0])
            y, state = parallel(stream, x, clone(initial))
            before = clone(state)
            flushed = stream.flush(state)
            length = torch.cat([y, flushed], dim=1)[:, latency:].shape[1]
            if length != frames:
                raise Violation(
                    f"{frames} frames in: expected {frames} out after dropping {latency} and adding flush's, "
                    f"found {length} (flush gave {flushed.shape[1]}, expected {latency})"
                )
            if flushed.shape[2:] != y.shape[2:] or flushed.dtype != y.dtype:
                raise Violation(
                    f"flush: expected frames of {list(y.shape[2:])} {y.dtype}, "
                    f"found {list(flushed.shape[2:])} {flushed.dtype}"
                )
            require_finite("flush", {"frames": flushed})
            require_equal("state passed to flush", named_leaves(state), named_leaves(before))
            expected = {"frames": flushed}
            require_equal("flush, called twice", {"frames": stream.flush(state)}, expected)
            _, folded = fold(stream, x, clone(initial))
            found = {"frames": stream.flush(folded)}
            require_as_good(
                "flush after step, against after parallel_forward:", found, expected, expected, stream.dtype
            )
            for row in range(x.shape[0]):
                one = take_rows(state, torch.tensor([row], device=x.device))
                found, near = {"frames": stream.flush(one)}, {"frames": flushed[row : row + 1]}
                require_as_good(f"flush, row {row} alone:", found, near, near, stream.dtype)
